package train

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tensor"
)

// longRows are n rows of 20 to 150 tokens, all learnt.
func longRows(n int, seed uint64) rowList {
	random := rand.New(rand.NewPCG(seed, 0))
	var out rowList
	for range n {
		row := Example{IDs: make([]int32, 20+random.IntN(130))}
		for k := range row.IDs {
			row.IDs[k] = int32(random.IntN(modeltest.Vocab))
		}
		row.Loss = [][2]int{{1, len(row.IDs)}}
		out = append(out, row)
	}
	return out
}

// counter counts the matrix products of a device.
type counter struct {
	compute.Device
	linears int
}

func (c *counter) Run(op compute.Op, out, in []compute.Buffer) error {
	if _, ok := op.(compute.Linear); ok {
		c.linears++
	}
	return c.Device.Run(op, out, in)
}

// outcome is all that a run computes, and what it took.
type outcome struct {
	losses, valid []float64
	params        [][]float32
	linears       int
	warnings      []string
}

// fitting makes the last two layers of a model trainable.
type fitting func(m *model.Model) error

func lora(m *model.Model) error { return attach(m, false) }
func dora(m *model.Model) error { return attach(m, true) }
func full(m *model.Model) error { return m.Unfreeze(2, false) }

func attach(m *model.Model, dora bool) error {
	_, err := adapter.New(m, adapter.Config{Rank: 2, Scale: 4, Dropout: 0.1, NumLayers: 2, DoRA: dora}, compute.NewKey(0))
	return err
}

// trainFrozen trains the last two of six layers for more than two epochs.
func trainFrozen(t *testing.T, kernels string, spec modeltest.Spec, fit fitting, change func(*Options)) (got outcome) {
	t.Helper()
	raw, err := cpu.New(cpu.Options{Threads: 2, Kernels: kernels})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.(*cpu.Device).Close() })
	dev := &counter{Device: raw}
	spec.Config = map[string]any{"num_hidden_layers": 6}
	m := modeltest.Load(t, dev, spec)
	if err := fit(m); err != nil {
		t.Fatal(err)
	}
	o := options()
	o.Iters, o.BatchSize, o.MaxSeqLength, o.Schedule = 12, 3, 140, Constant(1e-3)
	change(&o)
	l := &log{}
	tr := &Trainer{
		Model: m, Train: longRows(13, 1), Valid: longRows(5, 2), Reporter: l, Options: o, PeakMemory: func() int64 { return 0 },
		Save: func(Snapshot) (run.Saved, error) { return run.Saved{}, nil },
	}
	if _, err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range eventsOf[run.Step](l) {
		got.losses = append(got.losses, s.Loss)
	}
	for _, v := range eventsOf[run.Validation](l) {
		got.valid = append(got.valid, v.Loss)
	}
	for _, w := range eventsOf[run.Warning](l) {
		got.warnings = append(got.warnings, w.Text.String())
	}
	for _, p := range m.Trainable() {
		values, err := tensor.ReadFloats(dev, p.Tensor)
		if err != nil {
			t.Fatal(err)
		}
		got.params = append(got.params, values)
	}
	got.linears = dev.linears
	return got
}

// same demands equal bits.
func (a outcome) same(b outcome) bool {
	return slices.Equal(a.losses, b.losses) && slices.Equal(a.valid, b.valid) && slices.EqualFunc(a.params, b.params, slices.Equal)
}

