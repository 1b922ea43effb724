package compute

// Embed looks up rows of a weight matrix. A negative id, which says that no token could be
// chosen (see Unusable), gives zeros.
//
//	in: ids I32 [T], weight [V, D];  out: F32 [T, D]
type Embed struct{ Weight Weight }

func (Embed) Name() string { return "embed" }

func (o Embed) weightInput() (Weight, int) { return o.Weight, 1 }

func (o Embed) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "ids", -1), wantType(in, 0, "ids", I32), o.Weight.check(in, 1)); err != nil {
		return nil, err
	}
	return []Spec{{Shape{in[0].Shape[0], o.Weight.Cols}, F32}}, nil
}

func (o Embed) Cost(in []Spec) Cost {
	t := int64(in[0].Shape[0])
	return Cost{Bytes: t * int64(4*o.Weight.Cols+o.Weight.Format.RowBytes(o.Weight.Cols))}
}

func (o Embed) Define(out, in []Array) {
	m, y := o.Weight.Of(in[1]), out[0].F32()
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
//	in: dy F32 [T, D], ids I32 [T];  out: += F32 [Rows, D]
type EmbedGrad struct{ Rows int }

func (EmbedGrad) Name() string { return "embed_grad" }

func (o EmbedGrad) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "dy", -1, -1), wantType(in, 0, "dy", F32), want(in, 1, "ids", dim(in, 0, 0)), wantType(in, 1, "ids", I32)); err != nil {
		return nil, err
	}
	return []Spec{{Shape{o.Rows, in[0].Shape[1]}, F32}}, nil
}

func (o EmbedGrad) Cost(in []Spec) Cost {
	return Cost{FLOPs: int64(in[0].Shape.Elems()), Bytes: 3 * in[0].Bytes()}
}

func (o EmbedGrad) Define(out, in []Array) {
	dy, dw, d := in[0].F32(), out[0].F32(), in[0].Shape[1]
	for t, id := range in[1].I32() {
		axpy(dw[int(id)*d:(int(id)+1)*d], 1, dy[t*d:(t+1)*d])
	}
}

// Linear is y = x Wᵀ (+ bias) (+ Scale · u v). The last term is a low-rank update.
//
//	in: x F32 [T, Cols], weight [Rows, Cols], bias [Rows] when Bias,
//	    u F32 [T, Rank] and v F32 [Rank, Rows] when Rank is not 0
//	out: F32 [T, Rows]
//
// Exact keeps the activations in float32. Without it, a device may quantize x to 8 bits
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
	if err := firstErr(want(in, 0, "x", -1, o.Weight.Cols), wantType(in, 0, "x", F32), o.Weight.check(in, 1)); err != nil {
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
	return []Spec{{Shape{in[0].Shape[0], o.Weight.Rows}, F32}}, nil
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
	return firstErr(want(in, i, "u", in[0].Shape[0], rank), wantType(in, i, "u", F32), want(in, i+1, "v", v...), wantType(in, i+1, "v", F32))
}

func (o Linear) Cost(in []Spec) Cost {
	return o.Weight.cost(in[0].Shape[0]).Add(updateCost(in, o.Rank, o.Weight.Rows))
}

// updateCost is what a low-rank update of n columns adds.
func updateCost(in []Spec, rank, n int) Cost {
	if rank == 0 {
		return Cost{}
	}
	return Cost{FLOPs: 2 * int64(in[0].Shape[0]) * int64(rank) * int64(n), Bytes: traffic(in[len(in)-2:])}
}

// cost is that of one product with t rows of activations.
func (w Weight) cost(t int) Cost {
	r, c, n := int64(w.Rows), int64(w.Cols), int64(t)
	return Cost{FLOPs: 2 * n * r * c, Bytes: w.bytes() + 4*n*(r+c)}
}

func (o Linear) Define(out, in []Array) {
	m, x, y := o.Weight.Of(in[1]), in[0].F32(), out[0].F32()
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
		MatMul{Alpha: o.Scale, Accumulate: true}.Define(out, in[len(in)-2:])
	}
}

// LinearGradInput is the gradient of Linear's x: dx = dy W (+ u vᵀ). The last term is the
// part of a low-rank update.
//
//	in: dy F32 [T, Rows], weight [Rows, Cols], u F32 [T, Rank] and v F32 [Cols, Rank] when Rank is not 0
//	out: F32 [T, Cols], added to when Accumulate
type LinearGradInput struct {
	Weight     Weight
	Accumulate bool
	Rank       int
}

func (LinearGradInput) Name() string { return "linear_grad_input" }

func (o LinearGradInput) weightInput() (Weight, int) { return o.Weight, 1 }

func (o LinearGradInput) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2+updateInputs(o.Rank)); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "dy", -1, o.Weight.Rows), wantType(in, 0, "dy", F32), o.Weight.check(in, 1)); err != nil {
		return nil, err
	}
	if err := checkUpdate(in, o.Rank, o.Weight.Cols, o.Rank); err != nil {
		return nil, err
	}
	return []Spec{{Shape{in[0].Shape[0], o.Weight.Cols}, F32}}, nil
}

func (o LinearGradInput) Cost(in []Spec) Cost {
	return o.Weight.cost(in[0].Shape[0]).Add(updateCost(in, o.Rank, o.Weight.Cols))
}

func (o LinearGradInput) Define(out, in []Array) {
	m, dy, dx := o.Weight.Of(in[1]), in[0].F32(), out[0].F32()
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
		MatMul{TransB: true, Alpha: 1, Accumulate: true}.Define(out, in[len(in)-2:])
	}
}

// MatMul is c = Alpha · op(a) op(b), where op transposes if TransA or TransB say so.
//
//	in: a F32 [M, K] ([K, M] when TransA), b F32 [K, N] ([N, K] when TransB)
//	out: c F32 [M, N], added to when Accumulate
//
// RowWise asks that a row of c is, to the bit, what it is when M is 1, as in Linear.
type MatMul struct {
	TransA, TransB bool
	Alpha          float32
	Accumulate     bool
	RowWise        bool
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
	if err := firstErr(want(in, 0, "a", -1, -1), want(in, 1, "b", -1, -1), wantType(in, 0, "a", F32), wantType(in, 1, "b", F32)); err != nil {
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
	return []Spec{{Shape{m, n}, F32}}, nil
}

func (o MatMul) Cost(in []Spec) Cost {
	m, n, k := o.Dims(in)
	return Cost{FLOPs: 2 * int64(m) * int64(n) * int64(k), Bytes: traffic(in) + 4*int64(m)*int64(n)}
}

func (o MatMul) Define(out, in []Array) {
	m, n, k := o.Dims([]Spec{in[0].Spec, in[1].Spec})
	a, b, c := in[0].F32(), in[1].F32(), out[0].F32()
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
//	in: F32 [T, N];  out: F32 [N], added to when Accumulate
type SumRows struct{ Accumulate bool }

func (SumRows) Name() string { return "sum_rows" }

func (o SumRows) Infer(in []Spec) ([]Spec, error) {
	if err := firstErr(arity(in, 1), want(in, 0, "x", -1, -1), wantType(in, 0, "x", F32)); err != nil {
		return nil, err
	}
	return []Spec{{Shape{in[0].Shape[1]}, F32}}, nil
}

func (o SumRows) Cost(in []Spec) Cost {
	return Cost{FLOPs: int64(in[0].Shape.Elems()), Bytes: in[0].Bytes()}
}

func (o SumRows) Define(out, in []Array) {
	x, y, n := in[0].F32(), out[0].F32(), in[0].Shape[1]
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
