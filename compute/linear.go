package compute

// Embed looks up rows of a weight matrix. A negative id, which says that no token could be
// chosen (see Unusable), gives zeros.
//
//	in: ids I32 [T], weight [V, D];  out: To [T, D]
type Embed struct {
	Weight Weight
	To     DType
}

func (Embed) Name() string { return "embed" }

func (o Embed) weightInput() (Weight, int) { return o.Weight, 1 }

func (o Embed) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "ids", -1), wantType(in, 0, "ids", I32), o.Weight.check(in, 1), wantFloat("out", output(o.To))); err != nil {
		return nil, err
	}
	return []Spec{{Shape{in[0].Shape[0], o.Weight.Cols}, output(o.To)}}, nil
}

func (o Embed) Cost(in []Spec) Cost {
	t := int64(in[0].Shape[0])
	return Cost{Bytes: t * int64(output(o.To).Size()*o.Weight.Cols+o.Weight.Format.RowBytes(o.Weight.Cols))}
}

func (o Embed) Define(out, in []Array) {
	m := o.Weight.Of(in[1])
	y, put := out[0].working()
	defer put()
	for t, id := range in[0].I32() {
		row := y[t*m.Cols : (t+1)*m.Cols]
		if id < 0 {
			clear(row)
			continue
		}
		m.Row(row, int(id))
	}
}

// EmbedGrad is the gradient of Embed's weight. It adds to its output.
//
//	in: dy float [T, D], ids I32 [T];  out: += F32 [Rows, D]
type EmbedGrad struct{ Rows int }

func (EmbedGrad) Name() string { return "embed_grad" }

func (o EmbedGrad) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "dy", -1, -1), wantActivation(in, 0, "dy"), want(in, 1, "ids", dim(in, 0, 0)), wantType(in, 1, "ids", I32)); err != nil {
		return nil, err
	}
	return []Spec{{Shape{o.Rows, in[0].Shape[1]}, F32}}, nil
}

func (o EmbedGrad) Cost(in []Spec) Cost {
	return Cost{FLOPs: int64(in[0].Shape.Elems()), Bytes: 3 * in[0].Bytes()}
}

func (o EmbedGrad) Define(out, in []Array) {
	dy, dw, d := in[0].Floats(), out[0].F32(), in[0].Shape[1]
	for t, id := range in[1].I32() {
		axpy(dw[int(id)*d:(int(id)+1)*d], 1, dy[t*d:(t+1)*d])
	}
}

// Linear is y = x Wᵀ (+ bias) (+ Scale · u v). The last term is a low-rank update.
//
//	in: x float [T, Cols], weight [Rows, Cols], bias [Rows] when Bias,
//	    u float [T, Rank] and v F32 [Rank, Rows] when Rank is not 0
//	out: To [T, Rows]
//
// Exact keeps the activations in their type. Without it, a device may quantize x to 8 bits
// in groups where the weight has 8 bits or fewer, as llama.cpp does. Training always
// sets Exact.
//
// RowWise asks that a row of y does not depend, to the bit, on the other rows: it is what
// this row of x alone gives without RowWise. A device that cannot promise it may ignore it.
type Linear struct {
	Weight  Weight
	Bias    bool
	Exact   bool
	RowWise bool
	Rank    int
	Scale   float32
	To      DType
}

func (Linear) Name() string { return "linear" }

func (o Linear) weightInput() (Weight, int) { return o.Weight, 1 }

func (o Linear) Infer(in []Spec) ([]Spec, error) {
	n := 2 + updateInputs(o.Rank)
	if o.Bias {
		n++
	}
	if err := arity(in, n); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "x", -1, o.Weight.Cols), wantActivation(in, 0, "x"), o.Weight.check(in, 1), wantFloat("out", output(o.To))); err != nil {
		return nil, err
	}
	if o.Bias {
		if err := firstErr(want(in, 2, "bias", o.Weight.Rows), wantType(in, 2, "bias", floats...)); err != nil {
			return nil, err
		}
	}
	if err := checkUpdate(in, o.Rank, o.Rank, o.Weight.Rows); err != nil {
		return nil, err
	}
	return []Spec{{Shape{in[0].Shape[0], o.Weight.Rows}, output(o.To)}}, nil
}

