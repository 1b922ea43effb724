package cpu

import (
	"unsafe"

	"github.com/lentil-lm/lentil/quant"
)

// Products of packed 4-bit weights with few rows of 8-bit activations: a small batch,
// or the end of a prompt. To unpack a strip to memory would take longer than to
// multiply it, so codes go from the packed rows to registers, once for all rows of x.
// Sums take another order than those of a single row; rowwise_tile.go is for products
// that may not.
const (
	packedMost  = 8        // most rows of x
	packedCols  = 16       // rows of the weight in a strip
	packedAhead = 16 << 10 // bytes, at least, from what is multiplied to what is wanted next
)

// packedTile is one call of such a kernel: c (+)= x wᵀ for a panel of x (see panels8)
// and packedCols rows of the weight. A run is 32 weights, a group shares a scale.
type packedTile struct {
	x      *int8    // [runs·2, rows, piece]
	scale  *float32 // [runs, rows], of x; for groups of 16 [groups, rows]
	sum    *float32 // [groups, rows]: scale · Σ x of a group, for affine weights
	start  *int32   // like scale, for E2M1 weights: where sums start
	w      *byte    // rows of packed nibbles
	ld     int      // bytes from row to row
	next   uintptr  // address of what is wanted next; it is never read
	ws, wb *float32 // [groups, packedCols]: weight = ws · code + wb
	c      *float32 // [rows, packedCols]
	ldc    int      // from row to row of c
	runs   int
	groups int
	share  int // runs of a group, a power of two, less 1
	add    bool
}

// packedGeneric is what these kernels compute, for affine and E2M1 weights:
//
//	c[r, j] (+)= Σ_g wb[g, j]·sum[g, r] + Σ ws[g, j]·scale[r]·(Σ x·w)
//
// or, for E2M1 weights, start[r] + Σ x·w in place of Σ x·w, and no wb. The inner sums
// are over 32 values in integers, or over 16 where so many share a scale.
func packedGeneric(rows int, t *packedTile, kind quant.Kind) {
	const cols = packedCols
	k := t.runs * 32
	group := k / t.groups
	span := min(group, 32)
	x, w := unsafe.Slice(t.x, k*rows), unsafe.Slice(t.w, (cols-1)*t.ld+k/2)
	ws, scale := unsafe.Slice(t.ws, t.groups*cols), unsafe.Slice(t.scale, k/span*rows)
	c := unsafe.Slice(t.c, (rows-1)*t.ldc+cols)
	for r := range rows {
		for j := range cols {
			var total float32
			for s := range k / span {
				var dot int32
				if kind != quant.Affine {
					dot = unsafe.Slice(t.start, k/span*rows)[s*rows+r]
				}
				for i := s * span; i < (s+1)*span; i++ {
					code := w[j*t.ld+i/2] >> (i % 2 * 4) & 15
					// Of 32 values a panel has the even ones, then the odd ones.
					at := i/32*32 + i%2*16 + i%32/2
					if kind != quant.Affine {
						code = fp4Codes[code]
						at = i/16*16 + i%2*8 + i%16/2 // of 16
					}
					dot += int32(code) * int32(x[(at/piece*rows+r)*piece+at%piece])
				}
				total += ws[s*span/group*cols+j] * scale[s*rows+r] * float32(dot)
			}
			if kind == quant.Affine {
				sum, wb := unsafe.Slice(t.sum, t.groups*rows), unsafe.Slice(t.wb, t.groups*cols)
				for g := range t.groups {
					total += wb[g*cols+j] * sum[g*rows+r]
				}
			}
			if t.add {
				total += c[r*t.ldc+j]
			}
			c[r*t.ldc+j] = total
		}
	}
}

// linearPacked computes y = x Wᵀ + bias for t rows of x, at most packedMost.
func (d *Device) linearPacked(p *product8, x, bias []float32, t int) (err error) {
	m := p.m
	if p.x, err = d.panels8(x, t, m.Cols, t, m.Format); err != nil {
		return err
	}
	if bias != nil {
		d.fillRows(p.y, bias)
	}
	scales := roundUp(m.Cols/groupOf(m.Format), 4) * packedCols // see scaleColumns
	sizes := []int{scales, scales, packedCols * m.Format.RowBytes(m.Cols) / 4, packedMost * packedCols}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return err
	}
	d.pool.streams(blocksOf(m.Rows, packedCols), func(worker, strip int) {
		p.packedStrip(cut(private[worker*each:], sizes), strip*packedCols)
	})
	return nil
}

// packedStrip computes columns [n0, n0+packedCols) of y.
func (p *product8) packedStrip(area [][]float32, n0 int) {
	f, k, n, t, group := p.m.Format, p.m.Cols, min(packedCols, p.m.Rows-n0), p.x.t, groupOf(p.m.Format)
	ws, wb, rows, edge := area[0], area[1], byteView(area[2]), area[3]
	ld, sbytes := f.RowBytes(k), k/f.Group*f.DType.Size()
	p.packedScales(ws, p.m.Scales[n0*sbytes:(n0+n)*sbytes], sbytes, rows)
	if f.Kind == quant.Affine {
		p.packedScales(wb, p.m.Biases[n0*sbytes:(n0+n)*sbytes], sbytes, rows)
	}
	tile := &packedTile{x: &p.x.q[0], scale: &p.x.scale[0], sum: &p.x.sum[0], start: &p.x.start[0], w: &p.m.Data[n0*ld], ld: ld, ws: &ws[0], wb: &wb[0],
		c: &p.y[n0], ldc: p.m.Rows, runs: k / 32, groups: k / group, share: group/32 - 1, add: p.add}
	tile.next = uintptr(unsafe.Pointer(tile.w)) + uintptr(roundUp(packedAhead, packedCols*ld))
	if n == packedCols {
		p.k.packed(t, tile, f.Kind)
		return
	}
	copy(rows, p.m.Data[n0*ld:]) // the rows that are missing may be anything
	tile.w, tile.c, tile.ldc, tile.add = &rows[0], &edge[0], packedCols, false
	p.k.packed(t, tile, f.Kind)
	for r := range t {
		dst := p.y[r*p.m.Rows+n0:][:n]
		if !p.add {
			clear(dst)
		}
		for j := range dst {
			dst[j] += edge[r*packedCols+j]
		}
	}
}

// packedScales widens the scales or biases of a strip, so many bytes of each row. Where
// rows are missing they go through spare.
func (p *product8) packedScales(dst []float32, src []byte, bytes int, spare []byte) {
	if len(src) < packedCols*bytes {
		copy(spare, src)
		src = spare[:packedCols*bytes]
	}
	p.k.scaleColumns(dst, src, p.m.Format)
}

// scaleColumnsGeneric widens the scales, or biases, of packedCols rows to columns
// [groups, packedCols]. Scales of E2M1 weights are halved. dst has room for a multiple
// of 4 groups.
func scaleColumnsGeneric(dst []float32, src []byte, f quant.Format) {
	n := len(src) / packedCols
	groups := n / f.DType.Size()
	row := make([]float32, groups)
	for r := range packedCols {
		switch s := src[r*n : (r+1)*n]; f.Kind {
		case quant.Affine:
			quant.Floats(row, s, f.DType)
		default:
			generic.fpScales(row, s, f, 0.5)
		}
		for g, v := range row {
			dst[g*packedCols+r] = v
		}
	}
}
