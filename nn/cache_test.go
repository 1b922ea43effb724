package nn

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

const (
	cacheHeads = 4  // query heads
	cacheDim   = 32 // values of a head: the smallest group of affine integers
	cacheScale = float32(0.2)

	// attended bounds the error of attention relative to values of size 1 to 4: kernels
	// add up to 1,000 products in float32, and take exp to 2 units in the last place.
	attended = 1e-5
)

// cacheShapes are layers as models mix them.
var cacheShapes = []KVShape{
	{Heads: 2, HeadDim: cacheDim},
	{Heads: 2, HeadDim: cacheDim, Window: 7},
	{Heads: 1, HeadDim: cacheDim, Window: 40},
}

// A cacheKind is one way to make a cache. bits 0 is never quantized.
type cacheKind struct {
	name        string
	dtype       compute.DType
	limit, bits int
}

var cacheKinds = []cacheKind{
	{"plain", compute.F32, 0, 0},
	{"plain of float16", compute.F16, 0, 0},
	{"smallest ring", compute.F32, 5, 0},
	{"ring smaller than a window", compute.F16, 9, 0},
	{"ring", compute.F32, 64, 0},
	{"ring beyond a step", compute.F16, 300, 0},
	{"quantized to 8 bits", compute.F16, 0, 8},
	{"quantized to 3 bits", compute.F32, 0, 3},
}

// naive is a cache as a list: it forgets nothing, and works out from the list what one
// of its kind holds and sees.
type naive struct {
	cacheKind
	quantized bool
	seen      int
	layers    [][]naiveToken
	peak      int // most tokens that the cache has had room for
	floor     int // fewest tokens that it can be cut back to
}

type naiveToken struct {
	key, value *quant.Matrix // [1, cols], as stored
	missing    bool          // since a restore from a state without it
}

// stored rounds one token's keys or values as the cache does.
func (n *naive) stored(t *testing.T, values []float32) *quant.Matrix {
	if !n.quantized {
		f := quant.Format{Kind: quant.Dense, DType: n.dtype}
		m := &quant.Matrix{Format: f, Rows: 1, Cols: len(values), Data: make([]byte, len(values)*n.dtype.Size())}
		quant.PutFloats(m.Data, values, n.dtype)
		return m
	}
	m, err := quant.QuantizeAffine(values, 1, len(values), n.bits, cacheDim, n.dtype, quant.RuleCPU)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ring is how many tokens a layer holds at most, and how many first ones stay; 0 is no limit.
func (n *naive) ring(layer int) (most, sink int) {
	switch window := cacheShapes[layer].Window; {
	case n.limit == 0:
		return 0, 0
	case window > 0:
		return min(window, n.limit), 0
	default:
		return n.limit, 4
	}
}

// forget makes the list empty.
func (n *naive) forget() {
	n.seen, n.peak, n.floor, n.quantized, n.layers = 0, 0, 0, false, make([][]naiveToken, len(cacheShapes))
}

// room is how many tokens fit without forgetting: the smallest ring's free slots.
func (n *naive) room() int {
	least := math.MaxInt
	for layer := range cacheShapes {
		if most, _ := n.ring(layer); most > 0 {
			least = min(least, most)
		}
	}
	return least - n.seen
}

// held lists the tokens that a layer holds after seen of them.
func (n *naive) held(layer, seen int) (tokens []int) {
	most, sink := n.ring(layer)
	for i := range seen {
		if most == 0 || seen <= most || i < sink || i >= seen-(most-sink) {
			tokens = append(tokens, i)
		}
	}
	return tokens
}

// visible lists the tokens that token at looks at.
func (n *naive) visible(layer, at int) (tokens []int) {
	window := cacheShapes[layer].Window
	for _, i := range n.held(layer, at+1) {
		if window == 0 || i > at-window {
			tokens = append(tokens, i)
		}
	}
	return tokens
}

// attention is the output of token at for its queries [cacheHeads·cacheDim], in float64.
func (n *naive) attention(layer, at int, q []float32) []float64 {
	out := make([]float64, len(q))
	tokens := n.visible(layer, at)
	keys, values := make([][]float32, len(tokens)), make([][]float32, len(tokens))
	for i, token := range tokens {
		keys[i], values[i] = n.layers[layer][token].key.Floats(), n.layers[layer][token].value.Floats()
	}
	for h := range cacheHeads {
		kv := h / (cacheHeads / cacheShapes[layer].Heads) * cacheDim
		p, sum := make([]float64, len(tokens)), 0.0
		for i := range tokens {
			var dot float64
			for d := range cacheDim {
				dot += float64(q[h*cacheDim+d]) * float64(keys[i][kv+d])
			}
			p[i] = math.Exp(dot * float64(cacheScale))
			sum += p[i]
		}
		for i := range tokens {
			for d := range cacheDim {
				out[h*cacheDim+d] += p[i] / sum * float64(values[i][kv+d])
			}
		}
	}
	return out
}

// cacheTest is a cache beside its list.
type cacheTest struct {
	*testing.T
	rng   *rand.Rand
	dev   compute.Device
	tape  *tensor.Tape
	cache *Cache
	list  *naive
}

func newCacheTest(t *testing.T, kind cacheKind, seed uint64) *cacheTest {
	t.Helper()
	c := &cacheTest{T: t, rng: rand.New(rand.NewPCG(seed, 7)), dev: newCPU(t), list: &naive{cacheKind: kind}}
	c.tape = tensor.NewTape(c.dev)
	c.tape.Exact = true
	c.cache = c.empty()
	c.list.layers = make([][]naiveToken, len(cacheShapes))
	return c
}

func (c *cacheTest) empty() *Cache {
	c.Helper()
	cache, err := NewCache(c.dev, cacheShapes, c.list.limit, c.list.dtype)
	if err != nil {
		c.Fatal(err)
	}
	return cache
}

func (c *cacheTest) normal(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(c.rng.NormFloat64())
	}
	return v
}

