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

// clip keeps the norm of all gradients of an update below a bound. Nil does not.
type clip struct {
	dev             compute.Device
	most            float32
	squares, factor *tensor.Tensor // F32 [1]
}

func newClip(dev compute.Device, most float64) (*clip, error) {
	squares, err1 := newZeros(dev, compute.Shape{1})
	factor, err2 := newZeros(dev, compute.Shape{1})
	c := &clip{dev, float32(most), squares, factor}
	if err := errors.Join(err1, err2); err != nil {
		c.free()
		return nil, fmt.Errorf("norm of the gradients: %w", err)
	}
	return c, nil
}

func (c *clip) free() {
	if c != nil {
		c.squares.Free()
		c.factor.Free()
	}
}

// apply scales the gradients of all parameters by one factor.
func (c *clip) apply(params []nn.Param) error {
	squares, factor := c.squares.Buffer(), c.factor.Buffer()
	if err := c.dev.Run(compute.Fill{Shape: compute.Shape{1}}, bufs(squares), nil); err != nil {
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
		return c.dev.Run(compute.SumSquares{Accumulate: true}, bufs(squares), bufs(g))
	})
	if err == nil {
		err = c.dev.Run(compute.ClipFactor{Max: c.most}, bufs(factor), bufs(squares))
	}
	if err == nil {
		err = all(func(g compute.Buffer) error { return c.dev.Run(compute.ScaleBy{}, bufs(g), bufs(g, factor)) })
	}
	return err
}

// read is the norm of the gradients that were last clipped; 0 without a clip.
func (c *clip) read() (float64, error) {
	if c == nil {
		return 0, nil
	}
	squares, err := tensor.ReadFloats(c.dev, c.squares)
	if err != nil {
		return 0, err
	}
	return math.Sqrt(float64(squares[0])), nil
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
