package cpu

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// Products with the matrices of experts go expert by expert: the rows of x that picked
// one are gathered and multiplied with its matrix, and the products are put in their
// places. Sums over the experts of a row are taken in the order of the experts.

// picks are pairs of a row and an expert, sorted by expert.
type picks struct {
	pairs []int32 // numbers of pairs, in order within an expert
	first []int32 // [experts+1]: where those of an expert begin
	k     int     // pairs that share a row of x
}

func sortPairs(ids compute.Array, experts int, own bool) (picks, error) {
	list := ids.I32()
	if err := inRange(list, experts, "expert"); err != nil {
		return picks{}, err
	}
	p := picks{pairs: make([]int32, len(list)), first: make([]int32, experts+1), k: 1}
	if !own {
		p.k = ids.Shape[1]
	}
	for _, e := range list {
		p.first[e]++
	}
	end := int32(0)
	for e, n := range p.first {
		p.first[e], end = end, end+n
	}
	next := append([]int32(nil), p.first...)
	for i, e := range list {
		p.pairs[next[e]] = int32(i)
		next[e]++
	}
	return p, nil
}

// of lists the pairs of an expert.
func (p picks) of(expert int) []int32 { return p.pairs[p.first[expert]:p.first[expert+1]] }

// most is the largest number of pairs of an expert.
func (p picks) most() int {
	most := int32(0)
	for e, at := range p.first[:len(p.first)-1] {
		most = max(most, p.first[e+1]-at)
	}
	return int(most)
}

// expertOf is one matrix of a stack.
func expertOf(w compute.Weight, experts, e int, stack compute.Array) (compute.Weight, compute.Array) {
	m := *w.Of(stack)
	for _, part := range []*[]byte{&m.Data, &m.Scales, &m.Biases} {
		n := len(*part) / experts
		*part = (*part)[e*n : (e+1)*n]
	}
	m.Rows, m.Experts = m.Rows/experts, 0
	w.Rows = m.Rows
	return w, compute.Array{Spec: w.Spec(), Data: m.Data, Matrix: &m}
}

func matrixOf(data []float32, rows, cols int) compute.Array {
	return compute.Array{Spec: compute.Spec{Shape: compute.Shape{rows, cols}, DType: compute.F32}, Data: compute.FloatBytes(data[:rows*cols])}
}

// gatherPairs copies to row i of dst row pairs[i]/k of src.
func (d *Device) gatherPairs(dst, src []float32, width int, pairs []int32, k int) {
	d.pool.split(len(pairs), rowGrain(width), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			copy(dst[i*width:(i+1)*width], src[int(pairs[i])/k*width:])
		}
	})
}

// scatterPairs copies, or adds, row i of src to row pairs[i]/k of dst. Pairs may share
// a row, so the work is cut by columns.
func (d *Device) scatterPairs(dst, src []float32, width int, pairs []int32, k int, add bool) {
	d.pool.split(width, columnGrain(len(pairs)), func(lo, hi int) {
		for i, p := range pairs {
			to, from := dst[int(p)/k*width+lo:int(p)/k*width+hi], src[i*width+lo:i*width+hi]
			if add {
				d.kernels.addScaled(to, to, 1, from)
			} else {
				copy(to, from)
			}
		}
	})
}

// eachExpert calls do for every expert with pairs, and ends the loans that do takes.
func (d *Device) eachExpert(p picks, do func(e int, pairs []int32) error) error {
	for e := range len(p.first) - 1 {
		pairs := p.of(e)
		if len(pairs) == 0 {
			continue
		}
		mark := len(d.scratch.blocks)
		if err := do(e, pairs); err != nil {
			return err
		}
		d.scratch.releaseFrom(mark)
	}
	return nil
}

// expertLinear is compute.ExpertLinear.
func (d *Device) expertLinear(o compute.ExpertLinear, out, in []compute.Array) error {
	p, err := sortPairs(in[1], o.Experts, o.Own)
	if err != nil {
		return err
	}
	x, y, cols, rows, most := in[0].F32(), out[0].F32(), o.Weight.Cols, out[0].Shape[1], p.most()
	done, err := d.experts8(o, p, y, in)
	if err != nil {
		return err
	}
	if done {
		most = min(most, packedMost)
	}
	gathered, err := d.scratch.floats(most * (cols + rows))
	if err != nil {
		return err
	}
	return d.eachExpert(p, func(e int, pairs []int32) error {
		if done && len(pairs) > packedMost {
			return nil
		}
		w, weight := expertOf(o.Weight, o.Experts, e, in[2])
		op := compute.Linear{Weight: w, Exact: o.Exact, RowWise: o.RowWise}
		n := len(pairs)
		if n == 1 {
			pair := int(pairs[0])
			return d.expertProduct(op, rowOf(out[0], pair), rowOf(in[0], pair/p.k), weight)
		}
		from, to := gathered[:n*cols], gathered[most*cols:][:n*rows]
		d.gatherPairs(from, x, cols, pairs, p.k)
		if err := d.expertProduct(op, matrixOf(to, n, rows), matrixOf(from, n, cols), weight); err != nil {
			return err
		}
		d.scatterPairs(y, to, rows, pairs, 1, false)
		return nil
	})
}

