package generate

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// wideHeads is a model whose heads are wide enough for groups.
func wideHeads(spec modeltest.Spec) modeltest.Spec {
	spec.Config = maps.Clone(spec.Config)
	if spec.Config == nil {
		spec.Config = map[string]any{}
	}
	spec.Config["head_dim"], spec.Config["max_position_embeddings"] = 64, 600
	return spec
}

func quantizedSession(t testing.TB, m *model.Model, exact bool, bits KVBits) *Session {
	t.Helper()
	s, err := NewSession(m, 0, exact)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.QuantizeKV(bits); err != nil {
		t.Fatal(err)
	}
	return s
}

// follow feeds tokens one by one behind a prompt and collects all logits.
func follow(t *testing.T, s *Session, prompt, more []int32) (all [][]float32) {
	t.Helper()
	logits, err := s.Prefill(t.Context(), prompt, 0)
	for _, id := range more {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.Clone(logits))
		logits, err = s.Next(id)
	}
	return all
}

// distance is the largest difference between two rows of logits, as a share of the
// largest one.
func distance(a, b []float32) float64 {
	var most, top float64
	for i := range a {
		most = max(most, math.Abs(float64(a[i]-b[i])))
		top = max(top, math.Abs(float64(a[i])))
	}
	return most / top
}

// roundedKV is how far logits may be on average from those with a cache of floats. A
// step of an integer is 1/(2^bits-1) of the spread of a group, about four standard
// deviations, and tiny models of random weights do not average it: the logit that is
// furthest off is so by 1.5 to 4 steps. Single rows are up to twice as far off.
func roundedKV(bits int) float64 { return 5 / float64(int(1)<<bits-1) }

// TestQuantizedKV: nothing changes before the token from which the cache is
// quantized, and little behind it, less with more bits.
func TestQuantizedKV(t *testing.T) {
	t.Parallel()
	const start = 20
	for _, spec := range modeltest.Architectures() {
		spec = wideHeads(spec)
		t.Run(spec.Type, func(t *testing.T) {
			t.Parallel()
			m := modeltest.Load(t, newCPU(t), spec)
			prompt, more := tokensFrom(3, 1), tokensFrom(5, 60) // one by one: the same kernels
			want := follow(t, quantizedSession(t, m, true, KVBits{}), prompt, more)
			for _, bits := range []int{2, 3, 4, 5, 6, 8} {
				s := quantizedSession(t, m, true, KVBits{Bits: bits, Group: 32, Start: start})
				got := follow(t, s, prompt, more)
				var sum float64
				for i := range want {
					d := distance(want[i], got[i])
					if len(prompt)+i <= start && d != 0 {
						t.Fatalf("%d bits: the logits after %d tokens differ, quantized from %d on", bits, len(prompt)+i, start)
					}
					sum += d
				}
				mean := sum / float64(len(want)-start+len(prompt)-1)
				if tolerance := roundedKV(bits); !(mean <= tolerance && mean >= tolerance/10) {
					t.Errorf("%d bits: the logits are off by %.3g of the largest, expected a tenth to all of %.3g", bits, mean, tolerance)
				}
			}
		})
	}
}

// TestQuantizedKVBytes: the memory is that of the bits and of a scale and a bias for
// each group.
func TestQuantizedKVBytes(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), wideHeads(modeltest.Spec{Type: "qwen2"}))
	size := func(b KVBits) float64 {
		s := quantizedSession(t, m, false, b)
		if _, err := s.Prefill(t.Context(), tokensFrom(3, 300), 0); err != nil {
			t.Fatal(err)
		}
		return float64(s.cache.Bytes())
	}
	whole := size(KVBits{})
	for _, b := range []KVBits{{Bits: 4, Group: 64}, {Bits: 8, Group: 64}, {Bits: 3, Group: 32}} {
		if got, want := whole/size(b), 16/(float64(b.Bits)+32/float64(b.Group)); !(math.Abs(got-want) <= 1e-9) {
			t.Errorf("%+v: %.3f times smaller, expected %.3f", b, got, want)
		}
	}
}

// A quantized session goes back, starts anew as one of floats, and quantizes again.
func TestQuantizedKVAgain(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), wideHeads(modeltest.Spec{Type: "qwen2"}))
	bits := KVBits{Bits: 4, Group: 64, Start: 12}
	s := quantizedSession(t, m, true, bits)
	first := follow(t, s, tokensFrom(3, 14), tokensFrom(9, 6))
	again := follow(t, s, append(tokensFrom(3, 14), 1, 2), tokensFrom(9, 6)) // a shared beginning
	fresh := follow(t, quantizedSession(t, m, true, bits), append(tokensFrom(3, 14), 1, 2), tokensFrom(9, 6))
	if !(distance(again[0], fresh[0]) <= 2*roundedKV(4)) {
		t.Error("other logits after going back")
	}
	other := append(tokensFrom(3, 4), tokensFrom(20, 4)...) // parts before the cache is quantized
	want := follow(t, quantizedSession(t, m, true, bits), other, tokensFrom(9, 6))
	if got := follow(t, s, other, tokensFrom(9, 6)); !slices.EqualFunc(got, want, slices.Equal) {
		t.Error("other logits for another text after a longer one")
	}
	s.Reset()
	if got := follow(t, s, tokensFrom(3, 14), tokensFrom(9, 6)); !slices.EqualFunc(got, first, slices.Equal) {
		t.Error("other logits after a new start")
	}
}

