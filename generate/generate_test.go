package generate

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/tokenizer"
)

func newCPU(t testing.TB) *cpu.Device {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.(*cpu.Device).Close() })
	return dev.(*cpu.Device)
}

// used is what the device holds once its work is done.
func used(dev compute.Device) int64 {
	dev.Sync()
	n, _ := dev.Memory()
	return n
}

const vocab = 320

// spec is a random model for the tokenizer's vocabulary: its answers are bytes
// and halves of characters in no order, which is what streaming must bear.
var spec = modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": vocab}}

var trainTokenizer = sync.OnceValues(func() (*tokenizer.Tokenizer, error) {
	text := strings.Repeat("Lupins have the most protein of all pulses; œufs à la crème, Käse, 豆腐, naïve façade. ", 4)
	return tokenizer.Train(slices.Values([]string{text}), tokenizer.TrainOptions{VocabSize: vocab, SpecialTokens: []string{"<|end|>"}, EOS: "<|end|>", PAD: "<|end|>"})
})

func newTokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := trainTokenizer()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func newSession(t testing.TB, m *model.Model, limit int) *Session {
	t.Helper()
	s, err := NewSession(m, limit, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// answer is the text, the tokens and the last piece.
func answer(t *testing.T, s *Session, prompt []int32, o Options) (string, []int32, Piece) {
	t.Helper()
	var text strings.Builder
	var ids []int32
	var last Piece
	for p, err := range s.Stream(t.Context(), newTokenizer(t), prompt, o) {
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(p.Text)
		ids, last = append(ids, p.Token), p
	}
	return text.String(), ids, last
}

// greedy continues prompt by whole forward passes, without a cache.
func greedy(t *testing.T, m *model.Model, prompt []int32, n int) (out []int32) {
	t.Helper()
	s := newSession(t, m, 0)
	for range n {
		s.Reset()
		logits, err := s.Prefill(t.Context(), slices.Concat(prompt, out), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, largest(logits))
	}
	return out
}

var prompt = []int32{7, 300, 12, 45, 45, 211, 9}

func TestGreedy(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), spec)
	const n = 24
	want := greedy(t, m, prompt, n)
	tok := newTokenizer(t)
	for _, step := range []int{0, 1, 3, 100} {
		var progress []int
		text, ids, last := answer(t, newSession(t, m, 0), prompt, Options{MaxTokens: n, PrefillStep: step, Progress: func(done, total int) {
			if progress = append(progress, done); total != len(prompt) {
				t.Errorf("progress of %d tokens, the prompt has %d", total, len(prompt))
			}
		}})
		if !slices.Equal(ids, want) {
			t.Errorf("prefill step %d: tokens %v, want %v", step, ids, want)
		}
		if decoded := decode(t, tok, ids, false); strings.TrimPrefix(decoded, " ") != strings.TrimPrefix(text, " ") {
			t.Errorf("streamed %q, decoded %q", text, decoded)
		}
		if last.Finish != FinishLength || last.Stats.GenerationTokens != n || last.Stats.PromptTokens != len(prompt) || !(last.Stats.GenerationTPS > 0) || !(last.Stats.PromptTPS > 0) {
			t.Errorf("last piece %+v", last)
		}
		if !slices.IsSorted(progress) || progress[len(progress)-1] != len(prompt) {
			t.Errorf("progress %v", progress)
		}
	}
}

// TestTokens: the tokens of Stream.
func TestTokens(t *testing.T) {
	t.Parallel()
	s := newSession(t, modeltest.Load(t, newCPU(t), spec), 0)
	o := Options{MaxTokens: 9, Sampling: Sampling{Temp: 1}, Seed: 4}
	tokens := func(prompt []int32, o Options) (ids []int32, err error) {
		for id, err := range s.Tokens(t.Context(), prompt, o) {
			if err != nil {
				return ids, err
			}
			ids = append(ids, id)
		}
		return ids, nil
	}
	_, want, _ := answer(t, s, prompt, o)
	if got, err := tokens(prompt, o); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v (%v), Stream gives %v", got, err, want)
	}
	o.StopTokens = want[3:4]
	if got, err := tokens(prompt, o); err != nil || !slices.Equal(got, want[:4]) {
		t.Errorf("to the stop token: %v (%v), want %v", got, err, want[:4])
	}
	if got, err := tokens([]int32{1 << 20}, o); err == nil || len(got) > 0 {
		t.Errorf("an unknown token gives %v", got)
	}
	o.Sampling.TopP = 2
	if _, err := tokens(prompt, o); err == nil {
		t.Error("top_p of 2 was taken")
	}
}

