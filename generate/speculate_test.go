package generate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tokenizer"
)

// liar knows the answer and gives a wrong token now and then: every pattern of
// accepted and refused guesses comes up.
type liar struct {
	answer []int32 // all that comes behind text, however long that is now
	start  int
	random *rand.Rand
	wrong  float64
}

func (l *liar) draft(_ context.Context, text []int32, n int, _ sampler) ([]int32, error) {
	rest := l.answer[min(len(text)-l.start, len(l.answer)):]
	out := slices.Clone(rest[:min(len(rest), l.random.IntN(n+1))])
	for i := range out {
		if l.random.Float64() < l.wrong {
			out[i] = l.random.Int32N(vocab + 20) // some of which do not exist
		}
	}
	return out, nil
}

// variants are the numbers that a model may run in.
var variants = []struct {
	name    string
	spec    modeltest.Spec
	exact   bool
	adapter adapter.Config // none if its rank is 0
	kv      KVBits
}{
	{name: "float32", exact: true},
	{name: "float32 and half cache"},
	{name: "bfloat16, DoRA", spec: modeltest.Spec{DType: quant.BF16}, exact: true, adapter: adapter.Config{Rank: 4, Scale: 1, DoRA: true}},
	{name: "4 bits, adapter", spec: modeltest.Spec{Bits: 4}, adapter: adapter.Config{Rank: 8, Scale: 1}},
	{name: "4 bits exact", spec: modeltest.Spec{Bits: 4}, exact: true},
	{name: "8 bits", spec: modeltest.Spec{Bits: 8}},
	{name: "3 bits, window", spec: modeltest.Spec{Bits: 3, Type: "mistral", Config: map[string]any{"sliding_window": 9}}},
	{name: "odd sizes", spec: modeltest.Spec{Type: "qwen3", Config: map[string]any{"hidden_size": 36, "intermediate_size": 50, "head_dim": 10}}},
	{name: "4 bits, experts", spec: modeltest.Spec{Bits: 4, Type: "mixtral", Config: map[string]any{"num_local_experts": 4, "num_experts_per_tok": 2}}},
	{name: "experts, adapter", spec: modeltest.Spec{Type: "qwen3_moe", Config: map[string]any{"num_experts": 5, "num_experts_per_tok": 3,
		"moe_intermediate_size": 32, "head_dim": 16, "norm_topk_prob": true}}, adapter: adapter.Config{Rank: 4, Scale: 1}},
	{name: "quantized cache", spec: wideHeads(modeltest.Spec{Bits: 4}), kv: KVBits{Bits: 4, Group: 32, Start: 17}},
}

// load makes the model of a variant for the tokenizer's vocabulary.
func load(t testing.TB, dev compute.Device, s modeltest.Spec, seed uint64) *model.Model {
	config := map[string]any{"vocab_size": vocab}
	for k, v := range s.Config {
		config[k] = v
	}
	s.Config, s.Seed = config, seed
	if s.Type == "" {
		s.Type = "llama"
	}
	return modeltest.Load(t, dev, s)
}

// held is all that a session holds, to the bit.
func held(t *testing.T, s *Session) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintln(&b, s.loaded, s.tokens, s.cache.Len())
	for i := range s.model.Blocks {
		if s.cache.Len() == 0 {
			break
		}
		state, err := s.cache.State(i)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%x %x\n", state.Keys, state.Values)
	}
	return b.String()
}

// compare asks both sessions the same and demands the same answers and state.
func compare(t *testing.T, what string, plain, drafted *Session, prompt []int32, o Options) (ids []int32, last Piece) {
	t.Helper()
	text, ids, end := answer(t, plain, prompt, o)
	gotText, got, last := answer(t, drafted, prompt, o)
	if !slices.Equal(got, ids) || gotText != text || last.Finish != end.Finish || last.Stats.GenerationTokens != end.Stats.GenerationTokens {
		t.Fatalf("%s: tokens %v (%s), without a draft %v (%s)", what, got, last.Finish, ids, end.Finish)
	}
	if held(t, plain) != held(t, drafted) {
		t.Fatalf("%s: the session holds something else than without a draft", what)
	}
	return ids, last
}

