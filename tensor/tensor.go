// Package tensor runs the maths of a model on a device: Tensors are handles on
// device buffers. A Tape runs ops and, while recording, remembers just what the
// backward pass needs.
//
// Memory: tensors made inside Tape.Scope are freed when it ends, unless they are
// its result or the tape has saved them for the backward pass, which frees them
// as it goes. Parameters and caches made with New live until Free.
//
// Errors are sticky, as in bufio.Writer: after the first one every op does nothing,
// and Tape.Err returns it. So maths reads as maths.
package tensor

import (
	"fmt"
	"sync/atomic"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// Tensor is a handle on a device buffer.
type Tensor struct {
	spec compute.Spec
	buf  compute.Buffer

	refs  int           // scope, saved nodes; 0 frees the buffer
	held  int           // of these, scopes
	again func(*Tape)   // computes the content once more; nil for what is kept
	fixed bool          // lives until Free: parameters, caches
	users *atomic.Int32 // handles on buf that Free is owed for; nil for the tape's own

	program *program // whose buf is; nil for none

	needsGrad bool // a gradient flows into it
	nodes     int  // recorded nodes that write it; its gradient is dropped after the earliest one
	grad      compute.Buffer
	gradSet   bool // grad holds a value (false: the next contribution overwrites)
	sharers   *int // how many tensors have this grad, see ownGrad; nil for x alone
}

// Shape is [T, D] for activations.
func (x *Tensor) Shape() compute.Shape { return x.spec.Shape }

// Rows is the product of all dimensions but the last.
func (x *Tensor) Rows() int { return x.spec.Shape.Rows() }

// Cols is the last dimension.
func (x *Tensor) Cols() int { return x.spec.Shape.Cols() }

// Buffer is the device memory, for ops that the tape does not know (optimizers).
func (x *Tensor) Buffer() compute.Buffer { return x.buf }

// Grad is the gradient's buffer, or nil when there is none since the last ZeroGrad.
func (x *Tensor) Grad() compute.Buffer {
	if !x.gradSet {
		return nil
	}
	return x.grad
}

// FillGrad is Grad where there is a gradient. Where there is none, it makes one of zeros.
func (x *Tensor) FillGrad(dev compute.Device) (compute.Buffer, error) {
	if x.gradSet {
		return x.grad, nil
	}
	if x.grad == nil {
		g, err := dev.Alloc(x.spec.Shape, compute.F32)
		if err != nil {
			return nil, err
		}
		x.grad = g
	}
	if err := dev.Run(compute.Fill{Shape: x.spec.Shape}, bufs(x.grad), nil); err != nil {
		return nil, err
	}
	x.gradSet = true
	return x.grad, nil
}

// Trainable reports whether a gradient flows into the tensor.
func (x *Tensor) Trainable() bool { return x.needsGrad }

// SetTrainable makes a tensor of New collect a gradient, or no longer.
func (x *Tensor) SetTrainable(on bool) { x.needsGrad = on }

// ZeroGrad forgets the gradient; its memory stays for the next one.
func (x *Tensor) ZeroGrad() { x.gradSet = false }

// FreeGrad gives the gradient's memory back.
func (x *Tensor) FreeGrad() {
	if x.grad == nil {
		return
	}
	if x.sharers != nil {
		*x.sharers--
	}
	if x.sharers == nil || *x.sharers == 0 {
		x.grad.Free()
	}
	x.grad, x.gradSet, x.sharers = nil, false, nil
}

// lasting tells tensors of New from those of a tape.
func (x *Tensor) lasting() bool { return x.users != nil }

// Free gives back a tensor made with New, or one of several handles on it, or one of a tape that was made outside
// of all scopes or is the result of the outermost.
func (x *Tensor) Free() {
	if x == nil {
		return
	}
	if !x.lasting() {
		x.leave()
		return
	}
	x.FreeGrad()
	if x.buf != nil {
		if x.users.Add(-1) == 0 {
			x.buf.Free()
		}
		x.buf = nil
	}
}

// Share makes a second handle on a tensor of New, with a gradient of its own or none.
// Each handle is freed by itself; the memory goes back with the last one. Share and
// Free may be called at the same time for different handles.
func (x *Tensor) Share() *Tensor {
	x.users.Add(1)
	return &Tensor{spec: x.spec, buf: x.buf, fixed: true, users: x.users}
}

// Shares reports whether both are handles on the same memory.
func (x *Tensor) Shares(other *Tensor) bool { return x.users == other.users }

// Own gives the handle memory that no other shares, so that its content may be changed.
func (x *Tensor) Own(dev compute.Device) error {
	if x.users.Load() == 1 {
		return nil
	}
	data := make([]byte, x.spec.Bytes())
	if err := dev.Read(x.buf, data); err != nil {
		return err
	}
	own, err := New(dev, x.spec.Shape, x.spec.DType, data)
	if err != nil {
		return err
	}
	if x.users.Add(-1) == 0 { // the others were freed meanwhile
		x.buf.Free()
	}
	x.buf, x.users = own.buf, own.users
	return nil
}

func (x *Tensor) retain() { x.refs++ }

// leave is release by a scope. What the backward pass alone still needs, and can be computed again, takes no memory until then.
func (x *Tensor) leave() {
	x.held--
	if x.held == 0 && x.refs > 1 && x.again != nil && x.buf != nil {
		x.buf.Free()
		x.buf = nil
	}
	x.release()
}

// release gives the content back when nobody holds it any more. The gradient
// stays: it belongs to the recorded nodes that write x.
func (x *Tensor) release() {
	x.refs--
	if x.refs <= 0 && !x.fixed && x.buf != nil {
		if x.program != nil {
			x.program.free = append(x.program.free, x.buf)
		} else {
			x.buf.Free()
		}
		x.buf = nil
	}
}

// New makes a lasting tensor. Its content is unspecified when data is nil.
func New(dev compute.Device, shape compute.Shape, dtype compute.DType, data []byte) (*Tensor, error) {
	buf, err := dev.Alloc(shape, dtype)
	if err != nil {
		return nil, err
	}
	if data != nil {
		if err := dev.Write(buf, data); err != nil {
			buf.Free()
			return nil, err
		}
	}
	return &Tensor{spec: buf.Spec(), buf: buf, fixed: true, users: oneUser()}, nil
}

func oneUser() *atomic.Int32 {
	n := new(atomic.Int32)
	n.Store(1)
	return n
}

// NewFloats makes a lasting F32 tensor.
func NewFloats(dev compute.Device, shape compute.Shape, data []float32) (*Tensor, error) {
	if len(data) != shape.Elems() {
		return nil, fmt.Errorf("tensor: %d values for shape %v", len(data), []int(shape))
	}
	return New(dev, shape, compute.F32, compute.FloatBytes(data))
}

// ReadFloats copies a tensor of floats to the host.
func ReadFloats(dev compute.Device, x *Tensor) ([]float32, error) {
	if !x.spec.DType.IsWeight() {
		return nil, fmt.Errorf("tensor: reading %v as floats", x.spec)
	}
	out := make([]float32, x.spec.Shape.Elems())
	if x.spec.DType == compute.F32 {
		return out, dev.Read(x.buf, compute.FloatBytes(out))
	}
	data := make([]byte, x.spec.Bytes())
	if err := dev.Read(x.buf, data); err != nil {
		return nil, err
	}
	quant.Floats(out, data, x.spec.DType)
	return out, nil
}

// Weight is a matrix [Rows, Cols] in any stored format. A trainable one is
// dense F32 and collects its gradient in Param.
type Weight struct {
	compute.Weight
	buf   compute.Buffer
	host  *quant.Matrix // what a frozen weight was imported from
	users *atomic.Int32 // handles on buf; nil when trainable
	Param *Tensor       // the trainable matrix, or nil when frozen
}

// ImportWeight makes a frozen weight of a matrix, which a device uses where it lies if
// it can: m has to stay unchanged until Free.
func ImportWeight(dev compute.Device, m *quant.Matrix) (*Weight, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	buf, err := dev.ImportWeight(m)
	if err != nil {
		return nil, err
	}
	return &Weight{Weight: compute.WeightOf(m), buf: buf, host: m, users: oneUser()}, nil
}

// TrainableWeight makes a weight from dense float32 values that training changes.
func TrainableWeight(dev compute.Device, rows, cols int, data []float32) (*Weight, error) {
	p, err := NewFloats(dev, compute.Shape{rows, cols}, data)
	if err != nil {
		return nil, err
	}
	p.needsGrad = true
	w := compute.Weight{Format: quant.Format{Kind: quant.Dense, DType: quant.F32}, Rows: rows, Cols: cols}
	return &Weight{Weight: w, buf: p.buf, Param: p}, nil
}

// Host is the matrix in host memory: where a frozen weight was imported from,
// or a copy of a trainable one.
func (w *Weight) Host(dev compute.Device) (*quant.Matrix, error) {
	if w.Param == nil {
		return w.host, nil
	}
	values, err := ReadFloats(dev, w.Param)
	if err != nil {
		return nil, err
	}
	return &quant.Matrix{Format: w.Format, Rows: w.Rows, Cols: w.Cols, Data: compute.FloatBytes(values)}, nil
}

// Share makes a second handle on a frozen weight, as Tensor.Share does.
func (w *Weight) Share() *Weight {
	w.users.Add(1)
	return &Weight{Weight: w.Weight, buf: w.buf, host: w.host, users: w.users}
}

// Shares reports whether both are handles on the same frozen weight.
func (w *Weight) Shares(other *Weight) bool { return w.users != nil && w.users == other.users }

// Free gives the weight back, or one handle of several on it.
func (w *Weight) Free() {
	switch {
	case w == nil || w.buf == nil:
		return
	case w.Param != nil:
		w.Param.Free()
	case w.users.Add(-1) == 0:
		w.buf.Free()
	}
	w.buf = nil
}
