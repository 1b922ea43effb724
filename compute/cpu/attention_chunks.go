package cpu

import (
	"fmt"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// checkBounds guards the segment bounds, which are data and not a shape.
func checkBounds(bounds []int32, keys int) error {
	for i, b := range bounds {
		switch {
		case i == 0 && b != 0:
			return fmt.Errorf("bounds begin at %d, want 0", b)
		case i > 0 && b < bounds[i-1]:
			return fmt.Errorf("bound %d is %d after %d, want rising bounds", i, b, bounds[i-1])
		}
	}
	if last := int(bounds[len(bounds)-1]); last < keys {
		return fmt.Errorf("bounds end at %d, queries at %d", last, keys)
	}
	return nil
}

// chunkKeys is how many keys a task of floatChunks takes. The work is cut by keys as
// well as by heads, because decoding has a single query.
const chunkKeys = 256

// mergeGrain is the fewest queries of a head worth a task that merges their chunks.
const mergeGrain = 8

// chunked is one sequence whose attention goes by chunks of keys.
type chunked struct {
	*attend
	y, lse []float32 // lse is nil where it is not wanted

	chunk  int       // keys of a chunk
	first  int       // first key of the first chunk
	chunks int       // of a head
	parts  []float32 // [chunks, KVHeads, rows, HeadDim+2] partial softmaxes: output, largest score, sum
}

// rows is how many queries go to a key head.
func (c *chunked) rows() int { return c.t * c.group }

// part is the partial softmaxes of a chunk and key head, [rows, HeadDim+2].
func (c *chunked) part(chunk, kv int) []float32 {
	n := c.rows() * (c.HeadDim + 2)
	return c.parts[(chunk*c.KVHeads+kv)*n:][:n]
}

// attendChunks is attention for few queries of each of several sequences, as in decoding.
// Each head goes once over its keys and values where they lie, mostly in half precision.
// Every chunk of keys gives a partial softmax; these are merged in order. The sequences
// are of one kind: their caches have the same format, their queries the same heads.
func (d *Device) attendChunks(list []*chunked) (err error) {
	for _, c := range list {
		c.chunk = chunkKeys
		if c.k.quantized != nil {
			c.chunk = widenedKeys
		}
		c.first, _ = c.seen(0, c.t)
		c.first -= c.first % c.chunk // a query's chunks do not depend on the other queries
		c.chunks = blocksOf(c.keys-c.first, c.chunk)
		if c.parts, err = d.scratch.floats(c.KVHeads * c.chunks * c.rows() * (c.HeadDim + 2)); err != nil {
			return err
		}
	}
	pass := d.floatChunks
	if list[0].k.quantized != nil {
		pass = d.quantizedChunks
	}
	if err := pass(list); err != nil {
		return err
	}
	long := slices.DeleteFunc(slices.Clone(list), func(c *chunked) bool { return c.chunks == 1 }) // the others are done
	if len(long) == 0 {
		return nil
	}
	queries := inTurn(long, func(c *chunked) int { return c.t * c.Heads })
	d.pool.split(queries.total(), mergeGrain, func(lo, hi int) {
		for n := lo; n < hi; n++ {
			s, i := queries.find(n)
			d.mergeQuery(long[s], i)
		}
	})
	return nil
}

// mergeQuery joins the chunks of query and head i.
func (d *Device) mergeQuery(c *chunked, i int) {
	h := i % c.Heads
	at := (i/c.Heads*c.group + h%c.group) * (c.HeadDim + 2)
	lse := d.merge(c.y[i*c.HeadDim:(i+1)*c.HeadDim], c.chunks, func(chunk int) []float32 {
		return c.part(chunk, h/c.group)[at:][:c.HeadDim+2]
	})
	if c.lse != nil {
		c.lse[i] = lse
	}
}

// ends numbers the work of several sequences, one sequence after the other: where each ends.
type ends []int

// inTurn numbers work of which sequence c has n(c).
func inTurn(list []*chunked, n func(c *chunked) int) ends {
	e := make(ends, len(list))
	sum := 0
	for i, c := range list {
		sum += n(c)
		e[i] = sum
	}
	return e
}

func (e ends) total() int { return e[len(e)-1] }

// find tells whose number n is, and which of that sequence's.
func (e ends) find(n int) (sequence, i int) {
	sequence, _ = slices.BinarySearch(e, n+1)
	if sequence > 0 {
		n -= e[sequence-1]
	}
	return sequence, n
}

// floatChunks computes the partial softmaxes. A task takes a chunk of keys of one head, and
// asks for the next task's meanwhile.
func (d *Device) floatChunks(list []*chunked) error {
	most := 0
	for _, c := range list {
		most = max(most, c.rows())
	}
	sizes := []int{chunkKeys * most}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return err
	}
	tasks := inTurn(list, func(c *chunked) int { return c.KVHeads * c.chunks })
	chunkOf := func(task int) (*chunked, keyChunk) {
		s, i := tasks.find(task)
		c := list[s]
		kv, k0 := i%c.KVHeads, c.first+i/c.KVHeads*chunkKeys
		return c, keyChunk{attend: c.attend, kv: kv, k0: k0, n: min(chunkKeys, c.keys-k0), keys: chunkKeys, out: c.part(i/c.KVHeads, kv)}
	}
	asked := make([]int, d.pool.threads) // each worker has asked for the keys of the task before this
	ahead := make([]keyChunk, d.pool.threads)
	d.pool.streams(tasks.total(), func(worker, task int) {
		c, f := chunkOf(task)
		f.p, f.asked = private[worker*each:][:sizes[0]], asked[worker] == task+1
		if task+1 < tasks.total() {
			_, ahead[worker] = chunkOf(task + 1)
			f.next, asked[worker] = &ahead[worker], task+2
		}
		f.run()
		for r := 0; c.chunks == 1 && r < c.rows(); r++ {
			d.mergeQuery(c, r/c.group*c.Heads+f.kv*c.group+r%c.group)
		}
	})
	return nil
}