// TestSpeculate: whatever is drafted, the answer and the session are to the bit those
// without a draft.
func TestSpeculate(t *testing.T) {
	t.Parallel()
	n, sizes := 24, []int{3, 12}
	if testing.Short() {
		n, sizes = 12, sizes[:1] // every variant still, with shorter answers and one length of draft
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			dev := newCPU(t)
			m := load(t, dev, v.spec, 0)
			drafts := []*model.Model{m, load(t, dev, v.spec, 1)} // the model itself, and another
			if v.adapter.Rank > 0 {
				if _, err := adapter.New(m, v.adapter, compute.NewKey(0)); err != nil {
					t.Fatal(err)
				}
				modeltest.Shake(t, m, 0.3)
			}
			open := func(m *model.Model) *Session { return quantizedSession(t, m, v.exact, v.kv) }
			for name, o := range map[string]Options{
				"greedy":  {MaxTokens: n},
				"sampled": {MaxTokens: n, Seed: 3, Sampling: Sampling{Temp: 0.8, TopP: 0.9, MinP: 0.01, XTCProbability: 0.3, XTCThreshold: 0.1}},
			} {
				_, ids, _ := answer(t, open(m), prompt, o)
				for _, most := range sizes {
					for other, draft := range drafts {
						what := fmt.Sprintf("%s, %d tokens of draft %d", name, most, other)
						plain, drafted := open(m), open(m)
						if err := drafted.Speculate(open(draft), most); err != nil {
							t.Fatal(err)
						}
						_, last := compare(t, what, plain, drafted, prompt, o)
						if rate := float64(last.Stats.AcceptedTokens) / float64(last.Stats.DraftedTokens); other == 0 && rate < 1 {
							t.Errorf("%s: %.0f %% of the draft were accepted, it is the model itself", what, rate*100)
						}
						compare(t, what+", next turn", plain, drafted, slices.Concat(prompt, ids[:n-3], []int32{1, 2, 3}), o)
					}
					what := fmt.Sprintf("%s, %d tokens of a liar", name, most)
					drafted := open(m)
					drafted.draftTokens, drafted.drafter = most, &liar{ids, len(prompt), rand.New(rand.NewPCG(1, uint64(most))), 0.4}
					_, last := compare(t, what, open(m), drafted, prompt, o)
					if s := last.Stats; s.AcceptedTokens == 0 || s.AcceptedTokens == s.DraftedTokens {
						t.Errorf("%s: %d of %d tokens were accepted", what, s.AcceptedTokens, s.DraftedTokens)
					}
				}
			}
		})
	}
}

// TestSpeculateEnds ends the answer at every token of a draft, in every way.
func TestSpeculateEnds(t *testing.T) {
	t.Parallel()
	m := load(t, newCPU(t), modeltest.Spec{}, 0)
	_, ids, _ := answer(t, newSession(t, m, 0), prompt, Options{MaxTokens: 12})
	text := decode(t, newTokenizer(t), ids, false)
	plain, drafted := newSession(t, m, 0), newSession(t, m, 0)
	if err := drafted.Speculate(newSession(t, m, 0), 4); err != nil {
		t.Fatal(err)
	}
	letters := []rune(text)
	for i, id := range ids {
		for what, o := range map[string]Options{
			"max tokens":  {MaxTokens: i},
			"stop token":  {MaxTokens: -1, StopTokens: []int32{id}},
			"stop string": {MaxTokens: 12, StopStrings: []string{string(letters[min(i, len(letters)-1)])}},
		} {
			compare(t, fmt.Sprintf("%s %d", what, i), plain, drafted, prompt, o)
		}
		for _, cancelled := range []bool{false, true} { // or the reader has enough
			for _, s := range []*Session{plain, drafted} {
				ctx, cancel := context.WithCancel(t.Context())
				n := 0
				for _, err := range s.Stream(ctx, newTokenizer(t), prompt, Options{MaxTokens: -1}) {
					if n++; n <= i+1 && err != nil || n > i+1 && !errors.Is(err, context.Canceled) {
						t.Errorf("token %d: %v", n, err)
					}
					if n == i+1 && !cancelled {
						break
					}
					if n == i+1 {
						cancel()
					}
				}
				cancel()
			}
			if held(t, plain) != held(t, drafted) {
				t.Errorf("left after %d tokens (cancelled: %v), the session holds something else than without a draft", i+1, cancelled)
			}
		}
	}
}

