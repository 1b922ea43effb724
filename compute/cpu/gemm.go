package cpu

import "github.com/lentil-lm/lentil/compute"

// The matrix product follows Goto and van de Geijn (2008): both operands are
// packed into panels, a block of one side stays in the second-level cache, and
// an inner kernel multiplies panel by panel.
//
// The longer side of the output is cut into blocks, one task each; a task packs
// its own block, so that a quantized weight is unpacked once. The other side is
// packed before, by all workers, and shared.
const (
	blockK     = 256     // depth of a panel: both operands' panels fit the first-level cache
	blockSide  = 192     // most rows or columns of a task's block
	leastSide  = 48      // fewest, when there are few blocks for the workers
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
}

// gemm computes c[i*ldc+j] (+)= Σ_l a(i, l)·b(j, l) for i < m, j < n, l < k.
func (d *Device) gemm(p product) error {
	p.kn = d.kernels
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
	own, shared := side{p.b, p.n, p.kn.nr}, side{p.a, p.m, p.kn.mr}
	ownsA := p.m > p.n
	if ownsA {
		own, shared = shared, own
	}
	stepOwn, stepShared := own.step(d.pool.threads), shared.step(d.pool.threads)

	// The shared side goes in slices of depth whole blocks of blockK.
	width := roundUp(shared.n, shared.w)
	depth := min(roundUp(p.k, blockK), max(sharedSize/width/blockK, 1)*blockK)
	packed, err := d.scratch.floats(width * min(depth, p.k))
	if err != nil {
		return err
	}
	block := roundUp(stepOwn, own.w) * blockK
	each := block + tmpFloats + p.kn.mr*p.kn.nr
	private, err := d.scratch.floats(d.pool.threads * each)
	if err != nil {
		return err
	}
	for l0 := 0; l0 < p.k; l0 += depth {
		l1 := min(l0+depth, p.k)
		d.pool.run((shared.n+stepShared-1)/stepShared, func(worker, task int) {
			tmp := private[worker*each+block:][:tmpFloats]
			i0 := task * stepShared
			n := min(stepShared, shared.n-i0)
			for l := l0; l < l1; l += blockK {
				kc := min(blockK, l1-l)
				// Blocks of depth come one after another, each with all panels.
				dst := packed[(l-l0)*width+i0*kc:][:roundUp(n, shared.w)*kc]
				shared.op.pack(p.kn, dst, shared.w, i0, n, l, kc, tmp)
			}
		})
		d.pool.run((own.n+stepOwn-1)/stepOwn, func(worker, task int) {
			mine := private[worker*each:][:each]
			mem, tmp, edge := mine[:block], mine[block:block+tmpFloats], mine[block+tmpFloats:]
			i0 := task * stepOwn
			n := min(stepOwn, own.n-i0)
			for l := l0; l < l1; l += blockK {
				kc := min(blockK, l1-l)
				own.op.pack(p.kn, mem[:roundUp(n, own.w)*kc], own.w, i0, n, l, kc, tmp)
				other := packed[(l-l0)*width:][:width*kc]
				if ownsA {
					p.kn.block(mem, other, n, p.n, kc, p.c[i0*p.ldc:], p.ldc, p.add || l > 0, edge)
				} else {
					p.kn.block(other, mem, p.m, n, kc, p.c[i0:], p.ldc, p.add || l > 0, edge)
				}
			}
		})
	}
	return nil
}

// block multiplies packed panels a [m, kc] and b [n, kc] into c [m, n], whose
// rows lie ld apart. edge has room for one tile.
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

// side is one operand with the extent and the panel width it is packed with.
type side struct {
	op   operand
	n, w int
}

// step is the length of a task's block: small enough for the cache and for
// every worker to get several, and such that blocks begin at whole panels and
// where the operand allows.
func (s side) step(threads int) int {
	align, _ := s.op.align()
	unit := s.w
	for unit%align != 0 {
		unit += s.w
	}
	most := max(blockSide/unit, 1) * unit
	blocks := roundUp(max((s.n+most-1)/most, min(4*threads, (s.n+leastSide-1)/leastSide)), threads)
	return min(max(roundUp((s.n+blocks-1)/blocks, unit), unit), most)
}

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }

// matMul is compute.MatMul.
func (d *Device) matMul(o compute.MatMul, out, in []compute.Array) error {
	m, n, k := o.Dims([]compute.Spec{in[0].Spec, in[1].Spec})
	a, b := in[0].F32(), in[1].F32()
	p := product{m: m, n: n, k: k, a: rows{a, k}, b: cols{b, n}, c: out[0].F32(), ldc: n, add: o.Accumulate}
	if o.TransA {
		p.a = cols{a, m}
	}
	if o.TransB {
		p.b = rows{b, k}
	}
	if o.Alpha != 1 {
		p.a = scaled{p.a, o.Alpha}
	}
	return d.gemm(p)
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
	m, x, y := o.Weight.Matrix(in[1:]), in[0].F32(), out[0].F32()
	t := in[0].Shape[0]
	var bias []float32
	if o.Bias {
		bias = in[1+o.Weight.Inputs()].Floats()
	}
	if done, err := d.linear8(o, m, x, y, bias, t); done || err != nil {
		return err
	}
	if done, err := d.gemv(o, m, x, y, bias, t); done || err != nil {
		return err
	}
	if o.Bias {
		d.fillRows(y, bias)
	}
	return d.gemm(product{m: t, n: m.Rows, k: m.Cols, a: rows{x, m.Cols}, b: weightRowsOf(m), c: y, ldc: m.Rows, add: o.Bias})
}

// linearGradInput is compute.LinearGradInput.
func (d *Device) linearGradInput(o compute.LinearGradInput, out, in []compute.Array) error {
	m := o.Weight.Matrix(in[1:])
	return d.gemm(product{m: in[0].Shape[0], n: m.Cols, k: m.Rows, a: rows{in[0].F32(), m.Rows}, b: weightColsOf(m), c: out[0].F32(), ldc: m.Cols, add: o.Accumulate})
}
