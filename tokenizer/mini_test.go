package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// miniCase is one tokenizer of testdata/mini.json, which make_mini.py writes
// with the tokenizers library.
type miniCase struct {
	Name      string
	Tokenizer json.RawMessage
	Cases     []struct {
		Text         string
		IDs, Special []int32
		Dec, Skip    string
	}
}

// TestMini checks each feature against the tokenizers library.
func TestMini(t *testing.T) {
	t.Parallel()
	var minis []miniCase
	readTestJSON(t, filepath.Join("testdata", "mini.json"), &minis)
	if len(minis) < 40 {
		t.Fatalf("only %d tokenizers", len(minis))
	}
	for _, mini := range minis {
		t.Run(mini.Name, func(t *testing.T) {
			t.Parallel()
			tok := loadText(t, string(mini.Tokenizer))
			for _, c := range mini.Cases {
				if got := encode(t, tok, c.Text, false); !slices.Equal(got, c.IDs) {
					t.Errorf("Encode(%q) = %v, want %v", c.Text, got, c.IDs)
				}
				if got := encode(t, tok, c.Text, true); !slices.Equal(got, c.Special) {
					t.Errorf("Encode(%q, special) = %v, want %v", c.Text, got, c.Special)
				}
				if got := decode(t, tok, c.IDs, false); got != c.Dec {
					t.Errorf("Decode(%v) = %q, want %q", c.IDs, got, c.Dec)
				}
				if got := decode(t, tok, c.IDs, true); got != c.Skip {
					t.Errorf("Decode(%v, skip) = %q, want %q", c.IDs, got, c.Skip)
				}
				if got := streamed(tok, c.IDs); got != c.Dec {
					t.Errorf("Stream(%v) = %q, want %q", c.IDs, got, c.Dec)
				}
			}
		})
	}
}

// loadText loads a tokenizer.json given as text.
func loadText(t testing.TB, text string) *Tokenizer {
	t.Helper()
	tok, err := Load(writeFiles(t, map[string]string{"tokenizer.json": text}))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// writeFiles makes a folder of files.
func writeFiles(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// streamed decodes ids one by one.
func streamed(tok *Tokenizer, ids []int32) string {
	s := tok.Stream()
	text := ""
	for _, id := range ids {
		text += s.Add(id)
	}
	return text + s.Flush()
}

// encode and decode are those of the tokenizer, which must not fail.
func encode(t testing.TB, tok *Tokenizer, text string, addSpecial bool) []int32 {
	t.Helper()
	ids, err := tok.Encode(text, addSpecial)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func decode(t testing.TB, tok *Tokenizer, ids []int32, skipSpecial bool) string {
	t.Helper()
	text, err := tok.Decode(ids, skipSpecial)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
