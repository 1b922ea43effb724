package cpu

import (
	"sync/atomic"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// A product with few rows of x reads every weight for a handful of sums, so its
// time is that of reading the weights: they are unpacked in registers, row by
// row, and never written out.
const (
	fewExact = 6  // rows of x up to which this beats panels, for float32 activations
	fewDense = 4  // for dense weights, cheaper to unpack
	fewInt8  = 16 // for 8-bit activations, where there is no tile
	rowBlock = 16 // weight rows whose scales are widened at once
)

// activations8 is rows of x rounded to 8 bits in groups of 32.
//
// For affine 4-bit and E2M1 weights a run of 64 values lies as nibbles do in the bytes of packed
// 4-bit weights: the even ones of both groups, then the odd ones; and scales come
// four times, for the lanes of a vector. For other weights values and scales
// are in order.
type activations8 struct {
	q     []int8    // [T, K]
	scale []float32 // [T, K/32, 4] or [T, K/32]
	sum   []float32 // [T, K/group]: scale · Σ q over the weights' groups
	start []int32   // [T, K/8], for E2M1 weights in place of sum, see startsGeneric
}

// row returns values, scales and sums of row t.
func (a *activations8) row(t, values, scales, sums int) (q []int8, scale, sum []float32) {
	return a.q[t*values : (t+1)*values], a.scale[t*scales : (t+1)*scales], a.sum[t*sums : (t+1)*sums]
}

// groupOf is how many weights share a scale.
func groupOf(f quant.Format) int {
	switch f.Kind {
	case quant.Affine, quant.MXFP4, quant.NVFP4, quant.MXFP8:
		return f.Group
	case quant.Q4K:
		return 32
	case quant.Q6K:
		return 16
	}
	return 1
}

// gemv computes y = x Wᵀ + bias for few rows of x, or says that it does not take
// this case.
func (d *Device) gemv(o compute.Linear, m *quant.Matrix, x, y, bias []float32, t int) (done bool, err error) {
	f := m.Format
	super := f.Kind == quant.Q4K || f.Kind == quant.Q6K
	nibbles := f.Kind == quant.Affine && f.Bits == 4 && m.Cols%64 == 0
	fp4 := isFP4(f) && m.Cols%64 == 0 && d.kernels.dotFP4 != nil
	int8s := !o.Exact && (super || nibbles || fp4 || f.Kind == quant.Affine && d.kernels.bytes.dotCodes != nil)
	few := t
	if o.RowWise { // whatever takes a row alone: here rows know nothing of each other
		few = 1
	}
	switch {
	case int8s && few <= fewInt8:
	case f.Kind != quant.Dense && few <= fewExact:
	case f.Kind == quant.Dense && few <= fewDense && f.DType != quant.F64:
	default:
		return false, nil
	}
	v := &vectorProduct{kn: d.kernels, m: m, x: x, y: y, bias: bias, t: t, int8s: int8s, nibbles: nibbles}
	if int8s {
		if v.x8, err = d.quantize(x, t, m.Cols, f); err != nil {
			return false, err
		}
	}
	together := int8s && (nibbles || fp4) && t > 1 && d.kernels.few != nil
	if together {
		v.tiles = make([]fewTile, d.pool.threads)
		if v.few, err = d.fewRows(&v.x8, t, m.Cols, f); err != nil {
			return false, err
		}
	}
	groups := 0
	if f.HasScales() {
		groups = m.Cols / f.Group
	}
	spare := roundUp(f.RowBytes(m.Cols)+8, 4) / 4
	switch {
	case together:
		spare = (rowBlock + 1) * fewMost * 16 // a pair's second row may be none
	case super || f.Kind.IsFP():
		spare = m.Cols + spareFloats(m.Cols)
	case int8s:
		spare = m.Cols + 4
	}
	const over = 16 // kernels may read past the last scale
	sizes := []int{rowBlock*groups + over, rowBlock*groups + over, spare}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return false, err
	}
	d.pool.streams((m.Rows+rowBlock-1)/rowBlock, func(worker, b int) {
		v.rows(worker, b*rowBlock, min((b+1)*rowBlock, m.Rows), cut(private[worker*each:], sizes))
	})
	return true, nil
}

