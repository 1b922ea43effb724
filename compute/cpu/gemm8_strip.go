package cpu

import (
	"unsafe"

	"github.com/lentil-lm/lentil/quant"
)

// stripPlan is how the strips of a weight are cut and unpacked.
type stripPlan struct {
	group int  // weights that share a scale
	depth int  // of a block
	fp4   bool // E2M1 weights: sums start at starts, and there are no biases
	// codes unpacks a row of codes to bytes; nil where columns takes them as they are.
	codes   func(dst, src []byte)
	columns columnsKernel
	run     int // codes of a run of columns
	// scales widens the scales of rows [r0, r1), and their biases where there are any.
	scales func(scales, biases []float32, m *quant.Matrix, r0, r1 int)
}

// planStrips decides how a weight is cut, or says that the kernels do not take it.
func (kn *kernels) planStrips(m *quant.Matrix) (p stripPlan, ok bool) {
	f, k := m.Format, &kn.bytes
	if k.tileRows == 0 {
		return p, false
	}
	p = stripPlan{group: groupOf(f), columns: k.bytes, run: byteRun, scales: kn.superScales}
	unit := superBlock // a block has a multiple of so many columns
	switch {
	case f.Kind == quant.Affine && 1<<f.Bits-1 <= k.maxCode:
		p.scales = kn.affineScales
		if unit = p.group; m.Cols%nibbleRun == 0 {
			unit = max(unit, nibbleRun)
		}
		if packsNibbles(f, m.Cols) {
			p.columns, p.run = k.nibbles, nibbleRun
		} else if f.Bits != 8 {
			p.codes = func(dst, src []byte) { k.unpackCodes(dst, src, f.Bits) }
		}
	case f.Kind == quant.Q4K:
		p.columns, p.run = k.nibblesQ4K, superBlock
	case f.Kind == quant.Q6K:
		p.codes = k.codesQ6K
	case isFP4(f) && packsNibbles(f, m.Cols):
		p.columns, p.run, p.fp4, p.scales = k.nibblesFP4, nibbleRun, true, kn.fp4Scales
		unit = nibbleRun
	default:
		return p, false
	}
	p.depth = roundUp(blocksOf(m.Cols, blocksOf(m.Cols, blockDepth)), unit)
	return p, true
}

func (kn *kernels) affineScales(scales, biases []float32, m *quant.Matrix, r0, r1 int) {
	size := m.Format.DType.Size() * (m.Cols / m.Format.Group)
	kn.widen(scales, m.Scales[r0*size:r1*size], m.Format.DType)
	kn.widen(biases, m.Biases[r0*size:r1*size], m.Format.DType)
}

func (kn *kernels) fp4Scales(scales, _ []float32, m *quant.Matrix, r0, r1 int) {
	groups := m.Cols / m.Format.Group
	kn.fpScales(scales, m.Scales[r0*groups:r1*groups], m.Format, 0.5)
}

func (kn *kernels) superScales(scales, biases []float32, m *quant.Matrix, r0, r1 int) {
	ld := m.Format.RowBytes(m.Cols)
	kn.bytes.superScales(scales, biases, m.Data[r0*ld:r1*ld], m.Format.Kind)
}

// unpackCodes unpacks a row of codes and guards the kernel, which may read past the
// last: at the end of the memory the last 32 codes go through a copy.
func (k *byteKernels) unpackCodes(dst, src []byte, bits int) {
	n := len(dst)
	switch {
	case bits == 8:
		copy(dst, src)
		return
	case cap(src)-len(src) < codesOver:
		n -= 32
		var last [32 + codesOver]byte
		copy(last[:], src[n/8*bits:])
		k.codes(dst[n:], last[:4*bits], bits)
	}
	if n > 0 {
		k.codes(dst[:n], src[:n/8*bits], bits)
	}
}

// strip is the memory of a worker, and what it works on: the products of rows [t0, t1)
// of x with n rows of the weight from n0 on, n being at most cols.
type strip struct {
	*product8
	n0, n, cols, t0, t1 int
	tile                byteTile
	next                []byte // the weight from the next strip on, less what has been asked for

	codes  []byte    // of a block, [depth/4, cols, 4]
	ws, wb []float32 // scales and biases, [k/group, cols]
	wide   []float32 // the same row by row
	spare  []byte    // codes of eight rows
	edge   []float32 // sums that do not go straight to y
}

// strips lends every worker the memory for strips of p, and of products of its shape. It
// has an edge of so many rows.
func (d *Device) strips(p *product8, edge int) ([]strip, error) {
	cols, depth, groups := p.k.tileCols, p.plan.depth, p.m.Cols/p.plan.group
	sizes := []int{depth * cols / 4, groups * cols, groups * cols, 2 * groups * cols, 8 * depth / 4, edge * cols}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return nil, err
	}
	all := make([]strip, d.pool.threads)
	for i := range all {
		f := cut(private[i*each:], sizes)
		all[i] = strip{cols: cols, codes: byteView(f[0]), ws: f[1], wb: f[2], wide: f[3], spare: byteView(f[4]), edge: f[5]}
	}
	return all, nil
}