func TestQuantizedKVMistakes(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), wideHeads(modeltest.Spec{Type: "qwen2"}))
	odd := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "qwen2"})
	for _, tt := range []struct {
		s    *Session
		bits KVBits
		want string
	}{
		{newSession(t, m, 0), KVBits{Bits: 7, Group: 64}, "7 bits: expected 2, 3, 4, 5, 6 or 8"},
		{newSession(t, m, 0), KVBits{Bits: 4, Group: 16}, "group size 16: expected 32, 64 or 128"},
		{newSession(t, m, 0), KVBits{Bits: 4, Group: 64, Start: -1}, "token -1 on"},
		{newSession(t, m, 0), KVBits{Bits: 4, Group: 128}, "128 does not divide the 64 values of a head (layer 0)\nGive kv_group_size 64."},
		{newSession(t, odd, 0), KVBits{Bits: 4, Group: 64}, "64 does not divide the 8 values of a head (layer 0)\nLeave out kv_bits"},
		{newSession(t, m, 12), KVBits{Bits: 4, Group: 64}, "Give one of the two."},
	} {
		if err := tt.s.QuantizeKV(tt.bits); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.bits, err, tt.want)
		}
	}
}

// TestQuantizedPromptCache: a session from a file of a quantized cache goes on as the
// one that wrote it, to the bit where nothing is widened for a window.
func TestQuantizedPromptCache(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		spec = wideHeads(spec)
		// Experts of narrower matrices have one row multiplied as low-rank updates are,
		// and so in another order than several.
		spec.Config["hidden_size"], spec.Config["moe_intermediate_size"] = 64, 64
		for _, tt := range []struct {
			prompt int
			exact  bool
			bits   KVBits
		}{{9, true, KVBits{4, 64, 0}}, {300, false, KVBits{8, 32, 0}}, {40, false, KVBits{3, 64, 30}}, {9, false, KVBits{5, 32, 9}}, {256, true, KVBits{2, 64, 100}}} {
			t.Run(fmt.Sprintf("%s of %d to %d", spec.Type, tt.prompt, tt.bits.Bits), func(t *testing.T) {
				t.Parallel()
				m := modeltest.Load(t, newCPU(t), spec)
				prompt, more := tokensFrom(3, tt.prompt), tokensFrom(20, 5)
				first := quantizedSession(t, m, tt.exact, tt.bits)
				if _, err := first.Prefill(t.Context(), prompt, 0); err != nil {
					t.Fatal(err)
				}
				p, path := saved(t, first)
				if p.Tokens != tt.prompt || p.Bits != tt.bits.Bits || p.Group != tt.bits.Group || p.MaxKVSize != 0 {
					t.Errorf("%d tokens, %d bits in groups of %d, limit %d", p.Tokens, p.Bits, p.Group, p.MaxKVSize)
				}
				tolerance := 0.0
				if spec.Type == "mistral" { // its window goes to the file as floats; both are rounded, differently
					tolerance = 2 * roundedKV(tt.bits.Bits)
				}
				want := follow(t, first, append(slices.Clone(prompt), more...), tokensFrom(1, 8))
				for _, p := range []*PromptCache{p, opened(t, asFormer(t, path))} {
					for _, bits := range []KVBits{{}, tt.bits} {
						s := quantizedSession(t, m, tt.exact, bits)
						if err := s.Load(p); err != nil {
							t.Fatal(err)
						}
						// The first session held the last token back, and so must one that need not.
						if _, err := s.Prefill(t.Context(), more[:4], 0); err != nil {
							t.Fatal(err)
						}
						for i, got := range follow(t, s, more, tokensFrom(1, 8)) {
							if d := distance(want[i], got); !(d <= tolerance) {
								t.Fatalf("%+v: logits %d are off by %.3g of the largest", bits, i, d)
							}
						}
					}
				}
			})
		}
	}
}

