package generate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// family is a base and models over it with adapters of different ranks, one of them a DoRA.
func family(t testing.TB, dev compute.Device, spec modeltest.Spec) []*model.Model {
	t.Helper()
	base := modeltest.Load(t, dev, spec)
	models := []*model.Model{base}
	for i, c := range []adapter.Config{
		{Rank: 8, Scale: 10, NumLayers: -1}, {Rank: 4, Scale: 5, NumLayers: 1}, {Rank: 16, Scale: 2, NumLayers: 2, Keys: []string{"self_attn.v_proj"}},
		{Rank: 4, Scale: 5, NumLayers: 1, DoRA: true},
	} {
		m, err := base.Share()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Free)
		if _, err := adapter.New(m, c, compute.NewKey(uint64(i))); err != nil {
			t.Fatal(err)
		}
		modeltest.Shake(t, m, 0.3)
		models = append(models, m)
	}
	return models
}

func newBatch(t testing.TB, o BatchOptions) *Batch {
	t.Helper()
	b := NewBatch(o)
	t.Cleanup(b.Close)
	return b
}

// request is one answer to ask for.
type request struct {
	model  *model.Model
	prompt []int32
	Options
}

// requests differ in model, length, sampling and seed.
func requests(models []*model.Model, n int) (out []request) {
	for i := range n {
		prompt := make([]int32, 3+i*7%40)
		for k := range prompt {
			prompt[k] = int32((i*31 + k*k*7 + k*3 + 5) % vocab)
		}
		r := request{models[i%len(models)], prompt, Options{MaxTokens: 8 + i*5%23, Seed: uint64(i)}}
		if i%3 == 1 {
			r.Sampling = Sampling{Temp: 0.9, TopP: 0.95, TopK: 40}
		}
		if i%4 == 3 {
			r.StopTokens = []int32{17, 99, 203}
		}
		out = append(out, r)
	}
	return out
}

// tokensOf collects the tokens of a stream.
func tokensOf(stream func(func(Piece, error) bool)) (ids []int32, text string, err error) {
	var b strings.Builder
	for p, err := range stream {
		if err != nil {
			return ids, b.String(), err
		}
		ids = append(ids, p.Token)
		b.WriteString(p.Text)
	}
	return ids, b.String(), nil
}

// TestBatch: answers of different models, lengths and settings have in company the tokens
// that each has alone, while others come, go and are cancelled.
func TestBatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		spec   modeltest.Spec
		o      BatchOptions
		beside bool // passes are queued before the tokens are read that they begin with
	}{
		{"exact", spec, BatchOptions{Exact: true}, false},
		{"exact, beside", spec, BatchOptions{Exact: true}, true},
		{"exact, four at a time, small pieces", spec, BatchOptions{Exact: true, Most: 4, PrefillStep: 9}, false},
		{"the same, beside", spec, BatchOptions{Exact: true, Most: 4, PrefillStep: 9}, true},
		{"4 bits, row-wise", modeltest.Spec{Type: "llama", Bits: 4, Config: spec.Config}, BatchOptions{RowWise: true}, false},
		{"quantized cache, beside", modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": vocab, "head_dim": 32}}, BatchOptions{RowWise: true, KV: KVBits{Bits: 4, Group: 32, Start: 9}}, true},
		{"windows, limited cache", modeltest.Spec{Type: "mistral", Config: map[string]any{"vocab_size": vocab, "sliding_window": 8}}, BatchOptions{Exact: true, MaxKVSize: 20}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var dev compute.Device = newCPU(t)
			if c.beside {
				dev = beside(t)
			}
			models := family(t, dev, c.spec)
			tok, held := newTokenizer(t), used(dev)
			all := requests(models, 20)
			want := make([][]int32, len(all))
			for i, r := range all {
				s, err := NewSession(r.model, c.o.MaxKVSize, c.o.Exact)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.QuantizeKV(c.o.KV); err != nil {
					t.Fatal(err)
				}
				r.PrefillStep = c.o.PrefillStep
				if want[i], _, err = tokensOf(s.Stream(t.Context(), tok, r.prompt, r.Options)); err != nil {
					t.Fatal(err)
				}
				s.Close()
			}
			b := NewBatch(c.o)
			var done sync.WaitGroup
			for i, r := range all {
				done.Go(func() {
					time.Sleep(time.Duration(i%5) * time.Millisecond)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					var got []int32
					for p, err := range b.Stream(ctx, r.model, tok, r.prompt, r.Options) {
						if err != nil {
							if i%5 != 4 || !errors.Is(err, context.Canceled) {
								t.Errorf("answer %d: %v", i, err)
							}
							break
						}
						if got = append(got, p.Token); i%5 == 4 && len(got) == 5 {
							cancel()
						}
						if i%5 == 2 && len(got) == 3 {
							break
						}
					}
					if n := len(want[i]); i%5 != 4 && i%5 != 2 && len(got) != n || !slices.Equal(got, want[i][:len(got)]) {
						t.Errorf("answer %d is %v in company, %v alone", i, got, want[i])
					}
				})
			}
			done.Wait()
			if l := b.Load(); l != (Load{}) {
				t.Errorf("afterwards the batch has %+v", l)
			}
			b.Close()
			if now := used(dev); now != held {
				t.Errorf("%d bytes are held afterwards", now-held)
			}
		})
	}
}

