package cpu

import (
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// gradLanesGeneric turns scores s [n, w] into the probabilities p = exp(scale·s - lse)
// and dp [n, w] into p·(dp - delta), both zero where a lane does not see the key.
// lse is in top, delta in keep.
func gradLanesGeneric(s, dp []float32, n, w int, scale float32, st *lanes) {
	for j := range n {
		for i := range w {
			var p, g float32
			if j >= int(st.lo[i]) && j < int(st.hi[i]) {
				p = exp(s[j*w+i]*scale - st.top[i])
				g = p * (dp[j*w+i] - st.keep[i])
			}
			s[j*w+i], dp[j*w+i] = p, g
		}
	}
}

// attentionGrad is compute.AttentionGrad.
//
// A key head of one segment is independent of all others. Where these are enough tasks
// for the workers, each computes all three gradients in one pass. Where they are not,
// the gradients of queries and of keys take a pass each, with finer tasks, which
// computes the probabilities twice.
func (d *Device) attentionGrad(o compute.AttentionGrad, out, in []compute.Array) error {
	a, err := d.newAttend(o.Attention, in)
	if err != nil {
		return err
	}
	g := &grad{attend: a, dy: in[6].F32(), lse: in[5].F32(), dq: out[0].F32(), dk: out[1].F32(), dv: out[2].F32()}
	d.pool.split(len(g.dk), fillWork*grain, func(lo, hi int) {
		clear(g.dk[lo:hi])
		clear(g.dv[lo:hi])
	})
	if g.delta, err = d.scratch.floats(a.t * a.Heads); err != nil {
		return err
	}
	y, hd := in[4].F32(), a.HeadDim
	d.pool.split(a.t*a.Heads, rowGrain(hd), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			g.delta[i] = d.kernels.dot(g.dy[i*hd:(i+1)*hd], y[i*hd:(i+1)*hd])
		}
	})
	whole, fine := g.plan(d.pool.threads)
	for _, tasks := range [][]gradTask{whole, fine} {
		if err := d.runGrad(g, tasks); err != nil {
			return err
		}
	}
	return nil
}

// The matrix products that the ways of attentionGrad take.
const (
	onePassProducts = 5
	twoPassProducts = 7
)

// grad is one call of attentionGrad.
type grad struct {
	*attend
	dy, lse, delta, dq, dk, dv []float32
}

// gradTask is the queries [q0, q1) and keys [k0, k1) of a key head: with toKeys it
// computes the gradient of keys and values, with toQueries that of the queries.
type gradTask struct {
	kv, q0, q1, k0, k1 int
	toQueries, toKeys  bool
}

// plan lists the tasks of the first and the second pass, long ones first.
func (g *grad) plan(threads int) (first, second []gradTask) {
	var segments [][2]int
	for q := 0; q < g.t; {
		end := q + 1
		for end < g.t && g.starts[end] == g.starts[q] {
			end++
		}
		segments = append(segments, [2]int{q, end})
		q = end
	}
	var total, longest int
	for _, s := range segments {
		n := s[1] - s[0]
		total += n * n * g.KVHeads
		longest = max(longest, n*n)
	}
	// One pass takes no less time than its longest task, two passes share all evenly.
	onePass := longest*threads*onePassProducts <= total*twoPassProducts
	for _, s := range segments {
		for kv := range g.KVHeads {
			if onePass {
				first = append(first, gradTask{kv, s[0], s[1], s[0], s[1], true, true})
				continue
			}
			step := g.queries()
			for q := s[1]; q > s[0]; q -= step {
				first = append(first, gradTask{kv, max(q-step, s[0]), q, s[0], s[1], true, false})
			}
			const keys = 2 * tileKeys
			for k := s[0]; k < s[1]; k += keys {
				second = append(second, gradTask{kv, s[0], s[1], k, min(k+keys, s[1]), false, true})
			}
		}
	}
	if onePass {
		slices.SortStableFunc(first, func(a, b gradTask) int { return (b.q1 - b.q0) - (a.q1 - a.q0) })
	}
	return first, second
}

