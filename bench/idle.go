package bench

import (
	"context"
	"errors"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/run"
)

// An idler is a device that can tell how long it had nothing to do since it was last asked.
type idler interface {
	WatchIdle(on bool) time.Duration
}

// idlerOf finds it behind a device that hands some ops on.
func idlerOf(dev compute.Device) (idler, bool) {
	if f, ok := dev.(*fallback.Device); ok {
		dev = f.Device
	}
	d, ok := dev.(idler)
	return d, ok
}

// idleSteps are watched, behind some that are not: a device may prepare work that it has seen twice.
const warmSteps, idleSteps = 4, 5

// idle is the share of the time of training steps, one after another, in which the device had nothing to do. Where a device
// cannot tell, there is none.
func (w Training) idle(ctx context.Context, b *Bench) (share *float64, err error) {
	d, ok := idlerOf(b.dev.Device)
	if !ok {
		return nil, nil
	}
	defer d.WatchIdle(false)
	rows, _ := w.rows(b)
	steps := &idleTimes{d: d}
	if _, err := w.trainer(b, rows, warmSteps+idleSteps, steps).Run(ctx); err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	of := steps.idle.Seconds() / steps.end.Sub(steps.begin).Seconds()
	return &of, nil
}

// idleTimes hears when steps are over, and asks the device then.
type idleTimes struct {
	d          idler
	begin, end time.Time
	idle       time.Duration
}

func (s *idleTimes) Report(e run.Event) {
	step, ok := e.(run.Step)
	if !ok {
		return
	}
	if step.Iteration < warmSteps {
		return
	}
	idle := s.d.WatchIdle(true)
	if step.Iteration == warmSteps {
		s.begin = time.Now()
		return
	}
	s.idle += idle
	s.end = time.Now()
}