// attend gives n more tokens of random numbers to a layer and reads what they see.
func (c *cacheTest) attend(layer, n int) (q, k, v, y []float32) {
	shape := cacheShapes[layer]
	q, k, v = c.normal(n*cacheHeads*cacheDim), c.normal(n*shape.Cols()), c.normal(n*shape.Cols())
	c.tape.Reset(false)
	c.tape.Scope(func() *tensor.Tensor {
		t := c.tape
		op := compute.Attention{Heads: cacheHeads, KVHeads: shape.Heads, HeadDim: cacheDim, Scale: cacheScale, Window: shape.Window}
		y = t.Read(NewCaches(t, []Piece{{n, c.cache}}).attend(t, layer, t.Floats(q, n, len(q)/n), t.Floats(k, n, shape.Cols()), t.Floats(v, n, shape.Cols()), op))
		return nil
	})
	return q, k, v, y
}

// append runs n more tokens through all layers and compares what they see.
func (c *cacheTest) append(n int) {
	c.Helper()
	for layer, shape := range cacheShapes {
		q, k, v, y := c.attend(layer, n)
		if err := c.tape.Err(); err != nil {
			c.Fatal(err)
		}
		list, cols := &c.list.layers[layer], shape.Cols()
		for i := range n {
			*list = append(*list, naiveToken{key: c.list.stored(c.T, k[i*cols:(i+1)*cols]), value: c.list.stored(c.T, v[i*cols:(i+1)*cols])})
		}
		c.sees(layer, n, q, y)
	}
	(&Caches{pieces: []Piece{{n, c.cache}}}).Advance()
	c.list.seen += n
	c.list.peak = max(c.list.peak, c.list.seen)
}

// sees compares the outputs y of the newest n tokens, some of them where there are many.
func (c *cacheTest) sees(layer, n int, q, y []float32) {
	c.Helper()
	const cols = cacheHeads * cacheDim
	for _, i := range []int{0, n / 3, n - 1} {
		want := c.list.attention(layer, c.list.seen+i, q[i*cols:(i+1)*cols])
		for d, w := range want {
			if got := float64(y[i*cols+d]); !(math.Abs(got-w) <= attended) {
				c.Fatalf("layer %d: token %d, output %d is %g, expected %g", layer, c.list.seen+i, d, got, w)
			}
		}
	}
}

// cut goes back to a random length, which a full ring refuses.
func (c *cacheTest) cut() {
	c.Helper()
	to := c.list.floor + c.rng.IntN(c.list.seen-c.list.floor+1)
	err := c.cache.Trim(to)
	if full := c.list.room() <= 0; (err != nil) != full || c.cache.Trimmable() == full {
		c.Fatalf("cut from %d to %d: %v; a ring is full: %v", c.list.seen, to, err, full)
	}
	if err != nil {
		return
	}
	c.list.seen = to
	for i := range c.list.layers {
		c.list.layers[i] = c.list.layers[i][:to]
	}
}

// quantize rounds what is there, and all to come.
func (c *cacheTest) quantize() {
	c.Helper()
	c.tape.Reset(false)
	c.cache.Quantize(c.tape, c.list.bits, cacheDim)
	if err := c.tape.Err(); err != nil {
		c.Fatal(err)
	}
	if c.list.quantized {
		return
	}
	c.list.quantized = true
	for _, list := range c.list.layers {
		for i, token := range list {
			list[i].key, list[i].value = c.list.stored(c.T, token.key.Floats()), c.list.stored(c.T, token.value.Floats())
		}
	}
}

