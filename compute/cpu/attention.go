package cpu

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// Attention goes tile by tile and keeps no matrix of T x T (Dao et al., 2022).
//
// A lane is one query of one head, a panel is nr queries of a head. Scores lie
// transposed, [keys, lanes]: the softmax over keys runs down the lanes without sums
// across a vector, and the probabilities already are the packed panel that the product
// with the values needs. The query heads of one key head are panels of one task, which
// packs keys and values once for all of them.
const (
	maxLanes       = 32  // of a panel, over all families
	tileLanes      = 128 // queries times heads that share a packed tile of keys
	tileKeys       = 84  // keys of a tile; a multiple of every family's mr
	chunkedQueries = 8   // most queries that go by chunks of keys: panels would leave most lanes idle
)

// lanes is the state of one panel: for each lane the range of keys it sees,
// the largest score, the sum of exponentials and the factor by which earlier
// sums must be multiplied.
type lanes struct {
	lo, hi         [maxLanes]int32 // relative to the first key of the scores at hand
	top, sum, keep [maxLanes]float32
}

// emptyTop is below every score, and finite: it may be subtracted from itself.
const emptyTop = -1e30

// softmaxLanesGeneric raises top to the largest score and turns the scores s [n, w]
// into exp(scale·s - top), or zero where a lane does not see a key. It multiplies the
// old sum with keep, which makes up for the new top, and adds the new terms.
func softmaxLanesGeneric(s []float32, n, w int, scale float32, st *lanes) {
	for i := range w {
		top, lo, hi := st.top[i], int(st.lo[i]), int(st.hi[i])
		for j := max(lo, 0); j < min(hi, n); j++ {
			top = max(top, s[j*w+i]*scale)
		}
		st.keep[i] = exp(st.top[i] - top)
		st.top[i] = top
		st.sum[i] *= st.keep[i]
	}
	for j := range n {
		for i := range w {
			var p float32
			if j >= int(st.lo[i]) && j < int(st.hi[i]) {
				p = exp(s[j*w+i]*scale - st.top[i])
			}
			s[j*w+i] = p
			st.sum[i] += p
		}
	}
}

// scaleLanesGeneric multiplies every row of x [n, w] by keep.
func scaleLanesGeneric(x []float32, n, w int, keep *[maxLanes]float32) {
	for j := range n {
		for i := range w {
			x[j*w+i] *= keep[i]
		}
	}
}

// attend is what forward and backward have in common: the queries of one sequence with a
// cache, or of packed sequences without.
type attend struct {
	compute.Attention
	kn      *kernels
	t, keys int   // queries, visible keys: the queries are the newest of them
	group   int   // query heads to a key head
	starts  []int // first keys of the queries' segments; nil where all are 0
	q       []float32
	k, v    keyed
}

// keyed are rows of keys or values: floats, or quantized.
type keyed struct {
	compute.Array
	quantized *quant.Matrix // nil for floats
}

func (d *Device) newAttend(o compute.Attention, in []compute.Array) (*attend, error) {
	t := in[0].Shape[0]
	if err := checkBounds(in[3].I32(), t); err != nil {
		return nil, err
	}
	return &attend{Attention: o, kn: d.kernels, t: t, keys: t, group: o.Heads / o.KVHeads,
		starts: o.SegmentStarts(in[3].I32(), t), q: in[0].F32(), k: keyed{Array: in[1]}, v: keyed{Array: in[2]}}, nil
}

// start is the first key of query q's segment.
func (a *attend) start(q int) int {
	if a.starts == nil {
		return 0
	}
	return a.starts[q]
}

// visible is the range of keys that query q sees.
func (a *attend) visible(q int) (lo, hi int) { return a.Visible(a.keys-a.t+q, a.start(q)) }

// block is a run of queries whose panels are worked on together. Its panels are in
// the order of the queries, the heads of nr queries side by side, so that the panels
// that see a key are neighbours.
type block struct {
	kv, q0, q1 int
}

// queries is how many queries a block has.
func (a *attend) queries() int {
	return roundUp(max(tileLanes/a.group, 1), a.kn.nr)
}

func (a *attend) panels(b block) int { return (b.q1 - b.q0 + a.kn.nr - 1) / a.kn.nr * a.group }

// panel returns the first query, the number of queries and the head of panel p.
func (a *attend) panel(b block, p int) (q, n, head int) {
	q = b.q0 + p/a.group*a.kn.nr
	return q, min(a.kn.nr, b.q1-q), b.kv*a.group + p%a.group
}

// seen returns the range of keys that any of the queries [q, q+n) sees.
func (a *attend) seen(q, n int) (lo, hi int) {
	lo, _ = a.visible(q)
	_, hi = a.visible(q + n - 1)
	return lo, hi
}