// isFloats says that a matrix is float32: it belongs to an update, or is in training.
func isFloats(w compute.Weight) bool {
	return w.Format.Kind == quant.Dense && w.Format.DType == quant.F32
}

// expertProduct is the product with one matrix. The narrow matrix of an update goes
// the way of updates where that is quicker; with RowWise, the number of rows does not
// decide.
func (d *Device) expertProduct(o compute.Linear, y, x compute.Array, weight compute.Array) error {
	n := x.Shape[0]
	down := o.Weight.Rows <= narrowMost && n > gemvDense && !o.RowWise
	up := o.Weight.Cols <= narrowMost && (n == 1 || o.RowWise)
	if isFloats(o.Weight) && (down || up) {
		return d.matMul(compute.MatMul{TransB: true, Alpha: 1, RowWise: o.RowWise}, []compute.Array{y}, []compute.Array{x, weight})
	}
	return d.linear(o, []compute.Array{y}, []compute.Array{x, weight})
}

// experts8 is linear8 for all experts with more than packedMost rows at once, or says
// that it does not take this case. Rows are gathered while they are rounded to 8 bits,
// and sums go straight to their places.
func (d *Device) experts8(o compute.ExpertLinear, p picks, y []float32, in []compute.Array) (done bool, err error) {
	var list []*product8
	rows := 0 // of all panels: each begins at an even one
	for e := range o.Experts {
		pairs := p.of(e)
		if len(pairs) <= packedMost {
			continue
		}
		w, weight := expertOf(o.Weight, o.Experts, e, in[2])
		one, ok := d.newProduct8(w.Of(weight), y, nil), false
		if one.plan, ok = d.kernels.planStrips(one.m); !ok || o.Exact || o.RowWise {
			return false, nil
		}
		one.places = pairs
		list = append(list, one)
		rows += roundUp(len(pairs), 2)
	}
	if len(list) == 0 {
		return false, nil
	}
	if err := d.expertPanels(list, in[0].F32(), rows, p.k); err != nil {
		return false, err
	}
	strips, err := d.strips(list[0], roundUp(p.most(), 2))
	if err != nil {
		return false, err
	}
	cols := list[0].k.tileCols
	n := blocksOf(list[0].m.Rows, cols)
	d.pool.streams(len(list)*n, func(worker, task int) {
		one := list[task/n]
		strips[worker].run(one, task%n*cols, 0, one.x.t)
	})
	return true, nil
}

// expertPanels rounds the rows of x that each product takes.
func (d *Device) expertPanels(list []*product8, x []float32, rows, share int) error {
	k, f := list[0].m.Cols, list[0].m.Format
	all, err := d.newPanels8(rows, k, list[0].k.tileRows, f)
	if err != nil {
		return err
	}
	type panel struct {
		*product8
		first int
	}
	var panels []panel
	at := 0
	for _, one := range list {
		n := len(one.places)
		one.x = all.from(at, n, one.plan.group)
		at += roundUp(n, 2)
		for i := 0; i < n; i += one.k.tileRows {
			panels = append(panels, panel{one, i})
		}
	}
	r := d.newRounding(k, f)
	private, each, err := d.perWorker(r.sizes)
	if err != nil {
		return err
	}
	d.pool.run(len(panels), func(worker, task int) {
		one := panels[task]
		r.panel(cut(private[worker*each:], r.sizes), one.x, one.first, 0, k, func(i int) []float32 { return x[int(one.places[i])/share*k:] })
	})
	return nil
}

