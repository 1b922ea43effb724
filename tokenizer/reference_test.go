package tokenizer

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var referenceModels = []string{"llama2", "llama3_2", "mistral_nemo", "qwen2_5", "gemma2"}

// sharedDir returns a folder of the shared test data, which lies beside the
// repository, and skips the test where it does not.
func sharedDir(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = parent
	}
	path := filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("shared test data %q is not here", name)
	}
	return path
}

func readTestJSON(t testing.TB, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

var loadedReferences sync.Map // name -> func() (*Tokenizer, error)

// loadReference loads one of the shared tokenizers, once for all tests.
func loadReference(t testing.TB, name string) *Tokenizer {
	t.Helper()
	dir := filepath.Join(sharedDir(t, "tokenizers"), name)
	load, _ := loadedReferences.LoadOrStore(name, sync.OnceValues(func() (*Tokenizer, error) { return Load(dir) }))
	tok, err := load.(func() (*Tokenizer, error))()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func testStrings(t testing.TB) []string {
	t.Helper()
	var texts []string
	readTestJSON(t, filepath.Join(sharedDir(t, "tokenizers"), "strings.json"), &texts)
	return texts
}

// cleanUp is what the port that made the references does to decoded text if
// tokenizer_config.json has clean_up_tokenization_spaces. The tokenizers library, which
// decides, does not do it.
var cleanUp = strings.NewReplacer(" .", ".", " ?", "?", " !", "!", " ,", ",", " ' ", "'",
	" n't", "n't", " 'm", "'m", " 's", "'s", " 've", "'ve", " 're", "'re")

func TestReferences(t *testing.T) {
	t.Parallel()
	texts := testStrings(t)
	for _, name := range referenceModels {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want struct {
				IDs, Special [][]int32
				Dec          []string
			}
			shared := sharedDir(t, "tokenizers")
			readTestJSON(t, filepath.Join(shared, "ref_"+name+".json"), &want)
			var settings struct {
				CleanUp bool `json:"clean_up_tokenization_spaces"`
			}
			readTestJSON(t, filepath.Join(shared, name, "tokenizer_config.json"), &settings)
			tok := loadReference(t, name)
			if len(texts) != len(want.IDs) || len(texts) == 0 {
				t.Fatalf("%d strings, %d references", len(texts), len(want.IDs))
			}
			for i, text := range texts {
				if got := encode(t, tok, text, false); !slices.Equal(got, want.IDs[i]) {
					t.Errorf("Encode(%q) = %v, want %v", text, got, want.IDs[i])
				}
				if got := encode(t, tok, text, true); !slices.Equal(got, want.Special[i]) {
					t.Errorf("Encode(%q, special) = %v, want %v", text, got, want.Special[i])
				}
				got := decode(t, tok, want.IDs[i], false)
				if settings.CleanUp {
					got = cleanUp.Replace(got)
				}
				if got != want.Dec[i] {
					t.Errorf("Decode(%v) = %q, want %q", want.IDs[i], got, want.Dec[i])
				}
			}
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, name := range referenceModels {
		b.Run(name, func(b *testing.B) {
			dir := filepath.Join(sharedDir(b, "tokenizers"), name)
			for b.Loop() {
				if _, err := Load(dir); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	book, err := os.ReadFile(filepath.Join(sharedDir(b, "books"), "diet-and-health.txt"))
	if err != nil {
		b.Skip(err)
	}
	const piece = 8 << 10
	for _, name := range referenceModels {
		for _, cache := range []string{"warm", "cold"} {
			b.Run(fmt.Sprintf("%s/%s", name, cache), func(b *testing.B) {
				tok := loadReference(b, name)
				b.SetBytes(int64(len(book)))
				for b.Loop() {
					if cache == "cold" {
						e := tok.encoders.Get().(*encoder)
						clear(e.cache)
						e.cacheIDs = e.cacheIDs[:0]
						tok.encoders.Put(e)
					}
					for at := 0; at < len(book); at += piece {
						encode(b, tok, string(book[at:min(at+piece, len(book))]), false)
					}
				}
			})
		}
	}
}
