package nn

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/tensor"
)

// Magnitude makes a LoRA a DoRA (Liu et al., 2024, arXiv 2402.09353): every row of
// the adapted weight keeps its direction and gets the length M instead of its own,
//
//	y = (base(x) + Scale · (x A) B) · M/‖W + Scale·(A B)ᵀ‖ + bias,
//
// where no gradient goes through the norm. M starts as ‖W‖, so that a new DoRA changes
// nothing.
type Magnitude struct {
	M       *tensor.Tensor // [out]
	squares *tensor.Tensor // ‖W‖² by row [out]
	norm    *tensor.Tensor // ‖W + Scale·(A B)ᵀ‖ by row [out], of the last Refresh
}

// AddMagnitude makes l, whose B is zero, a DoRA of base.
func (l *LoRA) AddMagnitude(dev compute.Device, base *Linear) error {
	if l.Experts > 0 {
		return fault.At("fine_tune_type", "experts take no DoRA").
			Try("Choose other projections with %v, or use lora.", fault.Setting("lora_parameters.keys"))
	}
	shape := compute.Shape{base.Out()}
	squares, err := tensor.New(dev, shape, compute.F32, nil)
	if err != nil {
		return err
	}
	l.Magnitude = &Magnitude{squares: squares}
	t := tensor.NewTape(dev)
	t.RowSquares(squares, base.Weight)
	length := t.Read(squares)
	if err := t.Err(); err != nil {
		return err
	}
	for i, v := range length {
		length[i] = float32(math.Sqrt(float64(v)))
	}
	if l.Magnitude.norm, err = tensor.NewFloats(dev, shape, length); err != nil {
		return err
	}
	if l.Magnitude.M, err = tensor.NewFloats(dev, shape, length); err != nil {
		return err
	}
	l.Magnitude.M.SetTrainable(true)
	return nil
}

// Refresh computes the norms of a DoRA, which depend on A and B: call it when these have
// changed.
func (l *LoRA) Refresh(t *tensor.Tape, base *Linear) {
	if m := l.Magnitude; m != nil {
		t.UpdatedNorm(m.norm, base.Weight, m.squares, l.A, l.B, l.Scale)
	}
}

func (m *Magnitude) free() {
	if m != nil {
		m.M.Free()
		m.squares.Free()
		m.norm.Free()
	}
}