// restore moves on to another cache by way of the states of the first, from which
// tokens are missing that none to come will look at.
func (c *cacheTest) restore() {
	c.Helper()
	states := make([]LayerState, len(cacheShapes))
	c.list.floor = 0
	for layer := range states {
		state, err := c.cache.State(layer)
		if err != nil {
			c.Fatal(err)
		}
		needed, window := c.list.held(layer, c.list.seen), cacheShapes[layer].Window
		if c.list.limit == 0 && window > 0 && window <= c.list.seen { // the next token sees window-1 of them
			first := c.list.seen - window + 1
			c.list.floor = max(c.list.floor, c.list.seen)
			for i := range c.list.layers[layer][:first] {
				c.list.layers[layer][i].missing = true
			}
			needed = needed[first:]
			if drop := c.rng.IntN(first + 1); drop > 0 {
				state.Keys, state.Values = lastRows(state.Keys, c.list.seen-drop), lastRows(state.Values, c.list.seen-drop)
			}
		}
		if state.Keys.Rows < len(needed) {
			c.Fatalf("layer %d: the state has %d tokens, %d are needed", layer, state.Keys.Rows, len(needed))
		}
		states[layer] = state
	}
	next := c.empty()
	if err := next.Restore(c.list.seen, func(layer int) (LayerState, error) { return states[layer], nil }); err != nil {
		c.Fatal(err)
	}
	if floor := c.list.floor; floor > 0 {
		if err := next.Trim(floor - 1); err == nil {
			c.Fatalf("a cache restored without old tokens was cut back to %d, where they are seen", floor-1)
		}
	}
	c.cache.Free()
	c.cache, c.list.peak = next, c.list.seen
}

// lastRows are the last n rows of m.
func lastRows(m *quant.Matrix, n int) *quant.Matrix {
	out := blank(m.Format, n, m.Cols)
	for i := range n {
		copyRow(out, i, m, m.Rows-n+i)
	}
	return out
}

// agree compares all that can be asked of the cache with the list.
func (c *cacheTest) agree() {
	c.Helper()
	if c.cache.Len() != c.list.seen {
		c.Fatalf("%d tokens are seen, expected %d", c.cache.Len(), c.list.seen)
	}
	room := -1
	if c.list.limit > 0 {
		room = max(1, c.list.room())
	}
	if got := c.cache.Room(); got != room {
		c.Fatalf("after %d tokens there is room for %d, expected %d", c.list.seen, got, room)
	}
	for layer := range cacheShapes {
		most, sink := c.list.ring(layer)
		if m, s := c.cache.Limits(layer); m != most || s != sink {
			c.Fatalf("layer %d holds %d tokens, %d first ones, expected %d and %d", layer, m, s, most, sink)
		}
		if got := c.cache.Format(layer); (got.Kind == quant.Affine) != c.list.quantized || got.DType != c.list.dtype {
			c.Fatalf("layer %d stores %v; it is quantized: %v", layer, got, c.list.quantized)
		}
		state, err := c.cache.State(layer)
		if c.list.seen == 0 {
			if err == nil {
				c.Fatalf("layer %d: an empty cache has a state", layer)
			}
			continue
		}
		if err != nil {
			c.Fatal(err)
		}
		tokens := c.list.held(layer, c.list.seen)
		first := 0
		if len(tokens) < c.list.seen {
			first = sink
		}
		if state.Keys.Rows != len(tokens) || state.Values.Rows != len(tokens) || state.First != first {
			c.Fatalf("layer %d holds %d keys and %d values after %d tokens, %d first ones, expected %d and %d", layer, state.Keys.Rows, state.Values.Rows, c.list.seen, state.First, len(tokens), first)
		}
		for i, token := range tokens {
			want := c.list.layers[layer][token]
			if !want.missing && !(sameRow(state.Keys, i, want.key) && sameRow(state.Values, i, want.value)) {
				c.Fatalf("layer %d after %d tokens: row %d is not token %d", layer, c.list.seen, i, token)
			}
		}
	}
	c.size()
}

// sameRow tells whether row i of m has the bits of the only row of one.
func sameRow(m *quant.Matrix, i int, one *quant.Matrix) bool {
	same := m.Format == one.Format
	for _, p := range [][2][]byte{{m.Data, one.Data}, {m.Scales, one.Scales}, {m.Biases, one.Biases}} {
		n := len(p[1])
		same = same && bytes.Equal(p[0][i*n:(i+1)*n], p[1])
	}
	return same
}