// merge joins the partial softmaxes of one query and head to y. It returns the
// logarithm of the whole sum.
func (d *Device) merge(y []float32, chunks int, part func(c int) []float32) float32 {
	n := len(y)
	if chunks == 1 {
		p := part(0)
		d.kernels.scale(y, 1/p[n+1], p[:n])
		return p[n] + float32(math.Log(float64(p[n+1])))
	}
	top := float32(emptyTop)
	for c := range chunks {
		top = max(top, part(c)[n])
	}
	clear(y)
	var sum float32
	for c := range chunks {
		p := part(c)
		f := exp(p[n] - top)
		sum += f * p[n+1]
		d.kernels.addScaled(y, y, f, p[:n])
	}
	d.kernels.scale(y, 1/sum, y)
	return top + float32(math.Log(float64(sum)))
}

// keyChunk is a chunk of keys, [k0, k0+n), of one key head.
type keyChunk struct {
	*attend
	kv, k0, n int
	keys      int       // of a whole chunk
	p         []float32 // [rows, keys] scores, then exponentials
	out       []float32 // [rows, HeadDim+2]
	asked     bool      // for the keys and values
	next      *keyChunk // to be asked for; nil for none
}

// scores are row r's, for all keys of the chunk.
func (f *keyChunk) scores(r int) []float32 { return f.p[r*f.keys : (r+1)*f.keys] }

// sum is row r's output, largest score and sum of exponentials.
func (f *keyChunk) sum(r int) []float32 { return f.out[r*(f.HeadDim+2):][:f.HeadDim+2] }

