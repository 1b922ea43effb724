package tensor

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// Tape runs ops on a device. It is not safe for concurrent use.
type Tape struct {
	dev       compute.Device
	act       compute.DType // of activations that ops make of integers and weights
	record    bool          // remember steps for Backward
	transient bool          // first pass of a Checkpoint: note which tensors need a gradient, remember no steps
	nodes     []node
	scopes    [][]*Tensor
	err       error
	program   *program       // that is being made; nil for none
	specs     []compute.Spec // of the inputs of the op that is applied

	// Exact keeps float32 activations in every product (see compute.Linear).
	Exact bool
	// RowWise gives each row, to the bit, the result that it has alone, on devices that
	// can promise it (see compute.Linear). A recording tape ignores it.
	RowWise bool
	// Recompute is the size in bytes from which results of RMSNorm and SwiGLU are computed again in the backward pass
	// instead of kept for it: the same bits, at the cost of reading their inputs once more.
	Recompute int64
	// Keys is the random stream of dropout.
	Keys  compute.Key
	drawn drawn // from it, for masks to come
	// Stop is asked before each op, and its error ends the work as that of an op does.
	// Nil is never.
	Stop func() error
}

// node is one recorded step: how to turn the gradients of outs into the
// gradients of its inputs, and the tensors kept alive for that.
type node struct {
	outs     []*Tensor // none for a loss, which starts the backward pass
	saved    []*Tensor
	backward func()
}

// NewTape returns a tape that does not record.
func NewTape(dev compute.Device) *Tape {
	return &Tape{dev: dev, act: max(dev.Info().Activations, compute.F32), Recompute: 64 << 20} // F32 is the smallest
}

// Activation is the type of activations that ops make of integers and weights.
func (t *Tape) Activation() compute.DType { return t.act }

// InFloat32 runs f with products in float32, on every device: logits, which are compared
// with one another.
func (t *Tape) InFloat32(f func() *Tensor) *Tensor {
	act := t.act
	t.act = compute.F32
	y := f()
	t.act = act
	return y
}

// Err is the first error since the tape was made or Reset.
func (t *Tape) Err() error { return t.err }

// Reset drops everything recorded and the error; recording sets the mode.
func (t *Tape) Reset(recording bool) {
	for i := len(t.nodes) - 1; i >= 0; i-- {
		t.drop(&t.nodes[i])
	}
	t.nodes = t.nodes[:0]
	t.drawn.endPass()
	t.err = nil
	t.record = recording
}

func (t *Tape) rowWise() bool { return t.RowWise && !t.record }

// Fail makes err the tape's error unless it has one, for work that is not an op.
func (t *Tape) Fail(err error) { t.fail(err) }

func (t *Tape) fail(err error) {
	if t.err == nil && err != nil {
		t.err = err
	}
}

// Scope runs f and frees the tensors that it made, except its result, which belongs to
// the surrounding scope. Tensors made outside all scopes, and the result of the outermost one, live until Free.
func (t *Tape) Scope(f func() *Tensor) *Tensor {
	t.scopes = append(t.scopes, nil)
	y := f()
	last := len(t.scopes) - 1
	made := t.scopes[last]
	t.scopes = t.scopes[:last]
	for _, x := range made {
		if x == y {
			t.adopt(x)
		}
		x.leave()
	}
	return y
}

// adopt gives a tensor to the current scope.
func (t *Tape) adopt(x *Tensor) {
	x.retain()
	x.held++
	if n := len(t.scopes); n > 0 {
		t.scopes[n-1] = append(t.scopes[n-1], x)
	}
}

// Done frees a tensor of the current scope before its end, unless the backward pass
// needs it.
func (t *Tape) Done(x *Tensor) {
	if len(t.scopes) == 0 {
		return
	}
	made := t.scopes[len(t.scopes)-1]
	for i := len(made) - 1; i >= 0; i-- {
		if made[i] == x {
			t.scopes[len(t.scopes)-1] = append(made[:i], made[i+1:]...)
			x.leave()
			return
		}
	}
}

// alloc makes a tensor of the current scope.
func (t *Tape) alloc(spec compute.Spec) *Tensor {
	x := &Tensor{spec: spec}
	if t.err == nil {
		var err error
		if x.program = t.program; x.program != nil {
			x.buf, err = x.program.alloc(t.dev, spec)
		} else {
			x.buf, err = t.dev.Alloc(spec.Shape, spec.DType)
		}
		if err != nil {
			t.fail(fmt.Errorf("%v for an intermediate result: %w", spec, err))
		}
	}
	t.adopt(x)
	return x
}

// Ints copies host integers to the device.
func (t *Tape) Ints(v []int32) *Tensor {
	return t.upload(compute.Spec{Shape: compute.Shape{len(v)}, DType: compute.I32}, compute.IntBytes(v))
}

// IntRows copies rows of n host integers to the device, I32 [len(v)/n, n].
func (t *Tape) IntRows(v []int32, n int) *Tensor {
	return t.upload(compute.Spec{Shape: compute.Shape{len(v) / n, n}, DType: compute.I32}, compute.IntBytes(v))
}

// Floats copies host values to the device.
func (t *Tape) Floats(v []float32, shape ...int) *Tensor {
	if len(shape) == 0 {
		shape = []int{len(v)}
	}
	return t.upload(compute.Spec{Shape: shape, DType: compute.F32}, compute.FloatBytes(v))
}

