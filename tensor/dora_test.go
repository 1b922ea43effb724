package tensor_test

import "github.com/lentil-lm/lentil/tensor"

// dora is a low-rank update with a magnitude. The norms are given: a constant, as
// they are for the backward pass.
func dora(b *bench, dropout float32, trainBias, checkpoint bool) graph {
	bias := b.param(vocab)
	if !trainBias {
		bias.SetTrainable(false)
		b.params = b.params[1:]
	}
	norm := b.param(vocab)
	norm.SetTrainable(false)
	b.params = b.params[:len(b.params)-1]
	x, w, a, up, m := b.param(rows, 32), b.frozen(vocab, 32), b.param(32, 2), b.param(2, vocab), b.param(vocab)
	layer := func(t *tensor.Tape, x *tensor.Tensor) *tensor.Tensor {
		return t.Magnitude(t.Project(x, tensor.Projection{Weight: w, A: a, B: up, Scale: 3, Dropout: dropout})[0], m, norm, bias)
	}
	return func(t *tensor.Tape) *tensor.Tensor {
		if checkpoint {
			return ending(t, t.Checkpoint(x, func(x *tensor.Tensor) *tensor.Tensor { return layer(t, x) }))
		}
		return ending(t, layer(t, x))
	}
}