// setRange sets the lanes' ranges for scores that begin at key k0.
func (a *attend) setRange(st *lanes, q, n, k0 int) {
	for i := range a.kn.nr {
		st.lo[i], st.hi[i] = 0, 0
		if i < n {
			lo, hi := a.visible(q + i)
			st.lo[i], st.hi[i] = int32(max(lo-k0, 0)), int32(max(hi-k0, 0))
		}
	}
}

// keyRows returns the float32 values of n rows of k or v from k0 on for one key
// head, and how far the rows lie apart. Float32 rows stay where they are, others are
// widened into tmp; quantized ones need spare.
func (a *attend) keyRows(x keyed, kv, k0, n int, tmp, spare []float32) (data []float32, ld int) {
	d := a.HeadDim
	if x.quantized != nil {
		a.unpackHead(tmp, x.quantized, kv, k0, n, spare)
		return tmp, d
	}
	if x.DType == compute.F32 {
		return x.F32()[(k0*a.KVHeads+kv)*d:], a.KVHeads * d
	}
	size := x.DType.Size()
	for j := range n {
		at := ((k0+j)*a.KVHeads + kv) * d * size
		a.kn.widen(tmp[j*d:(j+1)*d], x.Data[at:at+d*size], x.DType)
	}
	return tmp, d
}

// packQueries packs rows of x, laid out as the queries, as a panel [d, nr].
func (a *attend) packQueries(dst, x []float32, q, n, head int) {
	d := a.HeadDim
	packRows(a.kn, dst, a.kn.nr, a.kn.nr, n, x[(q*a.Heads+head)*d:], a.Heads*d, d)
}

// packKeys packs n rows as panels [d, mr], one after another.
func (a *attend) packKeys(dst, x []float32, ld, n int) {
	mr, d := a.kn.mr, a.HeadDim
	for j := 0; j < n; j += mr {
		packRows(a.kn, dst[j*d:], mr, mr, min(mr, n-j), x[j*ld:], ld, d)
	}
}

// packValues packs n rows as panels [n, mr] over the head's dimensions.
func (a *attend) packValues(dst, x []float32, ld, n int) {
	for j := range n {
		packCols(a.kn, dst, a.kn.mr, n, j, x[j*ld:j*ld+a.HeadDim])
	}
}

// scores computes s [n, nr] for a panel of queries and the packed keys [j0, j1). It
// applies the cap, and returns the scale that is still to be applied.
func (a *attend) scores(s, keys, queries []float32, j0, j1 int) (scale float32) {
	mr, nr, d := a.kn.mr, a.kn.nr, a.HeadDim
	for j := j0; j < j1; j += mr {
		a.kn.tile(d, &keys[j*d], &queries[0], &s[j*nr], nr, false)
	}
	if a.Softcap == 0 {
		return a.Scale
	}
	part := s[j0*nr : j1*nr]
	for i, v := range part {
		part[i] = a.Softcap * tanh(v*a.Scale/a.Softcap)
	}
	return 1
}

func tanh(x float32) float32 { return 1 - 2/(1+exp(2*x)) }

// attention is compute.Attention.
func (d *Device) attention(o compute.Attention, out, in []compute.Array) error {
	a, err := d.newAttend(o, in)
	if err != nil || a.t == 0 {
		return err
	}
	return d.attend(a, out)
}

func (d *Device) attend(a *attend, out []compute.Array) error {
	y, lse := out[0].F32(), out[1].F32()
	if a.byChunks() {
		return d.attendChunks([]*chunked{{attend: a, y: y, lse: lse}})
	}
	return d.attendPanels(a, y, lse)
}

// byChunks tells whether the queries go by chunks of keys, and not in panels.
func (a *attend) byChunks() bool { return a.t <= chunkedQueries || a.RowWise }

// attendPanels is attention for many queries. A nil lse is not wanted.
func (d *Device) attendPanels(a *attend, y, lse []float32) error {
	nr, mr := a.kn.nr, a.kn.mr
	step := a.queries()
	most := step / nr * a.group // panels of a block
	dp := roundUp(a.HeadDim, mr)
	sizes := []int{most * a.HeadDim * nr, most * dp * nr, tileKeys * a.HeadDim, tileKeys * dp, tileKeys * nr, tileKeys * a.HeadDim, spareFloats(a.HeadDim)}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return err
	}
	states := make([]lanes, d.pool.threads*most)
	starts := a.blockStarts(step)
	blocks := len(starts) - 1
	d.pool.run(blocks*a.KVHeads, func(worker, task int) {
		f := cut(private[worker*each:], sizes)
		// The last queries of a segment see the most keys: they go first.
		i := blocks - 1 - task/a.KVHeads
		b := block{task % a.KVHeads, starts[i], starts[i+1]}
		w := forward{attend: a, queries: f[0], sums: f[1], keys: f[2], values: f[3], s: f[4], wide: f[5], spare: f[6], states: states[worker*most:]}
		w.run(b, y, lse)
	})
	return nil
}

