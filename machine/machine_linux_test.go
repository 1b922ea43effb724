package machine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Files in which control groups of version 2 tell of the root.
const (
	memoryLimit = "sys/fs/cgroup/memory.max"
	memoryUsed  = "sys/fs/cgroup/memory.current"
)

// noLimit answers as a system without ulimit does.
func noLimit(_ int, limit *unix.Rlimit) error {
	limit.Cur = unix.RLIM_INFINITY
	return nil
}

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
		{"nested groups of version 2", map[string]string{
			memoryInfo: meminfo, groupsFile: "0::/user.slice/run-1.scope\n",
			mountsFile:                                        "30 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
			"sys/fs/cgroup/user.slice/memory.max":             "6291456\n", // 6 MiB for all groups below it
			"sys/fs/cgroup/user.slice/memory.current":         "3145728\n",
			"sys/fs/cgroup/user.slice/run-1.scope/memory.max": "max\n",
		}, unknownProcessor, 6 << 20, 3 << 20, 0},
		{"the inner group is the narrower", map[string]string{
			memoryInfo: meminfo, groupsFile: "0::/a/b\n", memoryLimit: "6291456\n",
			"sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.max": "2097152\n", "sys/fs/cgroup/a/b/memory.current": "1048576\n",
		}, unknownProcessor, 2 << 20, 1 << 20, 0},
		{"throttled before the limit", map[string]string{
			memoryInfo: meminfo, groupsFile: "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.high": "2097152\n",
		}, unknownProcessor, 2 << 20, 2 << 20, 0},
		{"files in memory count as free", map[string]string{
			memoryInfo: meminfo, memoryLimit: "4194304\n", memoryUsed: "4194304\n", "sys/fs/cgroup/memory.stat": "anon 1048576\nfile 3145728\ninactive_file 2097152\n",
		}, unknownProcessor, 4 << 20, 2 << 20, 0},
		{"version 1", map[string]string{
			memoryInfo: meminfo, groupsFile: "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":            "9223372036854771712\n",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "4194304\n",
			"sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": "2097152\n",
			"sys/fs/cgroup/memory/docker/abc/memory.stat":           "inactive_file 5\ntotal_inactive_file 1048576\n",
		}, unknownProcessor, 4 << 20, 3 << 20, 0},
		{"version 1 in a container", map[string]string{ // which has its own group mounted as the root, under another name
			memoryInfo: meminfo, groupsFile: "4:memory:/docker/abc/inner\n0::/docker/abc\n",
			mountsFile:                               "29 24 0:25 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n31 29 0:27 /docker/abc /mnt/groups ro,nosuid master:11 - cgroup cgroup rw,memory\n",
			"mnt/groups/memory.limit_in_bytes":       "8388608\n",
			"mnt/groups/inner/memory.limit_in_bytes": "3145728\n",
		}, unknownProcessor, 3 << 20, 3 << 20, 0},
		{"a group that is mounted elsewhere", map[string]string{ // of which only the root can be seen
			memoryInfo: meminfo, groupsFile: "0::/../../system.slice/x\n", memoryLimit: "2097152\n",
		}, unknownProcessor, 2 << 20, 2 << 20, 0},
		{"damaged groups", map[string]string{
			memoryInfo: meminfo, groupsFile: "0\n::\n4:memory\n", mountsFile: "1 2 3 - cgroup2\n - \nx\n", memoryLimit: "-5\n",
		}, unknownProcessor, 16 << 20, 8 << 20, 0},
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
			}{{"total", s.totalMemory(noLimit), tt.total}, {"available", s.availableMemory(noLimit), tt.available}, {"peak", s.peakMemory(), tt.peak}} {
				if f.got != f.want {
					t.Errorf("%s memory %d, want %d", f.name, f.got, f.want)
				}
			}
		})
	}
}

// TestResourceLimits runs this test in processes that ulimit -v or -d limits: they see it, and what they are told of they
// can take.
func TestResourceLimits(t *testing.T) {
	const child, limit = "LENTIL_TEST_LIMIT", 3 << 30
	resources := map[string]int{"address space": unix.RLIMIT_AS, "data": unix.RLIMIT_DATA}
	if r, ok := resources[os.Getenv(child)]; ok {
		if err := unix.Setrlimit(r, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			t.Skip(err)
		}
		available := AvailableMemory()
		fmt.Println("total", TotalMemory() <= limit, "available", available < limit-arenas+1)
		const piece = 8 << 20
		var kept [][]byte
		for taken := int64(0); taken+piece <= available && taken < 2<<30; taken += piece {
			kept = append(kept, make([]byte, piece)) // takes address space, no memory
		}
		fmt.Println("took", len(kept) > 0)
		return
	}
	for name := range resources {
		cmd := exec.Command(os.Args[0], "-test.run=^TestResourceLimits$", "-test.v")
		cmd.Env = append(os.Environ(), child+"="+name, "GOGC=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%.2000s", name, err, out)
			continue
		}
		if bytes.Contains(out, []byte("SKIP")) {
			t.Skipf("%s", out)
		}
		for _, want := range []string{"total true available true", "took true"} {
			if !bytes.Contains(out, []byte(want)) {
				t.Errorf("%s: %q is not in %.2000s", name, want, out)
			}
		}
	}
}

func TestGPUs(t *testing.T) {
	root := t.TempDir()
	var want []string
	for _, node := range []string{"dev/nvidia0", "dev/nvidia1", "dev/dri/renderD128", "dev/nvidiactl", "dev/dri/card0"} {
		path := filepath.Join(root, node)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if len(want) < 3 { // the others stand for no processor of their own
			want = append(want, path)
		}
	}
	if got := system(root).gpus(); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if got := system(t.TempDir()).gpus(); got != nil {
		t.Errorf("found %q in an empty tree", got)
	}
}
