package train

import "context"

// ask has the model looked at, if that is due: before the first step, and every AskEvery iterations.
func (tr *Trainer) ask(ctx context.Context, s *state) error {
	if tr.asks(s.result.Iterations) {
		return tr.askNow(ctx, s)
	}
	return nil
}

// asks tells whether the model is looked at after so many iterations.
func (tr *Trainer) asks(done int) bool {
	return done == 0 || tr.AskEvery > 0 && done%tr.AskEvery == 0
}

// askNow is ask whether it is due or not. The time that it takes is none of the steps'.
func (tr *Trainer) askNow(ctx context.Context, s *state) error {
	if rank, _ := tr.rank(); rank > 0 || tr.Ask == nil {
		return nil
	}
	defer s.window.goOn()
	err := tr.Ask(ctx, s.result.Iterations)
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case tr.together():
		return nil // the workers agree on the end at the next step
	}
	return ErrInterrupted
}
