package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

const (
	width, inner = 64, 96 // D, and the width of feed-forward parts
	headDim      = 16
	eps          = float32(1e-5)

	// partTolerance is relative to the largest output: float32 sums over up to 96 values,
	// a few of them in a row.
	partTolerance = 1e-5
)

// parts makes parts of random numbers, and knows them in float64.
type parts struct {
	*testing.T
	dev  compute.Device
	rng  *rand.Rand
	made []func() // what frees them
}

func newParts(t *testing.T, seed uint64) *parts {
	return &parts{T: t, dev: newCPU(t), rng: rand.New(rand.NewPCG(seed, 3))}
}

func (p *parts) values(n int, size float64) []float32 { return random(p.rng, n, size) }

// vector is a lasting tensor [n] with values around mean.
func (p *parts) vector(n int, mean float32) *tensor.Tensor {
	p.Helper()
	v := p.values(n, 0.3)
	for i := range v {
		v[i] += mean
	}
	x, err := tensor.NewFloats(p.dev, compute.Shape{n}, v)
	if err != nil {
		p.Fatal(err)
	}
	p.made = append(p.made, x.Free)
	return x
}

// linear makes a projection of so many bits (0: float32), a stack where experts is not 0.
func (p *parts) linear(name string, out, in, bits, experts int, bias bool) *Linear {
	p.Helper()
	rows := out * max(experts, 1)
	values := p.values(rows*in, 0.2)
	m := &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: quant.F32}, Rows: rows, Cols: in, Data: compute.FloatBytes(values)}
	var err error
	if bits > 0 {
		if m, err = quant.QuantizeAffine(values, rows, in, bits, 32, quant.F16, quant.RuleMetal); err != nil {
			p.Fatal(err)
		}
	}
	l := &Linear{Name: name, Experts: experts}
	if l.Weight, err = tensor.ImportWeight(p.dev, m); err != nil {
		p.Fatal(err)
	}
	p.made = append(p.made, l.Weight.Free)
	if bias {
		l.Bias = p.vector(out, 0)
	}
	return l
}

// adapt attaches a LoRA that changes something.
func (p *parts) adapt(l *Linear) *LoRA {
	p.Helper()
	n := max(l.Experts, 1) * rank
	lora, err := NewLoRA(p.dev, l, rank, scale, 0, p.values(n*l.In(), 0.3), p.values(n*l.Out(), 0.3))
	if err != nil {
		p.Fatal(err)
	}
	l.Adapter = lora
	p.made = append(p.made, lora.Free)
	return lora
}

// run reads what f gives, with the steps recorded or not.
func (p *parts) run(recording bool, f func(t *tensor.Tape) *tensor.Tensor) []float32 {
	p.Helper()
	t := tensor.NewTape(p.dev)
	t.Exact = true
	t.Reset(recording)
	var y []float32
	t.Scope(func() *tensor.Tensor { y = t.Read(f(t)); return nil })
	if err := t.Err(); err != nil {
		p.Fatal(err)
	}
	t.Reset(false)
	return y
}

// near compares a result with the reference.
func (p *parts) near(what string, got []float32, want rows64) {
	p.Helper()
	flat := want.flat()
	if len(got) != len(flat) {
		p.Fatalf("%s: %d values, expected %d", what, len(got), len(flat))
	}
	var top float64
	for _, w := range flat {
		top = max(top, math.Abs(w))
	}
	for i, w := range flat {
		if !(math.Abs(float64(got[i])-w) <= partTolerance*top) {
			p.Fatalf("%s: output %d is %g, expected %g; the largest is %g", what, i, got[i], w, top)
		}
	}
}

// free gives back all that was made, and looks for what was not.
func (p *parts) free() {
	p.Helper()
	for _, free := range p.made {
		free()
	}
	if used, _ := p.dev.(*cpu.Device).Memory(); used != 0 {
		p.Errorf("%d bytes were not freed", used)
	}
}

// weight64 is the matrix of a projection with its LoRA in it, that of expert e of a stack.
func (p *parts) weight64(l *Linear, e int) rows64 {
	p.Helper()
	m, err := l.Weight.Host(p.dev)
	if err != nil {
		p.Fatal(err)
	}
	w := widen(m.Floats(), l.In())[e*l.Out() : (e+1)*l.Out()]
	lora, ok := l.Adapter.(*LoRA)
	if !ok {
		return w
	}
	a, b := widen(read(p.T, p.dev, lora.A), lora.A.Cols()), widen(read(p.T, p.dev, lora.B), lora.B.Cols())
	if l.Experts > 0 { // those of a stack are the other way round
		a, b = a[e*rank:(e+1)*rank].transposed(), b[e*l.Out():(e+1)*l.Out()].transposed()
	}
	return updated64(w, a, b, float64(lora.Scale))
}

