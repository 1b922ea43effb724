package atomicfile

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// The first is what this program itself makes of a disk that it has found too small.
var fullErrors = []error{syscall.ENOSPC, windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED}
