package compute

import (
	"fmt"
	"math"
)

// SwiGLU is silu(gate) · up (Shazeer, 2020).
//
//	in: gate, up float [T, D] of one type;  out: as gate
type SwiGLU struct{}

func (SwiGLU) Name() string { return "swiglu" }

func (SwiGLU) Infer(in []Spec) ([]Spec, error) { return alike(in, "gate", "up") }

func (SwiGLU) Cost(in []Spec) Cost { return elementCost(in, 6, 1) }

func (SwiGLU) Define(out, in []Array) {
	gate, up := in[0].Floats(), in[1].Floats()
	y, put := out[0].working()
	defer put()
	for i, g := range gate {
		y[i] = g * sigmoid(g) * up[i]
	}
}

// SwiGLUGrad is the gradient of SwiGLU. Outputs may be the inputs gate and up.
//
//	in: gate, up, dy float [T, D] of one type;  out: dgate, dup as gate
type SwiGLUGrad struct{}

func (SwiGLUGrad) Name() string { return "swiglu_grad" }

func (SwiGLUGrad) Infer(in []Spec) ([]Spec, error) {
	s, err := alike(in, "gate", "up", "dy")
	if err != nil {
		return nil, err
	}
	return []Spec{s[0], s[0]}, nil
}

func (SwiGLUGrad) Cost(in []Spec) Cost { return elementCost(in, 12, 2) }

func (SwiGLUGrad) Define(out, in []Array) {
	gate, up, dy := in[0].Floats(), in[1].Floats(), in[2].Floats()
	dgate, put := out[0].working()
	defer put()
	dup, put := out[1].working()
	defer put()
	for i, g := range gate {
		s, u, d := sigmoid(g), up[i], dy[i]
		dgate[i], dup[i] = d*u*s*(1+g*(1-s)), d*g*s
	}
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

// Add is a + Alpha·b. The output may be a.
//
//	in: a, b float of one shape and type;  out: as a
type Add struct{ Alpha float32 }

func (Add) Name() string { return "add" }

func (Add) Infer(in []Spec) ([]Spec, error) { return alike(in, "a", "b") }

func (Add) Cost(in []Spec) Cost { return elementCost(in, 2, 1) }

func (o Add) Define(out, in []Array) {
	a, b := in[0].Floats(), in[1].Floats()
	y, put := out[0].working()
	defer put()
	for i := range a {
		y[i] = a[i] + o.Alpha*b[i]
	}
}

// Scale is Alpha·x. The output may be x.
//
//	in: x float;  out: as x
type Scale struct{ Alpha float32 }

func (Scale) Name() string { return "scale" }

func (Scale) Infer(in []Spec) ([]Spec, error) { return alike(in, "x") }

func (Scale) Cost(in []Spec) Cost { return elementCost(in, 1, 1) }

func (o Scale) Define(out, in []Array) {
	x := in[0].Floats()
	y, put := out[0].working()
	defer put()
	for i, v := range x {
		y[i] = o.Alpha * v
	}
}

// ScaleBy is Scale by a number that is not known when the op is made: by·x. The output may
// be x.
//
//	in: x float, by F32 [1];  out: as x
type ScaleBy struct{}

func (ScaleBy) Name() string { return "scale_by" }

func (ScaleBy) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 2), want(in, 1, "by", 1), wantType(in, 1, "by", F32)); err != nil {
		return nil, err
	}
	return alike(in[:1], "x")
}

func (ScaleBy) Cost(in []Spec) Cost { return elementCost(in, 1, 1) }

// Scale is the op for a known number.
func (ScaleBy) Scale(by Array) Scale { return Scale{Alpha: by.F32()[0]} }

func (o ScaleBy) Define(out, in []Array) { o.Scale(in[1]).Define(out, in[:1]) }

// Fill sets every element to Value.
//
//	in: none;  out: F32 of shape Shape
type Fill struct {
	Value float32
	Shape Shape
}

func (Fill) Name() string { return "fill" }

func (o Fill) Infer(in []Spec) ([]Spec, error) {
	return []Spec{{o.Shape, F32}}, arity(in, 0)
}

func (o Fill) Cost([]Spec) Cost { return Cost{Bytes: 4 * int64(o.Shape.Elems())} }

func (o Fill) Define(out, _ []Array) {
	y := out[0].F32()
	for i := range y {
		y[i] = o.Value
	}
}

// CopyRows writes the first T rows of its output and leaves the others as they are: a KV
// cache moves into a larger one this way, and its beginning into a smaller one. Of more rows
// than the output has, the first are taken. Floats are rounded to the output's type, to
// nearest even. Packed numbers (U32) are copied as they are.
//
//	in: x [T, D] of a float type;  out: To [Rows, D], U32 if x is
type CopyRows struct {
	Rows int
	To   DType
}

func (CopyRows) Name() string { return "copy_rows" }