func TestSeeds(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), spec)
	run := func(seed uint64) []int32 {
		_, ids, _ := answer(t, newSession(t, m, 0), prompt, Options{MaxTokens: 20, Seed: seed, Sampling: Sampling{Temp: 1, TopP: 0.95, MinP: 0.01, TopK: 100}})
		return ids
	}
	first := run(1)
	if again := run(1); !slices.Equal(again, first) {
		t.Errorf("one seed gives %v and %v", first, again)
	}
	if other := run(2); slices.Equal(other, first) {
		t.Error("two seeds give one answer")
	}
}

// TestSessionReuse asks one session again and again and compares with new ones.
func TestSessionReuse(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), spec)
	s := newSession(t, m, 0)
	_, ids, _ := answer(t, s, prompt, Options{MaxTokens: 6})
	said := slices.Concat(prompt, ids[:5]) // the last token was not run
	for _, test := range []struct {
		name   string
		prompt []int32
		cached int
	}{
		{"going on", slices.Concat(said, []int32{1, 2, 3}), len(said)},
		{"the same again", slices.Concat(said, []int32{1, 2, 3}), len(said) + 2},
		{"other from the middle", slices.Concat(prompt[:4], []int32{99, 98}), 4},
		{"a beginning of it", prompt[:3], 2},
		{"something else", []int32{200, 201, 202}, 0},
		{"one token", []int32{200}, 0},
	} {
		_, got, last := answer(t, s, test.prompt, Options{MaxTokens: 4})
		if want := greedy(t, m, test.prompt, 4); !slices.Equal(got, want) {
			t.Errorf("%s: tokens %v, want %v", test.name, got, want)
		}
		if last.Stats.CachedTokens != test.cached {
			t.Errorf("%s: %d tokens were cached, want %d", test.name, last.Stats.CachedTokens, test.cached)
		}
		if test.name == "going on" { // back to where the next row begins
			if _, err := s.Prefill(t.Context(), test.prompt, 8); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSessionsAtOnce: sessions of one model do not disturb each other.
func TestSessionsAtOnce(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), spec)
	ask := func(i int, s *Session) (string, error) {
		o := Options{MaxTokens: 20, Sampling: Sampling{Temp: float64(i % 2)}, Seed: uint64(i)}
		text, _, err := s.Answer(t.Context(), newTokenizer(t), tokensFrom(i, 5+9*i), o)
		return text, err
	}
	limits := []int{0, 0, 12, 0, 12, 0}
	var alone []string
	for i, limit := range limits {
		text, err := ask(i, newSession(t, m, limit))
		if err != nil {
			t.Fatal(err)
		}
		alone = append(alone, text)
	}
	var all sync.WaitGroup
	for i, limit := range limits {
		s := newSession(t, m, limit)
		all.Go(func() {
			if text, err := ask(i, s); err != nil || text != alone[i] {
				t.Errorf("session %d: %q (%v), alone %q", i, text, err, alone[i])
			}
		})
	}
	all.Wait()
}

