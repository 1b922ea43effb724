package cpu

import (
	"unsafe"

	"github.com/lentil-lm/lentil/compute"
)

// Products with a side of few rows or columns, those of low-rank updates above all, are
// bound by reading the long operand. They do without packing it: the kernel walks it by
// strides, so that x·A and xᵀ·z both read x where it lies.
const (
	narrowSide  = 8              // lines and columns of a kernel's call
	narrowMost  = 32             // most columns of a product that goes this way
	narrowUnit  = 2 * narrowSide // lines of a task: two calls share a cache line when a is read across its rows
	narrowTasks = 8              // tasks for each worker: short ones, so that all end together
)

// narrowB says whether a product of m by n with k terms goes this way with b as its
// short side. Row-wise products may not, as m must not decide.
func narrowB(m, n, k int, rowWise bool) bool {
	return k > 0 && n <= narrowMost && n <= m && m >= narrowSide && !rowWise
}

// narrowA says so for a as the short side.
func narrowA(m, n, k int, rowWise bool) bool {
	return k > 0 && m <= narrowMost && (m < n || rowWise) && n >= narrowSide
}

// strided is an operand that is read in place: element (i, l) is
// data[i*line+l*step].
type strided struct {
	data       []float32
	line, step int
}

// narrowProduct is c[i*line+j*column] (+)= alpha · Σ_l a(i, l)·b(j, l) for
// i < m, j < n, l < k, with m at least narrowSide.
type narrowProduct struct {
	m, n, k      int
	a            strided
	b            operand
	alpha        float32
	c            []float32
	line, column int
	add          bool
}

// narrowOf is c (+)= a b as a product that goes this way, if it does.
func narrowOf(o compute.MatMul, c, left, right compute.Array) (p narrowProduct, ok bool) {
	m, n, k := o.Dims([]compute.Spec{left.Spec, right.Spec})
	a, b, aLines, bLines := operands(o, left, right)
	p = narrowProduct{k: k, alpha: o.Alpha, c: c.F32(), add: o.Accumulate}
	switch {
	case o.RowWise && !o.TransA && m > narrowMost: // row by row, see rowwise.go
		return p, false
	case narrowB(m, n, k, o.RowWise):
		p.m, p.n, p.a, p.b, p.line, p.column = m, n, aLines, b, n, 1
	case narrowA(m, n, k, o.RowWise):
		p.m, p.n, p.a, p.b, p.line, p.column = n, m, bLines, a, 1, n
	default:
		return p, false
	}
	return p, true
}

// width is that of b in whole panels.
func (p *narrowProduct) width() int { return roundUp(p.n, narrowSide) }

// narrow computes products with few columns, all of them in one region of tasks.
func (d *Device) narrow(list ...narrowProduct) error {
	kn := d.kernels
	packed := make([][]float32, len(list)) // b in panels [k, narrowSide]
	steps, packs, tasks := make([]int, len(list)), make(ends, len(list)), make(ends, len(list))
	each, packCount, taskCount := 0, 0, 0
	for i := range list {
		p := &list[i]
		var err error
		if packed[i], err = d.scratch.floats(p.width() * p.k); err != nil {
			return err
		}
		steps[i] = roundUp(max(blocksOf(p.m, max(narrowTasks*d.pool.threads/len(list), 1)), narrowUnit), narrowUnit)
		each = max(each, steps[i]*p.width()+tmpFloats)
		packCount += blocksOf(p.k, blockK)
		taskCount += blocksOf(p.m, steps[i])
		packs[i], tasks[i] = packCount, taskCount
	}
	private, err := d.scratch.floats(d.pool.threads * each)
	if err != nil {
		return err
	}
	d.pool.run(packCount, func(worker, task int) {
		i, block := packs.find(task)
		p, l := &list[i], block*blockK
		kc := min(blockK, p.k-l)
		p.b.pack(kn, packed[i][l*p.width():(l+kc)*p.width()], narrowSide, 0, p.n, l, kc, private[worker*each:][:tmpFloats])
	})
	d.pool.run(taskCount, func(worker, task int) {
		i, part := tasks.find(task)
		p, sums := &list[i], private[worker*each:][tmpFloats:each]
		first := part * steps[i]
		end := min(first+steps[i], p.m)
		p.multiply(kn, sums, packed[i], p.width(), first, end)
		p.store(sums, p.width(), first, end)
	})
	return nil
}

// multiply computes lines [first, end) as tiles [narrowSide, narrowSide] in sums. The
// last lines may be computed twice: a tile always has narrowSide of them.
func (p *narrowProduct) multiply(kn *kernels, sums, packed []float32, width, first, end int) {
	for l := 0; l < p.k; l += blockK {
		kc := min(blockK, p.k-l)
		for i := first; i < end; i += narrowSide {
			from := min(i, p.m-narrowSide)
			for j := 0; j < width; j += narrowSide {
				kn.narrowTile(kc, &p.a.data[from*p.a.line+l*p.a.step], p.a.line, p.a.step, &packed[l*width+j*kc], &sums[(i-first)*width+j*narrowSide], l > 0)
			}
		}
	}
}

// store puts the sums of lines [first, end) to c.
func (p *narrowProduct) store(sums []float32, width, first, end int) {
	for i := first; i < end; i++ {
		tile := i &^ (narrowSide - 1)
		row := i - min(tile, p.m-narrowSide) // of the tile
		for j := range p.n {
			v := p.alpha * sums[(tile-first)*width+j&^(narrowSide-1)*narrowSide+row*narrowSide+j&(narrowSide-1)]
			at := i*p.line + j*p.column
			if p.add {
				v += p.c[at]
			}
			p.c[at] = v
		}
	}
}

// narrowTileGeneric is c[i*8+j] (+)= Σ_l a[i*line+l*step]·b[l*8+j] for i, j < 8.
func narrowTileGeneric(k int, a *float32, line, step int, b, c *float32, add bool) {
	const n = narrowSide
	as, bs := unsafe.Slice(a, (n-1)*line+(k-1)*step+1), unsafe.Slice(b, k*n)
	cs := unsafe.Slice(c, n*n)
	if !add {
		clear(cs)
	}
	for l := range k {
		br := bs[l*n : l*n+n]
		for i := range n {
			x, row := as[i*line+l*step], cs[i*n:i*n+n]
			for j, v := range br {
				row[j] += x * v
			}
		}
	}
}
