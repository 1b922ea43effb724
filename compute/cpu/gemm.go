package cpu

import "github.com/lentil-lm/lentil/compute"

// The matrix product follows Goto and van de Geijn (2008): both operands are
// packed into panels, a block of one side stays in the second-level cache, and
// an inner kernel multiplies panel by panel.
//
// The longer side of the output is cut into blocks, one task each. A task packs its
// own block, so that a quantized weight is unpacked once. The other side is packed
// before, by all workers, for all tasks.
const (
	blockK     = 256     // depth of a panel: both operands' panels fit the first-level cache
	blockSide  = 192     // most rows or columns of a task's block
	leastSide  = 48      // fewest rows or columns, where there are few blocks for the workers
	innerSide  = 96      // rows of a that go with one panel of b
	sharedSize = 4 << 20 // most float32 values of the shared side packed at once
)

// product is one call of gemm.
type product struct {
	kn      *kernels
	m, n, k int
	a, b    operand // [m, k] and [n, k]
	c       []float32
	ldc     int
	add     bool // add to c

	rank int     // terms of an update, 0 for none
	u, v operand // [m, rank] and [n, rank]
}

// span is a run of the terms that are summed up, no longer than blockK.
type span struct {
	own, shared operand
	l, kc       int
	at          int // of the shared side's panels in their slice
}

// gemmRun is how a product is carried out. The side that is cut into tasks' own blocks
// is the longer one.
type gemmRun struct {
	product
	pool        *pool
	ownsA       bool
	own, shared side
	width       int       // of the shared side, in whole panels
	depth       int       // terms of a slice, at most
	packed      []float32 // the shared side of a slice, [depth, width] in panels
	private     []float32 // of each worker: a packed block, tmpFloats, one tile
	block, each int       // size of that block, and of all
}

// gemm computes c[i*ldc+j] (+)= Σ_l a(i, l)·b(j, l) for i < m, j < n, l < k,
// plus Σ_l u(i, l)·v(j, l) for l < rank.
func (d *Device) gemm(p product) error {
	if p.m == 0 || p.n == 0 {
		return nil
	}
	if p.k == 0 {
		if !p.add {
			for i := range p.m {
				clear(p.c[i*p.ldc : i*p.ldc+p.n])
			}
		}
		return nil
	}
	p.kn = d.kernels
	g, err := d.newGemm(p)
	if err != nil {
		return err
	}
	for rest, add := g.spans(), p.add; len(rest) > 0; add = true {
		n := g.slice(rest)
		g.packShared(rest[:n])
		g.multiply(rest[:n], add)
		rest = rest[n:]
	}
	return nil
}

// newGemm cuts both sides and lends the memory.
func (d *Device) newGemm(p product) (*gemmRun, error) {
	g := &gemmRun{product: p, pool: d.pool, ownsA: p.m > p.n}
	g.own, g.shared = side{op: p.b, n: p.n, w: p.kn.nr}, side{op: p.a, n: p.m, w: p.kn.mr}
	if g.ownsA {
		g.own, g.shared = g.shared, g.own
	}
	g.own.cut(d.pool.threads)
	g.shared.cut(d.pool.threads)
	g.width = roundUp(g.shared.n, g.shared.w)
	g.depth = max(sharedSize/g.width, blockK)
	g.block = g.own.longest() * blockK
	g.each = g.block + tmpFloats + p.kn.mr*p.kn.nr
	var err error
	if g.packed, err = d.scratch.floats(g.width * min(g.depth, p.k+p.rank)); err != nil {
		return nil, err
	}
	g.private, err = d.scratch.floats(d.pool.threads * g.each)
	return g, err
}

// spans lists the runs of the product and those of the update.
func (g *gemmRun) spans() []span {
	var list []span
	add := func(own, shared operand, k int) {
		if g.ownsA {
			own, shared = shared, own
		}
		for l := 0; l < k; l += blockK {
			list = append(list, span{own: own, shared: shared, l: l, kc: min(blockK, k-l)})
		}
	}
	add(g.b, g.a, g.k)
	add(g.v, g.u, g.rank)
	return list
}