func (f *keyChunk) run() {
	d := f.HeadDim
	rows := f.t * f.group
	for r := range rows {
		lo, hi, q := f.row(r)
		f.askNext(3*r, 3*rows)
		switch {
		case lo >= hi:
		case r == 0 && !f.asked:
			f.firstDot(q, lo, hi)
		default:
			f.dot(f.scores(r)[lo:hi], q, lo)
		}
		f.askNext(3*r+1, 3*rows)
		f.softmax(r)
		f.askNext(3*r+2, 3*rows)
		if lo < hi {
			f.addValues(f.sum(r)[:d], f.scores(r)[lo:hi], lo)
		}
	}
}

// askEach is how many keys are multiplied before the next are asked for.
const askEach = 8

// firstDot is dot for the first row. It asks for the keys to come, and for the values of
// those that are here: they lie too far apart for the processor to guess.
func (f *keyChunk) firstDot(q []float32, lo, hi int) {
	for j := lo; j < hi; j += askEach {
		end := min(j+askEach, hi)
		f.ask(f.v, j, end)
		if end < hi {
			f.ask(f.k, end, min(end+askEach, hi))
		}
		f.dot(f.scores(0)[j:end], q, j)
	}
}

// askNext asks for part i of n of the next chunk. Little is asked for at a time: only a few
// lines can be on their way.
func (f *keyChunk) askNext(i, n int) {
	if f.next == nil {
		return
	}
	lo, hi := i*f.next.n/n, (i+1)*f.next.n/n
	f.next.ask(f.next.k, lo, hi)
	f.next.ask(f.next.v, lo, hi)
}

// ask asks for rows [lo, hi) of the chunk's head.
func (f *keyChunk) ask(x keyed, lo, hi int) {
	size := x.DType.Size()
	ld, n := f.KVHeads*f.HeadDim*size, f.HeadDim*size
	at := ((f.k0+lo)*f.KVHeads + f.kv) * f.HeadDim * size
	for range hi - lo {
		for b := 0; b < n; b += 192 {
			f.kn.prefetch(&x.Data[at+b], &x.Data[at+b], &x.Data[at+b])
		}
		at += ld
	}
}

// softmax scales row r's scores, turns them into exponentials and begins its sum.
func (f *keyChunk) softmax(r int) {
	d, o := f.HeadDim, f.sum(r)
	clear(o)
	o[d] = emptyTop
	lo, hi, _ := f.row(r)
	if lo >= hi {
		return
	}
	p := f.scores(r)[lo:hi]
	f.kn.scale(p, f.Scale, p)
	if f.Softcap > 0 {
		for i := range p {
			p[i] = f.Softcap * tanh(p[i]/f.Softcap)
		}
	}
	o[d] = f.kn.max(p)
	o[d+1] = f.kn.expSum(p, p, o[d], 1)
}

// dot sets scores to the products of q with the chunk's keys from lo on.
func (f *keyChunk) dot(scores, q []float32, lo int) {
	at, ld := ((f.k0+lo)*f.KVHeads+f.kv)*f.HeadDim, f.KVHeads*f.HeadDim
	if f.k.DType == compute.F32 {
		f.kn.dotRows(scores, f.k.F32()[at:], ld, q)
		return
	}
	f.kn.dotHalves(scores, f.k.Data[2*at:], ld, q)
}

// addValues adds the chunk's values from lo on, times p, to out.
func (f *keyChunk) addValues(out, p []float32, lo int) {
	at, ld := ((f.k0+lo)*f.KVHeads+f.kv)*f.HeadDim, f.KVHeads*f.HeadDim
	if f.v.DType == compute.F32 {
		f.kn.addRows(out, p, f.v.F32()[at:], ld)
		return
	}
	f.kn.addHalves(out, p, f.v.Data[2*at:], ld)
}

// row returns the chunk's keys that row r sees, and its query.
func (f *keyChunk) row(r int) (lo, hi int, q []float32) {
	t, head := r/f.group, f.kv*f.group+r%f.group
	lo, hi = f.visible(t)
	q = f.q[(t*f.Heads+head)*f.HeadDim:][:f.HeadDim]
	return max(lo-f.k0, 0), min(hi-f.k0, f.n), q
}
