package cpu

import "github.com/lentil-lm/lentil/quant"

// stripPlan is how the strips of a weight are cut and unpacked.
type stripPlan struct {
	group int // weights that share a scale
	depth int // of a block
	// codes unpacks a row of codes to bytes; nil where columns takes them as they are.
	codes func(dst, src []byte)
	// columns writes n codes of eight rows, ld bytes apart, as columns of a strip; the
	// bytes ahead of those read are wanted next.
	columns func(dst []byte, stride int, src []byte, ld, ahead, n int)
	// scales widens the scales of rows [r0, r1), and their biases where there are any.
	scales func(scales, biases []float32, m *quant.Matrix, r0, r1 int)
}

// planStrips decides how a weight is cut, or says that the kernels do not take it.
func (kn *kernels) planStrips(m *quant.Matrix) (p stripPlan, ok bool) {
	f, k := m.Format, &kn.bytes
	if k.tileRows == 0 {
		return p, false
	}
	p = stripPlan{group: groupOf(f), scales: kn.superScales}
	unit := superBlock // a block has a multiple of so many columns
	switch {
	case f.Kind == quant.Affine && 1<<f.Bits-1 <= k.maxCode:
		p.scales = kn.affineScales
		unit = p.planAffine(k, f, m.Cols)
	case f.Kind == quant.Q4K:
		p.columns = k.columnsQ4K
	case f.Kind == quant.Q6K:
		p.codes, p.columns = k.codesQ6K, k.columnsBytes
	case isFP4(f) && packsNibbles(f, m.Cols):
		unit, p.scales = nibbleRun, kn.fp4Scales
		p.columns = func(dst []byte, stride int, src []byte, ld, ahead, n int) {
			k.nibblesFP4(dst, stride, src, ld, ahead, n/nibbleRun)
		}
	default:
		return p, false
	}
	p.depth = roundUp(blocksOf(m.Cols, blocksOf(m.Cols, blockDepth)), unit)
	return p, true
}

// planAffine says how affine codes are unpacked; it returns the unit of a block.
func (p *stripPlan) planAffine(k *byteKernels, f quant.Format, cols int) (unit int) {
	p.columns = k.columnsBytes
	if packsNibbles(f, cols) {
		p.columns = func(dst []byte, stride int, src []byte, ld, ahead, n int) {
			k.nibbles(dst, stride, src, ld, ahead, n/nibbleRun, 8, 4)
		}
	} else if f.Bits != 8 {
		p.codes = func(dst, src []byte) { k.unpackCodes(dst, src, f.Bits) }
	}
	if cols%nibbleRun == 0 {
		return max(p.group, nibbleRun)
	}
	return p.group
}

// columnsBytes are the columns of codes of a byte each.
func (k *byteKernels) columnsBytes(dst []byte, stride int, src []byte, ld, ahead, n int) {
	k.bytes(dst, stride, src, ld, ahead, n/32)
}

// columnsQ4K are the columns of whole super-blocks.
func (k *byteKernels) columnsQ4K(dst []byte, stride int, src []byte, ld, ahead, n int) {
	for b := range n / superBlock {
		k.nibbles(dst[b*superBlock/4*stride:], stride, src[b*bytesQ4K+headQ4K:], ld, ahead, superBlock/nibbleRun, 4, 8)
	}
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

// strip is a task's work: the products of rows [t0, t1) of x with n rows of the weight
// from n0 on, n being at most cols.
type strip struct {
	*product8
	n0, n, cols, t0, t1 int
	tile                byteTile

	codes  []byte    // of a block, [depth/4, cols, 4]
	ws, wb []float32 // scales and biases, [k/group, cols]
	wide   []float32 // the same row by row
	spare  []byte    // codes of eight rows
	edge   []float32 // sums that do not go straight to y
}

// stripSizes are those of a strip's areas. Its edge has so many rows.
func (p *product8) stripSizes(edge int) []int {
	cols, depth, groups := p.k.tileCols, p.plan.depth, p.m.Cols/p.plan.group
	return []int{depth * cols / 4, groups * cols, groups * cols, 2 * groups * cols, 8 * depth / 4, edge * cols}
}

// strip computes the products of rows [t0, t1) of x with the rows of the weight from n0 on.
func (p *product8) strip(area [][]float32, n0, t0, t1 int) {
	cols := p.k.tileCols
	s := &strip{product8: p, n0: n0, n: min(cols, p.m.Rows-n0), cols: cols, t0: t0, t1: t1,
		codes: byteView(area[0]), ws: area[1], wb: area[2], wide: area[3], spare: byteView(area[4]), edge: area[5]}
	s.loadScales()
	for l := 0; l < p.m.Cols; l += p.plan.depth {
		kc := min(p.plan.depth, p.m.Cols-l)
		s.unpack(l, kc)
		s.block(l, kc)
	}
	for i, place := range p.places {
		copy(p.y[int(place)*p.m.Rows+n0:][:s.n], s.edge[i*cols:])
	}
}

// loadScales writes scales and biases of the strip as columns.
func (s *strip) loadScales() {
	groups := s.m.Cols / s.plan.group
	scales, biases := s.wide[:s.n*groups], s.wide[s.n*groups:2*s.n*groups]
	s.plan.scales(scales, biases, s.m, s.n0, s.n0+s.n)
	packRows(s.kn, s.ws, s.cols, s.cols, s.n, scales, groups, groups)
	if !isFP4(s.m.Format) {
		packRows(s.kn, s.wb, s.cols, s.cols, s.n, biases, groups, groups)
	}
}

// unpack writes the codes of columns [l, l+kc) as columns of the strip. Eight rows go at
// a time; where fewer are left, they go through a copy.
func (s *strip) unpack(l, kc int) {
	f := s.m.Format
	ld, width := f.RowBytes(s.m.Cols), f.RowBytes(kc)
	ahead := width
	if l+kc == s.m.Cols { // the next strip comes next
		ahead = s.cols*ld - f.RowBytes(l)
	}
	for i := 0; i < s.n; i += 8 {
		src, step, have := s.m.Data[(s.n0+i)*ld+f.RowBytes(l):], ld, min(8, s.n-i)
		switch {
		case s.plan.codes != nil:
			for r := range have {
				s.plan.codes(s.spare[r*kc:][:kc], src[r*ld:][:width])
			}
			src, step = s.spare, kc
		case have < 8:
			for r := range have {
				copy(s.spare[r*width:(r+1)*width], src[r*ld:])
			}
			src, step = s.spare, width
		}
		s.plan.columns(s.codes[i*4:], s.cols*4, src, step, ahead, kc)
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
		s.tile.x, s.tile.scale, s.tile.sum = &s.x.q[at], &s.x.scale[at/run], &s.x.sum[at/group]
		if isFP4(s.m.Format) {
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