// TestBatchOneWait: answers in company are read with one wait for all, and the pass of the next tokens is queued by then.
func TestBatchOneWait(t *testing.T) {
	t.Parallel()
	dev := beside(t)
	m := modeltest.Load(t, dev, spec)
	for name, how := range map[string]Sampling{"greedy": {}, "sampled": {Temp: 0.8, TopP: 0.9}} {
		b := newBatch(t, BatchOptions{})
		tok := newTokenizer(t)
		dev.Take()
		const answers, n = 8, 40
		var done sync.WaitGroup
		for i := range answers {
			done.Go(func() {
				for _, err := range b.Stream(t.Context(), m, tok, modeltest.Sequence(5+i), Options{MaxTokens: n, Sampling: how, Seed: uint64(i)}) {
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		done.Wait()
		c, ahead := dev.Take(), 0
		for _, works := range c.Behind {
			if works >= len(m.Blocks) {
				ahead++
			}
		}
		// 40 tokens, and some for prompts and for what came late.
		if c.Reads > answers*n/2 || c.Syncs > 0 || ahead < c.Reads/2 {
			t.Errorf("%s: %d reads, %d of them with a pass behind them, %d waits for all", name, c.Reads, ahead, c.Syncs)
		}
	}
}

// TestBatchLogits: with Exact the logits have, to the bit, the values that they have alone.
func TestBatchLogits(t *testing.T) {
	t.Parallel()
	models := family(t, newCPU(t), spec)
	b := newBatch(t, BatchOptions{Exact: true})
	all := requests(models, 16)
	var done sync.WaitGroup
	for i, r := range all {
		alone := newSession(t, r.model, 0)
		together, err := b.Session(r.model)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(together.Close)
		done.Go(func() {
			want, err1 := alone.Prefill(t.Context(), r.prompt, 0)
			got, err2 := together.Prefill(t.Context(), r.prompt, 0)
			for n := range 12 {
				if err := errors.Join(err1, err2); err != nil {
					t.Error(err)
					return
				}
				if !slices.Equal(got, want) {
					t.Errorf("answer %d, token %d: other logits in company", i, n)
					return
				}
				id := largest(want)
				want, err1 = alone.Next(id)
				got, err2 = together.Next(id)
			}
		})
	}
	done.Wait()
}

// counted is a device that counts ops of one name.
type counted struct {
	compute.Device
	name string
	runs atomic.Int64
}

func (c *counted) Run(op compute.Op, out, in []compute.Buffer) error {
	if op.Name() == c.name {
		c.runs.Add(1)
	}
	return c.Device.Run(op, out, in)
}

// TestBatchGoesTogether: sixteen answers of a base and its adapters take far fewer passes
// than one after the other.
func TestBatchGoesTogether(t *testing.T) {
	dev := &counted{Device: newCPU(t), name: "embed"}
	models := family(t, dev, spec)[:4] // without the DoRA
	b := newBatch(t, BatchOptions{})
	tok := newTokenizer(t)
	const answers, n = 16, 40
	var done sync.WaitGroup
	for i := range answers {
		s, err := b.Session(models[i%len(models)])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		done.Go(func() {
			if ids, _, err := tokensOf(s.Stream(t.Context(), tok, prompt, Options{MaxTokens: n})); len(ids) != n || err != nil {
				t.Errorf("%d tokens, %v", len(ids), err)
			}
		})
	}
	done.Wait()
	// 39 passes for all, one or more for the prompts, and those that one was late for.
	if runs := dev.runs.Load(); runs > answers*n/2 {
		t.Errorf("%d passes for %d answers of %d tokens", runs, answers, n)
	}
}

// TestBatchForm: which jobs go into the next pass.
func TestBatchForm(t *testing.T) {
	t.Parallel()
	mine, other := &group{}, &group{}
	newJob := func(name string, g *group, priority, tokens, last int) *job {
		s := &Session{member: &member{group: g, client: name, number: int(name[0])}}
		return &job{Session: s, tokens: make([]int32, tokens), last: last, priority: priority}
	}
	for _, c := range []struct {
		name string
		o    BatchOptions
		jobs []*job
		want []string // of passes one after the other
	}{
		{"nothing", BatchOptions{}, nil, nil},
		{"tokens and guesses go together", BatchOptions{}, []*job{newJob("a", mine, 0, 1, 1), newJob("b", mine, 0, 4, 4), newJob("c", mine, 0, 1, 1)}, []string{"a b c"}},
		{"tokens in the order of sessions, not of asking", BatchOptions{}, []*job{newJob("c", mine, 0, 1, 1), newJob("a", mine, 0, 1, 1), newJob("b", mine, 0, 1, 1)}, []string{"a b c"}},
		{"groups take turns", BatchOptions{}, []*job{newJob("a", mine, 0, 1, 1), newJob("x", other, 0, 1, 1), newJob("b", mine, 0, 1, 1)}, []string{"a b", "x"}},
		{"prompts in the order they came, up to a piece", BatchOptions{PrefillStep: 100}, []*job{newJob("a", mine, 0, 60, 1), newJob("b", mine, 0, 50, 1), newJob("c", mine, 0, 40, 1)},
			[]string{"a c", "b"}},
		{"prompts of higher priority first", BatchOptions{PrefillStep: 50}, []*job{newJob("a", mine, 0, 50, 1), newJob("b", mine, 2, 50, 1), newJob("c", mine, 1, 50, 1)}, []string{"b", "c", "a"}},
		{"row-wise prompts alone", BatchOptions{PrefillStep: 100, RowWise: true}, []*job{newJob("a", mine, 0, 20, 1), newJob("b", mine, 0, 20, 1)}, []string{"a", "b"}},
		{"in turn with tokens", BatchOptions{PrefillStep: 50}, []*job{newJob("a", mine, 0, 50, 1), newJob("b", mine, 0, 50, 1), newJob("c", mine, 0, 1, 1)}, []string{"c", "a", "b"}},
	} {
		b := &Batch{o: c.o, jobs: c.jobs}
		for i := 0; ; i++ {
			pass, _ := b.form(time.Now())
			if pass == nil {
				if i != len(c.want) || len(b.jobs) > 0 {
					t.Errorf("%s: %d passes, want %d", c.name, i, len(c.want))
				}
				break
			}
			var names []string
			for _, j := range pass {
				names = append(names, j.member.client)
			}
			if got := strings.Join(names, " "); i >= len(c.want) || got != c.want[i] {
				t.Errorf("%s: pass %d is %q, want %q", c.name, i, got, c.want)
			}
		}
	}
}

// TestBatchAwaits: an answer in time is waited for, one that was late is not, for a while.
func TestBatchAwaits(t *testing.T) {
	t.Parallel()
	g := &group{}
	prompt, slow := &Session{member: &member{group: g}}, &Session{member: &member{group: g}}
	b := &Batch{running: []*member{prompt.member, slow.member}}
	waited := 0
	for range 30 {
		b.jobs = []*job{{Session: prompt, tokens: make([]int32, 1), last: 1}} // slow never comes in time
		prompt.member.awaited = false
		pass, wait := b.form(time.Now())
		if wait > 0 {
			waited++
			if wait > mostPatience {
				t.Errorf("it waits for %v", wait)
			}
			pass, wait = b.form(b.deadline)
		}
		if len(pass) != 1 || wait != 0 {
			t.Fatalf("a pass of %d, a wait of %v", len(pass), wait)
		}
		b.expect(append(pass, &job{Session: slow}), 10*time.Millisecond) // it had come for this pass
	}
	if waited < 2 || waited > 6 {
		t.Errorf("of 30 passes, %d waited for one that always is late", waited)
	}
}

// TestBatchQueue: answers begin by priority, then client, then in the order they came, as
// memory allows.
func TestBatchQueue(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), spec)
	tok := newTokenizer(t)
	b := newBatch(t, BatchOptions{Most: 1, Waiting: 4})
	hold, release := make(chan bool), make(chan bool)
	var mu sync.Mutex
	var order []string
	var done sync.WaitGroup
	ask := func(ctx context.Context, name, client string, priority int) {
		n := b.Load().Waiting
		done.Go(func() {
			for p, err := range b.Stream(ctx, m, tok, prompt, Options{MaxTokens: 2, Priority: priority, Client: client}) {
				if err != nil {
					name += " " + err.Error()
				} else if p.Finish == "" {
					continue
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
			}
		})
		for b.Load().Waiting == n {
			time.Sleep(time.Millisecond)
		}
	}
	done.Go(func() {
		for range b.Stream(t.Context(), m, tok, prompt, Options{MaxTokens: 1, Client: "held"}) {
			hold <- true
			<-release
		}
	})
	<-hold
	ctx, cancel := context.WithCancel(t.Context())
	ask(t.Context(), "second", "held", 0)
	ask(t.Context(), "third", "held", 0)
	ask(ctx, "gone", "x", 0)
	ask(t.Context(), "first", "x", 1)
	if _, _, err := tokensOf(b.Stream(t.Context(), m, tok, prompt, Options{MaxTokens: 1})); !errors.Is(err, ErrBusy) {
		t.Errorf("a fifth in the queue: %v", err)
	}
	cancel()
	for b.Load().Waiting == 4 {
		time.Sleep(time.Millisecond)
	}
	release <- true
	done.Wait()
	if want := []string{"gone context canceled", "first", "second", "third"}; !slices.Equal(order, want) {
		t.Errorf("the order is %q, want %q", order, want)
	}
}

// TestBatchTurns: a turn goes to the client with the fewest answers under way, and one that gives up in the queue holds up
// none behind it.
func TestBatchTurns(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": vocab, "max_position_embeddings": 1024}})
	tok := newTokenizer(t)
	began := make(chan string, 8)
	var all sync.WaitGroup
	// ask asks for an answer that is held at its first token until end.
	ask := func(ctx context.Context, b *Batch, name, client string, tokens int) (end func()) {
		gate, before := make(chan bool), b.Load()
		all.Go(func() {
			for _, err := range b.Stream(ctx, m, tok, prompt, Options{MaxTokens: tokens, Client: client}) {
				if err == nil {
					began <- name
					<-gate
				}
				break
			}
		})
		for b.Load() == before {
			time.Sleep(time.Millisecond)
		}
		return func() { close(gate) }
	}
	next := func(want string) {
		t.Helper()
		select {
		case got := <-began:
			if got != want {
				t.Errorf("%s began, want %s", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s did not begin", want)
		}
	}
	b := newBatch(t, BatchOptions{Most: 2})
	end1 := ask(t.Context(), b, "a", "A", 2)
	next("a")
	end2 := ask(t.Context(), b, "b", "B", 2)
	next("b")
	end3 := ask(t.Context(), b, "a again", "A", 2)
	end4 := ask(t.Context(), b, "c", "C", 2)
	end2()
	next("c")
	end4()
	next("a again")
	end1()
	end3()

	s, err := NewSession(m, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const few, many = 2, 600
	small, large := s.bytesFor(len(prompt)+few), s.bytesFor(min(len(prompt)+many, m.Config.MaxPositionEmbeddings))
	if large <= small {
		t.Fatalf("%d bytes, then %d: this tests nothing", small, large)
	}
	b = newBatch(t, BatchOptions{Memory: small + large - 1})
	end1 = ask(t.Context(), b, "small", "", few)
	next("small")
	big, err := b.Session(m) // which stays
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	ctx, cancel := context.WithCancel(t.Context())
	all.Go(func() {
		if _, _, err := tokensOf(big.Stream(ctx, tok, prompt, Options{MaxTokens: many})); !errors.Is(err, context.Canceled) {
			t.Errorf("the large one: %v", err)
		}
	})
	for b.Load().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	end2 = ask(t.Context(), b, "behind it", "", few)
	cancel()
	next("behind it")
	end1()
	end2()
	all.Wait()
}

// TestBatchMemory: answers wait for the memory of others, and one that never fits is
// refused.
func TestBatchMemory(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), spec)
	tok := newTokenizer(t)
	one, err := m.NewCache(0, compute.F16)
	if err != nil {
		t.Fatal(err)
	}
	b := newBatch(t, BatchOptions{Memory: 2*one.BytesFor(200, 0, 0) + 1})
	var most atomic.Int64
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for _, err := range b.Stream(t.Context(), m, tok, prompt, Options{MaxTokens: 30}) {
				if err != nil {
					t.Error(err)
				}
				most.Store(max(most.Load(), int64(b.Load().Running)))
			}
		})
	}
	done.Wait()
	if most.Load() != 2 {
		t.Errorf("%d answers were under way at a time, 2 fit into memory", most.Load())
	}
	small := newBatch(t, BatchOptions{Memory: 1000})
	if _, _, err := tokensOf(small.Stream(t.Context(), m, tok, prompt, Options{MaxTokens: 30})); fault.SettingOf(err) != "max_tokens" {
		t.Errorf("an answer that never fits: %v", err)
	}
	// Sessions at rest hold what they remember until they are reset or closed.
	var rest []*Session
	for range 2 {
		s, err := b.Session(m)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, _, err := tokensOf(s.Stream(t.Context(), tok, prompt, Options{MaxTokens: 2})); err != nil {
			t.Fatal(err)
		}
		rest = append(rest, s)
	}
	if _, _, err := tokensOf(b.Stream(t.Context(), m, tok, prompt, Options{MaxTokens: 2})); !errors.Is(err, ErrBusy) {
		t.Errorf("beside sessions that hold the memory: %v", err)
	}
	rest[0].Reset()
	if _, _, err := tokensOf(b.Stream(t.Context(), m, tok, prompt, Options{MaxTokens: 2})); err != nil {
		t.Errorf("after one was reset: %v", err)
	}
}

// TestBatchCrowd: clients that come all at once, dawdle, run out of time or leave keep
// nothing, and hold up nobody for ever.
func TestBatchCrowd(t *testing.T) {
	t.Parallel()
	for name, dev := range map[string]compute.Device{"waited for": newCPU(t), "beside": beside(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crowd(t, dev)
		})
	}
}

