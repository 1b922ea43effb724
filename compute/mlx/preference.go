package mlx

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
)

// bounds are an input of row numbers that rise up to the rows of input 0.
func (c *call) bounds(input int) ([]int32, error) {
	list := c.d.ints(c.in[input]).I32()
	at := int32(0)
	for _, v := range list {
		if v < at || int(v) > c.dims(0)[0] {
			return nil, fmt.Errorf("bound %d does not lie between %d and the end, %d", v, at, c.dims(0)[0])
		}
		at = v
	}
	return list, nil
}

// sum is that of elements [from, to) of a vector, [1].
func (c *call) sum(x mlxc.Array, from, to int32) mlxc.Array {
	if from == to {
		return c.g.Zeros(mlxc.F32, 1)
	}
	return c.g.Sum(c.vector(x, int(from), int(to)), 0, true)
}

// sums are those of segments.
func (c *call) sums(bounds []int32) mlxc.Array {
	var all []mlxc.Array
	for i := range len(bounds) - 1 {
		all = append(all, c.sum(c.x(0), bounds[i], bounds[i+1]))
	}
	return c.g.Concatenate(0, all...)
}

func (c *call) segmentSums() error {
	bounds, err := c.bounds(1)
	if err == nil {
		c.results[0] = c.sums(bounds)
	}
	return err
}

// preference builds losses over pairs of answers, [P, 1] each.
func (c *call) preference(op compute.Op) error {
	bounds, err := c.bounds(1)
	if err != nil {
		return err
	}
	if o, ok := op.(compute.ORPO); ok {
		return c.orpo(o, bounds)
	}
	c.dpo(op.(compute.DPO), bounds)
	return nil
}

// even and odd are the first and second of pairs, [P, 1].
func (c *call) pairs(x mlxc.Array) (even, odd mlxc.Array) {
	n := c.dims(3)[0]
	x = c.g.Reshape(x, n, 2)
	return c.g.Slice(x, []int{0, 0}, []int{n, 1}, []int{1, 1}), c.g.Slice(x, []int{0, 1}, []int{n, 2}, []int{1, 1})
}

// softplus is log(1 + exp(x)).
func (c *call) softplus(x mlxc.Array) mlxc.Array {
	g := c.g
	size := g.Maximum(x, g.Negative(x))
	return g.Add(g.Maximum(x, g.Float(0)), g.Log1p(g.Exp(g.Negative(size))))
}

// spread repeats elements of a vector over the rows of segments.
func (c *call) spread(x mlxc.Array, bounds []int32) mlxc.Array {
	var all []mlxc.Array
	for i := range len(bounds) - 1 {
		if n := int(bounds[i+1] - bounds[i]); n > 0 {
			all = append(all, c.g.BroadcastTo(c.vector(x, i, i+1), n))
		}
	}
	return c.g.Concatenate(0, all...)
}

func (c *call) dpo(o compute.DPO, bounds []int32) {
	g, n := c.g, c.dims(3)[0]
	chosen, rejected := c.pairs(g.Negative(c.sums(bounds)))
	chosenWas, rejectedWas := c.pairs(g.Negative(c.x(2)))
	margin := c.scaled(g.Subtract(g.Subtract(chosen, chosenWas), g.Subtract(rejected, rejectedWas)), o.Beta)
	against := g.Negative(margin)
	c.results[0] = g.Concatenate(1, c.softplus(against), chosen, rejected, chosenWas, rejectedWas)
	d := g.Multiply(c.scaled(g.Reshape(c.x(3), n, 1), o.Beta), g.Sigmoid(against))
	c.results[1] = c.spread(g.Reshape(g.Concatenate(1, d, g.Negative(d)), 2*n), bounds)
}

// orpo takes the tokens of prompts, which answers are behind, into the mean of chosen ones only.
func (c *call) orpo(o compute.ORPO, bounds []int32) error {
	g, n := c.g, c.dims(3)[0]
	answers := c.d.ints(c.in[2]).I32()
	var logPs, means, lengths []mlxc.Array
	tokens := int32(0) // of all chosen ones
	parts := []int32{0}
	for i, at := range answers {
		from, to := bounds[i], bounds[i+1]
		if at < from || at >= to {
			return fmt.Errorf("answer %d begins at row %d, beyond its rows %d to %d", i, at, from, to)
		}
		size := g.Float(float32(to - at))
		logPs = append(logPs, g.Negative(g.Divide(c.sum(c.x(0), at, to), size)))
		lengths = append(lengths, g.Reshape(size, 1))
		parts = append(parts, at, to)
		if i%2 == 0 {
			tokens += to - from
			means = append(means, c.sum(c.x(0), from, to))
		}
	}
	share := float32(n) / float32(tokens)
	mean := c.scaled(g.Reshape(g.Concatenate(0, means...), n, 1), share)
	chosen, rejected := c.pairs(g.Concatenate(0, logPs...))
	chosenRows, rejectedRows := c.pairs(g.Concatenate(0, lengths...))
	chosenOdds, chosenSlope := c.logOdds(chosen)
	rejectedOdds, rejectedSlope := c.logOdds(rejected)
	ratio := g.Subtract(chosenOdds, rejectedOdds)
	against := g.Negative(ratio)
	loss := g.Add(mean, c.scaled(c.softplus(against), o.Beta))
	c.results[0] = g.Concatenate(1, loss, chosen, rejected, mean, ratio)

	weight := g.Reshape(c.x(3), n, 1)
	d := g.Multiply(c.scaled(weight, o.Beta), g.Sigmoid(against))
	ofMean := c.scaled(weight, share)
	ofChosen := g.Add(ofMean, g.Divide(g.Multiply(d, chosenSlope), chosenRows))
	ofRejected := g.Negative(g.Divide(g.Multiply(d, rejectedSlope), rejectedRows))
	four := g.Concatenate(1, ofMean, ofChosen, g.Multiply(ofMean, g.Float(0)), ofRejected)
	c.results[1] = c.spread(g.Reshape(four, 4*n), parts)
	return nil
}

// logOdds are log p - log(1-p) for log p, and their slope.
func (c *call) logOdds(logP mlxc.Array) (odds, slope mlxc.Array) {
	g := c.g
	p := g.Minimum(logP, g.Float(compute.Surest))
	q := g.Negative(g.Expm1(p)) // 1 - p
	return g.Subtract(p, g.Log(q)), g.Divide(g.Float(1), q)
}
