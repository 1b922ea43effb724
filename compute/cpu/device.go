// Package cpu is the device that needs nothing but a processor: a pool of
// workers and kernels in Go and assembly.
//
// Every op has its plain-Go definition in package compute. The kernels here compute
// the same numbers, within float32 rounding, faster. They are kept in a table (see
// kernels) that is chosen once by the processor's features.
//
// Results are repeatable bit for bit: what a task computes does not depend on
// which worker ran it, and sums over tasks have a fixed order.
package cpu

import (
	"fmt"
	"sync"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/quant"
)

// Options choose how a device uses the machine; the zero value is the best guess.
type Options struct {
	// Threads is the number of workers; 0 is one a core.
	Threads int
	// Kernels is a family ("generic", "avx2", "avx512", "neon"). Empty takes
	// the environment's LENTIL_CPU, else the best that the processor has.
	Kernels string
}

// Device is a compute.Device on the processor. Its methods may be called from
// several goroutines; ops run one after another, each on all threads.
type Device struct {
	pool    *pool
	kernels *kernels
	mem     *memory[byte]

	mu      sync.Mutex // held while an op runs
	scratch scratch
}

// New makes a device, or says why the wanted kernels cannot run here.
func New(opt Options) (compute.Device, error) {
	k, err := chooseKernels(opt.Kernels)
	if err != nil {
		return nil, err
	}
	if err := machine.CheckThreads(opt.Threads); err != nil {
		return nil, err
	}
	if opt.Threads == 0 {
		opt.Threads = machine.Threads()
	}
	d := &Device{pool: newPool(opt.Threads), kernels: k}
	d.mem = newMemory(machine.AvailableMemory())
	d.scratch.mem = d.mem
	return d, nil
}

const (
	// smallBatch is the largest number of tokens for which products have kernels of their own.
	smallBatch = 32
	// widthUnit is what widths are multiples of where no vector kernel has a remainder: the
	// batch decides where an array ends, and remainders are computed differently.
	widthUnit = 16
)

// Info tells the family of kernels in Detail.
func (d *Device) Info() compute.Info {
	return compute.Info{
		Name: "cpu", Detail: d.kernels.name, Threads: d.pool.threads, Memory: d.mem.limit, Activations: compute.F32,
		RowWise: true, BatchInvariant: true, SmallBatch: smallBatch, WidthUnit: widthUnit, Repeatable: true,
	}
}

// Memory returns the bytes that buffers and work areas take now and the most
// they took at once. Imported memory is not counted.
func (d *Device) Memory() (used, peak int64) {
	d.mem.mu.Lock()
	defer d.mem.mu.Unlock()
	return d.mem.used, d.mem.peak
}

// Ledger reckons with the sizes of blocks and their reuse, but not with the work areas of ops.
func (d *Device) Ledger() compute.Ledger { return newLedger() }

// ResetPeak starts a new measurement of the peak that Memory returns.
func (d *Device) ResetPeak() {
	d.mem.mu.Lock()
	defer d.mem.mu.Unlock()
	d.mem.peak = d.mem.used
}

// Close ends the workers.
func (d *Device) Close() error {
	d.pool.close()
	return nil
}

// buffer is host memory, owned or imported.
type buffer struct {
	compute.Array
	dev   *Device
	freed bool
}

func (b *buffer) Spec() compute.Spec { return b.Array.Spec }

func (b *buffer) Free() {
	if b.freed {
		return
	}
	b.freed = true
	if b.Matrix == nil {
		b.dev.mem.put(b.Data)
	}
	b.Data, b.Matrix = nil, nil
}

// Alloc returns a buffer of unspecified content.
func (d *Device) Alloc(shape compute.Shape, t compute.DType) (compute.Buffer, error) {
	spec := compute.Spec{Shape: shape, DType: t}
	if err := spec.Check(); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	data, err := d.mem.get(int(spec.Bytes()))
	if err != nil {
		return nil, fmt.Errorf("cpu: buffer %v: %w", spec, err)
	}
	return &buffer{Array: compute.Array{Spec: spec, Data: data}, dev: d}, nil
}

// ImportWeight uses the matrix where it lies.
func (d *Device) ImportWeight(m *quant.Matrix) (compute.Buffer, error) {
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	a := compute.Array{Spec: compute.WeightOf(m).Spec(), Data: m.Data, Matrix: m}
	return &buffer{Array: a, dev: d}, nil
}

// Supports is true for every op of package compute: the definition runs where
// no kernel exists.
func (d *Device) Supports(compute.Op, []compute.Spec) bool { return true }

// Owner, Freed and Imported are for the checks of package compute.

func (b *buffer) Owner() compute.Device   { return b.dev }
func (b *buffer) Freed() bool             { return b.freed }
func (b *buffer) Imported() *quant.Matrix { return b.Matrix }

// Read copies the content out.
func (d *Device) Read(b compute.Buffer, dst []byte) error { return d.transfer(b, dst, false) }

// Write copies the content in.
func (d *Device) Write(b compute.Buffer, src []byte) error { return d.transfer(b, src, true) }

func (d *Device) transfer(b compute.Buffer, host []byte, write bool) error {
	c, err := compute.OwnCopy[*buffer](d, b, len(host), write)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch m := c.Matrix; {
	case write:
		copy(c.Data, host)
	case m != nil:
		compute.CopyOut(host, m)
	default:
		copy(host, c.Data)
	}
	return nil
}

// Sync has nothing to wait for: Run returns when the work is done.
func (d *Device) Sync() error { return nil }