func crowd(t *testing.T, dev compute.Device) {
	models := family(t, dev, spec)
	tok, held := newTokenizer(t), used(dev)
	one, err := models[0].NewCache(0, compute.F16)
	if err != nil {
		t.Fatal(err)
	}
	b := newBatch(t, BatchOptions{Most: 12, Waiting: 40, Memory: 10 * one.BytesFor(200, 0, 0), PrefillStep: 16})
	var done sync.WaitGroup
	for client := range 64 {
		done.Go(func() {
			r := rand.New(rand.NewPCG(uint64(client), 1))
			for range 4 {
				p := modeltest.Sequence(1 + r.IntN(90))
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+r.IntN(300))*time.Millisecond)
				o := Options{MaxTokens: 1 + r.IntN(60), Priority: r.IntN(2), Client: fmt.Sprint(client % 5)}
				for _, err := range b.Stream(ctx, models[r.IntN(len(models))], tok, p, o) {
					if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrBusy) {
						t.Error(err)
					}
					if r.IntN(40) == 0 {
						time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond)
					}
					if r.IntN(100) == 0 {
						break
					}
				}
				cancel()
			}
		})
	}
	done.Wait()
	if l := b.Load(); l != (Load{}) || used(dev) != held {
		t.Errorf("afterwards the batch has %+v, and %d bytes are held", l, used(dev)-held)
	}
}

