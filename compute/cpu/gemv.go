package cpu

import (
	"sync/atomic"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// A product with few rows of x reads every weight for a handful of sums, so its time
// is that of reading the weights: they are unpacked in registers, row by row, and never
// written out.
const (
	gemvFloats = 6  // most rows of float32 activations: panels are faster for more
	gemvDense  = 4  // the same for dense weights, which are cheaper to unpack
	gemvInt8   = 16 // most rows of 8-bit activations, where there is no tile for them
	rowBlock   = 16 // weight rows of a task, whose scales are widened at once
	scalesOver = 16 // float32 values that kernels may read past the last scale
	codesOver  = 8  // bytes that kernels may read past the last code of a row
	codeRows   = 4  // weight rows that dotCodes multiplies at once
	nibbleRun  = 64 // weights in a run of packed nibbles, as kernels take them
)

// packsNibbles says whether rows of k weights go to kernels as packed 4-bit codes.
func packsNibbles(f quant.Format, k int) bool {
	return k%nibbleRun == 0 && (isFP4(f) || f.Kind == quant.Affine && f.Bits == 4)
}

// gemvPlan is how gemv multiplies one weight.
type gemvPlan struct {
	most     int  // rows of x that it takes
	int8s    bool // x is rounded to 8 bits
	together bool // rows of x go together, see rowwise_tile.go
	// scale is what the scales of small floats are multiplied with when they are widened;
	// 0 leaves their widening to multiply.
	scale    float32
	spare    int // float32 values that multiply works in
	multiply func(v *vectorProduct, b *weightBlock)
}

// planGemv chooses the kernel for rows of cols weights.
func (kn *kernels) planGemv(f quant.Format, cols int, exact, several bool) gemvPlan {
	if !exact {
		if p := kn.planInt8(f, cols, several); p.most > 0 {
			return p
		}
	}
	switch {
	case f.Kind == quant.Dense && f.DType == quant.F64:
		return gemvPlan{}
	case f.Kind == quant.Dense:
		return gemvPlan{most: gemvDense, multiply: (*vectorProduct).dotDense}
	case f.Kind == quant.Affine && several && kn.dotWide != nil:
		return gemvPlan{most: gemvFloats, spare: wideRows * cols, multiply: (*vectorProduct).wideAffine}
	case f.Kind == quant.Affine:
		return gemvPlan{most: gemvFloats, spare: roundUp(f.RowBytes(cols)+codesOver, 4) / 4, multiply: (*vectorProduct).dotAffine}
	case f.Kind == quant.MXFP8 && kn.dotFP8 != nil:
		return gemvPlan{most: gemvFloats, scale: 1, multiply: (*vectorProduct).dotFP8}
	}
	return gemvPlan{most: gemvFloats, spare: cols + spareFloats(cols), multiply: (*vectorProduct).widened}
}

// planInt8 is planGemv for 8-bit activations: no plan where no kernel takes them.
func (kn *kernels) planInt8(f quant.Format, cols int, several bool) gemvPlan {
	p := gemvPlan{most: gemvInt8, int8s: true}
	switch {
	case f.Kind == quant.Q4K:
		p.multiply = (*vectorProduct).dotQ4K
	case f.Kind == quant.Q6K:
		p.multiply = (*vectorProduct).dotQ6K
	case f.Kind == quant.Affine && packsNibbles(f, cols):
		p.multiply = (*vectorProduct).dotQ4
	case packsNibbles(f, cols) && kn.dotFP4 != nil:
		p.scale, p.multiply = 0.5, (*vectorProduct).dotFP4
	case f.Kind == quant.Affine && kn.bytes.dotCodes != nil:
		p.spare, p.multiply = cols+codeRows, (*vectorProduct).codes
	default:
		return gemvPlan{}
	}
	if several && packsNibbles(f, cols) && kn.rowwise != nil {
		p.together, p.multiply = true, (*vectorProduct).rowwise
		p.spare = (rowBlock + 1) * rowwiseMost * 16 // a pair's second row may be none
	}
	return p
}

// activations8 is T rows of x rounded to 8 bits in groups of 32.
//
// Where weights go as packed nibbles, a run of 64 values lies as they do in their bytes:
// the even ones of both groups, then the odd ones; and scales come four times, for the
// lanes of a vector. For other weights values and scales are in order.
type activations8 struct {
	k, scales, sums int // values, scales and sums of a row

	q     []int8    // [T, K]
	scale []float32 // [T, K/32, 4] or [T, K/32]
	sum   []float32 // [T, K/group]: scale · Σ q over the weights' groups
	start []int32   // [T, K/8], for E2M1 weights in place of sum, see startsGeneric
}

// row returns values, scales and sums of row i.
func (a *activations8) row(i int) (q []int8, scale, sum []float32) {
	return a.q[i*a.k : (i+1)*a.k], a.scale[i*a.scales : (i+1)*a.scales], a.sum[i*a.sums : (i+1)*a.sums]
}

// starts returns where the sums of row i start, for E2M1 weights.
func (a *activations8) starts(i int) []int32 { return a.start[i*a.k/8 : (i+1)*a.k/8] }

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

// vectorProduct is one call of gemv.
type vectorProduct struct {
	kn         *kernels
	plan       gemvPlan
	m          *quant.Matrix
	x, y, bias []float32
	t          int          // rows of x and y
	x8         activations8 // x for the plans with int8s
	panels     rowwiseRows  // x for the plans with together
}

// weightBlock is rows [r0, r1) of the weight, and the memory of the worker that
// multiplies them.
type weightBlock struct {
	tile           rowwiseTile
	r0, r1         int
	w              []byte
	scales, biases []float32 // [rows, groups], widened

	scalesArea, biasesArea, spare []float32
}

// gemv computes y = x Wᵀ + bias for few rows of x, or says that it does not take
// this case.
func (d *Device) gemv(o compute.Linear, m *quant.Matrix, x, y, bias []float32, t int) (done bool, err error) {
	f := m.Format
	v := &vectorProduct{kn: d.kernels, m: m, x: x, y: y, bias: bias, t: t, plan: d.kernels.planGemv(f, m.Cols, o.Exact, t > 1)}
	rows := t
	if o.RowWise { // each counts for itself, so that all take the way that one takes
		rows = 1
	}
	if rows > v.plan.most {
		return false, nil
	}
	if v.plan.int8s {
		if v.x8, err = d.quantize(x, t, m.Cols, f); err != nil {
			return false, err
		}
	}
	if v.plan.together {
		if v.panels, err = d.arrangeRowwise(&v.x8, t, m.Cols, f); err != nil {
			return false, err
		}
	}
	blocks, err := d.weightBlocks(f, m.Cols, v.plan.spare)
	if err != nil {
		return false, err
	}
	d.pool.streams(blocksOf(m.Rows, rowBlock), func(worker, i int) {
		b := &blocks[worker]
		v.load(b, i*rowBlock, min((i+1)*rowBlock, m.Rows))
		v.plan.multiply(v, b)
		v.addBias(b)
	})
	return true, nil
}

// weightBlocks lends every worker a block for rows of cols weights, with so many
// spare values.
func (d *Device) weightBlocks(f quant.Format, cols, spare int) ([]weightBlock, error) {
	scales := scalesOver
	if f.HasScales() {
		scales += rowBlock * (cols / f.Group)
	}
	sizes := []int{scales, scales, spare}
	private, each, err := d.perWorker(sizes)
	if err != nil {
		return nil, err
	}
	blocks := make([]weightBlock, d.pool.threads)
	for i := range blocks {
		area := cut(private[i*each:], sizes)
		blocks[i].scalesArea, blocks[i].biasesArea, blocks[i].spare = area[0], area[1], area[2]
	}
	return blocks, nil
}

// load makes b the rows [r0, r1).
func (v *vectorProduct) load(b *weightBlock, r0, r1 int) {
	m, f := v.m, v.m.Format
	bytes := f.RowBytes(m.Cols)
	b.r0, b.r1, b.w = r0, r1, m.Data[r0*bytes:r1*bytes]
	switch {
	case f.Kind == quant.Affine:
		g := m.Cols / f.Group
		at, end := r0*g*f.DType.Size(), r1*g*f.DType.Size()
		b.scales, b.biases = b.scalesArea[:(r1-r0)*g], b.biasesArea[:(r1-r0)*g]
		v.kn.widen(b.scales, m.Scales[at:end], f.DType)
		v.kn.widen(b.biases, m.Biases[at:end], f.DType)
	case v.plan.scale != 0:
		g := m.Cols / f.Group
		b.scales = b.scalesArea[:(r1-r0)*g]
		v.kn.fpScales(b.scales, m.Scales[r0*g:r1*g], f, v.plan.scale)
	}
}

// addBias adds the bias of a block's rows to their products with every row of x.
func (v *vectorProduct) addBias(b *weightBlock) {
	if v.bias == nil {
		return
	}
	for t := range v.t {
		y := v.outputs(b, t)
		v.kn.addScaled(y, y, 1, v.bias[b.r0:b.r1])
	}
}

// outputs is where the products of a block and row t of x go.
func (v *vectorProduct) outputs(b *weightBlock, t int) []float32 {
	return v.y[t*v.m.Rows+b.r0 : t*v.m.Rows+b.r1]
}

// xRow is row t of x.
func (v *vectorProduct) xRow(t int) []float32 { return v.x[t*v.m.Cols : (t+1)*v.m.Cols] }

func (v *vectorProduct) dotDense(b *weightBlock) {
	for t := range v.t {
		v.kn.dotDense(v.outputs(b, t), b.w, v.xRow(t), v.m.Format.DType)
	}
}

// dotAffine guards the kernel, which may read past the last weight: a row at the end of
// its memory goes through a copy.
func (v *vectorProduct) dotAffine(b *weightBlock) {
	bits, n, g, bytes := v.m.Format.Bits, b.r1-b.r0, v.m.Cols/v.m.Format.Group, v.m.Format.RowBytes(v.m.Cols)
	var last []byte
	if cap(b.w)-len(b.w) < codesOver {
		n--
		last = byteView(b.spare)[:bytes]
		copy(last, b.w[n*bytes:])
	}
	for t := range v.t {
		x, y := v.xRow(t), v.outputs(b, t)
		if n > 0 {
			v.kn.dotAffine(y[:n], b.w, b.scales[:n*g], b.biases[:n*g], x, bits)
		}
		if n < len(y) {
			v.kn.dotAffine(y[n:], last, b.scales[n*g:], b.biases[n*g:], x, bits)
		}
	}
}

// wideRows is how many weight rows are widened at a time for several rows of x: as many as
// a kernel takes.
const wideRows = 2

// wideAffine is dotAffine for several rows of x: the weights are unpacked once for all.
func (v *vectorProduct) wideAffine(b *weightBlock) {
	bits, n, g, bytes := v.m.Format.Bits, v.m.Cols, v.m.Cols/v.m.Format.Group, v.m.Format.RowBytes(v.m.Cols)
	for r := 0; r < b.r1-b.r0; r += wideRows {
		end := min(r+wideRows, b.r1-b.r0)
		w := b.spare[:(end-r)*n]
		v.kn.affineRow(w, b.w[r*bytes:end*bytes], b.scales[r*g:end*g], b.biases[r*g:end*g], bits)
		v.kn.dotWide(v.y[b.r0+r:], v.m.Rows, w, v.x, n, v.t)
	}
}

func (v *vectorProduct) dotFP8(b *weightBlock) {
	for t := range v.t {
		v.kn.dotFP8(v.outputs(b, t), b.w, b.scales, v.xRow(t))
	}
}

func (v *vectorProduct) dotFP4(b *weightBlock) {
	for t := range v.t {
		q, scale, _ := v.x8.row(t)
		v.kn.dotFP4(v.outputs(b, t), b.w, b.scales, q, scale, v.x8.starts(t))
	}
}

func (v *vectorProduct) dotQ4(b *weightBlock) {
	for t := range v.t {
		q, scale, sum := v.x8.row(t)
		v.kn.dotQ4(v.outputs(b, t), b.w, b.scales, b.biases, q, scale, sum)
	}
}

func (v *vectorProduct) dotQ4K(b *weightBlock) {
	for t := range v.t {
		q, scale, sum := v.x8.row(t)
		v.kn.dotQ4K(v.outputs(b, t), b.w, q, scale, sum)
	}
}

func (v *vectorProduct) dotQ6K(b *weightBlock) {
	for t := range v.t {
		q, scale, sum := v.x8.row(t)
		v.kn.dotQ6K(v.outputs(b, t), b.w, q, scale, sum)
	}
}

// codes unpacks codeRows rows at a time to a byte a weight, for all rows of x.
func (v *vectorProduct) codes(b *weightBlock) {
	f, n := v.m.Format, v.m.Cols
	groups, rowBytes := n/f.Group, f.RowBytes(n)
	k := &v.kn.bytes
	sums, unpacked := b.spare[:codeRows], byteView(b.spare[codeRows:])
	for r := 0; r < b.r1-b.r0; r += codeRows {
		have, codes := min(codeRows, b.r1-b.r0-r), b.w[r*rowBytes:]
		if f.Bits != 8 || have < codeRows {
			for i := range have {
				k.unpackCodes(unpacked[i*n:(i+1)*n], codes[i*rowBytes:(i+1)*rowBytes], f.Bits)
			}
			codes = unpacked
		}
		scales := b.scalesArea[r*groups : (r+codeRows)*groups] // those of missing rows may be anything
		for t := range v.t {
			q, scale, sum := v.x8.row(t)
			k.dotCodes(sums, codes[:codeRows*n], scales, q, scale)
			y := v.outputs(b, t)[r:]
			for i := range have {
				y[i] = sums[i] + v.kn.dot(b.biases[(r+i)*groups:(r+i+1)*groups], sum)
			}
		}
	}
}

// widened widens each row of K-quants or small floats once for all rows of x.
func (v *vectorProduct) widened(b *weightBlock) {
	m := v.m
	row, spare := b.spare[:m.Cols], b.spare[m.Cols:]
	for r := b.r0; r < b.r1; r++ {
		v.kn.weightRow(row, m, r, 0, spare)
		for t := range v.t {
			v.y[t*m.Rows+r] = v.kn.dot(v.xRow(t), row)
		}
	}
}

// streams is run for tasks that read memory one after another: each worker goes
// through a range of its own, so that it needs what it asks for in advance, and helps
// with the others' when it is done.
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

// roundsEach is how many values are rounded to 8 bits in the time of one other element.
const roundsEach = 4

// quantize rounds t rows of k values for weights of a format.
func (d *Device) quantize(x []float32, t, k int, f quant.Format) (a activations8, err error) {
	group, fp4 := groupOf(f), isFP4(f)
	q, err := d.scratch.bytes(t * k)
	if err != nil {
		return a, err
	}
	round, sums, copies := d.kernels.quantize32, 16, 1
	if packsNibbles(f, k) {
		round, sums, copies = d.kernels.quantize64, 32, 4
	}
	a.k, a.scales = k, k/32*copies
	if a.scale, err = d.scratch.floats(t * a.scales); err != nil {
		return a, err
	}
	parts, err := d.scratch.floats(t * k / sums)
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
	d.pool.split(t, 1+roundsEach*grain/k, func(lo, hi int) {
		round(a.q[lo*k:hi*k], a.scale[lo*a.scales:hi*a.scales], parts[lo*k/sums:hi*k/sums], x[lo*k:hi*k])
		if fp4 {
			d.kernels.starts(a.start[lo*k/8:hi*k/8], a.q[lo*k:hi*k])
		}
	})
	if fp4 {
		return a, nil
	}
	a.sums = k / group
	if a.sum, err = d.scratch.floats(t * a.sums); err != nil {
		return a, err
	}
	for i := range a.sum {
		a.sum[i] = total(parts[i*group/sums : (i+1)*group/sums])
	}
	return a, nil
}

func total(x []float32) (sum float32) {
	for _, v := range x {
		sum += v
	}
	return sum
}
