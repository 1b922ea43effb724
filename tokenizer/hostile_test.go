package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/lentil-lm/lentil/internal/spoil"
)

// hostileFiles are the files of a small tokenizer that uses much of the format.
func hostileFiles() map[string]string {
	return map[string]string{
		"tokenizer.json": bpeJSON(`"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "▁"}]},
 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "\\s+|\\p{N}{1,3}|[^\\s\\p{N}]+"}, "behavior": "Isolated", "invert": false},
  {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
 "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "b", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
  "special_tokens": {"b": {"id": "b", "ids": [1], "tokens": ["b"]}}},
 "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},`),
		"tokenizer_config.json":   `{"eos_token": {"content": "b"}, "add_bos_token": true, "chat_template": [{"name": "default", "template": "{{ x }}"}]}`,
		"special_tokens_map.json": `{"bos_token": "b", "additional_special_tokens": ["ab"]}`,
		"added_tokens.json":       `{"</think>": 11, "<think>": 12}`,
		"chat_template.jinja":     `{% for m in messages %}{{ m.content }}{% endfor %}`,
	}
}

// use does with a tokenizer what commands do.
func use(t *testing.T, tok *Tokenizer) {
	t.Helper()
	ids := encode(t, tok, "ab a  1é\n▁</s>\xff 12345", true)
	for _, id := range ids {
		if id < 0 || int(id) >= tok.VocabSize() {
			t.Fatalf("id %d of %d", id, tok.VocabSize())
		}
	}
	if got, want := streamed(tok, ids), decode(t, tok, ids, false); got != want {
		t.Errorf("streamed %q, decoded %q", got, want)
	}
	tok.SpecialTokens()
	tok.HasThinking()
	tok.ChatTemplate(true)
}

