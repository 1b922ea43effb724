package interop

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tokenizer"
)

// leadNoise is how far llama.cpp's lead of the best token over the next may be from
// Lentil's in these random models in F32: 5e-5 was measured over 72 tokens. Its cache
// of keys and values is in half precision, which may move them by more.
const leadNoise = 2e-3

// TestAdapterInLlamaCppFamilies: llama.cpp loads an adapter of each family beside its
// base in F32, as "lentil adapters convert" writes it, and continues as Lentil does;
// so does it with both merged into one file.
func TestAdapterInLlamaCppFamilies(t *testing.T) {
	need(t, "llama.cpp")
	for name, spec := range exportedModels() {
		t.Run(name, func(t *testing.T) {
			dir := writeWithTokenizer(t, spec)
			m := open(t, dir, "")
			ours := randomAdapter(t, m, "lora", 4, 2)
			base, adapter := filepath.Join(t.TempDir(), "base.gguf"), filepath.Join(t.TempDir(), "adapter.gguf")
			lentil(t, "convert", "--model", dir, "--gguf", "F32", "--mlx-path", base)
			lentil(t, "adapters", "convert", ours, "--to", "gguf", "--model", dir, "--save-path", adapter)
			tok, err := tokenizer.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			plain := open(t, dir, "")
			if prompt := encode(t, tok, exportPrompts[0], true); firstDifference(greedy(t, m, true, prompt, 24, -1).IDs, greedy(t, plain, true, prompt, 24, -1).IDs) < 0 {
				t.Error("the adapter changes nothing")
			}
			sameLeads(t, "adapter beside the base", m, tok, llamaCpp(t, base, exportPrompts, "24", adapter))
			tokens := encode(t, tok, exportPrompts[2], true)
			got, want := forward(t, open(t, dir, adapter), tokens), forward(t, m, tokens)
			if worst, row := furthest(got, want, m.Config.VocabSize); !(worst <= tolerance*float64(slices.Max(want)-slices.Min(want))) {
				t.Errorf("read back from its file, the adapter moves the logits of token %d by %.3g", row, worst)
			}
			merged := filepath.Join(t.TempDir(), "merged.gguf")
			typ, err := export.ParseGGUFType("F32")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := export.GGUF(m.Source(), tok, export.GGUFOptions{Path: merged, Type: typ, Model: m}); err != nil {
				t.Fatal(err)
			}
			sameLeads(t, "merged", m, tok, llamaCpp(t, merged, exportPrompts, "24"))
		})
	}
}

// sameLeads checks the tokens that llama.cpp chose and by how much, up to where they
// part because the lead is narrower than the noise.
func sameLeads(t *testing.T, what string, m *model.Model, tok *tokenizer.Tokenizer, theirs []answer) {
	t.Helper()
	worst, compared := 0.0, 0
	for i, got := range theirs {
		prompt := encode(t, tok, exportPrompts[i], true)
		if firstDifference(got.Prompt, prompt) >= 0 {
			t.Errorf("%s: prompt %d is tokenised as %v, expected %v", what, i, got.Prompt, prompt)
			continue
		}
		want := greedy(t, m, true, prompt, len(got.IDs), -1)
		same := firstDifference(got.IDs, want.IDs)
		if same < 0 {
			same = len(got.IDs)
		} else if want.Gaps[same] > leadNoise {
			t.Errorf("%s: prompt %d: token %d is %d, expected %d with a lead of %.4f", what, i, same, got.IDs[same], want.IDs[same], want.Gaps[same])
		}
		for at := range same {
			worst = max(worst, math.Abs(float64(got.Gaps[at]-want.Gaps[at])))
			compared++
		}
	}
	t.Logf("%s: leads within %.2g over %d tokens", what, worst, compared)
	if !(worst <= leadNoise) {
		t.Errorf("%s: leads differ by %.4f, allowed %.4f", what, worst, leadNoise)
	}
}

// writeWithTokenizer makes a random model with the tokenizer of testdata.
func writeWithTokenizer(t *testing.T, spec modeltest.Spec) string {
	t.Helper()
	dir := modeltest.Write(t, spec)
	tok, err := tokenizer.Load("testdata/tokenizer")
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
