package train

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/tensor"
)

// A microStep is a batch, and what the device has of it.
type microStep struct {
	batch  packed
	queued bool           // gradients were
	left   *tensor.Tensor // of gradients
	failed error          // of gradients
	told   *tensor.Tensor // of update; may be left
}

// queue has the device make the gradients.
func (m *microStep) queue(tr *Trainer, s *state) {
	m.left, m.failed = tr.gradients(s, &m.batch)
	m.queued = true
}

// free gives back what the device has.
func (m *microStep) free() {
	if m.told != m.left {
		m.told.Free()
	}
	m.left.Free()
	m.left, m.told = nil, nil
}

// step does one micro-step, and the update at the end of an accumulation or of the run.
// The host waits for the device once, to read what the loss was.
func (tr *Trainer) step(s *state, m *microStep) (got measure, err error) {
	it, n := s.result.Iterations+1, tr.Options.GradAccumulationSteps
	lr := tr.Options.Schedule(s.updates.done)
	if math.IsNaN(lr) || math.IsInf(lr, 0) {
		return got, fault.At("learning_rate", "it is %g at iteration %d", lr, it).Try("Check %v and %v.", fault.Setting("learning_rate"), fault.Setting("lr_schedule"))
	}
	last := (it == tr.Options.Iters || s.result.Early) && !tr.Options.CompatMLX
	due := it%n == 0 || last
	if !m.queued {
		m.queue(tr, s)
	}
	switch {
	case tr.together():
		got, err = tr.learnTogether(s, m, due, lr)
	case m.failed != nil:
		err = m.failed
	default:
		got, err = tr.learn(s, m, due, lr)
	}
	if err != nil {
		return measure{}, fmt.Errorf("iteration %d: %w", it, err)
	}
	return got, nil
}

// learn queues the update if one is due, and then waits for what the loss of the batch was.
// The update of a loss that is no number does not happen.
func (tr *Trainer) learn(s *state, m *microStep, due bool, lr float64) (measure, error) {
	told := m.left
	if due {
		if err := tr.update(s, lr, m); err != nil {
			return measure{}, err
		}
		told = m.told
		tr.goAhead(s)
	}
	got, err := tr.measure(&m.batch, told) // the one wait of a sound step
	if err == nil && due && (m.left == nil || tr.norm.bounded() || !got.sound()) {
		if got, err = tr.measure(&m.batch, m.left); err == nil {
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
	values, err := tensor.ReadFloats(tr.Model.Device(), left)
	if err != nil {
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
// what the objective has left of the loss, which is to be freed; nil if there is nothing to learn.
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
		left.Free()
		return nil, err
	}
	s.keys = t.Keys
	if err := t.Backward(); err != nil { // the gradients are incomplete
		tr.dropGradients(s)
		left.Free()
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

// update applies the gradients that wait, unless they or the loss of m, which may be nil, have
// something that is no number. m.told then tells that with one read: it is what is left of the
// loss, or no number where the norm of the gradients is none.
func (tr *Trainer) update(s *state, lr float64, m *microStep) error {
	if err := tr.average(s); err != nil {
		return err
	}
	if err := tr.norm.apply(tr.params); err != nil {
		return err
	}
	guards := []*tensor.Tensor{tr.norm.squares}
	if m != nil && m.left != nil {
		guards = append(guards, m.left)
		m.told = m.left
		if !tr.norm.bounded() {
			m.told = tr.tape.ScaleBy(m.left, tr.norm.factor)
			if err := tr.tape.Err(); err != nil {
				return err
			}
		}
	}
	if err := s.updates.apply(lr, guards...); err != nil {
		return err
	}
	return tr.Model.RefreshAdapters()
}
