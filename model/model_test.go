package model_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

const (
	// sameTolerance is for results that differ by the order of float32 sums only:
	// values of size 1 to 10, sums of 64 terms, two layers.
	sameTolerance = 2e-4
	// Derivatives of a float32 loss by a step of fdStep are off by about
	// 1e-6/fdStep from rounding, and by fdStep⁴ from the formula.
	fdStep      = 1e-2
	fdTolerance = 1e-2 // of the gradient's norm along a random direction
	fdFloor     = 2e-4
)

func newCPU(t *testing.T) *cpu.Device {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.(*cpu.Device).Close() })
	return dev.(*cpu.Device)
}

func used(dev *cpu.Device) int64 {
	n, _ := dev.Memory()
	return n
}

// rows of tokens for training: two sequences packed.
var (
	batch = model.Batch{
		Tokens:    []int32{5, 9, 40, 2, 17, 5, 33, 21, 5, 5, 30},
		Positions: []int32{0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4},
		Bounds:    []int32{0, 6, 11},
	}
	lossRows   = []int32{1, 2, 4, 5, 6, 8, 10}
	targets    = []int32{40, 2, 5, 8, 21, 5, 47}
	rowWeights = []float32{0.5, 0.5, 1, 0.25, 0.5, 0, 1}
)

// lossOf is Σ weight·loss of a batch; with recording on the tape is ready for Backward.
func lossOf(t *testing.T, tape *tensor.Tape, m *model.Model, checkpoint bool) float64 {
	t.Helper()
	var losses []float32
	tape.Scope(func() *tensor.Tensor {
		x, pass := m.Begin(tape, batch, nil)
		x = m.Layers(tape, x, pass, 0, len(m.Blocks), checkpoint)
		losses = tape.Read(m.Loss(tape, x, lossRows, targets, rowWeights))
		return nil
	})
	if err := tape.Err(); err != nil {
		t.Fatal(err)
	}
	var sum float64
	for i, l := range losses {
		sum += float64(l) * float64(rowWeights[i])
	}
	return sum
}

// gradients of the loss by parameter name; they are forgotten by the model.
func gradients(t *testing.T, m *model.Model, checkpoint bool) map[string][]float32 {
	t.Helper()
	return gradientsOn(t, tensor.NewTape(m.Device()), m, checkpoint)
}

func gradientsOn(t *testing.T, tape *tensor.Tape, m *model.Model, checkpoint bool) map[string][]float32 {
	t.Helper()
	tape.Reset(true)
	tape.Keys = compute.NewKey(1)
	lossOf(t, tape, m, checkpoint)
	if err := tape.Backward(); err != nil {
		t.Fatal(err)
	}
	out := map[string][]float32{}
	for _, p := range m.Trainable() {
		if p.Grad() == nil {
			t.Fatalf("%s has no gradient", p.Name)
		}
		g := make([]float32, p.Shape().Elems())
		if err := m.Device().Read(p.Grad(), compute.FloatBytes(g)); err != nil {
			t.Fatal(err)
		}
		out[p.Name] = g
		p.FreeGrad()
	}
	return out
}

func norm(v []float32) float64 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// checkGradients compares every gradient with finite differences along a random direction.
func checkGradients(t *testing.T, m *model.Model) {
	t.Helper()
	grads := gradients(t, m, false)
	random := rand.New(rand.NewPCG(5, 6))
	for _, p := range m.Trainable() {
		values := make([]float32, p.Shape().Elems())
		if err := m.Device().Read(p.Buffer(), compute.FloatBytes(values)); err != nil {
			t.Fatal(err)
		}
		g := grads[p.Name]
		// A direction that leans towards the gradient, so that the derivative is not near zero.
		direction, length := make([]float32, len(g)), float64(0)
		for i := range direction {
			direction[i] = g[i] + float32(random.NormFloat64()*norm(g)/math.Sqrt(float64(len(g))))
			length += float64(direction[i]) * float64(direction[i])
		}
		length = math.Sqrt(length)
		var want float64
		for i := range direction {
			direction[i] /= float32(length)
			want += float64(direction[i]) * float64(g[i])
		}
		at := func(by float32) float64 {
			moved := slices.Clone(values)
			for i := range moved {
				moved[i] += by * direction[i]
			}
			if err := m.Device().Write(p.Buffer(), compute.FloatBytes(moved)); err != nil {
				t.Fatal(err)
			}
			tape := tensor.NewTape(m.Device())
			tape.Exact = true
			return lossOf(t, tape, m, false)
		}
		got := (8*(at(fdStep)-at(-fdStep)) - (at(2*fdStep) - at(-2*fdStep))) / (12 * fdStep)
		at(0)
		if !(math.Abs(got-want) <= fdTolerance*norm(g)+fdFloor) {
			t.Errorf("%s: derivative %g, finite differences %g", p.Name, want, got)
		}
	}
}

