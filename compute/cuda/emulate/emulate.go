// Package emulate builds, for tests, a driver of NVIDIA cards that runs the kernels on the processor: g++ compiles their
// sources, the threads of a block are fibers (see source/emulate.h). What it cannot show is in docs/gpu.md.
package emulate

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
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

// build compiles into the user's cache, under a name that tells the sources and the compiler.
func build(gpp string) (string, error) {
	dir, err := sources()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	version, err := exec.Command(gpp, "-dumpfullversion").Output()
	if err != nil {
		return "", err
	}
	h.Write(version)
	fmt.Fprintln(h, options, optimize, kernel)
	for _, pattern := range []string{"kernels/*.cu*", "emulate/source/*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) == 0 {
			return "", fmt.Errorf("no sources in %s: %v", filepath.Join(dir, pattern), err)
		}
		slices.Sort(names)
		for _, n := range names {
			f, err := os.Open(n)
			if err != nil {
				return "", err
			}
			fmt.Fprintln(h, filepath.Base(n))
			_, err = io.Copy(h, f)
			f.Close()
			if err != nil {
				return "", err
			}
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "lentil-tests")
	path := filepath.Join(cache, fmt.Sprintf("libcuda-%x.so", h.Sum(nil)[:12]))
	if now := time.Now(); os.Chtimes(path, now, now) == nil { // it is there, and was used now
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o777); err != nil {
		return "", err
	}
	if err := compile(gpp, dir, path); err != nil {
		return "", err
	}
	prune(cache)
	return path, nil
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
func compile(gpp, dir, path string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(path), "build-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	args := append(slices.Clone(options), "-I", filepath.Join(dir, "emulate/source"), "-I", filepath.Join(dir, "kernels"))
	list := exec.Command(gpp, append(args, "-E", "-P", "-DEMULATE_LIST", "-x", "c++", filepath.Join(dir, "emulate/source/all.cu"))...)
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
	c := exec.Command(gpp, append(args, optimize, "-I", tmp, "-shared", "-fPIC", "-pthread", "-o", made, filepath.Join(dir, "emulate/source/driver.cpp"))...)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%.4000s", c, err, out)
	}
	return os.Rename(made, path)
}

// sources is the folder compute/cuda of the module that the test lies in.
func sources() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "compute", "cuda"), nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("the module's folder is not above the test's")
		}
		dir = up
	}
}
