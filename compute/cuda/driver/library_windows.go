//go:build windows && !static

package driver

import "syscall"

// library comes with the driver.
const library = "nvcuda.dll"

func openLibrary(path string) (uintptr, error) {
	h, err := syscall.LoadLibrary(path)
	if err != nil {
		return 0, missing(err)
	}
	return uintptr(h), nil
}

func symbol(h uintptr, name string) (uintptr, error) {
	return syscall.GetProcAddress(syscall.Handle(h), name)
}

// invoke calls a function of C.
//
//go:uintptrescapes
func invoke(f uintptr, args ...uintptr) uintptr {
	r, _, _ := syscall.SyscallN(f, args...)
	return r
}
