package mlx

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
)

// elements are the ops over elements, and over rows of one matrix. All compute in float32.
func (c *call) elements(op compute.Op) {
	g := c.g
	switch o := op.(type) {
	case compute.Add:
		c.results[0] = g.Add(c.f32(0), c.scaled(c.f32(1), o.Alpha))
	case compute.Scale:
		c.results[0] = g.Multiply(c.f32(0), g.Float(o.Alpha))
	case compute.ScaleBy:
		c.results[0] = g.Multiply(c.f32(0), c.x(1))
	case compute.ScaleRows:
		c.results[0] = g.Multiply(c.f32(0), g.Reshape(c.x(1), -1, 1))
	case compute.Fill:
		c.results[0] = g.BroadcastTo(g.Float(o.Value), o.Shape...)
	case compute.SwiGLU:
		gate := c.working(0)
		c.results[0] = g.Multiply(g.Multiply(gate, g.Sigmoid(gate)), c.working(1))
	case compute.SwiGLUGrad:
		c.swiGLUGrad()
	case compute.RMSNorm:
		c.rmsNorm(o)
	case compute.RMSNormGrad:
		c.rmsNormGrad(o)
	case compute.RopeTable:
		c.ropeTable(o)
	case compute.RoPE:
		c.rope(o)
	case compute.ArgMax:
		c.argMax()
	case compute.CopyRows:
		c.copyRows(o)
	case compute.Reshape:
		c.results[0] = g.Reshape(c.x(0), o.Shape...)
	case compute.Dropout:
		c.dropout(o)
	case compute.Magnitude:
		c.magnitude(o)
	case compute.MagnitudeGrad:
		c.magnitudeGrad()
	case compute.UpdatedNorm:
		c.updatedNorm(o)
	}
}

// working is input i in the type that elements are computed in: float32, unless results are rounded as they come.
func (c *call) working(i int) mlxc.Array {
	if c.d.rounds {
		return c.x(i)
	}
	return c.f32(i)
}

// one is 1 in the type of activations.
func (c *call) one() mlxc.Array { return c.g.As(c.g.Float(1), types[c.in[0].spec.DType]) }

// turned is a table of RoPE, input i, in that type.
func (c *call) turned(i int) mlxc.Array {
	if c.d.rounds {
		return c.g.As(c.x(i), types[c.in[0].spec.DType])
	}
	return c.x(i)
}

func (c *call) swiGLUGrad() {
	g := c.g
	gate, up, dy := c.working(0), c.working(1), c.working(2)
	s := g.Sigmoid(gate)
	c.results[1] = g.Multiply(dy, g.Multiply(gate, s))
	dy = g.Multiply(dy, up) // of silu
	if c.d.rounds {         // as MLX takes the product apart: one part through the gate, one through its sigmoid
		slope := g.Multiply(s, g.Subtract(c.one(), s))
		c.results[0] = g.Add(g.Multiply(dy, s), g.Multiply(g.Multiply(dy, gate), slope))
		return
	}
	one := g.Float(1)
	c.results[0] = g.Multiply(dy, g.Multiply(s, g.Add(one, g.Multiply(gate, g.Subtract(one, s)))))
}

func (c *call) rmsNorm(o compute.RMSNorm) {
	w := c.x(1)
	if c.d.rounds {
		w = c.g.As(w, types[c.in[0].spec.DType])
	}
	y := c.g.RMSNorm(c.g.Reshape(c.x(0), -1, c.dims(1)[0]), w, o.Eps)
	c.results[0] = c.g.Reshape(y, c.dims(0)...)
}

func (c *call) rmsNormGrad(o compute.RMSNormGrad) {
	g, d := c.g, c.dims(1)[0]
	x, w, dy := g.Reshape(c.f32(0), -1, d), c.f32(1), g.Reshape(c.f32(2), -1, d) // [T·n, D]
	share := g.Float(1 / float32(d))
	square := g.Add(g.Multiply(g.Sum(g.Square(x), -1, true), share), g.Float(o.Eps)) // the mean one
	inv := g.Rsqrt(square)
	unit, dyw := g.Multiply(x, inv), g.Multiply(dy, w)
	var dx mlxc.Array
	if c.d.rounds { // as MLX takes it apart; the product with w alone is of the type of x
		dyw = g.As(g.As(dyw, types[c.in[0].spec.DType]), mlxc.F32)
		dinv := g.Sum(g.Multiply(dyw, x), -1, true)
		dmean := g.Multiply(g.Multiply(g.Multiply(g.Float(-0.5), dinv), g.Divide(inv, square)), share)
		dx = g.Add(g.Multiply(x, g.Multiply(g.Float(2), dmean)), g.Multiply(dyw, inv))
	} else {
		mean := g.Multiply(g.Sum(g.Multiply(dyw, unit), -1, true), share)
		dx = g.Multiply(inv, g.Subtract(dyw, g.Multiply(unit, mean)))
	}
	c.results[0] = c.added(o.Accumulate, g.Reshape(dx, c.dims(0)...))
	if o.Weight {
		c.results[1] = g.Add(c.d.value(c.out[1]), g.Sum(g.Multiply(dy, unit), 0, false))
	}
}