// Activations copies host values to the device, in the type that its activations have.
func (t *Tape) Activations(v []float32, shape ...int) *Tensor {
	spec := compute.Spec{Shape: shape, DType: t.act}
	if spec.DType == compute.F32 {
		return t.upload(spec, compute.FloatBytes(v))
	}
	data := make([]byte, spec.Bytes())
	quant.PutFloats(data, v, spec.DType)
	return t.upload(spec, data)
}

// Upload copies host bytes to the device, in the type that they are of.
func (t *Tape) Upload(data []byte, dtype compute.DType, shape ...int) *Tensor {
	return t.upload(compute.Spec{Shape: shape, DType: dtype}, data)
}

func (t *Tape) upload(spec compute.Spec, data []byte) *Tensor {
	x := t.alloc(spec)
	if t.copies() {
		t.fail(t.dev.Write(x.buf, data))
	}
	return x
}

// Tell gives a tensor of New, which it may have read already, other content.
func (t *Tape) Tell(x *Tensor, data []byte) {
	if t.copies() {
		t.fail(t.dev.Write(x.buf, data))
	}
}

// Read copies a tensor of floats to the host, nil after an error.
func (t *Tape) Read(x *Tensor) []float32 {
	if !t.copies() {
		return nil
	}
	v, err := ReadFloats(t.dev, x)
	t.fail(err)
	return v
}

// ReadBytes copies a tensor to the host as it is on the device, nil after an error.
func (t *Tape) ReadBytes(x *Tensor) []byte {
	if !t.copies() {
		return nil
	}
	data := make([]byte, x.spec.Bytes())
	t.fail(t.dev.Read(x.buf, data))
	return data
}

// ReadInts copies an I32 tensor to the host, nil after an error.
func (t *Tape) ReadInts(x *Tensor) []int32 {
	if !t.copies() {
		return nil
	}
	v := make([]int32, x.spec.Shape.Elems())
	t.fail(t.dev.Read(x.buf, compute.IntBytes(v)))
	return v
}

// mostOutputs is how many outputs an op has at most.
const mostOutputs = 3

// apply runs op into new tensors.
func (t *Tape) apply(op compute.Op, in ...compute.Buffer) []*Tensor {
	specs := t.specs[:0]
	if t.err == nil {
		for _, b := range in {
			specs = append(specs, b.Spec())
		}
	}
	t.specs = specs
	var outs []compute.Spec
	if t.err == nil {
		var err error
		outs, err = compute.Infer(op, specs)
		t.fail(err)
	}
	if t.err != nil { // callers still get as many tensors as they expect
		outs = make([]compute.Spec, mostOutputs)
	}
	y := make([]*Tensor, len(outs))
	bufs := make([]compute.Buffer, len(outs))
	for i, s := range outs {
		y[i] = t.alloc(s)
		bufs[i] = y[i].buf
	}
	t.run(op, bufs, in)
	return y
}

// run runs op into given buffers.
func (t *Tape) run(op compute.Op, out, in []compute.Buffer) {
	if t.err == nil && t.Stop != nil {
		t.fail(t.Stop())
	}
	if t.err != nil {
		return
	}
	if t.program != nil {
		t.program.calls = append(t.program.calls, compute.Call{Op: op, Out: out, In: in})
		return
	}
	if err := t.dev.Run(op, out, in); err != nil {
		t.fail(fmt.Errorf("%s: %w", op.Name(), err))
	}
}

// push records a step whose gradient comes from out (nil for a loss).
func (t *Tape) push(out *Tensor, backward func(), saved ...*Tensor) {
	if out == nil {
		t.pushAll(nil, backward, saved...)
		return
	}
	t.pushAll([]*Tensor{out}, backward, saved...)
}

// pushAll records a step whose gradient comes from any of outs.
func (t *Tape) pushAll(outs []*Tensor, backward func(), saved ...*Tensor) {
	if t.err != nil {
		return
	}
	for _, y := range outs {
		y.needsGrad = true
	}
	if t.transient {
		return
	}
	for _, y := range outs {
		y.nodes++
	}
	for _, s := range saved {
		s.retain()
	}
	t.nodes = append(t.nodes, node{outs, saved, backward})
}

// reached reports whether the backward pass has come to a node: a gradient of its results is there.
func (n *node) reached() bool {
	return len(n.outs) == 0 || slices.ContainsFunc(n.outs, func(y *Tensor) bool { return y.gradSet })
}

// repeatable says that a recorded op over inputs that its node keeps makes y, which is not changed in place.
func (t *Tape) repeatable(y *Tensor, op compute.Op, in ...*Tensor) {
	if t.err != nil || y.spec.Bytes() < t.Recompute {
		return
	}
	y.again = func(t *Tape) {
		buf, err := t.dev.Alloc(y.spec.Shape, y.spec.DType)
		if err != nil {
			t.fail(fmt.Errorf("%v for a result that is computed again: %w", y.spec, err))
			return
		}
		y.buf = buf
		t.run(op, bufs(buf), buffers(in))
	}
}

// drop releases what a node keeps alive.
func (t *Tape) drop(n *node) {
	for _, s := range n.saved {
		s.release()
	}
	for _, y := range n.outs {
		y.nodes--
		if y.nodes == 0 && !y.fixed {
			y.FreeGrad()
		}
	}
}
