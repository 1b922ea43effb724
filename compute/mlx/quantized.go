package mlx

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
	"github.com/lentil-lm/lentil/quant"
)

// rounded are rows [n, cols] in affine integers, as quant.RuleCPU has them: words, scales and biases. Where a group has a
// value that is not finite, scales and biases are NaN and words those of before.
func (c *call) rounded(x mlxc.Array, f quant.Format, n, cols int, before mlxc.Array) (words, scales, biases mlxc.Array) {
	const minScale = 1e-7
	g, groups := c.g, cols/f.Group
	x = g.Reshape(g.As(x, mlxc.F32), n, groups, f.Group)
	lo, hi := g.Min(x, -1, true), g.Max(x, -1, true)
	levels := float32(int(1)<<f.Bits - 1)
	// The edge of larger magnitude becomes the bias, and the scale is negative when that is the maximum.
	low := g.Greater(g.Maximum(lo, g.Negative(lo)), g.Maximum(hi, g.Negative(hi)))
	scale := g.Maximum(g.Divide(g.Subtract(hi, lo), g.Float(levels)), g.Float(minScale))
	scale = g.Where(low, scale, g.Negative(scale))
	edge := g.Where(low, lo, hi)
	q0 := g.Round(g.Divide(edge, scale))
	isZero := g.Equal(q0, g.Float(0))
	scale = g.Where(isZero, scale, g.Divide(edge, q0))
	bias := g.Where(isZero, g.Float(0), edge)

	q := g.Round(g.Minimum(g.Maximum(g.Divide(g.Subtract(x, bias), scale), g.Float(0)), g.Float(levels)))
	t := types[f.DType]
	scales, biases = g.As(scale, t), g.As(bias, t)
	fine := g.Where(g.All(g.IsFinite(x), -1, true), g.IsFinite(scales), g.New([]byte{0}, mlxc.Bool, 1))
	fine = g.Where(g.IsFinite(biases), fine, g.New([]byte{0}, mlxc.Bool, 1))
	nan := c.notANumber(f.DType)
	scales, biases = g.Where(fine, scales, nan), g.Where(fine, biases, nan)

	per := f.Group * f.Bits / 32 // words of a group
	words = g.Where(fine, c.packed(g.As(q, mlxc.U32), f, n*groups, n, groups), g.Reshape(before, n, groups, per))
	return g.Reshape(words, n, groups*per), g.Reshape(scales, n, groups), g.Reshape(biases, n, groups)
}

// notANumber is a scalar NaN, with the bits that package quant gives it.
func (c *call) notANumber(t compute.DType) mlxc.Array {
	data := make([]byte, t.Size())
	quant.PutFloats(data, []float32{float32(math.NaN())}, t)
	return c.g.New(data, types[t])
}

// packed are integers of so many bits as a stream of words, [n, groups, words of a group].
func (c *call) packed(q mlxc.Array, f quant.Format, all, n, groups int) mlxc.Array {
	g, words := c.g, f.Group*f.Bits/32
	if 32%f.Bits == 0 { // whole integers in a word
		q = g.Reshape(q, all*words, 32/f.Bits)
		q = g.ShiftLeft(q, c.steps(32/f.Bits, f.Bits))
	} else { // bit by bit
		q = g.ShiftRight(g.Reshape(q, all*f.Group, 1), c.steps(f.Bits, 1))
		q = g.And(q, c.word(1))
		q = g.ShiftLeft(g.Reshape(q, all*words, 32), c.steps(32, 1))
	}
	return g.Reshape(g.Sum(q, -1, false), n, groups, words)
}

// word is a scalar U32.
func (c *call) word(v uint32) mlxc.Array {
	return c.g.New([]byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}, mlxc.U32)
}

// steps are n numbers from 0, U32 [1, n].
func (c *call) steps(n, by int) mlxc.Array {
	list := ranks(n)
	for i := range list {
		list[i] *= int32(by)
	}
	return c.g.New(compute.IntBytes(list), mlxc.U32, 1, n)
}

// quantizeRows rounds a matrix.
func (c *call) quantizeRows(o compute.QuantizeRows) {
	w := o.Weight
	c.results[0], c.results[1], c.results[2] = c.rounded(c.x(0), w.Format, w.Rows, w.Cols, c.d.value(c.out[0]))
}

// storeRounded puts rows of x into a quantized cache, whose three buffers are outputs from first on.
func (c *call) storeRounded(o compute.StoreRows, s compute.Span, first int) {
	g, n := c.g, s.To-s.From
	if n == 0 {
		for i := range 3 {
			c.results[first+i] = c.d.value(c.out[first+i])
		}
		return
	}
	width := func(i int) int { return c.out[first+i].spec.Shape[1] }
	words := g.Rows(c.d.value(c.out[first]), s.At, s.At+n, width(0))
	parts := [3]mlxc.Array{}
	parts[0], parts[1], parts[2] = c.rounded(g.Rows(c.x(0), s.From, s.To, o.Cols), o.Format, n, o.Cols, words)
	for i, part := range parts {
		c.results[first+i] = g.Update(c.d.value(c.out[first+i]), part, []int{s.At, 0}, []int{s.At + n, width(i)})
	}
}

// rowSquares widens a part of the weight at a time.
func (c *call) rowSquares(o compute.RowSquares) {
	const stretch = 32 // of a row, summed up by itself: the processor adds one by one
	g, w := c.g, o.Weight
	step := max(1, productBytes/(4*w.Cols))
	var all []mlxc.Array
	for from := 0; from < w.Rows; from += step {
		squares := g.Square(c.wide(0, from, min(from+step, w.Rows), w.Cols))
		if w.Cols%stretch == 0 {
			squares = g.Sum(g.Reshape(squares, -1, w.Cols/stretch, stretch), -1, false)
		}
		all = append(all, g.Sum(squares, -1, false))
	}
	c.results[0] = g.Concatenate(0, all...)
}

// wide are rows [from, to) of a weight in float32.
func (c *call) wide(input, from, to, cols int) mlxc.Array {
	g, b := c.g, c.in[input]
	if b.weight == nil || b.weight.packed.Packed == 0 {
		return g.As(g.Rows(b.array, from, to, cols), mlxc.F32)
	}
	part := b.weight.packed
	part.Packed = g.Rows(part.Packed, from, to, cols*part.Bits/32)
	part.Scales = g.Rows(part.Scales, from, to, cols/part.Group)
	if part.Biases != 0 { // MLX widens in the type of the scales
		part.Scales, part.Biases = g.As(part.Scales, mlxc.F32), g.As(g.Rows(part.Biases, from, to, cols/part.Group), mlxc.F32)
	}
	return g.Dequantize(part, mlxc.F32)
}
