package cpu

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// The product of several rows of 8-bit activations with a quantized weight: a
// prompt, a batch, or tokens to be checked in speculative decoding.
//
// A task takes a strip of the weight, one tile wide. It unpacks a block of the
// strip to one byte a weight, in the first-level cache, and multiplies it with
// all rows of x, whose panels all tasks share. Sums over the values of x that
// share a scale are taken in integers.
const (
	fewBytes   = 2   // so few rows of x go one by one, see gemv
	blockDepth = 640 // greatest depth of a block: 20 KB of a strip 32 wide
	piece      = 16  // values of one row of x that lie together in a panel
	leastParts = 8   // fewest panels of x worth a task of their own
	// leastColumns is the fewest columns of a panel worth a task to round them.
	leastColumns = 1024
)

// byteTile is one call of a tile kernel: c (+)= x wᵀ for rows rows of x and cols
// rows of the weight. A group is what shares a weight's scale, a run what shares
// scales of x and weight both.
type byteTile struct {
	x      *int8    // [groups·runs·pieces, rows, piece]
	scale  *float32 // [groups·runs, rows], of x
	sum    *float32 // [groups, rows]: scale · Σ x of a group
	w      *byte    // [groups·runs·pieces·piece/4, cols, 4], the weights' codes
	ws, wb *float32 // [groups, cols]: weight = ws · code + wb
	start  *int32   // [groups·runs, rows], in place of sum and wb: where the sums of a run start
	c      *float32 // [rows, cols]
	ldc    int      // from row to row of c
	groups int
	runs   int // of a group
	pieces int // of a run
	add    bool
}

// byteKernels multiply tiles of 8-bit numbers, see gemm8_generic.go.
type byteKernels struct {
	// rows and cols are the extent of a tile; none exists when rows is 0. Tiles
	// of fewer rows, any even number, take what is left.
	rows, cols int
	maxCode    int // the largest code that the kernel takes
	tile       func(rows int, t *byteTile)
	// packed multiplies packed weights with up to packedMost rows of x, see few.go;
	// nil where there is no such kernel.
	packed       func(rows int, t *packedTile, kind quant.Kind)
	scaleColumns func(dst []float32, src []byte, f quant.Format)
	// nibbles and bytes write eight rows of codes as columns of a strip; the bytes
	// ahead of those read are wanted next.
	nibbles    func(dst []byte, stride int, src []byte, ld, ahead, runs, half, odd int)
	nibblesFP4 func(dst []byte, stride int, src []byte, ld, ahead, runs int)
	bytes      func(dst []byte, stride int, src []byte, ld, ahead, runs int)
	// codes unpacks a row of codes, see codesGeneric.
	codes func(dst, src []byte, bits int)
	// codesQ6K unpacks the codes of super-blocks, superScales their scales.
	codesQ6K    func(dst, src []byte)
	superScales func(scales, biases []float32, src []byte, kind quant.Kind)
	// dotCodes multiplies four rows of codes with one of x, see dotCodesGeneric.
	dotCodes func(y []float32, codes []byte, scales []float32, x []int8, scale []float32)
}

// product8 is one call of linear8.
type product8 struct {
	byteKernels
	kn     *kernels
	m      *quant.Matrix
	x      panels8
	y      []float32
	places []int32 // row i of all of x goes to row places[i] of y; nil when in order
	add    bool    // to y
	direct bool    // 4-bit codes that stay packed up to their place in the strip
	group  int     // weights that share a scale
	depth  int     // of a block
}

func (d *Device) newProduct8(m *quant.Matrix, y, bias []float32) *product8 {
	return &product8{byteKernels: d.kernels.bytes, kn: d.kernels, m: m, y: y, add: bias != nil, group: groupOf(m.Format)}
}

// panels8 are rows of x rounded to 8 bits. Panels have tile.rows rows each, the
// last one an even number that is enough. Of a panel with h rows, element at
// depth l of row 0 has index (first row)·k + l·h.
type panels8 struct {
	t, k, height int
	run          int       // values that share a scale here, at most 32 and a group
	q            []int8    // [panel][k/piece, h, piece]
	scale        []float32 // [panel][k/run, h]
	sum          []float32 // [panel][k/group, h]
	start        []int32   // [panel][k/run, h], for E2M1 weights in place of sum
}

