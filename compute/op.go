package compute

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/lentil-lm/lentil/quant"
)

// Op is one operation of the closed set: a struct whose fields are its
// attributes. Its methods are its shape rule, its cost and its meaning.
type Op interface {
	// Name is a short lower-case name for errors, profiles and tests.
	Name() string
	// Infer is the shape rule: the specs of the outputs for these inputs, or an
	// error that says which input is wrong.
	Infer(in []Spec) ([]Spec, error)
	// Cost counts the work for inputs that Infer accepts.
	Cost(in []Spec) Cost
	// Define computes the outputs in plain Go and float32, and rounds them to their type.
	// Every device is tested against this definition, and package fallback runs it where a
	// device has no kernel of its own.
	Define(out, in []Array)
}

// Cost is the work of one op, or of many added up.
type Cost struct {
	FLOPs int64 // a multiply-add counts as two
	Bytes int64 // bytes read and written at least once
}

// Add returns the sum of both costs.
func (c Cost) Add(d Cost) Cost { return Cost{c.FLOPs + d.FLOPs, c.Bytes + d.Bytes} }

// Array is a buffer's content in host memory.
type Array struct {
	Spec
	Data []byte
	// Matrix is set where a weight does not lie in one piece as Data: see Weight.Of.
	Matrix *quant.Matrix
}

// F32 views the content of an F32 array without a copy.
func (a Array) F32() []float32 { return view[float32](a, F32) }

// I32 views the content of an I32 array without a copy.
func (a Array) I32() []int32 { return view[int32](a, I32) }

// Keys views the content of a U32 array [N, 2] as keys, without a copy.
func (a Array) Keys() []Key {
	words := view[uint32](a, U32)
	if len(words) == 0 {
		return nil
	}
	return unsafe.Slice((*Key)(unsafe.Pointer(unsafe.SliceData(words))), len(words)/2)
}

func view[E float32 | int32 | uint32](a Array, want DType) []E {
	if a.DType != want {
		panic(fmt.Sprintf("compute: %v array viewed as %v", a.DType, want))
	}
	n := a.Shape.Elems()
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(a.Data))), n)
}

// Floats returns the content as float32: a view of an F32 array, a widened copy
// of an F16 or BF16 one.
func (a Array) Floats() []float32 {
	if a.DType == F32 {
		return a.F32()
	}
	dst := make([]float32, a.Shape.Elems())
	quant.Floats(dst, a.Data, a.DType)
	return dst
}

// SetFloats rounds src to the array's type and stores it.
func (a Array) SetFloats(src []float32) {
	if a.DType == F32 {
		copy(a.F32(), src)
		return
	}
	quant.PutFloats(a.Data, src, a.DType)
}

// working returns the content as float32 to be changed, and put, which rounds it to the
// array's type and stores it. An F32 array is changed where it lies.
func (a Array) working() (v []float32, put func()) {
	if a.DType == F32 {
		return a.F32(), func() {}
	}
	v = a.Floats()
	return v, func() { a.SetFloats(v) }
}

// FloatBytes views float32 values as their bytes, for Device.Write and Read.
func FloatBytes(v []float32) []byte { return bytesOf(v) }

// IntBytes views int32 values as their bytes, for Device.Write and Read.
func IntBytes(v []int32) []byte { return bytesOf(v) }

// KeyBytes views keys as the bytes of a U32 array [N, 2], for Device.Write.
func KeyBytes(keys []Key) []byte {
	if len(keys) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(keys))), 8*len(keys))
}

func bytesOf[E float32 | int32](v []E) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// Infer runs the shape rule of op and names the op in its error.
func Infer(op Op, in []Spec) ([]Spec, error) {
	out, err := op.Infer(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op.Name(), err)
	}
	return out, nil
}

// Check reports whether op fits these outputs and inputs.
func Check(op Op, out, in []Spec) error {
	want, err := Infer(op, in)
	if err != nil {
		return err
	}
	if len(out) != len(want) {
		return fmt.Errorf("%s: has %d outputs, %d given", op.Name(), len(want), len(out))
	}
	for i := range want {
		if !want[i].Shape.Equal(out[i].Shape) || want[i].DType != out[i].DType {
			return fmt.Errorf("%s: output %d is %v, the op writes %v", op.Name(), i, out[i], want[i])
		}
	}
	return nil
}

// arity is the shape rules' first check.
func arity(in []Spec, n int) error {
	if len(in) != n {
		return fmt.Errorf("takes %d inputs, %d given", n, len(in))
	}
	return nil
}

// dim is extent k of input i, or -1 where there is none; want then reports that input.
func dim(in []Spec, i, k int) int {
	if i >= len(in) || k >= len(in[i].Shape) {
		return -1
	}
	return in[i].Shape[k]
}

// want checks one input's shape; a dimension of -1 is free.
func want(in []Spec, i int, name string, shape ...int) error {
	if i >= len(in) {
		return fmt.Errorf("%s is missing", name)
	}
	s := in[i].Shape
	ok := len(s) == len(shape)
	for k := 0; ok && k < len(s); k++ {
		ok = shape[k] == -1 || shape[k] == s[k]
	}
	if !ok {
		return fmt.Errorf("%s has shape %v, want %v (-1 is any)", name, []int(s), slices.Clone(shape)) // callers' lists stay off the heap
	}
	return nil
}

// wantType checks that one input's element type is one of types.
func wantType(in []Spec, i int, name string, types ...DType) error {
	if i >= len(in) {
		return fmt.Errorf("%s is missing", name)
	}
	if !slices.Contains(types, in[i].DType) {
		return fmt.Errorf("%s has type %v, want %v", name, in[i].DType, slices.Clone(types))
	}
	return nil
}

// wantActivation checks that one input has a type that activations have on some device.
func wantActivation(in []Spec, i int, name string) error { return wantType(in, i, name, floats...) }

// output is the type that an op's attribute To stands for: F32 unless it is set.
func output(to DType) DType {
	if to == 0 {
		return F32
	}
	return to
}

// wantFloat checks that an attribute names one of the float types of buffers.
func wantFloat(name string, t DType) error {
	if !slices.Contains(floats, t) {
		return fmt.Errorf("%s has type %v, want %v", name, t, floats)
	}
	return nil
}

// floats are the float types that buffers have.
var floats = []DType{F32, F16, BF16}

// firstErr returns the first error of a list of checks.
func firstErr(errs ...error) error {
	for _, e := range errs {
		if e != nil {
			return e
		}
	}
	return nil
}

// traffic adds up the bytes of specs.
func traffic(specs ...[]Spec) int64 {
	var n int64
	for _, l := range specs {
		for _, s := range l {
			n += s.Bytes()
		}
	}
	return n
}
