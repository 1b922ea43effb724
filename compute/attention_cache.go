package compute

import (
	"fmt"

	"github.com/lentil-lm/lentil/quant"
)

// A Span says which rows of a pass belong to one sequence, and where they go in its KV
// cache. What changes from one token to the next is all in here, and an input of the
// ops: a device can run a step again with other numbers.
//
// The queries of the span, rows [From, To) of the pass, are the newest of Keys keys that
// the cache then holds: query From+i is key Keys-(To-From)+i. (A full ring has its keys in
// another order. It takes one query at a time, which sees all of them.)
type Span struct {
	From, To int // rows of the pass
	At       int // row of the cache that row From goes to
	Keys     int // rows of the cache in use, those of the span included
}

// spanInts is how many integers a Span is in a buffer.
const spanInts = 4

// SpanInts are the content of a buffer of spans, I32 [n, 4].
func SpanInts(spans ...Span) []int32 {
	v := make([]int32, 0, len(spans)*spanInts)
	for _, s := range spans {
		v = append(v, int32(s.From), int32(s.To), int32(s.At), int32(s.Keys))
	}
	return v
}

// Spans reads a buffer of spans.
func Spans(a Array) []Span {
	v := a.I32()
	spans := make([]Span, len(v)/spanInts)
	for i := range spans {
		s := v[i*spanInts:]
		spans[i] = Span{int(s[0]), int(s[1]), int(s[2]), int(s[3])}
	}
	return spans
}

// CheckSpans guards spans, which are data and not a shape, on the host: rows of a pass
// of t, caches with room for so many rows.
func CheckSpans(spans []Span, t int, rows func(i int) int) error {
	for i, s := range spans {
		n, room := s.To-s.From, rows(i)
		switch {
		case s.From < 0 || n < 0 || s.To > t:
			return fmt.Errorf("span %d is rows %d to %d of %d", i, s.From, s.To, t)
		case s.At < 0 || s.At+n > room:
			return fmt.Errorf("span %d goes to rows %d to %d of a cache of %d", i, s.At, s.At+n, room)
		case s.Keys < n || s.Keys > room:
			return fmt.Errorf("span %d has %d keys for %d queries, in a cache of %d", i, s.Keys, n, room)
		}
	}
	return nil
}

// wantSpans checks input i, and returns how many spans it has.
func wantSpans(in []Spec, i int) (n int, err error) {
	err = firstErr(want(in, i, "spans", -1, spanInts), wantType(in, i, "spans", I32))
	return dim(in, i, 0), err
}

// wantStored checks a format of keys and values: floats, or affine integers.
func wantStored(f quant.Format) error {
	if f.Kind == quant.Dense {
		return wantFloat("cache", f.DType)
	}
	return wantAffine(f)
}

// StoreRows writes keys or values into the KV caches of several sequences: rows
// [From, To) of x go to rows from At on of the span's cache, whose other rows stay.
// Floats are rounded to nearest even, affine integers as by QuantizeRows.
//
//	in: x float [T, Cols], spans I32 [n, 4]
//	out: the buffers of n matrices [Rows[i], Cols] in Format, see Weight.Specs
type StoreRows struct {
	Format quant.Format // of all caches
	Cols   int
	Rows   []int // of each cache
}

func (StoreRows) Name() string { return "store_rows" }

func (o StoreRows) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 2), wantStored(o.Format), want(in, 0, "x", -1, o.Cols), wantActivation(in, 0, "x")); err != nil {
		return nil, err
	}
	if n, err := wantSpans(in, 1); err != nil || n != len(o.Rows) {
		return nil, firstErr(err, fmt.Errorf("%d spans for %d caches", n, len(o.Rows)))
	}
	dense := o.Format.Kind == quant.Dense
	out, extents := make([]Spec, 0, len(o.Rows)), make([]int, 0, 2*len(o.Rows)) // few lists: this is checked for each token
	for i, rows := range o.Rows {
		w := Weight{o.Format, rows, o.Cols}
		if err := w.checkFormat(); err != nil {
			return nil, fmt.Errorf("cache %d: %w", i, err)
		}
		if !dense {
			out = append(out, w.Specs()...)
			continue
		}
		extents = append(extents, rows, o.Cols)
		out = append(out, Spec{extents[2*i : 2*i+2 : 2*i+2], o.Format.DType})
	}
	return out, nil
}

// Cost takes all rows of x for rows of spans.
func (o StoreRows) Cost(in []Spec) Cost {
	c := Cost{Bytes: in[0].Bytes() + Weight{o.Format, in[0].Shape[0], o.Cols}.bytes()}
	if o.Format.Kind == quant.Affine {
		c.FLOPs = 5 * int64(in[0].Shape.Elems())
	}
	return c
}

func (o StoreRows) Define(out, in []Array) {
	x := in[0].Floats()
	for i, s := range Spans(in[1]) {
		rows, m := x[s.From*o.Cols:s.To*o.Cols], o.Cache(out, i)
		if o.Format.Kind == quant.Affine {
			putRows(m, s.At, rows)
			continue
		}
		row := o.Format.RowBytes(o.Cols)
		quant.PutFloats(m.Data[s.At*row:(s.At+s.To-s.From)*row], rows, o.Format.DType)
	}
}

// Cache views the buffers of cache i.
func (o StoreRows) Cache(out []Array, i int) *quant.Matrix {
	w := Weight{o.Format, o.Rows[i], o.Cols}
	n := len(w.Specs())
	return w.Matrix(out[i*n : (i+1)*n])
}

