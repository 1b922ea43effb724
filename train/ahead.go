package train

// ahead is a micro-step that was drawn before the host heard of the one before it, with its gradients queued where that waits for
// nothing, so that a device that works beside the host (compute.Info's Async) has work. No bit changes: an update of no numbers does
// nothing on the device (see updates.apply), so the parameters are right, and what the verdict decides goes with the next update.
type ahead struct {
	microStep
	state state // behind the gradients: its order, random, keys and waiting
}

// take gives the micro-step that comes next, whether or not it is under way, and moves s behind what it has taken so far.
func (tr *Trainer) take(s *state) (*microStep, error) {
	a := tr.ahead
	if a == nil {
		batch, err := tr.draw(s)
		return &microStep{batch: batch}, err
	}
	tr.ahead = nil
	s.order, s.random, s.keys, s.waiting = a.state.order, a.state.random, a.state.keys, a.state.waiting
	return &a.microStep, nil
}

// draw loads the next batch.
func (tr *Trainer) draw(s *state) (packed, error) {
	o := tr.Options
	return load(tr.Model, o.objective(), tr.Train, share(s.order.next(&s.random), tr.Reduce), o.MaxSeqLength, o.CompatMLX)
}

// goAhead draws the micro-step after that of s, whose update is queued, and queues its gradients, if nothing comes between the two.
// An error waits for its turn.
func (tr *Trainer) goAhead(s *state) {
	if !tr.mayGoAhead(s) {
		return
	}
	a := &ahead{state: *s}
	var err error
	if a.batch, err = tr.draw(&a.state); err != nil {
		return // it is drawn again in its turn
	}
	if !tr.frozen.slow(&a.batch) {
		a.queue(tr, &a.state)
	}
	tr.ahead = a
}

// mayGoAhead tells whether nothing that may look at the run's state, draw from its random numbers or end it comes between the
// micro-step of s, whose update is queued, and the next one.
func (tr *Trainer) mayGoAhead(s *state) bool {
	it, o := s.result.Iterations+1, tr.Options
	switch {
	case !tr.Model.Device().Info().Async || tr.together():
		return false
	case it == o.Iters || s.result.Early || tr.ending():
		return false
	case tr.validates(it+1) || tr.asks(it) || saveDue(it, o.SaveEvery, s.skipped):
		return false
	}
	return tr.known == nil // what they keep of this batch may be of use to the next one
}
