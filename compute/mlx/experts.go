package mlx

import (
	"unsafe"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
)

// Where the comments say P, it is the number of pairs of a token and an expert, T·K.

// timesExperts is x [.., 1, in] times the matrices that pairs pick, [P, 1, out]: row rows[p] of x for pair p.
func (c *call) timesExperts(x mlxc.Array, rows []uint32, ids mlxc.Array, input, experts int, transposed bool) mlxc.Array {
	g, b := c.g, c.in[input]
	lhs := g.New(unsafe.Slice((*byte)(unsafe.Pointer(&rows[0])), 4*len(rows)), mlxc.U32, len(rows))
	rhs := g.As(g.Reshape(ids, -1), mlxc.U32)
	stack := func(a mlxc.Array) mlxc.Array {
		if a == 0 {
			return 0
		}
		rows := b.spec.Shape[0]
		return g.Reshape(a, experts, rows/experts, -1)
	}
	if !c.d.narrow { // as times does
		x = g.As(x, mlxc.F32)
	}
	if b.weight != nil && b.weight.packed.Packed != 0 {
		w := b.weight.packed
		w.Packed, w.Scales, w.Biases = stack(w.Packed), stack(w.Scales), stack(w.Biases)
		return g.GatherQuantizedMatMul(x, w, lhs, rhs, transposed)
	}
	w := stack(b.array)
	if !c.d.gpu { // whose product takes nothing else
		w = g.As(w, mlxc.F32)
	}
	if transposed {
		w = g.Transpose(w, 0, 2, 1)
	}
	return g.GatherMatMul(x, w, lhs, rhs)
}

// pairRows are the rows of x of each pair: its token's, or with own one for each pair.
func pairRows(pairs, k int, own bool) []uint32 {
	rows := make([]uint32, pairs)
	for p := range rows {
		if rows[p] = uint32(p); !own {
			rows[p] = uint32(p / k)
		}
	}
	return rows
}

func (c *call) expertLinear(o compute.ExpertLinear) error {
	ids, err := c.experts(1, o.Experts)
	if err != nil {
		return err
	}
	pairs, k := c.out[0].spec.Shape[0], c.dims(1)[1]
	x := c.g.Reshape(c.widest(), c.dims(0)[0], 1, c.dims(0)[1])
	y := c.timesExperts(x, pairRows(pairs, k, o.Own), ids, 2, o.Experts, true)
	c.results[0] = c.g.Reshape(y, c.out[0].spec.Shape...)
	return nil
}

// experts is input i, of ids. Those that Route made are in range; those of the host are checked.
func (c *call) experts(i, n int) (mlxc.Array, error) {
	if host := c.in[i].host; host != nil {
		return c.x(i), checkIndices(compute.Array{Spec: c.in[i].spec, Data: host}.I32(), 0, n)
	}
	return c.x(i), nil
}

func (c *call) expertGradInput(o compute.ExpertGradInput) error {
	ids, err := c.experts(1, o.Experts)
	if err != nil {
		return err
	}
	pairs, t, k := c.dims(0)[0], c.dims(1)[0], c.dims(1)[1]
	dy := c.g.Reshape(c.widest(), pairs, 1, c.dims(0)[1])
	dx := c.timesExperts(dy, pairRows(pairs, k, true), ids, 2, o.Experts, false)
	if o.Own {
		dx = c.g.Reshape(dx, pairs, o.Weight.Cols)
	} else {
		dx = c.g.Sum(c.g.As(c.g.Reshape(dx, t, k, o.Weight.Cols), mlxc.F32), 1, false)
	}
	c.results[0] = c.added(o.Accumulate, dx)
	return nil
}

// productBytes is what the products of some pairs may take, in float32.
const productBytes = 64 << 20

// expertGradWeight adds each pair's product to its expert's, some pairs at a time.
func (c *call) expertGradWeight(o compute.ExpertGradWeight) error {
	ids, err := c.experts(2, o.Experts)
	if err != nil {
		return err
	}
	g, k := c.g, c.dims(2)[1]
	pairs, rows, cols := c.dims(0)[0], c.dims(0)[1], c.dims(1)[1]
	dy, x, ids := c.f32(0), c.f32(1), g.Reshape(ids, pairs)
	sums := g.Zeros(mlxc.F32, o.Experts, rows*cols)
	step := max(1, productBytes/(4*rows*cols))
	for from := 0; from < pairs; from += step {
		to := min(from+step, pairs)
		n := to - from
		xs := x
		if o.Own {
			xs = g.Rows(x, from, to, cols)
		} else {
			at := pairRows(pairs, k, false)[from:to]
			xs = g.Take(x, g.New(unsafe.Slice((*byte)(unsafe.Pointer(&at[0])), 4*n), mlxc.U32, n), 0)
		}
		products := g.Multiply(g.Reshape(g.Rows(dy, from, to, rows), n, rows, 1), g.Reshape(xs, n, 1, cols))
		of := g.BroadcastTo(g.Reshape(c.vector(ids, from, to), n, 1), n, rows*cols)
		sums = g.ScatterAdd(sums, of, g.Reshape(products, n, rows*cols), 0)
	}
	c.results[0] = c.added(o.Accumulate, c.scaled(g.Reshape(sums, o.Experts*rows, cols), o.Alpha))
	return nil
}

// route sorts the experts of each token; a NaN comes last.
func (c *call) route(o compute.Route) {
	g, logits, t := c.g, c.f32(0), c.dims(0)[0]
	order := g.ArgSort(g.Where(g.Equal(logits, logits), g.Negative(logits), g.Float(-negInf)), -1)
	ids := g.As(g.Rows(order, 0, t, o.K), mlxc.I32)
	picked := g.TakeAlong(logits, ids, 1)
	of := logits
	if o.Normalize {
		of = picked
	}
	c.results[0], c.results[1] = ids, g.Exp(g.Subtract(picked, g.LogSumExp(of, -1, true)))
}

// routeGrad is p·(dp - Σ dp·p), p the softmax of those that took part.
func (c *call) routeGrad(o compute.RouteGrad) error {
	ids, err := c.experts(1, c.dims(0)[1])
	if err != nil {
		return err
	}
	g, logits, dp := c.g, c.f32(0), c.x(2)
	none := g.Zeros(mlxc.F32, c.dims(0)...)
	of := logits
	if o.Normalize {
		of = g.TakeAlong(logits, ids, 1)
	} else {
		dp = g.ScatterAdd(none, ids, dp, 1)
	}
	p := g.Softmax(of, -1)
	d := g.Multiply(p, g.Subtract(dp, g.Sum(g.Multiply(p, dp), -1, true)))
	if o.Normalize {
		d = g.ScatterAdd(none, ids, d, 1)
	}
	c.results[0] = d
	return nil
}

func (c *call) combine() {
	t, k, d := c.dims(1)[0], c.dims(1)[1], c.dims(0)[1]
	y, scores := c.g.Reshape(c.f32(0), t, k, d), c.g.Reshape(c.x(1), t, k, 1)
	c.results[0] = c.g.Sum(c.g.Multiply(y, scores), 1, false)
}

func (c *call) combineGrad() {
	g, t, k, d := c.g, c.dims(2)[0], c.dims(2)[1], c.dims(1)[1]
	dout, y := g.Reshape(c.f32(0), t, 1, d), g.Reshape(c.f32(1), t, k, d)
	c.results[0] = g.Reshape(g.Multiply(dout, g.Reshape(c.x(2), t, k, 1)), t*k, d)
	c.results[1] = g.Sum(g.Multiply(dout, y), -1, false)
}
