package tokenizer

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ggufMetadata writes a reference tokenizer as the metadata of a GGUF file, as
// llama.cpp's converter would.
func ggufMetadata(t *testing.T, name, model, pre string) map[string]any {
	t.Helper()
	tok := loadReference(t, name)
	types := make([]int32, tok.VocabSize())
	tokens := make([]string, tok.VocabSize())
	scores := make([]float32, tok.VocabSize())
	for i := range types {
		tokens[i], types[i] = tok.Piece(int32(i)), 1
		if _, isByte := parseByteText(tokens[i]); isByte {
			types[i] = 6
		} else if i >= 259 { // after three special tokens and 256 bytes, best first
			scores[i] = float32(259 - i)
			if strings.Trim(tokens[i], metaspace) == "" && tokens[i] != metaspace {
				scores[i] = -1e9 // runs of spaces come last
			}
		}
	}
	for _, token := range tok.def.added {
		types[token.ID] = 4
		if token.Special {
			types[token.ID] = 3
		}
	}
	m := map[string]any{
		"tokenizer.ggml.model":             model,
		"tokenizer.ggml.tokens":            tokens,
		"tokenizer.ggml.token_type":        types,
		"tokenizer.chat_template":          "default template",
		"tokenizer.chat_template.tool_use": "tool template",
	}
	for key, role := range map[string]string{"bos": "bos_token", "eos": "eos_token", "padding": "pad_token"} {
		if id, ok := tok.role(role); ok {
			m["tokenizer.ggml."+key+"_token_id"] = uint32(id)
		}
	}
	if model == "llama" {
		m["tokenizer.ggml.scores"] = scores
		m["tokenizer.ggml.unknown_token_id"] = uint32(0)
		return m
	}
	m["tokenizer.ggml.pre"] = pre
	var merges []string
	for _, p := range tok.def.orderedMerges() {
		merges = append(merges, tok.Piece(p.left)+" "+tok.Piece(p.right))
	}
	m["tokenizer.ggml.merges"] = merges
	return m
}

// TestGGUFReferences: the same vocabulary gives the same ids whether it comes
// from tokenizer.json, from GGUF metadata, or from what Save makes of those.
func TestGGUFReferences(t *testing.T) {
	t.Parallel()
	texts := testStrings(t)
	cases := []struct{ name, model, pre string }{
		{"llama2", "llama", ""},
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
			m := ggufMetadata(t, c.name, c.model, c.pre)
			tok, err := FromGGUF(m)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := tok.Save(dir); err != nil {
				t.Fatal(err)
			}
			saved, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range texts {
				ids := encode(t, want, text, true)
				for source, got := range map[string]*Tokenizer{"GGUF": tok, "saved": saved} {
					if got := encode(t, got, text, true); !slices.Equal(got, ids) {
						t.Errorf("%s: Encode(%q) = %v, want %v", source, text, got, ids)
					}
					if got, want := decode(t, got, ids, true), decode(t, want, ids, true); got != want {
						t.Errorf("%s: Decode(%v) = %q, want %q", source, ids, got, want)
					}
				}
			}
			if got, want := saved.SpecialTokens(), tok.SpecialTokens(); !maps.Equal(got, want) {
				t.Errorf("saved special tokens %v, want %v", got, want)
			}
			if got, _ := saved.ChatTemplate(true); got != "tool template" {
				t.Errorf("saved template for tools: %q", got)
			}
			if got, _ := saved.ChatTemplate(false); got != "default template" {
				t.Errorf("saved template: %q", got)
			}
		})
	}
}

