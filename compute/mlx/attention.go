package mlx

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
	"github.com/lentil-lm/lentil/quant"
)

// A piece is queries [from, to) of a pass over the last of the keys [0, keys) that begin at row first.
type piece struct{ from, to, first, keys int }

// pieces are the segments of a packed row of t tokens, none longer than most queries.
func pieces(bounds []int32, t, most int) []piece {
	var all []piece
	for i := range len(bounds) - 1 {
		first, end := int(bounds[i]), min(int(bounds[i+1]), t)
		for from := first; from < end; from += most {
			to := min(from+most, end)
			all = append(all, piece{from, to, first, to - first})
		}
	}
	return all
}

var negInf = float32(math.Inf(-1))

// scoreBytes is what the scores of a piece may take, in float32, where attention is composed.
const scoreBytes = 64 << 20

// most is how many queries at once are composed over t keys.
func most(o compute.Attention, t int) int { return max(16, scoreBytes/(4*o.Heads*t)) }

// attention runs each segment by itself. The sums of exponentials are nodes that nobody may ever compute.
func (c *call) attention(o compute.Attention) error {
	bounds, t := c.d.ints(c.in[3]).I32(), c.dims(0)[0]
	q, k, v := c.split(c.x(0), t, o.Heads, o), c.split(c.x(1), t, o.KVHeads, o), c.split(c.x(2), t, o.KVHeads, o)
	var outs, sums []mlxc.Array
	for _, p := range pieces(bounds, t, most(o, t)) {
		qp := c.span(q, p.from, p.to, o.Heads, o)
		kp, vp := c.span(k, p.first, p.first+p.keys, o.KVHeads, o), c.span(v, p.first, p.first+p.keys, o.KVHeads, o)
		scores, _ := c.scores(o, qp, kp, p)
		lse := c.g.LogSumExp(scores, -1, true) // [KV, heads/KV, queries, 1]
		outs = append(outs, c.attend(o, qp, kp, vp, p))
		sums = append(sums, c.g.Reshape(lse, o.Heads, p.to-p.from))
	}
	c.results[0] = c.rows(c.g.Concatenate(1, outs...), t, o.Heads, o)
	c.results[1] = c.g.Transpose(c.g.Concatenate(1, sums...), 1, 0)
	return nil
}

// split is [T, n·HeadDim] as [n, T, HeadDim].
func (c *call) split(x mlxc.Array, t, n int, o compute.Attention) mlxc.Array {
	return c.g.Transpose(c.g.Reshape(c.unrounded(x), t, n, o.HeadDim), 1, 0, 2)
}

// rows is [n, T, HeadDim] as [T, n·HeadDim].
func (c *call) rows(x mlxc.Array, t, n int, o compute.Attention) mlxc.Array {
	return c.g.Reshape(c.g.Transpose(x, 1, 0, 2), t, n*o.HeadDim)
}

// span is tokens [from, to) of [n, T, HeadDim].
func (c *call) span(x mlxc.Array, from, to, n int, o compute.Attention) mlxc.Array {
	return c.g.Slice(x, []int{0, from, 0}, []int{n, to, o.HeadDim}, []int{1, 1, 1})
}

// attend is the output of a piece, [heads, queries, HeadDim].
func (c *call) attend(o compute.Attention, q, k, v mlxc.Array, p piece) mlxc.Array {
	g, n := c.g, p.to-p.from
	four := func(x mlxc.Array, heads, t int) mlxc.Array { return g.Reshape(x, 1, heads, t, o.HeadDim) }
	y := c.attendAll(o, four(q, o.Heads, n), four(k, o.KVHeads, p.keys), four(v, o.KVHeads, p.keys), p)
	return g.Reshape(y, o.Heads, n, o.HeadDim)
}

// attendAll is the output of a piece, [1, heads, queries, HeadDim]: MLX's own attention where it has one.
func (c *call) attendAll(o compute.Attention, q, k, v mlxc.Array, p piece) mlxc.Array {
	g, n := c.g, p.to-p.from
	if o.Softcap > 0 {
		scores, _ := c.scores(o, q, k, p)
		return g.Reshape(g.MatMul(g.Softmax(scores, -1), c.grouped(v, o.KVHeads, p.keys, o)), 1, o.Heads, n, o.HeadDim)
	}
	causal := n > 1
	var mask mlxc.Array
	if o.Window > 0 && o.Window < p.keys {
		causal, mask = false, c.mask(n, p.keys, o.Window)
	}
	return g.Attention(q, k, v, o.Scale, causal, mask)
}

