package interop

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/model/modeltest"
)

// ggufFile is what peer/gguf_peer.py finds in a file.
type ggufFile struct {
	Metadata map[string]struct {
		Type  []string
		Value any
	}
	Writer  map[string][]string
	Tensors map[string]struct {
		Type  string
		Shape []int
	}
	Strange []string
}

func readWithGGUF(t *testing.T, path string) (f ggufFile) {
	t.Helper()
	out := command(t, exec.Command("../.interop/venv/bin/python", "peer/gguf_peer.py", path))
	if err := json.Unmarshal([]byte(out), &f); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Every key and name is one of the converter's, in the type that it writes.
	if len(f.Strange) > 0 {
		t.Errorf("the gguf package does not know %v", f.Strange)
	}
	for key, kind := range f.Writer {
		if got := f.Metadata[key].Type; !slices.Equal(got, kind) {
			t.Errorf("%s is stored as %v, llama.cpp's converter writes %v", key, got, kind)
		}
	}
	return f
}

// alwaysThere are the keys of every model that llama.cpp's converter writes.
var alwaysThere = []string{
	"general.architecture", "general.type", "general.name", "general.file_type", "general.quantization_version",
	"*.context_length", "*.embedding_length", "*.block_count", "*.feed_forward_length", "*.attention.head_count", "*.attention.head_count_kv",
	"*.attention.key_length", "*.attention.value_length", "*.attention.layer_norm_rms_epsilon", "*.rope.freq_base", "*.rope.dimension_count", "*.vocab_size",
	"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.eos_token_id",
	"tokenizer.ggml.add_bos_token",
}

// TestGGUFKeys reads exports of each family with the gguf package.
func TestGGUFKeys(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm") // whose environment has it
	for name, test := range map[string]struct {
		arch string
		more map[string]any // of some value
	}{
		"llama":   {"llama", map[string]any{"llama.attention.key_length": 16.0, "tokenizer.ggml.model": "gpt2"}},
		"llama 3": {"llama", nil},
		"yarn": {"llama", map[string]any{"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0,
			"llama.rope.scaling.original_context_length": 64.0}},
		"linear":  {"qwen2", map[string]any{"qwen2.rope.scaling.type": "linear", "qwen2.rope.scaling.factor": 2.0}},
		"mistral": {"llama", nil},
		"qwen3":   {"qwen3", map[string]any{"qwen3.attention.value_length": 16.0}},
		"smollm3": {"smollm3", nil},
		"mixtral": {"llama", map[string]any{"llama.expert_count": 4.0, "llama.expert_used_count": 2.0}},
		"qwen3_moe": {"qwen3moe", map[string]any{"qwen3moe.expert_count": 5.0, "qwen3moe.expert_used_count": 3.0,
			"qwen3moe.expert_feed_forward_length": 32.0, "qwen3moe.feed_forward_length": 64.0}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeWithTokenizer(t, exportedModels()[name])
			path := filepath.Join(t.TempDir(), "m.gguf")
			lentil(t, "convert", "--model", dir, "--gguf", "F16", "--mlx-path", path)
			f := readWithGGUF(t, path)
			for _, key := range append(alwaysThere, "tokenizer.ggml.merges", "tokenizer.chat_template") {
				if _, ok := f.Metadata[strings.Replace(key, "*", test.arch, 1)]; !ok {
					t.Errorf("%s is missing; there are %v", key, slices.Sorted(maps.Keys(f.Metadata)))
				}
			}
			for key, want := range test.more {
				if got := f.Metadata[key].Value; got != want {
					t.Errorf("%s is %v, want %v", key, got, want)
				}
			}
			if _, ok := f.Tensors["rope_freqs.weight"]; ok != (name == "llama 3") {
				t.Errorf("rope_freqs.weight is there: %v", ok)
			}
			if norm := f.Tensors["output_norm.weight"]; norm.Type != "F32" || f.Tensors["token_embd.weight"].Type != "F16" {
				t.Errorf("tensors %v", f.Tensors)
			}
			if exps, ok := f.Tensors["blk.1.ffn_down_exps.weight"]; ok {
				if router := f.Tensors["blk.1.ffn_gate_inp.weight"]; router.Type != "F32" || exps.Type != "F16" || len(exps.Shape) != 3 || exps.Shape[0] != router.Shape[0] {
					t.Errorf("experts %v, router %v", exps, router)
				}
			} else if test.more[test.arch+".expert_count"] != nil {
				t.Errorf("no experts in %v", f.Tensors)
			}
		})
	}
}

// TestGGUFKeysSentencePiece: the same for a SentencePiece vocabulary, Llama 2's.
func TestGGUFKeysSentencePiece(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	vocabulary := filepath.Join("..", "..", "shared", "tokenizers", "llama2")
	if _, err := os.Stat(vocabulary); err != nil {
		t.Skipf("shared test data %s is not here", vocabulary)
	}
	dir := modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": 32000}})
	if err := os.CopyFS(dir, os.DirFS(vocabulary)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	lentil(t, "convert", "--model", dir, "--gguf", "F16", "--mlx-path", path)
	f := readWithGGUF(t, path)
	for _, key := range append(alwaysThere, "tokenizer.ggml.scores", "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.unknown_token_id") {
		if _, ok := f.Metadata[strings.Replace(key, "*", "llama", 1)]; !ok {
			t.Errorf("%s is missing", key)
		}
	}
	if f.Metadata["tokenizer.ggml.add_bos_token"].Value != true || f.Metadata["tokenizer.ggml.model"].Value != "llama" {
		t.Errorf("metadata %v", f.Metadata)
	}
}

// TestGGUFAdapterKeys: the same for an adapter.
func TestGGUFAdapterKeys(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	dir := writeWithTokenizer(t, exportedModels()["mistral"])
	adapter := filepath.Join(t.TempDir(), "adapter.gguf")
	lentil(t, "adapters", "convert", randomAdapter(t, open(t, dir, ""), "lora", 4, 2), "--to", "gguf", "--model", dir, "--save-path", adapter)
	f := readWithGGUF(t, adapter)
	if f.Metadata["general.type"].Value != "adapter" || f.Metadata["adapter.type"].Value != "lora" || f.Metadata["adapter.lora.alpha"].Value != 8.0 {
		t.Errorf("metadata %v", f.Metadata)
	}
	a, b := f.Tensors["blk.1.ffn_down.weight.lora_a"], f.Tensors["blk.1.ffn_down.weight.lora_b"]
	if !slices.Equal(a.Shape, []int{4, modeltest.Inner}) || !slices.Equal(b.Shape, []int{modeltest.Hidden, 4}) {
		t.Errorf("shapes %v and %v", a.Shape, b.Shape)
	}
}
