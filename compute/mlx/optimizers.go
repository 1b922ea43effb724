package mlx

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
)

// update builds the ops of optimizers.
func (c *call) update(op compute.Op) {
	switch o := op.(type) {
	case compute.Adam:
		c.adam(o)
	case compute.SGD:
		c.sgd(o)
	case compute.Adafactor:
		c.adafactor(o)
	case compute.Momentum:
		c.momentum(o)
	case compute.Descend:
		lr, _ := c.rate(2)
		c.results[0] = c.g.Subtract(c.x(0), c.g.Multiply(c.scaled(lr, o.Factor), c.x(1)))
		c.unlessGivenUp(2, c.x(0))
	case compute.UnitNorm:
		norm := c.g.Sqrt(c.g.Sum(c.g.Reshape(c.g.Square(c.x(0)), -1), 0, true))
		c.results[0] = c.g.Divide(c.x(0), c.g.Add(norm, c.g.Float(o.Eps)))
	case compute.Guard:
		c.guard()
	case compute.ClipFactor:
		c.clipFactor(o)
	case compute.SumSquares:
		c.results[0] = c.added(o.Accumulate, c.g.Sum(c.g.Reshape(c.g.Square(c.x(0)), -1), 0, true))
	}
}

// rate is the rate of an update, and its number.
func (c *call) rate(input int) (lr, step mlxc.Array) {
	return c.vector(c.x(input), 0, 1), c.vector(c.x(input), 1, 2)
}

// unlessGivenUp keeps all as it was where the update's number is 0. What was is in the order of the results.
func (c *call) unlessGivenUp(rate int, was ...mlxc.Array) {
	_, step := c.rate(rate)
	givenUp := c.g.Equal(step, c.g.Float(0))
	for i, old := range was {
		c.results[i] = c.g.Where(givenUp, old, c.results[i])
	}
}

func (c *call) adam(o compute.Adam) {
	g := c.g
	p, grad, m, v := c.x(0), c.x(1), c.x(2), c.x(3)
	lr, step := c.rate(4)
	b1, a1, b2, a2 := o.Decays()
	m2 := g.Add(g.Multiply(g.Float(b1), m), g.Multiply(g.Float(a1), grad))
	v2 := g.Add(g.Multiply(g.Float(b2), v), g.Multiply(g.Float(a2), g.Square(grad)))
	rate, root := lr, g.Sqrt(v2)
	if o.BiasCorrection {
		rate = g.Divide(rate, c.oneMinusPower(o.Beta1, step))
		root = g.Divide(root, g.Sqrt(c.oneMinusPower(o.Beta2, step)))
	}
	kept := g.Multiply(p, g.Subtract(g.Float(1), c.scaled(lr, o.WeightDecay)))
	p2 := g.Subtract(kept, g.Divide(g.Multiply(rate, m2), g.Add(root, g.Float(o.Eps))))
	c.results[0], c.results[1], c.results[2] = p2, m2, v2
	c.unlessGivenUp(4, p, m, v)
}

// oneMinusPower is 1 - beta^n, which float32 would lose most of for a beta near 1.
func (c *call) oneMinusPower(beta float64, n mlxc.Array) mlxc.Array {
	return c.g.Negative(c.g.Expm1(c.g.Multiply(n, c.g.Float(float32(math.Log(beta))))))
}

// decayed is the gradient with weight decay, by inputs p and g.
func (c *call) decayed(decay float32) mlxc.Array {
	if decay == 0 {
		return c.x(1)
	}
	return c.g.Add(c.x(1), c.scaled(c.x(0), decay))
}

func (c *call) sgd(o compute.SGD) {
	g := c.g
	p, u := c.x(0), c.x(2)
	lr, _ := c.rate(3)
	grad := c.decayed(o.WeightDecay)
	step, u2 := grad, u
	if o.Momentum > 0 {
		u2 = g.Add(c.scaled(u, o.Momentum), c.scaled(grad, 1-o.Dampening))
		if step = u2; o.Nesterov {
			step = g.Add(grad, c.scaled(u2, o.Momentum))
		}
	}
	c.results[0], c.results[1] = g.Subtract(p, g.Multiply(lr, step)), u2
	c.unlessGivenUp(3, p, u)
}

func (c *call) momentum(o compute.Momentum) {
	g := c.g
	grad := c.decayed(o.WeightDecay)
	keep, add := float32(o.Beta), float32(1-o.Beta)
	v2 := g.Add(c.scaled(c.x(2), keep), c.scaled(grad, add))
	u := v2
	if o.Nesterov {
		u = g.Add(c.scaled(grad, add), c.scaled(v2, keep))
	}
	c.results[0], c.results[1] = u, v2
	c.unlessGivenUp(3, g.Zeros(mlxc.F32, c.dims(0)...), c.x(2))
}

