package model_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/cuda"
	"github.com/lentil-lm/lentil/compute/cuda/emulate"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// programs counts how often programs run.
type programs struct {
	compute.Device
	runs int
}

type program struct {
	compute.Program
	of *programs
}

func (p *programs) Compile(calls []compute.Call) (compute.Program, error) {
	made, err := p.Device.(compute.Compiler).Compile(calls)
	if err != nil {
		return nil, err
	}
	return &program{made, p}, nil
}

func (p *program) Run() error {
	p.of.runs++
	return p.Program.Run()
}

// TestAgain: passes that are run again give, to the bit, the logits that passes give one by one, while caches grow, sequences
// come and go, and adapters change between answers.
func TestAgain(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		dev := computetest.NewAsync(newCPU(t))
		again(t, dev, spec, nil, 3, 8)
		if spec.Type == "llama" {
			again(t, dev, modeltest.Spec{Type: "llama", Config: map[string]any{"head_dim": 32}}, quantize, 3, 8)
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCardAgain: so they do on an NVIDIA card, or the processor that plays one.
func TestCardAgain(t *testing.T) {
	t.Parallel()
	card, err := cuda.New(cuda.Options{Driver: emulate.Driver(t)})
	if err != nil {
		t.Fatal(err)
	}
	again(t, fallback.New(card), modeltest.Spec{Type: "llama", Bits: 4}, nil, 3, 5)
	if !testing.Short() {
		again(t, fallback.New(card), modeltest.Mixtures()[0], nil, 3, 4)
		again(t, fallback.New(card), modeltest.Spec{Type: "llama", Bits: 4, Config: map[string]any{"head_dim": 32}}, quantize, 3, 4)
	}
	if used, _ := card.Memory(); used != 0 {
		t.Errorf("%d bytes are still held", used)
	}
	if err := card.Close(); err != nil {
		t.Error(err)
	}
}

// quantize makes integers of what a cache holds.
func quantize(t *tensor.Tape, c *nn.Cache) { c.Quantize(t, 8, 32) }

func again(t *testing.T, dev compute.Device, spec modeltest.Spec, begin func(t *tensor.Tape, c *nn.Cache), most, passes int) {
	t.Helper()
	counts := &programs{Device: dev}
	m := modeltest.Load(t, counts, spec)
	defer m.Free()
	tape := tensor.NewTape(counts)
	logits := func(step func() *tensor.Tensor) (v []float32) {
		tape.Scope(func() *tensor.Tensor { v = tape.Read(step()); return nil })
		if err := tape.Err(); err != nil {
			t.Fatal(spec.Type, err)
		}
		return v
	}
	var sides [2][]*nn.Cache
	for side := range sides {
		for i := range most {
			cache, err := m.NewCache(0, compute.BF16)
			if err != nil {
				t.Fatal(err)
			}
			defer cache.Free()
			prompt := modeltest.Sequence(256 - 4*i)[:255-4*i] // caches grow at 256
			logits(func() *tensor.Tensor { return m.Step(tape, prompt, cache) })
			if begin != nil {
				begin(tape, cache)
			}
			sides[side] = append(sides[side], cache)
		}
	}
	var a model.Again
	defer a.Free()
	answers := []any{1, 2, 3}
	check := func(what string, n, passes int) {
		for pass := range passes {
			ids := make([]int32, n)
			for i := range ids {
				ids[i] = int32((7*pass + i) % 40)
			}
			chosen, err := tensor.New(counts, compute.Shape{n}, compute.I32, compute.IntBytes(ids))
			if err != nil {
				t.Fatal(err)
			}
			var rows [2][]model.Row
			for side, caches := range sides {
				for i, c := range caches[:n] {
					row := model.Row{Tokens: ids[i : i+1], Last: 1, Cache: c}
					if side == 0 && pass%3 < 2 { // lies there, all of it or some
						row.Tokens, row.Chosen, row.At = []int32{-1}, chosen, i
						if pass%3 == 1 && i == n-1 {
							row.Chosen, row.Tokens = nil, ids[i:i+1]
						}
					}
					rows[side] = append(rows[side], row)
				}
			}
			got := logits(func() *tensor.Tensor { return a.StepRows(tape, m, rows[0], answers[:n]) })
			if want := logits(func() *tensor.Tensor { return m.StepRows(tape, rows[1]) }); !slices.Equal(got, want) {
				t.Fatalf("%s: %s, pass %d: other logits", spec.Type, what, pass)
			}
			chosen.Free()
		}
	}
	for _, n := range []int{1, most, 2} { // the first pass of each is as it is, and those in which a cache grows
		check("sequences", n, passes)
	}
	if runs := counts.runs; runs < 3*(passes-1)-most {
		t.Errorf("%s: %d passes were run again", spec.Type, runs)
	}
	before := counts.runs
	for range passes { // one is late every other time
		check("turns", most, 1)
		check("turns", 2, 1)
	}
	if runs := counts.runs - before; runs < 2*passes-3 {
		t.Errorf("%s: %d passes were run again by turns", spec.Type, runs)
	}
	if _, err := adapter.New(m, adapter.Config{Rank: 4, Scale: 5, NumLayers: -1}, compute.NewKey(1)); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, 0.3)
	answers = []any{4, 5, 6}
	check("an adapter", 2, passes)
	m.Detach()
}

// TestExpected: a cache has room for what is expected before it is there, for no more than that, and for few tokens at a time.
func TestExpected(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), modeltest.Architectures()[0])
	tape := tensor.NewTape(m.Device())
	for _, c := range []struct {
		sure, most int
		room       map[int]int // by the tokens there are
	}{
		{0, 0, map[int]int{250: 256, 257: 512}},
		{0, 250, map[int]int{250: 256, 257: 512}},
		{0, 300, map[int]int{250: 512, 512: 512, 513: 768}},
		{0, 5000, map[int]int{250: 512, 512: 512, 513: 1024}},
		{600, 700, map[int]int{250: 768, 768: 768, 769: 1024}},
		{600, 5000, map[int]int{250: 1024, 1024: 1024}},
	} {
		cache, row := newCache(t, m, 0), int64(0)
		for _, s := range cache.Shapes() {
			row += 2 * 4 * int64(s.Cols())
		}
		cache.Expect(c.sure, c.most)
		for _, n := range slices.Sorted(maps.Keys(c.room)) {
			tape.Scope(func() *tensor.Tensor { return m.Step(tape, modeltest.Sequence(n)[cache.Len():], cache) })
			if got := cache.Bytes(); got != int64(c.room[n])*row || tape.Err() != nil {
				t.Errorf("%d to %d expected: %d tokens have room for %d, want %d; %v", c.sure, c.most, n, got/row, c.room[n], tape.Err())
			}
		}
	}
}