func TestFrozenCacheChangesNothing(t *testing.T) {
	t.Parallel()
	quantized := modeltest.Spec{Type: "llama", Bits: 4}
	for _, test := range []struct {
		name   string
		spec   modeltest.Spec
		fit    fitting
		change func(*Options)
	}{
		{"4-bit", quantized, lora, func(*Options) {}},
		{"mlx's batches and pad target", quantized, lora, func(o *Options) { o.CompatMLX = true }},
		{"checkpoints and accumulation", quantized, lora, func(o *Options) { o.GradCheckpoint, o.GradAccumulationSteps = true, 2 }},
		{"few validation batches", quantized, lora, func(o *Options) { o.ValBatches = 1 }},
		{"window, bf16", modeltest.Spec{Type: "mistral", DType: quant.BF16}, lora, func(*Options) {}},
		{"all of a layer", modeltest.Spec{Type: "qwen3"}, full, func(*Options) {}},
		{"DoRA, accumulation", quantized, dora, func(o *Options) { o.GradAccumulationSteps = 2 }},
	} {
		for _, kernels := range []string{"", "generic"} {
			if kernels != "" && test.name != "4-bit" {
				continue
			}
			if testing.Short() && (kernels != "" || test.name != "4-bit" && test.name != "checkpoints and accumulation") {
				continue // these two take every way through the cache
			}
			t.Run(strings.TrimSpace(test.name+" "+kernels), func(t *testing.T) {
				t.Parallel()
				without := trainFrozen(t, kernels, test.spec, test.fit, test.change)
				for name, limits := range map[string]FrozenCache{
					"memory":          {Memory: 1 << 20},
					"memory and disk": {Memory: 60_000, Disk: 1 << 20, Dir: t.TempDir()},
					"disk":            {Disk: 1 << 20, Dir: t.TempDir()},
					"too small":       {Memory: 60_000},
					"device":          {Device: 1 << 20},
					"everywhere":      {Device: 70_000, Memory: 50_000, Disk: 1 << 20, Dir: t.TempDir()},
				} {
					if test.name != "4-bit" && name != "everywhere" {
						continue
					}
					with := trainFrozen(t, kernels, test.spec, test.fit, func(o *Options) { test.change(o); o.Frozen = limits })
					if !with.same(without) {
						t.Errorf("%s: losses %v, %v; without the cache %v, %v", name, with.losses, with.valid, without.losses, without.valid)
					}
					if saved := 1 - float64(with.linears)/float64(without.linears); name != "too small" && saved < 0.2 {
						t.Errorf("%s: the cache saves %.0f%% of the products, want a fifth at least", name, 100*saved)
					}
					if left, err := os.ReadDir(limits.Dir); limits.Dir != "" && (err != nil || len(left) > 0) {
						t.Errorf("%s: the run left %v, %v", name, left, err)
					}
				}
			})
		}
	}
}

func TestFrozenCacheWithoutAFolder(t *testing.T) {
	t.Parallel()
	spec := modeltest.Spec{Type: "llama"}
	without := trainFrozen(t, "", spec, lora, func(*Options) {})
	with := trainFrozen(t, "", spec, lora, func(o *Options) { o.Frozen = FrozenCache{Disk: 1 << 20, Dir: t.TempDir() + "/none"} })
	if !with.same(without) || with.linears != without.linears {
		t.Error("a cache that cannot be written changes the run")
	}
	if len(with.warnings) != 1 || !strings.Contains(with.warnings[0], "frozen") {
		t.Errorf("warnings %q, want one", with.warnings)
	}
}

// TestFrozenHalf: what a device keeps in BF16 takes as much on the host and comes back to the bit, from memory and from disk.
func TestFrozenHalf(t *testing.T) {
	t.Parallel()
	const tokens, width = 3, 4
	dev := computetest.NewPartial(compute.BF16)
	tape := tensor.NewTape(dev)
	s := newFrozenStore(dev, FrozenCache{Memory: 2 * tokens * width, Disk: 2 * tokens * width, Dir: t.TempDir()}, func(text string) { t.Error(text) })
	f := &frozen{first: 1, width: width, dtype: compute.BF16, rows: map[int]kept{}, store: s}
	var want [][]byte
	b := packed{Batch: model.Batch{Tokens: make([]int32, tokens), Bounds: []int32{0, tokens}}}
	for row := range 3 {
		x := tape.Activations([]float32{0.1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, float32(row)}, tokens, width)
		b.index = []int{row}
		f.keep(tape, &b, x)
		want = append(want, tape.ReadBytes(x))
	}
	for row, kept := range []bool{true, true, false} { // in memory, on disk, without room
		b.index = []int{row}
		x := f.load(tape, &b)
		if (x != nil) != kept || kept && !bytes.Equal(tape.ReadBytes(x), want[row]) {
			t.Errorf("row %d comes back as %v, want %v", row, x, kept)
		}
	}
	if s.left.Memory != 0 || s.left.Disk != 0 || tape.Err() != nil {
		t.Errorf("room left: %d in memory, %d on disk; %v", s.left.Memory, s.left.Disk, tape.Err())
	}
	s.close()
}

