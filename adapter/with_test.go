package adapter_test

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// twoAdapters are folders of two adapters for a model that differ in rank and layout:
// mlx-lm's LoRA, and PEFT's DoRA, or LoRA where there are experts.
func twoAdapters(t *testing.T, dev compute.Device, spec modeltest.Spec) []string {
	t.Helper()
	first := writeAdapter(t, loraConfig, adaptedBy(t, dev, spec, loraFit))
	config, fit := doraConfig, doraFit
	if modeltest.HasExperts(spec) {
		config, fit = loraConfig, loraFit
	}
	rank5 := strings.NewReplacer(`"rank": 3`, `"rank": 5`, `"num_layers": 1`, `"num_layers": 2`)
	fit.Rank, fit.NumLayers = 5, 2
	f, err := adapter.Read(writeAdapter(t, rank5.Replace(config), adaptedBy(t, dev, spec, fit)))
	if err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(t.TempDir(), "peft")
	if err := f.WritePEFT(second); err != nil {
		t.Fatal(err)
	}
	return []string{first, second}
}

// with is a model over base with the adapter of a path.
func with(t *testing.T, base *model.Model, path string) *model.Model {
	t.Helper()
	m, err := adapter.With(base, path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// apart is what a model says that is loaded for one adapter alone.
func apart(t *testing.T, dev compute.Device, dir, path string, tokens model.Batch) []float32 {
	t.Helper()
	m := modeltest.Open(t, dev, dir)
	defer m.Free()
	if path != "" {
		if err := adapter.Load(m, path); err != nil {
			t.Fatal(err)
		}
	}
	return modeltest.Logits(t, m, tokens)
}

// TestWith: a base and two adapters over it say what models that were loaded apart say,
// bit for bit, all at the same time.
func TestWith(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		t.Run(spec.Type, func(t *testing.T) {
			t.Parallel()
			testWith(t, spec)
		})
	}
}

func testWith(t *testing.T, spec modeltest.Spec) {
	dev := newCPU(t)
	dir, tokens := modeltest.Write(t, spec), model.Sequence(modeltest.Sequence(9), 0)
	base := modeltest.Open(t, dev, dir)
	var models []*model.Model
	var want [][]float32
	for _, path := range append(twoAdapters(t, dev, spec), "") {
		models = append(models, with(t, base, path))
		logits := apart(t, dev, dir, path, tokens)
		if slices.ContainsFunc(want, func(other []float32) bool { return slices.Equal(logits, other) }) {
			t.Errorf("adapter %q changes nothing", path)
		}
		want = append(want, logits)
	}
	same := func(when string) {
		var all sync.WaitGroup
		for i, m := range models {
			all.Go(func() {
				if !slices.Equal(modeltest.Logits(t, m, tokens), want[i]) {
					t.Errorf("%s, model %d: the logits are others than those of a model apart", when, i)
				}
			})
		}
		all.Wait()
	}
	same("beside the base")
	base.Free()
	same("without the base")
	for _, m := range models {
		m.Free()
	}
}

// TestWithMemory: an adapter over a shared base takes what it takes over one of its own,
// and no weight is imported again.
func TestWithMemory(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		adapters := twoAdapters(t, newCPU(t), spec)
		dev := plan.New(plan.Options{})
		base := modeltest.Load(t, dev, spec)
		start := dev.Report()
		for _, path := range adapters {
			before := dev.Report().CurrentBytes
			m, err := adapter.With(base, path)
			if err != nil {
				t.Fatal(err)
			}
			took := dev.Report().CurrentBytes - before
			if n := len(m.Adapted()); n == 0 || took == 0 {
				t.Errorf("%s: %d adapters of %d bytes", spec.Type, n, took)
			}
			m.Free()
			if err := adapter.Load(base, path); err != nil {
				t.Fatal(err)
			}
			if alone := dev.Report().CurrentBytes - before; alone != took {
				t.Errorf("%s: an adapter of %d bytes took %d over a shared base", spec.Type, alone, took)
			}
			base.Detach()
		}
		if now := dev.Report(); now.WeightBytes != start.WeightBytes || now.CurrentBytes != start.CurrentBytes {
			t.Errorf("%s: %d and %d bytes are held, %d and %d before", spec.Type, now.CurrentBytes, now.WeightBytes, start.CurrentBytes, start.WeightBytes)
		}
	}
}

// TestWithTrained: training the adapter of one model, from where another's stands, moves
// neither that nor the base.
func TestWithTrained(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama", Bits: 4}
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	path := writeAdapter(t, loraConfig, adapted(t, dev, spec))
	base := modeltest.Load(t, dev, spec)
	plain := modeltest.Logits(t, base, tokens)
	var models []*model.Model
	for range 2 {
		m, err := adapter.With(base, path)
		if err != nil {
			t.Fatal(err)
		}
		models = append(models, m)
	}
	before := modeltest.Logits(t, models[0], tokens)
	modeltest.Shake(t, models[1], 0.1)
	if slices.Equal(modeltest.Logits(t, models[1], tokens), before) {
		t.Error("the training changes nothing")
	}
	if !slices.Equal(modeltest.Logits(t, models[0], tokens), before) {
		t.Error("the other adapter has changed")
	}
	if !slices.Equal(modeltest.Logits(t, base, tokens), plain) || len(base.Adapted()) != 0 {
		t.Error("the base has changed")
	}
}

// TestWithWholeWeights: those of full fine-tuning take the place of the base's in one
// model only.
func TestWithWholeWeights(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "qwen3"}
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	trained := modeltest.Load(t, dev, spec)
	if err := trained.Unfreeze(-1, true); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, trained, 0.2)
	path := writeAdapter(t, `{"fine_tune_type": "full"}`, trained)
	held := used(dev)
	base := modeltest.Load(t, dev, spec)
	plain := modeltest.Logits(t, base, tokens)
	m, err := adapter.With(base, path)
	if err != nil {
		t.Fatal(err)
	}
	modeltest.Alike(t, "with whole weights", modeltest.Logits(t, m, tokens), modeltest.Logits(t, trained, tokens), sameTolerance)
	if !slices.Equal(modeltest.Logits(t, base, tokens), plain) {
		t.Error("the base has changed")
	}
	// The file of the weights is closed with the last model that has them.
	want := modeltest.Logits(t, m, tokens)
	second, err := adapter.With(m, "")
	if err != nil {
		t.Fatal(err)
	}
	base.Free()
	m.Free()
	if !slices.Equal(modeltest.Logits(t, second, tokens), want) {
		t.Error("after the first was freed, the second model has changed")
	}
	second.Free()
	if used(dev) != held {
		t.Errorf("%d bytes are held after all models were freed", used(dev)-held)
	}
}

func TestWithErrors(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama"}
	base := modeltest.Load(t, dev, spec)
	before := used(dev)
	other := modeltest.Spec{Type: "llama", Config: map[string]any{"intermediate_size": 32}}
	if _, err := adapter.With(base, writeAdapter(t, loraConfig, adapted(t, newCPU(t), other))); err == nil || !strings.Contains(err.Error(), "do not fit this model") {
		t.Errorf("an adapter of another model: %v", err)
	}
	if used(dev) != before {
		t.Errorf("%d bytes are held after the error", used(dev)-before)
	}
}
