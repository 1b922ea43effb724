package compute

import "fmt"

// LowRankRows adds low-rank updates to the output of a Linear, of several adapters in one
// pass: update i is for rows [from, to) of x and y, the i-th pair of numbers in rows,
//
//	y[from:to] += Scales[i] · (x[from:to] A) B.
//
// Rows of no pair stay as they are.
//
//	in: x float [T, in], rows I32 [n, 2], and for each of the n updates A F32 [in, r] and
//	    B F32 [r, out], each of its own rank r
//	out: += To [T, out]
//
// RowWise asks that a row of y does not depend, to the bit, on the other rows, as in Linear.
type LowRankRows struct {
	Scales  []float32
	RowWise bool
	To      DType
}

func (LowRankRows) Name() string { return "low_rank_rows" }

func (o LowRankRows) Infer(in []Spec) ([]Spec, error) {
	n := len(o.Scales)
	if err := arity(in, 2+2*n); err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("no updates")
	}
	if err := firstErr(want(in, 0, "x", -1, -1), wantActivation(in, 0, "x"), wantFloat("out", output(o.To)), want(in, 1, "rows", n, 2), wantType(in, 1, "rows", I32)); err != nil {
		return nil, err
	}
	out := dim(in, 3, 1)
	for i := range n {
		a, b := 2+2*i, 3+2*i
		if err := firstErr(want(in, a, "A", in[0].Shape[1], -1), wantType(in, a, "A", F32), want(in, b, "B", dim(in, a, 1), out), wantType(in, b, "B", F32)); err != nil {
			return nil, fmt.Errorf("update %d: %w", i, err)
		}
	}
	return []Spec{{Shape{in[0].Shape[0], out}, output(o.To)}}, nil
}

// Cost shares the rows out evenly: shapes do not tell whose they are.
func (o LowRankRows) Cost(in []Spec) Cost {
	t, n := int64(in[0].Shape[0]), int64(len(o.Scales))
	c := Cost{Bytes: traffic(in) + 2*t*int64(in[3].Shape[1]*output(o.To).Size())}
	for i := range len(o.Scales) {
		a, b := in[2+2*i].Shape, in[3+2*i].Shape
		c.FLOPs += 2 * t * int64(a.Elems()+b.Elems()) / n
	}
	return c
}

func (o LowRankRows) Define(out, in []Array) {
	sums, put := out[0].working()
	defer put()
	whole := asF32(out[0], sums)[0]
	for i, scale := range o.Scales {
		from, to := o.Rows(in, i)
		x, y := in[0].cut(from, to), whole.cut(from, to)
		z := make([]float32, (to-from)*in[2+2*i].Shape[1])
		down := Array{Spec: Spec{Shape{to - from, in[2+2*i].Shape[1]}, F32}, Data: FloatBytes(z)}
		MatMul{Alpha: 1}.Define([]Array{down}, []Array{x, in[2+2*i]})
		MatMul{Alpha: scale, Accumulate: true}.Define([]Array{y}, []Array{down, in[3+2*i]})
	}
}

// Rows are the rows of update i.
func (o LowRankRows) Rows(in []Array, i int) (from, to int) {
	v := in[1].I32()
	return int(v[2*i]), int(v[2*i+1])
}

// cut views rows [from, to) of a matrix.
func (a Array) cut(from, to int) Array {
	row := a.Shape.Cols() * a.DType.Size()
	return Array{Spec: Spec{Shape{to - from, a.Shape.Cols()}, a.DType}, Data: a.Data[from*row : to*row]}
}
