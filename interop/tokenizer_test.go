package interop

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// tokenizerFolder is a folder and what transformers makes of it, as peer/tokenizer_folders.py tells it.
type tokenizerFolder struct {
	Files      map[string]string
	Roles      map[string]string
	Vocabulary map[string]int32
	EOS        *int32
	Cases      []struct {
		Text             string
		IDs, Special     []int32
		Decoded, Skipped *string // nil where they are not compared
	}
	Rendered string
}

func (f *tokenizerFolder) check(t *testing.T) {
	dir := t.TempDir()
	for name, text := range f.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.SpecialTokens(); !maps.Equal(got, f.Roles) {
		t.Errorf("SpecialTokens() = %v, want %v", got, f.Roles)
	}
	for piece, id := range f.Vocabulary {
		if got, ok := tok.ID(piece); !ok || got != id {
			t.Errorf("ID(%q) = %d, %t, want %d", piece, got, ok, id)
		}
	}
	if eos, ok := tok.EOS(); ok != (f.EOS != nil) || ok && eos != *f.EOS {
		t.Errorf("EOS() = %d, %t, want %v", eos, ok, f.EOS)
	}
	for _, c := range f.Cases {
		if got := encode(t, tok, c.Text, false); !slices.Equal(got, c.IDs) {
			t.Errorf("Encode(%q) = %v, want %v", c.Text, got, c.IDs)
		}
		if got := encode(t, tok, c.Text, true); !slices.Equal(got, c.Special) {
			t.Errorf("Encode(%q, special) = %v, want %v", c.Text, got, c.Special)
		}
		if got := decode(t, tok, c.IDs, false); c.Decoded != nil && got != *c.Decoded {
			t.Errorf("Decode(%v) = %q, want %q", c.IDs, got, *c.Decoded)
		}
		if got := decode(t, tok, c.IDs, true); c.Skipped != nil && got != *c.Skipped {
			t.Errorf("Decode(%v, skip) = %q, want %q", c.IDs, got, *c.Skipped)
		}
	}
	r, err := chat.NewRenderer(tok)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Render([]chat.Value{chat.NewMessage("user", "ab")}, nil, chat.Options{}); err != nil || got != f.Rendered {
		t.Errorf("rendered %q, %v, want %q", got, err, f.Rendered)
	}
	if t.Failed() {
		for name, text := range f.Files {
			t.Logf("%s: %s", name, text)
		}
	}
}

// TestTokenizerFolders compares with what transformers made of a few folders.
func TestTokenizerFolders(t *testing.T) {
	t.Parallel()
	var folders []tokenizerFolder
	readJSON(t, "testdata/tokenizer_folders.json", &folders)
	if len(folders) != 12 {
		t.Fatalf("%d folders", len(folders))
	}
	for i := range folders {
		t.Run(strconv.Itoa(i), folders[i].check)
	}
}

// TestTokenizerFoldersLive does so with many new ones.
func TestTokenizerFoldersLive(t *testing.T) {
	t.Parallel()
	need(t, "mlx-lm")
	const count = 250
	seed := os.Getenv("LENTIL_SEED")
	if seed == "" {
		seed = "1"
	}
	out := command(t, exec.Command("../.interop/venv/bin/python", "peer/tokenizer_folders.py", strconv.Itoa(count), seed))
	var folders []tokenizerFolder
	if err := json.Unmarshal([]byte(out), &folders); err != nil || len(folders) != count {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	for i := range folders {
		t.Run(strconv.Itoa(i), folders[i].check)
	}
}

// TestGGUFEnds: answers of an exported model end at the tokens at which llama.cpp ends them, which are those that
// the folder names and those that llama.cpp knows by their texts.
func TestGGUFEnds(t *testing.T) {
	t.Parallel()
	need(t, "llama.cpp")
	folders := []struct {
		special            []string
		config, generation string
	}{
		{[]string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, "1", "null"},
		{[]string{"<|end|>", "<|return|>", "<|call|>", "<|im_end|>"}, "null", "null"},
		{[]string{"<|tool_response>", "</s>", "<eos>", "<turn|>", "<|im_end|>"}, "null", "null"},
		{[]string{"<a>", "<b>", "<c>", "<|im_end|>"}, "[0, 3]", "1"},
		{[]string{"<|begin_of_text|>", "<|end_of_text|>", "<|eom_id|>", "<|eot_id|>", "<|im_end|>"}, "1", "[1, 2, 3]"},
		{[]string{"<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|fim_prefix|>", "<|im_end|>"}, "null", "null"},
		{[]string{"[PAD]", "<reponame>", "[UNK]", "<|im_end|>"}, "null", "0"},
		{[]string{"<|flush|>", "<|calls|>", "<|end|>", "[EOS]", "[EOT]", "[e~[", "<EOT>", "_<EOT>", "<end_of_utterance>", "<end_of_turn>", "<｜end▁of▁sentence｜>", "<|im_end|>"}, "null", "null"},
	}
	args := []string{"peer/llama_ends.mjs"}
	var ours [][]int32
	for _, f := range folders {
		tok, err := tokenizer.Train(slices.Values([]string{strings.Repeat("lentils and peas ", 4)}), tokenizer.TrainOptions{VocabSize: 290, SpecialTokens: f.special, EOS: "<|im_end|>"})
		if err != nil {
			t.Fatal(err)
		}
		dir := modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": 300, "eos_token_id": json.RawMessage(f.config)}})
		if err := tok.Save(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(`{"eos_token_id": `+f.generation+`}`), 0o666); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		lentil(t, "convert", "--model", dir, "--gguf", "F16", "--mlx-path", path)
		g, err := weights.OpenGGUF(path)
		if err != nil {
			t.Fatal(err)
		}
		ends := model.EndTokens(g.Config(), path, tok)
		g.Close()
		for _, id := range model.EndTokens([]byte(`{"eos_token_id": `+f.config+`}`), dir, tok) {
			if !slices.Contains(ends, id) {
				t.Errorf("%q: the export does not end at %d, but the folder does", f.special, id)
			}
		}
		slices.Sort(ends)
		ours, args = append(ours, ends), append(args, path)
	}
	node, err := filepath.Abs("../.interop/node")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", args...)
	cmd.Env = append(os.Environ(), "LENTIL_NODE_PEERS="+node)
	var theirs [][]int32
	if err := json.Unmarshal([]byte(command(t, cmd)), &theirs); err != nil {
		t.Fatal(err)
	}
	for i, f := range folders {
		if !slices.Equal(ours[i], theirs[i]) {
			t.Errorf("%q: answers end at %v, in llama.cpp at %v", f.special, ours[i], theirs[i])
		}
	}
}
