// Package cuda is the device of one NVIDIA card. It needs the card's driver and nothing else: the driver's library is
// opened at run time (package driver), the kernels are compiled ahead (package kernels).
//
// Activations are bf16, sums, statistics and parameters float32. Weights of 4 bits are packed once, at import, into blocks
// that every product reads; others stay as they are and are widened before a product. Work is queued on one stream, memory
// is taken and given back in its order.
package cuda

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
	"github.com/lentil-lm/lentil/compute/cuda/kernels"
	"github.com/lentil-lm/lentil/fault"
)

// Options choose a card.
type Options struct {
	Card int // from 0, as the driver counts
	// Image is the compiled form of the kernels, "compute_80" for that of all cards. Empty takes the environment's
	// LENTIL_CUDA, else the card's best.
	Image string
	// Driver is the path of the driver's library; empty is the system's.
	Driver string
}

// Device is a compute.Device on a card. Its methods may be called from several goroutines.
type Device struct {
	drv   *driver.Driver
	card  *driver.Card
	name  string
	image kernels.Image

	mu     sync.Mutex // held by every method
	ctx    driver.Context
	stream driver.Stream // all work
	reads  driver.Stream // copies to the host that do not wait for work queued later
	pool   driver.Pool
	module driver.Module
	call   *call
	trace  trace

	collecting *collector // of the program that is compiled; else nil

	kernels    map[string]*kernel        // those that were launched
	operandsOf compute.Operands[*buffer] // of the op that is run

	watch  watch
	waits  group
	kept   blocks
	late   []area // large blocks to give back behind launches that are held back
	waited bool   // the last launch since flush is of a kernel that waits for those before it
	early  bool   // tests: kernels that wait begin early, whatever is before them
	marks  marks
	status []byte // of the host, where kernels tell a bad index
	stage  staging

	counters driver.Ptr                        // zeros, where blocks of a kernel count themselves; one more is the gate of steps
	steps    map[driver.GraphExec][]driver.Ptr // memory of the steps of graphs
	noSteps  bool                              // the driver takes no launches of steps

	programmaticGraphs bool // the driver takes programmatic launches in graphs, as far as is known

	free       int64 // of the card's memory, when the device was opened
	used, peak int64
	areas      []area // work memory of the op
	err        error  // the first of an op
	closed     bool
}

var errClosed = errors.New("cuda: device is closed")

// New opens a card, or says why it cannot be used.
func New(opt Options) (compute.Device, error) {
	drv, err := driver.Open(opt.Driver)
	if err != nil {
		return nil, err
	}
	n, err := drv.Cards()
	if err != nil {
		return nil, err
	}
	if opt.Card < 0 || opt.Card >= n {
		return nil, fault.Value("device", fmt.Sprintf("cuda:%d", opt.Card), fmt.Sprintf("cuda:0 to cuda:%d (the driver shows %d)", n-1, n))
	}
	card, err := drv.Card(opt.Card)
	if err != nil {
		return nil, err
	}
	if card.Capability < 80 {
		return nil, fault.Of("%s has compute capability %d.%d: the kernels need 8.0 (Ampere) or later", card.Name, card.Capability/10, card.Capability%10).
			Try("Set %s to cpu.", fault.Setting("device"))
	}
	d := &Device{drv: drv, card: card, name: fmt.Sprintf("cuda:%d", opt.Card), kernels: map[string]*kernel{}, steps: map[driver.GraphExec][]driver.Ptr{}}
	d.call = &call{d: d}
	d.trace.to = d
	if err := d.open(opt); err != nil {
		d.Close()
		return nil, fmt.Errorf("%s (%s): %w", d.name, card.Name, err)
	}
	return d, nil
}

// Cards names the cards of this machine, or says why none can be used. It asks the driver once.
var Cards = sync.OnceValues(func() ([]string, error) {
	drv, err := driver.Open("")
	if err != nil {
		return nil, err
	}
	n, err := drv.Cards()
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("cuda:%d", i))
	}
	if n == 0 {
		return nil, fault.Of("NVIDIA driver: it shows no card").Try("Look at nvidia-smi, and at CUDA_VISIBLE_DEVICES, which can hide cards.")
	}
	return names, nil
})

// statusBytes is the size of what kernels tell the host.
const statusBytes = 4096

// countersHeld is how many counters there are.
const countersHeld = 1 << 14

