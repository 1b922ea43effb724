package machine

import (
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/cpu"
)

// TestThisMachine checks what must hold on any computer that these tests run on.
func TestThisMachine(t *testing.T) {
	if n := Threads(); n < 1 || Cores() < 1 {
		t.Errorf("%d threads on %d cores", n, Cores())
	}
	if Processor() == "" {
		t.Error("the processor has no name, not even an unknown one")
	}
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("memory and disk are not known on " + runtime.GOOS)
	}
	total, available := TotalMemory(), AvailableMemory()
	if available < 1 || available > total {
		t.Errorf("%d of %d bytes of memory are available", available, total)
	}
	if FreeDisk(t.TempDir()) <= 0 {
		t.Error("the disk of the temporary folder is full, or not found")
	}
	if got := FreeDisk("/there/is/no/such/folder"); got != 0 {
		t.Errorf("%d bytes free where there is no folder", got)
	}
}

// TestPeakMemory takes memory and gives it back: the peak stays.
func TestPeakMemory(t *testing.T) {
	if PeakMemory() == 0 {
		t.Skip("not known on " + runtime.GOOS)
	}
	const size = 64 << 20
	block := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		block[i] = 1
	}
	runtime.KeepAlive(block)
	if got := PeakMemory(); got < size {
		t.Errorf("the peak is %d bytes after %d were written", got, size)
	}
}

func TestFeatures(t *testing.T) {
	got := Features()
	for name, has := range map[string]bool{"avx2": cpu.X86.HasAVX2, "dotprod": cpu.ARM64.HasASIMDDP, "neon": runtime.GOARCH == "arm64"} {
		if slices.Contains(got, name) != has {
			t.Errorf("features %v, %s should be there: %v", got, name, has)
		}
	}
	// Every processor with AVX2 has F16C, which is read elsewhere.
	if runtime.GOOS == "linux" && cpu.X86.HasAVX2 && !slices.Contains(got, "f16c") {
		t.Errorf("features %v: no f16c", got)
	}
}
