package train

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/tensor"
)

// step does one micro-step, and the update at the end of an accumulation or of the run.
// The host waits for the device once, to read what the loss was.
func (tr *Trainer) step(s *state, b *packed) (got measure, err error) {
	it, n := s.result.Iterations+1, tr.Options.GradAccumulationSteps
	lr := tr.Options.Schedule(s.updates.done)
	if math.IsNaN(lr) || math.IsInf(lr, 0) {
		return got, fault.At("learning_rate", "it is %g at iteration %d", lr, it).Try("Check %v and %v.", fault.Setting("learning_rate"), fault.Setting("lr_schedule"))
	}
	tr.tape.Scope(func() *tensor.Tensor {
		last := (it == tr.Options.Iters || s.result.Early) && !tr.Options.CompatMLX
		due := it%n == 0 || last
		left, failed := tr.gradients(s, b)
		switch {
		case tr.together():
			got, err = tr.learnTogether(s, b, left, failed, due, lr)
		case failed != nil:
			err = failed
		default:
			got, err = tr.learn(s, b, left, due, lr)
		}
		return nil
	})
	if err != nil {
		return measure{}, fmt.Errorf("iteration %d: %w", it, err)
	}
	return got, nil
}

// learn queues the update if one is due, and then waits for what the loss of the batch was.
// The update of a loss that is no number does not happen. left is that of gradients.
func (tr *Trainer) learn(s *state, b *packed, left *tensor.Tensor, due bool, lr float64) (measure, error) {
	told := left
	if due {
		var err error
		if told, err = tr.update(s, lr, left); err != nil {
			return measure{}, err
		}
	}
	got, err := tr.measure(b, told) // the one wait of a sound step
	if err == nil && due && (left == nil || tr.norm.bounded() || !got.sound()) {
		if got, err = tr.measure(b, left); err == nil {
			err = tr.norm.read(&got)
		}
	}
	switch {
	case err != nil || got.sound():
	case due:
		s.updates.takeBack()
	default: // what waits has the gradients of this loss in it
		tr.dropGradients(s)
	}
	return got, err
}

// measure waits for what the loss of a batch was. left is that of gradients.
func (tr *Trainer) measure(b *packed, left *tensor.Tensor) (measure, error) {
	if left == nil {
		return measure{}, nil
	}
	values := tr.tape.Read(left)
	if err := tr.tape.Err(); err != nil {
		return measure{}, err
	}
	got := tr.Options.objective().measure(b, values)
	tr.known.keep(b, got.references)
	return got, nil
}

// An accumulation is the gradients that wait for an update: of the sum of its units'
// losses, divided by unit. Under mlx-lm's rules they need no more than the update.
type accumulation struct {
	unit  int // units of its first batch, of this worker's share
	units int // of all its batches, of all workers: see Objective
}

// gradients adds the gradients of the batch's loss to those of the parameters. It returns
// what the objective has left of the loss; nil if there is nothing to learn.
func (tr *Trainer) gradients(s *state, b *packed) (*tensor.Tensor, error) {
	objective := tr.Options.objective()
	units := objective.units(b)
	if units == 0 {
		return nil, nil
	}
	if s.waiting.unit == 0 {
		s.waiting.unit = units
	}
	s.waiting.units += units
	share := 1 / float32(s.waiting.unit)
	if tr.Options.CompatMLX { // a mean of means
		share = 1 / float32(units) / float32(tr.Options.GradAccumulationSteps)
	}
	t := tr.tape
	t.Reset(true)
	t.Keys = s.keys
	left := objective.loss(tr.pass(), b, share)
	if err := t.Err(); err != nil {
		t.Reset(false)
		return nil, err
	}
	s.keys = t.Keys
	if err := t.Backward(); err != nil { // the gradients are incomplete
		tr.dropGradients(s)
		return nil, err
	}
	return left, nil
}

// dropGradients forgets what waits for an update.
func (tr *Trainer) dropGradients(s *state) {
	for _, p := range tr.params {
		p.ZeroGrad()
	}
	s.waiting = accumulation{}
}

// pass is that of a step.
func (tr *Trainer) pass() *pass {
	return &pass{tape: tr.tape, model: tr.Model, reference: tr.reference, known: tr.known, frozen: tr.frozen, checkpoint: tr.Options.GradCheckpoint}
}

// average makes the gradients those of the mean loss over all units of the accumulation,
// also those of other workers, and ends it.
func (tr *Trainer) average(s *state) error {
	a := s.waiting
	s.waiting = accumulation{}
	alpha := float64(a.unit) / float64(a.units)
	if tr.Options.CompatMLX { // a mean of the workers' means
		_, size := tr.rank()
		alpha = 1 / float64(size)
	}
	if a.units > 0 && alpha != 1 {
		if err := tr.scale(alpha); err != nil {
			return err
		}
	}
	if tr.together() {
		return tr.reduce()
	}
	return nil
}

// scale multiplies all gradients.
func (tr *Trainer) scale(alpha float64) error {
	factor, err := tensor.NewFloats(tr.Model.Device(), compute.Shape{1}, []float32{float32(alpha)})
	if err != nil {
		return err
	}
	defer factor.Free()
	for _, p := range tr.params {
		g := p.Grad()
		if g == nil {
			continue // no path from the loss to this parameter
		}
		if err := tr.Model.Device().Run(compute.ScaleBy{}, bufs(g), bufs(g, factor.Buffer())); err != nil {
			return fmt.Errorf("gradient of %s: %w", p.Name, err)
		}
	}
	return nil
}

// update applies the gradients that wait, unless they or loss, which may be nil, have
// something that is no number. What it returns tells that with one read: it is loss, or no
// number where the norm of the gradients is none.
func (tr *Trainer) update(s *state, lr float64, loss *tensor.Tensor) (told *tensor.Tensor, err error) {
	if err := tr.average(s); err != nil {
		return nil, err
	}
	if err := tr.norm.apply(tr.params); err != nil {
		return nil, err
	}
	guards := []*tensor.Tensor{tr.norm.squares}
	if told = loss; loss != nil {
		guards = append(guards, loss)
		if !tr.norm.bounded() {
			told = tr.tape.ScaleBy(loss, tr.norm.factor)
			if err := tr.tape.Err(); err != nil {
				return nil, err
			}
		}
	}
	if err := s.updates.apply(lr, guards...); err != nil {
		return nil, err
	}
	return told, tr.Model.RefreshAdapters()
}
