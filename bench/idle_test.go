package bench

import (
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/weights"
)

// resting is a device that says it was idle for a while whenever it is asked.
type resting struct {
	compute.Device
	watched []bool
	idle    time.Duration
}

func (r *resting) WatchIdle(on bool) time.Duration {
	r.watched = append(r.watched, on)
	return r.idle
}

// TestIdle: the share is that of the steps behind the first ones, and the device is not watched any more.
func TestIdle(t *testing.T) {
	dir := t.TempDir()
	if err := small(shapes[0]).Write(dir, 4, 32); err != nil {
		t.Fatal(err)
	}
	src, err := weights.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	dev := &resting{Device: inner, idle: time.Millisecond}
	b, err := newBench(fallback.New(dev), src)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	start := time.Now()
	f, err := b.Run(t.Context(), Training{Rows: []int{8}, NumLayers: 1}, Options{Trials: 1})
	if err != nil {
		t.Fatal(err)
	}
	if least := idleSteps * dev.idle.Seconds() / time.Since(start).Seconds(); f.Idle == nil || *f.Idle <= least {
		t.Errorf("idle for %v of the time, want more than %.3f", f.Idle, least)
	}
	if n := len(dev.watched); n != 1+idleSteps+1 || dev.watched[n-1] {
		t.Errorf("watched %v, want it so at the end of %d steps and not behind them", dev.watched, 1+idleSteps)
	}
	if f, err := tiny(t).Run(t.Context(), Training{Rows: []int{8}, NumLayers: 1}, Options{Trials: 1}); err != nil || f.Idle != nil {
		t.Errorf("the processor was idle for %v, %v", f.Idle, err)
	}
}