// CacheAttention is Attention of several sequences at once, each over keys and values of
// its own: those of its KV cache, the newest of which StoreRows has just written. Query r
// of a span stands at key p = Keys-(To-From)+r-From. It sees the keys j <= p of its cache
// and, when Window > 0, j > p-Window. Groups of affine integers lie along each head.
//
//	in: q float [T, Heads·HeadDim], spans I32 [n, 4], and for each of the n spans the
//	    buffers of k and those of v, [rows, KVHeads·HeadDim] in Format (see Weight.Specs)
//	out: o as q, the rows of the spans; the others stay
//
// What a sequence gets does not depend, to the bit, on the others, on devices that can
// promise it.
type CacheAttention struct {
	Attention
	Format quant.Format // of all keys and values
}

func (CacheAttention) Name() string { return "cache_attention" }

// parts is how many buffers keys take, and values.
func (o CacheAttention) parts() int { return len(Weight{Format: o.Format}.Specs()) }

// stored is how the keys that begin with input i are stored.
func (o CacheAttention) stored(in []Spec, i int) Weight {
	return Weight{o.Format, max(dim(in, i, 0), 0), o.KVHeads * o.HeadDim}
}

// isDense reports whether s is a dense matrix as w says: the check of every token, which
// makes nothing for the garbage collector.
func (w Weight) isDense(s Spec) bool {
	return w.Format.Kind == quant.Dense && s.DType == w.Format.DType && len(s.Shape) == 2 && s.Shape[0] == w.Rows && s.Shape[1] == w.Cols && w.Rows > 0
}

func (o CacheAttention) Infer(in []Spec) ([]Spec, error) {
	n, err := wantSpans(in, 1)
	if err := firstErr(err, wantStored(o.Format), o.check(in)); err != nil {
		return nil, err
	}
	if o.Format.Kind == quant.Affine {
		if err := divides(o.HeadDim, o.Format.Group, "head size"); err != nil {
			return nil, err
		}
	}
	parts := o.parts()
	if err := arity(in, 2+2*n*parts); err != nil {
		return nil, err
	}
	for i := range n {
		k := 2 + 2*i*parts
		w := o.stored(in, k)
		if w.isDense(in[k]) && w.isDense(in[k+1]) {
			continue
		}
		if err := w.checkParts(in, k); err != nil {
			return nil, fmt.Errorf("k %d: %w", i, err)
		}
		if err := w.checkParts(in, k+parts); err != nil {
			return nil, fmt.Errorf("v %d: %w", i, err)
		}
	}
	return in[:1], nil
}

// Cost shares the queries out evenly, and counts all keys that the caches have room for:
// shapes do not tell how many there are.
func (o CacheAttention) Cost(in []Spec) (c Cost) {
	n := in[1].Shape[0]
	for i := range n {
		w := o.stored(in, 2+2*i*o.parts())
		t := in[0].Shape[0]*(i+1)/n - in[0].Shape[0]*i/n
		q := Spec{Shape{t, o.Heads * o.HeadDim}, in[0].DType}
		one := o.cost(q, w.Rows, o.Format.DType)
		one.Bytes = 2*q.Bytes() + 2*w.bytes()
		if o.Format.Kind == quant.Affine {
			one.FLOPs += 4 * int64(w.Rows) * int64(w.Cols)
		}
		c = c.Add(one)
	}
	return c
}

func (o CacheAttention) Define(out, in []Array) {
	q, width := in[0].Floats(), o.Heads*o.HeadDim
	y, put := out[0].working()
	defer put()
	for i, s := range Spans(in[1]) {
		k, v := o.Cache(in, i)
		keys, values := k.Floats(), v.Floats()
		for r := s.From; r < s.To; r++ {
			lo, hi := o.Visible(s.Keys-(s.To-r), 0)
			o.define(y[r*width:(r+1)*width], nil, q[r*width:(r+1)*width], keys, values, lo, hi)
		}
	}
}

// Cache views the keys and values of span i.
func (o CacheAttention) Cache(in []Array, i int) (k, v *quant.Matrix) {
	n := o.parts()
	part := in[2+2*i*n:]
	w := Weight{o.Format, part[0].Shape[0], o.KVHeads * o.HeadDim}
	return w.Matrix(part[:n]), w.Matrix(part[n : 2*n])
}

// QuantizeRows rounds a matrix to affine integers. A group with a value that is not
// finite, or too large for the type of the scales, becomes NaN. Ties are rounded to even
// ([quant.RuleCPU]).
//
//	in: x [Rows, Cols] of a float type;  out: the weight's buffers, see Weight.Specs
type QuantizeRows struct{ Weight Weight } // Affine

func (QuantizeRows) Name() string { return "quantize_rows" }

func (o QuantizeRows) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 1), wantAffine(o.Weight.Format), want(in, 0, "x", o.Weight.Rows, o.Weight.Cols), wantType(in, 0, "x", floats...)); err != nil {
		return nil, err
	}
	out := o.Weight.Specs()
	return out, o.Weight.checkParts(out, 0)
}

// Cost counts a comparison for both edges of a group, and three operations to
// round a value.
func (o QuantizeRows) Cost(in []Spec) Cost {
	return Cost{FLOPs: 5 * int64(in[0].Shape.Elems()), Bytes: in[0].Bytes() + o.Weight.bytes()}
}

func (o QuantizeRows) Define(out, in []Array) { putRows(o.Weight.Matrix(out), 0, in[0].Floats()) }

// putRows rounds whole rows to those of an affine matrix from row at on.
func putRows(m *quant.Matrix, at int, rows []float32) {
	for i := range len(rows) / m.Cols {
		m.PutRow(at+i, rows[i*m.Cols:(i+1)*m.Cols], quant.RuleCPU)
	}
}

// wantAffine checks an attribute that must be an affine format.
func wantAffine(f quant.Format) error {
	if f.Kind != quant.Affine {
		return fmt.Errorf("rows are stored as %v, want affine integers", f)
	}
	return f.Check()
}
