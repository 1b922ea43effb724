package model_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// mixtures are the architectures with experts.
func mixtures() []modeltest.Spec {
	return slices.DeleteFunc(modeltest.Architectures(), func(s modeltest.Spec) bool { return !modeltest.HasExperts(s) })
}

// TestExpertAdapterRoundTrip reads an adapter of experts apart from its model and
// writes it again.
func TestExpertAdapterRoundTrip(t *testing.T) {
	t.Parallel()
	tokens := model.Sequence(sequence(9), 0)
	for _, spec := range mixtures() {
		dev := newCPU(t)
		trained := adaptedBy(t, dev, spec, loraFit)
		want := logitsOf(t, trained, tokens)
		dir, back := writeAdapter(t, loraConfig, trained), filepath.Join(t.TempDir(), "mlx")
		f, err := model.ReadLoRA(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.WriteMLX(back); err != nil {
			t.Fatal(err)
		}
		m := modeltest.Load(t, dev, spec)
		if err := m.LoadAdapter(back); err != nil {
			t.Fatal(err)
		}
		alike(t, spec.Type+", written again", logitsOf(t, m, tokens), want, sameTolerance)
		if err := m.AttachLoRAFile(f); err != nil {
			t.Fatal(err)
		}
		alike(t, spec.Type+", attached", logitsOf(t, m, tokens), want, sameTolerance)
		if err := f.WritePEFT(filepath.Join(t.TempDir(), "peft")); err == nil || !strings.Contains(err.Error(), "switch_mlp") || !strings.Contains(err.Error(), "stack of experts") {
			t.Errorf("%s in PEFT's layout: %v", spec.Type, err)
		}
	}
}

// TestExpertAdapterMerge: half of an adapter and half of the same is the adapter,
// and so it is beside one of other rank that counts for nothing.
func TestExpertAdapterMerge(t *testing.T) {
	t.Parallel()
	tokens := model.Sequence(sequence(9), 0)
	for _, spec := range mixtures() {
		dev := newCPU(t)
		trained := adaptedBy(t, dev, spec, loraFit)
		want := logitsOf(t, trained, tokens)
		f, err := model.ReadLoRA(writeAdapter(t, loraConfig, trained))
		if err != nil {
			t.Fatal(err)
		}
		other := adaptedBy(t, dev, spec, model.LoRAConfig{Rank: 1, Scale: 3, NumLayers: 2})
		g, err := model.ReadLoRA(writeAdapter(t, strings.NewReplacer(`"rank": 3`, `"rank": 1`, `"num_layers": 1`, `"num_layers": 2`).Replace(loraConfig), other))
		if err != nil {
			t.Fatal(err)
		}
		sum, err := model.MergeLoRA([]*model.LoRAFile{f, g, f}, []float32{0.25, 0, 0.75})
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "sum")
		if err := sum.WriteMLX(dir); err != nil {
			t.Fatal(err)
		}
		m := modeltest.Load(t, dev, spec)
		if err := m.LoadAdapter(dir); err != nil {
			t.Fatal(err)
		}
		alike(t, spec.Type+", merged", logitsOf(t, m, tokens), want, sameTolerance)
	}
}

func TestExpertAdapterErrors(t *testing.T) {
	t.Parallel()
	spec := modeltest.Spec{Type: "mixtral", Config: map[string]any{"num_local_experts": 4}}
	const module = "model.layers.0.block_sparse_moe.switch_mlp.up_proj"
	config := strings.Replace(loraConfig, `"num_layers": 1`, `"num_layers": -1`, 1)
	for name, test := range map[string]struct {
		a, b []int
		want string
	}{
		"other number of experts": {[]int{5, 3, modeltest.Hidden}, []int{5, modeltest.Inner, 3}, "do not fit this model"},
		"not the same number":     {[]int{4, 3, modeltest.Hidden}, []int{5, modeltest.Inner, 3}, "experts"},
		"one a stack":             {[]int{4, 3, modeltest.Hidden}, []int{3, modeltest.Inner}, "experts"},
		"no stack":                {[]int{modeltest.Hidden, 3}, []int{3, modeltest.Inner}, "do not fit this model"},
		"ranks":                   {[]int{4, 3, modeltest.Hidden}, []int{4, modeltest.Inner, 2}, "rank"},
		"empty":                   {[]int{4, 0, modeltest.Hidden}, []int{4, modeltest.Inner, 0}, "floating-point"},
	} {
		dir := t.TempDir()
		var tensors []weights.Tensor
		for part, shape := range map[string][]int{".lora_a": test.a, ".lora_b": test.b} {
			n := 4
			for _, s := range shape {
				n *= s
			}
			tensors = append(tensors, weights.Tensor{Name: module + part, DType: quant.F32, Shape: shape, Data: make([]byte, n)})
		}
		if err := weights.WriteSafetensors(filepath.Join(dir, model.AdapterFile), tensors, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, model.AdapterConfigFile), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := model.ReadLoRA(dir)
		if err == nil {
			err = modeltest.Load(t, newCPU(t), spec).AttachLoRAFile(f)
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
		if err := modeltest.Load(t, newCPU(t), spec).LoadAdapter(dir); err == nil {
			t.Errorf("%s: it was loaded", name)
		}
	}
}
