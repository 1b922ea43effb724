package mlx

import (
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
)

// times is x Wᵀ, or x W where transposed is not set, for a weight: [T, Cols] and [T, Rows].
func (c *call) times(x mlxc.Array, input int, transposed bool) mlxc.Array {
	b := c.in[input]
	if b.weight != nil && b.weight.packed.Packed != 0 {
		w := b.weight.packed
		if !c.d.narrow { // the processor's products add up in the type of x
			x = c.g.As(x, mlxc.F32)
		}
		if !c.d.narrow || c.inF32 {
			w = c.d.widened(b.weight)
		}
		return c.g.QuantizedMatMul(x, w, transposed)
	}
	w := b.array
	if transposed {
		w = c.g.Transpose(w, 1, 0)
	}
	return c.g.MatMul(x, w)
}

// widest is the first input, in float32 where the result is: MLX rounds products to the type of what it multiplies.
func (c *call) widest() mlxc.Array {
	if c.out[0].spec.DType == compute.F32 {
		c.inF32 = true
		return c.f32(0)
	}
	return c.x(0)
}

// asRounded is x in the type of the first output, where results are rounded as they come.
func (c *call) asRounded(x mlxc.Array) mlxc.Array {
	if c.d.rounds {
		return c.g.As(x, types[c.out[0].spec.DType])
	}
	return x
}

func (c *call) linear(o compute.Linear) {
	y, next := c.times(c.widest(), 1, true), 2
	if o.Bias {
		y, next = c.g.Add(y, c.x(2)), 3
	}
	if o.Rank > 0 {
		y = c.g.Add(y, c.asRounded(c.scaled(c.g.MatMul(c.f32(next), c.x(next+1)), o.Scale)))
	}
	c.results[0] = y
}

func (c *call) linearGradInput(o compute.LinearGradInput) {
	dx := c.times(c.widest(), 1, false)
	if o.Rank > 0 {
		update := c.asRounded(c.g.MatMul(c.f32(2), c.g.Transpose(c.x(3), 1, 0)))
		if c.d.rounds && o.Accumulate { // MLX's gradient meets the update first
			update = c.asRounded(c.added(true, update))
			o.Accumulate = false
		}
		dx = c.g.Add(dx, update)
	}
	c.results[0] = c.added(o.Accumulate, dx)
}

// matMul computes in float32 what has float32 results: gradients of parameters.
func (c *call) matMul(o compute.MatMul) {
	a, b := c.x(0), c.x(1)
	if c.out[0].spec.DType == compute.F32 {
		a, b = c.f32(0), c.f32(1)
	}
	if c.d.rounds { // MLX scales the gradient of an adapter's result before it multiplies it
		if c.in[0].spec.DType != compute.F32 {
			a, o.Alpha = c.scaled(a, o.Alpha), 1
		} else if c.in[1].spec.DType != compute.F32 {
			b, o.Alpha = c.scaled(b, o.Alpha), 1
		}
	}
	if o.TransA {
		a = c.g.Transpose(a, 1, 0)
	}
	if o.TransB {
		b = c.g.Transpose(b, 1, 0)
	}
	c.results[0] = c.added(o.Accumulate, c.scaled(c.g.MatMul(a, b), o.Alpha))
}

func (c *call) lowRankRows(o compute.LowRankRows) error {
	y, n := c.g.As(c.d.value(c.out[0]), mlxc.F32), c.out[0].spec.Shape[1]
	rows := c.d.ints(c.in[1])
	for i, scale := range o.Scales {
		from, to := o.Rows([]compute.Array{{}, rows}, i)
		if from < 0 || to < from || to > c.dims(0)[0] {
			return checkIndices([]int32{int32(from), int32(to)}, 0, c.dims(0)[0]+1)
		}
		if from == to {
			continue
		}
		z := c.g.MatMul(c.g.Rows(c.f32(0), from, to, c.dims(0)[1]), c.x(2+2*i))
		sum := c.g.Add(c.g.Rows(y, from, to, n), c.scaled(c.g.MatMul(z, c.x(3+2*i)), scale))
		y = c.g.Update(y, sum, []int{from, 0}, []int{to, n})
	}
	c.results[0] = y
	return nil
}