// TestScoreMerges: the merges from scores are those that transformers' converter made for
// a real model, in the order of their results. The order of merges with the same score
// (several ways to the same token; runs of spaces) does not count: it has changed between
// versions of the converter.
func TestScoreMerges(t *testing.T) {
	t.Parallel()
	tok, err := FromGGUF(ggufMetadata(t, "llama2", "llama", ""))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Model struct{ Merges []string }
	}
	readTestJSON(t, filepath.Join(sharedDir(t, "tokenizers"), "llama2", "tokenizer.json"), &file)
	var got []string
	for _, p := range tok.def.orderedMerges() {
		got = append(got, tok.Piece(p.left)+" "+tok.Piece(p.right))
	}
	want := file.Model.Merges
	sortRuns(got)
	sortRuns(want)
	if len(got) != len(want) {
		t.Errorf("%d merges, want %d", len(got), len(want))
	}
	differ := 0
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			if differ++; differ <= 5 {
				t.Errorf("merge %d is %q, want %q", i, got[i], want[i])
			}
		}
	}
}

// sortRuns sorts each run of merges whose tokens have the same score.
func sortRuns(merges []string) {
	token := func(i int) string {
		if text := strings.ReplaceAll(merges[i], " ", ""); strings.Trim(text, metaspace) != "" {
			return text
		}
		return metaspace
	}
	for start := 0; start < len(merges); {
		end := start + 1
		for end < len(merges) && token(end) == token(start) {
			end++
		}
		slices.Sort(merges[start:end])
		start = end
	}
}

// TestGGUFSplitRules: every rule makes a tokenizer that can be saved and read.
func TestGGUFSplitRules(t *testing.T) {
	t.Parallel()
	for _, rule := range splitRules {
		pre := strings.Fields(rule.names)[0]
		t.Run(pre, func(t *testing.T) {
			t.Parallel()
			m := tinyGGUF()
			m["tokenizer.ggml.pre"] = pre
			tok, err := FromGGUF(m)
			if err != nil {
				t.Fatal(err)
			}
			if !json.Valid(tok.def.appendJSON(nil)) {
				t.Error("tokenizer.json is not valid JSON")
			}
			const text = "Grab 1234 $é's,  now\n\n"
			if got := decode(t, tok, encode(t, tok, text, false), false); got != text {
				t.Errorf("round trip: %q", got)
			}
		})
	}
}

// tinyGGUF is a byte-level vocabulary with one merge.
func tinyGGUF() map[string]any {
	tokens := append([]string{"<|end|>"}, byteChars[:]...)
	types := make([]int32, len(tokens)+1)
	types[0] = ggufControl
	return map[string]any{
		"tokenizer.ggml.model":        "gpt2",
		"tokenizer.ggml.tokens":       append(tokens, "ab"),
		"tokenizer.ggml.token_type":   types,
		"tokenizer.ggml.merges":       []string{"a b"},
		"tokenizer.ggml.eos_token_id": uint32(0),
	}
}

func TestGGUFErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key   string
		value any
		want  string
	}{
		"model":       {"tokenizer.ggml.model", "bert", `"bert" is not supported`},
		"model type":  {"tokenizer.ggml.model", 3, "tokenizer.ggml.model is a int, want a string"},
		"pre":         {"tokenizer.ggml.pre", "martian", `tokenizer.ggml.pre: "martian" is not supported`},
		"no tokens":   {"tokenizer.ggml.tokens", []string{}, "tokenizer.ggml.tokens: found 0"},
		"types":       {"tokenizer.ggml.token_type", []int32{1}, "token_type has 1 entries, but there are 258"},
		"merge":       {"tokenizer.ggml.merges", []string{"a b", "ab"}, "tokenizer.ggml.merges[1]"},
		"merge token": {"tokenizer.ggml.merges", []string{"a xyz"}, `"xyz" is not in the vocabulary`},
		"eos":         {"tokenizer.ggml.eos_token_id", uint32(999), "eos_token_id is 999"},
		"utf-8":       {"tokenizer.ggml.tokens", []string{"\xff"}, "tokens[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := tinyGGUF()
			m[c.key] = c.value
			if c.key == "tokenizer.ggml.tokens" {
				delete(m, "tokenizer.ggml.token_type")
			}
			_, err := FromGGUF(m)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