func TestLimitedCache(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := modeltest.Load(t, dev, spec)
	before := used(dev)
	s := newSession(t, m, 12)
	long := make([]int32, 40)
	for i := range long {
		long[i] = int32(i * 7 % vocab)
	}
	_, first, _ := answer(t, s, long, Options{MaxTokens: 20})
	_, again, last := answer(t, s, long, Options{MaxTokens: 20})
	if !slices.Equal(first, again) || len(first) != 20 || last.Stats.CachedTokens != 0 {
		t.Errorf("a full cache gives %v, then %v with %d tokens cached", first, again, last.Stats.CachedTokens)
	}
	_, short, _ := answer(t, s, prompt, Options{MaxTokens: 5})
	s.Close()
	if after := used(dev); after != before {
		t.Errorf("%d bytes held after Close, %d before", after, before)
	}
	if want := greedy(t, m, prompt, 5); !slices.Equal(short, want) {
		t.Errorf("what fits gives %v, want %v", short, want)
	}
	for _, limit := range []int{-1, 3} {
		if _, err := NewSession(m, limit, false); fault.SettingOf(err) != "max_kv_size" {
			t.Errorf("a cache of %d tokens: %v", limit, err)
		}
	}
}

func TestStopping(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), spec)
	whole, ids, _ := answer(t, newSession(t, m, 0), prompt, Options{MaxTokens: 30})
	at := 10
	stop := slices.Index(ids, ids[at]) // where this token comes first
	_, got, last := answer(t, newSession(t, m, 0), prompt, Options{MaxTokens: 30, StopTokens: []int32{ids[at], -5}})
	if !slices.Equal(got, ids[:stop+1]) || last.Finish != FinishStop || last.Stats.GenerationTokens != stop+1 {
		t.Errorf("stop token %d: tokens %v, last piece %+v", ids[at], got, last)
	}
	letters := []rune(whole)
	word := string(letters[len(letters)/2 : len(letters)/2+2])
	text, _, last := answer(t, newSession(t, m, 0), prompt, Options{MaxTokens: 30, StopStrings: []string{"not there", word}})
	if want, _, _ := strings.Cut(whole, word); text != want || last.Finish != FinishStop {
		t.Errorf("stop string %q: %q (%s), want %q", word, text, last.Finish, want)
	}
	ending := string(letters[len(letters)-1:])
	if strings.Index(whole, ending) == len(whole)-len(ending) {
		if text, _, last = answer(t, newSession(t, m, 0), prompt, Options{MaxTokens: 30, StopStrings: []string{ending}}); text+ending != whole || last.Finish != FinishStop {
			t.Errorf("stop string at the very end: %q (%s)", text, last.Finish)
		}
	}
	if text, ids, last := answer(t, newSession(t, m, 0), prompt, Options{MaxTokens: 0}); text != "" || len(ids) != 1 || last.Finish != FinishLength || last.Stats.GenerationTokens != 0 {
		t.Errorf("no tokens asked for: %q, %+v", text, last)
	}
	pieces := 0
	for range newSession(t, m, 0).Stream(t.Context(), newTokenizer(t), prompt, Options{MaxTokens: -1}) {
		if pieces++; pieces == 3 {
			break // a reader that has enough
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := modeltest.Load(t, dev, spec)
	tok := newTokenizer(t)
	ask := func(s *Session, prompt []int32, o Options) error {
		_, _, err := s.Answer(t.Context(), tok, prompt, o)
		return err
	}
	for _, test := range []struct {
		name   string
		prompt []int32
		o      Options
		want   string
	}{
		{"empty prompt", nil, Options{MaxTokens: 1}, "no tokens"},
		{"token beyond the vocabulary", []int32{1, vocab}, Options{MaxTokens: 1}, "prompt: token 1 is 320"},
		{"negative token", []int32{-1}, Options{MaxTokens: 1}, "is -1"},
		{"too long", make([]int32, 257), Options{MaxTokens: 1}, "257 tokens, the model takes 256"},
		{"sampling", prompt, Options{MaxTokens: 1, Sampling: Sampling{Temp: -1}}, "temp -1: expected 0 or more"},
	} {
		if err := ask(newSession(t, m, 0), test.prompt, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, n := newSession(t, m, 0), 0
	var err error
	for _, err = range s.Stream(ctx, tok, prompt, Options{MaxTokens: 100}) {
		if n++; n == 2 {
			cancel()
		}
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled after two tokens: %v", err)
	}
	if _, got, _ := answer(t, s, prompt, Options{MaxTokens: 5}); !slices.Equal(got, greedy(t, m, prompt, 5)) {
		t.Error("after the cancelled answer the session answers otherwise")
	}

	if _, err := adapter.New(m, adapter.Config{Rank: 1, Scale: 1}, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, float32(math.Inf(1)))
	if err := ask(newSession(t, m, 0), prompt, Options{MaxTokens: 3}); err == nil || !strings.Contains(err.Error(), "diverged") {
		t.Errorf("an adapter without numbers: %v", err)
	}
}

// failing refuses the allocation numbered at.
type failing struct {
	compute.Device
	at, calls int
}

func (f *failing) Alloc(s compute.Shape, t compute.DType) (compute.Buffer, error) {
	if f.calls++; f.calls-1 == f.at {
		return nil, compute.ErrNoMemory
	}
	return f.Device.Alloc(s, t)
}

// TestOutOfMemory refuses some allocations; the session goes on afterwards.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	f := &failing{Device: newCPU(t), at: -1}
	m := modeltest.Load(t, f, spec)
	want := greedy(t, m, prompt, 4)
	tok := newTokenizer(t)
	for at := 0; ; at = at + 1 + at/4 {
		s := newSession(t, m, 0)
		f.at, f.calls = at, 0
		_, _, err := s.Answer(t.Context(), tok, prompt, Options{MaxTokens: 4})
		done := f.calls <= at
		f.at = -1
		if done {
			break
		}
		if !errors.Is(err, compute.ErrNoMemory) {
			t.Fatalf("allocation %d refused: %v", at, err)
		}
		if _, got, _ := answer(t, s, prompt, Options{MaxTokens: 4}); !slices.Equal(got, want) {
			t.Fatalf("after allocation %d was refused: %v, want %v", at, got, want)
		}
	}
}

// decode is that of the tokenizer, which must not fail.
// interrupting calls do at the op numbered at, from 1.
type interrupting struct {
	compute.Device
	at, calls int
	do        func()
}

func (d *interrupting) Run(op compute.Op, out, in []compute.Buffer) error {
	if d.calls++; d.calls == d.at {
		d.do()
	}
	return d.Device.Run(op, out, in)
}

// TestInterruptedPrompt: reading a prompt ends at the op under way, not with the prompt; the session goes on afterwards,
// also from a conversation that it has read before.
func TestInterruptedPrompt(t *testing.T) {
	t.Parallel()
	d := &interrupting{Device: newCPU(t)}
	m := modeltest.Load(t, d, spec)
	long := slices.Concat(prompt, prompt, prompt, prompt)
	want := greedy(t, m, long, 4)
	tok := newTokenizer(t)
	for _, limit := range []int{0, 2 * len(long)} {
		ops := 0 // that reading takes
		for at := 0; at <= ops; at += 7 {
			s := newSession(t, m, limit)
			answer(t, s, prompt, Options{MaxTokens: 2})
			if at == 0 {
				d.calls = 0
				answer(t, s, long, Options{MaxTokens: 1, Progress: func(int, int) { ops = d.calls }})
				continue
			}
			ctx, cancel := context.WithCancel(t.Context())
			d.at, d.calls, d.do = at, 0, cancel
			_, _, err := s.Answer(ctx, tok, long, Options{MaxTokens: 4})
			if ran := d.calls; !errors.Is(err, context.Canceled) || ran > at {
				t.Fatalf("interrupted at op %d: %v after %d ops", at, err, ran)
			}
			d.at = 0
			if _, got, _ := answer(t, s, long, Options{MaxTokens: 4}); !slices.Equal(got, want) {
				t.Fatalf("limit %d, after an interruption at op %d: %v, want %v", limit, at, got, want)
			}
		}
	}
}

func decode(t testing.TB, tok *tokenizer.Tokenizer, ids []int32, skipSpecial bool) string {
	t.Helper()
	text, err := tok.Decode(ids, skipSpecial)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
