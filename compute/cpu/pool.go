package cpu

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// spinTime is how long an idle worker looks for new work, from the end of the last
	// region on, before it sleeps. The gap between two ops of a step is shorter, a
	// user's pause is longer. Waking a worker takes longer still: Go's scheduler leaves
	// a goroutine that was just made ready to the thread that did so.
	spinTime = 100 * time.Microsecond
	// patience is how long one waits awake for another's last task, letting other
	// programs go first once spinTime is over.
	patience = 2 * time.Millisecond
	spins    = 256 // looks between looks at the clock
)

// tasksEach is how many tasks work is cut into for each worker, so that one that is
// done early, or was held up, leaves the others little to wait for.
const tasksEach = 4

const (
	manyElements = 1024 // grains from which split deals with elements, not rows of them
	splitUnit    = 64   // elements: four cache lines of float32
)

// pool runs regions of independent tasks on a fixed number of goroutines, the caller
// being one of them. Chance decides which worker takes which task, so a task's result
// must not depend on it: sums over tasks have a place for each task and are added up in
// order.
type pool struct {
	threads int
	current atomic.Pointer[region]
	workers []*worker
	closed  atomic.Bool
}

// region is one call of pool.run.
type region struct {
	task   func(worker, i int)
	n      int64
	next   atomic.Int64 // first task that nobody has taken
	inside atomic.Int64 // workers that may still be running tasks
}

type worker struct {
	index  int
	parked atomic.Bool
	wake   chan struct{}
}

func newPool(threads int) *pool {
	p := &pool{threads: threads}
	for i := 1; i < threads; i++ {
		w := &worker{index: i, wake: make(chan struct{}, 1)}
		p.workers = append(p.workers, w)
		go p.work(w)
	}
	return p
}

// run calls task for 0..n-1 and returns when all calls have. The first
// argument of task is the worker's index, below pool.threads.
func (p *pool) run(n int, task func(worker, i int)) {
	if n <= 1 || p.threads == 1 {
		for i := range n {
			task(0, i)
		}
		return
	}
	r := &region{task: task, n: int64(n)}
	p.current.Store(r)
	for i, w := range p.workers {
		if i+1 >= n {
			break
		}
		if w.parked.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
		}
	}
	r.work(0)
	p.current.Store(nil) // from here on no worker enters
	r.wait()
}

// wait returns when no worker is inside. It sleeps a little where the system has put a
// worker aside in favour of another program.
func (r *region) wait() {
	for start := time.Now(); r.inside.Load() != 0; {
		for i := 0; i < spins && r.inside.Load() != 0; i++ {
		}
		if spent := time.Since(start); spent > patience {
			time.Sleep(20 * time.Microsecond)
		} else if spent > spinTime {
			runtime.Gosched()
		}
	}
}

func (r *region) work(worker int) {
	for {
		i := r.next.Add(1) - 1
		if i >= r.n {
			return
		}
		r.task(worker, int(i))
	}
}

func (p *pool) work(w *worker) {
	var last *region
	for !p.closed.Load() {
		r := p.await(w, last)
		if r == nil {
			continue
		}
		// The worker enters before it looks whether the region is open; the caller closes
		// the region before it reads inside. One of them sees the other.
		r.inside.Add(1)
		if p.current.Load() == r {
			r.work(w.index)
		}
		r.inside.Add(-1)
		last = r
	}
}

// await returns a region other than last, or nil after being woken for none.
func (p *pool) await(w *worker, last *region) *region {
	fresh := func() *region {
		if r := p.current.Load(); r != nil && r != last {
			return r
		}
		return nil
	}
	start := time.Now()
	for idle := start; time.Since(idle) < spinTime; {
		for range spins {
			if r := fresh(); r != nil {
				return r
			}
		}
		if now := time.Now(); p.current.Load() != nil && now.Sub(start) < patience {
			idle = now
			if now.Sub(start) > spinTime {
				runtime.Gosched() // it may be us who keep the last task from running
			}
		}
	}
	w.parked.Store(true)
	if r := fresh(); (r != nil || p.closed.Load()) && w.parked.CompareAndSwap(true, false) {
		return r
	}
	<-w.wake
	return fresh()
}

// close ends the workers.
func (p *pool) close() {
	p.closed.Store(true)
	for _, w := range p.workers {
		if w.parked.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
		}
	}
}

// split cuts [0, n) into contiguous parts of at least grain elements and runs task on
// each. The cuts depend on n, grain and the number of threads alone. Where elements are
// many, cuts are at multiples of splitUnit: vector kernels have a remainder at the end
// only.
func (p *pool) split(n, grain int, task func(lo, hi int)) {
	parts := min(blocksOf(n, grain), tasksEach*p.threads)
	if parts <= 1 {
		if n > 0 {
			task(0, n)
		}
		return
	}
	unit := 1
	if grain >= manyElements {
		unit = splitUnit
	}
	units := blocksOf(n, unit)
	p.run(parts, func(_, i int) {
		if lo, hi := i*units/parts*unit, min((i+1)*units/parts*unit, n); lo < hi {
			task(lo, hi)
		}
	})
}