// updateInputs is how many inputs a low-rank update takes.
func updateInputs(rank int) int {
	if rank == 0 {
		return 0
	}
	return 2
}

// checkUpdate checks an update's inputs, the last two: u [T, rank] and v.
func checkUpdate(in []Spec, rank int, v ...int) error {
	if rank == 0 {
		return nil
	}
	i := len(in) - 2
	return firstErr(want(in, i, "u", in[0].Shape[0], rank), wantActivation(in, i, "u"), want(in, i+1, "v", v...), wantType(in, i+1, "v", F32))
}

func (o Linear) Cost(in []Spec) Cost {
	return o.Weight.cost(in[0], o.Weight.Rows, o.To).Add(updateCost(in, o.Rank, o.Weight.Rows))
}

// updateCost is what a low-rank update of n columns adds.
func updateCost(in []Spec, rank, n int) Cost {
	if rank == 0 {
		return Cost{}
	}
	return Cost{FLOPs: 2 * int64(in[0].Shape[0]) * int64(rank) * int64(n), Bytes: traffic(in[len(in)-2:])}
}

// cost is that of one product with the activations x, of which n columns result.
func (w Weight) cost(x Spec, n int, to DType) Cost {
	t := int64(x.Shape[0])
	return Cost{FLOPs: 2 * t * int64(w.Rows) * int64(w.Cols), Bytes: w.bytes() + x.Bytes() + t*int64(n*output(to).Size())}
}

func (o Linear) Define(out, in []Array) {
	m, x := o.Weight.Of(in[1]), in[0].Floats()
	y, put := out[0].working()
	defer put()
	var bias []float32
	if o.Bias {
		bias = in[2].Floats()
	}
	row := make([]float32, m.Cols)
	for r := range m.Rows {
		m.Row(row, r)
		for t := range in[0].Shape[0] {
			v := dot(x[t*m.Cols:(t+1)*m.Cols], row)
			if bias != nil {
				v += bias[r]
			}
			y[t*m.Rows+r] = v
		}
	}
	if o.Rank > 0 {
		MatMul{Alpha: o.Scale, Accumulate: true}.Define(asF32(out[0], y), in[len(in)-2:])
	}
}

// asF32 is an F32 array of a's shape over v, as an op's outputs.
func asF32(a Array, v []float32) []Array {
	return []Array{{Spec: Spec{a.Shape, F32}, Data: FloatBytes(v)}}
}

// LinearGradInput is the gradient of Linear's x: dx = dy W (+ u vᵀ). The last term is the
// part of a low-rank update.
//
//	in: dy float [T, Rows], weight [Rows, Cols], u float [T, Rank] and v F32 [Cols, Rank] when Rank is not 0
//	out: To [T, Cols], added to when Accumulate
type LinearGradInput struct {
	Weight     Weight
	Accumulate bool
	Rank       int
	To         DType
}

func (LinearGradInput) Name() string { return "linear_grad_input" }

func (o LinearGradInput) weightInput() (Weight, int) { return o.Weight, 1 }

func (o LinearGradInput) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2+updateInputs(o.Rank)); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "dy", -1, o.Weight.Rows), wantActivation(in, 0, "dy"), o.Weight.check(in, 1), wantFloat("out", output(o.To))); err != nil {
		return nil, err
	}
	if err := checkUpdate(in, o.Rank, o.Weight.Cols, o.Rank); err != nil {
		return nil, err
	}
	return []Spec{{Shape{in[0].Shape[0], o.Weight.Cols}, output(o.To)}}, nil
}

func (o LinearGradInput) Cost(in []Spec) Cost {
	return o.Weight.cost(in[0], o.Weight.Cols, o.To).Add(updateCost(in, o.Rank, o.Weight.Cols))
}