// open makes what the device holds.
func (d *Device) open(opt Options) (err error) {
	if d.ctx, err = d.card.Retain(); err != nil {
		return err
	}
	d.enter()
	defer d.leave()
	if d.free, err = d.drv.FreeMemory(); err != nil {
		return err
	}
	if d.pool, err = d.card.Pool(); err != nil {
		return err
	}
	if d.stream, err = d.drv.NewStream(); err != nil {
		return err
	}
	if d.reads, err = d.drv.NewStream(); err != nil {
		return err
	}
	if d.status, err = d.drv.HostAlloc(statusBytes); err != nil {
		return err
	}
	clear(d.status)
	if err := d.stage.open(d.drv); err != nil {
		return err
	}
	if d.counters, err = d.drv.Alloc(4*countersHeld, d.stream); err != nil {
		return err
	}
	if err := d.drv.Set(d.counters, 0, 4*countersHeld, d.stream); err != nil {
		return err
	}
	return d.load(cmp.Or(opt.Image, os.Getenv("LENTIL_CUDA")))
}

// load loads the first image of the kernels that the driver takes, or the one that is asked for.
func (d *Device) load(name string) error {
	var failed []error
	for _, image := range kernels.For(d.card.Capability) {
		if name != "" && name != image.Name {
			continue
		}
		data, err := image.Data()
		if err != nil {
			return err
		}
		if d.module, err = d.drv.Load(data); err == nil {
			d.image = image
			v, err := d.drv.Version()
			d.programmaticGraphs = err == nil && v >= 12030
			return err
		}
		failed = append(failed, fmt.Errorf("%s: %w", image.Name, err))
	}
	if len(failed) == 0 {
		var names []string
		for _, image := range kernels.For(d.card.Capability) {
			names = append(names, image.Name)
		}
		return fault.Of("LENTIL_CUDA: no kernels are called %s", name).Try("Unset it, or set it to one of: %s.", strings.Join(names, ", "))
	}
	return fault.Of("the driver takes none of the kernels: %w", errors.Join(failed...)).Try("Install a newer driver.")
}

// enter locks the device and its goroutine's thread, on which calls of the driver have its context; leave undoes both.
func (d *Device) enter() {
	d.mu.Lock()
	runtime.LockOSThread()
	if d.ctx != 0 {
		d.drv.Use(d.ctx)
	}
}

func (d *Device) leave() {
	runtime.UnlockOSThread()
	d.mu.Unlock()
}

// fail keeps the first error of an op.
func (d *Device) fail(err error) {
	if d.err == nil && err != nil {
		d.err = err
	}
}

// take returns the kept error, in words for the user, and forgets it.
func (d *Device) take() error {
	err := d.err
	d.err = nil
	if driver.Lost(err) {
		return fault.Advise(fmt.Errorf("%s: %w", d.name, err), "The card has stopped. Look at nvidia-smi and the system's log (dmesg, \"Xid\"), and start again: what was saved is intact.")
	}
	return err
}

// Info tells the card.
func (d *Device) Info() compute.Info {
	return compute.Info{
		Name: d.name, Detail: fmt.Sprintf("%s, %s", d.card.Name, d.image.Name), Memory: d.free,
		PeakBandwidth: 2 * 1000 * float64(d.card.MemoryKHz) * float64(d.card.BusBits) / 8,
		Activations:   compute.BF16, Repeatable: true, Async: true,
		BatchInvariant: true, SmallBatch: manyTokens, WidthUnit: 8,
	}
}

// Memory returns what buffers and work areas take now and took at most.
func (d *Device) Memory() (used, peak int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used, d.peak
}

// ResetPeak starts a new measurement of the peak that Memory returns.
func (d *Device) ResetPeak() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peak = d.used
}

// Sync waits for all work.
func (d *Device) Sync() error {
	d.enter()
	defer d.leave()
	if d.closed {
		return errClosed
	}
	d.flush()
	d.fail(d.drv.Wait(d.stream))
	d.checkStatus()
	return d.take()
}

// checkStatus reports, once, an index that a kernel found to be beyond its matrix.
func (d *Device) checkStatus() {
	if binary.LittleEndian.Uint32(d.status) != 0 {
		clear(d.status[:4])
		d.fail(errors.New("an index is beyond the rows of its matrix"))
	}
}

// Close gives everything back. Buffers must not be used afterwards.
func (d *Device) Close() error {
	d.enter()
	defer d.leave()
	if d.closed {
		return nil
	}
	d.closed = true
	if d.stream != 0 {
		d.flush()
		d.fail(d.drv.Wait(d.stream))
	}
	d.trace.close()
	d.stopWatch()
	for _, p := range d.kept.drain() {
		d.fail(d.drv.Free(p, d.stream))
	}
	d.stage.close(d.drv)
	d.marks.close(d.drv)
	if d.counters != 0 {
		d.fail(d.drv.Free(d.counters, d.stream))
		d.fail(d.drv.Wait(d.stream))
	}
	if d.status != nil {
		d.fail(d.drv.HostFree(d.status))
	}
	for _, s := range []driver.Stream{d.stream, d.reads} {
		if s != 0 {
			d.fail(d.drv.Destroy(s))
		}
	}
	if d.pool != 0 {
		d.fail(d.drv.Trim(d.pool))
	}
	if d.ctx != 0 {
		d.fail(d.card.Release())
	}
	return d.take()
}