// TestSpoiledTokenizer cuts and changes each file of a tokenizer in turn.
func TestSpoiledTokenizer(t *testing.T) {
	files := hostileFiles()
	dir := writeFiles(t, files)
	if _, err := Load(dir); err != nil {
		t.Fatal(err)
	}
	loaded := 0
	for name, valid := range files {
		path := filepath.Join(dir, name)
		spoil.Each(t, []byte(valid), spoil.Limit{Places: 80}, func(t *testing.T, spoiled []byte) {
			if err := os.WriteFile(path, spoiled, 0o666); err != nil {
				t.Fatal(err)
			}
			tok, err := Load(dir)
			if err != nil {
				if !strings.Contains(err.Error(), dir) {
					t.Errorf("error %q does not name the file", err)
				}
				return
			}
			loaded++
			use(t, tok)
		})
		if err := os.WriteFile(path, []byte(valid), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d spoiled tokenizers could be loaded", loaded)
}

// FuzzRoles loads a valid vocabulary with foreign files beside it.
func FuzzRoles(f *testing.F) {
	files := hostileFiles()
	f.Add(files["tokenizer_config.json"], files["special_tokens_map.json"], files["added_tokens.json"], files["chat_template.jinja"])
	f.Add(`{"added_tokens_decoder": {"11": {"content": "x", "special": true}}, "chat_template": "a"}`, `{"eos_token": null}`, `{"x": -1}`, "")
	f.Fuzz(func(t *testing.T, config, special, added, template string) {
		tok, err := Load(writeFiles(t, map[string]string{
			"tokenizer.json": files["tokenizer.json"], "tokenizer_config.json": config, "special_tokens_map.json": special,
			"added_tokens.json": added, "chat_template.jinja": template,
		}))
		if err != nil {
			return
		}
		use(t, tok)
		if !json.Valid(tok.def.appendJSON(nil)) || !json.Valid(tok.appendConfig(nil)) {
			t.Error("Save would not write valid JSON")
		}
	})
}

// FuzzFromGGUF makes tokenizers of foreign metadata; lists are given as lines. A tokenizer
// that can be written as metadata again is read back the same.
func FuzzFromGGUF(f *testing.F) {
	f.Add("gpt2", "qwen2", "a\nb\nab\n<|end|>", []byte{1, 1, 1, 3}, "a b", uint32(3), true, false)
	f.Add("llama", "default", "<unk>\n<s>\n<0x0A>\n▁\na\n▁a", []byte{2, 3, 6, 1, 1, 1}, "", uint32(1), true, true)
	f.Add("gpt2", "", "a\na\n", []byte{}, "a a\na", uint32(1<<32-1), false, false)
	f.Add("llama", "0", "\na", []byte("0"), "0", uint32(0), false, false) // hardly a vocabulary
	f.Fuzz(func(t *testing.T, model, pre, tokens string, types []byte, merges string, role uint32, bos, prefix bool) {
		pieces := strings.Split(tokens, "\n")
		m := map[string]any{
			"tokenizer.ggml.model": model, "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.merges": strings.Split(merges, "\n"),
			"tokenizer.ggml.eos_token_id": role, "tokenizer.ggml.bos_token_id": role, "tokenizer.ggml.add_bos_token": bos,
			"tokenizer.ggml.add_space_prefix": prefix, "tokenizer.chat_template": merges, "tokenizer.ggml.unknown_token_id": uint64(role),
		}
		kinds, scores := make([]int32, len(pieces)), make([]float32, len(pieces))
		for i := range pieces {
			kinds[i] = 1
			if i < len(types) {
				kinds[i], scores[i] = int32(int8(types[i])), float32(types[i]>>3)
			}
		}
		m["tokenizer.ggml.token_type"], m["tokenizer.ggml.scores"] = kinds, scores
		tok, err := FromGGUF(m)
		if err != nil {
			return
		}
		use(t, tok)
		again, err := tok.GGUF(tok.VocabSize())
		if err != nil {
			return
		}
		back, err := FromGGUF(again)
		if err != nil {
			t.Fatalf("what GGUF gives is not read: %v", err)
		}
		if a, b := encode(t, tok, "ab a", false), encode(t, back, "ab a", false); !slices.Equal(a, b) {
			t.Errorf("%v, after GGUF %v", a, b)
		}
	})
}

// TestMultiplyingSteps: steps that each put several letters in place of one are refused before they take the memory.
func TestMultiplyingSteps(t *testing.T) {
	steps := func(n int, pattern string) string {
		step := `{"type": "Replace", "pattern": ` + pattern + `, "content": "` + strings.Repeat("a", 64) + `"}`
		return strings.TrimSuffix(strings.Repeat(step+", ", n), ", ")
	}
	spoil.Peak(t, 150, func(t *testing.T) {
		for _, pattern := range []string{`{"String": "a"}`, `{"Regex": "a"}`} {
			tok := loadText(t, bpeJSON(`"normalizer": {"type": "Sequence", "normalizers": [`+steps(9, pattern)+`]},
				"decoder": {"type": "Sequence", "decoders": [`+steps(9, pattern)+`]},`))
			for _, text := range []string{"a", strings.Repeat("a", 1<<20)} {
				if _, err := tok.Encode(text, false); err == nil || !strings.Contains(err.Error(), "steps of tokenizer.json") {
					t.Errorf("%d bytes: %v", len(text), err)
				}
			}
			id, ok := tok.ID("a")
			if !ok {
				t.Fatal("there is no a")
			}
			if _, err := tok.Decode([]int32{id}, false); err == nil || !strings.Contains(err.Error(), "steps of tokenizer.json") {
				t.Errorf("decoding: %v", err)
			}
		}
	})
}

// TestMarks: a text of combining marks is put into order in no more time than it takes to read it.
func TestMarks(t *testing.T) {
	t.Parallel()
	low, high := "\u0323", "\u0301" // classes 220 and 230
	const n = 100_000
	got := normalizeLong(norm.NFD, "q"+strings.Repeat(high, n)+strings.Repeat(low, n))
	if want := "q" + strings.Repeat(low, n) + strings.Repeat(high, n); got != want {
		t.Error("the marks are in the wrong order")
	}
}
