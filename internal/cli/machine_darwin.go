package cli

import "golang.org/x/sys/unix"

func cpuModel() string {
	model, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return "unknown processor"
	}
	return model
}

// cpuHasF16C asks the kernel, as x/sys/cpu does not know the feature.
func cpuHasF16C() bool {
	n, err := unix.SysctlUint32("hw.optional.f16c")
	return err == nil && n == 1
}

func totalMemory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(n)
}

// freeDisk gives the bytes that may still be written at path, 0 if unknown.
func freeDisk(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// peakMemory gives the most memory that this process held at once, mapped files included.
func peakMemory() int64 {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return usage.Maxrss
}
