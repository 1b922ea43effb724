package export_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tokenizer"
)

// TestFuseFromGGUF: a base with a table of rotary factors gives a folder that tells
// them as others do, and neither the base nor anything else in its folder is lost.
func TestFuseFromGGUF(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	from := modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{
		"vocab_size": ggufVocab, "rope_theta": 500000.0, "head_dim": 64, // waves on both sides of 8192 tokens
		"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 32.0, "original_max_position_embeddings": 8192},
	}})
	exported, _ := exportGGUF(t, from, "F32")
	base := filepath.Join(t.TempDir(), "ggml-model-f32.gguf") // a name that fuse --export-gguf itself gives
	if err := os.Rename(exported, base); err != nil {
		t.Fatal(err)
	}
	m := adapted(t, dev, base)
	if _, err := export.Fuse(m, nil, export.FuseOptions{SavePath: filepath.Dir(base)}); err == nil || !strings.Contains(err.Error(), "is read") {
		t.Errorf("fused into the folder of the base: %v", err)
	}
	if _, err := os.Stat(base); err != nil {
		t.Fatal(err)
	}
	report := fuse(t, m, export.FuseOptions{})
	if d := distance(logits(t, modeltest.Open(t, dev, report.Path)), logits(t, m)); d > exactTolerance {
		t.Errorf("logits differ by %g", d)
	}
	if _, text := readConfig(t, report.Path); !strings.Contains(text, `"llama3"`) || strings.Contains(text, "gguf_factors") {
		t.Errorf("rope_scaling in %s", text)
	}
}

// TestFilesBesideWeights: fuse and convert take the same files along, and no others.
// A second fuse replaces its own output, whatever the base brought along.
func TestFilesBesideWeights(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	base := modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": ggufVocab}})
	if err := trained(t).Save(base); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	files := map[string]string{
		"generation_config.json": `{"eos_token_id": [7, 9]}`, "modeling.py": "pass", "notes.txt": "mine",
		"chat_template.json": `{"chat_template": "{{ messages }}"}`, "additional_chat_templates/tool_use.jinja": "{{ tools }}",
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(base, name)), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(secret, []byte("secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(base, "link.py")); err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	m := adapted(t, dev, base)
	fused := filepath.Join(t.TempDir(), "fused")
	state := filepath.Join(fused, ".cache", "huggingface", "lentil-upload.json")
	for range 2 {
		if _, err := export.Fuse(m, tok, export.FuseOptions{SavePath: fused}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(state); err == nil {
			t.Error("hashes of the files that were replaced are still there")
		}
		if err := os.MkdirAll(filepath.Dir(state), 0o777); err != nil {
			t.Fatal(err)
		}
		left := filepath.Join(fused, ".set.0123abcd.lentil.tmp", "ggml-model-f16.gguf")
		if err := os.MkdirAll(filepath.Dir(left), 0o777); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{state, left, filepath.Join(fused, ".config.json.0123abcd.lentil.tmp")} {
			if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	converted := filepath.Join(t.TempDir(), "converted")
	if _, err := export.Convert(m.Source(), tok, export.ConvertOptions{SavePath: converted}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fused, converted} {
		for name, want := range files {
			text, err := os.ReadFile(filepath.Join(path, name))
			if name == "notes.txt" {
				if err == nil {
					t.Errorf("%s: notes.txt was copied", path)
				}
			} else if string(text) != want {
				t.Errorf("%s: %s is %q, %v", path, name, text, err)
			}
		}
		if card, err := os.ReadFile(filepath.Join(path, "README.md")); !strings.Contains(string(card), "\n# "+filepath.Base(path)+"\n") {
			t.Errorf("%s: README.md is %q, %v", path, card, err)
		}
		if _, err := os.Lstat(filepath.Join(path, "link.py")); err == nil {
			t.Errorf("%s: a file from outside of the folder was copied", path)
		}
		if config, _ := readConfig(t, path); jsonText(t, config["eos_token_id"]) != "[7,9,2]" {
			t.Errorf("%s: eos_token_id %v", path, config["eos_token_id"])
		}
	}
	for _, name := range []string{"tools.py", ".cache/huggingface/token"} {
		mine := filepath.Join(fused, name)
		if err := os.WriteFile(mine, []byte("mine"), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := export.Fuse(m, tok, export.FuseOptions{SavePath: fused}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s of the user's was in the way: %v", name, err)
		}
		if err := os.Remove(mine); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCompleteConfig: what a config may leave out, but mlx-lm has to be told.
func TestCompleteConfig(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		spec.Config = maps.Clone(spec.Config)
		if spec.Config == nil {
			spec.Config = map[string]any{}
		}
		spec.Config["vocab_size"] = ggufVocab
		tied, told := spec.Config["tie_word_embeddings"]
		if !told {
			tied = spec.Type != "mistral" && spec.Type != "mixtral"
		}
		from := modeltest.Write(t, spec)
		path, _ := convert(t, from, export.ConvertOptions{})
		was, _ := readConfig(t, from)
		config, text := readConfig(t, path)
		if config["tie_word_embeddings"] != tied {
			t.Errorf("%s: tie_word_embeddings is %v, expected %v", spec.Type, config["tie_word_embeddings"], tied)
		}
		if spec.Type == "qwen3_moe" && (config["decoder_sparse_step"] != 1.0 || !strings.Contains(text, `"mlp_only_layers": []`)) {
			t.Errorf("%s: layers with experts in %s", spec.Type, text)
		}
		for key, v := range was {
			if jsonText(t, config[key]) != jsonText(t, v) {
				t.Errorf("%s: %s is %v, was %v", spec.Type, key, config[key], v)
			}
		}
	}
}