// adafactor takes a vector for a matrix of one row, whose factor is 1.
func (c *call) adafactor(o compute.Adafactor) {
	g, rate := c.g, len(c.in)-1
	p := c.x(0)
	lr, beta2 := c.adafactorRate(o, rate)
	if o.Scaled {
		lr = g.Multiply(lr, g.Maximum(c.rootMean(p), g.Float(o.MinScale)))
	}
	u := c.factored(o, beta2)
	clip := g.Maximum(g.Float(1), g.Divide(c.rootMean(u), g.Float(o.Clip)))
	u = g.Multiply(lr, g.Divide(u, clip))
	was := []mlxc.Array{p}
	for i := 1; i < len(c.results); i++ {
		was = append(was, c.x(1+i))
	}
	if last := len(c.results) - 1; o.Momentum {
		u = g.Add(c.scaled(c.x(1+last), float32(o.Beta1)), c.scaled(u, float32(1-o.Beta1)))
		c.results[last] = u
	}
	c.results[0] = g.Subtract(g.Subtract(p, g.Multiply(p, c.scaled(lr, o.WeightDecay))), u)
	c.unlessGivenUp(rate, was...)
}

// adafactorRate is the step size and how much of the second moments stays.
func (c *call) adafactorRate(o compute.Adafactor, input int) (lr, beta2 mlxc.Array) {
	g := c.g
	lr, step := c.rate(input)
	if o.RelativeStep {
		most, perStep := o.OwnStep()
		limit := g.Float(most)
		if o.WarmupInit {
			limit = c.scaled(step, perStep)
		}
		lr = g.Minimum(limit, g.Rsqrt(step))
	}
	return lr, g.Negative(g.Expm1(c.scaled(g.Log(step), float32(o.DecayRate))))
}

// rootMean is the root of the mean square of all elements, [1].
func (c *call) rootMean(x mlxc.Array) mlxc.Array {
	return c.g.Sqrt(c.mean(c.g.Reshape(c.g.Square(x), -1), 0, c.in[0].spec.Shape.Elems()))
}

// mean is the mean of n along an axis, which stays.
func (c *call) mean(x mlxc.Array, axis, n int) mlxc.Array {
	return c.scaled(c.g.Sum(x, axis, true), 1/float32(n))
}

// factored is the gradient over the roots of the second moments, whose new values become results.
func (c *call) factored(o compute.Adafactor, beta2 mlxc.Array) mlxc.Array {
	g, cols := c.g, c.dims(0).Cols()
	rows := c.dims(0).Rows() / o.Stack
	grad := g.Reshape(c.x(1), o.Stack, rows, cols)
	squares := g.Add(g.Square(grad), g.Float(o.Eps))
	moved := func(moment, mean mlxc.Array) mlxc.Array { // both as the mean is
		return g.Add(g.Multiply(beta2, moment), g.Multiply(g.Subtract(g.Float(1), beta2), mean))
	}
	u, column := grad, 1
	if len(c.dims(0)) > 1 {
		r := moved(g.Reshape(c.x(2), o.Stack, rows, 1), c.mean(squares, 2, cols))
		u = g.Multiply(u, g.Rsqrt(g.Divide(r, c.mean(r, 1, rows))))
		c.results[1], column = g.Reshape(r, o.Stack, rows), 2
	}
	col := moved(g.Reshape(c.x(1+column), o.Stack, 1, cols), c.mean(squares, 1, rows))
	c.results[column] = g.Reshape(col, c.out[column].spec.Shape...)
	return g.Reshape(g.Multiply(u, g.Rsqrt(col)), c.dims(0)...)
}

func (c *call) guard() {
	g := c.g
	fine := g.All(g.Reshape(g.IsFinite(c.x(0)), -1), 0, true)
	lr, step := c.rate(1)
	c.results[0] = g.Concatenate(0, lr, g.Where(fine, step, g.Float(0)))
}

// clipFactor is the smaller of 1 and Max over the norm.
func (c *call) clipFactor(o compute.ClipFactor) {
	const least = 1e-6 // of the divisor
	g := c.g
	factor := g.Divide(g.Float(o.Max), g.Add(g.Sqrt(c.x(0)), g.Float(least)))
	c.results[0] = g.Where(g.GreaterEqual(factor, g.Float(1)), g.Float(1), factor)
}
