package cpu

import "unsafe"

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

// narrow computes a product with few columns.
func (d *Device) narrow(p narrowProduct) error {
	kn := d.kernels
	width := roundUp(p.n, narrowSide)
	packed, err := d.scratch.floats(width * p.k) // b in panels [k, narrowSide]
	if err != nil {
		return err
	}
	step := roundUp(max(blocksOf(p.m, narrowTasks*d.pool.threads), narrowUnit), narrowUnit)
	each := step*width + tmpFloats
	private, err := d.scratch.floats(d.pool.threads * each)
	if err != nil {
		return err
	}
	d.pool.run(blocksOf(p.k, blockK), func(worker, task int) {
		l := task * blockK
		kc := min(blockK, p.k-l)
		p.b.pack(kn, packed[l*width:(l+kc)*width], narrowSide, 0, p.n, l, kc, private[worker*each:][:tmpFloats])
	})
	d.pool.run(blocksOf(p.m, step), func(worker, task int) {
		sums := private[worker*each:][tmpFloats:each]
		first := task * step
		end := min(first+step, p.m)
		p.multiply(kn, sums, packed, width, first, end)
		p.store(sums, width, first, end)
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