// TestBegin: sessions that begin alike go on by themselves, alone and in a batch, with caches
// of all kinds.
func TestBegin(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": vocab, "head_dim": 32}})
	tok := newTokenizer(t)
	for _, o := range []BatchOptions{{Exact: true}, {Exact: true, MaxKVSize: 12}, {RowWise: true, KV: KVBits{Bits: 4, Group: 32, Start: 3}}} {
		b := newBatch(t, o)
		alone := func() (*Session, error) {
			s, err := NewSession(m, o.MaxKVSize, o.Exact)
			if err == nil {
				err = s.QuantizeKV(o.KV)
			}
			return s, err
		}
		for name, open := range map[string]func() (*Session, error){"alone": alone, "in a batch": func() (*Session, error) { return b.Session(m) }} {
			held := used(dev)
			stem, err := open()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stem.Prefill(t.Context(), prompt, 0); err != nil {
				t.Fatal(err)
			}
			if o.MaxKVSize == 0 { // what the others do not take over
				for id := range int32(3) {
					if _, err := stem.Next(id + 1); err != nil {
						t.Fatal(err)
					}
				}
			}
			var done sync.WaitGroup
			for i := range 3 {
				longer := append(slices.Clone(prompt), int32(20+i), 31)
				fork, err := open()
				if err != nil {
					t.Fatal(err)
				}
				if err := fork.Begin(stem, stem.Shared(longer)); err != nil {
					t.Fatal(err)
				}
				if l := b.Load(); stem.member != nil && l.Bytes < fork.cache.Bytes() {
					t.Errorf("%s: %d bytes are set aside", name, l.Bytes)
				}
				done.Go(func() {
					defer fork.Close()
					own, err := alone()
					if err != nil {
						t.Error(err)
						return
					}
					defer own.Close()
					if _, err := own.Prefill(t.Context(), prompt, 0); err != nil { // in the same pieces
						t.Error(err)
						return
					}
					want, _, err1 := tokensOf(own.Stream(t.Context(), tok, longer, Options{MaxTokens: 15}))
					got, _, err2 := tokensOf(fork.Stream(t.Context(), tok, longer, Options{MaxTokens: 15}))
					if err := errors.Join(err1, err2); err != nil || !slices.Equal(got, want) {
						t.Errorf("%+v, %s: fork %d says %v, %v, want %v", o, name, i, got, err, want)
					}
				})
			}
			done.Wait()
			stem.Close()
			if now := used(dev); now != held {
				t.Errorf("%s: %d bytes are held afterwards", name, now-held)
			}
		}
	}
}

