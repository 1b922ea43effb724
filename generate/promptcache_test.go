package generate

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// tokensFrom makes n tokens of the models' small vocabulary.
func tokensFrom(seed, n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32((seed + 7*i + i*i) % modeltest.Vocab)
	}
	return ids
}

// saved writes a session's cache and opens the file.
func saved(t *testing.T, s *Session) (*PromptCache, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prompt.safetensors")
	if err := s.Save(path, map[string]string{"model": "tiny", "tokenizer_config": "{}"}); err != nil {
		t.Fatal(err)
	}
	return opened(t, path), path
}

func opened(t *testing.T, path string) *PromptCache {
	t.Helper()
	p, err := OpenPromptCache(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// asFormer rewrites a file the way mlx-lm did before 0.32.2.
func asFormer(t *testing.T, path string) string {
	t.Helper()
	file, err := weights.OpenSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := opened(t, path)
	metadata := map[string]string{"1.model": "tiny", "1.tokenizer_config": "{}"}
	var tensors []weights.Tensor
	for i, l := range p.layers {
		tensors = append(append(tensors, l.keys...), l.values...)
		metadata[fmt.Sprintf("2.%d", i)] = file.Metadata()[fmt.Sprintf("1.%d", i)]
		numbers := []int{l.keep, l.size, l.offset, l.at}
		if l.bits > 0 {
			numbers = []int{l.offset, l.group, l.bits}
		} else if !l.rotating {
			metadata[fmt.Sprintf("0.%d", i)] = ""
			continue
		}
		for k, n := range numbers {
			metadata[fmt.Sprintf("0.%d.%d", i, k)] = fmt.Sprint(n)
		}
	}
	out := filepath.Join(t.TempDir(), "former.safetensors")
	if err := weights.WriteSafetensors(out, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	return out
}

// goesOn is the logits after prompt and a few tokens that the model likes best.
func goesOn(t *testing.T, s *Session, prompt []int32) (all []float32) {
	t.Helper()
	const end = 10 // tokens compared
	logits, err := s.Prefill(t.Context(), prompt, 3)
	for range end {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, logits...)
		logits, err = s.Next(largest(logits))
	}
	return all
}

// TestPromptCache: a session from a file goes on exactly as the one that wrote it.
func TestPromptCache(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		if spec.Config = maps.Clone(spec.Config); spec.Config == nil {
			spec.Config = map[string]any{}
		}
		spec.Config["max_position_embeddings"] = 512
		for _, tt := range []struct {
			limit, prompt int
			exact         bool
		}{{0, 9, true}, {0, 300, false}, {12, 9, true}, {12, 40, true}, {12, 12, false}} {
			t.Run(fmt.Sprintf("%s of %d in %d", spec.Type, tt.prompt, tt.limit), func(t *testing.T) {
				t.Parallel()
				m := modeltest.Load(t, newCPU(t), spec)
				prompt, more := tokensFrom(3, tt.prompt), tokensFrom(20, 5)
				session := func() *Session {
					s, err := NewSession(m, tt.limit, tt.exact)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(s.Close)
					return s
				}
				first := session()
				if _, err := first.Prefill(t.Context(), prompt, 0); err != nil {
					t.Fatal(err)
				}
				p, path := saved(t, first)
				if p.Tokens != tt.prompt || p.MaxKVSize != tt.limit || p.Metadata["model"] != "tiny" {
					t.Errorf("%d tokens, limit %d, %v", p.Tokens, p.MaxKVSize, p.Metadata)
				}
				want := goesOn(t, first, append(slices.Clone(prompt), more...))
				for _, p := range []*PromptCache{p, opened(t, asFormer(t, path))} {
					s := session()
					if err := s.Load(p); err != nil {
						t.Fatal(err)
					}
					if n := s.cached(more); n != 0 {
						t.Errorf("%d tokens of the next prompt are taken for known", n)
					}
					if got := goesOn(t, s, more); !slices.Equal(got, want) {
						t.Error("other logits after loading")
					}
				}
			})
		}
	}
}

// A rotating cache as mlx-lm leaves it: after a prompt in one go it holds more than
// its size, in order; after single tokens it is a ring.
func TestPromptCacheOrder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		l     savedLayer
		slots int
		want  []int
		first int
	}{
		{savedLayer{offset: 3}, 256, []int{0, 1, 2}, 0},
		{savedLayer{rotating: true, offset: 3, keep: 2, size: 6, at: 3}, 6, []int{0, 1, 2}, 0},
		{savedLayer{rotating: true, offset: 20, keep: 2, size: 6, at: 8}, 8, []int{0, 1, 2, 3, 4, 5, 6, 7}, 2},
		{savedLayer{rotating: true, offset: 9, keep: 2, size: 6, at: 4}, 6, []int{0, 1, 4, 5, 2, 3}, 2},
		{savedLayer{rotating: true, offset: 9, keep: 0, size: 6, at: 6}, 6, []int{0, 1, 2, 3, 4, 5}, 0},
	} {
		tt.l.keys = savedTensors{{Shape: []int{1, 1, tt.slots, 1}}}
		if got, first := tt.l.order(); !slices.Equal(got, tt.want) || first != tt.first {
			t.Errorf("%+v: slots %v, %d first; want %v, %d", tt.l, got, first, tt.want, tt.first)
		}
	}
}