// softmaxGrad is the gradient of scores by that of probabilities. What is subtracted is Σ dy·y.
func (c *call) softmaxGrad(prob, dp, dy, y mlxc.Array) mlxc.Array {
	g := c.g
	if c.d.rounds { // as MLX's own gradient does it
		part := g.Multiply(prob, dp)
		return g.Subtract(part, g.Multiply(prob, g.Sum(part, -1, true)))
	}
	return g.Multiply(prob, g.Subtract(dp, g.Sum(g.Multiply(dy, y), -1, true)))
}

// scoresGrad are the gradients of queries and keys by that of scores.
func (c *call) scoresGrad(o compute.Attention, ds, q, k mlxc.Array) (dq, dk mlxc.Array) {
	g := c.g
	if c.d.rounds { // the scale is one of queries
		ds = c.like(ds)
		return c.scaledLike(g.MatMul(ds, k), o.Scale), g.MatMul(g.Transpose(ds, 0, 1, 3, 2), c.scaledLike(q, o.Scale))
	}
	ds = c.scaled(ds, o.Scale)
	return g.MatMul(ds, k), g.MatMul(g.Transpose(ds, 0, 1, 3, 2), q)
}

// scaledLike is alpha·x, both in the type of activations.
func (c *call) scaledLike(x mlxc.Array, alpha float32) mlxc.Array {
	return c.g.Multiply(c.like(x), c.like(c.g.Float(alpha)))
}

// like is y in the type of activations, where results are rounded as they come.
func (c *call) like(y mlxc.Array) mlxc.Array {
	if c.d.rounds {
		return c.g.As(y, types[c.in[0].spec.DType])
	}
	return y
}

// grouped is [n, T, HeadDim] in float32 as [KV, n/KV, T, HeadDim].
func (c *call) grouped(x mlxc.Array, n, t int, o compute.Attention) mlxc.Array {
	if !c.d.rounds {
		x = c.g.As(x, mlxc.F32)
	}
	return c.g.Reshape(x, o.KVHeads, n/o.KVHeads, t, o.HeadDim)
}

// scores are those of a piece in float32, [KV, heads/KV, queries, keys], capped, -Inf where a query sees no key; and
// the slope of the cap, or 0.
func (c *call) scores(o compute.Attention, q, k mlxc.Array, p piece) (scores, slope mlxc.Array) {
	g, n := c.g, p.to-p.from
	k = g.Transpose(c.grouped(k, o.KVHeads, p.keys, o), 0, 1, 3, 2)
	if c.d.rounds { // MLX scales queries
		scores = g.As(g.MatMul(c.scaledLike(c.grouped(q, o.Heads, n, o), o.Scale), k), mlxc.F32)
	} else {
		scores = c.scaled(g.MatMul(c.grouped(q, o.Heads, n, o), k), o.Scale)
	}
	if o.Softcap > 0 {
		tanh := g.Tanh(g.Multiply(scores, g.Float(1/o.Softcap)))
		slope = g.Subtract(g.Float(1), g.Square(tanh))
		scores = g.Multiply(tanh, g.Float(o.Softcap))
	}
	if n == 1 && (o.Window == 0 || o.Window >= p.keys) {
		return scores, slope
	}
	return g.Where(c.mask(n, p.keys, o.Window), scores, g.Float(negInf)), slope
}

