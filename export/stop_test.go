package export_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/weights"
)

// TestStop: what is stopped after some modules ends with the stop's error, and leaves nothing.
func TestStop(t *testing.T) {
	t.Parallel()
	dir := modeltest.Write(t, modeltest.Spec{Type: "llama", Bits: 4, Config: map[string]any{"vocab_size": ggufVocab}})
	m := adapted(t, newCPU(t), dir)
	src, err := weights.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	q8, err := export.ParseGGUFType("q8_0")
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	path := filepath.Join(parent, "new")
	for name, work := range map[string]func(stop func() error) error{
		"fuse": func(stop func() error) error {
			_, err := export.Fuse(m, nil, export.FuseOptions{SavePath: path, Stop: stop})
			return err
		},
		"convert": func(stop func() error) error {
			_, err := export.Convert(src, nil, export.ConvertOptions{SavePath: path, Dequantize: true, Stop: stop})
			return err
		},
		"gguf": func(stop func() error) error {
			_, err := export.GGUF(src, trained(t), export.GGUFOptions{Path: path + ".gguf", Type: q8, Stop: stop})
			return err
		},
	} {
		asked := 0
		err := work(func() error {
			if asked++; asked > 2 {
				return context.Canceled
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || asked != 3 {
			t.Errorf("%s: %v after %d questions", name, err, asked)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s leaves %v, %v", name, left, err)
		}
	}
}
