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

// beside holds files of a model's folder that are neither config, tokenizer nor weights. All but notes.txt belong to
// the model.
var beside = map[string]string{
	"generation_config.json": `{"eos_token_id": [7, 9]}`, "modeling.py": "pass", "notes.txt": "mine",
	"chat_template.json": `{"chat_template": "{{ messages }}"}`, "additional_chat_templates/tool_use.jinja": "{{ tools }}",
}

// put writes a file, and the folders that it is in.
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// folderWithFiles writes a model with the files of beside, and link.py, which leads out of the folder.
func folderWithFiles(t *testing.T) string {
	t.Helper()
	base := modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": ggufVocab}})
	if err := trained(t).Save(base); err != nil {
		t.Fatal(err)
	}
	for name, text := range beside {
		put(t, filepath.Join(base, name), text)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	put(t, secret, "secret")
	if err := os.Symlink(secret, filepath.Join(base, "link.py")); err != nil {
		t.Fatal(err)
	}
	return base
}

// TestFilesBesideWeights: fuse and convert take the same files along, and no others.
func TestFilesBesideWeights(t *testing.T) {
	t.Parallel()
	base := folderWithFiles(t)
	tok, err := tokenizer.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	m := adapted(t, newCPU(t), base)
	fused, converted := filepath.Join(t.TempDir(), "fused"), filepath.Join(t.TempDir(), "converted")
	if _, err := export.Fuse(m, tok, export.FuseOptions{SavePath: fused}); err != nil {
		t.Fatal(err)
	}
	if _, err := export.Convert(m.Source(), tok, export.ConvertOptions{SavePath: converted}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fused, converted} {
		t.Run(filepath.Base(path), func(t *testing.T) { takesAlong(t, path) })
	}
}

// takesAlong checks what a folder made of folderWithFiles holds beside its weights.
func takesAlong(t *testing.T, path string) {
	t.Run("the model's files", func(t *testing.T) {
		for name, want := range beside {
			if name == "notes.txt" {
				continue
			}
			if text, err := os.ReadFile(filepath.Join(path, name)); string(text) != want {
				t.Errorf("%s is %q, %v", name, text, err)
			}
		}
	})
	t.Run("nobody else's", func(t *testing.T) {
		if _, err := os.Stat(filepath.Join(path, "notes.txt")); err == nil {
			t.Error("notes.txt was copied")
		}
		if _, err := os.Lstat(filepath.Join(path, "link.py")); err == nil {
			t.Error("a file from outside of the folder was copied")
		}
	})
	t.Run("a card of its own", func(t *testing.T) {
		if card, err := os.ReadFile(filepath.Join(path, "README.md")); !strings.Contains(string(card), "\n# "+filepath.Base(path)+"\n") {
			t.Errorf("README.md is %q, %v", card, err)
		}
	})
	t.Run("the tokens that end answers", func(t *testing.T) {
		if config, _ := readConfig(t, path); jsonText(t, config["eos_token_id"]) != "[7,9,2]" {
			t.Errorf("eos_token_id %v", config["eos_token_id"])
		}
	})
}

// TestFuseAgain: fuse replaces what it wrote, whatever the base brought along, and nothing of the user's.
func TestFuseAgain(t *testing.T) {
	t.Parallel()
	base := folderWithFiles(t)
	tok, err := tokenizer.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	m := adapted(t, newCPU(t), base)
	fused := filepath.Join(t.TempDir(), "fused")
	again := func() error {
		_, err := export.Fuse(m, tok, export.FuseOptions{SavePath: fused})
		return err
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(fused, ".cache", "huggingface", "lentil-upload.json")
	leave := func(t *testing.T) {
		for _, path := range []string{state, filepath.Join(fused, ".set.0123abcd.lentil.tmp", "ggml-model-f16.gguf"), filepath.Join(fused, ".config.json.0123abcd.lentil.tmp")} {
			put(t, path, "{}")
		}
	}
	t.Run("over what an upload and a killed command left", func(t *testing.T) {
		leave(t)
		if err := again(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(state); err == nil {
			t.Error("hashes of the files that were replaced are still there")
		}
		takesAlong(t, fused)
	})
	for _, name := range []string{"tools.py", ".cache/huggingface/token"} {
		t.Run("not over "+filepath.Base(name)+" of the user's", func(t *testing.T) {
			leave(t)
			mine := filepath.Join(fused, name)
			put(t, mine, "mine")
			defer os.Remove(mine)
			if err := again(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("it was in the way: %v", err)
			}
			if text, err := os.ReadFile(mine); string(text) != "mine" {
				t.Errorf("it is %q now, %v", text, err)
			}
		})
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
