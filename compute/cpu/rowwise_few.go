package cpu

import (
	"unsafe"

	"github.com/lentil-lm/lentil/quant"
)

// Products of packed 4-bit weights with a few rows of x that read and unpack every
// weight once, and yet add up for each row as the family's dotQ4 or dotFP4 does for one:
// the same numbers in the same lanes and order.
const (
	fewMost  = 8        // rows of x that go together
	fewSize  = 16 << 10 // bytes of x that stay in the first-level cache
	fewSpan  = 512      // values after which sums may be set aside
	fewPair  = 128      // values of a row of x that lie together
	fewAhead = 12 << 10 // bytes, at least, from what is multiplied to what is wanted next
)

// fewTile is one call of such a kernel: runs of 64 values of some rows of the weight,
// two at a time, and of x. A unit is 32 values, or as many as share a scale where these
// are fewer: what a product of scales holds for.
type fewTile struct {
	y          *float32   // [rows of x, rows]
	ldy        int        // bytes from row to row of y
	second     int        // 1: y of two rows lies side by side, 0: there is one row
	rows       int        // of the weight, an even number, or one
	w          *byte      // packed nibbles
	ld         int        // bytes from a row to the next, 0 for one row
	skip       int        // bytes from the end of runs of a row to those after the next
	ahead      int        // bytes from what is read to what is wanted later
	scales     *float32   // of the runs
	ldScales   int        // likewise
	skipScales int        // likewise
	step       int        // bytes of the scales for sixteen units
	pairs      int        // of runs in sixteen units
	spread     *[16]int32 // which of the scales goes to which unit
	lanes      *[16]int32 // which unit goes to which lane of the first pair
	onward     int32      // from there to the next pair
	biases     *float32   // [rows, groups], for affine weights
	groups     int
	x          *int8    // [pairs, rows of x, fewPair]: even values of two runs, then the odd ones
	scale      *float32 // [units/16, rows of x, 16]
	start      *int32   // [pairs, rows of x, 16] for each lane, for E2M1 weights
	sum        *float32 // [groups/16, rows of x, 16], for affine weights
	kept       *float32 // [rows/2, rows of x, 2, 16] sums that are not complete
	runs       int
	resume     bool // go on from the sums in kept
	keep       bool // leave sums in kept
	out        [2 * fewMost]float32
}

// fewGeneric is what these kernels compute, for affine and E2M1 weights; see dotQ4Generic
// and dotFP4Generic.
func fewGeneric(rows int, t *fewTile, kind quant.Kind) {
	unit := fewPair * t.pairs / 16
	n, group := t.runs*64, 64*unit/t.step
	pairs := blocksOf(n, fewPair)
	x, w := unsafe.Slice(t.x, pairs*rows*fewPair), unsafe.Slice(t.w, (t.rows-1)*t.ld+n/2)
	scales, scale := unsafe.Slice(t.scales, (t.rows-1)*t.ldScales/4+n/group), unsafe.Slice(t.scale, blocksOf(n, 16*unit)*rows*16)
	y := unsafe.Slice(t.y, (rows-1)*t.ldy/4+t.rows)
	for j := range t.rows {
		for r := range rows {
			var total float32
			kept := unsafe.Slice(t.kept, roundUp(t.rows, 2)*rows*16)[((j/2*rows+r)*2+j%2)*16:][:16]
			switch {
			case t.resume:
				for _, v := range kept {
					total += v
				}
			case kind == quant.Affine:
				biases, sum := unsafe.Slice(t.biases, t.rows*t.groups), unsafe.Slice(t.sum, blocksOf(t.groups, 16)*rows*16)
				for g := range t.groups {
					total += biases[j*t.groups+g] * sum[(g/16*rows+r)*16+g%16]
				}
			}
			for u := range n / unit {
				var dot int32
				for i := u * unit; i < (u+1)*unit; i++ {
					at, code := (i/fewPair*rows+r)*fewPair, w[j*t.ld+i/2]>>(i%2*4)&15
					if kind != quant.Affine {
						code = fp4Codes[code]
						if i%8 == 0 {
							dot += unsafe.Slice(t.start, pairs*rows*16)[at/8+i%fewPair/8]
						}
					}
					dot += int32(code) * int32(x[at+i%2*64+i%fewPair/2])
				}
				total += scales[j*t.ldScales/4+u*unit/group] * scale[(u/16*rows+r)*16+u%16] * float32(dot)
			}
			if t.keep {
				clear(kept)
				kept[0] = total
			} else {
				y[r*t.ldy/4+j] = total
			}
		}
	}
}

// fewRows are rows of x as fewTile has them, parts of at most fewMost.
type fewRows struct {
	q     []int8
	scale []float32
	start []int32
	sum   []float32
}