func (d *Device) runGrad(g *grad, tasks []gradTask) error {
	nr, mr, hd := g.kn.nr, g.kn.mr, g.HeadDim
	step := g.queries()
	most := step / nr * g.group
	dp, dn, width := roundUp(hd, mr), roundUp(hd, nr), most*nr
	sizes := []int{
		most * hd * nr, most * hd * nr, width * dn, width * dn, most * dp * nr,
		tileKeys * hd, tileKeys * hd, tileKeys * dp,
		tileKeys * nr, tileKeys * nr, tileKeys * nr, tileKeys * width, tileKeys * width, mr * nr,
	}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return err
	}
	states := make([]lanes, d.pool.threads*most)
	d.pool.run(len(tasks), func(worker, task int) {
		f := cut(private[worker*each:], sizes)
		w := backward{grad: g, gradTask: tasks[task],
			queries: f[0], dys: f[1], queryRows: f[2], dyRows: f[3], sums: f[4],
			keys: f[5], values: f[6], keyCols: f[7], s: f[8], ds: f[9], slope: f[10], pt: f[11], dst: f[12], edge: f[13],
			states: states[worker*most : (worker+1)*most]}
		for q := w.q0; q < w.q1; q += step {
			w.run(block{w.kv, q, min(q+step, w.q1)})
		}
	})
	return nil
}

// backward is the work area of one task.
type backward struct {
	*grad
	gradTask
	queries, dys      []float32 // [panels, d, nr]
	queryRows, dyRows []float32 // the same as panels [lanes, nr] over d
	sums              []float32 // [panels, dp, nr]: the queries' gradient, transposed
	keys, values      []float32 // packed tile, panels [d, mr]
	keyCols           []float32 // the keys as panels [n, mr] over d
	s, ds, slope      []float32 // [tileKeys, nr]
	pt, dst           []float32 // P and dS of all panels as panels [lanes, mr] over keys
	edge              []float32
	states            []lanes
}

func (w *backward) run(b block) {
	first, end := w.seen(b.q0, b.q1-b.q0)
	first, end = max(first, w.k0), min(end, w.k1)
	if first >= end {
		return
	}
	nr, mr, d := w.kn.nr, w.kn.mr, w.HeadDim
	dp := roundUp(d, mr)
	panels := w.panels(b)
	width := panels * nr
	clear(w.sums[:panels*dp*nr])
	for p := range panels {
		q, n, head := w.panel(b, p)
		w.packQueries(w.queries[p*d*nr:], w.q, q, n, head)
		w.packQueries(w.dys[p*d*nr:], w.dy, q, n, head)
		st := &w.states[p]
		for i := range nr {
			st.top[i], st.keep[i] = 0, 0
			if i < n {
				st.top[i], st.keep[i] = w.lse[(q+i)*w.Heads+head], w.delta[(q+i)*w.Heads+head]
			}
		}
		if w.toKeys {
			w.packLanes(w.queryRows, w.q, p, width, q, n, head)
			w.packLanes(w.dyRows, w.dy, p, width, q, n, head)
		}
	}
	for k0 := first; k0 < end; k0 += tileKeys {
		w.tile(b, k0, min(tileKeys, end-k0))
	}
	if !w.toQueries {
		return
	}
	for p := range panels {
		q, n, head := w.panel(b, p)
		w.unpack(w.dq, w.sums[p*dp*nr:], q, n, head)
	}
}

// packLanes packs rows laid out as the queries as lines of panels [width, nr].
func (w *backward) packLanes(dst, x []float32, p, width, q, n, head int) {
	nr, d := w.kn.nr, w.HeadDim
	for i := range nr {
		line := p*nr + i
		if i < n {
			packCols(w.kn, dst, nr, width, line, x[((q+i)*w.Heads+head)*d:][:d])
			continue
		}
		for at := line * nr; at < roundUp(d, nr)*width; at += nr * width {
			clear(dst[at : at+nr])
		}
	}
}