// size compares the cache's memory with that of the most tokens it has had: whole
// steps, half more at most, and no more than a ring has slots.
func (c *cacheTest) size() {
	c.Helper()
	var least, most int64
	for layer, shape := range cacheShapes {
		slots := roomFor(c.list.peak)
		room := slots * 3 / 2
		if limit, _ := c.list.ring(layer); limit > 0 {
			slots, room = min(slots, limit), min(room, limit)
		}
		token := int64(shape.Cols() * c.list.dtype.Size())
		if c.list.quantized { // a scale and a bias for each head
			token = int64(shape.Cols()*c.list.bits/8 + shape.Heads*2*c.list.dtype.Size())
		}
		least, most = least+2*int64(slots)*token, most+2*int64(room)*token
	}
	if got := c.cache.Bytes(); got < least || got > most {
		c.Fatalf("with %d tokens at most the cache takes %d bytes, expected %d to %d", c.list.peak, got, least, most)
	}
}

// TestCache runs random sequences of what can be done to a cache, and compares each
// step with a list.
func TestCache(t *testing.T) {
	t.Parallel()
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for _, kind := range cacheKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			for seed := range seeds {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					c := newCacheTest(t, kind, seed)
					c.agree()
					for range 25 {
						c.step()
						c.agree()
					}
					c.gone()
				})
			}
		})
	}
}

// step does one random thing.
func (c *cacheTest) step() {
	c.Helper()
	switch at := c.rng.IntN(20); {
	case at < 4 && c.list.seen > 0:
		c.restore()
	case at < 7:
		c.cut()
	case at == 7 && c.list.bits > 0:
		c.quantize()
	case at == 8 && c.rng.IntN(3) == 0:
		c.cache.Free()
		c.list.forget()
	case at < 12: // as a prompt, across the steps by which a cache grows
		c.append(c.fit(1 + c.rng.IntN(300)))
	case at < 15:
		c.append(c.fit(1 + c.rng.IntN(6)))
	default: // as an answer, around a small ring
		for range 1 + c.rng.IntN(12) {
			c.append(1)
		}
	}
}

// fit is how many of n tokens the next pass may take.
func (c *cacheTest) fit(n int) int {
	if room := c.cache.Room(); room > 0 {
		return min(n, room)
	}
	return n
}

// gone empties the cache and looks for memory that it keeps.
func (c *cacheTest) gone() {
	c.Helper()
	c.cache.Free()
	if used, _ := c.dev.(*cpu.Device).Memory(); used != 0 || c.cache.Bytes() != 0 {
		c.Errorf("an empty cache takes %d bytes, the device has given out %d", c.cache.Bytes(), used)
	}
}

// TestCacheBetweenLimits: what one cache holds fills another with more or less room, as
// far as it has what that one needs.
func TestCacheBetweenLimits(t *testing.T) {
	t.Parallel()
	const seen = 50
	tests := []struct {
		name     string
		from, to int // limits
		err      string
	}{
		{"into a smaller ring", 64, 20, ""},
		{"from no limit into a ring", 0, 20, ""},
		{"from a ring that is not full into one without a limit", 64, 0, ""},
		{"from a full ring into a larger one", 20, 40, "layer 0: token 14 of 50 is not there"},
		{"from a full ring into one without a limit", 20, 0, "layer 0: token 4 of 50 is not there"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCacheTest(t, cacheKind{dtype: compute.F32, limit: tt.from}, 1)
			for c.list.seen < seen {
				c.append(c.fit(seen - c.list.seen))
			}
			was := c.cache
			defer was.Free()
			c.list.limit, c.list.peak = tt.to, seen
			c.cache = c.empty()
			err := c.cache.Restore(seen, was.State)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got the error %v, expected one with %q", err, tt.err)
				}
				c.list.forget()
				c.agree()
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for layer, shape := range cacheShapes { // those that only the first cache's window forgot
				most, _ := c.list.ring(layer)
				for i := range c.list.layers[layer] {
					c.list.layers[layer][i].missing = most == 0 && shape.Window > 0 && i <= seen-shape.Window
				}
			}
			c.agree()
			for range 30 {
				c.append(1)
				c.agree()
			}
		})
	}
}

// TestCacheOverflow: a full ring takes tokens one at a time; more are an error.
func TestCacheOverflow(t *testing.T) {
	t.Parallel()
	for _, before := range []int{0, 5, 9, 30} {
		c := newCacheTest(t, cacheKind{dtype: compute.F32, limit: 9}, uint64(before))
		for c.list.seen < before {
			c.append(1)
		}
		n := c.cache.Room() + 1
		c.attend(1, n) // the layer with the smallest ring
		if c.tape.Err() == nil {
			t.Errorf("after %d tokens the cache took %d, more than there is room for", before, n)
		}
	}
}

