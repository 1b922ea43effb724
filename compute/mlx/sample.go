package mlx

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
)

// argMax gives -1-i where i is the first logit that is not finite.
func (c *call) argMax() { c.results[0] = c.usable(c.largest(c.x(0))) }

// largest is the column of each row's largest value, I32 [R].
func (c *call) largest(x mlxc.Array) mlxc.Array { return c.g.As(c.g.ArgMax(x, -1, false), mlxc.I32) }

// first is the first column of each row in which a bool is true, I32 [R]; 0 if none is.
func (c *call) first(is mlxc.Array) mlxc.Array {
	return c.largest(c.g.Where(is, c.g.Int(1), c.g.Int(0)))
}

// usable is token, or what says that the row of logits has one that is not finite.
func (c *call) usable(token mlxc.Array) mlxc.Array {
	g, rows := c.g, c.dims(0)[0]
	wrong := g.As(g.ArgMin(g.IsFinite(c.x(0)), -1, true), mlxc.I32) // the first that is not, or 0; [rows, 1]
	fine := g.IsFinite(g.TakeAlong(c.x(0), wrong, 1))
	return g.Where(g.Reshape(fine, rows), token, g.Reshape(g.Subtract(g.Int(-1), wrong), rows))
}

// sample chooses for all rows alike, or row by row.
func (c *call) sample(o compute.Sample) {
	g, rows, v := c.g, c.dims(0)[0], c.dims(0)[1]
	logits := c.f32(0)
	if len(o.Rows) == 1 {
		c.results[0] = c.usable(c.pick(o.Rows[0], logits, c.x(1), rows, v))
		return
	}
	var tokens []mlxc.Array
	for i, how := range o.Rows {
		tokens = append(tokens, c.pick(how, g.Rows(logits, i, i+1, v), g.Rows(c.x(1), i, i+1, 2), 1, v))
	}
	c.results[0] = c.usable(g.Concatenate(0, tokens...))
}

// pick chooses a token of each of rows rows, by their keys.
func (c *call) pick(s compute.Sampling, logits, keys mlxc.Array, rows, v int) mlxc.Array {
	if s.Temp == 0 {
		return c.largest(logits)
	}
	g := c.g
	var uniform []mlxc.Array // [rows, 1] each
	for range s.Draws() {
		var u mlxc.Array
		keys, u = c.draw(keys, rows)
		uniform = append(uniform, u)
	}
	p := c.filter(s, g.Subtract(logits, g.LogSumExp(logits, -1, true)), uniform[0], v)
	top := g.Max(p, -1, true)
	weights := g.Exp(c.scaled(g.Subtract(p, top), float32(1/s.Temp)))
	sums := g.CumSum(weights, -1)
	total := g.Slice(sums, []int{0, v - 1}, []int{rows, v}, []int{1, 1})
	beyond := g.Greater(sums, g.Multiply(uniform[len(uniform)-1], total))
	last := g.Max(g.Where(beyond, g.Int(1), g.Int(0)), -1, false) // 0 where rounding leaves none
	return g.Where(g.Equal(last, g.Int(1)), c.first(beyond), c.largest(p))
}

// draw takes one value in [0, 1) of each row's stream, [rows, 1], and returns the keys behind it.
func (c *call) draw(keys mlxc.Array, rows int) (next, uniform mlxc.Array) {
	g := c.g
	const below1 = 1 - 1.0/(1<<24) // the largest float32 below 1
	var nexts, draws []mlxc.Array
	for i := range rows {
		words := g.RandomBits(g.Reshape(g.Rows(keys, i, i+1, 2), 2), 4) // two keys
		nexts = append(nexts, g.Reshape(c.vector(words, 0, 2), 1, 2))
		draws = append(draws, g.RandomBits(c.vector(words, 2, 4), 1))
	}
	bits := g.As(g.Concatenate(0, draws...), mlxc.F32)
	uniform = g.Minimum(c.scaled(bits, 1.0/(1<<32)), g.Float(below1))
	return g.Concatenate(0, nexts...), g.Reshape(uniform, rows, 1)
}

// filter drops log probabilities, to -Inf. u decides whether XTC is applied.
func (c *call) filter(s compute.Sampling, p, u mlxc.Array, v int) mlxc.Array {
	g := c.g
	none := g.Float(negInf)
	if s.TopP > 0 && s.TopP < 1 {
		p = c.topP(p, s.TopP, v)
	}
	if s.MinP > 0 {
		bar := g.Add(g.Max(p, -1, true), g.Float(float32(math.Log(s.MinP))))
		kept := g.Where(g.GreaterEqual(p, bar), p, none)
		if s.MinTokensToKeep > 1 {
			kept = g.Maximum(kept, c.topK(p, s.MinTokensToKeep, v))
		}
		p = kept
	}
	if s.XTCProbability > 0 {
		dropped := c.xtc(p, s.XTCThreshold, s.XTCKeep, v)
		p = g.Where(g.GreaterEqual(u, g.Float(float32(s.XTCProbability))), p, dropped)
	}
	if s.TopK > 0 {
		p = c.topK(p, s.TopK, v)
	}
	return p
}

// topK keeps the k likeliest tokens, of equal ones the first.
func (c *call) topK(p mlxc.Array, k, v int) mlxc.Array {
	if k >= v {
		return p
	}
	g := c.g
	order := g.ArgSort(g.Negative(p), -1)
	rank := g.Reshape(g.New(compute.IntBytes(ranks(v)), mlxc.I32, v), 1, v)
	return c.placed(p, order, g.GreaterEqual(g.Int(k-1), rank))
}

// ranks are 0, 1, 2 and so on.
func ranks(n int) []int32 {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(i)
	}
	return v
}

// placed keeps those of p whose place in an order is kept.
func (c *call) placed(p, order, keep mlxc.Array) mlxc.Array {
	g := c.g
	sorted := g.Where(keep, g.TakeAlong(p, order, 1), g.Float(negInf))
	return g.ScatterAdd(g.Multiply(g.As(order, mlxc.F32), g.Float(0)), order, sorted, 1)
}

// topP keeps the tokens whose cumulative probability, from the least likely up, is above 1-limit, and the likeliest.
func (c *call) topP(p mlxc.Array, limit float64, v int) mlxc.Array {
	g := c.g
	order := g.ArgSort(p, -1)
	sums := g.CumSum(g.Exp(g.TakeAlong(p, order, 1)), -1)
	last := g.Reshape(g.New(compute.IntBytes(ranks(v)), mlxc.I32, v), 1, v)
	keep := g.Where(g.Greater(sums, g.Float(float32(1-limit))), g.Int(1), g.As(g.Equal(last, g.Int(v-1)), mlxc.I32))
	return c.placed(p, order, g.Equal(keep, g.Int(1)))
}

// xtc drops every token above the threshold but the least likely of them.
func (c *call) xtc(p mlxc.Array, threshold float64, keep []int32, v int) mlxc.Array {
	g := c.g
	bar := g.Add(g.Float(float32(math.Log(threshold))), g.LogSumExp(p, -1, true))
	above := g.Greater(p, bar)
	least := g.Min(g.Where(above, p, g.Float(float32(math.Inf(1)))), -1, true)
	free := make([]byte, v)
	for i := range free {
		free[i] = 1
	}
	for _, k := range keep {
		if k >= 0 && int(k) < v {
			free[k] = 0
		}
	}
	drops := g.Where(g.New(free, mlxc.Bool, 1, v), g.Greater(p, least), g.New([]byte{0}, mlxc.Bool, 1))
	return g.Where(drops, g.Float(negInf), p)
}
