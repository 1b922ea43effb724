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

// chunkKeys is how many keys a task of attendFew takes: the work is cut by keys
// as well as by heads, because decoding has a single query.
const chunkKeys = 256

// attendFew is attention for few queries: a pass over the keys and values,
// each row widened once for all heads that share it. Every chunk of keys gives
// a partial softmax, and these are merged in order.
func (d *Device) attendFew(a *attend, y, lse []float32) error {
	first, _ := a.seen(0, a.t)
	chunks := (a.keys - first + chunkKeys - 1) / chunkKeys
	rows := a.t * a.group // of queries to one key head
	size := a.HeadDim + 2 // output, largest score, sum
	parts, err := d.scratch.floats(a.KVHeads * chunks * rows * size)
	if err != nil {
		return err
	}
	const tile = 32
	sizes := []int{2 * tile * a.HeadDim, chunkKeys * rows}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return err
	}
	d.pool.run(a.KVHeads*chunks, func(worker, task int) {
		kv, k0 := task%a.KVHeads, first+task/a.KVHeads*chunkKeys
		area := cut(private[worker*each:], sizes)
		f := few{attend: a, kv: kv, k0: k0, n: min(chunkKeys, a.keys-k0), wide: area[0], p: area[1], out: parts[task*rows*size:][:rows*size]}
		f.run(tile)
	})
	d.pool.split(a.t*a.Heads, 8, func(lo, hi int) {
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

// merge joins the partial softmaxes of one query and head; it returns the
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

// few is one task of attendFew: keys [k0, k0+n) of one key head.
type few struct {
	*attend
	kv, k0, n int
	wide      []float32 // a tile of keys or values as float32
	p         []float32 // [rows, chunkKeys] scores, then probabilities
	out       []float32
}

func (f *few) run(tile int) {
	d, rows := f.HeadDim, f.t*f.group
	f.eachTile(f.k, tile, func(j, n int, x []float32, ld int) {
		for r := range rows {
			lo, hi, q := f.row(r)
			lo, hi = max(j, lo), min(j+n, hi)
			if lo >= hi {
				continue
			}
			s := f.p[r*chunkKeys+lo : r*chunkKeys+hi]
			f.kn.dotRows(s, x[(lo-j)*ld:], ld, q)
			f.kn.scale(s, f.Scale, s)
			for i := range s {
				if f.Softcap > 0 {
					s[i] = f.Softcap * tanh(s[i]/f.Softcap)
				}
			}
		}
	})
	for r := range rows {
		lo, hi, _ := f.row(r)
		o := f.out[r*(d+2):][:d+2]
		clear(o)
		o[d] = emptyTop
		if lo < hi {
			p := f.p[r*chunkKeys+lo : r*chunkKeys+hi]
			o[d] = f.kn.max(p)
			o[d+1] = f.kn.expSum(p, p, o[d], 1)
		}
	}
	f.eachTile(f.v, tile, func(j, n int, x []float32, ld int) {
		for r := range rows {
			lo, hi, _ := f.row(r)
			o := f.out[r*(d+2):][:d]
			if lo, hi = max(j, lo), min(j+n, hi); lo < hi {
				f.kn.addRows(o, f.p[r*chunkKeys+lo:r*chunkKeys+hi], x[(lo-j)*ld:], ld)
			}
		}
	})
}

// row returns the chunk's keys that row r sees, and its query.
func (f *few) row(r int) (lo, hi int, q []float32) {
	t, head := r/f.group, f.kv*f.group+r%f.group
	lo, hi = f.Visible(t, f.starts[t])
	q = f.q[(t*f.Heads+head)*f.HeadDim:][:f.HeadDim]
	return max(lo-f.k0, 0), min(hi-f.k0, f.n), q
}

// eachTile hands out the chunk's rows of x as float32.
func (f *few) eachTile(x compute.Array, tile int, do func(j, n int, x []float32, ld int)) {
	for j := 0; j < f.n; j += tile {
		n := min(tile, f.n-j)
		data, ld := f.keyRows(x, f.kv, f.k0+j, n, f.wide)
		do(j, n, data, ld)
	}
}
