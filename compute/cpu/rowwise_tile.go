package cpu

import (
	"unsafe"

	"github.com/lentil-lm/lentil/quant"
)

// RowWise products of packed 4-bit weights with several rows of x. The kernel reads
// and unpacks every weight once for all rows, and yet each row gets, to the bit, what
// it gets alone: the kernel adds up the same numbers in the same lanes and the same
// order as dotQ4 or dotFP4.
//
// 128 values of a row, a pair of runs of 64, are multiplied at once. Their codes are 64
// bytes of a row of the weight; x lies so that byte i of it meets nibble i:
//
//	weight   byte i      0        1        2        3      ...     63
//	         low       code 0   code 2   code 4   code 6        code 126
//	         high      code 1   code 3   code 5   code 7        code 127
//
//	x        0 to 63   v 0      v 2      v 4      v 6    ...    v 126     times the low nibbles
//	         64 to 127 v 1      v 3      v 5      v 7    ...    v 127     times the high nibbles
//
//	sums     lane      0                                 1 ...  15        lane l adds up v 8l to v 8l+7
//
// A unit is the values that one product of scales holds for: 32, or a group of the
// weight where that is smaller. A panel has the rows of x that go together, h of them,
// side by side (see rowwiseX):
//
//	values   | pair 0: row 0 | row 1 | ... | row h-1 | pair 1: row 0 | ...     128 int8 each
//	start    | the same                                                        16 int32, one a lane
//	scale    | units 0-15: row 0 | ... | row h-1 | units 16-31: row 0 | ...    16 float32, one a unit
//	sum      | groups 0-15: row 0 | ...                                        16 float32, one a group
const (
	rowwiseMost  = 8        // rows of x that go together
	rowwiseCache = 16 << 10 // bytes of x that stay in the first-level cache
	rowwiseStep  = 512      // sums may be set aside after a multiple of so many values
	rowwisePair  = 128      // values of a row of x that lie together
	rowwiseAhead = 12 << 10 // bytes, at least, from what is multiplied to what is wanted next
)

// rowwiseTile is one call of such a kernel: runs of 64 values of some rows of the
// weight, and the same values of the rows of x. The assembly reads it by these names.
type rowwiseTile struct {
	w     rowwiseWeight
	x     rowwiseX
	y     rowwiseSums
	units rowwiseUnits
	runs  int
}

// rowwiseWeight is some rows of the weight, from some value on. The kernel takes two
// at a time and counts them down.
type rowwiseWeight struct {
	rows       int      // an even number, or one
	codes      *byte    // packed nibbles
	ld         int      // bytes from a row to the next, 0 for one row
	skip       int      // bytes from the end of a row's runs to the next two rows
	ahead      int      // bytes from what is read to what is wanted later
	scales     *float32 // of the groups that the runs are in
	ldScales   int      // like ld
	skipScales int      // like skip
	biases     *float32 // [rows, groups], for affine weights
	groups     int
}

// rowwiseX is a panel, from some value on.
type rowwiseX struct {
	values *int8    // [pairs, rows of x, rowwisePair]
	scale  *float32 // [units/16, rows of x, 16]
	start  *int32   // [pairs, rows of x, 16], for E2M1 weights
	sum    *float32 // [groups/16, rows of x, 16], for affine weights
}

// rowwiseSums is where sums go.
type rowwiseSums struct {
	out    *float32 // [rows of x, rows of the weight]
	ld     int      // bytes from row to row of out
	second int      // 1: the sums of two rows of the weight lie side by side, 0: there is one
	kept   *float32 // [rows of the weight/2, rows of x, 2, 16] sums that are not complete
	resume bool     // go on from the sums in kept
	keep   bool     // leave sums in kept
	//lint:ignore U1000 the assembly puts sums here on their way to out
	totals [2 * rowwiseMost]float32
}

// rowwiseUnits says how scales go to lanes.
type rowwiseUnits struct {
	pairs  int        // that have sixteen units
	step   int        // bytes of the weight's scales for sixteen units
	spread *[16]int32 // which of the scales goes to which unit
	lanes  *[16]int32 // which unit goes to which lane of the first pair
	onward int32      // units from there to the next pair
}

// newRowwiseUnits makes them for units of so many values, and scales for so many.
func newRowwiseUnits(unit, group int) rowwiseUnits {
	return rowwiseUnits{pairs: 16 * unit / rowwisePair, step: 4 * 16 * unit / group,
		spread: &everyNth[log2(group/unit)], lanes: &everyNth[log2(unit/8)], onward: int32(rowwisePair / unit)}
}

