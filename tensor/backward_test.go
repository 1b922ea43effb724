package tensor_test

import (
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/tensor"
)

// shared has sums of which both terms need a gradient: the gradient of one is changed in place while the other still needs
// its own.
func shared(b *bench) graph {
	x, w, v, u := b.param(rows, 8), b.weight(8, 8), b.weight(8, 8), b.weight(vocab, 8)
	m, norm := b.param(8), b.param(8)
	norm.SetTrainable(false)
	b.params = b.params[:len(b.params)-1]
	return func(t *tensor.Tape) *tensor.Tensor {
		first, turned := t.Linear(x, w, nil), t.Linear(x, v, nil)
		t.RoPE(turned, t.RopeTable(t.Ints([]int32{3, 1, 2, 0, 1}), t.Floats([]float32{1, 0.3}), 1), 4, false)
		second, longer := t.Linear(x, w, nil), t.Magnitude(t.Linear(x, v, nil), m, norm, nil)
		y := t.Add(t.Add(first, turned), t.Add(second, longer))
		third := t.Linear(x, w, nil)
		y = t.Add(y, t.Add(third, third))
		return ending(t, t.Linear(t.Add(y, x), u, nil))
	}
}

// TestResidualsShareGradients: the gradient of a sum becomes that of both terms without a copy.
func TestResidualsShareGradients(t *testing.T) {
	t.Parallel()
	for _, checkpoint := range []bool{false, true} {
		dev := &listing{Device: newCPU(t)}
		b := newBench(t, dev)
		b.run(residual(b, checkpoint), true)
		if slices.Contains(dev.names, "scale") {
			t.Errorf("checkpoint %v: ops are %v, want none of scale, which copies", checkpoint, dev.names)
		}
	}
}
