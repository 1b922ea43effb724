package cuda

import (
	"math"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// A maker makes activations that low-rank products of them may follow in its launch: see kernels/gated.cuh.
type maker interface {
	// takes reports whether p can be made in the launch, beside those of list.
	takes(p thin, list []thin) bool
}

// makerGroup waits with a maker of y for those products.
type makerGroup struct{ y driver.Ptr }

// clashes reports whether p writes what one of list reads or writes.
func (p thin) clashes(list ...array) bool {
	return slices.ContainsFunc(list, func(a array) bool { return p.c.overlaps(a) || p.s.overlaps(a) })
}

// A gating is y = silu(gate) · up.
type gating struct{ y, gate, up array }

// takes one product, y A.
func (g *gating) takes(p thin, list []thin) bool {
	return len(list) == 0 && !p.tall && p.few <= gatedFew && p.x.ptr == g.y.ptr && p.x.Shape.Equal(g.y.Shape) && !p.clashes(g.y, g.gate, g.up)
}

func (d *Device) swiGLU(out, in []*buffer) {
	g := gating{out[0].array, in[0].array, in[1].array}
	switch y := g.y; {
	case d.oneGated(y, g.gate, g.up), d.manyGated(y, g.gate, g.up):
	case y.DType == compute.BF16 && len(y.Shape) == 2 && y.Shape[1]%8 == 0:
		d.join(makerGroup{y.ptr}, true, func() { d.gate(&g) }).maker = &g
	default:
		d.gated("swiglu", y, g.gate, g.up)
	}
}

// gate launches it with the product that waits, if there is one.
func (d *Device) gate(g *gating) {
	list := d.waits.thin
	if len(list) == 0 {
		d.gated("swiglu", g.y, g.gate, g.up)
		return
	}
	rows := g.y.Shape[0]
	words, units := d.thinList(rows, list)
	d.kernel("swiglu_thin").words(words[:]...).int(rows).ptr(d.counters).arrays(g.y, g.gate, g.up).
		launch(driver.Grid{X: units, Y: (rows + narrowRows - 1) / narrowRows, Threads: 256})
}

// A gateGrad is the gradient of a SwiGLU, y those of gate and of up.
type gateGrad struct {
	y            [2]array
	gate, up, dy array
}

// takes one product of a kind for each result.
func (g *gateGrad) takes(p thin, list []thin) bool {
	if p.few > gatedFew || p.clashes(g.gate, g.up, g.dy, g.y[0], g.y[1]) || slices.ContainsFunc(list, func(o thin) bool { return p.after(o) || p.x.ptr == o.x.ptr && p.tall == o.tall }) {
		return false
	}
	return slices.ContainsFunc(g.y[:], func(y array) bool { return y.ptr == p.x.ptr && y.Shape.Equal(p.x.Shape) })
}

func (d *Device) swiGLUGrad(g gateGrad) {
	y := g.y[0]
	if y.DType != compute.BF16 || len(y.Shape) != 2 || y.Shape[0] == 0 || y.Shape.Elems() > math.MaxInt32 || y.Shape[1]%8 != 0 || gatedBlocks(y.Shape[0], y.Shape[1]) > 65535 {
		d.gated("swiglu_grad", y, g.y[1], g.gate, g.up, g.dy)
		return
	}
	d.join(makerGroup{y.ptr}, true, func() { d.gateAll(&g) }).maker = &g
}

// gateAll launches it with the products that wait.
func (d *Device) gateAll(g *gateGrad) {
	list := d.waits.thin
	if len(list) == 0 {
		d.gated("swiglu_grad", g.y[0], g.y[1], g.gate, g.up, g.dy)
		return
	}
	rows, width := g.y[0].Shape[0], g.y[0].Shape[1]
	var words thinList
	most := 0                // numbers that are sums of parts
	for _, p := range list { // narrow ones, then tall ones, each of its result
		at, parts := 0, gatedUnits(width)
		if p.tall {
			at, parts = 2, gatedBlocks(rows, width)
		}
		most = max(most, p.c.Shape.Elems())
		if p.x.ptr != g.y[0].ptr {
			at++
		}
		words.put(at, p, d.sums(p, parts), 0)
	}
	units, blocks := gatedUnits(width), gatedBlocks(rows, width)
	d.kernel("swiglu_grad_thin").words(words[:]...).arrays(g.y[0], g.y[1], g.gate, g.up, g.dy).int(rows, width).launch(driver.Grid{X: units, Y: blocks, Threads: 256})
	if units > 1 || blocks > 1 {
		d.kernel("thin_sums").words(words[:]...).int(rows, units, blocks).launch(driver.Grid{X: (most + gatedSums - 1) / gatedSums, Y: 4, Threads: 256})
	}
}

const (
	gatedFew = 8 // the most columns of a product
	// gatedShared is what 48 rows give two narrow products in eight warps, the few columns of two tall ones for 192 rows, and two strips
	// of 16 rows of what goes in.
	gatedShared = 2*8*48*8*4 + 192/16*2*512 + 2*6*256*16
	gatedSums   = 128 // sums of parts that a block adds up
)

// gatedUnits is how many units of columns the kernels cut rows into, gatedBlocks how many blocks of rows there are.
func gatedUnits(width int) int { return (width + 255) / 256 }
func gatedBlocks(rows, width int) int {
	each := 96
	if width >= 8192 {
		each = 192
	}
	return (rows + each - 1) / each
}