// TestBatchClose: what waits and what is under way ends, and nothing begins.
func TestBatchClose(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), spec)
	tok := newTokenizer(t)
	b := NewBatch(BatchOptions{Most: 2})
	var done sync.WaitGroup
	begun := make(chan bool, 2)
	for range 5 {
		done.Go(func() {
			n := 0
			for _, err := range b.Stream(t.Context(), m, tok, prompt, Options{MaxTokens: -1}) {
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				if n++; n == 3 {
					begun <- true
				}
			}
			t.Error("an answer without end has come to one")
		})
	}
	<-begun
	<-begun
	b.Close()
	done.Wait()
	b.Close()
	if _, err := b.Session(m); !errors.Is(err, ErrClosed) {
		t.Errorf("a session of a closed batch: %v", err)
	}
}

// choosy refuses memory for a cache of so many rows, which only one sequence asks for.
type choosy struct {
	compute.Device
	rows int
}

var errChoosy = errors.New("not this one")

func (c *choosy) Alloc(shape compute.Shape, t compute.DType) (compute.Buffer, error) {
	if t == compute.F32 && len(shape) == 2 && shape[0] == c.rows {
		return nil, fmt.Errorf("%w: %w", compute.ErrNoMemory, errChoosy)
	}
	return c.Device.Alloc(shape, t)
}

