package cuda

import (
	"time"

	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// A watch adds up how long the card had nothing to compute, by its own clock: an event behind each launch keeps when that was
// done. Where the next launch finds the stream empty, another event keeps when the card came to it.
type watch struct {
	on         bool
	idle       time.Duration
	done, next driver.Event // done: behind the last launch, or behind the last time that was counted
}

// WatchIdle begins to add up the time in which the card computes nothing, or ends that, and returns what was added up until
// now. Copies between the host and a card without other work count as idle, too. The microseconds that a launch takes to the
// card do not.
func (d *Device) WatchIdle(on bool) time.Duration {
	d.enter()
	defer d.leave()
	if d.closed {
		return 0
	}
	d.look()
	w := &d.watch
	sum := w.idle
	w.idle = 0
	switch {
	case on && !w.on:
		d.startWatch()
	case !on:
		d.stopWatch()
	}
	return sum
}

// startWatch makes the events. The first of them is behind what the card has to do now.
func (d *Device) startWatch() {
	w := &d.watch
	for _, e := range []*driver.Event{&w.done, &w.next} {
		var err error
		*e, err = d.drv.NewEvent()
		d.fail(err)
	}
	w.on = d.err == nil
	d.worked()
}

// stopWatch gives the events back.
func (d *Device) stopWatch() {
	for _, e := range []driver.Event{d.watch.done, d.watch.next} {
		if e != 0 {
			d.fail(d.drv.DestroyEvent(e))
		}
	}
	d.watch = watch{}
}

// look counts the time since the card was done with its last work, if it has none now, and reports whether it has some. It
// comes before each launch.
func (d *Device) look() (working bool) {
	if !d.watch.on || d.err != nil {
		return false
	}
	working, err := d.drv.Working(d.stream)
	d.fail(err)
	if !working {
		d.rested()
	}
	return working
}

// rested counts the time since the card was done with its last work, up to what it is given next.
func (d *Device) rested() {
	w := &d.watch
	if !w.on || d.err != nil {
		return
	}
	d.fail(d.drv.Record(w.next, d.stream))
	d.fail(d.drv.WaitEvent(w.next))
	ms, err := d.drv.Elapsed(w.done, w.next)
	d.fail(err)
	w.idle += time.Duration(float64(ms) * float64(time.Millisecond))
	w.done, w.next = w.next, w.done
}

// worked sets the event behind the launches so far.
func (d *Device) worked() {
	if d.watch.on {
		d.fail(d.drv.Record(d.watch.done, d.stream))
	}
}
