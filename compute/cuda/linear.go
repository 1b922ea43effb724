package cuda

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// manyTokens is the most that the kernels for decoding take, fewTokens the most queries of a sequence.
const manyTokens, fewTokens = 64, 32

// A product is one with a stored weight [rows, cols]: y [T, rows] = x [T, cols] Wᵀ, or with back y [T, cols] = x [T, rows] W.
type product struct {
	x, y       array
	w          *buffer
	rows, cols int
	back       bool
	accumulate bool // into y
	bias       *buffer
	u, v       array // update: y += scale · u v, v [rank, width of y]; with back vᵀ, v [width of y, rank]
	rank       int
	scale      float32
}

func (d *Device) linear(o compute.Linear, out, in []*buffer) {
	p := product{x: in[0].array, y: out[0].array, w: in[1], rows: o.Weight.Rows, cols: o.Weight.Cols, rank: o.Rank, scale: o.Scale}
	if o.Bias {
		p.bias = in[2]
	}
	p.update(in)
	d.multiply(p)
}

func (d *Device) linearGradInput(o compute.LinearGradInput, out, in []*buffer) {
	p := product{x: in[0].array, y: out[0].array, w: in[1], rows: o.Weight.Rows, cols: o.Weight.Cols, back: true, accumulate: o.Accumulate, rank: o.Rank, scale: 1}
	p.update(in)
	d.multiply(p)
}

func (p *product) update(in []*buffer) {
	if p.rank > 0 {
		p.u, p.v = in[len(in)-2].array, in[len(in)-1].array
	}
}

// reduced is the length of the sum, width that of a row of y.
func (p *product) reduced() int {
	if p.back {
		return p.rows
	}
	return p.cols
}

func (p *product) width() int { return p.y.Shape[1] }

// multiply chooses the kernel. All of them sum up in float32, in an order that the shapes decide, and round once.
func (d *Device) multiply(p product) {
	tokens := p.x.Shape[0]
	is4, half := weightOf(p.w).form == packed, p.x.DType == compute.BF16
	switch {
	case tokens == 0:
	case half && is4 && d.isOne(&p):
		d.one(p)
	case half && is4 && !p.back && !p.accumulate && tokens <= manyTokens && (p.rank == 0 || p.v.DType == compute.F32):
		d.many(p)
	case half && is4 && d.image.Hopper && p.reduced()%8 == 0 && (p.y.DType == compute.BF16 || !p.back && !p.accumulate):
		d.wgmma(p)
	case half && p.cols%8 == 0 && p.rows%8 == 0:
		d.mma(p)
	default:
		d.updated(p)
	}
}

// updated is plain, which knows no update, and adds that. Results of 16 bits are kept in float32 meanwhile.
func (d *Device) updated(p product) {
	if p.rank == 0 {
		d.plain(p)
		return
	}
	y, accumulate := p.y, p.accumulate
	if y.DType != compute.F32 {
		p.y, p.accumulate = d.scratch(compute.F32, y.Shape...), false
	}
	d.plain(p)
	bl, bj := int64(p.width()), int64(1)
	if p.back {
		bl, bj = 1, int64(p.rank)
	}
	d.general(p.y, p.u, p.v, p.rank, int64(p.rank), 1, bl, bj, p.scale, true, nil)
	n := y.Shape.Elems()
	switch {
	case y.DType == compute.F32:
	case accumulate:
		d.kernel("add_float_b").arrays(y, y, p.y).float(1).long(int64(n)).each8(n)
	default:
		d.kernel("cast_bf").arrays(y, p.y).long(int64(n)).each(n)
	}
}

// biasArgs adds a bias, or none.
func (c *call) biasArgs(p product) *call {
	if p.bias == nil {
		return c.ptr(0).int(0)
	}
	return c.ptr(p.bias.ptr).int(code(p.bias.array.DType))
}

// operands makes the update's matrices ready: bf16 of 64·steps columns, see update_operands in kernels/weights.cuh.
func (d *Device) operands(p product) (u, v array, steps int) {
	if p.rank == 0 {
		return u, v, 0
	}
	steps = (3*p.rank + 63) / 64
	p.u = d.inFloat(p.u)
	tokens, width := p.x.Shape[0], p.width()
	si, sl := int64(1), int64(width) // v [rank, width]
	if p.back {
		si, sl = int64(p.rank), 1
	}
	u, v = d.scratch(compute.BF16, tokens, 64*steps), d.scratch(compute.BF16, (width+127)/128*128, 64*steps)
	d.kernel("update_operands").arrays(u, v, p.u, p.v).int(tokens, v.Shape[0], width, p.rank, 64*steps).long(si).long(sl).float(p.scale).
		each((tokens + v.Shape[0]) * 8 * steps)
	return u, v, steps
}

// inFloat is an activation in float32, in work memory where it is not.
func (d *Device) inFloat(a array) array {
	if a.DType == compute.F32 {
		return a
	}
	n := a.Shape.Elems()
	f := d.scratch(compute.F32, a.Shape...)
	d.kernel("cast_f"+letter(a.DType)).arrays(f, a).long(int64(n)).each(n)
	return f
}