// TestCacheErrors: states that do not belong to a cache, and what it cannot do.
func TestCacheErrors(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	if _, err := NewCache(dev, cacheShapes, 4, compute.F32); err == nil {
		t.Error("a ring of 4 tokens, all of which stay, was made")
	}
	c := newCacheTest(t, cacheKind{dtype: compute.F32, limit: 20}, 1)
	c.append(3)
	c.tape.Reset(false)
	if c.cache.Quantize(c.tape, 8, cacheDim); c.tape.Err() == nil {
		t.Error("a ring was quantized")
	}
	matrix := func(rows, cols int, dtype compute.DType) *quant.Matrix {
		return blank(quant.Format{Kind: quant.Dense, DType: dtype}, rows, cols)
	}
	affine, err := quant.QuantizeAffine(make([]float32, 3*64), 3, 64, 8, 32, quant.F32, quant.RuleCPU)
	if err != nil {
		t.Fatal(err)
	}
	short := matrix(3, 64, compute.F32)
	short.Data = short.Data[:100]
	good := matrix(3, 64, compute.F32)
	for _, tt := range []struct {
		name  string
		state LayerState
		seen  int
		want  string
	}{
		{"fewer bytes than it says", LayerState{Keys: short, Values: good}, 3, "100"},
		{"of another type", LayerState{Keys: matrix(3, 64, compute.F16), Values: matrix(3, 64, compute.F16)}, 3, "not F32 ones"},
		{"too narrow", LayerState{Keys: matrix(3, 32, compute.F32), Values: matrix(3, 32, compute.F32)}, 3, "64 for each"},
		{"fewer values than keys", LayerState{Keys: good, Values: matrix(2, 64, compute.F32)}, 3, "[2, 64]"},
		{"more than were seen", LayerState{Keys: good, Values: good}, 2, "2 tokens or fewer"},
		{"values in another format", LayerState{Keys: good, Values: affine}, 3, "values are not"},
		{"quantized, for a ring", LayerState{Keys: affine, Values: affine}, 3, "cannot be"},
		{"more first ones than there are", LayerState{Keys: good, Values: good, First: 4}, 9, "the first 4 tokens of 3"},
		{"without the newest", LayerState{Keys: good, Values: good}, 4, "token 0 of 4 is not there"},
		{"without those behind the first", LayerState{Keys: good, Values: good, First: 2}, 4, "token 2 of 4 is not there"},
	} {
		err := c.cache.Restore(tt.seen, func(int) (LayerState, error) { return tt.state, nil })
		if err == nil || !strings.Contains(err.Error(), "layer 0: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, expected an error with %q", tt.name, err, tt.want)
		}
		if c.cache.Len() != 0 || c.cache.Bytes() != 0 {
			t.Errorf("%s: the cache is not empty", tt.name)
		}
	}
}

// fullDevice has memory for left more buffers.
type fullDevice struct {
	compute.Device
	left int
}

func (d *fullDevice) Alloc(s compute.Shape, t compute.DType) (compute.Buffer, error) {
	if d.left--; d.left < 0 {
		return nil, compute.ErrNoMemory
	}
	return d.Device.Alloc(s, t)
}

// TestCacheWithoutMemory: a device that is full is an error of the tape, and what is
// cached stays.
func TestCacheWithoutMemory(t *testing.T) {
	t.Parallel()
	c := newCacheTest(t, cacheKind{dtype: compute.F32, bits: 8}, 3)
	c.append(200)
	on := func(dev compute.Device) {
		for _, l := range c.cache.layers {
			l.(*plain).dev = dev
		}
	}
	for left := range 6 { // keys and values are three buffers each
		on(&fullDevice{c.dev, left})
		c.tape.Reset(false)
		c.cache.Quantize(c.tape, 8, cacheDim)
		if err := c.tape.Err(); !errors.Is(err, compute.ErrNoMemory) {
			t.Errorf("quantizing with memory for %d buffers: %v", left, err)
		}
	}
	on(&fullDevice{c.dev, 0})
	c.attend(0, 100)
	if err := c.tape.Err(); !errors.Is(err, compute.ErrNoMemory) || !strings.Contains(err.Error(), "KV cache of 512 tokens") {
		t.Errorf("growing without memory: %v", err)
	}
	on(c.dev)
	c.agree()
	c.append(100)
	c.agree()
	c.gone()
}
