package mlx

import (
	"embed"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
)

// What MLX's functions make many passes over memory for has a kernel of ours for GPUs, in Metal, which MLX compiles when
// it is first needed. Each op that has one is also composed of MLX's functions: that is what processors run, and GPUs
// where Options.Composed is set. Both forms pass the suite; processors run the kernels' texts in tests (emulate_test.go).

//go:embed metal/*.metal
var texts embed.FS

// A kernel is the body of a function. T in it is the type of activations.
type kernel struct {
	name            string // of its file
	inputs, outputs []string
	threads         int // of a group
}

var (
	attentionGradQueries = kernel{"attention_grad_queries", []string{"q", "k", "v", "y", "dy", "starts", "sizes", "numbers"}, []string{"dq", "sums"}, 32}
	attentionGradKeys    = kernel{"attention_grad_keys", []string{"q", "k", "v", "dy", "ends", "sums", "sizes", "numbers"}, []string{"dk", "dv"}, 32}
	entropyRows          = kernel{"entropy", []string{"logits", "targets", "weight", "sizes"}, []string{"loss", "grad"}, 256}
	normGrad             = kernel{"norm_grad", []string{"x", "w", "dy", "before", "sizes", "numbers"}, []string{"dx"}, 128}
	routeRows            = kernel{"route", []string{"logits", "sizes"}, []string{"ids", "scores"}, 64}
	gated                = kernel{"gated", []string{"gate", "up", "sizes"}, []string{"y"}, 256}
	gatedGrad            = kernel{"gated_grad", []string{"gate", "up", "dy", "sizes"}, []string{"dgate", "dup"}, 256}
	turn                 = kernel{"turn", []string{"x", "cosines", "sines", "sizes"}, []string{"y"}, 256}
)

