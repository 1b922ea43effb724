package interop

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

const (
	// The lead that llama.cpp's rounding of activations (to 8 bits for quantized
	// weights, to their type for F16 and BF16) can turn in a random model, whose
	// logits are some thirty wide: 0.47 was measured, in Q6_K, and 0.83 in a mixture, where
	// it can also turn the choice of an expert. TestExportPerplexityInLlamaCpp is the
	// sharper look at these types, as roundings average out there.
	randomNoise = 1.2
	// Nothing is rounded with float32 weights, keys and values: no answer differs.
	// Sums in another order may turn a lead of a few millionths of the logits.
	floatNoise = 1e-3
)

// llamaCpp continues prompts with llama.cpp, with an adapter if one is given.
func llamaCpp(t *testing.T, path string, prompts []string, count string, adapter ...string) []answer {
	t.Helper()
	node, err := filepath.Abs("../.interop/node")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"peer/llama.mjs", path, writeJSON(t, "prompts.json", prompts), count}, adapter...)
	cmd := exec.Command("node", args...)
	cmd.Env = append(os.Environ(), "LENTIL_NODE_PEERS="+node)
	var answers []answer
	if err := json.Unmarshal([]byte(command(t, cmd)), &answers); err != nil {
		t.Fatal(err)
	}
	return answers
}

// exportedModels has one model of each family, with the features that an
// export can lose. Their vocabulary is larger than the tokenizer's 512.
func exportedModels() map[string]modeltest.Spec {
	config := func(more map[string]any) map[string]any {
		more["vocab_size"] = 520
		return more
	}
	return map[string]modeltest.Spec{
		"llama": {Type: "llama", Config: config(map[string]any{"tie_word_embeddings": false, "attention_bias": true, "mlp_bias": true, "head_dim": 16})},
		"llama 3": {Type: "llama", Config: config(map[string]any{"rope_scaling": map[string]any{
			"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}})},
		"yarn": {Type: "llama", Config: config(map[string]any{"rope_scaling": map[string]any{
			"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}})},
		"linear":  {Type: "qwen2", Config: config(map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2.0}})},
		"mistral": {Type: "mistral", Config: config(map[string]any{})},
		"qwen3":   {Type: "qwen3", Config: config(map[string]any{"head_dim": 16})},
		"smollm3": {Type: "smollm3", Config: config(map[string]any{"num_hidden_layers": 4})},
		"mixtral": {Type: "mixtral", Config: config(map[string]any{"num_local_experts": 4, "num_experts_per_tok": 2})},
		"qwen3_moe": {Type: "qwen3_moe", Config: config(map[string]any{
			"head_dim": 16, "num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 32, "norm_topk_prob": true})},
	}
}

var exportPrompts = []string{"Why is too much salt a problem?", "<|im_start|>user\nWhat's 12 of 345?<|im_end|>\n", "Äpfel, lentils  and\n\nbeans"}

// TestExportInLlamaCpp: llama.cpp reads each exported family, cuts texts into the
// same tokens and continues them with the same ones.
func TestExportInLlamaCpp(t *testing.T) {
	need(t, "llama.cpp")
	for name, spec := range exportedModels() {
		t.Run(name, func(t *testing.T) {
			inLlamaCpp(t, modeltest.Write(t, spec), "F32")
		})
	}
	// Rows of 256 for the types with super-blocks; 8 experts make attention larger in mixtures.
	for name, spec := range map[string]modeltest.Spec{
		"": {Type: "llama"}, "mixtral ": {Type: "mixtral", Config: map[string]any{"num_local_experts": 8}},
		"qwen3_moe ": {Type: "qwen3_moe", Config: map[string]any{
			"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 256, "norm_topk_prob": true}},
	} {
		config := map[string]any{"vocab_size": 520, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1}
		maps.Copy(config, spec.Config)
		spec.Config = config
		dir := modeltest.Write(t, spec)
		for _, kind := range ggufTypes {
			t.Run(name+kind, func(t *testing.T) { inLlamaCpp(t, dir, kind) })
		}
	}
}

func inLlamaCpp(t *testing.T, dir, kind string) {
	t.Helper()
	src, err := weights.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	tok, err := tokenizer.Load("testdata/tokenizer")
	if err != nil {
		t.Fatal(err)
	}
	typ, err := export.ParseGGUFType(kind)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	if _, err := export.GGUF(src, tok, export.GGUFOptions{Path: path, Type: typ}); err != nil {
		t.Fatal(err)
	}
	theirs := llamaCpp(t, path, exportPrompts, "24")
	// For F32 the folder that was exported, else the very weights of the file.
	same, noise := dir, float32(floatNoise)
	if kind != "F32" {
		same, noise = path, randomNoise
	}
	sameAnswers(t, kind, open(t, same, ""), tok, theirs, noise)
}

// sameAnswers checks that the model continues the prompts as llama.cpp did, until
// the lead of the best token is within the noise.
func sameAnswers(t *testing.T, kind string, m *model.Model, tok *tokenizer.Tokenizer, theirs []answer, noise float32) {
	t.Helper()
	for i, got := range theirs {
		prompt := encode(t, tok, exportPrompts[i], true)
		if firstDifference(got.Prompt, prompt) >= 0 {
			t.Errorf("%s: prompt %d is tokenised as %v, expected %v", kind, i, got.Prompt, prompt)
			continue
		}
		want := greedy(t, m, true, prompt, len(got.IDs), -1)
		if at := firstDifference(got.IDs, want.IDs); at >= 0 && want.Gaps[at] > noise {
			t.Errorf("%s: prompt %d: token %d is %d, expected %d with a lead of %.4f", kind, i, at, got.IDs[at], want.IDs[at], want.Gaps[at])
		} else if at >= 0 {
			t.Logf("%s: prompt %d: differs from token %d on, where the lead is %.5f", kind, i, at, want.Gaps[at])
		}
	}
}

// TestAdapterInLlamaCpp: llama.cpp loads an adapter in its own layout beside the
// base and continues as Lentil does with the adapter it came from.
func TestAdapterInLlamaCpp(t *testing.T) {
	need(t, "llama.cpp")
	dir := modeltest.Write(t, exportedModels()["llama"])
	m := open(t, dir, "")
	if _, err := adapter.New(m, adapter.Config{Rank: 4, Scale: 2}, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, 0.2)
	f, err := adapter.Of(m)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	theirs := filepath.Join(folder, "adapter.gguf")
	if err := f.WriteGGUF(theirs, m.Source()); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Load("testdata/tokenizer")
	if err != nil {
		t.Fatal(err)
	}
	typ, err := export.ParseGGUFType("F32")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "model.gguf")
	if _, err := export.GGUF(m.Source(), tok, export.GGUFOptions{Path: path, Type: typ}); err != nil {
		t.Fatal(err)
	}
	prompt := encode(t, tok, exportPrompts[0], true)
	if firstDifference(greedy(t, m, true, prompt, 24, -1).IDs, greedy(t, open(t, dir, ""), true, prompt, 24, -1).IDs) < 0 {
		t.Error("the adapter changes nothing")
	}
	sameAnswers(t, "with adapter", m, tok, llamaCpp(t, path, exportPrompts, "24", theirs), floatNoise)
}