// slice returns how many of these spans go together, and gives them their places.
func (g *gemmRun) slice(spans []span) (n int) {
	for lines := 0; n < len(spans) && lines+spans[n].kc <= g.depth; n++ {
		spans[n].at = lines * g.width
		lines += spans[n].kc
	}
	return n
}

// mine are a worker's areas.
func (g *gemmRun) mine(worker int) (block, tmp, edge []float32) {
	all := g.private[worker*g.each:][:g.each]
	return all[:g.block], all[g.block : g.block+tmpFloats], all[g.block+tmpFloats:]
}

// packShared packs the shared side of a slice, a block to a task.
func (g *gemmRun) packShared(slice []span) {
	g.pool.run(g.shared.blocks, func(worker, task int) {
		_, tmp, _ := g.mine(worker)
		i0, n := g.shared.block(task)
		for _, s := range slice {
			dst := g.packed[s.at+i0*s.kc:][:roundUp(n, g.shared.w)*s.kc]
			s.shared.pack(g.kn, dst, g.shared.w, i0, n, s.l, s.kc, tmp)
		}
	})
}

// multiply packs the other side of a slice, a block to a task, and multiplies it.
func (g *gemmRun) multiply(slice []span, add bool) {
	g.pool.run(g.own.blocks, func(worker, task int) {
		block, tmp, edge := g.mine(worker)
		i0, n := g.own.block(task)
		for i, s := range slice {
			s.own.pack(g.kn, block[:roundUp(n, g.own.w)*s.kc], g.own.w, i0, n, s.l, s.kc, tmp)
			other := g.packed[s.at:][:g.width*s.kc]
			if g.ownsA {
				g.kn.block(block, other, n, g.n, s.kc, g.c[i0*g.ldc:], g.ldc, add || i > 0, edge)
			} else {
				g.kn.block(other, block, g.m, n, s.kc, g.c[i0:], g.ldc, add || i > 0, edge)
			}
		}
	})
}

// block multiplies packed panels a [m, kc] and b [n, kc] to c [m, n], with rows ld
// apart. edge has room for one tile.
func (kn *kernels) block(a, b []float32, m, n, kc int, c []float32, ld int, add bool, edge []float32) {
	mr, nr := kn.mr, kn.nr
	inner := innerSide / mr * mr
	for ib := 0; ib < m; ib += inner {
		for j := 0; j < n; j += nr {
			for i := ib; i < min(ib+inner, m); i += mr {
				at := i*ld + j
				if i+mr <= m && j+nr <= n {
					kn.tile(kc, &a[i*kc], &b[j*kc], &c[at], ld, add)
					continue
				}
				kn.tile(kc, &a[i*kc], &b[j*kc], &edge[0], nr, false)
				for r := range min(mr, m-i) {
					dst, src := c[at+r*ld:][:min(nr, n-j)], edge[r*nr:]
					if add {
						for q := range dst {
							dst[q] += src[q]
						}
					} else {
						copy(dst, src)
					}
				}
			}
		}
	}
}

// side is one operand with its extent n and the width w of its panels, cut into blocks:
// one to a task.
type side struct {
	op     operand
	n, w   int
	unit   int // blocks begin at multiples of it: whole panels that the operand allows
	blocks int
}

// cut makes blocks that fit the cache, several for each worker, and none longer than
// another by more than a unit.
func (s *side) cut(threads int) {
	align, _ := s.op.align()
	s.unit = s.w
	for s.unit%align != 0 {
		s.unit += s.w
	}
	most := max(blockSide/s.unit, 1)
	units := blocksOf(s.n, s.unit)
	s.blocks = max(blocksOf(units, most), min(tasksEach*threads, blocksOf(s.n, leastSide)))
	s.blocks = min(roundUp(s.blocks, threads), units)
}

// block returns where a task's block begins and its length.
func (s *side) block(task int) (i0, n int) {
	units := blocksOf(s.n, s.unit)
	i0 = task * units / s.blocks * s.unit
	return i0, min((task+1)*units/s.blocks*s.unit, s.n) - i0
}

// longest is the most that a block has, in whole panels.
func (s *side) longest() int {
	units := blocksOf(s.n, s.unit)
	return blocksOf(units, s.blocks) * s.unit
}