// expertGradInput is compute.ExpertGradInput.
func (d *Device) expertGradInput(o compute.ExpertGradInput, out, in []compute.Array) error {
	p, err := sortPairs(in[1], o.Experts, o.Own)
	if err != nil {
		return err
	}
	dy, dx, cols, rows, most := in[0].F32(), out[0].F32(), o.Weight.Cols, in[0].Shape[1], p.most()
	gathered, err := d.scratch.floats(most * (cols + rows))
	if err != nil {
		return err
	}
	add := o.Accumulate || !o.Own
	if add && !o.Accumulate {
		d.fill(compute.Fill{}, out)
	}
	return d.eachExpert(p, func(e int, pairs []int32) error {
		w, weight := expertOf(o.Weight, o.Experts, e, in[2])
		n := len(pairs)
		from, to := gathered[:n*rows], gathered[most*rows:][:n*cols]
		d.gatherPairs(from, dy, rows, pairs, 1)
		y, x := []compute.Array{matrixOf(to, n, cols)}, matrixOf(from, n, rows)
		if isFloats(w) && cols <= narrowMost {
			err = d.matMul(compute.MatMul{Alpha: 1}, y, []compute.Array{x, weight})
		} else {
			err = d.linearGradInput(compute.LinearGradInput{Weight: w}, y, []compute.Array{x, weight})
		}
		if err != nil {
			return err
		}
		d.scatterPairs(dx, to, cols, pairs, p.k, add)
		return nil
	})
}

// expertGradWeight is compute.ExpertGradWeight.
func (d *Device) expertGradWeight(o compute.ExpertGradWeight, out, in []compute.Array) error {
	p, err := sortPairs(in[2], o.Experts, o.Own)
	if err != nil {
		return err
	}
	dy, x, dw, rows, cols, most := in[0].F32(), in[1].F32(), out[0].F32(), in[0].Shape[1], in[1].Shape[1], p.most()
	gathered, err := d.scratch.floats(most * (cols + rows))
	if err != nil {
		return err
	}
	if !o.Accumulate {
		d.pool.run(o.Experts, func(_, e int) {
			if len(p.of(e)) == 0 {
				clear(dw[e*rows*cols : (e+1)*rows*cols])
			}
		})
	}
	op := compute.MatMul{TransA: true, Alpha: o.Alpha, Accumulate: o.Accumulate}
	return d.eachExpert(p, func(e int, pairs []int32) error {
		n := len(pairs)
		a, b := gathered[:n*rows], gathered[most*rows:][:n*cols]
		d.gatherPairs(a, dy, rows, pairs, 1)
		d.gatherPairs(b, x, cols, pairs, p.k)
		c := matrixOf(dw[e*rows*cols:], rows, cols)
		return d.matMul(op, []compute.Array{c}, []compute.Array{matrixOf(a, n, rows), matrixOf(b, n, cols)})
	})
}

// routeGrain is the fewest tokens worth a task: about 10 µs of work with many experts.
const routeGrain = 8

func (d *Device) route(o compute.Route, out, in []compute.Array) {
	ids, scores, logits, n := out[0].I32(), out[1].F32(), in[0].F32(), in[0].Shape[1]
	d.pool.split(in[0].Shape[0], routeGrain, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			o.Pick(ids[t*o.K:(t+1)*o.K], scores[t*o.K:(t+1)*o.K], logits[t*n:(t+1)*n])
		}
	})
}

func (d *Device) routeGrad(o compute.RouteGrad, out, in []compute.Array) error {
	logits, ids, ds, dl, n, k := in[0].F32(), in[1].I32(), in[2].F32(), out[0].F32(), in[0].Shape[1], in[1].Shape[1]
	if err := inRange(ids, n, "expert"); err != nil {
		return err
	}
	d.pool.split(in[0].Shape[0], routeGrain, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			o.Row(dl[t*n:(t+1)*n], logits[t*n:(t+1)*n], ids[t*k:(t+1)*k], ds[t*k:(t+1)*k])
		}
	})
	return nil
}

func (d *Device) combine(out, in []compute.Array) {
	y, scores, sum, width, k := in[0].F32(), in[1].F32(), out[0].F32(), in[0].Shape[1], in[1].Shape[1]
	d.pool.split(out[0].Shape[0], rowGrain(width*k), func(lo, hi int) {
		for t := lo; t < hi; t++ {
			to := sum[t*width : (t+1)*width]
			d.kernels.scale(to, scores[t*k], y[t*k*width:(t*k+1)*width])
			for i := t*k + 1; i < (t+1)*k; i++ {
				d.kernels.addScaled(to, to, scores[i], y[i*width:(i+1)*width])
			}
		}
	})
}

func (d *Device) combineGrad(out, in []compute.Array) {
	dout, y, scores, dy, ds := in[0].F32(), in[1].F32(), in[2].F32(), out[0].F32(), out[1].F32()
	width, k := in[1].Shape[1], in[2].Shape[1]
	d.pool.split(len(scores), rowGrain(width), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			from := dout[i/k*width : (i/k+1)*width]
			ds[i] = d.kernels.dot(from, y[i*width:(i+1)*width])
			d.kernels.scale(dy[i*width:(i+1)*width], scores[i], from)
		}
	})
}