// linear8 computes y = x Wᵀ + bias for several rows of x, or says that it does
// not take this case.
func (d *Device) linear8(o compute.Linear, m *quant.Matrix, x, y, bias []float32, t int) (done bool, err error) {
	f, p := m.Format, d.newProduct8(m, y, bias)
	if p.packed != nil && !o.Exact && !o.RowWise && t > 1 && t <= packedMost && m.Cols%64 == 0 && (isFP4(f) || f.Kind == quant.Affine && f.Bits == 4) {
		return true, d.linearPacked(p, x, bias, t)
	}
	if o.Exact || o.RowWise || t <= fewBytes || !p.blocks() {
		return false, nil
	}
	if p.x, err = d.panels8(x, t, m.Cols, p.rows, f); err != nil {
		return false, err
	}
	if bias != nil {
		d.fillRows(y, bias)
	}
	strips, panels := (m.Rows+p.cols-1)/p.cols, (t+p.rows-1)/p.rows
	parts := min((4*d.pool.threads+strips-1)/strips, (panels+leastParts-1)/leastParts)
	sizes := p.areas(p.rows)
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return false, err
	}
	d.pool.streams(strips*parts, func(worker, task int) {
		part := task % parts
		p.strip(cut(private[worker*each:], sizes), task/parts*p.cols, part*panels/parts*p.rows, min((part+1)*panels/parts*p.rows, t))
	})
	return true, nil
}

// blocks decides how the weight is cut, or says that the kernels do not take it.
func (p *product8) blocks() bool {
	f, cols, unit := p.m.Format, p.m.Cols, superBlock
	switch {
	case p.rows == 0:
		return false
	case f.Kind == quant.Affine:
		if 1<<f.Bits-1 > p.maxCode {
			return false
		}
		if unit = p.group; cols%64 == 0 {
			unit = max(unit, 64)
			p.direct = f.Bits == 4
		}
	case f.Kind == quant.Q4K:
		p.direct = true
	case f.Kind == quant.Q6K:
	case isFP4(f) && cols%64 == 0:
		unit = 64
	default:
		return false
	}
	blocks := (cols + blockDepth - 1) / blockDepth
	p.depth = roundUp((cols+blocks-1)/blocks, unit)
	return true
}

// areas are the sizes of what strip works in, the last that of sums of some rows of x.
func (p *product8) areas(rows int) []int {
	groups := p.m.Cols / p.group
	return []int{p.depth * p.cols / 4, groups * p.cols, groups * p.cols, 2 * groups * p.cols, 8 * p.depth / 4, rows * p.cols}
}

// fillRows copies row to every row of y.
func (d *Device) fillRows(y, row []float32) {
	d.pool.split(len(y)/len(row), 1+grain/len(row), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			copy(y[i*len(row):(i+1)*len(row)], row)
		}
	})
}

// panels8 rounds t rows of k values in panels of height rows, for weights of a
// format and in the order in which product8.unpack has these.
func (d *Device) panels8(x []float32, t, k, height int, f quant.Format) (panels8, error) {
	a, err := d.newPanels8(t, k, height, f)
	if err != nil {
		return a, err
	}
	r := d.newRounding(k, f)
	private, each, err := d.perWorker(r.sizes)
	if err != nil {
		return a, err
	}
	parts := 1 // of a panel's columns
	if t <= height {
		parts = min(d.pool.threads, (k+leastColumns-1)/leastColumns)
	}
	d.pool.run((t+height-1)/height*parts, func(worker, task int) {
		p, part, units := task/parts, task%parts, (k+superBlock-1)/superBlock
		lo, hi := part*units/parts*superBlock, min((part+1)*units/parts*superBlock, k)
		r.panel(cut(private[worker*each:], r.sizes), a, p*height, lo, hi, func(i int) []float32 { return x[i*k:] })
	})
	return a, nil
}

// newPanels8 lends panels of t rows.
func (d *Device) newPanels8(t, k, height int, f quant.Format) (a panels8, err error) {
	a = panels8{t: t, k: k, height: height, run: min(32, groupOf(f))}
	size := roundUp(t, 2) * k
	q, err := d.scratch.bytes(size)
	if err != nil {
		return a, err
	}
	a.q = int8View(q)
	if a.scale, err = d.scratch.floats(size / a.run); err != nil {
		return a, err
	}
	if a.sum, err = d.scratch.floats(size / groupOf(f)); err != nil {
		return a, err
	}
	a.start = int32View(a.sum)
	return a, nil
}

// rounding is how rows of k values are rounded for weights of a format.
type rounding struct {
	round       func(q []int8, scale, sum, x []float32)
	starts      func(start []int32, x []int8)
	order       [4]int // of the pieces of 64 values
	copies, per int    // of a scale, values of a sum
	group       int
	fp4         bool
	sizes       []int // of a row, its scales, its sums, and its starts
}

