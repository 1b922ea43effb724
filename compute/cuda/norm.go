package cuda

import (
	"strconv"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// widest is the longest row that a warp normalizes; longer ones get a block.
const widest = 1024

// perRow queues a kernel of norms, which has a form for short rows and one for long ones.
func (d *Device) perRow(name string, t compute.DType, width int, rows int, args func(*call) *call) {
	if width <= widest {
		args(d.kernel(name + "_warp_" + letter(t))).blocks((rows + 7) / 8)
		return
	}
	args(d.kernel(name + "_block_" + letter(t))).blocks(rows)
}

// heldBy is how many times 8 values a thread of a block holds of a row, 0 where the row is for other kernels. Held rows are read
// once.
func heldBy(t compute.DType, width int) int {
	switch {
	case t != compute.BF16 || width <= widest || width%8 != 0 || width > 8192:
		return 0
	case width > 4096:
		return 4
	case width > 2048:
		return 2
	}
	return 1
}

func (d *Device) rmsNorm(o compute.RMSNorm, out, in []*buffer) {
	if n := (norm{out[0].array, in[0].array, in[1].array, o.Eps}); !d.addedNorm(n) && !d.oneNorm(n) {
		d.norms(n)
	}
}

// A norm is y = x / sqrt(mean of squares + eps) · w for each row of the width of w.
type norm struct {
	y, x, w array
	eps     float32
}

func (n norm) rows() int { return n.x.Shape.Elems() / n.w.Shape[0] }

func (d *Device) norms(n norm) {
	width, rows := n.w.Shape[0], n.rows()
	if c := heldBy(n.x.DType, width); c > 0 {
		d.kernel("rmsnorm_held_"+strconv.Itoa(c)).arrays(n.y, n.x, n.w).int(code(n.w.DType), width).float(n.eps).blocks(rows)
		return
	}
	d.perRow("rmsnorm", n.x.DType, width, rows, func(c *call) *call {
		return c.arrays(n.y, n.x, n.w).int(code(n.w.DType)).long(int64(rows)).int(width).float(n.eps)
	})
}

// A sum is y = a + alpha b.
type sum struct {
	y, a, b array
	alpha   float32
}

// sumGroup waits with a sum for the norm of its result.
type sumGroup struct{ y driver.Ptr }

// add is in the launch of a product of few tokens that is one of its terms, or in that of a norm of its rows.
func (d *Device) add(o compute.Add, out, in []*buffer) {
	s := sum{out[0].array, in[0].array, in[1].array, o.Alpha}
	switch {
	case d.oneAdd(o, s.y, s.a, s.b), d.manyAdd(o, s.y, s.a, s.b):
	case s.y.Shape.Rows() > 1 && heldBy(s.y.DType, s.y.Shape.Cols()) > 0:
		d.join(sumGroup{s.y.ptr}, true, func() { d.sum(s) }).sum = &s
	default:
		d.sum(s)
	}
}

func (d *Device) sum(s sum) { d.elements("add", s.alpha, s.y, s.a, s.b) }

// addedNorm launches the norm with the sum that waits, if that is of its rows.
func (d *Device) addedNorm(n norm) bool {
	w := &d.waits
	width := n.w.Shape[0]
	if w.same != any(sumGroup{n.x.ptr}) || w.sum.y.Shape.Cols() != width {
		return false
	}
	s := *w.sum
	w.begin = func() {
		d.kernel("rmsnorm_added_"+strconv.Itoa(heldBy(n.x.DType, width))).arrays(n.y, s.y, s.a, s.b).float(s.alpha).
			arrays(n.w).int(code(n.w.DType), width).float(n.eps).blocks(n.rows())
	}
	d.emit()
	return true
}

func (d *Device) rmsNormGrad(o compute.RMSNormGrad, out, in []*buffer) {
	x, w, dy := in[0].array, in[1].array, in[2].array
	width := w.Shape[0]
	rows := x.Shape.Elems() / width
	if o.Weight && rows > 0 {
		rstds := d.scratch(compute.F32, rows)
		d.kernel("rmsnorm_rstd_"+letter(x.DType)).arrays(rstds, x).long(int64(rows)).int(width).float(o.Eps).warps(rows)
		d.kernel("rmsnorm_weight_"+letter(x.DType)).arrays(out[1].array, x, dy, rstds).long(int64(rows)).int(width).blocks((width + 31) / 32)
	}
	if c := heldBy(x.DType, width); c > 0 {
		d.kernel("rmsnorm_grad_held_"+strconv.Itoa(c)).arrays(out[0].array, x, w).int(code(w.DType)).arrays(dy).int(width).float(o.Eps).flag(o.Accumulate).blocks(rows)
		return
	}
	d.perRow("rmsnorm_grad", x.DType, width, rows, func(c *call) *call {
		return c.arrays(out[0].array, x, w).int(code(w.DType)).arrays(dy).long(int64(rows)).int(width).float(o.Eps).flag(o.Accumulate)
	})
}
