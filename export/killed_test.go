package export_test

import (
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tokenizer"
)

// lie tells what lies below a folder, by name, and which of it a killed command left.
func lie(t *testing.T, dir string) (files map[string]string, left []string) {
	t.Helper()
	files = map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case atomicfile.IsTemporary(e.Name()) || strings.Contains(e.Name(), ".tmp"):
			left = append(left, rel)
			if e.IsDir() {
				return fs.SkipDir
			}
		case !e.IsDir() && e.Name() != atomicfile.RecordName: // which tells times
			text, err := os.ReadFile(path)
			files[rel] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, left
}

// run runs a command that nobody kills, without a wait for the disk.
func run(command func(string) error, dir string) error {
	_, _, err := atomicfile.KillAt(math.MaxInt, func() error { return command(dir) })
	return err
}

// killEverywhere kills a command at every disk call, over what begin made in a new folder. A next look finds
// all old or all new files, and the same command makes all new and leaves nothing else behind.
func killEverywhere(t *testing.T, begin func(dir string) error, command func(dir string) error) {
	t.Helper()
	make := func(what ...func(string) error) (dir string, files map[string]string) {
		dir = filepath.Join(t.TempDir(), "out")
		for _, f := range what {
			if err := run(f, dir); err != nil {
				t.Fatal(err)
			}
		}
		files, _ = lie(t, dir)
		return dir, files
	}
	_, was := make(begin)
	_, will := make(begin, command)
	if maps.Equal(was, will) {
		t.Fatal("the command changes nothing")
	}
	seen := map[bool]int{}
	for n := 0; ; n++ {
		dir, _ := make(begin)
		killed, last, _ := atomicfile.KillAt(n, func() error { return command(dir) })
		if !killed {
			break
		}
		if _, err := atomicfile.Settle(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("killed at %q: %v", last, err)
		}
		got, _ := lie(t, dir)
		if !maps.Equal(got, was) && !maps.Equal(got, will) {
			t.Errorf("killed at %q: %v is left", last, slices.Sorted(maps.Keys(got)))
		}
		seen[maps.Equal(got, will)]++
		if err := run(command, dir); err != nil {
			t.Errorf("killed at %q, run again: %v", last, err)
			continue
		}
		got, left := lie(t, filepath.Dir(dir))
		if len(got) != len(will) || len(left) > 0 {
			t.Errorf("killed at %q, run again: %v, and %v is left behind", last, slices.Sorted(maps.Keys(got)), left)
		}
	}
	if seen[false] < 10 || seen[true] < 3 {
		t.Errorf("%d kills left the old files, %d the new ones", seen[false], seen[true])
	}
}

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
	t.Run("fuse", func(t *testing.T) { killEverywhere(t, nothing, fuse(false, tok, "ggml-model-f16.gguf")) })
	t.Run("fuse again", func(t *testing.T) {
		killEverywhere(t, fuse(false, tok, "ggml-model-old.gguf"), fuse(true, nil, "ggml-model-f16.gguf"))
	})
	t.Run("convert", func(t *testing.T) {
		killEverywhere(t, nothing, func(dir string) error {
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