// apply64 is a projection of x.
func (p *parts) apply64(l *Linear, x rows64) rows64 {
	p.Helper()
	var bias []float64
	if l.Bias != nil {
		bias = p.vector64(l.Bias)
	}
	return linear64(x, p.weight64(l, 0), bias)
}

func (p *parts) vector64(x *tensor.Tensor) []float64 {
	p.Helper()
	return widen(read(p.T, p.dev, x), x.Cols())[0]
}

func TestLinear(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{0, 3, 4, 8} {
		for _, bias := range []bool{false, true} {
			p := newParts(t, uint64(bits))
			l := p.linear("proj", 24, width, bits, 0, bias)
			x := p.values(tokens*width, 1)
			forward := func(t *tensor.Tape) *tensor.Tensor { return l.Forward(t, t.Floats(x, tokens, width)) }
			for _, adapted := range []bool{false, true} {
				if adapted {
					p.adapt(l)
				}
				for _, recording := range []bool{false, true} {
					what := fmt.Sprintf("%d bits, bias %v, LoRA %v, recording %v", bits, bias, adapted, recording)
					p.near(what, p.run(recording, forward), p.apply64(l, widen(x, width)))
				}
			}
			p.free()
		}
	}
}

// slotted is an Adapter that is told what it is attached to and makes something up.
type slotted struct {
	l   *Linear
	ids *tensor.Tensor
}

func (s *slotted) Forward(t *tensor.Tape, l *Linear, x, ids *tensor.Tensor) *tensor.Tensor {
	s.l, s.ids = l, ids
	return t.Add(x, x)
}
func (s *slotted) Params() []Param { return nil }
func (s *slotted) Free()           {}

// TestAdapterSlot: what an adapter gives is a projection's output, whatever it is.
func TestAdapterSlot(t *testing.T) {
	t.Parallel()
	p := newParts(t, 1)
	x := p.values(tokens*width, 1)
	twice := add64(widen(x, width), widen(x, width))
	adapter := &slotted{}
	l := p.linear("proj", width, width, 4, 0, true)
	l.Adapter = adapter
	p.near("linear", p.run(false, func(t *tensor.Tape) *tensor.Tensor { return l.Forward(t, t.Floats(x, tokens, width)) }), twice)
	if adapter.l != l || adapter.ids != nil {
		t.Errorf("the adapter of %v was given %v, experts %v", l, adapter.l, adapter.ids)
	}
	stack := p.linear("stack", width, width, 4, 3, false)
	stack.Adapter = adapter
	var ids *tensor.Tensor
	p.near("experts", p.run(false, func(t *tensor.Tape) *tensor.Tensor {
		ids = t.Ints(make([]int32, tokens))
		return stack.ForwardExperts(t, t.Floats(x, tokens, width), ids)
	}), twice)
	if adapter.l != stack || adapter.ids != ids {
		t.Errorf("the adapter of %v was given %v, experts %v", stack, adapter.l, adapter.ids)
	}
	p.free()
}