func roundUp(n, multiple int) int { return blocksOf(n, multiple) * multiple }

// blocksOf is how many blocks hold n.
func blocksOf(n, size int) int { return (n + size - 1) / size }

// matMul is compute.MatMul.
func (d *Device) matMul(o compute.MatMul, out, in []compute.Array) error {
	m, n, k := o.Dims([]compute.Spec{in[0].Spec, in[1].Spec})
	if o.RowWise && !o.TransA && m > narrowMost {
		return d.matMulRows(o, out[0], in)
	}
	if p, ok := narrowOf(o, out[0], in[0], in[1]); ok {
		return d.narrow(p)
	}
	a, b, _, _ := operands(o, in[0], in[1])
	if o.Alpha != 1 {
		a = scaled{a, o.Alpha}
	}
	return d.gemm(product{m: m, n: n, k: k, a: a, b: b, c: out[0].F32(), ldc: n, add: o.Accumulate})
}

// operands are both sides of a product, to be packed or to be read in place.
func operands(o compute.MatMul, left, right compute.Array) (a, b operand, aLines, bLines strided) {
	m, n, k := o.Dims([]compute.Spec{left.Spec, right.Spec})
	av, bv := left.F32(), right.F32()
	a, b = operand(rowMajor{av, k}), operand(colMajor{bv, n})
	aLines, bLines = strided{av, k, 1}, strided{bv, 1, n}
	if o.TransA {
		a, aLines = colMajor{av, m}, strided{av, 1, m}
	}
	if o.TransB {
		b, bLines = rowMajor{bv, k}, strided{bv, k, 1}
	}
	return a, b, aLines, bLines
}

// scaled is an operand times a number.
type scaled struct {
	operand
	alpha float32
}

func (o scaled) pack(kn *kernels, dst []float32, w, i0, n, l0, kc int, tmp []float32) {
	o.operand.pack(kn, dst, w, i0, n, l0, kc, tmp)
	for i := range dst {
		dst[i] *= o.alpha
	}
}

// linear is compute.Linear.
func (d *Device) linear(o compute.Linear, out, in []compute.Array) error {
	m, x, y := o.Weight.Of(in[1]), in[0].F32(), out[0].F32()
	t := in[0].Shape[0]
	var bias []float32
	if o.Bias {
		bias = in[2].Floats()
	}
	done, err := d.linear8(o, m, x, y, bias, t)
	if !done && err == nil {
		done, err = d.gemv(o, m, x, y, bias, t)
	}
	if err != nil {
		return err
	}
	if !done && o.RowWise && t > 1 {
		return d.linearRows(o, out[0], in)
	}
	if done {
		if o.Rank == 0 {
			return nil
		}
		return d.matMul(compute.MatMul{Alpha: o.Scale, Accumulate: true, RowWise: o.RowWise}, out, in[len(in)-2:])
	}
	if o.Bias {
		d.fillRows(y, bias)
	}
	p := product{m: t, n: m.Rows, k: m.Cols, a: rowMajor{x, m.Cols}, b: weightRowsOf(m), c: y, ldc: m.Rows, add: o.Bias, rank: o.Rank}
	if o.Rank > 0 {
		p.u, p.v = scaled{rowMajor{in[len(in)-2].F32(), o.Rank}, o.Scale}, colMajor{in[len(in)-1].F32(), m.Rows}
	}
	return d.gemm(p)
}

// linearGradInput is compute.LinearGradInput.
func (d *Device) linearGradInput(o compute.LinearGradInput, out, in []compute.Array) error {
	m := o.Weight.Of(in[1])
	p := product{m: in[0].Shape[0], n: m.Cols, k: m.Rows, a: rowMajor{in[0].F32(), m.Rows}, b: weightColsOf(m), c: out[0].F32(), ldc: m.Cols, add: o.Accumulate, rank: o.Rank}
	if o.Rank > 0 {
		p.u, p.v = rowMajor{in[len(in)-2].F32(), o.Rank}, rowMajor{in[len(in)-1].F32(), o.Rank}
	}
	return d.gemm(p)
}
