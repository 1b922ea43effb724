// Package compute is the contract between the maths of Lentil and the machines
// that run it: a Device holds Buffers and runs Ops.
//
// Conventions shared by every op and device:
//
//   - Arrays are row-major. A matrix of activations is [T, D]: one row a token.
//   - Weight matrices are [out, in] as in the model files: y = x Wᵀ.
//   - Token ids, positions and row indices are I32.
//   - Activations and their gradients have the type that the device likes (Info.Activations);
//     "float" below is F32, BF16 or F16. What ops return is of their input's type, or of
//     that which their attribute To names (F32 when it is not set). Statistics, parameters,
//     their gradients, losses and the state of optimizers are F32.
//   - A buffer's content after Alloc is unspecified; an op writes all of its
//     outputs unless its comment says that it adds to them or writes a part.
//   - An element-wise op may be given the same buffer as input and output.
package compute

import (
	"errors"
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/quant"
)

// DType is the element type of a buffer; the names are those of safetensors.
type DType = quant.DType

// The element types that buffers of the engine use.
const (
	F32  = quant.F32
	F16  = quant.F16
	BF16 = quant.BF16
	I32  = quant.I32
	U32  = quant.U32
	U8   = quant.U8
)

// Errors that callers branch on.
var (
	// ErrUnsupported says that a device has no way to run an op (see Device.Supports).
	ErrUnsupported = errors.New("op not supported by this device")
	// ErrNoMemory says that a device has no room for a buffer.
	ErrNoMemory = errors.New("not enough device memory")
)

// Shape is the extent of each dimension, slowest first.
type Shape []int

// Elems is the number of elements; a scalar shape has one.
func (s Shape) Elems() int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

// Rows is the product of all dimensions but the last.
func (s Shape) Rows() int {
	if len(s) == 0 {
		return 1
	}
	return s[:len(s)-1].Elems()
}

// Cols is the last dimension.
func (s Shape) Cols() int {
	if len(s) == 0 {
		return 1
	}
	return s[len(s)-1]
}

// Equal reports whether both shapes have the same dimensions.
func (s Shape) Equal(t Shape) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range s {
		if s[i] != t[i] {
			return false
		}
	}
	return true
}

// Spec is what is known of a buffer without its content.
type Spec struct {
	Shape Shape
	DType DType
}

// Bytes is the size of the content.
func (s Spec) Bytes() int64 { return int64(s.Shape.Elems()) * int64(s.DType.Size()) }

// Check reports an extent below zero or a size beyond any memory: Alloc refuses
// these. Twice the size of a Spec that passes is still an int.
func (s Spec) Check() error {
	n := max(int64(s.DType.Size()), 1)
	for _, d := range s.Shape {
		if d < 0 {
			return fmt.Errorf("shape %v has a negative extent", []int(s.Shape))
		}
		if d > 0 && n > math.MaxInt/2/int64(d) {
			return fmt.Errorf("%w: shape %v is beyond any memory", ErrNoMemory, []int(s.Shape))
		}
		n *= int64(d)
	}
	return nil
}

func (s Spec) String() string { return fmt.Sprintf("%v %v", s.DType, []int(s.Shape)) }

// Buffer is memory on a device.
type Buffer interface {
	Spec() Spec
	// Free gives the memory back. Work already handed to Run is not disturbed.
	Free()
}

// Info describes a device. Zero figures are unknown.
type Info struct {
	Name          string  // "cpu", "cuda:0", ...
	Detail        string  // the kernel family or the marketing name
	Threads       int     // worker threads, CPU only
	Memory        int64   // bytes that buffers may take
	PeakFLOPS     float64 // float32 multiply-adds count as two
	PeakBandwidth float64 // bytes per second from memory
	Watch         string  // a command of the system that shows the device's load and power, where there is one

	// Activations is the type that ops keep activations and their gradients in: F32, BF16
	// or F16. Statistics, parameters and their gradients, losses and the optimizer's state
	// are F32 on every device.
	Activations DType
	// Cache is the type that ops read keys and values in fastest: F16 if it is 0.
	Cache DType
	// RowWise says that ops honour their attribute of that name.
	RowWise bool
	// BatchInvariant says that, to the bit, no row of a training pass depends on the rows
	// beside it, where these hold:
	BatchInvariant bool
	SmallBatch     int // there are more rows in all; up to so many, ops have other kernels
	WidthUnit      int // the model's widths are multiples of it; 0 is any width
	// Repeatable says that the same ops on the same content give the same bits.
	Repeatable bool
	// Async says that Run returns before the work is done, on memory of the device's own.
	// Callers then queue the next work before they read a result, and leave there what they
	// will need again.
	Async bool
}

// Device runs ops over buffers of its own, in the order they are given.
type Device interface {
	Info() Info
	// Alloc returns a buffer of unspecified content, or an error wrapping ErrNoMemory.
	Alloc(Shape, DType) (Buffer, error)
	// ImportWeight returns a read-only buffer of Weight.Spec for a matrix, which ops take as
	// their weight. The CPU uses the matrix where it lies, in a mapped model file for
	// example; other devices copy it, in an order of their own. It must stay unchanged and
	// alive until Free.
	ImportWeight(*quant.Matrix) (Buffer, error)
	// Run checks the op's shape rule and starts it; it may return before the work
	// is done. Errors of the work itself surface at Read or Sync. An op that the device
	// does not support gives an error wrapping ErrUnsupported.
	Run(op Op, out, in []Buffer) error
	// Supports reports whether the device has a way to run the op on such inputs, which
	// the op's shape rule accepts. Package fallback runs the others on the host.
	Supports(op Op, in []Spec) bool
	// Read waits for the buffer's content and copies it out; len(dst) is Spec().Bytes(). It
	// does not wait for work that was queued behind the buffer's last writer.
	Read(Buffer, []byte) error
	// Write copies host bytes into the buffer.
	Write(Buffer, []byte) error
	// Sync waits for all work.
	Sync() error
	// Memory returns the bytes that buffers and work areas take now, and the most they took
	// at once; weights that the device uses where they lie do not count.
	Memory() (used, peak int64)
	// Close ends the device's threads and gives back what it holds. Neither the device nor
	// its buffers may be used afterwards.
	Close() error
}

// A Hoarder is a Device that takes more memory than the content of its buffers: it rounds sizes up, or keeps freed
// blocks for the next buffers.
type Hoarder interface {
	// Ledger is a new account, of a device without buffers.
	Ledger() Ledger
}

// A Ledger reckons what an allocator takes, without taking any of it.
type Ledger interface {
	// Take gives the size in bytes of the block that a buffer of so many bytes gets.
	Take(bytes int64) int64
	// Free takes a block of that size back.
	Free(size int64)
	// Most is how many bytes the allocator held at once, kept blocks included, and how many of them on Go's heap.
	Most() (all, heap int64)
}

// A WorkLedger is a Ledger that also knows how weights are stored and what ops take while they run.
type WorkLedger interface {
	Ledger
	// Weight is what an imported matrix takes. Take and Most do not count it.
	Weight(*quant.Matrix) int64
	// Run reckons with an op.
	Run(op Op, out, in []Spec)
}