// TestFrozenStoreReadFails closes the file behind the store's back.
func TestFrozenStoreReadFails(t *testing.T) {
	t.Parallel()
	var warned []string
	dev := newCPU(t)
	tape := tensor.NewTape(dev)
	s := newFrozenStore(dev, FrozenCache{Disk: 100, Dir: t.TempDir()}, func(text string) { warned = append(warned, text) })
	f := &frozen{first: 1, width: 2, dtype: compute.F32, rows: map[int]kept{}, store: s}
	b := packed{index: []int{7}}
	keep := func(values []float32) {
		b.Tokens, b.Bounds = make([]int32, len(values)/2), []int32{0, int32(len(values) / 2)}
		f.keep(tape, &b, tape.Floats(values, len(values)/2, 2))
	}
	load := func() []float32 {
		if x := f.load(tape, &b); x != nil {
			return tape.Read(x)
		}
		return nil
	}
	keep([]float32{1, 2, 3, 4, 5, 6})
	if got := load(); !slices.Equal(got, []float32{1, 2, 3, 4, 5, 6}) {
		t.Fatalf("kept %v", got)
	}
	s.file.Close()
	if got := load(); got != nil || len(f.rows) != 0 || len(warned) != 1 {
		t.Errorf("from a closed file %v, rows %v, warnings %q", got, f.rows, warned)
	}
	if keep(make([]float32, 60)); len(f.rows) != 0 {
		t.Error("more was kept than there is room for")
	}
	s.close()
}

func TestFrozenCacheOnlyWhereItHelps(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	store := newFrozenStore(nil, FrozenCache{Memory: 1}, func(string) {})
	if newFrozenStore(nil, FrozenCache{}, nil) != nil {
		t.Error("no room makes a store")
	}
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
	attach := func(layers int) {
		if _, err := adapter.New(m, adapter.Config{Rank: 2, Scale: 1, NumLayers: layers}, compute.NewKey(0)); err != nil {
			t.Fatal(err)
		}
	}
	attach(1)
	if f := newFrozen(m, store, true); f == nil || f.first != 1 {
		t.Errorf("one of two layers trained: %+v", f)
	}
	if newFrozen(m, store, false) != nil || newFrozen(m, nil, true) != nil {
		t.Error("kept without use")
	}
	if attach(2); newFrozen(m, store, true) != nil {
		t.Error("kept although all layers are trained")
	}
	m.Detach()
	if err := m.Unfreeze(1, true); err != nil {
		t.Fatal(err)
	}
	if newFrozen(m, store, true) != nil {
		t.Error("kept although the embedding is trained")
	}
	odd := modeltest.Load(t, dev, modeltest.Spec{Type: "llama", Config: map[string]any{"intermediate_size": 60}})
	if newFrozen(odd, store, true) != nil {
		t.Error("kept although the widths are no multiples")
	}
}

// BenchmarkSecondEpoch compares epochs with 16 of 36 layers trained, in the
// shape of Ministral-8B at an eighth of its width: ns/op are those of an epoch
// that finds everything in the cache, and "of the first" the ratio.
func BenchmarkSecondEpoch(b *testing.B) {
	dev := newCPU(b)
	m := modeltest.Load(b, dev, modeltest.Spec{Type: "mistral", Bits: 4, Config: map[string]any{
		"num_hidden_layers": 36, "hidden_size": 512, "intermediate_size": 1536, "num_attention_heads": 4, "num_key_value_heads": 1,
		"head_dim": 128, "vocab_size": 16384,
	}})
	if _, err := adapter.New(m, adapter.Config{Rank: 8, Scale: 20, NumLayers: 16}, compute.NewKey(0)); err != nil {
		b.Fatal(err)
	}
	o := options()
	const batches = 4
	o.Iters, o.BatchSize, o.MaxSeqLength, o.ValBatches, o.Frozen = 1<<30, 4, 2048, 0, FrozenCache{Memory: 1 << 30}
	rows := longRows(batches*o.BatchSize, 1)
	ctx, stop := context.WithCancel(b.Context())
	var first, rest time.Duration
	start := time.Now()
	l := &log{do: func(e run.Event) {
		s, ok := e.(run.Step)
		if !ok || s.Iteration%batches != 0 {
			return
		}
		if epoch := s.Iteration / batches; epoch == 1 {
			first = time.Since(start)
		} else if rest += time.Since(start); epoch == 1+b.N {
			stop()
		}
		start = time.Now()
	}}
	tr := &Trainer{Model: m, Train: rows, Reporter: l, Options: o, PeakMemory: func() int64 { return 0 },
		Save: func(Snapshot) (run.Saved, error) { return run.Saved{}, nil }}
	if _, err := tr.Run(ctx); !errors.Is(err, ErrInterrupted) {
		b.Fatal(err)
	}
	b.ReportMetric(float64(rest)/float64(b.N), "ns/op")
	b.ReportMetric(float64(rest)/float64(b.N)/float64(first), "of_the_first")
}
