package export_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// ggufVocab is more than the tokenizer's 290, so that there are rows without a token.
const ggufVocab = 300

func trained(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Train(slices.Values([]string{"The cat sat on the mat. The lentil is a pulse, the pea is a pulse too. "}), tokenizer.TrainOptions{
		VocabSize: 290, SpecialTokens: []string{"<|im_start|>", "<|im_end|>"}, EOS: "<|im_end|>",
		ChatTemplate: "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
	})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// exportable is a model of each family that llama.cpp can run.
func exportable() []modeltest.Spec {
	specs := modeltest.Architectures()
	for i := range specs {
		config := maps.Clone(specs[i].Config)
		if config == nil {
			config = map[string]any{}
		}
		config["vocab_size"] = ggufVocab
		switch specs[i].Type {
		case "mistral":
			delete(config, "layer_types")
			delete(config, "sliding_window")
		case "smollm3":
			config["no_rope_layers"] = []int{1, 1, 1, 0}
			config["num_hidden_layers"] = 4
		}
		specs[i].Config = config
	}
	return append(specs,
		modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": ggufVocab, "rope_scaling": map[string]any{
			"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}}},
		modeltest.Spec{Type: "qwen2", Config: map[string]any{"vocab_size": ggufVocab, "rope_scaling": map[string]any{"rope_type": "linear", "factor": 2.0}}},
	)
}

func exportGGUF(t *testing.T, dir, kind string) (string, export.GGUFReport) {
	t.Helper()
	src, err := weights.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	typ, err := export.ParseGGUFType(kind)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	report, err := export.GGUF(src, trained(t), export.GGUFOptions{Path: path, Type: typ})
	if err != nil {
		t.Fatalf("%s as %s: %v", dir, kind, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() < report.Bytes {
		t.Errorf("report says %d bytes of tensors, the file has %v (%v)", report.Bytes, info.Size(), err)
	}
	return path, report
}

// TestGGUFFamilies reads back each family in each type and compares logits.
func TestGGUFFamilies(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for _, spec := range exportable() {
		dir := modeltest.Write(t, spec)
		want := logits(t, modeltest.Open(t, dev, dir))
		for kind, tolerance := range map[string]float64{
			"F32": 1e-6, // the factors of Llama 3 are rounded to float32
			// The rest lose bits: 2^-12 and 2^-9 per weight, and steps of 1/128 to
			// 1/8 of a group's largest weight. Rows of 32 weights have no super-blocks.
			"F16": 0.003, "BF16": 0.02, "Q8_0": 0.05, "Q6_K": 0.05, "Q5_K_M": 0.35, "Q4_K_M": 0.35, "Q4_0": 0.6, "Q4_1": 0.6,
		} {
			path, _ := exportGGUF(t, dir, kind)
			if d := distance(logits(t, modeltest.Open(t, dev, path)), want); d > tolerance {
				t.Errorf("%s %v as %s: logits differ by %.4f, expected at most %g", spec.Type, spec.Config["rope_scaling"], kind, d, tolerance)
			}
		}
	}
}

// TestGGUFSuperBlocks has rows that do divide into super-blocks.
func TestGGUFSuperBlocks(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "qwen3", Config: map[string]any{
		"vocab_size": ggufVocab, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3, "head_dim": 64,
	}}
	dir := modeltest.Write(t, spec)
	want := logits(t, modeltest.Open(t, dev, dir))
	// Random weights pass errors on: three layers make 10 % in the weights 30 %.
	for _, test := range []struct {
		kind      string
		types     map[string]int // matrices by type
		tolerance float64
	}{
		// 3 layers: 2 is the last eighth (7*3/8 = 2), and (2-0)%3 = 2.
		{"Q4_K_M", map[string]int{"Q4_K": 19, "Q6_K": 3}, 0.4}, {"Q5_K_M", map[string]int{"Q5_K": 19, "Q6_K": 3}, 0.2},
		{"Q6_K", map[string]int{"Q6_K": 22}, 0.12}, {"Q8_0", map[string]int{"Q8_0": 22}, 0.03}, {"Q4_0", map[string]int{"Q4_0": 21, "Q6_K": 1}, 0.5},
	} {
		path, report := exportGGUF(t, dir, test.kind)
		delete(report.Types, "F32")
		if !maps.Equal(report.Types, test.types) {
			t.Errorf("%s: tensors %v, want %v", test.kind, report.Types, test.types)
		}
		if d := distance(logits(t, modeltest.Open(t, dev, path)), want); d > test.tolerance {
			t.Errorf("%s: logits differ by %.4f, expected at most %g", test.kind, d, test.tolerance)
		}
	}
}

// TestGGUFFromQuantized: 4-bit weights go into Q4_1, and into numbers, as they are.
func TestGGUFFromQuantized(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama", DType: quant.F16, Bits: 4, Config: map[string]any{"vocab_size": ggufVocab}}
	dir := modeltest.Write(t, spec)
	want := modeltest.Open(t, dev, dir)
	for _, kind := range []string{"Q4_1", "F32"} {
		path, _ := exportGGUF(t, dir, kind)
		got := modeltest.Open(t, dev, path)
		for _, l := range want.Linears() {
			a, err := l.Weight.Host(dev)
			if err != nil {
				t.Fatal(err)
			}
			w, ok := got.Matrix(l.Name)
			if !ok {
				t.Fatalf("%s is missing", l.Name)
			}
			b, err := w.Host(dev)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(a.Floats(), b.Floats()) {
				t.Errorf("%s: %s differs", kind, l.Name)
			}
		}
	}
}

func TestGGUFMetadata(t *testing.T) {
	t.Parallel()
	spec := exportable()[3] // qwen3 with a head_dim of its own
	path, _ := exportGGUF(t, modeltest.Write(t, spec), "Q4_1")
	g, err := weights.OpenGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for key, want := range map[string]any{
		"general.architecture": "qwen3", "general.file_type": uint32(3), "general.quantization_version": uint32(2),
		"qwen3.attention.key_length": uint32(16), "qwen3.rope.dimension_count": uint32(16), "qwen3.attention.head_count_kv": uint32(2),
		"qwen3.rope.freq_base": float32(10000), "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.eos_token_id": uint32(1),
		"tokenizer.ggml.eot_token_id": uint32(2), "tokenizer.ggml.add_bos_token": false,
	} {
		if got := g.Metadata()[key]; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if n := len(g.Metadata()["tokenizer.ggml.tokens"].([]string)); n != ggufVocab {
		t.Errorf("%d tokens, want %d", n, ggufVocab)
	}
}

// TestGGUFEnds: all tokens that end an answer are in the file, and Lentil reads them from it.
func TestGGUFEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		config, generation string
		keys, read         []int32 // of eos, eot and eom; of the config that is read back
		lost               int
	}{
		// The tokenizer's own is 1, which llama.cpp knows by its text, as 0 (<|im_start|>) is not.
		{`1`, `1`, []int32{1}, []int32{1}, 0},
		{`[4, 5]`, `6`, []int32{1, 6, 4}, []int32{1, 6, 4}, 1},
		{`[4]`, `[5, 1]`, []int32{1, 5, 4}, []int32{1, 5, 4}, 0},
		{`[100000]`, `null`, []int32{1}, []int32{1}, 0},
	} {
		dir := modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": ggufVocab, "eos_token_id": json.RawMessage(test.config)}})
		if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(`{"eos_token_id": `+test.generation+`}`), 0o666); err != nil {
			t.Fatal(err)
		}
		path, report := exportGGUF(t, dir, "F16")
		g, err := weights.OpenGGUF(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"eos", "eot", "eom"} {
			id, ok := g.Metadata()["tokenizer.ggml."+name+"_token_id"].(uint32)
			if ok != (i < len(test.keys)) || ok && id != uint32(test.keys[i]) {
				t.Errorf("%s and %s: %s is %d, %t, want %v", test.config, test.generation, name, id, ok, test.keys)
			}
		}
		if got := model.EndTokens(g.Config(), path, trained(t)); !slices.Equal(got, test.read) {
			t.Errorf("%s and %s: read back as %v, want %v", test.config, test.generation, got, test.read)
		}
		if len(report.LostEnds) != test.lost {
			t.Errorf("%s and %s: lost %q, want %d", test.config, test.generation, report.LostEnds, test.lost)
		}
		g.Close()
	}
}

