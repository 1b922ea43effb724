//go:build !linux && !darwin

package cli

func cpuModel() string { return "unknown processor" }

func cpuHasF16C() bool { return false }

func totalMemory() int64 { return 0 }

func freeDisk(string) int64 { return 0 }

func peakMemory() int64 { return 0 }
