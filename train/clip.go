package train

import (
	"errors"
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// norm is that of all gradients of an update. One that is no number stops the update, and one
// that is too large is cut down.
type norm struct {
	dev             compute.Device
	most            float32        // +Inf where gradients are not scaled
	squares, factor *tensor.Tensor // F32 [1]: of the norm; what gradients are scaled with
}

// newNorm makes one that is kept to most; 0 is no bound.
func newNorm(dev compute.Device, most float64) (*norm, error) {
	if most == 0 {
		most = math.Inf(1)
	}
	squares, err1 := newZeros(dev, compute.Shape{1})
	factor, err2 := newZeros(dev, compute.Shape{1})
	n := &norm{dev, float32(most), squares, factor}
	if err := errors.Join(err1, err2); err != nil {
		n.free()
		return nil, fmt.Errorf("norm of the gradients: %w", err)
	}
	return n, nil
}

func (n *norm) free() {
	if n != nil {
		n.squares.Free()
		n.factor.Free()
	}
}

// bounded tells whether gradients are scaled.
func (n *norm) bounded() bool { return !math.IsInf(float64(n.most), 1) }

// apply measures the gradients of all parameters, and scales them where the norm is bounded.
// The factor is no number where the norm is none, and 1 otherwise where it is not bounded.
func (n *norm) apply(params []nn.Param) error {
	squares, factor := n.squares.Buffer(), n.factor.Buffer()
	if err := n.dev.Run(compute.Fill{Shape: compute.Shape{1}}, bufs(squares), nil); err != nil {
		return err
	}
	all := func(do func(g compute.Buffer) error) error {
		for _, p := range params {
			g := p.Grad()
			if g == nil {
				continue // no path from the loss to this parameter
			}
			if err := do(g); err != nil {
				return fmt.Errorf("gradient of %s: %w", p.Name, err)
			}
		}
		return nil
	}
	err := all(func(g compute.Buffer) error {
		return n.dev.Run(compute.SumSquares{Accumulate: true}, bufs(squares), bufs(g))
	})
	if err == nil {
		err = n.dev.Run(compute.ClipFactor{Max: n.most}, bufs(factor), bufs(squares))
	}
	if err == nil && n.bounded() {
		err = all(func(g compute.Buffer) error { return n.dev.Run(compute.ScaleBy{}, bufs(g), bufs(g, factor)) })
	}
	return err
}

// read puts the norm into a measure, if it is bounded, hence reported, or no number.
func (n *norm) read(m *measure) error {
	squares, err := tensor.ReadFloats(n.dev, n.squares)
	if err != nil {
		return err
	}
	if v := math.Sqrt(float64(squares[0])); n.bounded() || !isNumber(v) {
		m.norm = v
	}
	return nil
}

// sound tells whether loss and gradients are numbers.
func (m measure) sound() bool { return isNumber(m.loss) && isNumber(m.norm) }

func isNumber(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// mostSkipped is how many steps in a row may have a loss that is no number. A row or two
// may be to blame; after that the weights are.
const mostSkipped = 3

// skip is for steps whose loss or gradients are no numbers: they count as steps that learn
// nothing, and the weights stay as they were.
func (tr *Trainer) skip(s *state, got measure) (measure, error) {
	if got.sound() {
		if got.units > 0 {
			s.skipped = 0
		}
		return got, nil
	}
	it, what := s.result.Iterations+1, fmt.Sprintf("the loss is %g", got.loss)
	if isNumber(got.loss) {
		what = fmt.Sprintf("the norm of the gradients is %g", got.norm)
	}
	if s.skipped++; s.skipped == mostSkipped {
		return got, fault.Advise(fmt.Errorf("iteration %d: %s, %d times in a row: the weights have diverged", it, what, mostSkipped),
			"Begin again with a smaller %v, or with a file that was saved before.", fault.Setting("learning_rate"))
	}
	tr.report(run.Warning{Text: fault.Say("iteration %d: %s: the step is skipped, and the weights stay as they are", it, what)})
	return measure{}, nil
}
