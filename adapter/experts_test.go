package adapter_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// TestExpertAdapterRoundTrip reads an adapter of experts apart from its model and
// writes it again.
func TestExpertAdapterRoundTrip(t *testing.T) {
	t.Parallel()
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	for _, spec := range modeltest.Mixtures() {
		dev := newCPU(t)
		trained := adaptedBy(t, dev, spec, loraFit)
		want := modeltest.Logits(t, trained, tokens)
		dir, back := writeAdapter(t, loraConfig, trained), filepath.Join(t.TempDir(), "mlx")
		f, err := adapter.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.WriteMLX(back); err != nil {
			t.Fatal(err)
		}
		m := modeltest.Load(t, dev, spec)
		if err := adapter.Load(m, back); err != nil {
			t.Fatal(err)
		}
		modeltest.Alike(t, spec.Type+", written again", modeltest.Logits(t, m, tokens), want, sameTolerance)
		if err := f.Attach(m); err != nil {
			t.Fatal(err)
		}
		modeltest.Alike(t, spec.Type+", attached", modeltest.Logits(t, m, tokens), want, sameTolerance)
		peft := filepath.Join(t.TempDir(), "peft")
		if err := f.WritePEFT(peft); err != nil {
			t.Fatal(err)
		}
		m.Detach()
		if err := adapter.Load(m, peft); err != nil {
			t.Fatal(err)
		}
		modeltest.Alike(t, spec.Type+", by way of PEFT", modeltest.Logits(t, m, tokens), want, sameTolerance)
	}
}

// TestExpertAdapterMerge: half of an adapter and half of the same is the adapter,
// and so it is beside one of other rank that counts for nothing.
func TestExpertAdapterMerge(t *testing.T) {
	t.Parallel()
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	for _, spec := range modeltest.Mixtures() {
		dev := newCPU(t)
		trained := adaptedBy(t, dev, spec, loraFit)
		want := modeltest.Logits(t, trained, tokens)
		f, err := adapter.Read(writeAdapter(t, loraConfig, trained))
		if err != nil {
			t.Fatal(err)
		}
		other := adaptedBy(t, dev, spec, adapter.Config{Rank: 1, Scale: 3, NumLayers: 2})
		g, err := adapter.Read(writeAdapter(t, strings.NewReplacer(`"rank": 3`, `"rank": 1`, `"num_layers": 1`, `"num_layers": 2`).Replace(loraConfig), other))
		if err != nil {
			t.Fatal(err)
		}
		sum, err := adapter.Merge([]*adapter.Adapter{f, g, f}, []float32{0.25, 0, 0.75})
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "sum")
		if err := sum.WriteMLX(dir); err != nil {
			t.Fatal(err)
		}
		m := modeltest.Load(t, dev, spec)
		if err := adapter.Load(m, dir); err != nil {
			t.Fatal(err)
		}
		modeltest.Alike(t, spec.Type+", merged", modeltest.Logits(t, m, tokens), want, sameTolerance)
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
		if err := weights.WriteSafetensors(filepath.Join(dir, adapter.File), tensors, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, adapter.ConfigFile), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := adapter.Read(dir)
		if err == nil {
			err = f.Attach(modeltest.Load(t, newCPU(t), spec))
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
		if err := adapter.Load(modeltest.Load(t, newCPU(t), spec), dir); err == nil {
			t.Errorf("%s: it was loaded", name)
		}
	}
}

// TestRanksOfTheFile: modules of several ranks take no more than they have, neither
// when they are looked at nor in a model.
func TestRanksOfTheFile(t *testing.T) {
	dev := newCPU(t)
	const h = modeltest.Hidden
	path := peftFile(t, peftConfig, map[string][]int{
		"model.layers.0.self_attn.q_proj.lora_A.weight": {1, h}, "model.layers.0.self_attn.q_proj.lora_B.weight": {h, 1},
		"model.layers.1.self_attn.q_proj.lora_A.weight": {5, h}, "model.layers.1.self_attn.q_proj.lora_B.weight": {h, 5},
	})
	f, err := adapter.Read(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1, func() {
		if rank, scale := f.Common(); rank != 5 || scale != 1 {
			t.Errorf("rank %d, scale %v", rank, scale)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
	if err := f.Attach(m); err != nil {
		t.Fatal(err)
	}
	for i, l := range m.Adapted() {
		if lora := l.Adapter.(*nn.LoRA); lora.Rank() != []int{1, 5}[i] || lora.Scale != []float32{6, 6.0 / 5}[i] {
			t.Errorf("%s has rank %d and scale %v", l.Name, lora.Rank(), lora.Scale)
		}
	}
	got := modeltest.Logits(t, m, tokens)
	uniform := filepath.Join(t.TempDir(), "uniform")
	if err := f.WriteMLX(uniform); err != nil {
		t.Fatal(err)
	}
	if err := adapter.Load(m, uniform); err != nil {
		t.Fatal(err)
	}
	modeltest.Alike(t, "with one rank", modeltest.Logits(t, m, tokens), got, sameTolerance)
}