// tile adds up the gradients that n keys from k0 on and the queries of b give each other.
func (w *backward) tile(b block, k0, n int) {
	nr, mr, d := w.kn.nr, w.kn.mr, w.HeadDim
	dp := roundUp(d, mr)
	panels := w.panels(b)
	width := panels * nr
	x, ld := w.keyRows(w.k, b.kv, k0, n, nil, nil)
	w.packKeys(w.keys, x, ld, n)
	if w.toQueries {
		w.packValues(w.keyCols, x, ld, n)
	}
	x, ld = w.keyRows(w.v, b.kv, k0, n, nil, nil)
	w.packKeys(w.values, x, ld, n)
	first, last := panels, 0 // panels that see keys of the tile
	for p := range panels {
		q, nq, _ := w.panel(b, p)
		lo, hi := w.seen(q, nq)
		j0, j1 := max(lo-k0, 0)/mr*mr, min(hi-k0, n)
		if j0 >= j1 {
			continue
		}
		if first > last { // the first that sees any
			first = p
		}
		// A panel between may see no key: its lines become zero.
		for ; w.toKeys && last > 0 && last < p; last++ {
			w.spread(last, 0, 0, n, width)
		}
		last = p + 1
		w.probabilities(p, q, nq, k0, j0, j1)
		if w.toQueries {
			for i := 0; i < dp; i += mr {
				w.kn.tile(j1-j0, &w.keyCols[i*n+j0*mr], &w.ds[j0*nr], &w.sums[p*dp*nr+i*nr], nr, true)
			}
		}
		if w.toKeys {
			w.spread(p, j0, j1, n, width)
		}
	}
	if !w.toKeys || first >= last {
		return
	}
	stride := w.KVHeads * d
	at := (k0*w.KVHeads + b.kv) * d
	w.addProduct(w.dv[at:], stride, w.pt, w.dyRows, n, width, first*nr, last*nr)
	w.addProduct(w.dk[at:], stride, w.dst, w.queryRows, n, width, first*nr, last*nr)
}

// probabilities fills s with P and ds with the scores' gradient for panel p.
func (w *backward) probabilities(p, q, nq, k0, j0, j1 int) {
	nr, mr, d := w.kn.nr, w.kn.mr, w.HeadDim
	scale := w.scores(w.s, w.keys, w.queries[p*d*nr:], j0, roundUp(j1, mr))
	for j := j0; j < j1; j += mr {
		w.kn.tile(d, &w.values[j*d], &w.dys[p*d*nr], &w.ds[j*nr], nr, false)
	}
	st := &w.states[p]
	w.setRange(st, q, nq, k0+j0)
	s, ds := w.s[j0*nr:j1*nr], w.ds[j0*nr:j1*nr]
	slope := w.slope[:len(s)]
	if w.Softcap > 0 { // the cap's derivative, while s still holds the scores
		for i, v := range s {
			r := v / w.Softcap
			slope[i] = 1 - r*r
		}
	}
	w.kn.gradLanes(s, ds, j1-j0, nr, scale, st)
	if w.Softcap > 0 {
		w.kn.scaleMul(ds, w.Scale, ds, slope)
	} else {
		w.kn.scale(ds, w.Scale, ds)
	}
}

// spread writes panel p's part of P and dS, with zeros outside keys [j0, j1), as lines
// of the packed panels over keys.
func (w *backward) spread(p, j0, j1, n, width int) {
	nr, mr := w.kn.nr, w.kn.mr
	for j := 0; j < n; j += mr {
		at := j*width + p*nr*mr
		have := min(mr, j1-j)
		if j < j0 || have <= 0 {
			clear(w.pt[at : at+nr*mr])
			clear(w.dst[at : at+nr*mr])
			continue
		}
		packRows(w.kn, w.pt[at:], mr, mr, have, w.s[j*nr:], nr, nr)
		packRows(w.kn, w.dst[at:], mr, mr, have, w.ds[j*nr:], nr, nr)
	}
}

// addProduct adds a panels [n, width] times b panels [d, width], over the lines
// [l0, l1), to rows of c.
func (w *backward) addProduct(c []float32, ld int, a, b []float32, n, width, l0, l1 int) {
	nr, mr, d := w.kn.nr, w.kn.mr, w.HeadDim
	for j := 0; j < n; j += mr {
		for i := 0; i < d; i += nr {
			w.kn.block(a[j*width+l0*mr:], b[i*width+l0*nr:], min(mr, n-j), min(nr, d-i), l1-l0, c[j*ld+i:], ld, true, w.edge)
		}
	}
}
