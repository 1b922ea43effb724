package train

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/fault"
)

// step does one micro-step, and the update at the end of an accumulation. It returns
// the batch's mean loss.
func (tr *Trainer) step(s *state, b *packed) (float64, error) {
	it, n := s.result.Iterations+1, tr.Options.GradAccumulationSteps
	lr := tr.Options.Schedule(s.updates.done)
	if math.IsNaN(lr) || math.IsInf(lr, 0) {
		return 0, fault.At("learning_rate", "it is %g at iteration %d", lr, it).Try("Check %v and %v.", fault.Setting("learning_rate"), fault.Setting("lr_schedule"))
	}
	loss, err := tr.gradients(s, b, n)
	if err == nil && (math.IsNaN(loss) || math.IsInf(loss, 0)) {
		err = fault.Advise(fmt.Errorf("the loss is %g: the weights have diverged", loss),
			"Go back to the last saved adapter and use a smaller %v.", fault.Setting("learning_rate"))
	}
	if err == nil && it%n == 0 {
		err = tr.update(s, lr)
	}
	if err != nil {
		return 0, fmt.Errorf("iteration %d: %w", it, err)
	}
	return loss, nil
}

// gradients adds the gradients of the batch's mean loss, divided by the accumulation
// steps, to those of the parameters, and returns that mean.
func (tr *Trainer) gradients(s *state, b *packed, accumulation int) (float64, error) {
	if len(b.rows) == 0 {
		return 0, nil // nothing to learn from these examples
	}
	weight := make([]float32, len(b.weights))
	for i, w := range b.weights {
		weight[i] = w / float32(accumulation)
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
	return mean(losses), t.Backward()
}

// update applies the gradients.
func (tr *Trainer) update(s *state, lr float64) error {
	if err := s.updates.apply(lr); err != nil {
		return err
	}
	return tr.Model.RefreshAdapters()
}
