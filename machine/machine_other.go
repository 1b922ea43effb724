//go:build !linux && !darwin

package machine

// Processor is the name of the processor.
func Processor() string { return unknownProcessor }

// TotalMemory is the computer's memory in bytes.
func TotalMemory() int64 { return 0 }

// AvailableMemory is how many bytes this process may take.
func AvailableMemory() int64 { return 0 }

// PeakMemory is the most bytes that this process held at once, mapped files included.
func PeakMemory() int64 { return 0 }

// FreeDisk is how many bytes may still be written at path.
func FreeDisk(string) int64 { return 0 }

func hasF16C() bool { return false }
