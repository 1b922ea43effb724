// Package mlx is the device of Apple's GPUs, through the MLX library, which is found and opened at run time (package
// mlxc). Where there is no GPU, as on Linux, MLX computes on the processor: that is for tests.
//
// A buffer is a slot that holds an array of MLX's. Run adds nodes to MLX's graph and puts the results into the outputs'
// slots; every few ops what is new is queued, so that graphs, command buffers and live arrays stay few. Weights stay in
// MLX's own quantized layout. Ops are built of MLX's own functions; those that are not here run on the host.
package mlx

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/machine"
)

// Options choose a library.
type Options struct {
	Library string // path; empty looks for it (mlxc.Find)
	// Floats is the type of a model's own floats, which activations have on a GPU; BF16 if it is 0. Without a GPU they are F32.
	Floats compute.DType
	// Activations is the type of activations in any case, if it is not 0.
	Activations compute.DType
	// Composed builds all ops of MLX's own functions, on a GPU too.
	Composed bool
	// Ahead is how many bytes MLX may take beyond the account of what is needed (ledger), for work that is built ahead of
	// what is computed; 64 MiB if it is 0. With next to none it waits at every node.
	Ahead int64
	// GPU says that MLX is of use on a GPU only: it refuses to compute on the processor.
	GPU bool
}

// Device is a compute.Device on MLX. Its methods may be called from several goroutines.
type Device struct {
	lib    *mlxc.Library
	info   compute.Info
	gpu    bool
	narrow bool  // products and attention are computed in the type of activations
	rounds bool  // results are rounded where mlx-lm does
	limit  int64 // bytes that buffers may take
	before int64 // bytes that MLX held when the device was opened

	mu      sync.Mutex     // held by every method
	held    int64          // bytes of slots and weights
	weights int64          // of these, of weights
	account *ledger        // of slots and work
	ahead   int64          // bytes for work built ahead
	jobs    []func() error // for the library's thread, in order
	closed  bool

	errMu sync.Mutex
	err   error // the first of a job

	// What follows belongs to the library's thread.
	stream mlxc.Stream
	g      *mlxc.Graph
	room   int64     // bytes that MLX may take without waiting
	wired  int64     // bytes that stay in the GPU's reach
	fresh  []*buffer // written since work was queued last
	masks  masks
	// kernel runs kernels of ours, hasKernel tells whether it can; nil without a GPU.
	kernel    applier
	hasKernel func(kernel, mlxc.Type) bool
	made      map[string]*made // by the kernel's name
}

// roundsVariable, if it is set, has each result rounded to the type of activations where mlx-lm does, and gradients taken
// apart in the order of MLX's own, instead of rounding once for each op: for comparisons with it. The order counts: where
// last bits of float32 differ, some bf16 results fall on the other side, and a loss is the mean of bf16 losses of tokens.
const roundsVariable = "LENTIL_MLX_ROUND"

// composedVariable, if it is set, is Options.Composed: for who suspects a kernel of ours.
const composedVariable = "LENTIL_MLX_COMPOSED"

var errClosed = errors.New("mlx: device is closed")

