package compute

import (
	"errors"
	"math"
)

// CrossEntropy is the loss fused with the output head, so that the logits
// [R, V] never exist as a whole: loss_r = logsumexp(h_r Wᵀ) - (h_r Wᵀ)[target_r].
// With Grad it also gives the gradient of Σ rowWeight_r·loss_r.
//
//	in: h float [R, Cols], targets I32 [R], rowWeight F32 [R], weight [Rows, Cols]
//	out: loss F32 [R]; with Grad, dh as h; with GradWeight too, dW += F32 [Rows, Cols]
type CrossEntropy struct {
	Weight           Weight
	Grad, GradWeight bool
}

func (CrossEntropy) Name() string { return "cross_entropy" }

func (o CrossEntropy) weightInput() (Weight, int) { return o.Weight, 3 }

func (o CrossEntropy) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 4); err != nil {
		return nil, err
	}
	if o.GradWeight && !o.Grad {
		return nil, errors.New("GradWeight needs Grad")
	}
	if err := firstErr(want(in, 0, "h", -1, o.Weight.Cols), wantActivation(in, 0, "h"), want(in, 1, "targets", dim(in, 0, 0)), wantType(in, 1, "targets", I32),
		want(in, 2, "rowWeight", dim(in, 0, 0)), wantType(in, 2, "rowWeight", F32), o.Weight.check(in, 3)); err != nil {
		return nil, err
	}
	out := []Spec{in[2]}
	if o.Grad {
		out = append(out, in[0])
	}
	if o.GradWeight {
		out = append(out, Spec{Shape{o.Weight.Rows, o.Weight.Cols}, F32})
	}
	return out, nil
}

func (o CrossEntropy) Cost(in []Spec) Cost {
	c := o.Weight.cost(in[0], o.Weight.Rows, F32)
	if o.Grad {
		c.FLOPs *= 2
	}
	if o.GradWeight {
		c.FLOPs = c.FLOPs * 3 / 2
		c.Bytes += 8 * int64(o.Weight.Rows) * int64(o.Weight.Cols)
	}
	return c
}

func (o CrossEntropy) Define(out, in []Array) {
	m := o.Weight.Of(in[3])
	h, targets, weight, loss := in[0].Floats(), in[1].I32(), in[2].F32(), out[0].F32()
	w := m.Floats()
	var grad []float32
	if o.Grad {
		var put func()
		grad, put = out[1].working()
		defer put()
	}
	d, logits := m.Cols, make([]float32, m.Rows)
	for r := range loss {
		hr := h[r*d : (r+1)*d]
		for v := range logits {
			logits[v] = dot(hr, w[v*d:(v+1)*d])
		}
		lse := logSumExp(logits)
		loss[r] = float32(lse - float64(logits[targets[r]]))
		if !o.Grad {
			continue
		}
		softmaxGrad(logits, lse, targets[r], weight[r])
		dh := grad[r*d : (r+1)*d]
		clear(dh)
		for v, g := range logits {
			axpy(dh, g, w[v*d:(v+1)*d])
			if o.GradWeight {
				axpy(out[2].F32()[v*d:(v+1)*d], g, hr)
			}
		}
	}
}

// CrossEntropyLogits is the loss over given logits: the composed form of
// CrossEntropy, for heads that carry an adapter.
//
//	in: logits float [R, V], targets I32 [R], rowWeight F32 [R]
//	out: loss F32 [R], dlogits as logits (may be logits itself): gradient of Σ rowWeight_r·loss_r
type CrossEntropyLogits struct{}

func (CrossEntropyLogits) Name() string { return "cross_entropy_logits" }

func (CrossEntropyLogits) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 3); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "logits", -1, -1), wantActivation(in, 0, "logits"), want(in, 1, "targets", dim(in, 0, 0)), wantType(in, 1, "targets", I32),
		want(in, 2, "rowWeight", dim(in, 0, 0)), wantType(in, 2, "rowWeight", F32)); err != nil {
		return nil, err
	}
	return []Spec{in[2], in[0]}, nil
}

func (CrossEntropyLogits) Cost(in []Spec) Cost { return elementCost(in, 8, 1) }

func (CrossEntropyLogits) Define(out, in []Array) {
	logits, targets, weight := in[0].Floats(), in[1].I32(), in[2].F32()
	loss, v := out[0].F32(), in[0].Shape[1]
	grad, put := out[1].working()
	defer put()
	for r := range loss {
		row := logits[r*v : (r+1)*v]
		lse := logSumExp(row)
		loss[r] = float32(lse - float64(row[targets[r]]))
		copy(grad[r*v:(r+1)*v], row)
		softmaxGrad(grad[r*v:(r+1)*v], lse, targets[r], weight[r])
	}
}

// logSumExp is log Σ exp(x), in float64.
func logSumExp(x []float32) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, float64(v))
	}
	var sum float64
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}

// softmaxGrad turns logits into weight · (softmax - onehot(target)).
func softmaxGrad(x []float32, lse float64, target int32, weight float32) {
	for i, v := range x {
		x[i] = weight * float32(math.Exp(float64(v)-lse))
	}
	x[target] -= weight
}