// A loaded session can go back to the end of its file, and no further.
func TestPromptCacheAgain(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "qwen2"})
	s := newSession(t, m, 0)
	if _, err := s.Prefill(t.Context(), tokensFrom(3, 9), 0); err != nil {
		t.Fatal(err)
	}
	p, _ := saved(t, s)
	s = newSession(t, m, 0)
	if err := s.Load(p); err != nil {
		t.Fatal(err)
	}
	var all [][]float32
	for _, prompt := range [][]int32{tokensFrom(1, 4), tokensFrom(2, 6), tokensFrom(1, 4)} {
		logits, err := s.Prefill(t.Context(), prompt, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.Clone(logits))
	}
	if !slices.Equal(all[0], all[2]) || slices.Equal(all[0], all[1]) {
		t.Error("the answer depends on what was asked before")
	}
	small := newSession(t, m, 12)
	if err := small.Load(p); err != nil {
		t.Fatal(err)
	}
	if _, err := small.Prefill(t.Context(), tokensFrom(1, 8), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := small.Prefill(t.Context(), tokensFrom(2, 8), 0); err == nil || !strings.Contains(err.Error(), "forgotten tokens (max_kv_size)") {
		t.Errorf("went back in a full ring: %v", err)
	}
}

func TestPromptCacheMistakes(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "qwen2"})
	empty := newSession(t, m, 0)
	if err := empty.Save(filepath.Join(t.TempDir(), "none"), nil); err == nil || !strings.Contains(err.Error(), "no prompt has been read") {
		t.Error(err)
	}
	s := newSession(t, m, 0)
	if _, err := s.Prefill(t.Context(), tokensFrom(3, 9), 0); err != nil {
		t.Fatal(err)
	}
	_, path := saved(t, s)
	number := func(n byte) weights.Tensor {
		return weights.Tensor{DType: quant.I32, Data: []byte{n, 0, 0, 0}}
	}
	type change struct {
		tensors  map[string]weights.Tensor
		metadata map[string]string
	}
	zeros := weights.Tensor{DType: quant.F32, Shape: []int{1, 2, 9, 4}, Data: make([]byte, 4*2*9*4)}
	for want, c := range map[string]change{
		"names no classes":                     {metadata: map[string]string{"1.0": "", "1.1": "", "2.0": ""}},
		"a ChunkedKVCache, which":              {metadata: map[string]string{"1.1": "ChunkedKVCache"}},
		`tensor "1.0.0" is missing`:            {metadata: map[string]string{"1.1": "QuantizedKVCache"}},
		"found \"\", expected":                 {metadata: map[string]string{"1.1": "RotatingKVCache"}},
		`layer 1: tensor "1.0" is missing`:     {tensors: map[string]weights.Tensor{"1.0": {}}},
		"is F32 [9], expected floats":          {tensors: map[string]weights.Tensor{"0.1": {DType: quant.F32, Shape: []int{9}, Data: make([]byte, 36)}}},
		"it holds nothing":                     {tensors: map[string]weights.Tensor{"0.0": {DType: quant.F32, Shape: []int{1, 0, 1 << 40, 8}}}},
		`found "10", expected 0 to 9`:          {tensors: map[string]weights.Tensor{"0.2": number(10)}},
		"the cache is empty":                   {tensors: map[string]weights.Tensor{"0.2": number(0)}},
		"layer 1 has seen 8 tokens":            {tensors: map[string]weights.Tensor{"1.2": number(8)}},
		"of a model of 1 layers, this one has": {metadata: map[string]string{"1.1": ""}},
		"the model has 2 heads of 8 values":    {tensors: map[string]weights.Tensor{"0.0": zeros, "0.1": zeros}},
		"token 4 of 9 is not there": {
			tensors:  map[string]weights.Tensor{"1.2": number(9), "1.3": number(4), "1.4": number(7), "1.5": number(7), "1.0": ofTokens(7), "1.1": ofTokens(7)},
			metadata: map[string]string{"1.1": "RotatingKVCache"},
		},
	} {
		out := spoilt(t, path, c.tensors, c.metadata)
		p, err := OpenPromptCache(out)
		if err == nil {
			defer p.Close()
			err = newSession(t, m, 0).Load(p)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), out) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// ofTokens are keys or values of n tokens.
func ofTokens(n int) weights.Tensor {
	shape := []int{1, modeltest.KVHeads, n, modeltest.Hidden / modeltest.Heads}
	return weights.Tensor{DType: quant.F32, Shape: shape, Data: make([]byte, 4*shape[1]*n*shape[3])}
}

// addSeed adds the prompt cache file of a session to a fuzz target's corpus.
func addSeed(f *testing.F, s *Session) {
	f.Helper()
	if _, err := s.Prefill(f.Context(), tokensFrom(3, 9), 0); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "seed")
	if err := s.Save(path, map[string]string{"model": "m"}); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
}

// FuzzPromptCache: whatever the file says, loading it ends in an error or in a
// session that works.
func FuzzPromptCache(f *testing.F) {
	dev, err := cpu.New(cpu.Options{Threads: 1}) // which code runs must not hang on time
	if err != nil {
		f.Fatal(err)
	}
	m := modeltest.Load(f, dev, modeltest.Spec{Type: "qwen2", Config: map[string]any{"head_dim": 32}})
	quantizedSeeds(f, m)
	for _, limit := range []int{0, 6} {
		addSeed(f, newSession(f, m, limit))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		p, err := OpenPromptCache(path)
		if err != nil {
			return
		}
		defer p.Close()
		for _, limit := range []int{0, 6} {
			s := newSession(t, m, limit)
			if s.Load(p) != nil {
				continue
			}
			if got := s.cache.Len(); got != p.Tokens {
				t.Errorf("%d tokens, the file says %d", got, p.Tokens)
			}
			s.Next(1) // the logits may be NaN, as the file's numbers may be
		}
	})
}