// TestSpeculatePattern: behind the first token, which the prompt gives, guesses are
// taken as mlx-lm's test_speculative_decoding has it for 5 tokens, 2 at a time.
func TestSpeculatePattern(t *testing.T) {
	t.Parallel()
	m := load(t, newCPU(t), modeltest.Spec{}, 0)
	s := newSession(t, m, 0)
	if err := s.Speculate(newSession(t, m, 0), 2); err != nil {
		t.Fatal(err)
	}
	var guessed []bool
	var last Piece
	for p, err := range s.Stream(t.Context(), newTokenizer(t), prompt, Options{MaxTokens: 6}) {
		if err != nil {
			t.Fatal(err)
		}
		guessed, last = append(guessed, p.Guessed), p
	}
	if want := []bool{false, true, true, false, true, true}; !slices.Equal(guessed, want) {
		t.Errorf("guessed %v, want %v", guessed, want)
	}
	if last.Stats.DraftedTokens != 4 || last.Stats.AcceptedTokens != 4 {
		t.Errorf("%d tokens drafted, %d accepted, want 4 and 4", last.Stats.DraftedTokens, last.Stats.AcceptedTokens)
	}
	if err := s.Speculate(nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, last = answer(t, s, prompt, Options{MaxTokens: 6}); last.Stats.DraftedTokens != 0 {
		t.Errorf("%d tokens drafted without a draft", last.Stats.DraftedTokens)
	}
}

// TestSpeculateSmallDraft: a draft with fewer tokens, or for shorter texts, falls
// silent where it knows no more.
func TestSpeculateSmallDraft(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := load(t, dev, modeltest.Spec{}, 0)
	for _, test := range []struct {
		name   string
		config map[string]any
		prompt []int32
		silent bool
	}{
		{"short", map[string]any{"max_position_embeddings": 20}, prompt, false},
		{"too short", map[string]any{"max_position_embeddings": 5}, prompt, true},
		{"few tokens", map[string]any{"vocab_size": 301}, prompt, false},
		{"too few tokens", map[string]any{"vocab_size": 300}, prompt, true},
		{"more tokens", map[string]any{"vocab_size": 5 * vocab}, prompt, false},
	} {
		drafted := newSession(t, m, 0)
		if err := drafted.Speculate(newSession(t, load(t, dev, modeltest.Spec{Config: test.config}, 7), 0), 3); err != nil {
			t.Fatal(err)
		}
		_, last := compare(t, test.name, newSession(t, m, 0), drafted, test.prompt, Options{MaxTokens: 30})
		if silent := last.Stats.DraftedTokens == 0; silent != test.silent {
			t.Errorf("%s: %d tokens were drafted", test.name, last.Stats.DraftedTokens)
		}
	}
}

// TestSpeculatePromptCache goes on from a file, whose tokens the draft does not know.
func TestSpeculatePromptCache(t *testing.T) {
	t.Parallel()
	m := load(t, newCPU(t), modeltest.Spec{}, 0)
	path := filepath.Join(t.TempDir(), "prompt.safetensors")
	first := newSession(t, m, 0)
	answer(t, first, prompt, Options{MaxTokens: 0})
	if err := first.Save(path, nil); err != nil {
		t.Fatal(err)
	}
	p, err := OpenPromptCache(path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	plain, drafted := newSession(t, m, 0), newSession(t, m, 0)
	if err := drafted.Speculate(newSession(t, m, 0), 3); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(plain.Load(p), drafted.Load(p)); err != nil {
		t.Fatal(err)
	}
	compare(t, "from a file", plain, drafted, []int32{5, 6}, Options{MaxTokens: 20})
	compare(t, "again", plain, drafted, []int32{5, 6}, Options{MaxTokens: 7})
	compare(t, "shorter", plain, drafted, []int32{5}, Options{MaxTokens: 7})
}

func TestSpeculateErrors(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := load(t, dev, modeltest.Spec{}, 0)
	for _, test := range []struct {
		session, draft *Session
		most           int
		setting        fault.Setting
		want           string
	}{
		{newSession(t, m, 0), newSession(t, m, 0), 0, "num_draft_tokens", " 0: expected 1 to 32"},
		{newSession(t, m, 0), newSession(t, m, 0), maxDraft + 1, "num_draft_tokens", " 33: expected 1 to 32"},
		{newSession(t, m, 12), newSession(t, m, 0), 3, "draft_model", "max_kv_size"},
		{newSession(t, m, 0), newSession(t, m, 12), 3, "draft_model", "max_kv_size"},
	} {
		if err := test.session.Speculate(test.draft, test.most); fault.SettingOf(err) != test.setting || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s with %q", err, test.setting, test.want)
		}
	}

	f := &failing{Device: dev, at: -1}
	s := newSession(t, m, 0)
	if err := s.Speculate(newSession(t, load(t, f, modeltest.Spec{}, 1), 0), 3); err != nil {
		t.Fatal(err)
	}
	want := greedy(t, m, prompt, 8)
	for at := 0; ; at = at + 1 + at/3 {
		f.at, f.calls = at, 0
		s.Reset()
		_, _, err := s.Answer(t.Context(), newTokenizer(t), prompt, Options{MaxTokens: 8})
		done := f.calls <= at
		f.at = -1
		if done {
			break
		}
		if !errors.Is(err, compute.ErrNoMemory) || !strings.Contains(err.Error(), "draft model") {
			t.Fatalf("allocation %d of the draft refused: %v", at, err)
		}
		if _, got, _ := answer(t, s, prompt, Options{MaxTokens: 8}); !slices.Equal(got, want) {
			t.Fatalf("after allocation %d of the draft was refused: %v, want %v", at, got, want)
		}
	}
}

func TestSameTokens(t *testing.T) {
	t.Parallel()
	train := func(o tokenizer.TrainOptions, text string) *tokenizer.Tokenizer {
		o.EOS, o.SpecialTokens = "<|end|>", append([]string{"<|end|>"}, o.SpecialTokens...)
		tok, err := tokenizer.Train(slices.Values([]string{strings.Repeat(text, 4)}), o)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	const text = "Hello, world! Hello, internationalization of the world; the text is indented."
	base := train(tokenizer.TrainOptions{VocabSize: 290}, text)
	for _, test := range []struct {
		name  string
		other *tokenizer.Tokenizer
		want  string
	}{
		{"itself", base, ""},
		{"other text", train(tokenizer.TrainOptions{VocabSize: 290}, "Lupins have the most protein of all pulses."), "token 257 is"},
		{"one special token more", train(tokenizer.TrainOptions{VocabSize: 291, SpecialTokens: []string{"<|pad|>"}}, text), "token 1 is"},
		{"merged further", train(tokenizer.TrainOptions{VocabSize: 300}, text), "for the model and"},
		{"not merged", train(tokenizer.TrainOptions{VocabSize: 257}, text), "for the model and"},
	} {
		err := SameTokens(base, test.other)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// always guesses the same tokens.
type always []int32

func (a always) draft(_ context.Context, _ []int32, n int, _ sampler) ([]int32, error) {
	return slices.Clone(a[:min(n, len(a))]), nil
}

// TestUnusableGuess: where a refused guess would have led does not matter, even if
// nothing can be computed there.
func TestUnusableGuess(t *testing.T) {
	t.Parallel()
	const broken = 200
	config, tensors := modeltest.Contents(t, modeltest.Spec{Type: "mistral", Config: map[string]any{"vocab_size": vocab}})
	for _, x := range tensors {
		if x.Name == "model.embed_tokens.weight" {
			row := x.Data[4*broken*modeltest.Hidden:][:4*modeltest.Hidden]
			quant.PutFloats(row, slices.Repeat([]float32{float32(math.Inf(1))}, modeltest.Hidden), quant.F32)
		}
	}
	m := modeltest.Open(t, newCPU(t), modeltest.WriteFolder(t, config, tensors))
	_, want, _ := answer(t, newSession(t, m, 0), prompt, Options{MaxTokens: 6})
	if slices.Contains(want, broken) {
		t.Fatalf("the answer %v has the token that is broken", want)
	}
	s := newSession(t, m, 0)
	s.draftTokens, s.drafter = 3, always{broken}
	if _, got, _ := answer(t, s, prompt, Options{MaxTokens: 6}); !slices.Equal(got, want) {
		t.Errorf("answer %v, without guesses %v", got, want)
	}
}
