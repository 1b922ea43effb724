package mlx

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
)

// gain is a/norm by column, 0 where norm is.
func (c *call) gain(a, norm mlxc.Array) mlxc.Array {
	none := c.g.Equal(norm, c.g.Float(0))
	return c.g.Where(none, c.g.Float(0), c.g.Divide(a, norm))
}

func (c *call) magnitude(o compute.Magnitude) {
	y := c.g.Multiply(c.f32(0), c.gain(c.x(1), c.x(2)))
	if o.Bias {
		y = c.g.Add(y, c.x(3))
	}
	c.results[0] = y
}

func (c *call) magnitudeGrad() {
	g, dy := c.g, c.f32(3)
	c.results[0] = g.Multiply(dy, c.gain(c.x(1), c.x(2)))
	sum := g.Sum(g.Multiply(dy, c.f32(0)), 0, false)
	c.results[1] = g.Add(c.d.value(c.out[1]), c.gain(sum, c.x(2)))
}

func (c *call) updatedNorm(o compute.UpdatedNorm) {
	g := c.g
	sum := g.Multiply(g.Float(2*o.Scale), g.Sum(g.Multiply(c.x(1), c.x(2)), 0, false))
	c.results[0] = g.Sqrt(g.Maximum(g.Add(c.x(0), sum), g.Float(0)))
}