func (c *call) ropeTable(o compute.RopeTable) {
	frequencies := c.x(1)
	if c.d.rounds {
		frequencies = c.powers()
	}
	angles := c.g.Multiply(c.g.Reshape(c.f32(0), -1, 1), frequencies)
	c.results[0], c.results[1] = c.scaled(c.g.Cos(angles), o.Scale), c.scaled(c.g.Sin(angles), o.Scale)
}

// powers are frequencies, input 1, and if they are powers of one number, those that MLX's rope makes in float32: last bits
// differ, and a cosine near 0 is rounded otherwise.
func (c *call) powers() mlxc.Array {
	f := c.d.ints(c.in[1]).F32()
	last := len(f) - 1
	if last < 1 {
		return c.x(1)
	}
	step := -math.Log(float64(f[last])) / float64(last)
	exponents := make([]float32, len(f))
	for i := range f {
		if power := math.Exp(-step * float64(i)); !(math.Abs(float64(f[i])-power) < 1e-6*power) {
			return c.x(1)
		}
		exponents[i] = -float32(i) * float32(step)
	}
	return c.g.Exp(c.g.New(compute.FloatBytes(exponents), mlxc.F32, len(f)))
}

// rope turns pairs by the table's angles: MLX's own rope knows one position and those after it, and not the several
// sequences of a packed row.
func (c *call) rope(o compute.RoPE) {
	g, t, half := c.g, c.dims(0)[0], c.dims(1)[1]
	heads := c.dims(0)[1] / o.HeadDim
	x := g.Reshape(c.working(0), t, heads, o.HeadDim)
	part := func(x mlxc.Array, from, to int) mlxc.Array {
		return g.Slice(x, []int{0, 0, from}, []int{t, heads, to}, []int{1, 1, 1})
	}
	turned := x
	if 2*half < o.HeadDim {
		turned = part(x, 0, 2*half)
	}
	// With the halves of each pair in each other's place, all pairs turn at once.
	var swapped mlxc.Array
	if o.Traditional {
		pairs := g.Reshape(turned, t, heads*half, 2)
		swapped = g.Reshape(g.Take(pairs, g.New(compute.IntBytes([]int32{1, 0}), mlxc.I32, 2), -1), t, heads, 2*half)
	} else {
		swapped = g.Concatenate(-1, part(x, half, 2*half), part(x, 0, half))
	}
	cos, sin := c.tables(o.Traditional, t, half)
	turned, swapped = g.Multiply(turned, cos), g.Multiply(swapped, sin)
	if o.Inverse {
		turned = g.Subtract(turned, swapped)
	} else {
		turned = g.Add(turned, swapped)
	}
	if 2*half < o.HeadDim {
		turned = g.Concatenate(-1, turned, part(x, 2*half, o.HeadDim))
	}
	c.results[0] = g.Reshape(turned, c.dims(0)...)
}

// tables are the cosines and sines of both halves of each pair, [t, 1, 2·half], the first one's sines negated. All layers
// share them: the slot of the cosines keeps them.
func (c *call) tables(traditional bool, t, half int) (cos, sin mlxc.Array) {
	g, b := c.g, c.in[1]
	if of := (tableOf{c.in[2], c.in[2].puts, traditional}); b.tables.of != of {
		each := func(a, b mlxc.Array) mlxc.Array {
			if traditional {
				a, b = g.Reshape(a, t, half, 1), g.Reshape(b, t, half, 1)
			}
			return g.Reshape(g.Concatenate(-1, a, b), t, 1, 2*half)
		}
		x, y := c.turned(1), c.turned(2)
		b.tables.free(c.d.lib)
		b.tables = tables{of, g.Keep(each(x, x)), g.Keep(each(g.Negative(y), y))}
	}
	return b.tables.cos, b.tables.sin
}

// gatherRows picks rows.
func (c *call) gatherRows() error {
	rows, err := c.indices(1, c.dims(0)[0])
	c.results[0] = c.g.Take(c.x(0), rows, 0)
	return err
}

// scatter adds each row of the first input to the row of sums that an input of indices tells.
func (c *call) scatter(input, rows int, sums mlxc.Array) error {
	at, err := c.indices(input, rows)
	if err != nil {
		return err
	}
	shape := c.dims(0)
	at = c.g.BroadcastTo(c.g.Reshape(at, shape[0], 1), shape...)
	c.results[0] = c.g.ScatterAdd(sums, at, c.f32(0), 0)
	return nil
}

func (c *call) copyRows(o compute.CopyRows) {
	shape := c.dims(0)
	x := c.g.As(c.x(0), types[o.To])
	if shape[0] > o.Rows {
		x = c.g.Slice(x, []int{0, 0}, []int{o.Rows, shape[1]}, []int{1, 1})
	}
	if shape[0] >= o.Rows {
		c.results[0] = x
		return
	}
	c.results[0] = c.g.Update(c.d.value(c.out[0]), x, []int{0, 0}, shape)
}

// dropout draws MLX's own bits, which are those of the definition.
func (c *call) dropout(o compute.Dropout) {
	g, n := c.g, c.in[0].spec.Shape.Elems()
	key := g.Reshape(g.Rows(c.x(1), o.Row, o.Row+1, 2), 2)
	limit, scale := o.Bound()
	kept := g.GreaterEqual(g.As(g.RandomBits(key, n), mlxc.F32), g.Float(limit))
	y := g.Where(g.Reshape(kept, c.dims(0)...), g.Float(0), g.Multiply(c.f32(0), g.Float(scale)))
	c.results[0] = y
}