func (d *Device) newRounding(k int, f quant.Format) rounding {
	r := rounding{d.kernels.quantize32, d.kernels.starts, [4]int{0, 1, 2, 3}, 1, 16, groupOf(f), isFP4(f), nil}
	if r.fp4 || f.Kind == quant.Affine && f.Bits == 4 && k%64 == 0 {
		r.round, r.order, r.copies, r.per = d.kernels.quantize64, [4]int{0, 2, 1, 3}, 4, 32
	}
	r.sizes = []int{k / 4, k / 32 * r.copies, k / r.per, k / 8}
	return r
}

// panel rounds columns [lo, hi) of the rows of the panel that begins with row first.
func (o *rounding) panel(area [][]float32, a panels8, first, lo, hi int, rowOf func(i int) []float32) {
	row, scale, sum := int8View(byteView(area[0])), area[1], area[2]
	at, h := a.panel(first)
	at += lo * h
	k := hi - lo
	row = row[:k]
	q, s, sums := a.q[at:], a.scale[at/a.run:], a.sum[at/o.group:]
	for r := range min(a.height, a.t-first) {
		o.round(row, scale, sum, rowOf(first + r)[lo:hi])
		for i := range k / a.run {
			s[i*h+r] = scale[i*a.run/32*o.copies]
		}
		if o.fp4 {
			a.codesFP4(q[r*piece:], a.start[at/a.run+r:], row, h, o.starts, int32View(area[3]))
			continue
		}
		for i := range k / piece {
			*(*[piece]int8)(q[(i*h+r)*piece:]) = *(*[piece]int8)(row[(i&^3|o.order[i&3])*piece:])
		}
		for i := range k / o.group {
			var total float32
			for _, v := range sum[i*o.group/o.per : (i+1)*o.group/o.per] {
				total += v
			}
			sums[i*h+r] = total
		}
	}
}

// codesFP4 puts a rounded row into a panel of h rows, for E2M1 weights: a piece
// has eight even ones of its values, then the odd ones.
func (a *panels8) codesFP4(q []int8, start []int32, row []int8, h int, starts func([]int32, []int8), eights []int32) {
	for i := range len(row) / piece {
		to, from := q[i*h*piece:], row[i/4*64+i%4*8:]
		*(*[8]int8)(to) = *(*[8]int8)(from)
		*(*[8]int8)(to[8:]) = *(*[8]int8)(from[32:])
	}
	starts(eights[:len(row)/8], row)
	per := a.run / 8
	for i := range len(row) / a.run {
		var sum int32
		for _, v := range eights[i*per : (i+1)*per] {
			sum += v
		}
		start[i*h] = sum
	}
}

// from is t rows from row i, an even number, on, for groups of weights.
func (a panels8) from(i, t, group int) panels8 {
	i *= a.k
	a.t, a.q, a.scale, a.sum = t, a.q[i:], a.scale[i/a.run:], a.sum[i/group:]
	a.start = int32View(a.sum)
	return a
}

// panel returns where the panel that begins with row i begins, and its rows.
func (a *panels8) panel(i int) (at, rows int) {
	return i * a.k, min(a.height, roundUp(a.t-i, 2))
}

// strip computes columns [n0, n0+cols) of rows [t0, t1) of y.
func (p *product8) strip(area [][]float32, n0, t0, t1 int) {
	k, n := p.m.Cols, min(p.cols, p.m.Rows-n0)
	w, ws, wb, spare, edge := byteView(area[0]), area[1], area[2], byteView(area[4]), area[5]
	p.scales(ws, wb, area[3], n0, n)
	tile := &byteTile{w: &w[0], runs: p.group / p.x.run, pieces: p.x.run / piece}
	for l := 0; l < k; l += p.depth {
		kc := min(p.depth, k-l)
		p.unpack(w, spare, n0, n, l, kc)
		tile.groups = kc / p.group
		tile.ws, tile.wb = &ws[l/p.group*p.cols], &wb[l/p.group*p.cols]
		for i := t0; i < t1; i += p.rows {
			at, h := p.x.panel(i)
			at += l * h
			tile.x, tile.scale, tile.sum = &p.x.q[at], &p.x.scale[at/p.x.run], &p.x.sum[at/p.group]
			if isFP4(p.m.Format) {
				tile.start = &p.x.start[at/p.x.run]
			}
			if p.places != nil {
				tile.c, tile.ldc, tile.add = &edge[i*p.cols], p.cols, l > 0
				p.tile(h, tile)
				continue
			}
			c, add := p.y[i*p.m.Rows+n0:], p.add || l > 0
			if i+h <= t1 && n == p.cols {
				tile.c, tile.ldc, tile.add = &c[0], p.m.Rows, add
				p.tile(h, tile)
				continue
			}
			tile.c, tile.ldc, tile.add = &edge[0], p.cols, false
			p.tile(h, tile)
			for r := range min(h, t1-i) {
				dst, src := c[r*p.m.Rows:], edge[r*p.cols:][:n]
				if add {
					p.kn.addScaled(dst[:n], dst[:n], 1, src)
				} else {
					copy(dst, src)
				}
			}
		}
	}
	for i, place := range p.places {
		copy(p.y[int(place)*p.m.Rows+n0:][:n], edge[i*p.cols:])
	}
}

