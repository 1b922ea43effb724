package generate

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
)

// beside makes a device that works beside its caller and counts what that waits for.
func beside(t *testing.T) *computetest.Async {
	dev := computetest.NewAsync(newCPU(t))
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// TestOneWaitPerToken: while an answer is written, the host waits once for each token, for
// the four bytes of it, and the next token's pass is queued by then.
func TestOneWaitPerToken(t *testing.T) {
	t.Parallel()
	dev := beside(t)
	m := modeltest.Load(t, dev, spec)
	for name, how := range map[string]Sampling{"greedy": {}, "sampled": {Temp: 0.8, TopP: 0.9, XTCProbability: 0.3, XTCThreshold: 0.1}} {
		const n = 12
		s := newSession(t, m, 0)
		tokens := 0
		for p, err := range s.Stream(t.Context(), newTokenizer(t), prompt, Options{MaxTokens: n, Sampling: how, Seed: 3}) {
			if err != nil {
				t.Fatal(err)
			}
			c := dev.Take()
			if tokens++; c.Reads > 1 || c.Syncs > 0 || c.Bytes > 4 {
				t.Errorf("%s, token %d: %d reads of %d bytes and %d waits for all", name, tokens, c.Reads, c.Bytes, c.Syncs)
			}
			passes := 0
			for _, op := range c.Ops {
				if op == "embed" {
					passes++
				}
			}
			want := 1
			switch tokens {
			case 1:
				want = 2 // the prompt's, and the first token's
			case n:
				want = 0
			}
			if passes != want || want > 0 && c.Behind[0] < len(m.Blocks) {
				t.Errorf("%s, token %d: %d passes were begun before it was read, want %d; %d works behind it", name, tokens, passes, want, c.Behind)
			}
			if p.Finish != "" && tokens != n {
				t.Fatalf("%s: the answer ends after %d tokens", name, tokens)
			}
		}
	}
}

// TestBeside: answers and sessions are those of a device that the host waits for, however
// an answer ends.
func TestBeside(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		if testing.Short() && v.kv.Bits == 0 && v.name != "float32" {
			continue
		}
		plain, other := load(t, newCPU(t), v.spec, 1), load(t, beside(t), v.spec, 1)
		a, b := newSession(t, plain, 0), newSession(t, other, 0)
		for _, s := range []*Session{a, b} {
			if err := s.QuantizeKV(v.kv); err != nil {
				t.Fatal(err)
			}
		}
		ids, _ := compare(t, v.name, a, b, prompt, Options{MaxTokens: 16})
		compare(t, v.name+", sampled", a, b, prompt[:5], Options{MaxTokens: 16, Seed: 5, Sampling: Sampling{Temp: 0.9, TopP: 0.95, XTCProbability: 0.5, XTCThreshold: 0.05}})
		for _, most := range []int{0, 1, 2} {
			compare(t, v.name+", short", a, b, prompt, Options{MaxTokens: most})
		}
		// The kv variant's cache is quantized from token 17 on: around there in all ways.
		for stop := range ids {
			compare(t, v.name+", stopped", a, b, prompt, Options{MaxTokens: 16, StopTokens: ids[stop : stop+1]})
			compare(t, v.name+", going on", a, b, slices.Concat(prompt, ids[:stop], []int32{3, 4}), Options{MaxTokens: 3})
			if testing.Short() && stop > 10 {
				break
			}
		}
	}
	ring, full := newSession(t, load(t, newCPU(t), modeltest.Spec{}, 1), 12), newSession(t, load(t, beside(t), modeltest.Spec{}, 1), 12)
	ids, _ := compare(t, "ring", ring, full, prompt, Options{MaxTokens: 20})
	compare(t, "ring, stopped", ring, full, prompt, Options{MaxTokens: 20, StopTokens: ids[14:15]})
}

// passes notes the ops of each forward pass of a device that the host waits for.
type passes struct {
	compute.Device
	ops [][]compute.Op
}

func (d *passes) Run(op compute.Op, out, in []compute.Buffer) error {
	if _, ok := op.(compute.RopeTable); ok {
		d.ops = append(d.ops, nil)
	}
	if n := len(d.ops); n > 0 {
		d.ops[n-1] = append(d.ops[n-1], op)
	}
	return d.Device.Run(op, out, in)
}

// TestPassesAreAlike: the ops of a token, with all that is not an input of theirs, are those
// of the token before, so that a device may run them again as they are.
func TestPassesAreAlike(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 8} {
		dev := &passes{Device: newCPU(t)}
		s := newSession(t, modeltest.Load(t, dev, spec), limit)
		answer(t, s, prompt, Options{MaxTokens: 12, Sampling: Sampling{Temp: 1, TopP: 0.9, XTCProbability: 0.5, XTCThreshold: 0.1}})
		for i := 2; i < len(dev.ops); i++ {
			for k, op := range dev.ops[i] {
				if n := len(dev.ops[i-1]); n != len(dev.ops[i]) || !reflect.DeepEqual(op, dev.ops[i-1][k]) {
					t.Fatalf("limit %d, pass %d: op %d of %d is %s %+v, which is new", limit, i+1, k, n, op.Name(), op)
				}
			}
		}
	}
}

// TestNothingInVain: where a pass takes the host's time, none is run that nobody asks for.
func TestNothingInVain(t *testing.T) {
	t.Parallel()
	dev := &passes{Device: newCPU(t)}
	s := newSession(t, modeltest.Load(t, dev, spec), 0)
	_, ids, _ := answer(t, s, prompt, Options{MaxTokens: 9})
	s.Reset()
	dev.ops = nil
	_, got, _ := answer(t, s, prompt, Options{MaxTokens: 9, StopTokens: ids[5:6]})
	if len(dev.ops) != len(got) { // the prompt's, and one for each token but the last
		t.Errorf("%d passes for %d tokens", len(dev.ops), len(got))
	}
}

// TestUnusableModel: logits that are not finite end the answer with the same words, also
// where a pass is queued behind them.
func TestUnusableModel(t *testing.T) {
	t.Parallel()
	for _, how := range []Sampling{{}, {Temp: 1}} {
		m := load(t, beside(t), modeltest.Spec{DType: quant.F32}, 1)
		if err := m.Device().Write(m.Norm.Buffer(), slices.Repeat([]byte{0, 0, 0xC0, 0x7F}, m.Config.HiddenSize)); err != nil { // NaN
			t.Fatal(err)
		}
		s := newSession(t, m, 0)
		_, _, err := s.Answer(t.Context(), newTokenizer(t), prompt, Options{MaxTokens: 5, Sampling: how})
		if err == nil || !strings.Contains(err.Error(), "output for token 0 is not a finite number") {
			t.Errorf("%+v: %v", how, err)
		}
		if s.cache.Len() != len(s.tokens) || slices.Contains(s.tokens, unknown) {
			t.Errorf("the session has seen %d, its cache %d tokens", s.tokens, s.cache.Len())
		}
		if _, err := s.Prefill(t.Context(), prompt, 3); err == nil || !strings.Contains(err.Error(), "not a finite number") {
			t.Errorf("prefill: %v", err)
		}
	}
}
