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
	t.ownGrad(x)
	if t.err != nil {
		return nil, false
	}
	if x.grad == nil {
		x.grad = t.newGrad(x)
	}
	accumulate = x.gradSet
	x.gradSet = x.grad != nil
	return x.grad, accumulate
}

func (t *Tape) newGrad(x *Tensor) compute.Buffer {
	buf, err := t.dev.Alloc(x.spec.Shape, x.spec.DType)
	if err != nil {
		t.fail(fmt.Errorf("gradient %v: %w", x.spec, err))
		return nil
	}
	return buf
}

// ownGrad comes before x's gradient is changed in place: one that is shared is copied. Most often the others are done
// with it by then.
func (t *Tape) ownGrad(x *Tensor) {
	if t.err != nil || x.sharers == nil || *x.sharers == 1 {
		return
	}
	own := t.newGrad(x)
	if t.err != nil {
		return
	}
	t.run(compute.Scale{Alpha: 1}, bufs(own), bufs(x.grad))
	*x.sharers--
	x.grad, x.sharers = own, nil
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
		t.ownGrad(x)
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
		t.ownGrad(x)
		t.run(compute.Add{Alpha: 1}, bufs(x.grad), bufs(x.grad, y.grad))
		return
	}
	x.FreeGrad()
	x.moveGrad(y)
}

// passBoth is pass to a and to b. Where a has none yet, they share one buffer until either of them is changed or freed.
func (t *Tape) passBoth(a, b, y *Tensor) {
	if t.err != nil {
		return
	}
	if a.gradSet || a.lasting() || b.lasting() { // a lasting gradient is the caller's, to do with as it likes
		g, acc := t.target(a)
		if acc {
			t.run(compute.Add{Alpha: 1}, bufs(g), bufs(g, y.grad))
		} else {
			t.run(compute.Scale{Alpha: 1}, bufs(g), bufs(y.grad))
		}
	} else {
		a.shareGrad(y)
	}
	t.pass(b, y)
}

// shareGrad gives x, which has no gradient, that of y.
func (x *Tensor) shareGrad(y *Tensor) {
	x.FreeGrad()
	if y.sharers == nil {
		y.sharers = new(int)
		*y.sharers = 1
	}
	*y.sharers++
	x.grad, x.gradSet, x.sharers = y.grad, true, y.sharers
}

// moveGrad takes over the gradient of y, whether set or not.
func (x *Tensor) moveGrad(y *Tensor) {
	x.grad, x.gradSet, x.sharers = y.grad, y.gradSet, y.sharers
	y.grad, y.gradSet, y.sharers = nil, false, nil
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
