package mlxc

import "time"

// A watch adds up the time of calls of the library.
type watch struct {
	on     bool
	since  time.Time
	inside time.Duration
}

// begin is called before a call of the library.
func (w *watch) begin() (now time.Time) {
	if w.on {
		now = time.Now()
	}
	return now
}

// end is called behind it.
func (w *watch) end(begun time.Time) {
	if w.on && !begun.IsZero() {
		w.inside += time.Since(begun)
	}
}

// Watch begins to add up the time in which no function of the library runs on its thread, or ends that, and returns what
// was added up until now. The library may compute meanwhile what was queued.
func (l *Library) Watch(on bool) (outside time.Duration) {
	now := time.Now()
	if l.watch.on {
		outside = now.Sub(l.watch.since) - l.watch.inside
	}
	l.watch = watch{on: on, since: now}
	return outside
}