// body is the kernel's text.
func (k kernel) body() string {
	text, err := texts.ReadFile("metal/" + k.name + ".metal")
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// An applier runs a kernel on groups of threads.
type applier func(k kernel, t mlxc.Type, groups [3]int, inputs []mlxc.Array, outputs []mlxc.Output) []mlxc.Array

// made is what MLX has of a kernel.
type made struct {
	kernel mlxc.Kernel
	types  map[mlxc.Type]error // nil for those for which Metal's compiler took it
}

// apply gives the kernel to MLX.
func (d *Device) apply(k kernel, t mlxc.Type, groups [3]int, inputs []mlxc.Array, outputs []mlxc.Output) []mlxc.Array {
	return d.g.Apply(d.made[k.name].kernel, t, groups, k.threads, inputs, outputs)
}

// works reports whether the GPU runs the kernel for a type: it is compiled, and run once on next to nothing. An op whose
// kernel does not work is composed.
func (d *Device) works(k kernel, t mlxc.Type) bool {
	m, ok := d.made[k.name]
	if !ok {
		g := d.lib.NewGraph(d.stream)
		m = &made{g.NewKernel("lentil_"+k.name, k.inputs, k.outputs, k.body()), map[mlxc.Type]error{}}
		if err := g.Close(); err != nil {
			m.types[t] = err
		}
		d.made[k.name] = m
	}
	err, ok := m.types[t]
	if !ok {
		err = d.tryKernel(k, m.kernel, t)
		m.types[t] = err
	}
	return err == nil
}

// integerArguments and floatArguments are inputs and outputs that are not of type T.
var (
	integerArguments = []string{"targets", "starts", "ends", "sizes", "ids"}
	floatArguments   = []string{"weight", "w", "numbers", "sums", "cosines", "sines", "loss", "scores"}
)

// typeOf is the type of an argument.
func typeOf(argument string, t mlxc.Type) mlxc.Type {
	switch {
	case slices.Contains(integerArguments, argument):
		return mlxc.I32
	case slices.Contains(floatArguments, argument):
		return mlxc.F32
	}
	return t
}

// tryKernel runs a group with sizes of one.
func (d *Device) tryKernel(k kernel, m mlxc.Kernel, t mlxc.Type) error {
	const room = 16
	g := d.lib.NewGraph(d.stream)
	var inputs []mlxc.Array
	for _, name := range k.inputs {
		a := g.Zeros(typeOf(name, t), room)
		if name == "sizes" {
			a = g.New(compute.IntBytes([]int32{1, 1, 1, 1, 0, 0}), mlxc.I32, 6)
		}
		inputs = append(inputs, a)
	}
	var outputs []mlxc.Output
	for _, name := range k.outputs {
		outputs = append(outputs, mlxc.Output{Type: typeOf(name, t), Shape: []int{room}})
	}
	for _, a := range g.Apply(m, t, [3]int{1, 1, 1}, k.threads, inputs, outputs) {
		g.Read(a, make([]byte, g.Bytes(a)))
	}
	return g.Close()
}

// Kernels names the kernels of ours that ran, and those that did not work, with the reason.
func (d *Device) Kernels() (ran []string, failed map[string]error) {
	failed = map[string]error{}
	d.enter(func() error {
		for name, m := range d.made {
			ran = append(ran, name)
			for _, err := range m.types {
				if err != nil {
					failed[name] = err
				}
			}
		}
		return nil
	})
	ran = slices.DeleteFunc(ran, func(name string) bool { return failed[name] != nil })
	slices.Sort(ran)
	return ran, failed
}

// output is one as a spec has it.
func output(s compute.Spec) mlxc.Output { return mlxc.Output{Type: types[s.DType], Shape: s.Shape} }

// integers is a small array of sizes.
func (c *call) integers(v ...int) mlxc.Array {
	list := make([]int32, len(v))
	for i, n := range v {
		list[i] = int32(n)
	}
	return c.g.New(compute.IntBytes(list), mlxc.I32, len(v))
}

// numbers is a small array of settings.
func (c *call) numbers(v ...float32) mlxc.Array {
	return c.g.New(compute.FloatBytes(v), mlxc.F32, len(v))
}

// eachThread is how many groups give n threads.
func (k kernel) eachThread(n int) [3]int { return [3]int{(n + k.threads - 1) / k.threads, 1, 1} }

// widestHead is the size of heads up to which a group of 32 threads keeps one in registers.
const widestHead = 256

// kernelTypes are the types that texts have T for.
func kernelType(t compute.DType) bool {
	return t == compute.F32 || t == compute.BF16 || t == compute.F16
}

// byKernel builds the op by a kernel of ours, if there is one and a GPU to run it.
func (c *call) byKernel(op compute.Op) bool {
	if c.d.kernel == nil || len(c.in) == 0 || !kernelType(c.in[0].spec.DType) || !c.haveKernels(op) {
		return false
	}
	switch o := op.(type) {
	case compute.AttentionGrad:
		if o.HeadDim > widestHead {
			return false
		}
		c.attentionGradByKernel(o)
	case compute.RMSNormGrad:
		if o.Weight || c.in[2].spec.DType != c.in[0].spec.DType {
			return false
		}
		c.normGradByKernel(o)
	case compute.Route:
		t, n := c.dims(0)[0], c.dims(0)[1]
		y := c.d.kernel(routeRows, types[c.in[0].spec.DType], routeRows.eachThread(t), []mlxc.Array{c.x(0), c.integers(t, n, o.K, flagOf(o.Normalize))},
			[]mlxc.Output{output(c.out[0].spec), output(c.out[1].spec)})
		copy(c.results, y)
	case compute.SwiGLU:
		n := c.in[0].spec.Shape.Elems()
		copy(c.results, c.d.kernel(gated, types[c.in[0].spec.DType], gated.eachThread(n), []mlxc.Array{c.x(0), c.x(1), c.integers(n)}, c.outputs()))
	case compute.SwiGLUGrad:
		n := c.in[0].spec.Shape.Elems()
		copy(c.results, c.d.kernel(gatedGrad, types[c.in[0].spec.DType], gatedGrad.eachThread(n), []mlxc.Array{c.x(0), c.x(1), c.x(2), c.integers(n)}, c.outputs()))
	case compute.RoPE:
		t, half := c.dims(0)[0], c.dims(1)[1]
		heads := c.dims(0)[1] / o.HeadDim
		copy(c.results, c.d.kernel(turn, types[c.in[0].spec.DType], turn.eachThread(t*heads*(o.HeadDim-half)),
			[]mlxc.Array{c.x(0), c.x(1), c.x(2), c.integers(t, heads, o.HeadDim, half, flagOf(o.Traditional), flagOf(o.Inverse))}, c.outputs()))
	default:
		return false
	}
	return true
}

// kernelsOf are the kernels of ops.
var kernelsOf = map[string][]kernel{
	compute.AttentionGrad{}.Name(): {attentionGradQueries, attentionGradKeys}, compute.RMSNormGrad{}.Name(): {normGrad}, compute.Route{}.Name(): {routeRows},
	compute.SwiGLU{}.Name(): {gated}, compute.SwiGLUGrad{}.Name(): {gatedGrad}, compute.RoPE{}.Name(): {turn},
}

// haveKernels reports whether the op has kernels, and they work.
func (c *call) haveKernels(op compute.Op) bool {
	list, ok := kernelsOf[op.Name()]
	for _, k := range list {
		ok = ok && c.d.hasKernel(k, types[c.in[0].spec.DType])
	}
	return ok
}

func flagOf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// outputs are the call's.
func (c *call) outputs() []mlxc.Output {
	var list []mlxc.Output
	for _, b := range c.out {
		list = append(list, output(b.spec))
	}
	return list
}

func (c *call) attentionGradByKernel(o compute.AttentionGrad) {
	t, kind := c.dims(0)[0], types[c.in[0].spec.DType]
	starts, ends := segments(c.d.ints(c.in[3]).I32(), t)
	sizes, numbers := c.integers(o.Heads, o.KVHeads, o.HeadDim, o.Window), c.numbers(o.Scale, o.Softcap)
	index := func(v []int32) mlxc.Array { return c.g.New(compute.IntBytes(v), mlxc.I32, t) }
	q := c.d.kernel(attentionGradQueries, kind, [3]int{t, o.Heads, 1},
		[]mlxc.Array{c.x(0), c.x(1), c.x(2), c.x(4), c.x(6), index(starts), sizes, numbers},
		[]mlxc.Output{output(c.out[0].spec), {Type: mlxc.F32, Shape: []int{t, o.Heads, 2}}})
	kv := c.d.kernel(attentionGradKeys, kind, [3]int{t, o.KVHeads, 1},
		[]mlxc.Array{c.x(0), c.x(1), c.x(2), c.x(6), index(ends), q[1], sizes, numbers},
		[]mlxc.Output{output(c.out[1].spec), output(c.out[2].spec)})
	c.results[0], c.results[1], c.results[2] = q[0], kv[0], kv[1]
}

// segments gives for each of t rows the first of its segment and the one behind its last.
func segments(bounds []int32, t int) (starts, ends []int32) {
	starts, ends = make([]int32, t), make([]int32, t)
	for i := range len(bounds) - 1 {
		for row := bounds[i]; row < min(bounds[i+1], int32(t)); row++ {
			starts[row], ends[row] = bounds[i], min(bounds[i+1], int32(t))
		}
	}
	return starts, ends
}

func (c *call) normGradByKernel(o compute.RMSNormGrad) {
	n := c.dims(1)[0]
	before := c.x(0)
	if o.Accumulate {
		before = c.d.value(c.out[0])
	}
	copy(c.results, c.d.kernel(normGrad, types[c.in[0].spec.DType], [3]int{c.in[0].spec.Shape.Elems() / n, 1, 1},
		[]mlxc.Array{c.x(0), c.f32(1), c.x(2), before, c.integers(n, flagOf(o.Accumulate)), c.numbers(o.Eps)}, c.outputs()[:1]))
}

// entropyByKernel is entropy on a GPU.
func (c *call) entropyByKernel(logits, targets, weight mlxc.Array, t compute.DType, rows, n int) (loss, grad mlxc.Array) {
	y := c.d.kernel(entropyRows, types[t], [3]int{rows, 1, 1}, []mlxc.Array{logits, targets, weight, c.integers(n)},
		[]mlxc.Output{{Type: mlxc.F32, Shape: []int{rows}}, {Type: types[t], Shape: []int{rows, n}}})
	return y[0], y[1]
}