// everyNth[i] has the number of each of sixteen neighbours when 1<<i share one:
// 0 0 1 1 2 2 and so on for i = 1.
var everyNth = func() (t [4][16]int32) {
	for i := range t {
		for lane := range t[i] {
			t[i][lane] = int32(lane >> i)
		}
	}
	return t
}()

// log2 is that of a power of two, at most 8.
func log2(n int) int {
	i := 0
	for 1<<i < n {
		i++
	}
	return i
}

// rowwiseGeneric is what these kernels compute, for affine and E2M1 weights; see dotQ4Generic
// and dotFP4Generic.
func rowwiseGeneric(rows int, t *rowwiseTile, kind quant.Kind) {
	w, units := &t.w, t.units
	unit := rowwisePair * units.pairs / 16
	n, group := t.runs*64, 64*unit/units.step
	pairs := blocksOf(n, rowwisePair)
	x, codes := unsafe.Slice(t.x.values, pairs*rows*rowwisePair), unsafe.Slice(w.codes, (w.rows-1)*w.ld+n/2)
	scales, scale := unsafe.Slice(w.scales, (w.rows-1)*w.ldScales/4+n/group), unsafe.Slice(t.x.scale, blocksOf(n, 16*unit)*rows*16)
	y := unsafe.Slice(t.y.out, (rows-1)*t.y.ld/4+w.rows)
	for j := range w.rows {
		for r := range rows {
			kept := unsafe.Slice(t.y.kept, roundUp(w.rows, 2)*rows*16)[((j/2*rows+r)*2+j%2)*16:][:16]
			total := t.firstSum(rows, j, r, kept, kind)
			for u := range n / unit {
				var dot int32
				for i := u * unit; i < (u+1)*unit; i++ {
					at, code := (i/rowwisePair*rows+r)*rowwisePair, codes[j*w.ld+i/2]>>(i%2*4)&15
					if kind != quant.Affine {
						code = fp4Codes[code]
						if i%8 == 0 {
							dot += unsafe.Slice(t.x.start, pairs*rows*16)[at/8+i%rowwisePair/8]
						}
					}
					dot += int32(code) * int32(x[at+i%2*64+i%rowwisePair/2])
				}
				total += scales[j*w.ldScales/4+u*unit/group] * scale[(u/16*rows+r)*16+u%16] * float32(dot)
			}
			if t.y.keep {
				clear(kept)
				kept[0] = total
			} else {
				y[r*t.y.ld/4+j] = total
			}
		}
	}
}

// firstSum is what row j of the weight and row r of x start with: the sum that was
// kept, or what the biases give.
func (t *rowwiseTile) firstSum(rows, j, r int, kept []float32, kind quant.Kind) (sum float32) {
	if t.y.resume {
		return total(kept)
	}
	if kind == quant.Affine {
		n := t.w.groups
		biases, x := unsafe.Slice(t.w.biases, t.w.rows*n), unsafe.Slice(t.x.sum, blocksOf(n, 16)*rows*16)
		for g := range n {
			sum += biases[j*n+g] * x[(g/16*rows+r)*16+g%16]
		}
	}
	return sum
}

// rowwiseRows is rows of x, rounded and arranged in panels of at most rowwiseMost rows.
type rowwiseRows struct {
	t     int // rows
	parts int // panels, of about the same number of rows each
	units rowwiseUnits
	// Of each row:
	unit, pairs int // values of a unit, pairs of runs
	scales      int // blocks of sixteen units
	groups      int // of the weight
	sums        int // blocks of sixteen groups

	q     []int8
	scale []float32
	start []int32
	sum   []float32
}

// part is the rows [lo, hi) of a panel.
func (x *rowwiseRows) part(i int) (lo, hi int) { return i * x.t / x.parts, (i + 1) * x.t / x.parts }

// from is the panel that begins with row lo and has h rows, from value c on. c is a
// multiple of rowwiseStep.
func (x *rowwiseRows) from(lo, h, c int) (p rowwiseX) {
	at := lo*x.pairs + c/rowwisePair*h
	p.values, p.scale = &x.q[at*rowwisePair], &x.scale[(lo*x.scales+c/(16*x.unit)*h)*16]
	if x.start != nil {
		p.start = &x.start[at*16]
	} else {
		p.sum = &x.sum[lo*x.sums*16] // of the whole row
	}
	return p
}

