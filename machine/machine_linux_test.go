package machine

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFakeSystem reads figures out of files as several kernels write them.
func TestFakeSystem(t *testing.T) {
	const meminfo = "MemTotal:       16384 kB\nMemFree:         1000 kB\nMemAvailable:    8192 kB\n"
	tests := []struct {
		name                   string
		files                  map[string]string
		processor              string
		total, available, peak int64
	}{
		{"nothing to read", nil, unknownProcessor, 0, 0, 0},
		{"no limit", map[string]string{
			memoryInfo: meminfo, memoryLimit: "max\n", memoryUsed: "4096\n",
			"proc/cpuinfo":     "processor\t: 0\nmodel name\t: Abacus 3000\nflags\t\t: fpu avx2 f16c rdrand\nprocessor\t: 1\nmodel name\t: Another\n",
			"proc/self/status": "Name:\tlentil\nVmPeak:\t  900 kB\nVmHWM:\t     300 kB\n",
		}, "Abacus 3000", 16 << 20, 8 << 20, 300 << 10},
		{"a board that names itself", map[string]string{
			"proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 5\n",
		}, "Raspberry Pi 5", 0, 0, 0},
		{"a limit below both", map[string]string{memoryInfo: meminfo, memoryLimit: "4194304\n", memoryUsed: "1048576\n"}, unknownProcessor, 4 << 20, 3 << 20, 0},
		{"a limit above both", map[string]string{memoryInfo: meminfo, memoryLimit: "1073741824\n", memoryUsed: "0\n"}, unknownProcessor, 16 << 20, 8 << 20, 0},
		{"a limit that is used up", map[string]string{memoryInfo: meminfo, memoryLimit: "4194304\n", memoryUsed: "5000000\n"}, unknownProcessor, 4 << 20, 1, 0},
		{"damaged", map[string]string{memoryInfo: "MemTotal: many kB\nMemAvailable", memoryLimit: "", "proc/cpuinfo": "\x00\xff"}, unknownProcessor, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range tt.files {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s := system(root)
			if got := s.processor(); got != tt.processor {
				t.Errorf("processor %q, want %q", got, tt.processor)
			}
			for _, f := range []struct {
				name      string
				got, want int64
			}{{"total", s.totalMemory(), tt.total}, {"available", s.availableMemory(), tt.available}, {"peak", s.peakMemory(), tt.peak}} {
				if f.got != f.want {
					t.Errorf("%s memory %d, want %d", f.name, f.got, f.want)
				}
			}
		})
	}
}
