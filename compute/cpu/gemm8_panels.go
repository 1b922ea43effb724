package cpu

import "github.com/lentil-lm/lentil/quant"

// panels8 are rows of x rounded to 8 bits, in panels of height rows; the last panel has
// as many as are left, rounded up to an even number. The values of a panel of h rows
// begin at (its first row)·k:
//
//	| depth 0-15: row 0 | row 1 | ... | row h-1 | depth 16-31: row 0 | ...     a piece of 16 values each
type panels8 struct {
	t, k, height int
	run          int       // values that share a scale here, at most 32 and a group
	q            []int8    // [panel][k/piece, h, piece]
	scale        []float32 // [panel][k/run, h]
	sum          []float32 // [panel][k/group, h]
	start        []int32   // [panel][k/run, h], for E2M1 weights in place of sum
}

// panels8 rounds t rows of k values to panels of height rows, in the order in which
// the weights of a format are unpacked.
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
	if blocksOf(t, height) < tasksEach*d.pool.threads {
		parts = min(d.pool.threads, blocksOf(k*min(t, height), leastRounded))
	}
	units := blocksOf(k, superBlock)
	d.pool.run(blocksOf(t, height)*parts, func(worker, task int) {
		p, part := task/parts, task%parts
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

// from is t rows from row i, an even number, on, for weights with groups of so many.
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

// rounding is how rows of k values are rounded for weights of a format.
type rounding struct {
	round  func(q []int8, scale, sum, x []float32)
	starts func(start []int32, x []int8)
	order  [4]int // where each piece of 64 values comes from
	copies int    // of a scale
	per    int    // values of a sum
	group  int
	fp4    bool
	sizes  []int // of a row, its scales, its sums, and its starts
}

func (d *Device) newRounding(k int, f quant.Format) rounding {
	r := rounding{round: d.kernels.quantize32, starts: d.kernels.starts, order: [4]int{0, 1, 2, 3}, copies: 1, per: 16, group: groupOf(f), fp4: isFP4(f)}
	if packsNibbles(f, k) { // a row has the even values of 64, then the odd ones; a panel has those of 32
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
	q, scales, sums := a.q[at:], a.scale[at/a.run:], a.sum[at/o.group:]
	for r := range min(a.height, a.t-first) {
		o.round(row, scale, sum, rowOf(first + r)[lo:hi])
		for i := range k / a.run {
			scales[i*h+r] = scale[i*a.run/32*o.copies]
		}
		if o.fp4 {
			a.putFP4(q[r*piece:], a.start[at/a.run+r:], row, h, o.starts, int32View(area[3]))
			continue
		}
		for i := range k / piece {
			*(*[piece]int8)(q[(i*h+r)*piece:]) = *(*[piece]int8)(row[(i&^3|o.order[i&3])*piece:])
		}
		for i := range k / o.group {
			sums[i*h+r] = total(sum[i*o.group/o.per : (i+1)*o.group/o.per])
		}
	}
}

// putFP4 puts a rounded row into a panel of h rows, for E2M1 weights: a piece has eight
// of its values with even numbers, then those with odd ones.
func (a *panels8) putFP4(q []int8, start []int32, row []int8, h int, starts func([]int32, []int8), eights []int32) {
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