// arrangeRowwise arranges t rounded rows of k values for weights of a format.
func (d *Device) arrangeRowwise(a *activations8, t, k int, f quant.Format) (x rowwiseRows, err error) {
	unit, groups := min(f.Group, 32), a.sums
	x = rowwiseRows{t: t, parts: blocksOf(t, rowwiseMost), units: newRowwiseUnits(unit, f.Group),
		unit: unit, pairs: blocksOf(k, rowwisePair), scales: blocksOf(k, 16*unit), groups: groups, sums: blocksOf(groups, 16)}
	q, err := d.scratch.bytes(t * x.pairs * rowwisePair)
	if err != nil {
		return x, err
	}
	x.q = int8View(q)
	if x.scale, err = d.scratch.floats(t * x.scales * 16); err != nil {
		return x, err
	}
	if isFP4(f) {
		start, err := d.scratch.floats(t * x.pairs * 16)
		if err != nil {
			return x, err
		}
		x.start = int32View(start)
	} else if x.sum, err = d.scratch.floats(t * x.sums * 16); err != nil {
		return x, err
	}
	for part := range x.parts {
		lo, hi := x.part(part)
		for r := lo; r < hi; r++ {
			x.arrange(a, r, k, func(blocks, b int) int { return lo*blocks + b*(hi-lo) + r - lo })
		}
	}
	return x, nil
}

// arrange puts row r of a where it belongs: block b of so many goes to place at(blocks, b).
func (x *rowwiseRows) arrange(a *activations8, r, k int, at func(blocks, b int) int) {
	for p := range x.pairs {
		i := at(x.pairs, p)
		q, from := (*[rowwisePair]int8)(x.q[i*rowwisePair:]), a.q[r*k+p*rowwisePair:(r+1)*k]
		copy(q[:32], from)
		copy(q[64:96], from[32:])
		if len(from) > 64 {
			copy(q[32:64], from[64:])
			copy(q[96:], from[96:])
		} else {
			clear(q[32:64])
			clear(q[96:])
		}
		if x.start != nil {
			to := x.start[i*16:][:16]
			clear(to[copy(to, a.start[r*k/8+p*16:(r+1)*k/8]):])
		}
	}
	scale := a.scale[r*k/8 : (r+1)*k/8] // four for 32 values
	for b := range x.scales {
		to := x.scale[at(x.scales, b)*16:][:16]
		from := scale[b*x.unit*2:]
		for i := range to {
			if to[i] = 0; i*x.unit < len(from)*8 {
				to[i] = from[i*x.unit/32*4]
			}
		}
	}
	for b := range x.sums {
		to := x.sum[at(x.sums, b)*16:][:16]
		clear(to[copy(to, a.sum[r*x.groups+b*16:(r+1)*x.groups]):])
	}
}

// rowwise multiplies a block with every row of x, panel by panel. Of a long row it
// takes as many values as stay in the cache, and keeps the sums until the next ones.
func (v *vectorProduct) rowwise(b *weightBlock) {
	f, k := v.m.Format, v.m.Cols
	for part := range v.panels.parts {
		lo, hi := v.panels.part(part)
		span := max(rowwiseCache/(hi-lo)/rowwiseStep, 1) * rowwiseStep
		ahead := rowwiseAhead
		if k > span {
			ahead = max(ahead, rowBlock*f.RowBytes(k))
		}
		for c := 0; c < k; c += span {
			v.rowwiseSpan(b, lo, hi-lo, c, min(span, k-c), ahead)
		}
	}
}

// rowwiseSpan multiplies values [c, c+n) of a block with the h rows of x from row lo
// on. The kernel takes an even number of the block's rows, then the last one.
func (v *vectorProduct) rowwiseSpan(b *weightBlock, lo, h, c, n, ahead int) {
	m, f := v.m, v.m.Format
	unit, groups, ld := v.panels.unit, m.Cols/f.Group, f.RowBytes(m.Cols)
	tile := &b.tile
	tile.units, tile.x, tile.runs = v.panels.units, v.panels.from(lo, h, c), n/64
	tile.y.ld, tile.y.resume, tile.y.keep = 4*m.Rows, c > 0, c+n < m.Cols
	for r := b.r0; r < b.r1; {
		rows, w := (b.r1-r)&^1, &tile.w
		*w = rowwiseWeight{rows: rows, ld: ld, ldScales: 4 * groups, ahead: ahead, groups: groups,
			skip: 2*ld - 64*blocksOf(n, rowwisePair), skipScales: 8*groups - tile.units.step*blocksOf(n, 16*unit)}
		tile.y.second = 1
		if rows == 0 {
			rows, w.rows, w.ld, w.ldScales, tile.y.second = 1, 1, 0, 0, 0
		}
		w.codes, w.scales = &m.Data[r*ld+c/2], &b.scales[(r-b.r0)*groups+c/f.Group]
		if b.biases != nil {
			w.biases = &b.biases[(r-b.r0)*groups]
		}
		tile.y.out, tile.y.kept = &v.y[lo*m.Rows+r], &b.spare[(r-b.r0)*h*16]
		v.kn.rowwise(h, tile, f.Kind)
		r += rows
	}
}