// TestLoRA: names and shapes are those of mlx-lm's files, and values that do not fit
// are refused without a trace.
func TestLoRA(t *testing.T) {
	t.Parallel()
	p := newParts(t, 2)
	plain, stack := p.linear("proj", 24, width, 4, 0, false), p.linear("stack", 24, width, 4, 3, false)
	for _, tt := range []struct {
		l    *Linear
		a, b compute.Shape // in files
	}{
		{plain, compute.Shape{width, rank}, compute.Shape{rank, 24}},
		{stack, compute.Shape{3, rank, width}, compute.Shape{3, 24, rank}},
	} {
		lora := p.adapt(tt.l)
		if lora.Rank() != rank {
			t.Errorf("%s: rank %d, expected %d", tt.l.Name, lora.Rank(), rank)
		}
		params := lora.Params()
		for i, want := range []struct {
			name  string
			shape compute.Shape
		}{{tt.l.Name + ".lora_a", tt.a}, {tt.l.Name + ".lora_b", tt.b}} {
			if got := params[i]; got.Name != want.name || !got.FileShape().Equal(want.shape) || !got.Trainable() {
				t.Errorf("parameter %s %v, trainable %v; expected %s %v", got.Name, got.FileShape(), got.Trainable(), want.name, want.shape)
			}
		}
	}
	used, _ := p.dev.(*cpu.Device).Memory()
	a, b := make([]float32, width*rank), make([]float32, rank*24)
	if _, err := NewLoRA(p.dev, plain, rank, scale, 0, a[1:], b); err == nil {
		t.Error("too few values of A were taken")
	}
	if _, err := NewLoRA(p.dev, plain, rank, scale, 0, a, b[1:]); err == nil {
		t.Error("too few values of B were taken")
	}
	if err := stack.Adapter.(*LoRA).AddMagnitude(p.dev, stack); err == nil {
		t.Error("a stack of experts became a DoRA")
	}
	if now, _ := p.dev.(*cpu.Device).Memory(); now != used {
		t.Errorf("refused values took %d bytes", now-used)
	}
	fresh, err := NewLoRA(p.dev, plain, rank, scale, 0, p.values(len(a), 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b := read(t, p.dev, fresh.B); slices.ContainsFunc(b, func(v float32) bool { return v != 0 }) {
		t.Errorf("B of a new LoRA is %v, expected zeros", b)
	}
	fresh.Free()
	p.free()
}

func TestRMSNorm(t *testing.T) {
	t.Parallel()
	p := newParts(t, 3)
	w := p.vector(headDim, 1)
	x := p.values(tokens*width, 1)
	clear(x[:headDim])                      // zeros stay zeros
	for i := range x[headDim : 2*headDim] { // small ones are scaled by eps
		x[headDim+i] *= 1e-3
	}
	got := p.run(false, func(t *tensor.Tape) *tensor.Tensor { return t.RMSNorm(t.Floats(x, tokens, width), w, eps) })
	p.near("four heads in a row", got, rmsNorm64(widen(x, width), p.vector64(w), float64(eps)))
	p.free()
}

// positions are those of two packed sequences, the second far into a text.
var positions = []int32{0, 1, 2, 1000, 1001, 1002, 1003, 1004, 1005}

// frequencies are those of base 10,000; powers of two, so that float32 has them.
var frequencies = []float64{1, 0.25, 1.0 / 16, 1.0 / 64, 1.0 / 256, 1.0 / 1024, 1.0 / 4096, 1.0 / 16384}

// rotation makes the angles of positions.
func (p *parts) rotation(t *tensor.Tape, positions []int32, n int) tensor.Rotation {
	freq := make([]float32, n)
	for i := range freq {
		freq[i] = float32(frequencies[i])
	}
	return t.RopeTable(t.Ints(positions), t.Floats(freq), 1)
}

func TestRoPE(t *testing.T) {
	t.Parallel()
	for _, traditional := range []bool{false, true} {
		for _, pairs := range []int{headDim / 2, 3} { // of all values, and of the first ones
			p := newParts(t, 4)
			x := p.values(len(positions)*width, 1)
			got := p.run(false, func(t *tensor.Tape) *tensor.Tensor {
				y := t.Floats(x, len(positions), width)
				t.RoPE(y, p.rotation(t, positions, pairs), headDim, traditional)
				return y
			})
			p.near(fmt.Sprintf("traditional %v, %d pairs", traditional, pairs), got, rope64(widen(x, width), positions, frequencies[:pairs], headDim, traditional))
			p.free()
		}
	}
}

// gqa makes attention with groups of heads.
func (p *parts) gqa(name string, heads, kvHeads int) *GQA {
	return &GQA{
		Heads: heads, KVHeads: kvHeads, HeadDim: headDim, Scale: 0.25, Eps: eps,
		Q: p.linear(name+"q_proj", heads*headDim, width, 0, 0, true),
		K: p.linear(name+"k_proj", kvHeads*headDim, width, 0, 0, true),
		V: p.linear(name+"v_proj", kvHeads*headDim, width, 4, 0, true),
		O: p.linear(name+"o_proj", width, heads*headDim, 4, 0, false),
	}
}

// attention64 is a over x of one or several sequences.
func (p *parts) attention64(a *GQA, x rows64, positions, bounds []int32) rows64 {
	p.Helper()
	q, k, v := p.apply64(a.Q, x), p.apply64(a.K, x), p.apply64(a.V, x)
	if a.QNorm != nil {
		q, k = rmsNorm64(q, p.vector64(a.QNorm), float64(eps)), rmsNorm64(k, p.vector64(a.KNorm), float64(eps))
	}
	if !a.NoRope {
		q = rope64(q, positions, frequencies, headDim, a.Traditional)
		k = rope64(k, positions, frequencies, headDim, a.Traditional)
	}
	return p.apply64(a.O, attention64(q, k, v, a, bounds))
}

// TestGQA: two packed sequences at once, and one sequence by way of a cache, in pieces.
func TestGQA(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		heads, kvHeads int
		change         func(p *parts, a *GQA)
	}{
		{"groups of two", 4, 2, func(*parts, *GQA) {}},
		{"a head each", 4, 4, func(*parts, *GQA) {}},
		{"one for all", 4, 1, func(*parts, *GQA) {}},
		{"norms of heads", 4, 2, func(p *parts, a *GQA) { a.QNorm, a.KNorm = p.vector(headDim, 1), p.vector(headDim, 1) }},
		{"without positions", 4, 2, func(_ *parts, a *GQA) { a.NoRope = true }},
		{"traditional pairs", 4, 2, func(_ *parts, a *GQA) { a.Traditional = true }},
		{"a window", 4, 2, func(_ *parts, a *GQA) { a.Window = 3 }},
		{"LoRA on all projections", 4, 2, func(p *parts, a *GQA) {
			for _, l := range a.Linears() {
				p.adapt(l)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newParts(t, 5)
			a := p.gqa("", tt.heads, tt.kvHeads)
			tt.change(p, a)
			if got := a.KV(); got != (KVShape{Heads: tt.kvHeads, HeadDim: headDim, Window: a.Window}) {
				t.Errorf("keys and values are %+v", got)
			}
			if a.QNorm == nil != (a.Norms() == nil) {
				t.Errorf("norms %v", a.Norms())
			}
			n, bounds := len(positions), []int32{0, 3, int32(len(positions))}
			x := p.values(n*width, 1)
			for _, recording := range []bool{false, true} {
				got := p.run(recording, func(t *tensor.Tape) *tensor.Tensor {
					pass := Pass{Rotation: p.rotation(t, positions, headDim/2), Bounds: t.Ints(bounds)}
					return a.Forward(t, t.Floats(x, n, width), pass, 0)
				})
				p.near(fmt.Sprint("packed, recording ", recording), got, p.attention64(a, widen(x, width), positions, bounds))
			}
			p.cached(a, x)
			p.free()
		})
	}
}

// cached runs x as one sequence in three pieces.
func (p *parts) cached(a *GQA, x []float32) {
	p.Helper()
	n := len(x) / width
	one := make([]int32, n)
	for i := range one {
		one[i] = int32(i)
	}
	cache, err := NewCache(p.dev, []KVShape{a.KV()}, 0, compute.F32)
	if err != nil {
		p.Fatal(err)
	}
	var got []float32
	for _, end := range []int{4, 5, n} {
		at := cache.Len()
		got = append(got, p.run(false, func(t *tensor.Tape) *tensor.Tensor {
			pass := Pass{Rotation: p.rotation(t, one[at:end], headDim/2), Caches: NewCaches(t, []Piece{{end - at, cache}})}
			defer pass.Caches.Advance()
			return a.Forward(t, t.Floats(x[at*width:end*width], end-at, width), pass, 0)
		})...)
	}
	p.near("in pieces", got, p.attention64(a, widen(x, width), one, []int32{0, int32(n)}))
	cache.Free()
}

func (p *parts) mlp(name string) *MLP {
	return &MLP{
		Gate: p.linear(name+"gate_proj", inner, width, 4, 0, true),
		Up:   p.linear(name+"up_proj", inner, width, 0, 0, false),
		Down: p.linear(name+"down_proj", width, inner, 8, 0, true),
	}
}

func (p *parts) mlp64(m *MLP, x rows64) rows64 {
	p.Helper()
	return p.apply64(m.Down, swiglu64(p.apply64(m.Gate, x), p.apply64(m.Up, x)))
}

func TestMLP(t *testing.T) {
	t.Parallel()
	p := newParts(t, 6)
	m := p.mlp("")
	x := p.values(tokens*width, 1)
	for _, adapted := range []bool{false, true} {
		if adapted {
			for _, l := range m.Linears() {
				p.adapt(l)
			}
		}
		got := p.run(adapted, func(t *tensor.Tape) *tensor.Tensor { return m.Forward(t, t.Floats(x, tokens, width)) })
		p.near(fmt.Sprint("LoRA ", adapted), got, p.mlp64(m, widen(x, width)))
	}
	p.free()
}

// moe makes five experts of which k are used.
func (p *parts) moe(name string, k int, normalize bool) *MoE {
	const experts = 5
	return &MoE{
		Router: p.linear(name+"gate", experts, width, 0, 0, false),
		Gate:   p.linear(name+"switch_mlp.gate_proj", inner, width, 4, experts, false),
		Up:     p.linear(name+"switch_mlp.up_proj", inner, width, 0, experts, false),
		Down:   p.linear(name+"switch_mlp.down_proj", width, inner, 8, experts, false),
		K:      k, Normalize: normalize,
	}
}

func (p *parts) moe64(m *MoE, x rows64) rows64 {
	p.Helper()
	logits := p.apply64(m.Router, x)
	return x.each(func(t int, row []float64) []float64 {
		y := rows64{make([]float64, width)}
		ids, scores := route64(logits[t], m.K, m.Normalize)
		for i, e := range ids {
			one := rows64{row}
			h := linear64(swiglu64(linear64(one, p.weight64(m.Gate, e), nil), linear64(one, p.weight64(m.Up, e), nil)), p.weight64(m.Down, e), nil)
			for d := range h[0] {
				y[0][d] += scores[i] * h[0][d]
			}
		}
		return y[0]
	})
}

func TestMoE(t *testing.T) {
	t.Parallel()
	for _, k := range []int{1, 2, 5} {
		for _, normalize := range []bool{false, true} {
			p := newParts(t, 7)
			m := p.moe("", k, normalize)
			x := p.values(tokens*width, 1)
			for _, adapted := range []bool{false, true} {
				if adapted {
					for _, l := range m.Linears() {
						p.adapt(l)
					}
				}
				got := p.run(adapted, func(t *tensor.Tape) *tensor.Tensor { return m.Forward(t, t.Floats(x, tokens, width)) })
				p.near(fmt.Sprintf("%d experts, normalized %v, LoRA %v", k, normalize, adapted), got, p.moe64(m, widen(x, width)))
			}
			p.free()
		}
	}
}

// TestBlock: both parts with their norms and residual sums, and mlx-lm's order of attachment.
func TestBlock(t *testing.T) {
	t.Parallel()
	p := newParts(t, 8)
	a, mlp, moe := p.gqa("self_attn.", 4, 2), p.mlp("mlp."), p.moe("mlp.", 2, true)
	b := &Block{Attention: a, InputNorm: p.vector(width, 1), PostNorm: p.vector(width, 1), Eps: eps}
	n, bounds := len(positions), []int32{0, 3, int32(len(positions))}
	x := p.values(n*width, 1)
	for _, tt := range []struct {
		part  FeedForward
		run64 func(rows64) rows64
		names []string
	}{
		{mlp, func(x rows64) rows64 { return p.mlp64(mlp, x) }, []string{"mlp.up_proj", "mlp.down_proj", "mlp.gate_proj"}},
		{moe, func(x rows64) rows64 { return p.moe64(moe, x) }, []string{"mlp.switch_mlp.down_proj", "mlp.switch_mlp.up_proj", "mlp.switch_mlp.gate_proj", "mlp.gate"}},
	} {
		b.MLP = tt.part
		got := p.run(false, func(t *tensor.Tape) *tensor.Tensor {
			pass := Pass{Rotation: p.rotation(t, positions, headDim/2), Bounds: t.Ints(bounds)}
			return b.Forward(t, t.Floats(x, n, width), pass)
		})
		h := add64(widen(x, width), p.attention64(a, rmsNorm64(widen(x, width), p.vector64(b.InputNorm), float64(eps)), positions, bounds))
		p.near(fmt.Sprintf("%T", tt.part), got, add64(h, tt.run64(rmsNorm64(h, p.vector64(b.PostNorm), float64(eps)))))

		var names []string
		for _, l := range b.Linears() {
			names = append(names, l.Name)
		}
		want := append(tt.names, "self_attn.o_proj", "self_attn.v_proj", "self_attn.k_proj", "self_attn.q_proj")
		if !slices.Equal(names, want) {
			t.Errorf("projections %v, expected %v", names, want)
		}
	}
	p.free()
}
