package cpu

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// quantizeWork is how many times as long it takes to round a value as to add one.
const quantizeWork = 8

// quantizeRows is compute.QuantizeRows.
func (d *Device) quantizeRows(o compute.QuantizeRows, out, in []compute.Array) error {
	m := o.Weight.Matrix(out)
	n := m.Cols
	if in[0].DType == compute.F32 {
		d.putRows(m, 0, in[0].F32())
		return nil
	}
	size := in[0].DType.Size()
	wide, err := d.scratch.floats(d.pool.threads * n)
	if err != nil {
		return err
	}
	d.pool.run(m.Rows, func(worker, i int) {
		row := wide[worker*n : (worker+1)*n]
		d.kernels.widen(row, in[0].Data[i*n*size:(i+1)*n*size], in[0].DType)
		m.PutRow(i, row, quant.RuleCPU)
	})
	return nil
}

// putRows rounds whole rows to those of an affine matrix from row at on.
func (d *Device) putRows(m *quant.Matrix, at int, x []float32) {
	n := m.Cols
	d.pool.split(len(x)/n, rowGrain(quantizeWork*n), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			m.PutRow(at+i, x[i*n:(i+1)*n], quant.RuleCPU)
		}
	})
}

// unpackHead widens n rows of one key head from row k0 on to dst [n, HeadDim].
func (a *attend) unpackHead(dst []float32, m *quant.Matrix, kv, k0, n int, spare []float32) {
	for j := range n {
		a.kn.weightRow(dst[j*a.HeadDim:(j+1)*a.HeadDim], m, k0+j, kv*a.HeadDim, spare)
	}
}

// unpackRows widens n whole rows from row k0 on to dst [n, KVHeads·HeadDim].
func (kn *kernels) unpackRows(dst []float32, m *quant.Matrix, k0, n int, spare []float32) {
	f := m.Format
	row, groups, size := f.RowBytes(m.Cols), m.Cols/f.Group, f.DType.Size()
	scales, biases := spare[:n*groups], spare[n*groups:2*n*groups]
	kn.widen(scales, m.Scales[k0*groups*size:(k0+n)*groups*size], f.DType)
	kn.widen(biases, m.Biases[k0*groups*size:(k0+n)*groups*size], f.DType)
	kn.affineRow(dst[:n*m.Cols], m.Data[k0*row:(k0+n)*row], scales, biases, f.Bits)
}

const (
	// widenedKeys is how many keys a task of quantizedChunks takes, for all heads:
	// rows are widened whole.
	widenedKeys = 128
	// widenedTile is about how many values are widened at a time. They stay in the
	// second-level cache until all queries have used them.
	widenedTile = 32 << 10
)

// tileRows is how many rows of n values are widened at a time.
func tileRows(n int) int { return min(max(widenedTile/n, 1), widenedKeys) }

// quantizedChunks computes the partial softmaxes over quantized caches. A task takes
// a chunk of keys of all heads.
func (d *Device) quantizedChunks(list []*chunked) error {
	n := list[0].KVHeads * list[0].HeadDim
	tile, most := tileRows(n), 0
	for _, c := range list {
		most = max(most, c.t*c.Heads)
	}
	sizes := []int{most * widenedKeys, tile * n, spareFloats(tile * n)}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return err
	}
	tasks := inTurn(list, func(c *chunked) int { return c.chunks })
	d.pool.run(tasks.total(), func(worker, task int) {
		area := cut(private[worker*each:], sizes)
		s, chunk := tasks.find(task)
		c := list[s]
		k0 := c.first + chunk*widenedKeys
		w := quantizedChunk{attend: c.attend, k0: k0, n: min(widenedKeys, c.keys-k0), step: tile, tile: area[1], spare: area[2], heads: make([]keyChunk, c.KVHeads)}
		for kv := range w.heads {
			w.heads[kv] = keyChunk{attend: c.attend, kv: kv, k0: k0, n: w.n, keys: widenedKeys, p: area[0][kv*c.rows()*widenedKeys:], out: c.part(chunk, kv)}
		}
		w.run()
		for i := 0; c.chunks == 1 && i < c.t*c.Heads; i++ {
			d.mergeQuery(c, i)
		}
	})
	return nil
}

// quantizedChunk is one task of quantizedChunks.
type quantizedChunk struct {
	*attend
	k0, n, step int
	tile, spare []float32 // widened rows; their scales and biases
	heads       []keyChunk
}

func (w *quantizedChunk) run() {
	w.eachTile(w.k.quantized, func(f *keyChunk, r, lo, hi int, x []float32, ld int) {
		_, _, q := f.row(r)
		f.kn.dotRows(f.scores(r)[lo:hi], x, ld, q)
	})
	for i := range w.heads {
		f := &w.heads[i]
		for r := range f.t * f.group {
			f.softmax(r)
		}
	}
	w.eachTile(w.v.quantized, func(f *keyChunk, r, lo, hi int, x []float32, ld int) {
		f.kn.addRows(f.sum(r)[:f.HeadDim], f.scores(r)[lo:hi], x, ld)
	})
}

// eachTile widens the chunk's rows of m tile by tile. For every row of queries it calls
// use with the keys [lo, hi) that the row sees in a tile, and with x, their values for
// the row's head, ld apart.
func (w *quantizedChunk) eachTile(m *quant.Matrix, use func(f *keyChunk, r, lo, hi int, x []float32, ld int)) {
	for j := 0; j < w.n; j += w.step {
		n := min(w.step, w.n-j)
		w.kn.unpackRows(w.tile, m, w.k0+j, n, w.spare)
		for i := range w.heads {
			f := &w.heads[i]
			for r := range f.t * f.group {
				lo, hi, _ := f.row(r)
				if lo, hi = max(lo, j), min(hi, j+n); lo < hi {
					use(f, r, lo, hi, w.tile[(lo-j)*m.Cols+f.kv*f.HeadDim:], m.Cols)
				}
			}
		}
	}
}
