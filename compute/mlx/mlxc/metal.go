package mlxc

import (
	"runtime"
	"unsafe"

	"github.com/lentil-lm/lentil/internal/cstring"
)

// A Kernel is one of ours for the GPU, of which MLX is given the text. MLX writes the head of the function: inputs and
// outputs by their names, and what the body uses of Metal's thread positions.
type Kernel struct {
	handle uintptr
	name   string
}

// NewKernel makes a kernel of the body of a function. Nothing is compiled before it is applied.
func (g *Graph) NewKernel(name string, inputs, outputs []string, body string) Kernel {
	if g.err != nil {
		return Kernel{}
	}
	l := g.lib
	in, out := l.strings(inputs), l.strings(outputs)
	defer l.call(vectorStringFree, in)
	defer l.call(vectorStringFree, out)
	const contiguous, atomics = 1, 0
	h := l.call(metalKernelNew, uintptr(unsafe.Pointer(cstring.New(name))), in, out, uintptr(unsafe.Pointer(cstring.New(body))),
		uintptr(unsafe.Pointer(cstring.New(""))), contiguous, atomics)
	if h == 0 {
		g.Fail(l.check(metalKernelNew, 1))
	}
	return Kernel{h, name}
}

// FreeKernel gives a kernel back.
func (l *Library) FreeKernel(k Kernel) { l.call(metalKernelFree, k.handle) }

func (l *Library) strings(list []string) uintptr {
	texts := make([]*byte, len(list))
	for i, s := range list {
		texts[i] = cstring.New(s)
	}
	v := l.call(vectorStringNewData, uintptr(unsafe.Pointer(&texts[0])), uintptr(len(texts)))
	runtime.KeepAlive(texts)
	return v
}

// An Output of a kernel.
type Output struct {
	Type  Type
	Shape []int
}

// Apply runs a kernel on so many groups of threads, each of them in one dimension. T is the type that its text calls so.
func (g *Graph) Apply(k Kernel, t Type, groups [3]int, threads int, inputs []Array, outputs []Output) []Array {
	results := make([]Array, len(outputs))
	if g.err != nil {
		return results
	}
	l := g.lib
	config := l.call(metalConfigNew)
	defer l.call(metalConfigFree, config)
	for _, o := range outputs {
		dims := ints(o.Shape)
		g.Fail(l.do(metalConfigOutput, config, uintptr(unsafe.Pointer(&dims[0])), uintptr(len(o.Shape)), uintptr(o.Type)))
	}
	g.Fail(l.do(metalConfigGrid, config, uintptr(groups[0]*threads), uintptr(groups[1]), uintptr(groups[2])))
	g.Fail(l.do(metalConfigGroup, config, uintptr(threads), 1, 1))
	g.Fail(l.do(metalConfigType, config, uintptr(unsafe.Pointer(cstring.New("T"))), uintptr(t)))
	if g.err != nil {
		return results
	}
	in := l.call(vectorNewData, uintptr(unsafe.Pointer(&inputs[0])), uintptr(len(inputs)))
	defer l.call(vectorFree, in)
	all := new(uintptr)
	*all = l.call(vectorNew)
	defer func() { l.call(vectorFree, *all) }()
	if g.Fail(l.do(metalKernelApply, uintptr(unsafe.Pointer(all)), k.handle, in, config, uintptr(g.s))); g.err != nil {
		return results
	}
	for i := range results {
		*g.res = 0
		results[i] = g.result(vectorGet, int32(l.call(vectorGet, uintptr(unsafe.Pointer(g.res)), *all, uintptr(i))))
	}
	return results
}