func TestQuantizedPromptCacheMistakes(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), wideHeads(modeltest.Spec{Type: "qwen2"}))
	s := quantizedSession(t, m, false, KVBits{4, 32, 0})
	if _, err := s.Prefill(t.Context(), tokensFrom(3, 9), 0); err != nil {
		t.Fatal(err)
	}
	p, path := saved(t, s)
	for want, s := range map[string]*Session{
		"quantized to 4 bits in groups of 32, 8 in groups of 32 are asked for": quantizedSession(t, m, false, KVBits{8, 32, 0}),
		"Give kv_bits 4 and kv_group_size 32.":                                 quantizedSession(t, m, false, KVBits{4, 64, 0}),
		"max_kv_size: keys and values are quantized":                           newSession(t, m, 12),
		"2 heads of 64 values, the model has 2 of 8":                           newSession(t, modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "qwen2"}), 0),
	} {
		if err := s.Load(p); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	number := func(n byte) weights.Tensor { return weights.Tensor{DType: quant.I32, Data: []byte{n, 0, 0, 0}} }
	floats := func(shape ...int) weights.Tensor {
		return weights.Tensor{DType: quant.F16, Shape: shape, Data: make([]byte, 2*shape[1]*shape[2]*shape[3])}
	}
	infinite := floats(1, 2, 9, 2)
	infinite.Data[1] = 0x7C
	for want, c := range map[string]struct {
		name string
		x    weights.Tensor
	}{
		`tensor "1.1.2" is missing`:                    {"1.1.2", weights.Tensor{}},
		"expected U32 [1, heads, tokens, packed":       {"0.0.0", floats(1, 2, 9, 8)},
		"8 bits and scales [1 2 9 2] in groups of 32":  {"0.4", number(8)},
		"7 bits: expected 2, 3, 4, 5, 6 or 8":          {"0.4", number(7)},
		`found "9", expected 0 to 8`:                   {"0.4", number(9)},
		"group size 33: expected 32, 64 or 128":        {"0.3", number(33)},
		"0 bits: expected":                             {"1.4", number(0)},
		`found "129", expected 0 to 128`:               {"1.3", number(129)},
		"the cache is empty":                           {"0.2", number(0)},
		"4 bits and scales [1 2 8 2]":                  {"0.1.1", floats(1, 2, 8, 2)},
		"[1 2 9 1], the scales are F16 [1 2 9 2]":      {"0.1.2", floats(1, 2, 9, 1)},
		`tensor "0.0.1" holds +Inf, which`:             {"0.0.1", infinite},
		"layer 1 has seen 8 tokens and layer 0 9":      {"1.2", number(8)},
		`tensor "0.0.1" is F16 [2], expected floats [`: {"0.0.1", weights.Tensor{DType: quant.F16, Shape: []int{2}, Data: make([]byte, 4)}},
	} {
		out := spoilt(t, path, map[string]weights.Tensor{c.name: c.x}, nil)
		p, err := OpenPromptCache(out)
		if err == nil {
			defer p.Close()
			err = quantizedSession(t, m, false, KVBits{}).Load(p)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), out) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	other := quantizedSession(t, m, false, KVBits{8, 32, 0})
	if _, err := other.Prefill(t.Context(), tokensFrom(3, 9), 0); err != nil {
		t.Fatal(err)
	}
	_, wider := saved(t, other)
	mixed := map[string]weights.Tensor{}
	file, err := weights.OpenSafetensors(wider)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, name := range file.Names() {
		if x, _ := file.Tensor(name); strings.HasPrefix(name, "1.") {
			mixed[name] = x
		}
	}
	if _, err := OpenPromptCache(spoilt(t, path, mixed, nil)); err == nil || !strings.Contains(err.Error(), "layer 1 is quantized to 8 bits in groups of 32, others to 4") {
		t.Error(err)
	}
}

// spoilt rewrites a file with other tensors (none: without it) and metadata.
func spoilt(t *testing.T, path string, changes map[string]weights.Tensor, more map[string]string) string {
	t.Helper()
	file, err := weights.OpenSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	metadata := maps.Clone(file.Metadata())
	for k, v := range more {
		if metadata[k] = v; v == "" {
			delete(metadata, k)
		}
	}
	tensors := map[string]weights.Tensor{}
	for _, name := range file.Names() {
		tensors[name], _ = file.Tensor(name)
	}
	for k, v := range changes {
		if v.Name = k; v.DType == 0 {
			delete(tensors, k)
		} else {
			tensors[k] = v
		}
	}
	out := filepath.Join(t.TempDir(), "spoilt.safetensors")
	if err := weights.WriteSafetensors(out, slices.Collect(maps.Values(tensors)), metadata); err != nil {
		t.Fatal(err)
	}
	return out
}

// quantizedSeeds are files for FuzzPromptCache.
func quantizedSeeds(f *testing.F, m *model.Model) {
	for _, bits := range []KVBits{{4, 32, 0}, {3, 32, 5}} {
		addSeed(f, quantizedSession(f, m, false, bits))
	}
}
