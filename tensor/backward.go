package tensor

import "github.com/lentil-lm/lentil/compute"

// Backward runs the recorded steps backwards, adds to the gradients of all
// trainable tensors and forgets the steps.
func (t *Tape) Backward() error {
	t.backward(0)
	return t.err
}

// backward processes the nodes from the last down to index first.
func (t *Tape) backward(first int) {
	record := t.record
	t.record = false
	for i := len(t.nodes) - 1; i >= first; i-- {
		n := t.nodes[i]
		if t.err == nil && (n.out == nil || n.out.gradSet) {
			t.Scope(func() *Tensor { n.backward(); return nil })
		}
		t.drop(&n)
		t.nodes[i] = node{}
	}
	t.nodes = t.nodes[:first]
	t.record = record
}

// target is where an op shall put a contribution to x's gradient, and whether
// it must add to what is there.
func (t *Tape) target(x *Tensor) (buf compute.Buffer, accumulate bool) {
	if t.err != nil {
		return nil, false
	}
	if x.grad == nil {
		buf, err := t.dev.Alloc(x.spec.Shape, compute.F32)
		if err != nil {
			t.fail(err)
			return nil, false
		}
		x.grad = buf
	}
	accumulate = x.gradSet
	x.gradSet = true
	return x.grad, accumulate
}

// sum is target for ops that always add: the gradient starts from zero.
func (t *Tape) sum(x *Tensor) compute.Buffer {
	buf, accumulate := t.target(x)
	if !accumulate {
		t.run(compute.Fill{Shape: x.spec.Shape}, []compute.Buffer{buf}, nil)
	}
	return buf
}

// give makes a finished gradient g a contribution to x's: by taking the buffer
// over when it is the first one, else by adding. g must belong to no scope.
func (t *Tape) give(x *Tensor, g compute.Buffer) {
	if t.err != nil {
		g.Free()
		return
	}
	if !x.gradSet {
		if x.grad != nil {
			x.grad.Free()
		}
		x.grad, x.gradSet = g, true
		return
	}
	t.run(compute.Add{Alpha: 1}, bufs(x.grad), bufs(x.grad, g))
	g.Free()
}

// scratch is a buffer outside all scopes: the caller frees it or gives it away.
func (t *Tape) scratch(spec compute.Spec) compute.Buffer {
	if t.err != nil {
		return nil
	}
	b, err := t.dev.Alloc(spec.Shape, spec.DType)
	t.fail(err)
	return b
}

func bufs(b ...compute.Buffer) []compute.Buffer { return b }

// Checkpoint computes y = f(x) without remembering the steps inside and
// computes them again in the backward pass: memory of one x instead of all of
// f's activations, for the time of a second forward pass (Chen et al., 2016).
// uses are the tensors that f takes from outside: they live until then.
func (t *Tape) Checkpoint(x *Tensor, f func(x *Tensor) *Tensor, uses ...*Tensor) *Tensor {
	if !t.record {
		return t.Scope(func() *Tensor { return f(x) })
	}
	keys := t.Keys
	t.record = false
	y := t.Scope(func() *Tensor { return f(x) })
	t.record = true
	t.push(y, func() {
		after, first := t.Keys, len(t.nodes)
		t.Keys, t.record = keys, true
		in := &Tensor{spec: x.spec, buf: x.buf, fixed: true, needsGrad: x.needsGrad}
		t.Scope(func() *Tensor {
			again := f(in)
			if t.err == nil {
				// y's gradient becomes that of its second self.
				again.grad, again.gradSet = y.grad, true
				y.grad, y.gradSet = nil, false
			}
			t.backward(first)
			return nil
		})
		t.Keys, t.record = after, false
		if in.gradSet {
			t.give(x, in.grad)
		}
	}, append([]*Tensor{x}, uses...)...)
	return y
}