// New opens MLX's library, or says why it cannot be used.
func New(opt Options) (compute.Device, error) {
	path := opt.Library
	if path == "" {
		var err error
		if path, err = mlxc.Find(); err != nil {
			return nil, err
		}
	}
	if err := probe(path); err != nil {
		return nil, err
	}
	lib, err := mlxc.Open(path)
	if err != nil {
		return nil, err
	}
	d := &Device{lib: lib}
	lib.Do(func() { err = d.open(opt) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// Devices names the device of this machine, or says why there is none. It looks for the library and does not open it.
func Devices() ([]string, error) {
	if _, err := mlxc.Find(); err != nil {
		return nil, err
	}
	return []string{"mlx"}, nil
}

// cacheShare is the part of the memory that MLX may keep of freed arrays.
const cacheShare = 8

func (d *Device) open(opt Options) error {
	var err error
	if d.gpu, err = d.lib.Metal(); err != nil {
		return err
	}
	if opt.GPU && !d.gpu {
		return fault.Of("MLX finds no GPU (Metal) on this machine")
	}
	version, err := d.lib.Version()
	if err != nil {
		return err
	}
	if d.stream, err = d.lib.NewStream(d.gpu); err != nil {
		return err
	}
	d.g = d.lib.NewGraph(d.stream)
	where, activations := "processor", compute.F32
	d.limit = machine.AvailableMemory()
	d.rounds = os.Getenv(roundsVariable) != ""
	if d.narrow = d.gpu || d.rounds; d.narrow {
		activations = compute.BF16
		if opt.Floats != 0 {
			activations = opt.Floats
		}
	}
	if d.gpu {
		where = "GPU"
		if n := d.lib.GPUFact("max_recommended_working_set_size"); n > 0 {
			d.limit = n
		}
	}
	if d.limit > 0 {
		if err := d.lib.LimitCache(d.limit / cacheShare); err != nil {
			return err
		}
	}
	if opt.Activations != 0 {
		activations = opt.Activations
	}
	if d.before, _, _, err = d.lib.Memory(); err != nil {
		return err
	}
	d.info = compute.Info{
		Name: "mlx", Detail: fmt.Sprintf("MLX %s, mlx-c %s, on the %s", version, d.lib.Interface(), where), Memory: d.limit,
		Activations: activations, Cache: activations, Repeatable: true, Async: true,
	}
	d.ahead = cmp.Or(opt.Ahead, 64<<20)
	d.account, d.made = d.newLedger(), map[string]*made{}
	if d.gpu && !d.rounds && !opt.Composed && os.Getenv(composedVariable) == "" {
		d.kernel, d.hasKernel = d.apply, d.works
	}
	if d.gpu { // nothing tells the power without the rights of root
		d.info.Watch = "sudo powermetrics -s gpu_power -i 2000"
	}
	return d.lib.ResetPeak()
}

// jobsHeld is how many jobs are handed over at once: to wake a thread takes longer than to build an op.
const jobsHeld = 32

// later leaves a job to the library's thread. The device is locked.
func (d *Device) later(job func() error) {
	if d.jobs = append(d.jobs, job); len(d.jobs) >= jobsHeld {
		d.hand(d.lib.Go)
	}
}

// hand gives all jobs to the library's thread, which keeps the first error.
func (d *Device) hand(to func(f func())) {
	jobs := d.jobs
	d.jobs = make([]func() error, 0, jobsHeld)
	to(func() {
		for _, job := range jobs {
			err := job()
			if e := d.g.Close(); err == nil {
				err = e
			}
			if err != nil {
				d.keep(err)
			}
		}
	})
}

// enter locks the device and runs a job, behind those that wait. It tells the first error of all.
func (d *Device) enter(job func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	d.jobs = append(d.jobs, job)
	d.hand(d.lib.Do)
	return d.take()
}

// keep keeps the first error of jobs.
func (d *Device) keep(err error) {
	d.errMu.Lock()
	defer d.errMu.Unlock()
	if d.err == nil {
		d.err = err
	}
}

// take returns the kept error and forgets it.
func (d *Device) take() error {
	d.errMu.Lock()
	defer d.errMu.Unlock()
	err := d.err
	d.err = nil
	return err
}

// Info tells the library.
func (d *Device) Info() compute.Info { return d.info }

// Memory returns what MLX's arrays take now and took at most.
func (d *Device) Memory() (used, peak int64) {
	d.enter(func() error {
		active, most, _, err := d.lib.Memory()
		used, peak = max(active-d.before, 0), max(most-d.before, 0)
		return err
	})
	return used, peak
}

// Arrays is how many handles of MLX's arrays there are, of all devices.
func (d *Device) Arrays() (n int) {
	d.enter(func() error {
		n = d.lib.Live()
		return nil
	})
	return n
}

// WatchIdle begins to add up the time in which no function of MLX runs, or ends that, and returns what was added up until
// now: what our side takes, and at most how long MLX had nothing to do.
func (d *Device) WatchIdle(on bool) (outside time.Duration) {
	d.enter(func() error {
		outside = d.lib.Watch(on)
		return nil
	})
	return outside
}

// ResetPeak starts a new measurement of the peak that Memory returns.
func (d *Device) ResetPeak() { d.enter(d.lib.ResetPeak) }

// Sync waits for all work.
func (d *Device) Sync() error {
	return d.enter(func() error {
		d.start(d.need())
		return d.lib.Wait(d.stream)
	})
}

// A need is what MLX must be let to take for the work that is given to it: of weights, and of everything.
type need struct{ weights, all int64 }

// need is that of all work so far.
func (d *Device) need() need { return need{d.weights, d.weights + d.account.most + d.ahead} }

// wire keeps the weights, and nothing else, in the GPU's reach between pieces of work: with all memory wired macOS stops.
// Systems before macOS 15 cannot, and work without.
func (d *Device) wire(weights int64) {
	if !d.gpu || d.wired == weights {
		return
	}
	d.wired = weights
	_ = d.lib.LimitWired(min(d.wired, d.limit))
}

// bound lets MLX take what the account says. Beyond that it waits for work to end, which gives memory back.
func (d *Device) bound(room int64) {
	if room <= d.room {
		return
	}
	d.room = room
	d.g.Fail(d.lib.LimitMemory(d.before + room))
}

// start queues what was built.
func (d *Device) start(n need) {
	d.wire(n.weights)
	d.bound(n.all)
	var arrays []mlxc.Array
	for _, b := range d.fresh {
		b.fresh = false
		if b.array != 0 {
			arrays = append(arrays, b.array)
		}
	}
	clear(d.fresh)
	d.fresh = d.fresh[:0]
	d.g.Start(arrays)
}

// Close gives everything back. Buffers must not be used afterwards. The library stays open.
func (d *Device) Close() error {
	err := d.enter(func() error {
		d.start(d.need())
		err := d.lib.Wait(d.stream)
		d.masks.free(d.lib)
		for _, m := range d.made {
			d.lib.FreeKernel(m.kernel)
		}
		d.lib.FreeStream(d.stream)
		return errors.Join(err, d.lib.ClearCache())
	})
	if errors.Is(err, errClosed) {
		return nil
	}
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	return err
}
