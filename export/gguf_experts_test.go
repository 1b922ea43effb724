package export_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// mixtures are models with experts, of sizes that super-blocks need.
func mixtures(experts int) []modeltest.Spec {
	wide := map[string]any{
		"vocab_size": ggufVocab, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1, "num_experts_per_tok": 2,
		"num_local_experts": experts, "num_experts": experts, "moe_intermediate_size": 256, "norm_topk_prob": true,
	}
	return []modeltest.Spec{{Type: "mixtral", Config: maps.Clone(wide)}, {Type: "qwen3_moe", Config: maps.Clone(wide)}}
}

// TestGGUFExpertTypes: routers stay float32, and with 8 experts attention gets more
// bits, as llama.cpp's quantizer has it.
func TestGGUFExpertTypes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind    string
		experts int
		want    map[string]string // by module of block 0
	}{
		{"F16", 8, map[string]string{"ffn_gate_exps": "F16", "ffn_down_exps": "F16", "attn_v": "F16"}},
		{"Q4_0", 8, map[string]string{"ffn_gate_exps": "Q4_0", "attn_q": "Q4_0", "attn_k": "Q8_0", "attn_v": "Q8_0", "attn_output": "Q4_0"}},
		// The only layer is one of the last eighth.
		{"Q4_K_M", 8, map[string]string{"ffn_gate_exps": "Q4_K", "ffn_down_exps": "Q6_K", "attn_k": "Q8_0", "attn_v": "Q8_0", "attn_output": "Q5_K"}},
		{"Q5_K_M", 8, map[string]string{"ffn_up_exps": "Q5_K", "ffn_down_exps": "Q6_K", "attn_v": "Q8_0", "attn_output": "Q5_K"}},
		{"Q4_K_M", 3, map[string]string{"ffn_gate_exps": "Q4_K", "ffn_down_exps": "Q6_K", "attn_k": "Q4_K", "attn_v": "Q6_K", "attn_output": "Q4_K"}},
	} {
		for _, spec := range mixtures(test.experts) {
			path, _ := exportGGUF(t, modeltest.Write(t, spec), test.kind)
			f, err := weights.OpenGGUFFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, x := range f.Tensors {
				got[strings.TrimSuffix(strings.TrimPrefix(x.Name, "blk.0."), ".weight")] = x.Type.String()
			}
			f.Close()
			test.want["ffn_gate_inp"] = "F32"
			for name, want := range test.want {
				if got[name] != want {
					t.Errorf("%s of %d experts as %s: %s is %q, want %s", spec.Type, test.experts, test.kind, name, got[name], want)
				}
			}
		}
	}
}

func TestGGUFExpertMetadata(t *testing.T) {
	t.Parallel()
	for _, spec := range mixtures(3) {
		path, _ := exportGGUF(t, modeltest.Write(t, spec), "F32")
		g, err := weights.OpenGGUF(path)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		arch := map[string]string{"mixtral": "llama", "qwen3_moe": "qwen3moe"}[spec.Type]
		want := map[string]any{"general.architecture": arch, arch + ".expert_count": uint32(3), arch + ".expert_used_count": uint32(2)}
		if arch == "qwen3moe" {
			want[arch+".expert_feed_forward_length"] = uint32(256)
		}
		for key, value := range want {
			if got := g.Metadata()[key]; got != value {
				t.Errorf("%s: %s is %v, want %v", spec.Type, key, got, value)
			}
		}
		stack, err := g.Matrix("model.layers.0." + map[string]string{"llama": "block_sparse_moe", "qwen3moe": "mlp"}[arch] + ".switch_mlp.up_proj")
		if err != nil || !slices.Equal(stack.Shape(), []int{3, 256, 256}) {
			t.Errorf("%s: up_proj %v, error %v", spec.Type, stack, err)
		}
	}
}