// attentionGrad computes the probabilities again, a piece of the queries at a time.
func (c *call) attentionGrad(o compute.AttentionGrad) error {
	g, t, a := c.g, c.dims(0)[0], o.Attention
	bounds := c.d.ints(c.in[3]).I32()
	q, k, v := c.split(c.x(0), t, o.Heads, a), c.split(c.x(1), t, o.KVHeads, a), c.split(c.x(2), t, o.KVHeads, a)
	y, dy := c.split(c.x(4), t, o.Heads, a), c.split(c.x(6), t, o.Heads, a)
	var dq []mlxc.Array
	dk, dv := g.Zeros(mlxc.F32, o.KVHeads, t, o.HeadDim), g.Zeros(mlxc.F32, o.KVHeads, t, o.HeadDim)
	for _, p := range pieces(bounds, t, most(a, t)) {
		n, end := p.to-p.from, p.first+p.keys
		qp, kp := c.span(q, p.from, p.to, o.Heads, a), c.span(k, p.first, end, o.KVHeads, a)
		vp := c.grouped(c.span(v, p.first, end, o.KVHeads, a), o.KVHeads, p.keys, a)
		yp := c.grouped(c.span(y, p.from, p.to, o.Heads, a), o.Heads, n, a)
		dyp := c.grouped(c.span(dy, p.from, p.to, o.Heads, a), o.Heads, n, a)
		scores, slope := c.scores(a, qp, kp, p)
		prob := c.like(g.Softmax(scores, -1))
		ds := c.softmaxGrad(prob, g.MatMul(dyp, g.Transpose(vp, 0, 1, 3, 2)), dyp, yp)
		if slope != 0 {
			ds = g.Multiply(ds, slope)
		}
		dqp, dkp := c.scoresGrad(a, ds, c.grouped(qp, o.Heads, n, a), c.grouped(kp, o.KVHeads, p.keys, a))
		dq = append(dq, g.Reshape(dqp, o.Heads, n, o.HeadDim))
		dkp = g.Sum(dkp, 1, false) // [KV, keys, HeadDim]
		dvp := g.Sum(g.MatMul(g.Transpose(prob, 0, 1, 3, 2), dyp), 1, false)
		dk, dv = c.addSpan(dk, dkp, p, a), c.addSpan(dv, dvp, p, a)
	}
	c.results[0] = c.rows(g.Concatenate(1, dq...), t, o.Heads, a)
	c.results[1], c.results[2] = c.rows(dk, t, o.KVHeads, a), c.rows(dv, t, o.KVHeads, a)
	return nil
}

// addSpan adds a piece's part to the gradient of its keys or values.
func (c *call) addSpan(sum, part mlxc.Array, p piece, o compute.Attention) mlxc.Array {
	end := p.first + p.keys
	part = c.g.Add(c.span(sum, p.first, end, o.KVHeads, o), part)
	return c.g.Update(sum, part, []int{0, p.first, 0}, []int{o.KVHeads, end, o.HeadDim})
}

// storeRows writes rows into caches, which MLX does in place where nobody else has their arrays.
func (c *call) storeRows(o compute.StoreRows) error {
	spans := compute.Spans(c.d.ints(c.in[1]))
	if err := compute.CheckSpans(spans, c.dims(0)[0], func(i int) int { return o.Rows[i] }); err != nil {
		return err
	}
	c.byHead = make([]int, len(c.out))
	for i, s := range spans {
		if o.Format.Kind == quant.Affine {
			c.storeRounded(o, s, 3*i)
			continue
		}
		c.storeDense(o, s, i)
	}
	return nil
}

// storeDense puts rows of x into a cache, output i.
func (c *call) storeDense(o compute.StoreRows, s compute.Span, i int) {
	g, b, n := c.g, c.out[i], s.To-s.From
	if b.heads == 0 {
		c.d.value(b)
	}
	c.results[i], c.byHead[i] = b.array, b.heads
	if n == 0 {
		return
	}
	rows := g.As(c.between(0, s.From, s.To), types[o.Format.DType]) // [n, Cols]
	if b.heads == 0 {
		c.results[i] = g.Update(b.array, rows, []int{s.At, 0}, []int{s.At + n, o.Cols})
		return
	}
	size := o.Cols / b.heads
	c.results[i] = g.Update(b.array, c.headed(rows, n, b.heads, size), []int{0, 0, s.At, 0}, []int{1, b.heads, s.At + n, size})
}

// between is rows [from, to) of input i.
func (c *call) between(i, from, to int) mlxc.Array {
	if from == 0 && to == c.dims(i)[0] {
		return c.x(i)
	}
	return c.g.Rows(c.x(i), from, to, c.dims(i)[1])
}

// headed is [n, heads·size] as [1, heads, n, size].
func (c *call) headed(x mlxc.Array, n, heads, size int) mlxc.Array {
	if n == 1 {
		return c.g.Reshape(x, 1, heads, 1, size)
	}
	return c.g.Transpose(c.g.Reshape(x, 1, n, heads, size), 0, 2, 1, 3)
}

