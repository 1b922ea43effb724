package compute

import "math"

// The ops of DoRA (Liu et al., 2024, arXiv 2402.09353): each row of an adapted
// weight V = W + Scale·(A B)ᵀ keeps its direction and gets a trained length m,
//
//	y = x Vᵀ · m/‖V‖ + bias,  ‖V‖ by row.
//
// V never exists as a whole:
//
//	‖V‖² = ‖W‖² + 2·Scale·Σ_k B[k]·c[k],  c = u + Scale/2 · G B,
//
// where G = AᵀA, and u = AᵀWᵀ is a forward pass of the columns of A. ‖W‖² never changes.

// RowSquares gives the squared length of every row of a weight, summed up in float64.
//
//	in: weight [Rows, Cols];  out: F32 [Rows]
type RowSquares struct{ Weight Weight }

func (RowSquares) Name() string { return "row_squares" }

func (o RowSquares) weightInput() (Weight, int) { return o.Weight, 0 }

func (o RowSquares) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 1); err != nil {
		return nil, err
	}
	return []Spec{{Shape{o.Weight.Rows}, F32}}, o.Weight.check(in, 0)
}

func (o RowSquares) Cost([]Spec) Cost {
	return Cost{FLOPs: 2 * int64(o.Weight.Rows) * int64(o.Weight.Cols), Bytes: o.Weight.bytes() + 4*int64(o.Weight.Rows)}
}

func (o RowSquares) Define(out, in []Array) {
	m, y := o.Weight.Of(in[0]), out[0].F32()
	row := make([]float32, m.Cols)
	for r := range m.Rows {
		m.Row(row, r)
		var sum float64
		for _, v := range row {
			sum += float64(v) * float64(v)
		}
		y[r] = float32(sum)
	}
}

// UpdatedNorm is the length of every row of a weight with its low-rank update:
// sqrt(squares + 2·Scale·Σ_k b[k]·c[k]), see above.
//
//	in: squares F32 [N], b, c F32 [Rank, N];  out: F32 [N]
type UpdatedNorm struct{ Scale float32 }

func (UpdatedNorm) Name() string { return "updated_norm" }

func (o UpdatedNorm) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 3), want(in, 0, "squares", -1), wantType(in, 0, "squares", F32),
		want(in, 1, "b", -1, dim(in, 0, 0)), wantType(in, 1, "b", F32)); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 2, "c", in[1].Shape...), wantType(in, 2, "c", F32)); err != nil {
		return nil, err
	}
	return []Spec{in[0]}, nil
}

func (o UpdatedNorm) Cost(in []Spec) Cost {
	return Cost{FLOPs: 2 * int64(in[1].Shape.Elems()), Bytes: traffic(in) + in[0].Bytes()}
}

func (o UpdatedNorm) Define(out, in []Array) {
	b, c, y := in[1].F32(), in[2].F32(), out[0].F32()
	n := copy(y, in[0].F32())
	for i, v := range b {
		y[i%n] += 2 * o.Scale * v * c[i]
	}
	for i, v := range y {
		y[i] = float32(math.Sqrt(float64(max(v, 0))))
	}
}

// Magnitude is x · m/norm (+ bias), by column. The quotient is 0 where norm is: a row
// of zeros has no direction. The output may be x.
//
//	in: x float [T, N], m, norm F32 [N], bias [N] when Bias;  out: as x
type Magnitude struct{ Bias bool }

func (Magnitude) Name() string { return "magnitude" }

func (o Magnitude) Infer(in []Spec) ([]Spec, error) {
	n := 3
	if o.Bias {
		n = 4
	}
	if err := firstErr(arity(in, n), checkMagnitude(in)); err != nil {
		return nil, err
	}
	if o.Bias {
		if err := firstErr(want(in, 3, "bias", in[0].Shape[1]), wantType(in, 3, "bias", floats...)); err != nil {
			return nil, err
		}
	}
	return []Spec{in[0]}, nil
}

// checkMagnitude checks x, m and norm.
func checkMagnitude(in []Spec) error {
	n := dim(in, 0, 1)
	return firstErr(want(in, 0, "x", -1, -1), wantActivation(in, 0, "x"), want(in, 1, "m", n), wantType(in, 1, "m", F32),
		want(in, 2, "norm", n), wantType(in, 2, "norm", F32))
}

func (o Magnitude) Cost(in []Spec) Cost {
	return Cost{FLOPs: 2 * int64(in[0].Shape.Elems()), Bytes: traffic(in) + in[0].Bytes()}
}

func (o Magnitude) Define(out, in []Array) {
	x, m, norm := in[0].Floats(), in[1].F32(), in[2].F32()
	y, put := out[0].working()
	defer put()
	n := len(m)
	bias := make([]float32, n)
	if o.Bias {
		bias = in[3].Floats()
	}
	for i, v := range x {
		y[i] = v*Gain(m[i%n], norm[i%n]) + bias[i%n]
	}
}

// Gain is m/norm, or 0 where norm is 0.
func Gain(m, norm float32) float32 {
	if norm == 0 {
		return 0
	}
	return m / norm
}

// MagnitudeGrad is the gradient of Magnitude by x and m. DoRA defines norm to be a
// constant here. The op adds to dm. dx may be dy.
//
//	in: x float [T, N], m, norm F32 [N], dy as x
//	out: dx as x, dm += F32 [N]
type MagnitudeGrad struct{}

func (MagnitudeGrad) Name() string { return "magnitude_grad" }

func (MagnitudeGrad) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 4), checkMagnitude(in)); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 3, "dy", in[0].Shape...), wantType(in, 3, "dy", in[0].DType)); err != nil {
		return nil, err
	}
	return []Spec{in[0], in[1]}, nil
}

func (MagnitudeGrad) Cost(in []Spec) Cost {
	return Cost{FLOPs: 3 * int64(in[0].Shape.Elems()), Bytes: traffic(in) + in[0].Bytes() + 2*in[1].Bytes()}
}

func (MagnitudeGrad) Define(out, in []Array) {
	x, m, norm, dy := in[0].Floats(), in[1].F32(), in[2].F32(), in[3].Floats()
	dm, n := out[1].F32(), len(m)
	dx, put := out[0].working()
	defer put()
	sum := make([]float32, n)
	for i, d := range dy {
		sum[i%n] += d * x[i]
		dx[i] = d * Gain(m[i%n], norm[i%n])
	}
	for i, s := range sum {
		dm[i] += Gain(s, norm[i])
	}
}
