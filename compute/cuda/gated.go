package cuda

import (
	"math"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// A gateGrad is the gradient of a SwiGLU, y those of gate and of up, that low-rank products of y may follow in its launch: see
// kernels/gated.cuh.
type gateGrad struct {
	y            [2]array
	gate, up, dy array
}

// gateGroup waits with a gateGrad for those products.
type gateGroup struct{ y driver.Ptr }

// takes reports whether p can be made in g's launch, beside those of list: one of a kind for each result.
func (g *gateGrad) takes(p thin, list []thin) bool {
	if g == nil || p.few > gatedFew || slices.ContainsFunc(list, func(o thin) bool { return p.after(o) || p.x.ptr == o.x.ptr && p.tall == o.tall }) {
		return false
	}
	for _, a := range []array{g.gate, g.up, g.dy, g.y[0], g.y[1]} {
		if p.c.overlaps(a) || p.s.overlaps(a) {
			return false
		}
	}
	return slices.ContainsFunc(g.y[:], func(y array) bool { return y.ptr == p.x.ptr && y.Shape.Equal(p.x.Shape) })
}

func (d *Device) swiGLUGrad(g gateGrad) {
	y := g.y[0]
	if y.DType != compute.BF16 || len(y.Shape) != 2 || y.Shape[0] == 0 || y.Shape.Elems() > math.MaxInt32 || y.Shape[1]%8 != 0 || gatedBlocks(y.Shape[0], y.Shape[1]) > 65535 {
		d.gated("swiglu_grad", y, g.y[1], g.gate, g.up, g.dy)
		return
	}
	d.join(gateGroup{y.ptr}, true, func() { d.gateAll(&g) }).gates = &g
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