// cacheAttention runs each sequence by itself.
func (c *call) cacheAttention(o compute.CacheAttention) error {
	spans, t := compute.Spans(c.d.ints(c.in[1])), c.dims(0)[0]
	parts := len(compute.Weight{Format: o.Format}.Specs()) // buffers of keys, and of values
	if err := compute.CheckSpans(spans, t, func(i int) int { return c.dims(2 + 2*i*parts)[0] }); err != nil {
		return err
	}
	var y mlxc.Array
	for i, s := range spans {
		if s.From == s.To {
			continue
		}
		one := c.spanAttention(o, s, 2+2*i*parts, 2+(2*i+1)*parts)
		if s.From == 0 && s.To == t {
			y = one
			continue
		}
		if y == 0 {
			y = c.g.As(c.d.value(c.out[0]), mlxc.F32)
		}
		y = c.g.Update(y, c.g.As(one, mlxc.F32), []int{s.From, 0}, []int{s.To, o.Heads * o.HeadDim})
	}
	if y == 0 {
		y = c.d.value(c.out[0])
	}
	c.results[0] = y
	return nil
}

// spanAttention is that of a sequence, [n, Heads·HeadDim]; keys and values begin with these inputs.
func (c *call) spanAttention(o compute.CacheAttention, s compute.Span, keys, values int) mlxc.Array {
	g, n, first := c.g, s.To-s.From, 0
	if o.Window > 0 { // keys that no query of the span sees
		first = max(0, s.Keys-n+1-o.Window)
	}
	q := c.headed(c.unrounded(c.between(0, s.From, s.To)), n, o.Heads, o.HeadDim)
	k, v := c.cached(o, keys, first, s.Keys), c.cached(o, values, first, s.Keys)
	y := c.attendAll(o.Attention, q, k, v, piece{s.From, s.To, first, s.Keys - first}) // [1, Heads, n, HeadDim]
	if n > 1 {
		y = g.Transpose(y, 0, 2, 1, 3)
	}
	return g.Reshape(y, n, o.Heads*o.HeadDim)
}

// cached are rows [from, to) of keys or values whose buffers are inputs from first on, in floats, [1, KVHeads, to-from, HeadDim].
func (c *call) cached(o compute.CacheAttention, first, from, to int) mlxc.Array {
	g := c.g
	if o.Format.Kind == quant.Dense {
		x := c.d.byHead(c.in[first], o.KVHeads)
		return c.unrounded(g.Slice(x, []int{0, 0, from, 0}, []int{1, o.KVHeads, to, o.HeadDim}, []int{1, 1, 1, 1}))
	}
	rows := func(i int) mlxc.Array { return g.Rows(c.x(first+i), from, to, c.dims(first + i)[1]) }
	w := mlxc.Quantized{Packed: rows(0), Scales: g.As(rows(1), mlxc.F32), Biases: g.As(rows(2), mlxc.F32), Group: o.Format.Group, Bits: o.Format.Bits, Mode: "affine"}
	return c.headed(g.Dequantize(w, mlxc.F32), to-from, o.KVHeads, o.HeadDim)
}

// unrounded is x in float32 on a processor, whose attention rounds scores to the type of q.
func (c *call) unrounded(x mlxc.Array) mlxc.Array {
	if c.d.narrow {
		return x
	}
	return c.g.As(x, mlxc.F32)
}

// A mask of bools tells which of keys each of n queries, the last of them, sees; window 0 is all before it.
type maskOf struct{ n, keys, window int }

// masks are those made lately.
type masks map[maskOf]mlxc.Array

// masksHeld is how many are kept.
const masksHeld = 8

func (m masks) free(lib *mlxc.Library) {
	for _, a := range m {
		lib.Free(a)
	}
}

// mask is [n, keys].
func (c *call) mask(n, keys, window int) mlxc.Array {
	of := maskOf{n, keys, window}
	if a := c.d.masks[of]; a != 0 {
		return a
	}
	bools := make([]byte, n*keys)
	for i := range n {
		at := keys - n + i
		from := 0
		if window > 0 {
			from = max(0, at+1-window)
		}
		for j := from; j <= at; j++ {
			bools[i*keys+j] = 1
		}
	}
	if len(c.d.masks) >= masksHeld {
		c.d.masks.free(c.d.lib)
		c.d.masks = nil
	}
	kept := c.g.Keep(c.g.New(bools, mlxc.Bool, n, keys))
	if kept == 0 {
		return 0
	}
	if c.d.masks == nil {
		c.d.masks = masks{}
	}
	c.d.masks[of] = kept
	return kept
}
