package export_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/weights"
)

// TestExpertsInFiles: a dense model has a tensor for each expert, as transformers
// reads it, a quantized one a stack, as MLX has it.
func TestExpertsInFiles(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for _, spec := range modeltest.Architectures() {
		if !modeltest.HasExperts(spec) {
			continue
		}
		at := map[string]string{"mixtral": "model.layers.1.block_sparse_moe.", "qwen3_moe": "model.layers.1.mlp."}[spec.Type]
		one := at + map[string]string{"mixtral": "experts.3.w2.weight", "qwen3_moe": "experts.3.down_proj.weight"}[spec.Type]
		for _, bits := range []int{0, 4} {
			spec.Bits = bits
			m := adaptedBy(t, dev, modeltest.Write(t, spec), adapter.Config{Rank: 2, Scale: 2})
			dir := fuse(t, m, export.FuseOptions{}).Path
			f, err := weights.OpenSafetensors(filepath.Join(dir, "model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			want, other := one, at+"switch_mlp.down_proj.weight"
			if bits > 0 {
				want, other = other, want
			}
			if names := f.Names(); !slices.Contains(names, want) || slices.Contains(names, other) {
				t.Errorf("%s, %d bits: the file has %s: %v, %s: %v", spec.Type, bits, want, slices.Contains(names, want), other, slices.Contains(names, other))
			}
			f.Close()
			m.Free()
		}
	}
}

// TestRouterBits: Qwen's router keeps 8 bits, as its publishers and mlx-lm have it.
func TestRouterBits(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		if !modeltest.HasExperts(spec) {
			continue
		}
		spec.Config["hidden_size"] = 64
		spec.Config["vocab_size"] = ggufVocab
		dir, _ := convert(t, modeltest.Write(t, spec), export.ConvertOptions{Quantize: true, Bits: 4, Group: 32})
		_, text := readConfig(t, dir)
		if has := strings.Contains(text, `"model.layers.0.mlp.gate"`); has != (spec.Type == "qwen3_moe") {
			t.Errorf("%s: the router is listed: %v\n%s", spec.Type, has, text)
		}
	}
}

// TestSensitivityOfExperts: what quantizing is foretold to cost is what it costs.
func TestSensitivityOfExperts(t *testing.T) {
	t.Parallel()
	dev, random := newCPU(t), rand.New(rand.NewPCG(5, 6))
	for _, spec := range modeltest.Architectures() {
		if !modeltest.HasExperts(spec) {
			continue
		}
		maps.Copy(spec.Config, map[string]any{"hidden_size": 64, "vocab_size": ggufVocab, "moe_intermediate_size": 64})
		dir := modeltest.Write(t, spec.Smooth()) // a change of the choice is no matter of a second order
		src, err := weights.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		m, err := model.Load(dev, src)
		if err != nil {
			t.Fatal(err)
		}
		var windows [][]int32
		for range measured + held {
			one := make([]int32, 128)
			for i := range one {
				one[i] = random.Int32N(ggufVocab)
			}
			windows = append(windows, one)
		}
		s, err := export.MeasureSensitivity(context.Background(), m, windows[:measured], nil)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := export.AllocateBits(context.Background(), src, s, export.ConvertOptions{Group: 32}, 7.5)
		if err != nil {
			t.Fatal(err)
		}
		of := map[string]int{}
		var foretold float64
		for _, l := range layers {
			of[l.Module] = l.Bits
			foretold += l.Error
		}
		if n := len(m.Linears()) + 1; len(layers) < n-m.Config.NumHiddenLayers {
			t.Errorf("%s: %d layers have bits, the model has %d", spec.Type, len(layers), n)
		}
		converted, _ := convert(t, dir, export.ConvertOptions{Quantize: true, Group: 32, BitsOf: of})
		rest := windows[measured:]
		far := divergence(expectations(t, m, rest), expectations(t, modeltest.Open(t, dev, converted), rest), held*128)
		t.Logf("%s: divergence %.4f, %.4f was foretold", spec.Type, far, foretold)
		if far < foretoldLow*foretold || far > foretoldHigh*foretold {
			t.Errorf("%s: divergence %.4f, %.4f was foretold", spec.Type, far, foretold)
		}
	}
}