func TestGGUFErrors(t *testing.T) {
	t.Parallel()
	if _, err := export.ParseGGUFType("Q3_K"); err == nil || !strings.Contains(err.Error(), "Q4_K_M") {
		t.Errorf("unknown type: %v", err)
	}
	for _, test := range []struct {
		kind   string
		config map[string]any
		want   string
	}{
		{"mistral", map[string]any{"layer_types": []string{"full_attention", "sliding_attention"}, "sliding_window": 3}, "sliding-window"},
		{"smollm3", map[string]any{"no_rope_layers": []int{0, 1}}, "no_rope_layers"},
		{"qwen2", map[string]any{"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 8.0}}, "llama3"},
		{"qwen2", map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "beta_fast": 8.0}}, "beta_fast 32"},
		{"qwen3", map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "truncate": false}}, "truncated"},
		{"qwen2", map[string]any{"head_dim": 16}, "head_dim 16"},
		{"qwen3", map[string]any{"attention_bias": true}, "_proj.bias"},
		{"qwen2", map[string]any{"rope_traditional": true}, "rope_traditional"},
		{"llama", map[string]any{"vocab_size": 100}, "only 100 rows"},
	} {
		if test.config["vocab_size"] == nil {
			test.config["vocab_size"] = ggufVocab
		}
		src, err := weights.Open(modeltest.Write(t, modeltest.Spec{Type: test.kind, Config: test.config}))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		typ, _ := export.ParseGGUFType("f16")
		path := filepath.Join(t.TempDir(), "x.gguf")
		if _, err := export.GGUF(src, trained(t), export.GGUFOptions{Path: path, Type: typ}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %v: error %v, want %q", test.kind, test.config, err, test.want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a file was left", test.want)
		}
	}
}

// TestGGUFWindows checks that a file promises no more context than the windows that
// llama.cpp does not have reach.
func TestGGUFWindows(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ window, longest, context, report int }{
		{600, 4096, 600, 600}, {600, 600, 600, 0}, {600, 256, 256, 0},
	} {
		dir := modeltest.Write(t, modeltest.Spec{Type: "mistral", Config: map[string]any{
			"vocab_size": ggufVocab, "sliding_window": test.window, "max_position_embeddings": test.longest}})
		path, report := exportGGUF(t, dir, "F16")
		file, err := weights.OpenGGUF(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := file.Metadata()["llama.context_length"]; got != uint32(test.context) || report.Window != test.report {
			t.Errorf("window %d of %d tokens: context %v, reported %d, want %d and %d", test.window, test.longest, got, report.Window, test.context, test.report)
		}
		file.Close()
	}
}
