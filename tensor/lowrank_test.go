package tensor_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/tensor"
)

// projections makes five Linears of one input: with an update, without, with dropout, trained, and one that has no part in
// the loss.
func projections(b *bench, together bool) graph {
	x, w := b.param(rows, 32), b.frozen(vocab, 32)
	list := []tensor.Projection{
		{Weight: w, A: b.param(32, 2), B: b.param(2, vocab), Scale: 3},
		{Weight: b.frozen(vocab, 32)},
		{Weight: w, A: b.param(32, 3), B: b.param(3, vocab), Scale: 2, Dropout: 0.3},
		{Weight: b.weight(vocab, 32), Bias: b.param(vocab)},
	}
	list = append(list, list[0])
	return func(t *tensor.Tape) *tensor.Tensor {
		var ys []*tensor.Tensor
		if together {
			ys = t.Project(x, list...)
		} else {
			for _, p := range list {
				ys = append(ys, t.Project(x, p)...)
			}
		}
		return ending(t, t.Add(t.Add(ys[0], ys[1]), t.SwiGLU(ys[2], ys[3])))
	}
}

// listing notes the names of the ops that run.
type listing struct {
	compute.Device
	names []string
}

func (l *listing) Run(op compute.Op, out, in []compute.Buffer) error {
	l.names = append(l.names, op.Name())
	return l.Device.Run(op, out, in)
}

// TestProjectionsOfOneInput: together they give, bit for bit, what each gives alone, and ops of one kind come side by side.
func TestProjectionsOfOneInput(t *testing.T) {
	t.Parallel()
	dev := &listing{Device: newCPU(t)}
	alone, together := newBench(t, dev), newBench(t, dev)
	wantLoss, want := alone.run(projections(alone, false), true)
	g := projections(together, true)
	dev.names = nil
	loss, got := together.run(g, true)
	if loss != wantLoss {
		t.Errorf("loss %v together, %v alone", loss, wantLoss)
	}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("parameter %d: gradients differ:\n%v\n%v", i, got[i], want[i])
		}
	}
	order := strings.Join(slices.Compact(dev.names), " ")
	if want := "matmul dropout matmul linear add"; !strings.HasPrefix(order, want) {
		t.Errorf("forward, ops come as %s, want %s first", order, want)
	}
	if want := "matmul dropout matmul sum_rows"; !strings.Contains(order, want) {
		t.Errorf("back, ops come as %s, want %s among them", order, want)
	}
}