func (o LinearGradInput) Define(out, in []Array) {
	m, dy := o.Weight.Of(in[1]), in[0].Floats()
	dx, put := out[0].working()
	defer put()
	if !o.Accumulate {
		clear(dx)
	}
	row := make([]float32, m.Cols)
	for r := range m.Rows {
		m.Row(row, r)
		for t := range in[0].Shape[0] {
			axpy(dx[t*m.Cols:(t+1)*m.Cols], dy[t*m.Rows+r], row)
		}
	}
	if o.Rank > 0 {
		MatMul{TransB: true, Alpha: 1, Accumulate: true}.Define(asF32(out[0], dx), in[len(in)-2:])
	}
}

// MatMul is c = Alpha · op(a) op(b), where op transposes if TransA or TransB say so.
//
//	in: a float [M, K] ([K, M] when TransA), b float [K, N] ([N, K] when TransB)
//	out: c To [M, N], added to when Accumulate
//
// RowWise asks that a row of c is, to the bit, what it is when M is 1, as in Linear.
type MatMul struct {
	TransA, TransB bool
	Alpha          float32
	Accumulate     bool
	RowWise        bool
	To             DType
}

func (MatMul) Name() string { return "matmul" }

// Dims returns M, N, K for these inputs.
func (o MatMul) Dims(in []Spec) (m, n, k int) {
	m, k, n = in[0].Shape[0], in[0].Shape[1], in[1].Shape[1]
	if o.TransA {
		m, k = k, m
	}
	if o.TransB {
		n = in[1].Shape[0]
	}
	return m, n, k
}

func (o MatMul) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "a", -1, -1), want(in, 1, "b", -1, -1), wantActivation(in, 0, "a"), wantActivation(in, 1, "b"), wantFloat("out", output(o.To))); err != nil {
		return nil, err
	}
	m, n, k := o.Dims(in)
	b := Shape{k, n}
	if o.TransB {
		b = Shape{n, k}
	}
	if err := want(in, 1, "b", b...); err != nil {
		return nil, err
	}
	return []Spec{{Shape{m, n}, output(o.To)}}, nil
}

func (o MatMul) Cost(in []Spec) Cost {
	m, n, k := o.Dims(in)
	return Cost{FLOPs: 2 * int64(m) * int64(n) * int64(k), Bytes: traffic(in) + int64(m)*int64(n)*int64(output(o.To).Size())}
}

func (o MatMul) Define(out, in []Array) {
	m, n, k := o.Dims([]Spec{in[0].Spec, in[1].Spec})
	a, b := in[0].Floats(), in[1].Floats()
	c, put := out[0].working()
	defer put()
	for i := range m {
		for j := range n {
			var sum float32
			for l := range k {
				av, bv := i*k+l, l*n+j
				if o.TransA {
					av = l*m + i
				}
				if o.TransB {
					bv = j*k + l
				}
				sum += a[av] * b[bv]
			}
			sum *= o.Alpha
			if o.Accumulate {
				sum += c[i*n+j]
			}
			c[i*n+j] = sum
		}
	}
}

// SumRows adds up the rows of a matrix: the gradient of a bias.
//
//	in: float [T, N];  out: F32 [N], added to when Accumulate
type SumRows struct{ Accumulate bool }

func (SumRows) Name() string { return "sum_rows" }

func (o SumRows) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 1), want(in, 0, "x", -1, -1), wantActivation(in, 0, "x")); err != nil {
		return nil, err
	}
	return []Spec{{Shape{in[0].Shape[1]}, F32}}, nil
}

func (o SumRows) Cost(in []Spec) Cost {
	return Cost{FLOPs: int64(in[0].Shape.Elems()), Bytes: in[0].Bytes()}
}

func (o SumRows) Define(out, in []Array) {
	x, y, n := in[0].Floats(), out[0].F32(), in[0].Shape[1]
	if !o.Accumulate {
		clear(y)
	}
	for t := range in[0].Shape[0] {
		axpy(y, 1, x[t*n:(t+1)*n])
	}
}

func dot(a, b []float32) float32 {
	var s float32
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// axpy is y += alpha x.
func axpy(y []float32, alpha float32, x []float32) {
	for i, v := range x {
		y[i] += alpha * v
	}
}