func TestLoRAGradients(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		for _, bits := range []int{0, 4} {
			spec.Bits = bits
			m := modeltest.Load(t, newCPU(t), spec.Smooth())
			c := adapter.Config{Rank: 2, Scale: 2, NumLayers: -1}
			if !m.Tied {
				for _, l := range m.Linears() {
					c.Keys = append(c.Keys, l.Name)
				}
			}
			if _, err := adapter.New(m, c, compute.NewKey(0)); err != nil {
				t.Fatal(err)
			}
			modeltest.Shake(t, m, 0.1)
			t.Run(spec.Type, func(t *testing.T) { checkGradients(t, m) })
		}
	}
}

func TestFullGradients(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		m := modeltest.Load(t, newCPU(t), spec.Smooth())
		if err := m.Unfreeze(-1, true); err != nil {
			t.Fatal(err)
		}
		t.Run(spec.Type, func(t *testing.T) { checkGradients(t, m) })
	}
}

// TestRecomputed: results that are computed again in the backward pass give the same gradients, to the bit, and take less memory.
func TestRecomputed(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		var all [2]map[string][]float32
		var peaks [2]int64
		for i, from := range []int64{1 << 40, 1} {
			dev := newCPU(t)
			m := modeltest.Load(t, dev, spec)
			if _, err := adapter.New(m, adapter.Config{Rank: 2, Scale: 1}, compute.NewKey(0)); err != nil {
				t.Fatal(err)
			}
			modeltest.Shake(t, m, 0.1)
			tape := tensor.NewTape(dev)
			tape.Recompute = from
			before := used(dev)
			all[i] = gradientsOn(t, tape, m, false)
			if now := used(dev); now != before {
				t.Errorf("%s: %d bytes are held, %d before", spec.Type, now, before)
			}
			_, peaks[i] = dev.Memory()
		}
		for name, want := range all[0] {
			if !slices.Equal(all[1][name], want) {
				t.Errorf("%s: the gradient of %s differs", spec.Type, name)
			}
		}
		if peaks[1] >= peaks[0] {
			t.Errorf("%s: %d bytes at most, %d where all is kept", spec.Type, peaks[1], peaks[0])
		}
	}
}

// TestCheckpointedGradients wants them equal bit for bit: with dropout, with a
// block below that is frozen, and with one of which only a part is trained.
func TestCheckpointedGradients(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]adapter.Config{
		"all layers":     {Rank: 2, Scale: 2, Dropout: 0.2},
		"the last layer": {Rank: 2, Scale: 2, Dropout: 0.2, NumLayers: 1},
		"up and v only":  {Rank: 2, Scale: 2, NumLayers: 1, Keys: []string{"mlp.up_proj", "self_attn.v_proj"}},
		"head only":      {Rank: 2, Scale: 2, NumLayers: 1, Keys: []string{"lm_head"}},
	} {
		dev := newCPU(t)
		m := modeltest.Load(t, dev, modeltest.Architectures()[0])
		if _, err := adapter.New(m, c, compute.NewKey(0)); err != nil {
			t.Fatal(err)
		}
		modeltest.Shake(t, m, 0.1)
		before := used(dev)
		want, got := gradients(t, m, false), gradients(t, m, true)
		for n := range want {
			if !slices.Equal(want[n], got[n]) {
				t.Errorf("%s: gradients of %s differ", name, n)
			}
		}
		if after := used(dev); after != before {
			t.Errorf("%s: %d bytes held after the passes, %d before", name, after, before)
		}
	}
}

// TestLossOfAllRows: a loss of all rows, which are not gathered, is that of the same rows with one more, which counts nothing.
func TestLossOfAllRows(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), modeltest.Architectures()[0].Smooth())
	if err := m.Unfreeze(-1, true); err != nil {
		t.Fatal(err)
	}
	pass := func(rows, targets []int32, weights []float32) (losses []float32, grads map[string][]float32) {
		tape := tensor.NewTape(m.Device())
		tape.Reset(true)
		tape.Scope(func() *tensor.Tensor {
			x, pass := m.Begin(tape, batch, nil)
			x = m.Layers(tape, x, pass, 0, len(m.Blocks), false)
			losses = tape.Read(m.Loss(tape, x, rows, targets, weights))
			return nil
		})
		if err := tape.Backward(); err != nil {
			t.Fatal(err)
		}
		grads = map[string][]float32{}
		for _, p := range m.Trainable() {
			g := make([]float32, p.Shape().Elems())
			if err := m.Device().Read(p.Grad(), compute.FloatBytes(g)); err != nil {
				t.Fatal(err)
			}
			grads[p.Name] = g
			p.FreeGrad()
		}
		return losses, grads
	}
	rows, weights := make([]int32, len(batch.Tokens)), make([]float32, len(batch.Tokens))
	for i := range rows {
		rows[i], weights[i] = int32(i), 0.1*float32(1+i)
	}
	losses, grads := pass(rows, batch.Tokens, weights)
	wantLosses, wantGrads := pass(append(slices.Clip(rows), 3), append(slices.Clip(batch.Tokens), 1), append(slices.Clip(weights), 0))
	modeltest.Alike(t, "losses", losses, wantLosses[:len(rows)], sameTolerance)
	for name, g := range grads {
		modeltest.Alike(t, "gradient of "+name, g, wantGrads[name], sameTolerance)
	}
}

