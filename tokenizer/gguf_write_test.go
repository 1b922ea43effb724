package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

// TestWriteGGUFReferences writes real tokenizers as metadata and reads them
// back: the rule that llama.cpp has for them, and the same ids.
func TestWriteGGUFReferences(t *testing.T) {
	t.Parallel()
	texts := testStrings(t)
	cases := []struct{ name, model, pre string }{
		{"llama2", "llama", "default"},
		{"llama3_2", "gpt2", "llama-bpe"},
		{"qwen2_5", "gpt2", "qwen2"},
		{"mistral_nemo", "gpt2", "tekken"},
	}
	if testing.Short() {
		cases = cases[:2] // one of each algorithm
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := loadReference(t, c.name)
			const more = 3
			m, err := want.GGUF(want.VocabSize() + more)
			if err != nil {
				t.Fatal(err)
			}
			if m["tokenizer.ggml.model"] != c.model || m["tokenizer.ggml.pre"] != c.pre {
				t.Errorf("model %v, pre %v, want %s, %s", m["tokenizer.ggml.model"], m["tokenizer.ggml.pre"], c.model, c.pre)
			}
			tokens, types := m["tokenizer.ggml.tokens"].([]string), m["tokenizer.ggml.token_type"].([]int32)
			if last := len(tokens) - 1; last != want.VocabSize()+more-1 || types[last] != ggufUnused || !strings.HasPrefix(tokens[last], "[PAD") {
				t.Errorf("last of %d tokens: %q of type %d", len(tokens), tokens[last], types[last])
			}
			got, err := FromGGUF(m)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range texts {
				for _, special := range []bool{false, true} {
					a, b := encode(t, got, text, special), encode(t, want, text, special)
					if !slices.Equal(a, b) {
						t.Errorf("%q (special %v): %v, want %v", text, special, a, b)
					}
				}
				if ids := encode(t, want, text, false); decode(t, got, ids, false) != decode(t, want, ids, false) {
					t.Errorf("%v decodes to %q, want %q", ids, decode(t, got, ids, false), decode(t, want, ids, false))
				}
			}
			for role, piece := range want.SpecialTokens() {
				if got.SpecialTokens()[role] != piece {
					t.Errorf("%s is %q, want %q", role, got.SpecialTokens()[role], piece)
				}
			}
			for _, tools := range []bool{false, true} {
				a, _ := got.ChatTemplate(tools)
				if b, _ := want.ChatTemplate(tools); a != b {
					t.Errorf("chat template differs (tools %v)", tools)
				}
			}
		})
	}
}

func TestWriteGGUFErrors(t *testing.T) {
	t.Parallel()
	tok := trainSmall(t)
	if _, err := tok.GGUF(tok.VocabSize() - 1); err == nil || !strings.Contains(err.Error(), "rows") {
		t.Errorf("too few rows: %v", err)
	}
	m, err := tok.GGUF(tok.VocabSize())
	if err != nil {
		t.Fatal(err)
	}
	if m["tokenizer.ggml.pre"] != "deepseek-r1-qwen" { // Qwen's pattern without normalization
		t.Errorf("pre of a tokenizer trained with Qwen's pattern is %v", m["tokenizer.ggml.pre"])
	}
	// A split that llama.cpp does not have: at every "e".
	tok.split, err = newPreTokenizer(splitThenBytes("e"), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tok.GGUF(tok.VocabSize()); err == nil || !strings.Contains(err.Error(), "none of llama.cpp's ways") {
		t.Errorf("unknown split: %v", err)
	}
}