func (o CopyRows) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 1), want(in, 0, "x", -1, -1)); err != nil {
		return nil, err
	}
	if in[0].DType != U32 || o.To != U32 {
		if err := firstErr(wantType(in, 0, "x", floats...), wantFloat("out", o.To)); err != nil {
			return nil, err
		}
	}
	return []Spec{{Shape{o.Rows, in[0].Shape[1]}, o.To}}, nil
}

// Taken is the rows of x that are copied.
func (o CopyRows) Taken(x Spec) Spec {
	return Spec{Shape{min(x.Shape[0], o.Rows), x.Shape[1]}, x.DType}
}

func (o CopyRows) Cost(in []Spec) Cost { return Cost{Bytes: 2 * o.Taken(in[0]).Bytes()} }

func (o CopyRows) Define(out, in []Array) {
	from := o.Taken(in[0].Spec)
	to := Spec{from.Shape, o.To}
	x, part := Array{Spec: from, Data: in[0].Data[:from.Bytes()]}, Array{Spec: to, Data: out[0].Data[:to.Bytes()]}
	if o.To == U32 {
		copy(part.Data, x.Data)
		return
	}
	part.SetFloats(x.Floats())
}

// GatherRows picks rows.
//
//	in: x float [T, D], rows I32 [R];  out: [R, D] of x's type
type GatherRows struct{}

func (GatherRows) Name() string { return "gather_rows" }

func (GatherRows) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "x", -1, -1), wantActivation(in, 0, "x"), want(in, 1, "rows", -1), wantType(in, 1, "rows", I32)); err != nil {
		return nil, err
	}
	return []Spec{{Shape{in[1].Shape[0], in[0].Shape[1]}, in[0].DType}}, nil
}

func (GatherRows) Cost(in []Spec) Cost {
	return Cost{Bytes: 2 * int64(in[1].Shape[0]) * int64(in[0].Shape[1]*in[0].DType.Size())}
}

func (GatherRows) Define(out, in []Array) {
	x, y, d := in[0].Data, out[0].Data, in[0].Shape[1]*in[0].DType.Size()
	for i, r := range in[1].I32() {
		copy(y[i*d:(i+1)*d], x[int(r)*d:(int(r)+1)*d])
	}
}

// ScatterRows is the gradient of GatherRows: zeros, to which row i of dy is added at
// row rows[i].
//
//	in: dy float [R, D], rows I32 [R];  out: [Rows, D] of dy's type
type ScatterRows struct{ Rows int }

func (ScatterRows) Name() string { return "scatter_rows" }

func (o ScatterRows) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "dy", -1, -1), wantActivation(in, 0, "dy"), want(in, 1, "rows", dim(in, 0, 0)), wantType(in, 1, "rows", I32)); err != nil {
		return nil, err
	}
	return []Spec{{Shape{o.Rows, in[0].Shape[1]}, in[0].DType}}, nil
}

func (o ScatterRows) Cost(in []Spec) Cost {
	return Cost{Bytes: in[0].Bytes() + int64(o.Rows)*int64(in[0].Shape[1]*in[0].DType.Size())}
}

func (o ScatterRows) Define(out, in []Array) {
	dy, d := in[0].Floats(), in[0].Shape[1]
	dx, put := out[0].working()
	defer put()
	clear(dx)
	for i, r := range in[1].I32() {
		axpy(dx[int(r)*d:(int(r)+1)*d], 1, dy[i*d:(i+1)*d])
	}
}

// alike is the rule of ops whose inputs and output are activations of one shape and type.
func alike(in []Spec, names ...string) ([]Spec, error) {
	if err := arity(in, len(names)); err != nil {
		return nil, err
	}
	for i, name := range names {
		if err := firstErr(want(in, i, name, in[0].Shape...), wantActivation(in, i, name), wantType(in, i, name, in[0].DType)); err != nil {
			return nil, err
		}
	}
	return []Spec{in[0]}, nil
}

// sameShape is the rule of ops whose inputs and output are F32 of one shape.
func sameShape(in []Spec, names ...string) ([]Spec, error) {
	if err := arity(in, len(names)); err != nil {
		return nil, err
	}
	for i, name := range names {
		if err := firstErr(want(in, i, name, in[0].Shape...), wantType(in, i, name, F32)); err != nil {
			return nil, err
		}
	}
	return []Spec{in[0]}, nil
}

// elementCost counts flops per element, and the traffic of the inputs and of outs outputs.
func elementCost(in []Spec, flops, outs int) Cost {
	return Cost{FLOPs: int64(flops) * int64(in[0].Shape.Elems()), Bytes: traffic(in) + int64(outs)*in[0].Bytes()}
}

// divides is the rule that one extent is a multiple of another.
func divides(n, d int, name string) error {
	if d <= 0 || n%d != 0 {
		return fmt.Errorf("%s is %d, not a multiple of %d", name, n, d)
	}
	return nil
}