// every tells for 1, 2, 4 and so on which of so many neighbours one of sixteen is in.
var every = func() (t [4][16]int32) {
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

// fewParts is how many parts t rows of x go in, about the same number of rows each.
func fewParts(t int) int { return (t + fewMost - 1) / fewMost }

// blocksOf is how many blocks hold n.
func blocksOf(n, size int) int { return (n + size - 1) / size }

// fewRows rearranges t rounded rows of k values for weights of a format.
func (d *Device) fewRows(a *activations8, t, k int, f quant.Format) (x fewRows, err error) {
	unit := min(f.Group, 32)
	pairs, scales, groups := blocksOf(k, fewPair), blocksOf(k, 16*unit), len(a.sum)/t
	sums := blocksOf(groups, 16)
	q, err := d.scratch.bytes(t * pairs * fewPair)
	if err != nil {
		return x, err
	}
	x.q = int8View(q)
	if x.scale, err = d.scratch.floats(t * scales * 16); err != nil {
		return x, err
	}
	if isFP4(f) {
		start, err := d.scratch.floats(t * pairs * 16)
		if err != nil {
			return x, err
		}
		x.start = int32View(start)
	} else if x.sum, err = d.scratch.floats(t * sums * 16); err != nil {
		return x, err
	}
	parts := fewParts(t)
	for part := range parts {
		lo, hi := part*t/parts, (part+1)*t/parts
		for r := lo; r < hi; r++ {
			x.row(a, r, k, unit, groups, func(blocks, b int) int { return lo*blocks + b*(hi-lo) + r - lo })
		}
	}
	return x, nil
}

// row puts row r of a where it belongs; at tells of so many blocks where block b goes.
func (x *fewRows) row(a *activations8, r, k, unit, groups int, at func(blocks, b int) int) {
	pairs := blocksOf(k, fewPair)
	for p := range pairs {
		i := at(pairs, p)
		q, from := (*[fewPair]int8)(x.q[i*fewPair:]), a.q[r*k+p*fewPair:(r+1)*k]
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
	blocks := blocksOf(k, 16*unit)
	for b := range blocks {
		to := x.scale[at(blocks, b)*16:][:16]
		from := scale[b*unit*2:]
		for i := range to {
			if to[i] = 0; i*unit < len(from)*8 {
				to[i] = from[i*unit/32*4]
			}
		}
	}
	sums := blocksOf(groups, 16)
	for b := range sums {
		to := x.sum[at(sums, b)*16:][:16]
		clear(to[copy(to, a.sum[r*groups+b*16:(r+1)*groups]):])
	}
}

// fewRows computes outputs [r0, r1) of every row of x; kept has room for 16·fewMost
// values a row.
func (v *vectorProduct) fewRows(tile *fewTile, r0, r1 int, scales, biases, kept []float32) {
	m, f := v.m, v.m.Format
	k, ld, groups, unit, parts := m.Cols, f.RowBytes(m.Cols), m.Cols/f.Group, min(f.Group, 32), fewParts(v.t)
	pairs, blocks := blocksOf(k, fewPair), blocksOf(k, 16*unit)
	*tile = fewTile{
		ldy: 4 * m.Rows, ahead: fewAhead,
		step: 64 * unit / f.Group, pairs: 16 * unit / fewPair, spread: &every[log2(f.Group/unit)], lanes: &every[log2(unit/8)], onward: int32(fewPair / unit), groups: groups,
	}
	for part := range parts {
		lo, hi := part*v.t/parts, (part+1)*v.t/parts
		h := hi - lo
		span := max(fewSize/h/fewSpan, 1) * fewSpan
		if k > span {
			tile.ahead = max(fewAhead, rowBlock*ld)
		}
		for c := 0; c < k; c += span {
			n := min(span, k-c)
			at := lo*pairs + c/fewPair*h
			tile.skip, tile.skipScales = 2*ld-64*blocksOf(n, fewPair), 8*groups-tile.step*blocksOf(n, 16*unit)
			tile.x, tile.scale = &v.few.q[at*fewPair], &v.few.scale[(lo*blocks+c/(16*unit)*h)*16]
			if v.few.start != nil {
				tile.start = &v.few.start[at*16]
			}
			tile.runs, tile.resume, tile.keep = n/64, c > 0, c+n < k
			for r := r0; r < r1; {
				n := (r1 - r) &^ 1 // the kernel counts down tile.rows
				tile.rows, tile.second, tile.ld, tile.ldScales = n, 1, ld, 4*groups
				if n == 0 {
					n, tile.rows, tile.second, tile.ld, tile.ldScales = 1, 1, 0, 0, 0
				}
				tile.y, tile.w, tile.kept = &v.y[lo*m.Rows+r], &m.Data[r*ld+c/2], &kept[(r-r0)*h*16]
				tile.scales = &scales[(r-r0)*groups+c/f.Group]
				if biases != nil {
					tile.biases, tile.sum = &biases[(r-r0)*groups], &v.few.sum[lo*blocksOf(groups, 16)*16]
				}
				v.kn.few(h, tile, f.Kind)
				r += n
			}
		}
	}
}
