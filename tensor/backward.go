package tensor

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
)

// Backward runs the recorded steps backwards, adds to the gradients of all
// trainable tensors and forgets the steps. After an error the gradients are
// incomplete: ZeroGrad discards them.
func (t *Tape) Backward() error {
	t.backward(0)
	t.drawn.endPass()
	return t.err
}

// backward processes the nodes from the last down to index first.
func (t *Tape) backward(first int) {
	record := t.record
	t.record = false
	for i := len(t.nodes) - 1; i >= first; i-- {
		n := t.nodes[i]
		if t.err == nil && n.reached() {
			for _, s := range n.saved {
				if s.buf == nil && s.again != nil {
					s.again(t)
				}
			}
			t.Scope(func() *Tensor {
				if t.err == nil {
					n.backward()
				}
				return nil
			})
		}
		t.drop(&n)
		t.nodes[i] = node{}
	}
	t.nodes = t.nodes[:first]
	t.record = record
}

// target is the buffer for an op's contribution to x's gradient, which has the type of x,
// and whether the op must add to what is there.
func (t *Tape) target(x *Tensor) (buf compute.Buffer, accumulate bool) {
	if t.err != nil {
		return nil, false
	}
	if x.grad == nil {
		buf, err := t.dev.Alloc(x.spec.Shape, x.spec.DType)
		if err != nil {
			t.fail(fmt.Errorf("gradient %v: %w", x.spec, err))
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

// give makes g, a tensor of this step, a contribution to x's gradient. The first
// contribution's buffer is taken over, others are added.
func (t *Tape) give(x, g *Tensor) {
	if t.err != nil || !x.needsGrad {
		return
	}
	if x.gradSet {
		t.run(compute.Add{Alpha: 1}, bufs(x.grad), bufs(x.grad, g.buf))
		return
	}
	x.FreeGrad()
	x.grad, x.gradSet = g.buf, true
	g.buf = nil
}

// pass makes y's gradient a contribution to x's; y's is of no use afterwards.
func (t *Tape) pass(x, y *Tensor) {
	if t.err != nil {
		return
	}
	if x.gradSet {
		t.run(compute.Add{Alpha: 1}, bufs(x.grad), bufs(x.grad, y.grad))
		return
	}
	x.FreeGrad()
	x.moveGrad(y)
}

// moveGrad takes over the gradient of y, whether set or not.
func (x *Tensor) moveGrad(y *Tensor) {
	x.grad, x.gradSet = y.grad, y.gradSet
	y.grad, y.gradSet = nil, false
}

func bufs(b ...compute.Buffer) []compute.Buffer { return b }

// Checkpoint computes y = f(x) and keeps x alone; the backward pass computes f again.
// That takes the memory of one x instead of all of f's activations, for the time of a
// second forward pass (Chen et al., 2016). uses are the tensors that f takes from
// outside: they live until then. f draws the same dropout both times and must not end
// in a loss.
func (t *Tape) Checkpoint(x *Tensor, f func(x *Tensor) *Tensor, uses ...*Tensor) *Tensor {
	if !t.record || t.transient {
		return t.Scope(func() *Tensor { return f(x) })
	}
	keys := t.Keys
	t.transient = true
	y := t.Scope(func() *Tensor { return f(x) })
	t.transient = false
	if !y.needsGrad {
		return y // nothing in f is trained, and nothing before it
	}
	t.push(y, func() {
		after, masks, first := t.Keys, t.drawn.masks, len(t.nodes)
		t.Keys, t.record = keys, true
		in := &Tensor{spec: x.spec, buf: x.buf, fixed: true, needsGrad: x.needsGrad}
		in.moveGrad(x)
		t.Scope(func() *Tensor {
			again := f(in)
			if t.err == nil {
				again.moveGrad(y)
			}
			t.backward(first)
			return nil
		})
		x.moveGrad(in)
		t.Keys, t.drawn.masks, t.record = after, masks, false
	}, append([]*Tensor{x}, uses...)...)
	return y
}