// TestPackedRows compares a packed batch with its rows one by one.
func TestPackedRows(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		m := modeltest.Load(t, newCPU(t), spec.Smooth())
		if err := m.Unfreeze(-1, true); err != nil {
			t.Fatal(err)
		}
		pass := func(b model.Batch, rows, targets []int32, weights []float32) (losses []float32) {
			tape := tensor.NewTape(m.Device())
			tape.Reset(true)
			tape.Scope(func() *tensor.Tensor {
				x, pass := m.Begin(tape, b, nil)
				x = m.Layers(tape, x, pass, 0, len(m.Blocks), false)
				losses = tape.Read(m.Loss(tape, x, rows, targets, weights))
				return nil
			})
			if err := tape.Backward(); err != nil {
				t.Fatal(err)
			}
			return losses
		}
		read := func() map[string][]float32 {
			out := map[string][]float32{}
			for _, p := range m.Trainable() {
				g := make([]float32, p.Shape().Elems())
				if err := m.Device().Read(p.Grad(), compute.FloatBytes(g)); err != nil {
					t.Fatal(err)
				}
				out[p.Name] = g
				p.ZeroGrad()
			}
			return out
		}
		want := pass(batch, lossRows, targets, rowWeights)
		wantGrads := read()
		const cut, cutLoss = 6, 4 // tokens and loss rows of the first sequence
		second := make([]int32, len(lossRows)-cutLoss)
		for i := range second {
			second[i] = lossRows[cutLoss+i] - cut
		}
		got := pass(model.Sequence(batch.Tokens[:cut], 0), lossRows[:cutLoss], targets[:cutLoss], rowWeights[:cutLoss])
		got = append(got, pass(model.Sequence(batch.Tokens[cut:], 0), second, targets[cutLoss:], rowWeights[cutLoss:])...)
		modeltest.Alike(t, spec.Type+": losses", got, want, sameTolerance)
		for name, g := range read() {
			modeltest.Alike(t, spec.Type+": gradient of "+name, g, wantGrads[name], sameTolerance)
		}
	}
}

// walk feeds tokens in pieces and calls see after each with the number so far.
func walk(t *testing.T, m *model.Model, cache *nn.Cache, tokens []int32, pieces []int, see func(n int, logits []float32)) {
	t.Helper()
	tape := tensor.NewTape(m.Device())
	tape.Exact = true
	for at, i := 0, 0; at < len(tokens); i++ {
		n := min(pieces[i%len(pieces)], len(tokens)-at)
		if room := cache.Room(); room > 0 {
			n = min(n, room)
		}
		var logits []float32
		tape.Scope(func() *tensor.Tensor { logits = tape.Read(m.Step(tape, tokens[at:at+n], cache)); return nil })
		if err := tape.Err(); err != nil {
			t.Fatal(err)
		}
		at += n
		see(at, logits)
	}
}

func newCache(t *testing.T, m *model.Model, limit int) *nn.Cache {
	t.Helper()
	cache, err := m.NewCache(limit, compute.F32)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Free)
	return cache
}

func TestCachedStepsEqualOnePass(t *testing.T) {
	t.Parallel()
	tokens := modeltest.Sequence(20)
	for _, spec := range modeltest.Architectures() {
		m := modeltest.Load(t, newCPU(t), spec)
		for _, limit := range []int{0, len(tokens)} {
			walk(t, m, newCache(t, m, limit), tokens, []int{3, 1, 1, 6, 2}, func(n int, logits []float32) {
				modeltest.Alike(t, spec.Type, logits, modeltest.Logits(t, m, model.Sequence(tokens[:n], 0)), sameTolerance)
			})
		}
	}
}

