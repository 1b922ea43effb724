package train

import (
	"math"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/tensor"
)

// Near is CrossEntropy that keeps the model near the one without its adapter where an example says so (Example.Hold): it
// adds Weight times the mean divergence KL(base ‖ model) of the predictions there.
type Near struct{ Weight float64 }

func (o Near) check() error {
	if !(o.Weight > 0) || math.IsInf(o.Weight, 0) {
		return fault.Value("kl", o.Weight, "a number above 0")
	}
	return nil
}

func (Near) sequences() int  { return 1 }
func (Near) reference() bool { return true }

// units counts what is learnt or, where nothing is, what is held.
func (Near) units(b *packed) int {
	if n := len(b.rows); n > 0 {
		return n
	}
	return len(b.held)
}

// loss gives the loss of each row that is learnt [R] or, where none is, how far each held one is from the base [H].
func (o Near) loss(p *pass, b *packed, share float32) *tensor.Tensor {
	t := p.tape
	return t.Scope(func() *tensor.Tensor {
		x, pass, done := p.unchanged(b)
		y := p.above(x, pass, done)
		var left *tensor.Tensor
		if n := len(b.held); n > 0 {
			at, targets := t.Ints(b.held), t.Ints(b.heldTargets)
			base := t.Constant(func() *tensor.Tensor {
				z := p.reference.Layers(t, x, pass, done, len(p.reference.Blocks), false)
				return p.reference.Final(t, t.GatherRows(z, at)) // [H, hidden]
			})
			left = p.near(y, base, at, targets, constant(n, share*float32(o.Weight)*float32(o.units(b))/float32(n)))
		}
		if len(b.rows) == 0 {
			return left
		}
		return p.model.Loss(t, y, b.rows, b.targets, constant(len(b.rows), share))
	})
}

// near holds the rows at of y [T, hidden] near what the base gives there [H, hidden].
func (p *pass) near(y, base, at, targets *tensor.Tensor, weight []float32) *tensor.Tensor {
	t := p.tape
	h := p.model.Final(t, t.GatherRows(y, at))
	if p.model.Head.Adapter != nil {
		other := t.Constant(func() *tensor.Tensor { return p.reference.Logits(t, base) })
		return t.NearLogits(p.model.Logits(t, h), other, targets, weight)
	}
	return t.Near(h, base, targets, weight, p.model.Head.Weight)
}

func constant(n int, v float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func (o Near) measure(b *packed, losses []float32) measure {
	return measure{loss: mean(losses), units: o.units(b), tokens: len(b.rows)}
}

// Held has every token of an example held that is not learnt. Without learn, nothing of it is learnt.
func Held(e Example, learn bool) Example {
	if !learn {
		e.Loss, e.Hold = nil, [][2]int{{1, len(e.IDs)}}
		return e
	}
	at := 1
	e.Hold = nil
	for _, span := range e.Loss {
		if span[0] > at {
			e.Hold = append(e.Hold, [2]int{at, span[0]})
		}
		at = max(at, span[1])
	}
	if at < len(e.IDs) {
		e.Hold = append(e.Hold, [2]int{at, len(e.IDs)})
	}
	return e
}