// streams is run for tasks that read memory one after another: each worker goes
// through a range of its own, so that what it asks for in advance it also needs,
// and helps with the others' when it is done.
func (p *pool) streams(n int, task func(worker, i int)) {
	ranges := min(p.threads, n)
	next := make([]atomic.Int64, ranges*8) // a cache line each
	p.run(ranges, func(worker, first int) {
		for j := range ranges {
			r := (first + j) % ranges
			lo, hi := r*n/ranges, (r+1)*n/ranges
			for {
				i := lo + int(next[r*8].Add(1)) - 1
				if i >= hi {
					break
				}
				task(worker, i)
			}
		}
	})
}

// quantize rounds t rows of k values for weights of a format.
func (d *Device) quantize(x []float32, t, k int, f quant.Format) (a activations8, err error) {
	group, fp4 := groupOf(f), isFP4(f)
	nibbles := fp4 || f.Kind == quant.Affine && f.Bits == 4 && k%64 == 0
	q, err := d.scratch.bytes(t * k)
	if err != nil {
		return a, err
	}
	run, sums, copies := d.kernels.quantize32, 16, 1
	if nibbles {
		run, sums, copies = d.kernels.quantize64, 32, 4
	}
	if a.scale, err = d.scratch.floats(t * k / 32 * copies); err != nil {
		return a, err
	}
	part, err := d.scratch.floats(t * k / sums)
	if err != nil {
		return a, err
	}
	a.q = int8View(q)
	if fp4 {
		start, err := d.scratch.floats(t * k / 8)
		if err != nil {
			return a, err
		}
		a.start = int32View(start)
	}
	d.pool.split(t, 1+4*grain/k, func(lo, hi int) {
		run(a.q[lo*k:hi*k], a.scale[lo*k/32*copies:hi*k/32*copies], part[lo*k/sums:hi*k/sums], x[lo*k:hi*k])
		if fp4 {
			d.kernels.starts(a.start[lo*k/8:hi*k/8], a.q[lo*k:hi*k])
		}
	})
	if fp4 {
		return a, nil
	}
	if a.sum, err = d.scratch.floats(t * k / group); err != nil {
		return a, err
	}
	for i := range a.sum {
		var s float32
		for _, v := range part[i*group/sums : (i+1)*group/sums] {
			s += v
		}
		a.sum[i] = s
	}
	return a, nil
}

// vectorProduct is one call of gemv.
type vectorProduct struct {
	kn         *kernels
	m          *quant.Matrix
	x, y, bias []float32
	x8         activations8
	tiles      []fewTile // of each worker
	few        fewRows   // in place of x8, for several rows of nibbles
	t          int
	int8s      bool
	nibbles    bool // 4-bit codes that the kernel takes packed
}