// run computes the products of rows [t0, t1) of x with the rows of the weight from n0 on.
func (s *strip) run(p *product8, n0, t0, t1 int) {
	s.product8, s.n0, s.n, s.t0, s.t1 = p, n0, min(s.cols, p.m.Rows-n0), t0, t1
	s.loadScales()
	ld := p.m.Format.RowBytes(p.m.Cols)
	src := p.m.Data[n0*ld : (n0+s.n)*ld]
	asks := s.ask(ld)
	for l := 0; l < p.m.Cols; l += p.plan.depth {
		kc := min(p.plan.depth, p.m.Cols-l)
		width := p.m.Format.RowBytes(kc)
		ahead := width
		if l+kc == p.m.Cols { // the next strip comes next
			ahead = (s.cols-1)*ld + width
		}
		if asks {
			ahead = 0
		}
		s.unpack(src, ld, width, ahead, kc)
		s.block(l, kc)
		src = src[width:]
	}
	for i, place := range p.places {
		copy(p.y[int(place)*p.m.Rows+n0:][:s.n], s.edge[i*s.cols:])
	}
}

// ask has the tile kernels ask for the next strip while they multiply this one, where they
// can and are called often enough. Asked for at once, as unpack does otherwise, it would
// hold up the processor: few lines can be on their way.
func (s *strip) ask(ld int) bool {
	tiles := blocksOf(s.t1-s.t0, s.k.tileRows)
	if s.next = nil; !s.k.tileAsks || s.cols*ld > tiles*s.m.Cols/piece*nextBytes {
		return false
	}
	if at := (s.n0 + s.cols) * ld; at < len(s.m.Data) {
		s.next = s.m.Data[at:]
	}
	return true
}

// loadScales writes scales and biases of the strip as columns.
func (s *strip) loadScales() {
	groups := s.m.Cols / s.plan.group
	scales, biases := s.wide[:s.n*groups], s.wide[s.n*groups:2*s.n*groups]
	s.plan.scales(scales, biases, s.m, s.n0, s.n0+s.n)
	packRows(s.kn, s.ws, s.cols, s.cols, s.n, scales, groups, groups)
	if !s.plan.fp4 {
		packRows(s.kn, s.wb, s.cols, s.cols, s.n, biases, groups, groups)
	}
}

// unpack writes kc codes of each row, width bytes from the beginning of src on, as
// columns of the strip; rows lie ld bytes apart. Eight rows go at a time; where fewer
// are left, they go through a copy.
func (s *strip) unpack(src []byte, ld, width, ahead, kc int) {
	runs := kc / s.plan.run
	for i := 0; i < s.n; i += 8 {
		from, step, have := src[i*ld:], ld, min(8, s.n-i)
		switch {
		case s.plan.codes != nil:
			for r := range have {
				s.plan.codes(s.spare[r*kc:][:kc], from[r*ld:][:width])
			}
			from, step = s.spare, kc
		case have < 8:
			for r := range have {
				copy(s.spare[r*width:(r+1)*width], from[r*ld:])
			}
			from, step = s.spare, width
		}
		s.plan.columns(s.codes[i*4:], s.cols*4, from, step, ahead, runs)
	}
}

// block multiplies columns [l, l+kc), which are unpacked, with all panels of x.
func (s *strip) block(l, kc int) {
	group, run := s.plan.group, s.x.run
	s.tile = byteTile{w: &s.codes[0], ws: &s.ws[l/group*s.cols], wb: &s.wb[l/group*s.cols],
		groups: kc / group, runs: group / run, pieces: run / piece}
	for i := s.t0; i < s.t1; i += s.k.tileRows {
		at, h := s.x.panel(i)
		at += l * h
		s.tile.next = uintptr(unsafe.Pointer(s.tile.w))
		if n := kc / piece * nextBytes; len(s.next) > 0 {
			s.tile.next, s.next = uintptr(unsafe.Pointer(&s.next[0])), s.next[min(n, len(s.next)):]
		}
		s.tile.x, s.tile.scale, s.tile.sum = &s.x.q[at], &s.x.scale[at/run], &s.x.sum[at/group]
		if s.plan.fp4 {
			s.tile.start = &s.x.start[at/run]
		}
		s.multiply(i, h, l > 0)
	}
}

// multiply runs the tile of the panel of h rows that begins with row i of x. add says
// that the strip has sums of earlier columns.
func (s *strip) multiply(i, h int, add bool) {
	tile, ldc := &s.tile, s.m.Rows
	if s.places != nil { // all rows stay in edge until the strip is done
		tile.c, tile.ldc, tile.add = &s.edge[i*s.cols], s.cols, add
		s.k.tile(h, tile)
		return
	}
	c := s.y[i*ldc+s.n0:]
	add = add || s.add
	if i+h <= s.t1 && s.n == s.cols {
		tile.c, tile.ldc, tile.add = &c[0], ldc, add
		s.k.tile(h, tile)
		return
	}
	tile.c, tile.ldc, tile.add = &s.edge[0], s.cols, false
	s.k.tile(h, tile)
	for r := range min(h, s.t1-i) {
		dst, src := c[r*ldc:][:s.n], s.edge[r*s.cols:][:s.n]
		if add {
			s.kn.addScaled(dst, dst, 1, src)
		} else {
			copy(dst, src)
		}
	}
}