// blockStarts cuts the queries into blocks of at most step and adds the end. Blocks
// begin anew with each segment: what a segment gives does not depend, to the bit, on
// what is packed around it.
func (a *attend) blockStarts(step int) []int {
	var out []int
	for q := range a.t {
		if n := len(out); n == 0 || a.start(q) != a.start(q-1) || q-out[n-1] == step {
			out = append(out, q)
		}
	}
	return append(out, a.t)
}

// perWorker lends every worker areas of these sizes; each is the distance
// between two workers'.
func (d *Device) perWorker(sizes []int) (all []float32, each int, err error) {
	for _, n := range sizes {
		each += roundUp(n, alignment/4)
	}
	all, err = d.scratch.floats(d.pool.threads * each)
	return all, each, err
}

// cut divides a worker's area.
func cut(area []float32, sizes []int) [][]float32 {
	parts := make([][]float32, len(sizes))
	for i, n := range sizes {
		parts[i] = area[:n]
		area = area[roundUp(n, alignment/4):]
	}
	return parts
}

// forward is the work area of one task.
type forward struct {
	*attend
	queries []float32 // [panels, d, nr]
	sums    []float32 // [panels, dp, nr]: output, transposed and not yet divided
	keys    []float32 // packed tile
	values  []float32
	s       []float32 // [tileKeys, nr]
	wide    []float32 // keys or values of a tile widened to float32
	spare   []float32 // scales of quantized ones
	states  []lanes
}

func (w *forward) run(b block, y, lse []float32) {
	nr, mr, d := w.kn.nr, w.kn.mr, w.HeadDim
	dp := roundUp(d, mr)
	panels := w.panels(b)
	clear(w.sums[:panels*dp*nr])
	for p := range panels {
		q, n, head := w.panel(b, p)
		w.packQueries(w.queries[p*d*nr:], w.q, q, n, head)
		st := &w.states[p]
		for i := range nr {
			st.top[i], st.sum[i] = emptyTop, 0
		}
	}
	first, end := w.seen(b.q0, b.q1-b.q0)
	for k0 := first; k0 < end; k0 += tileKeys {
		n := min(tileKeys, end-k0)
		x, ld := w.keyRows(w.k, b.kv, k0, n, w.wide, w.spare)
		w.packKeys(w.keys, x, ld, n)
		x, ld = w.keyRows(w.v, b.kv, k0, n, w.wide, w.spare)
		w.packValues(w.values, x, ld, n)
		for p := range panels {
			w.tile(b, p, k0, n)
		}
	}
	for p := range panels {
		w.finish(b, p, y, lse)
	}
}

// tile adds n keys from k0 on to panel p's sums.
func (w *forward) tile(b block, p, k0, n int) {
	nr, mr, d := w.kn.nr, w.kn.mr, w.HeadDim
	dp := roundUp(d, mr)
	q, nq, _ := w.panel(b, p)
	lo, hi := w.seen(q, nq)
	j0, j1 := max(lo-k0, 0)/mr*mr, min(hi-k0, n)
	if j0 >= j1 {
		return
	}
	st, sums := &w.states[p], w.sums[p*dp*nr:(p+1)*dp*nr]
	scale := w.scores(w.s, w.keys, w.queries[p*d*nr:], j0, roundUp(j1, mr))
	w.setRange(st, q, nq, k0+j0)
	w.kn.softmaxLanes(w.s[j0*nr:j1*nr], j1-j0, nr, scale, st)
	w.kn.scaleLanes(sums, dp, nr, &st.keep)
	for i := 0; i < dp; i += mr {
		w.kn.tile(j1-j0, &w.values[i*n+j0*mr], &w.s[j0*nr], &sums[i*nr], nr, true)
	}
}

// finish divides panel p's sums and writes them out.
func (w *forward) finish(b block, p int, y, lse []float32) {
	nr, d := w.kn.nr, w.HeadDim
	dp := roundUp(d, w.kn.mr)
	q, n, head := w.panel(b, p)
	st := &w.states[p]
	if lse != nil {
		for i := range n {
			lse[(q+i)*w.Heads+head] = st.top[i] + float32(math.Log(float64(st.sum[i])))
		}
	}
	for i := range nr {
		st.keep[i] = 1 / max(st.sum[i], math.SmallestNonzeroFloat32)
	}
	sums := w.sums[p*dp*nr : (p+1)*dp*nr]
	w.kn.scaleLanes(sums, dp, nr, &st.keep)
	w.unpack(y, sums, q, n, head)
}

// unpack writes a transposed panel x [d, nr] to rows laid out as the queries.
func (a *attend) unpack(y, x []float32, q, n, head int) {
	d, nr, ld := a.HeadDim, a.kn.nr, a.Heads*a.HeadDim
	y = y[(q*a.Heads+head)*d:]
	i := 0
	for ; i+4 <= d; i += 4 {
		a.kn.interleave4(&y[i], ld, &x[i*nr], nr, n)
	}
	for ; i < d; i++ {
		for j := range n {
			y[j*ld+i] = x[i*nr+j]
		}
	}
}
