package compute

import "fmt"

// The ops of a mixture of experts (Shazeer et al., 2017). A router picks K of E
// experts for each of T tokens: ids [T, K]. The results of the experts have a row for
// each pair of token and expert, [T·K, ..]; the pairs of a token are neighbours. The
// experts' matrices are one stack [E·out, Cols], expert 0 first.

// expertIDs checks the ids, input i, of t rows, and returns K.
func expertIDs(in []Spec, i, t int) (k int, err error) {
	if err := firstErr(want(in, i, "ids", t, -1), wantType(in, i, "ids", I32)); err != nil {
		return 0, err
	}
	if k = in[i].Shape[1]; k < 1 {
		return 0, fmt.Errorf("ids has shape %v, want at least one column", []int(in[i].Shape))
	}
	return k, nil
}

// expertRows is how many rows the stack has for each expert.
func expertRows(rows, experts int) (int, error) {
	if experts < 1 || rows%experts != 0 {
		return 0, fmt.Errorf("%d rows do not divide among %d experts", rows, experts)
	}
	return rows / experts, nil
}

// expertCost is that of a product with the matrices that the ids pick: at most one for
// each pair.
func (w Weight) expertCost(experts int, ids Spec) Cost {
	pairs := int64(ids.Shape.Elems())
	r, c := int64(w.Rows/experts), int64(w.Cols)
	used := min(int64(experts), pairs)
	return Cost{FLOPs: 2 * pairs * r * c, Bytes: w.bytes() / int64(experts) * used}
}

// ExpertLinear is Linear with the matrices of the experts that each row has picked.
//
//	in: x float [T, Cols], [T·K, Cols] when Own; ids I32 [T, K]; weight [Rows, Cols]
//	out: To [T·K, Rows/Experts]
//
// Row t·K+k of the output is x_t W_eᵀ with e = ids[t, k]. With Own each pair has its
// own row of x, t·K+k. Exact and RowWise are as in Linear.
type ExpertLinear struct {
	Weight  Weight
	Experts int
	Own     bool
	Exact   bool
	RowWise bool
	To      DType
}

func (ExpertLinear) Name() string { return "expert_linear" }

func (o ExpertLinear) weightInput() (Weight, int) { return o.Weight, 2 }

func (o ExpertLinear) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 3); err != nil {
		return nil, err
	}
	pairs, err := checkExpertRows(in, 0, 1, o.Weight.Cols, o.Own)
	if err != nil {
		return nil, err
	}
	rows, err := expertRows(o.Weight.Rows, o.Experts)
	if err := firstErr(err, o.Weight.check(in, 2), wantFloat("out", output(o.To))); err != nil {
		return nil, err
	}
	return []Spec{{Shape{pairs, rows}, output(o.To)}}, nil
}

// checkExpertRows checks the rows of x, input i, and the ids, input j, and returns
// the number of pairs.
func checkExpertRows(in []Spec, i, j, cols int, own bool) (pairs int, err error) {
	if err := firstErr(want(in, i, "x", -1, cols), wantActivation(in, i, "x")); err != nil {
		return 0, err
	}
	t := in[i].Shape[0]
	if own {
		t = -1
	}
	k, err := expertIDs(in, j, t)
	if err != nil {
		return 0, err
	}
	pairs = in[j].Shape[0] * k
	if own {
		err = want(in, i, "x", pairs, cols)
	}
	return pairs, err
}

func (o ExpertLinear) Cost(in []Spec) Cost {
	c := o.Weight.expertCost(o.Experts, in[1])
	c.Bytes += in[0].Bytes() + int64(in[1].Shape.Elems())*int64(o.Weight.Rows/o.Experts)*int64(output(o.To).Size())
	return c
}

func (o ExpertLinear) Define(out, in []Array) {
	m, x := o.Weight.Of(in[2]), in[0].Floats()
	y, put := out[0].working()
	defer put()
	rows, row := m.Rows/o.Experts, make([]float32, m.Cols)
	eachExpert(in[1], o.Experts, o.Own, func(e int, pairs []expertPair) {
		for r := range rows {
			m.Row(row, e*rows+r)
			for _, p := range pairs {
				y[p.pair*rows+r] = dot(x[p.row*m.Cols:(p.row+1)*m.Cols], row)
			}
		}
	})
}

// expertPair is a pair of a row of x and an expert.
type expertPair struct{ pair, row int }

// eachExpert calls do with the pairs of each expert that has any.
func eachExpert(ids Array, experts int, own bool, do func(expert int, pairs []expertPair)) {
	of := make([][]expertPair, experts)
	for i, e := range ids.I32() {
		p := expertPair{i, i}
		if !own {
			p.row = i / ids.Shape[1]
		}
		of[e] = append(of[e], p)
	}
	for e, pairs := range of {
		if len(pairs) > 0 {
			do(e, pairs)
		}
	}
}

