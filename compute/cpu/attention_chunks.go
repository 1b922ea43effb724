package cpu

import (
	"fmt"
	"math"

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

// attendChunks is attention for few queries, as in decoding. Each head goes once over
// its keys and values where they lie, mostly in half precision. Every chunk of keys
// gives a partial softmax; these are merged in order.
func (d *Device) attendChunks(a *attend, y, lse []float32) error {
	first, _ := a.seen(0, a.t)
	chunk, pass := chunkKeys, d.floatChunks
	if a.k.quantized != nil {
		chunk, pass = widenedKeys, d.quantizedChunks
	}
	first -= first % chunk // a query's chunks do not depend on the other queries
	chunks := blocksOf(a.keys-first, chunk)
	rows := a.t * a.group // of queries to one key head
	size := a.HeadDim + 2 // output, largest score, sum
	parts, err := d.scratch.floats(a.KVHeads * chunks * rows * size)
	if err != nil {
		return err
	}
	if err := pass(a, first, chunks, parts); err != nil {
		return err
	}
	d.pool.split(a.t*a.Heads, mergeGrain, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			t, h := i/a.Heads, i%a.Heads
			kv, g := h/a.group, h%a.group
			lse[i] = d.merge(y[i*a.HeadDim:(i+1)*a.HeadDim], chunks, func(c int) []float32 {
				return parts[((c*a.KVHeads+kv)*rows+t*a.group+g)*size:][:size]
			})
		}
	})
	return nil
}

// floatChunks computes the partial softmaxes. A task takes a chunk of keys of one head.
func (d *Device) floatChunks(a *attend, first, chunks int, parts []float32) error {
	rows, size := a.t*a.group, a.HeadDim+2
	sizes := []int{chunkKeys * rows}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return err
	}
	d.pool.run(a.KVHeads*chunks, func(worker, task int) {
		kv, k0 := task%a.KVHeads, first+task/a.KVHeads*chunkKeys
		area := cut(private[worker*each:], sizes)
		f := keyChunk{attend: a, kv: kv, k0: k0, n: min(chunkKeys, a.keys-k0), keys: chunkKeys, p: area[0], out: parts[task*rows*size:][:rows*size]}
		f.run()
	})
	return nil
}

// merge joins the partial softmaxes of one query and head to y. It returns the
// logarithm of the whole sum.
func (d *Device) merge(y []float32, chunks int, part func(c int) []float32) float32 {
	n := len(y)
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
}

// scores are row r's, for all keys of the chunk.
func (f *keyChunk) scores(r int) []float32 { return f.p[r*f.keys : (r+1)*f.keys] }

// sum is row r's output, largest score and sum of exponentials.
func (f *keyChunk) sum(r int) []float32 { return f.out[r*(f.HeadDim+2):][:f.HeadDim+2] }

func (f *keyChunk) run() {
	d := f.HeadDim
	for r := range f.t * f.group {
		lo, hi, q := f.row(r)
		if lo < hi {
			f.dot(f.scores(r)[lo:hi], q, lo)
		}
		f.softmax(r)
		if lo < hi {
			f.addValues(f.sum(r)[:d], f.scores(r)[lo:hi], lo)
		}
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
	lo, hi = f.Visible(t, f.starts[t])
	q = f.q[(t*f.Heads+head)*f.HeadDim:][:f.HeadDim]
	return max(lo-f.k0, 0), min(hi-f.k0, f.n), q
}
