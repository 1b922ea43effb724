// Package emulate builds, for tests, a driver of NVIDIA cards that runs the kernels on the processor: g++ compiles their
// sources, the threads of a block are fibers (see source/emulate.h). What it cannot show is in docs/gpu.md.
package emulate

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute/cuda/kernels"
	"github.com/lentil-lm/lentil/internal/filelock"
)

// Driver is the library of the driver for tests that a card can run as well: that of the machine where LENTIL_TEST_CUDA says
// that it has a card, else the emulated one.
func Driver(t testing.TB) string {
	t.Helper()
	if os.Getenv("LENTIL_TEST_CUDA") != "" {
		return "" // what cuda.Options take for the machine's own
	}
	return Library(t)
}

// All reports whether tests take all that they have: on a card, which is fast, and where LENTIL_EMULATE=1 asks for it.
func All() bool { return os.Getenv("LENTIL_TEST_CUDA") != "" || os.Getenv("LENTIL_EMULATE") != "" }

// Library builds the driver, or finds what an earlier test built of the same sources, and returns its path. Tests are
// skipped where it cannot be built.
func Library(t testing.TB) string {
	t.Helper()
	if static {
		t.Skip("programs built with -tags static open no driver")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("cards are emulated on Linux for x86-64 only")
	}
	gpp, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("g++ is missing, which builds the emulated card")
	}
	if cpu, err := os.ReadFile("/proc/cpuinfo"); err != nil || !bytes.Contains(cpu, []byte(" avx2 ")) || !bytes.Contains(cpu, []byte(" fma ")) {
		t.Skip("AVX2 is missing, which the emulated card computes with")
	}
	building.Lock()
	defer building.Unlock()
	path, err := build(gpp)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var building sync.Mutex

// options of the compiler, for all that is built.
var options = []string{"-std=c++17", "-march=x86-64-v3", "-DEMULATED", "-fvisibility=hidden", "-w"}

//go:embed source
var around embed.FS

// sources are the kernels and what is around them, each in its folder. They are those that the test was built with: a test
// that runs while they are edited does not mix its own Go with other kernels.
var sources = map[string]fs.FS{"kernels": kernels.Sources, "emulate": around}

// hash tells the sources and the compiler of a version.
func hash(version []byte) ([]byte, error) {
	h := sha256.New()
	h.Write(version)
	fmt.Fprintln(h, options, optimize, kernel)
	for _, folder := range slices.Sorted(maps.Keys(sources)) {
		err := fs.WalkDir(sources[folder], ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			data, err := fs.ReadFile(sources[folder], name)
			fmt.Fprintln(h, folder, name, len(data))
			h.Write(data)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return h.Sum(nil), nil
}

// build compiles into the user's cache, under a name that tells the sources and the compiler.
func build(gpp string) (string, error) {
	version, err := exec.Command(gpp, "-dumpfullversion").Output()
	if err != nil {
		return "", err
	}
	sum, err := hash(version)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "lentil-tests")
	path := filepath.Join(cache, fmt.Sprintf("libcuda-%x.so", sum[:12]))
	if made(path) {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o777); err != nil {
		return "", err
	}
	lock, err := os.Create(filepath.Join(cache, fmt.Sprintf("build-%x.lock", sum[:12])))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	for errors.Is(filelock.Try(lock, 0), filelock.ErrHeld) { // another test compiles the same: it takes as long as a minute
		time.Sleep(100 * time.Millisecond)
	}
	if made(path) {
		return path, nil
	}
	if err := compile(gpp, path); err != nil {
		return "", err
	}
	prune(cache)
	return path, nil
}

// made reports whether a library is there, and notes that it is used now.
func made(path string) bool {
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

// librariesKept is how many libraries stay in the cache: some branches, tested side by side.
const librariesKept = 32

// prune removes the libraries that were not used for the longest time, and what builds that were stopped have left.
func prune(cache string) {
	used := map[string]time.Time{}
	var libraries []string
	entries, _ := os.ReadDir(cache) // what cannot be read stays
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		path := filepath.Join(cache, e.Name())
		switch used[path] = info.ModTime(); {
		case strings.HasPrefix(e.Name(), "libcuda-"):
			libraries = append(libraries, path)
		case strings.HasPrefix(e.Name(), "build-") && time.Since(info.ModTime()) > time.Hour:
			os.RemoveAll(path)
		}
	}
	slices.SortFunc(libraries, func(a, b string) int { return used[b].Compare(used[a]) })
	for i := librariesKept; i < len(libraries); i++ {
		os.Remove(libraries[i])
	}
}

// optimize is how hard the compiler tries: more takes longer to compile than it saves.
const optimize = "-O2"

// kernel finds the kernels in the preprocessor's output, with the most threads of a block.
var kernel = regexp.MustCompile(`@kernel\s+void\s+(?:@bounds\(([^,)]+)[^)]*\)\s*)?(\w+)\s*\(`)

// compile makes the list of kernels, and then the library.
func compile(gpp, path string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(path), "build-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for folder, files := range sources {
		if err := os.CopyFS(filepath.Join(tmp, folder), files); err != nil {
			return err
		}
	}
	args := append(slices.Clone(options), "-I", filepath.Join(tmp, "emulate/source"), "-I", filepath.Join(tmp, "kernels"))
	list := exec.Command(gpp, append(args, "-E", "-P", "-DEMULATE_LIST", "-x", "c++", filepath.Join(tmp, "emulate/source/all.cu"))...)
	text, err := list.Output()
	if err != nil {
		return fmt.Errorf("%v: %w", list, err)
	}
	var b strings.Builder
	for _, m := range kernel.FindAllSubmatch(text, -1) {
		most := string(m[1])
		if most == "" {
			most = "0"
		}
		fmt.Fprintf(&b, "KERNEL(%s, %s)\n", m[2], most)
	}
	if b.Len() == 0 {
		return fmt.Errorf("%v names no kernels", list)
	}
	if err := os.WriteFile(filepath.Join(tmp, "list.h"), []byte(b.String()), 0o666); err != nil {
		return err
	}
	made := filepath.Join(tmp, "libcuda.so")
	c := exec.Command(gpp, append(args, optimize, "-I", tmp, "-shared", "-fPIC", "-pthread", "-o", made, filepath.Join(tmp, "emulate/source/driver.cpp"))...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%.4000s", c, err, out)
	}
	return os.Rename(made, path)
}
