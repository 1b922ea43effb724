//go:build linux && amd64 && !static

package mlx

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
)

// cpp is a file of C++ in which every kernel is a function for each type.
func cpp() string {
	const other = mlxc.Bool // no type of an argument
	var b strings.Builder
	b.WriteString("#include \"metal.h\"\nstatic void **in, **out;\n")
	for _, k := range kernels {
		fmt.Fprintf(&b, "template <class T> static void body_%s() {\n", k.name)
		argument := func(name, of string, i int, constant string) {
			t := map[mlxc.Type]string{mlxc.I32: "int", mlxc.F32: "float", other: "T"}[typeOf(name, other)]
			fmt.Fprintf(&b, "    %s%s *%s = (%s *)%s[%d];\n", constant, t, name, t, of, i)
		}
		for i, name := range k.inputs {
			argument(name, "in", i, "const ")
		}
		for i, name := range k.outputs {
			argument(name, "out", i, "")
		}
		fmt.Fprintf(&b, "%s}\n", k.body())
		for suffix, t := range map[string]string{"f32": "float", "bf16": "bfloat16_t", "f16": "float16_t"} {
			fmt.Fprintf(&b, "extern \"C\" void %s_%s(void **i, void **o, const int *grid) { in = i, out = o; groups(body_%s<%s>, %d, grid); }\n", k.name, suffix, k.name, t, k.threads)
		}
	}
	return b.String()
}

// kernels are all of them.
var kernels = []kernel{attentionGradQueries, attentionGradKeys, entropyRows, normGrad, routeRows, gated, gatedGrad, turn}

// compiled is the library of all kernels.
func compiled(t *testing.T) uintptr {
	t.Helper()
	gpp, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("g++ is missing, which compiles kernels for the processor")
	}
	dir := t.TempDir()
	source, library := filepath.Join(dir, "kernels.cpp"), filepath.Join(dir, "kernels.so")
	if err := os.WriteFile(source, []byte(cpp()), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gpp, "-std=c++17", "-O1", "-march=x86-64-v3", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-I", "testdata", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// emulate makes the device run the texts of kernels on the processor. It returns how often each of them ran.
func emulate(t *testing.T, d *Device, h uintptr) map[string]int {
	used := map[string]int{}
	suffix := map[mlxc.Type]string{mlxc.F32: "f32", mlxc.BF16: "bf16", mlxc.F16: "f16"}
	sizes := map[mlxc.Type]int{mlxc.F32: 4, mlxc.I32: 4, mlxc.BF16: 2, mlxc.F16: 2}
	d.hasKernel = func(kernel, mlxc.Type) bool { return true }
	d.kernel = func(k kernel, of mlxc.Type, groups [3]int, inputs []mlxc.Array, outputs []mlxc.Output) []mlxc.Array {
		f, err := purego.Dlsym(h, k.name+"_"+suffix[of])
		if err != nil {
			t.Fatal(err)
		}
		in, out := make([][]byte, len(inputs)), make([][]byte, len(outputs))
		for i, a := range inputs {
			in[i] = make([]byte, d.g.Bytes(a))
			d.g.Read(a, in[i])
		}
		for i, o := range outputs {
			out[i] = slices.Repeat([]byte{0xFF}, compute.Shape(o.Shape).Elems()*sizes[o.Type])
		}
		grid := []int32{int32(groups[0]), int32(groups[1]), int32(groups[2])}
		ins, outs := pointers(in), pointers(out)
		purego.SyscallN(f, uintptr(unsafe.Pointer(&ins[0])), uintptr(unsafe.Pointer(&outs[0])), uintptr(unsafe.Pointer(&grid[0])))
		results := make([]mlxc.Array, len(outputs))
		for i, o := range outputs {
			results[i] = d.g.New(out[i], o.Type, o.Shape...)
		}
		used[k.name]++
		return results
	}
	return used
}

func pointers(list [][]byte) []unsafe.Pointer {
	p := make([]unsafe.Pointer, len(list))
	for i, b := range list {
		p[i] = unsafe.Pointer(unsafe.SliceData(b))
	}
	return p
}

// TestKernels runs the suite with ops by the texts of the kernels for GPUs, which g++ compiles here: what Metal's own
// compiler makes of them is for a Mac to show.
func TestKernels(t *testing.T) {
	library(t)
	h, every := compiled(t), 4
	if os.Getenv("LENTIL_TEST_MLX") != "" {
		every = 1
	}
	names := []string{compute.CrossEntropy{}.Name(), compute.CrossEntropyLogits{}.Name()}
	for name := range kernelsOf {
		names = append(names, name)
	}
	for _, activations := range []compute.DType{compute.F32, compute.BF16, compute.F16} {
		t.Run(activations.String(), func(t *testing.T) {
			d := open(t, activations)
			used := emulate(t, d, h)
			computetest.RunOps(t, d, every, names...)
			for _, k := range kernels {
				if used[k.name] == 0 {
					t.Errorf("%s did not run", k.name)
				}
			}
		})
	}
}

// TestKernelFails: where MLX does not take a kernel, as without Metal, its op is composed, and who asks is told.
func TestKernelFails(t *testing.T) {
	d := open(t, compute.F32)
	d.kernel, d.hasKernel = d.apply, d.works
	computetest.RunOps(t, d, 1, compute.SwiGLU{}.Name())
	if ran, failed := d.Kernels(); len(ran) != 0 || failed[gated.name] == nil {
		t.Errorf("%v ran, %v failed", ran, failed)
	}
}
