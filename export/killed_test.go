package export_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/atomicfile/killtest"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tokenizer"
)

// TestKilled: fuse with a GGUF file and a Modelfile replaces all of a folder or nothing, convert makes all of it, and a
// killed one leaves nothing behind that the next does not clear away. It is alone with the hook.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	dev := newCPU(t)
	tok := trained(t)
	m := adapted(t, dev, modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": ggufVocab, "num_hidden_layers": 1}}))
	typ, err := export.ParseGGUFType("F16")
	if err != nil {
		t.Fatal(err)
	}
	fuse := func(dequantize bool, words *tokenizer.Tokenizer, name string) func(string) error {
		return func(dir string) error {
			_, err := export.Fuse(m, words, export.FuseOptions{SavePath: dir, Dequantize: dequantize, More: func(dir string) error {
				_, err := export.GGUF(m.Source(), tok, export.GGUFOptions{Path: filepath.Join(dir, name), Type: typ, Modelfile: true})
				return err
			}})
			return err
		}
	}
	nothing := func(string) error { return nil }
	t.Run("fuse", func(t *testing.T) { killtest.Everywhere(t, nothing, fuse(false, tok, "ggml-model-f16.gguf")) })
	t.Run("fuse again", func(t *testing.T) {
		killtest.Everywhere(t, fuse(false, tok, "ggml-model-old.gguf"), fuse(true, nil, "ggml-model-f16.gguf"))
	})
	t.Run("convert", func(t *testing.T) {
		killtest.Everywhere(t, nothing, func(dir string) error {
			_, err := export.Convert(m.Source(), tok, export.ConvertOptions{SavePath: dir, Overwrite: hasModel(dir)})
			return err
		})
	})
}

// hasModel tells a folder that a killed command had completed.
func hasModel(dir string) bool {
	atomicfile.Settle(dir)
	_, err := os.Stat(filepath.Join(dir, "config.json"))
	return err == nil
}
