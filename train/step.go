package train

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
)

// step does one micro-step, and the update at the end of an accumulation or of the run.
// It returns the batch's mean loss.
func (tr *Trainer) step(s *state, b *packed) (float64, error) {
	it, n := s.result.Iterations+1, tr.Options.GradAccumulationSteps
	lr := tr.Options.Schedule(s.updates.done)
	if math.IsNaN(lr) || math.IsInf(lr, 0) {
		return 0, fault.At("learning_rate", "it is %g at iteration %d", lr, it).Try("Check %v and %v.", fault.Setting("learning_rate"), fault.Setting("lr_schedule"))
	}
	loss, err := tr.gradients(s, b)
	if err == nil && (math.IsNaN(loss) || math.IsInf(loss, 0)) {
		err = fault.Advise(fmt.Errorf("the loss is %g: the weights have diverged", loss),
			"Go back to the last saved adapter and use a smaller %v.", fault.Setting("learning_rate"))
	}
	if last := it == tr.Options.Iters && !tr.Options.CompatMLX; err == nil && (it%n == 0 || last) {
		err = tr.update(s, lr)
	}
	if err != nil {
		return 0, fmt.Errorf("iteration %d: %w", it, err)
	}
	return loss, nil
}

// An accumulation is the gradients that wait for an update: of the sum of its tokens'
// losses, divided by unit. Under mlx-lm's rules they need no more than the update.
type accumulation struct {
	unit   int // tokens of its first batch
	tokens int // of all its batches
}

// gradients adds the gradients of the batch's losses to those of the parameters, and
// returns the mean loss.
func (tr *Trainer) gradients(s *state, b *packed) (float64, error) {
	if len(b.rows) == 0 {
		return 0, nil // nothing to learn from these examples
	}
	if s.waiting.tokens == 0 {
		s.waiting.unit = len(b.rows)
	}
	s.waiting.tokens += len(b.rows)
	share := 1 / float32(s.waiting.unit)
	if tr.Options.CompatMLX { // a mean of means
		share = 1 / float32(len(b.rows)) / float32(tr.Options.GradAccumulationSteps)
	}
	weight := make([]float32, len(b.rows))
	for i := range weight {
		weight[i] = share
	}
	t := tr.tape
	t.Reset(true)
	t.Keys = s.keys
	losses := b.losses(t, tr.Model, tr.frozen, weight, tr.Options.GradCheckpoint)
	if err := t.Err(); err != nil {
		t.Reset(false)
		return 0, err
	}
	s.keys = t.Keys
	if err := t.Backward(); err != nil { // the gradients are incomplete
		for _, p := range tr.params {
			p.ZeroGrad()
		}
		s.waiting = accumulation{}
		return 0, err
	}
	return mean(losses), nil
}

// average makes the gradients those of the mean loss over all tokens of the accumulation,
// and ends it.
func (tr *Trainer) average(s *state) error {
	a := s.waiting
	s.waiting = accumulation{}
	if a.tokens == a.unit || tr.Options.CompatMLX {
		return nil
	}
	op := compute.Scale{Alpha: float32(float64(a.unit) / float64(a.tokens))}
	for _, p := range tr.params {
		g := p.Grad()
		if g == nil {
			continue // no path from the loss to this parameter
		}
		if err := tr.Model.Device().Run(op, bufs(g), bufs(g)); err != nil {
			return fmt.Errorf("gradient of %s: %w", p.Name, err)
		}
	}
	return nil
}

// update applies the gradients that wait.
func (tr *Trainer) update(s *state, lr float64) error {
	if err := tr.average(s); err != nil {
		return err
	}
	if err := s.updates.apply(lr); err != nil {
		return err
	}
	return tr.Model.RefreshAdapters()
}