// mma is every card's way: the weight is widened to bf16 first.
func (d *Device) mma(p product) {
	w := d.widen(p.w, p.rows, p.cols, compute.BF16)
	name := "linear_"
	if p.back {
		name = "linear_grad_"
	}
	u, v, steps := d.operands(p)
	d.dense(name, p.y, p.x, w, u, v, p, p.reduced(), steps)
}

// dense queues the kernel for bf16 operands: y [T, R] = x [T, D] wᵀ, or w, see linear_dense.cuh.
func (d *Device) dense(name string, y, x, w, u, v array, p product, reduced, steps int) {
	t, width := y.Shape[0], y.Shape[1]
	d.kernel(name+letter(y.DType)).arrays(y, x, w, u, v).biasArgs(p).int(t, width, reduced, steps).flag(p.accumulate).
		launch(driver.Grid{X: (t + 127) / 128, Y: (width + 127) / 128, Threads: 256})
}

// plain is for float32 activations and sizes that no other kernel takes.
func (d *Device) plain(p product) {
	w := d.widen(p.w, p.rows, p.cols, compute.F32)
	bl, bj := int64(1), int64(p.cols)
	if p.back {
		bl, bj = bj, bl
	}
	d.general(p.y, p.x, w, p.reduced(), int64(p.reduced()), 1, bl, bj, 1, p.accumulate, p.bias)
}

// general is c [M, N] = alpha · a b (+ c, + bias), element (i, l) of a at i·ai + l·al, (l, j) of b at l·bl + j·bj.
func (d *Device) general(c, a, b array, k int, ai, al, bl, bj int64, alpha float32, accumulate bool, bias *buffer) {
	m, n := c.Shape[0], c.Shape[1]
	d.kernel("general_"+letter(c.DType)+letter(a.DType)+letter(b.DType)).arrays(c, a, b).int(m, n, k).long(ai).long(al).long(bl).long(bj).
		float(alpha).flag(accumulate).biasArgs(product{bias: bias}).launch(driver.Grid{X: (n + 63) / 64, Y: (m + 63) / 64, Threads: 256})
}

// narrow is how many columns count as few.
const narrow = 64

// matMul is a product of two activations or parameters.
func (d *Device) matMul(o compute.MatMul, out, in []*buffer) {
	c, a, b := out[0].array, in[0].array, in[1].array
	m, n, k := o.Dims([]compute.Spec{a.Spec, b.Spec})
	both := a.DType == compute.BF16 && b.DType == compute.BF16
	switch {
	case m == 0 || n == 0:
	case !o.TransA && n <= narrow && k >= 256 && b.DType == compute.F32:
		d.narrow(c, a, b, m, n, k, o)
	case o.TransA && !o.TransB && c.DType == compute.F32 && m <= narrow && a.DType == compute.F32: // zᵀ dy
		d.tall(c, a, b, k, m, n, o, false)
	case o.TransA && !o.TransB && c.DType == compute.F32 && n <= narrow && b.DType == compute.F32: // xᵀ dz
		d.tall(c, b, a, k, n, m, o, true)
	case both && !o.TransA && o.Alpha == 1 && k%8 == 0 && (o.TransB || n%8 == 0):
		name := "linear_grad_"
		if o.TransB {
			name = "linear_"
		}
		d.dense(name, c, a, b, array{}, array{}, product{accumulate: o.Accumulate}, k, 0)
	default:
		ai, al, bl, bj := int64(k), int64(1), int64(n), int64(1)
		if o.TransA {
			ai, al = 1, int64(m)
		}
		if o.TransB {
			bl, bj = 1, int64(k)
		}
		d.general(c, a, b, k, ai, al, bl, bj, o.Alpha, o.Accumulate, nil)
	}
}

// narrow is a product with few columns.
func (d *Device) narrow(c, a, b array, m, n, k int, o compute.MatMul) {
	if a.DType == compute.BF16 && c.DType == compute.F32 && k%8 == 0 && m <= narrowRows*countersHeld {
		d.thin(m, thin{c: c, x: a, s: b, few: n, many: k, turned: o.TransB, accumulate: o.Accumulate, alpha: o.Alpha})
		return
	}
	d.kernel("narrow_"+letter(c.DType)+letter(a.DType)).arrays(c, a, b).int(m, n, k).float(o.Alpha).flag(o.TransB).flag(o.Accumulate).
		launch(driver.Grid{X: (m + 7) / 8, Y: (n + 7) / 8, Threads: 256})
}

// tall is c = alpha · zᵀ x, or its transpose with wide: z [t, rank], x [t, width].
func (d *Device) tall(c, z, x array, t, rank, width int, o compute.MatMul, wide bool) {
	if x.DType == compute.BF16 && width%8 == 0 && t > 0 && width <= tallWidth*countersHeld {
		d.thin(t, thin{tall: true, c: c, x: x, s: z, few: rank, many: width, turned: wide, accumulate: o.Accumulate, alpha: o.Alpha})
		return
	}
	d.kernel("tall_"+letter(x.DType)).arrays(c, z, x).int(t, rank, width).float(o.Alpha).flag(wide).flag(o.Accumulate).
		launch(driver.Grid{X: (width + 63) / 64, Y: (rank + 7) / 8, Threads: 1024})
}
