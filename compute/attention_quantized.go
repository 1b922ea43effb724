package compute

import (
	"fmt"

	"github.com/lentil-lm/lentil/quant"
)

// QuantizeRows rounds rows to affine integers and writes them as rows [At, At+T) of a
// matrix; the other rows stay. Keys and values enter a quantized KV cache this way. A
// group with a value that is not finite, or too large for the type of the scales,
// becomes NaN. Ties are rounded to even ([quant.RuleCPU]).
//
//	in: x [T, Cols] of a float type;  out: the matrix's buffers, see Weight.Specs
type QuantizeRows struct {
	At     int
	Weight Weight // Affine
}

func (QuantizeRows) Name() string { return "quantize_rows" }

func (o QuantizeRows) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 1), wantAffine(o.Weight.Format), want(in, 0, "x", -1, o.Weight.Cols), wantType(in, 0, "x", floats...)); err != nil {
		return nil, err
	}
	out := o.Weight.Specs()
	if err := o.Weight.checkParts(out, 0); err != nil {
		return nil, err
	}
	if t := in[0].Shape[0]; o.At < 0 || o.At+t > o.Weight.Rows {
		return nil, fmt.Errorf("rows %d to %d do not fit into %d", o.At, o.At+t, o.Weight.Rows)
	}
	return out, nil
}

// Cost counts a comparison for both edges of a group, and three operations to
// round a value.
func (o QuantizeRows) Cost(in []Spec) Cost {
	part := Weight{o.Weight.Format, in[0].Shape[0], o.Weight.Cols}
	return Cost{FLOPs: 5 * int64(in[0].Shape.Elems()), Bytes: in[0].Bytes() + part.bytes()}
}

func (o QuantizeRows) Define(out, in []Array) {
	m, x := o.Weight.Matrix(out), in[0].Floats()
	for i := range in[0].Shape[0] {
		m.PutRow(o.At+i, x[i*m.Cols:(i+1)*m.Cols], quant.RuleCPU)
	}
}

// wantAffine checks an attribute that must be an affine format.
func wantAffine(f quant.Format) error {
	if f.Kind != quant.Affine {
		return fmt.Errorf("rows are stored as %v, want affine integers", f)
	}
	return f.Check()
}

// QuantizedAttention is Attention over keys and values that are stored as affine
// integers, in groups along each head.
//
//	in: q F32 [T, Heads·HeadDim], the three buffers of k [S, KVHeads·HeadDim], those
//	    of v, bounds as Attention's
//	out: o, lse as Attention's
type QuantizedAttention struct {
	Attention
	Format quant.Format // of k and v
}

func (QuantizedAttention) Name() string { return "quantized_attention" }

// stored is how k is stored; v is stored the same way.
func (o QuantizedAttention) stored(in []Spec) Weight {
	return Weight{o.Format, dim(in, 1, 0), o.KVHeads * o.HeadDim}
}

func (o QuantizedAttention) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 8), wantAffine(o.Format), divides(o.HeadDim, o.Format.Group, "head size")); err != nil {
		return nil, err
	}
	w := o.stored(in)
	if err := w.checkParts(in, 1); err != nil {
		return nil, fmt.Errorf("k: %w", err)
	}
	if err := w.checkParts(in, 4); err != nil {
		return nil, fmt.Errorf("v: %w", err)
	}
	return o.Attention.Infer(o.plain(in))
}

// plain gives the inputs that Attention takes in place of this op's.
func (o QuantizedAttention) plain(in []Spec) []Spec {
	w := o.stored(in)
	k := Spec{Shape{w.Rows, w.Cols}, F32}
	return []Spec{in[0], k, k, in[7]}
}

func (o QuantizedAttention) Cost(in []Spec) Cost {
	c := o.Attention.Cost(o.plain(in))
	seen := Weight{o.Format, o.Offset + in[0].Shape[0], o.KVHeads * o.HeadDim}
	c.FLOPs += 4 * int64(seen.Rows) * int64(seen.Cols)
	c.Bytes = 2*in[0].Bytes() + 2*seen.bytes()
	return c
}

func (o QuantizedAttention) Define(out, in []Array) {
	k, v := o.Matrices(in)
	kv := Spec{Shape{k.Rows, k.Cols}, F32}
	o.Attention.Define(out, []Array{in[0], {Spec: kv, Data: FloatBytes(k.Floats())}, {Spec: kv, Data: FloatBytes(v.Floats())}, in[7]})
}

// Matrices views the inputs' keys and values.
func (o QuantizedAttention) Matrices(in []Array) (k, v *quant.Matrix) {
	w := Weight{o.Format, in[1].Shape[0], o.KVHeads * o.HeadDim}
	return w.Matrix(in[1:4]), w.Matrix(in[4:7])
}