// scales writes scales and biases of n rows from n0 on as columns [k/group, cols].
func (p *product8) scales(ws, wb, tmp []float32, n0, n int) {
	f, groups := p.m.Format, p.m.Cols/p.group
	scales, biases := tmp[:n*groups], tmp[n*groups:2*n*groups]
	switch {
	case isFP4(f):
		p.kn.fpScales(scales, p.m.Scales[n0*groups:(n0+n)*groups], f, 0.5)
		packRows(p.kn, ws, p.cols, p.cols, n, scales, groups, groups)
		return
	case f.Kind == quant.Affine:
		size := f.DType.Size() * groups
		p.kn.widen(scales, p.m.Scales[n0*size:(n0+n)*size], f.DType)
		p.kn.widen(biases, p.m.Biases[n0*size:(n0+n)*size], f.DType)
	default:
		ld := f.RowBytes(p.m.Cols)
		p.superScales(scales, biases, p.m.Data[n0*ld:(n0+n)*ld], f.Kind)
	}
	packRows(p.kn, ws, p.cols, p.cols, n, scales, groups, groups)
	packRows(p.kn, wb, p.cols, p.cols, n, biases, groups, groups)
}

// unpack writes the codes of a block of n rows as columns. Eight rows go at a
// time; those at the end of the matrix that are fewer go through a copy.
func (p *product8) unpack(w, spare []byte, n0, n, l, kc int) {
	f := p.m.Format
	ld, width := f.RowBytes(p.m.Cols), f.RowBytes(kc)
	ahead := width
	if l+kc == p.m.Cols { // the next strip comes next
		ahead = p.cols*ld - f.RowBytes(l)
	}
	for i := 0; i < n; i += 8 {
		src, step, have := p.m.Data[(n0+i)*ld+f.RowBytes(l):], ld, min(8, n-i)
		direct := p.direct || isFP4(f) || f.Kind == quant.Affine && f.Bits == 8
		switch {
		case !direct:
			for r := range have {
				if f.Kind == quant.Q6K {
					p.codesQ6K(spare[r*kc:][:kc], src[r*ld:])
				} else {
					p.unpackCodes(spare[r*kc:][:kc], src[r*ld:][:width], f.Bits)
				}
			}
			src, step = spare, kc
		case have < 8:
			for r := range have {
				copy(spare[r*width:(r+1)*width], src[r*ld:])
			}
			src, step = spare, width
		}
		dst, stride := w[i*4:], p.cols*4
		switch {
		case f.Kind == quant.Q4K:
			for b := range kc / superBlock {
				p.nibbles(dst[b*superBlock/4*stride:], stride, src[b*bytesQ4K+16:], step, ahead, 4, 4, 8)
			}
		case isFP4(f):
			p.nibblesFP4(dst, stride, src, step, ahead, kc/64)
		case p.direct:
			p.nibbles(dst, stride, src, step, ahead, kc/64, 8, 4)
		default:
			p.bytes(dst, stride, src, step, ahead, kc/32)
		}
	}
}

// unpackCodes unpacks a row of codes and guards the kernel, which may read 8 bytes
// past the last: at the end of the memory the last 32 codes go through a copy.
func (k *byteKernels) unpackCodes(dst, src []byte, bits int) {
	n := len(dst)
	switch {
	case bits == 8:
		copy(dst, src)
		return
	case cap(src)-len(src) < 8:
		n -= 32
		var last [32 + 8]byte
		copy(last[:], src[n/8*bits:])
		k.codes(dst[n:], last[:4*bits], bits)
	}
	if n > 0 {
		k.codes(dst[:n], src[:n/8*bits], bits)
	}
}