// TestBatchErrors: one session's failure is no other's.
func TestBatchErrors(t *testing.T) {
	t.Parallel()
	dev := &choosy{Device: newCPU(t), rows: 512}
	long := modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": vocab, "max_position_embeddings": 1024}}
	m := modeltest.Load(t, dev, long)
	b := newBatch(t, BatchOptions{Exact: true})
	tok := newTokenizer(t)
	var done sync.WaitGroup
	for i := range 6 {
		done.Go(func() {
			p, n := modeltest.Sequence(100+i), 100
			if i == 3 { // without a limit its cache has room for 256, and would grow to 512 while the others go on
				p, n = modeltest.Sequence(233), -1
			}
			ids, _, err := tokensOf(b.Stream(t.Context(), m, tok, p, Options{MaxTokens: n}))
			switch {
			case i == 3 && (!errors.Is(err, errChoosy) || len(ids) < 20):
				t.Errorf("the answer that grows: %d tokens, %v", len(ids), err)
			case i != 3 && (err != nil || len(ids) != n):
				t.Errorf("answer %d: %d tokens, %v", i, len(ids), err)
			}
		})
	}
	done.Wait()
	if _, _, err := tokensOf(b.Stream(t.Context(), m, tok, []int32{vocab}, Options{MaxTokens: 3})); err == nil || !strings.Contains(err.Error(), "vocabulary") {
		t.Errorf("a token that the model does not have: %v", err)
	}
	if _, _, err := tokensOf(b.Stream(t.Context(), m, tok, prompt, Options{MaxTokens: 3, Sampling: Sampling{Temp: -1}})); err == nil {
		t.Error("a negative temperature passed")
	}
}