// TestRotatingCache checks what a full cache sees: the first four tokens and
// the newest others. With one layer that is a batch of just these tokens.
func TestRotatingCache(t *testing.T) {
	t.Parallel()
	const limit, sink = 9, 4
	m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama", Config: map[string]any{"num_hidden_layers": 1}})
	tokens := modeltest.Sequence(30)
	cache := newCache(t, m, limit)
	walk(t, m, cache, tokens, []int{5}, func(n int, logits []float32) {
		seen := model.Sequence(tokens[:n], 0)
		if n > limit {
			from := n - (limit - sink)
			seen.Tokens = slices.Concat(tokens[:sink], tokens[from:n])
			seen.Positions = slices.Concat(seen.Positions[:sink], seen.Positions[from:n])
			seen.Bounds = []int32{0, limit}
		}
		modeltest.Alike(t, "logits", logits, modeltest.Logits(t, m, seen), sameTolerance)
	})
	if cache.Trim(5) == nil {
		t.Error("a rotating cache was cut back")
	}
}

// TestWindowInLimitedCache checks that a ring of a window's size gives what the
// window gives in a cache that keeps everything.
func TestWindowInLimitedCache(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "mistral", Config: map[string]any{
		"layer_types": []string{"sliding_attention", "sliding_attention"}, "sliding_window": 6,
	}})
	tokens := modeltest.Sequence(40)
	want := map[int][]float32{}
	walk(t, m, newCache(t, m, 0), tokens, []int{1}, func(n int, logits []float32) { want[n] = logits })
	walk(t, m, newCache(t, m, 8), tokens, []int{4, 1}, func(n int, logits []float32) {
		modeltest.Alike(t, "logits", logits, want[n], sameTolerance)
	})
}

func TestCacheTrimAndGrowth(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "qwen2"})
	before := used(dev)
	tokens := modeltest.Sequence(700) // beyond two growths
	cache := newCache(t, m, 0)
	walk(t, m, cache, tokens, []int{100}, func(int, []float32) {})
	if err := cache.Trim(256); err != nil {
		t.Fatal(err)
	}
	tail := []int32{7, 8, 9}
	walk(t, m, cache, tail, []int{2}, func(n int, logits []float32) {
		modeltest.Alike(t, "after Trim", logits, modeltest.Logits(t, m, model.Sequence(slices.Concat(tokens[:256], tail[:n]), 0)), sameTolerance)
	})
	for _, n := range []int{-1, cache.Len() + 1} {
		if cache.Trim(n) == nil {
			t.Errorf("a cache of %d tokens was cut back to %d", cache.Len(), n)
		}
	}
	cache.Free()
	if after := used(dev); after != before {
		t.Errorf("%d bytes held after the cache was freed, %d before", after, before)
	}
	for _, limit := range []int{-1, 1, 4} {
		if _, err := m.NewCache(limit, compute.F32); err == nil {
			t.Errorf("a cache of %d tokens was made", limit)
		}
	}
}

// failing refuses the allocation numbered at.
type failing struct {
	compute.Device
	at, calls int
}

func (f *failing) Alloc(s compute.Shape, t compute.DType) (compute.Buffer, error) {
	if f.calls++; f.calls-1 == f.at {
		return nil, compute.ErrNoMemory
	}
	return f.Device.Alloc(s, t)
}

// TestCacheOutOfMemory refuses one allocation after the other; the same tokens
// then go through as if nothing had been.
func TestCacheOutOfMemory(t *testing.T) {
	t.Parallel()
	f := &failing{Device: newCPU(t), at: -1}
	m := modeltest.Load(t, f, modeltest.Spec{Type: "llama"})
	tokens := modeltest.Sequence(6)
	want := modeltest.Logits(t, m, model.Sequence(tokens, 0))
	for at := 0; ; at++ {
		cache := newCache(t, m, 0)
		walk(t, m, cache, tokens[:4], []int{4}, func(int, []float32) {})
		f.at, f.calls = at, 0
		tape := tensor.NewTape(f)
		tape.Exact = true
		tape.Scope(func() *tensor.Tensor { m.Step(tape, tokens[4:], cache); return nil })
		failed, calls := tape.Err(), f.calls
		f.at = -1
		if calls <= at {
			if failed != nil || cache.Len() != len(tokens) {
				t.Errorf("without a fault: %d tokens, %v", cache.Len(), failed)
			}
			break
		}
		if !errors.Is(failed, compute.ErrNoMemory) || cache.Len() != 4 {
			t.Fatalf("allocation %d refused: %d tokens, error %v", at, cache.Len(), failed)
		}
		walk(t, m, cache, tokens[4:], []int{2}, func(_ int, logits []float32) { modeltest.Alike(t, "after a fault", logits, want, sameTolerance) })
		cache.Free()
	}
}
