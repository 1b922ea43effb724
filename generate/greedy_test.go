package generate

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda"
	"github.com/lentil-lm/lentil/compute/cuda/emulate"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// TestCardGreedy: the likeliest tokens behind beginnings of the handbook's chapters are the same on an NVIDIA card as on the CPU, or
// lead there by less than the errors of two logits, with a cache of BF16 and of 8 bits. It asks the demo's model, or the one that
// LENTIL_TEST_MODEL names, a folder or a GGUF file.
func TestCardGreedy(t *testing.T) {
	t.Parallel()
	const tokens, few, beginning = 64, 10, 300
	card, err := cuda.New(cuda.Options{Driver: emulate.Driver(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := card.Close(); err != nil {
			t.Error(err)
		}
	})
	path := os.Getenv("LENTIL_TEST_MODEL")
	chapters, err := filepath.Glob("../demo/handbook/0[1-5]*.md")
	if err != nil || len(chapters) != 5 {
		t.Fatal(chapters, err)
	}
	n := tokens
	if testing.Short() {
		n, chapters = 2, chapters[:1]
	} else if path == "" && !emulate.All() {
		n, chapters = few, chapters[:1]
	}
	if path == "" {
		path = "../demo/model"
	}
	tok := tokenizerOf(t, path)
	for _, bits := range []KVBits{{}, {Bits: 8, Group: 32}} {
		cache, most := 16, halfLogits
		if bits.Bits > 0 { // a key or value between two codes may get the other one
			cache, most = bits.Bits, 1.25*halfLogits
		}
		cpu, dev := greedySession(t, newCPU(t), path, bits), greedySession(t, fallback.New(card), path, bits)
		equal, narrow, widest, squares := 0, 0, 0.0, 0.0
		for _, chapter := range chapters {
			name := filepath.Base(chapter)
			text, err := os.ReadFile(chapter)
			if err != nil {
				t.Fatal(err)
			}
			prompt, err := tok.Encode(string(text[:min(len(text), beginning)]), true)
			if err != nil {
				t.Fatal(err)
			}
			apart, off := partings(t, cpu, dev, prompt, n, most)
			squares += off * off / float64(len(chapters))
			for _, p := range apart {
				t.Logf("%d-bit cache, %s: apart at token %d of %d, by a lead of %.3f: %.1f of the logits' error there, %.3f; up to %.3f is narrow",
					cache, name, p.at+1, n, p.lead, p.lead/p.off, p.off, p.narrow)
				if widest = max(widest, p.lead/p.off); !(p.lead <= p.narrow) {
					t.Errorf("%d-bit cache, %s: token %d is %d, on the CPU %d by a lead of %.3f", cache, name, p.at+1, p.got, p.want, p.lead)
				}
			}
			switch {
			case len(apart) == 0:
				equal++
			case !slices.ContainsFunc(apart, func(p parting) bool { return !(p.lead <= p.narrow) }):
				narrow++
			}
		}
		t.Logf("%d-bit cache: %d of %d answers are equal, %d part at narrow leads alone, at most %.1f times the logits' error there, which is %.3f in all",
			cache, equal, len(chapters), narrow, widest, math.Sqrt(squares))
	}
}

// A parting is a place where the likeliest token is not the CPU's.
type parting struct {
	at, got, want int
	lead          float64 // of the CPU's token over the other one, by its logits
	off           float64 // how far logits are from the CPU's there, root mean square
	narrow        float64 // the widest lead that errors of BF16 explain
}

// partings follows the CPU's answer of n tokens, at each of which both sides have seen the same. all is how far logits are from the
// CPU's, root mean square over all tokens; at each they may be off by most of their size.
func partings(t *testing.T, cpu, card *Session, prompt []int32, n int, most float64) (list []parting, all float64) {
	t.Helper()
	for at := range n {
		want, err1 := cpu.Prefill(t.Context(), prompt, 0)
		got, err2 := card.Prefill(t.Context(), prompt, 0)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		var squares, off float64
		for i, w := range want {
			squares += float64(w) * float64(w)
			off += math.Pow(float64(got[i]-w), 2)
		}
		size, first, other := math.Sqrt(squares/float64(len(want))), argMax(want), argMax(got)
		off /= float64(len(want))
		all += off / float64(n)
		if off = math.Sqrt(off); !(off <= most*size) {
			t.Errorf("after %d tokens logits are off by %.3f of their size", len(prompt), off/size)
		}
		if other != first {
			list = append(list, parting{at: at, got: other, want: first, lead: float64(want[first] - want[other]), off: off, narrow: 2 * most * size})
		}
		prompt = append(prompt, int32(first))
	}
	return list, math.Sqrt(all)
}

// greedySession is one of a model on a device; on the CPU, in float32 all the way.
func greedySession(t *testing.T, dev compute.Device, path string, bits KVBits) *Session {
	t.Helper()
	src, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	s, err := NewSession(m, 0, dev.Info().Activations == compute.F32)
	if err == nil {
		err = s.QuantizeKV(bits)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// tokenizerOf is that of a model's folder or GGUF file.
func tokenizerOf(t *testing.T, path string) *tokenizer.Tokenizer {
	t.Helper()
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		tok, err := tokenizer.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	file, err := weights.OpenGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tok, err := tokenizer.FromGGUF(file.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func argMax(v []float32) int { return slices.Index(v, slices.Max(v)) }