// embed looks rows up. Those of negative ids are zeros.
func (c *call) embed(o compute.Embed) error {
	least := -1
	if host := c.in[0].host; host != nil {
		list := compute.Array{Spec: c.in[0].spec, Data: host}.I32()
		least = int(slices.Min(list))
		if err := checkIndices(list, min(least, 0), o.Weight.Rows); err != nil {
			return err
		}
	}
	ids := c.x(0)
	if least < 0 {
		ids = c.g.Maximum(ids, c.g.Int(0))
	}
	var rows mlxc.Array
	if w := c.in[1].weight; w != nil && w.packed.Packed != 0 {
		part := w.packed
		part.Packed, part.Scales = c.g.Take(part.Packed, ids, 0), c.g.Take(part.Scales, ids, 0)
		if part.Biases != 0 {
			part.Biases = c.g.Take(part.Biases, ids, 0)
		}
		if part.Biases != 0 && !c.d.rounds { // MLX widens in the type of the scales
			part.Scales, part.Biases = c.g.As(part.Scales, mlxc.F32), c.g.As(part.Biases, mlxc.F32)
		}
		rows = c.g.Dequantize(part, types[c.out[0].spec.DType])
	} else {
		rows = c.g.Take(c.x(1), ids, 0)
	}
	if least < 0 {
		there := c.g.Reshape(c.g.GreaterEqual(c.x(0), c.g.Int(0)), -1, 1)
		rows = c.g.Where(there, rows, c.g.Zeros(types[c.out[0].spec.DType], 1, 1))
	}
	c.results[0] = rows
	return nil
}

// lossBytes is what the logits of a piece may take, in float32.
const lossBytes = 64 << 20

// lossRows is how many rows of logits a piece has.
func lossRows(vocabulary int) int { return max(1, lossBytes/(4*vocabulary)) }

// crossEntropy computes the logits of some rows at a time.
func (c *call) crossEntropy(o compute.CrossEntropy) error {
	targets, err := c.indices(1, o.Weight.Rows)
	if err != nil {
		return err
	}
	c.inF32 = !c.d.rounds
	rows, cols := c.dims(0)[0], c.dims(0)[1]
	step := lossRows(o.Weight.Rows)
	var losses, grads []mlxc.Array
	var dw mlxc.Array
	if o.GradWeight {
		dw = c.d.value(c.out[2])
	}
	for from := 0; from < rows; from += step {
		to := min(from+step, rows)
		h := c.g.Rows(c.working(0), from, to, cols)
		loss, grad := c.entropy(c.times(h, 3, true), c.vector(targets, from, to), c.vector(c.x(2), from, to), compute.F32, to-from, o.Weight.Rows)
		losses = append(losses, loss)
		if o.Grad {
			if c.d.rounds {
				grad = c.g.As(grad, types[c.in[0].spec.DType])
			}
			grads = append(grads, c.times(grad, 3, false))
		}
		if o.GradWeight {
			dw = c.g.Add(dw, c.g.MatMul(c.g.Transpose(grad, 1, 0), h))
		}
	}
	c.results[0] = c.g.Concatenate(0, losses...)
	if o.Grad {
		c.results[1] = c.g.Concatenate(0, grads...)
	}
	if o.GradWeight {
		c.results[2] = dw
	}
	return nil
}

// vector is elements [from, to).
func (c *call) vector(a mlxc.Array, from, to int) mlxc.Array {
	return c.g.Slice(a, []int{from}, []int{to}, []int{1})
}

// entropy gives the losses of rows of logits, and the gradient of the weighted sum of these.
func (c *call) entropy(logits, targets, weight mlxc.Array, t compute.DType, rows, n int) (loss, grad mlxc.Array) {
	g := c.g
	if c.d.kernel != nil && c.d.hasKernel(entropyRows, types[t]) {
		return c.entropyByKernel(logits, targets, weight, t, rows, n)
	}
	if c.d.rounds {
		return c.roundedEntropy(logits, g.Reshape(targets, rows, 1), g.Reshape(weight, rows, 1), rows)
	}
	logits = g.As(logits, mlxc.F32)
	at, weight := g.Reshape(targets, rows, 1), g.Reshape(weight, rows, 1)
	lse := g.LogSumExp(logits, -1, true)
	loss = g.Reshape(g.Subtract(lse, g.TakeAlong(logits, at, 1)), rows)
	grad = g.Multiply(weight, g.Exp(g.Subtract(logits, lse)))
	return loss, g.ScatterAdd(grad, at, g.Negative(weight), 1)
}

// roundedEntropy is entropy as mlx-lm's cross_entropy and its gradient have it on a processor: every result, the loss of a
// token too, is of the type of the logits. Only the sums of softmax are float32.
func (c *call) roundedEntropy(logits, at, weight mlxc.Array, rows int) (loss, grad mlxc.Array) {
	g, t := c.g, types[c.in[0].spec.DType]
	logits, weight = g.As(logits, t), g.As(weight, t)
	logits = g.Subtract(logits, g.Max(logits, -1, true)) // [rows, n]
	loss = g.Reshape(g.Subtract(g.LogSumExp(logits, -1, true), g.TakeAlong(logits, at, 1)), rows)
	share := g.Softmax(logits, -1)
	return g.As(loss, mlxc.F32), g.ScatterAdd(g.Multiply(weight, share), at, g.Negative(weight), 1)
}

func (c *call) crossEntropyLogits() error {
	targets, err := c.indices(1, c.dims(0)[1])
	if err != nil {
		return err
	}
	c.results[0], c.results[1] = c.entropy(c.x(0), targets, c.x(2), c.in[0].spec.DType, c.dims(0)[0], c.dims(0)[1])
	return nil
}
