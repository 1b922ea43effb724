// Command _generate compiles the kernels with NVIDIA's run-time compiler (NVRTC), which needs neither nvcc nor a card:
//
//	pip install --no-deps --target DIR nvidia-cuda-nvrtc-cu12==12.9.86 nvidia-cuda-runtime-cu12==12.9.79
//	go run ./compute/cuda/kernels/_generate -cuda DIR/nvidia
//
// It writes one machine code for each kind of card, and PTX that drivers compile for all others, compressed, and the
// hash of the sources that a test compares.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// targets are what the kernels are compiled for. Code for sm_80 runs on 8.6 and 8.9 too.
var targets = []string{"sm_80", "sm_90a", "sm_100", "sm_120", "compute_80"}

func main() {
	cuda := flag.String("cuda", "", "folder of the packages' cuda_nvrtc and cuda_runtime")
	dir := flag.String("in", "compute/cuda/kernels", "folder of the sources")
	out := flag.String("out", "compute/cuda/kernels", "folder to write to")
	only := flag.String("only", "", "one `target` alone; writes no hash")
	flag.Parse()
	if err := run(*cuda, *dir, *out, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(cuda, dir, out, only string) error {
	if err := os.WriteFile(filepath.Join(dir, "wgmma.cuh"), wgmma(), 0o666); err != nil {
		return err
	}
	if only == "" {
		return all(cuda, dir, out)
	}
	c, err := open(filepath.Join(cuda, "cuda_nvrtc", "lib"))
	if err != nil {
		return err
	}
	include := []string{filepath.Join(cuda, "cuda_runtime", "include"), dir}
	src, err := os.ReadFile(filepath.Join(dir, "kernels.cu"))
	if err != nil {
		return err
	}
	image, err := c.compile(string(src), only, include)
	if err != nil {
		return fmt.Errorf("%s: %w", only, err)
	}
	fmt.Printf("%s: %d bytes\n", only, len(image))
	return write(filepath.Join(out, only+".gz"), image)
}

// all compiles each target in a process of its own: what NVRTC writes depends on what the process compiled before.
func all(cuda, dir, out string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, t := range targets {
		c := exec.Command(self, "-cuda", cuda, "-in", dir, "-out", out, "-only", t)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	sum, err := sources(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "sources.sha256"), []byte(sum+"\n"), 0o666)
}

// sources is the hash of all that is compiled. The test computes it in the same way.
func sources(dir string) (string, error) {
	names, _ := filepath.Glob(filepath.Join(dir, "*.cu*"))
	slices.Sort(names)
	h := sha256.New()
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n", filepath.Base(n), len(b))
		h.Write(b)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

func write(path string, image []byte) error {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if _, err := z.Write(image); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}

// A compiler is NVRTC's library.
type compiler struct{ lib uintptr }

func open(dir string) (*compiler, error) {
	// The library asks for its built-ins by name, so they are opened before.
	builtins, _ := filepath.Glob(filepath.Join(dir, "libnvrtc-builtins.so.*"))
	for _, b := range builtins {
		if _, err := purego.Dlopen(b, purego.RTLD_NOW|purego.RTLD_GLOBAL); err != nil {
			return nil, err
		}
	}
	h, err := purego.Dlopen(filepath.Join(dir, "libnvrtc.so.12"), purego.RTLD_NOW)
	return &compiler{h}, err
}

//go:uintptrescapes
func (c *compiler) call(name string, args ...uintptr) error {
	f, err := purego.Dlsym(c.lib, name)
	if err != nil {
		return err
	}
	if r, _, _ := purego.SyscallN(f, args...); int32(r) != 0 {
		return fmt.Errorf("%s: error %d", name, int32(r))
	}
	return nil
}

// version replaces the line of PTX that tells for which compilers it is: the oldest that knows all that is used.
var version = regexp.MustCompile(`(?m)^\.version .*$`)

// hints are lines for newer compilers, which older drivers refuse.
var hints = regexp.MustCompile(`(?m)^\s*\.pragma\s+"used_bytes_mask.*\n`)

// compile gives machine code for sm_ targets, and PTX, ended by a zero, for others.
func (c *compiler) compile(src, target string, include []string) ([]byte, error) {
	var p uintptr
	if err := c.call("nvrtcCreateProgram", uintptr(unsafe.Pointer(&p)), cstr(src), cstr("kernels.cu"), 0, 0, 0); err != nil {
		return nil, err
	}
	options := []uintptr{cstr("-arch=" + target), cstr("-std=c++17"), cstr("-default-device")}
	for _, dir := range include {
		options = append(options, cstr("-I"+dir))
	}
	err := c.call("nvrtcCompileProgram", p, uintptr(len(options)), uintptr(unsafe.Pointer(&options[0])))
	log, _ := c.get(p, "ProgramLog")
	if text := strings.TrimRight(string(log), "\x00\n"); text != "" {
		fmt.Fprintln(os.Stderr, text)
	}
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(target, "sm_") {
		return c.get(p, "CUBIN")
	}
	ptx, err := c.get(p, "PTX")
	return hints.ReplaceAll(version.ReplaceAll(ptx, []byte(".version 7.8")), nil), err
}

func (c *compiler) get(p uintptr, what string) ([]byte, error) {
	var n uintptr
	if err := c.call("nvrtcGet"+what+"Size", p, uintptr(unsafe.Pointer(&n))); err != nil || n == 0 {
		return nil, err
	}
	b := make([]byte, n)
	return b, c.call("nvrtcGet"+what, p, uintptr(unsafe.Pointer(&b[0])))
}

// kept holds strings that C reads.
var kept [][]byte

func cstr(s string) uintptr {
	b := append([]byte(s), 0)
	kept = append(kept, b)
	return uintptr(unsafe.Pointer(&b[0]))
}

// wgmma writes the header of the products of Hopper, which have an accumulator for each two columns to name.
func wgmma() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, `// Generated by _generate.
#pragma once

// wgmma_rs is d [64, n] (+)= a b, a of 64 by 16 bf16 numbers in registers, b of 16 by n in shared memory; n is twice the length
// of d. wgmma_ss has a in shared memory too. Operands are described by operand_desc: in rows along the reduced extent, or
// with TransA and TransB across it.
`)
	for _, n := range []int{16, 32, 64, 128, 256} {
		var regs, operands []string
		for i := range n / 2 {
			regs = append(regs, fmt.Sprintf("%%%d", i))
			operands = append(operands, fmt.Sprintf(`"+f"(d[%d])`, i))
		}
		k := n / 2 // operands behind the accumulators
		fmt.Fprintf(&b, `template <int TransB = 0> __device__ __forceinline__ void wgmma_rs(float (&d)[%d], const uint32_t (&a)[4], uint64_t b, int accumulate) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %%%d, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 {%s}, "
        "{%%%d, %%%d, %%%d, %%%d}, %%%d, p, 1, 1, %%%d;\n}\n"
        : %s
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(TransB));
}
`, k, k+5, n, strings.Join(regs, ", "), k, k+1, k+2, k+3, k+4, k+6, strings.Join(operands, ", "))
		fmt.Fprintf(&b, `template <int TransA = 0, int TransB = 0> __device__ __forceinline__ void wgmma_ss(float (&d)[%d], uint64_t a, uint64_t b, int accumulate) {
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %%%d, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 {%s}, "
        "%%%d, %%%d, p, 1, 1, %%%d, %%%d;\n}\n"
        : %s
        : "l"(a), "l"(b), "r"(accumulate), "n"(TransA), "n"(TransB));
}
`, k, k+2, n, strings.Join(regs, ", "), k, k+1, k+3, k+4, strings.Join(operands, ", "))
	}
	return b.Bytes()
}
