package machine

import "golang.org/x/sys/unix"

// Processor is the name of the processor.
func Processor() string {
	model, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return unknownProcessor
	}
	return model
}

// TotalMemory is the computer's memory in bytes.
func TotalMemory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(n)
}

// AvailableMemory is how many bytes this process may take. macOS makes room by
// compressing what others hold, so this is all there is.
func AvailableMemory() int64 { return TotalMemory() }

// PeakMemory is the most bytes that this process held at once, mapped files included.
func PeakMemory() int64 {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return usage.Maxrss
}

// hasF16C asks the kernel, as x/sys/cpu does not know the feature.
func hasF16C() bool {
	n, err := unix.SysctlUint32("hw.optional.f16c")
	return err == nil && n == 1
}