// TestGGUFExpertsAgain: experts one by one, stacked, and from a GGUF file make the same
// file; a model folder of that has the same weights again.
func TestGGUFExpertsAgain(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for _, spec := range mixtures(3) {
		config, tensors := modeltest.Contents(t, spec)
		stacked := modeltest.WriteFolder(t, config, slices.Clone(tensors))
		var single []weights.Tensor
		for _, x := range tensors {
			if len(x.Shape) != 3 {
				single = append(single, x)
				continue
			}
			n := x.Shape[0]
			for i := range n {
				name, ok := weights.ExpertTensor(x.Name, i)
				if !ok {
					t.Fatalf("%s is no stack", x.Name)
				}
				single = append(single, weights.Tensor{Name: name, DType: x.DType, Shape: x.Shape[1:], Data: x.Data[i*len(x.Data)/n : (i+1)*len(x.Data)/n]})
			}
		}
		apart := modeltest.WriteFolder(t, config, single)
		for _, kind := range []string{"F32", "Q4_0", "Q4_K_M"} {
			once, _ := exportGGUF(t, stacked, kind)
			want := stored(t, once)
			for _, from := range []string{apart, once} {
				path, _ := exportGGUF(t, from, kind)
				got := stored(t, path)
				for name, data := range want {
					if !bytes.Equal(got[name], data) {
						t.Errorf("%s as %s from %s: %s has other bytes", spec.Type, kind, from, name)
					}
				}
				if len(got) != len(want) {
					t.Errorf("%s as %s from %s: %d tensors, want %d", spec.Type, kind, from, len(got), len(want))
				}
			}
			folder, _ := convert(t, once, export.ConvertOptions{Dequantize: true})
			from, back := logits(t, modeltest.Open(t, dev, once)), logits(t, modeltest.Open(t, dev, folder))
			if d := distance(back, from); d > roundedTolerance { // half precision for blocks
				t.Errorf("%s as %s: logits of a folder made of it differ by %g", spec.Type, kind, d)
			}
		}
	}
}

// TestGGUFOfQuantizedExperts: 4-bit experts go into Q4_1, and into numbers, as they are.
func TestGGUFOfQuantizedExperts(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for _, spec := range mixtures(8) {
		spec.DType, spec.Bits = quant.F16, 4
		dir := modeltest.Write(t, spec)
		base := modeltest.Open(t, dev, dir)
		for _, kind := range []string{"Q4_1", "F32"} {
			path, _ := exportGGUF(t, dir, kind)
			got := modeltest.Open(t, dev, path)
			for _, l := range base.Linears() {
				if !slices.Equal(hostFloats(t, got, l.Name), hostFloats(t, base, l.Name)) {
					t.Errorf("%s as %s: %s differs", spec.Type, kind, l.Name)
				}
			}
		}
	}
}

// TestGGUFOfExpertAdapter: an adapter on router and experts, merged into a file.
func TestGGUFOfExpertAdapter(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for _, spec := range mixtures(3) {
		dir := modeltest.Write(t, spec)
		m := adapted(t, dev, dir)
		want := logits(t, m)
		if distance(want, logits(t, modeltest.Open(t, dev, dir))) < 0.01 {
			t.Error("the adapter changes nothing")
		}
		if d := distance(logits(t, modeltest.Open(t, dev, exportMerged(t, m, "F32"))), want); d > exactTolerance {
			t.Errorf("%s: logits of the merged model differ by %g", spec.Type, d)
		}
	}
}

func TestGGUFExpertErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		more map[string]any
		want string
	}{
		{map[string]any{"norm_topk_prob": false}, "norm_topk_prob is false"},
		{map[string]any{"num_hidden_layers": 2, "mlp_only_layers": []int{1}}, "layers [1] have no experts"},
		{map[string]any{"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 16}}, "no counterpart in llama.cpp's qwen3moe"},
		{map[string]any{"layer_types": []string{"sliding_attention"}, "use_sliding_window": true, "sliding_window": 3}, "sliding-window"},
	} {
		spec := mixtures(3)[1]
		maps.Copy(spec.Config, test.more)
		src, err := weights.Open(modeltest.Write(t, spec))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		typ, _ := export.ParseGGUFType("f16")
		path := filepath.Join(t.TempDir(), "x.gguf")
		if _, err := export.GGUF(src, trained(t), export.GGUFOptions{Path: path, Type: typ}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: error %v, want %q", test.more, err, test.want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a file was left", test.want)
		}
	}
	// Weights that are not what the config says.
	config, tensors := modeltest.Contents(t, mixtures(3)[0])
	config["num_local_experts"] = 4
	src, err := weights.Open(modeltest.WriteFolder(t, config, tensors))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	typ, _ := export.ParseGGUFType("f16")
	if _, err := export.GGUF(src, trained(t), export.GGUFOptions{Path: filepath.Join(t.TempDir(), "x.gguf"), Type: typ}); err == nil ||
		!strings.Contains(err.Error(), "config.json says [4 ") {
		t.Errorf("another number of experts in the config: %v", err)
	}
}