// ExpertGradInput is the gradient of ExpertLinear's x. With Own it has a row for every
// pair, otherwise their sum over the experts of a row.
//
//	in: dy float [T·K, Rows/Experts], ids I32 [T, K], weight [Rows, Cols]
//	out: To [T, Cols], [T·K, Cols] when Own, added to when Accumulate
type ExpertGradInput struct {
	Weight     Weight
	Experts    int
	Own        bool
	Accumulate bool
	To         DType
}

func (ExpertGradInput) Name() string { return "expert_grad_input" }

func (o ExpertGradInput) weightInput() (Weight, int) { return o.Weight, 2 }

func (o ExpertGradInput) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 3); err != nil {
		return nil, err
	}
	rows, err := expertRows(o.Weight.Rows, o.Experts)
	if err != nil {
		return nil, err
	}
	k, err := expertIDs(in, 1, -1)
	if err != nil {
		return nil, err
	}
	t := in[1].Shape[0]
	if err := firstErr(want(in, 0, "dy", t*k, rows), wantActivation(in, 0, "dy"), o.Weight.check(in, 2), wantFloat("out", output(o.To))); err != nil {
		return nil, err
	}
	if o.Own {
		t *= k
	}
	return []Spec{{Shape{t, o.Weight.Cols}, output(o.To)}}, nil
}

func (o ExpertGradInput) Cost(in []Spec) Cost {
	c := o.Weight.expertCost(o.Experts, in[1])
	rows := in[1].Shape[0]
	if o.Own {
		rows *= in[1].Shape[1]
	}
	c.Bytes += in[0].Bytes() + int64(rows)*int64(o.Weight.Cols)*int64(output(o.To).Size())
	return c
}

func (o ExpertGradInput) Define(out, in []Array) {
	m, dy := o.Weight.Of(in[2]), in[0].Floats()
	dx, put := out[0].working()
	defer put()
	if !o.Accumulate {
		clear(dx)
	}
	rows, row := m.Rows/o.Experts, make([]float32, m.Cols)
	eachExpert(in[1], o.Experts, o.Own, func(e int, pairs []expertPair) {
		for r := range rows {
			m.Row(row, e*rows+r)
			for _, p := range pairs {
				axpy(dx[p.row*m.Cols:(p.row+1)*m.Cols], dy[p.pair*rows+r], row)
			}
		}
	})
}

// ExpertGradWeight is the gradient of ExpertLinear's weight, times Alpha. It is zero for
// experts that no row picked.
//
//	in: dy float [T·K, out], x float [T, Cols], [T·K, Cols] when Own; ids I32 [T, K]
//	out: F32 [Experts·out, Cols], added to when Accumulate
type ExpertGradWeight struct {
	Experts    int
	Alpha      float32
	Own        bool
	Accumulate bool
}

func (ExpertGradWeight) Name() string { return "expert_grad_weight" }

func (o ExpertGradWeight) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 3); err != nil {
		return nil, err
	}
	pairs, err := checkExpertRows(in, 1, 2, -1, o.Own)
	if err := firstErr(err, want(in, 0, "dy", pairs, -1), wantActivation(in, 0, "dy")); err != nil {
		return nil, err
	}
	if o.Experts < 1 {
		return nil, fmt.Errorf("%d experts, want at least one", o.Experts)
	}
	return []Spec{{Shape{o.Experts * in[0].Shape[1], in[1].Shape[1]}, F32}}, nil
}

func (o ExpertGradWeight) Cost(in []Spec) Cost {
	pairs, r, c := int64(in[2].Shape.Elems()), int64(in[0].Shape[1]), int64(in[1].Shape[1])
	return Cost{FLOPs: 2 * pairs * r * c, Bytes: traffic(in) + 4*int64(o.Experts)*r*c}
}

func (o ExpertGradWeight) Define(out, in []Array) {
	dy, x, dw := in[0].Floats(), in[1].Floats(), out[0].F32()
	rows, cols := in[0].Shape[1], in[1].Shape[1]
	if !o.Accumulate {
		clear(dw)
	}
	eachExpert(in[2], o.Experts, o.Own, func(e int, pairs []expertPair) {
		sum := make([]float32, cols)
		for r := range rows {
			clear(sum)
			for _, p := range pairs {
				axpy(sum, dy[p.pair*rows+r], x[p.row*cols:(p.row+1)*cols])
			}
			axpy(dw[(e*rows+r)*cols:(e*rows+r+1)*cols], o.Alpha, sum)
		}
	})
}