// rows computes outputs [r0, r1) of every row of x.
func (v *vectorProduct) rows(worker, r0, r1 int, area [][]float32) {
	m, f := v.m, v.m.Format
	n, rowBytes := m.Cols, f.RowBytes(m.Cols)
	w := m.Data[r0*rowBytes : r1*rowBytes]
	var scales, biases []float32
	if f.Kind == quant.Affine {
		g := n / f.Group
		at, end := r0*g*f.DType.Size(), r1*g*f.DType.Size()
		scales, biases = area[0][:(r1-r0)*g], area[1][:(r1-r0)*g]
		v.kn.widen(scales, m.Scales[at:end], f.DType)
		v.kn.widen(biases, m.Biases[at:end], f.DType)
	}
	fp8 := f.Kind == quant.MXFP8 && v.kn.dotFP8 != nil
	if f.Kind.IsFP() && (v.int8s || fp8) {
		g, factor := n/f.Group, float32(1)
		if v.int8s {
			factor = 0.5
		}
		scales = area[0][:(r1-r0)*g]
		v.kn.fpScales(scales, m.Scales[r0*g:r1*g], f, factor)
	}
	switch {
	case !v.int8s && !fp8 && (f.Kind == quant.Q4K || f.Kind == quant.Q6K || f.Kind.IsFP()):
		v.superRows(r0, r1, area[2])
		return
	case v.int8s && f.Kind == quant.Affine && !v.nibbles:
		v.codeRows(r0, r1, w, area[0], biases, area[2])
		return
	}
	if v.few.q != nil {
		v.fewRows(&v.tiles[worker], r0, r1, scales, biases, area[2])
		for t := range v.t {
			if v.bias != nil {
				y := v.y[t*m.Rows+r0 : t*m.Rows+r1]
				v.kn.addScaled(y, y, 1, v.bias[r0:r1])
			}
		}
		return
	}
	g, scales32 := n/groupOf(f), n/32
	if v.nibbles {
		scales32 *= 4
	}
	for t := range v.t {
		y, x := v.y[t*m.Rows+r0:t*m.Rows+r1], v.x[t*n:(t+1)*n]
		switch {
		case v.int8s && f.Kind.IsFP():
			v.kn.dotFP4(y, w, scales, v.x8.q[t*n:(t+1)*n], v.x8.scale[t*n/8:(t+1)*n/8], v.x8.start[t*n/8:(t+1)*n/8])
		case fp8:
			v.kn.dotFP8(y, w, scales, x)
		case v.int8s:
			q, scale, sum := v.x8.row(t, n, scales32, g)
			switch {
			case f.Kind == quant.Q4K:
				v.kn.dotQ4K(y, w, q, scale, sum)
			case f.Kind == quant.Q6K:
				v.kn.dotQ6K(y, w, q, scale, sum)
			default:
				v.kn.dotQ4(y, w, scales, biases, q, scale, sum)
			}
		case f.Kind == quant.Affine:
			v.affine(y, w, scales, biases, x, byteView(area[2]))
		default:
			v.kn.dotDense(y, w, x, f.DType)
		}
		if v.bias != nil {
			v.kn.addScaled(y, y, 1, v.bias[r0:r1])
		}
	}
}

// codeRows unpacks four rows at a time to a byte a weight, for all rows of x.
func (v *vectorProduct) codeRows(r0, r1 int, w []byte, scales, biases, spare []float32) {
	f, n := v.m.Format, v.m.Cols
	groups, rowBytes := n/f.Group, f.RowBytes(n)
	k := &v.kn.bytes
	part, unpacked := spare[:4], byteView(spare[4:])
	for r := r0; r < r1; r += 4 {
		have, at := min(4, r1-r), r-r0
		codes := w[at*rowBytes:]
		if f.Bits != 8 || have < 4 {
			for i := range have {
				k.unpackCodes(unpacked[i*n:(i+1)*n], codes[i*rowBytes:(i+1)*rowBytes], f.Bits)
			}
			codes = unpacked
		}
		for t := range v.t {
			q, scale, sum := v.x8.row(t, n, n/32, groups)
			k.dotCodes(part, codes[:4*n], scales[at*groups:(at+4)*groups], q, scale)
			for i := range have {
				s := part[i] + v.kn.dot(biases[(at+i)*groups:(at+i+1)*groups], sum)
				if v.bias != nil {
					s += v.bias[r+i]
				}
				v.y[t*v.m.Rows+r+i] = s
			}
		}
	}
}

// superRows widens each row of K-quants or small floats once for all rows of x.
func (v *vectorProduct) superRows(r0, r1 int, row []float32) {
	m := v.m
	for r := r0; r < r1; r++ {
		v.kn.weightRow(row[:m.Cols], m, r, 0, row[m.Cols:])
		for t := range v.t {
			s := v.kn.dot(v.x[t*m.Cols:(t+1)*m.Cols], row)
			if v.bias != nil {
				s += v.bias[r]
			}
			v.y[t*m.Rows+r] = s
		}
	}
}

// affine guards the kernel, which may read 8 bytes past the last weight: a row
// at the end of its memory goes through a copy.
func (v *vectorProduct) affine(y []float32, w []byte, scales, biases, x []float32, spare []byte) {
	n, g := len(y), len(scales)/len(y)
	if cap(w)-len(w) < 8 {
		n--
		row := len(w) / len(y)
		copy(spare, w[n*row:])
		v.kn.dotAffine(y[n:], spare[:row], scales[n*g:], biases[n*g:], x, v.m.Format.Bits)
	}
	if n > 0 {
		v.kn.dotAffine(y[:n], w, scales[:n*g], biases[:n*g], x, v.m.Format.Bits)
	}
}
