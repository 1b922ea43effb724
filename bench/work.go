package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// Answers is the work of reading random prompts and writing answers that no token ends.
type Answers struct {
	Prompt, Generate int  // tokens of a prompt and of its answer
	Batch            int  // answers, at the same time
	PrefillStep      int  // tokens of the prompt at a time
	Exact            bool // float32 all the way, instead of 8-bit activations and a 16-bit cache
}

// Check refuses settings that nothing can be measured with.
func (a Answers) Check() error {
	return cmp.Or(atLeast("prompt_tokens", a.Prompt, 1), atLeast("generation_tokens", a.Generate, 1),
		atLeast("batch_size", a.Batch, 1), atLeast("prefill_step_size", a.PrefillStep, 1))
}

func (a Answers) begin(b *Bench) (passes, error) {
	return func(ctx context.Context, n int, each func([]Phase, Trial) error) error {
		for range n {
			phases, t, err := a.once(ctx, b)
			if err == nil {
				err = each(phases, t)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (a Answers) warmUp(compute.Device) int { return 1 }

func (a Answers) once(ctx context.Context, b *Bench) ([]Phase, Trial, error) {
	session := func() (*generate.Session, error) { return generate.NewSession(b.Model, 0, a.Exact) }
	if a.Batch > 1 {
		batch := generate.NewBatch(generate.BatchOptions{Most: a.Batch, PrefillStep: a.PrefillStep, Exact: a.Exact})
		defer batch.Close()
		session = func() (*generate.Session, error) { return batch.Session(b.Model) }
	}
	var sessions []*generate.Session
	defer func() {
		for _, s := range sessions {
			s.Close()
		}
	}()
	for range a.Batch {
		s, err := session()
		if err != nil {
			return nil, Trial{}, err
		}
		sessions = append(sessions, s)
	}
	random := rand.New(rand.NewPCG(0, 0))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var read Phase
	start := time.Now()
	begun, missing, mu := make(chan struct{}), a.Batch, sync.Mutex{}
	arrive := func() { // at the first token, which comes from the prompt's last
		mu.Lock()
		defer mu.Unlock()
		if missing--; missing == 0 {
			read = Phase{Name: "prompt", Seconds: time.Since(start).Seconds(), Ops: b.dev.take()}
			start = time.Now()
			close(begun)
		}
	}
	var done sync.WaitGroup
	for _, s := range sessions {
		prompt := b.randomTokens(random, a.Prompt)
		done.Go(func() {
			n := 0
			for _, err := range s.Tokens(ctx, prompt, generate.Options{MaxTokens: a.Generate, PrefillStep: a.PrefillStep}) {
				if err != nil {
					cancel(err)
					break
				}
				if n++; n == 1 {
					arrive()
					<-begun
				}
			}
			if n == 0 {
				arrive()
			}
		})
	}
	done.Wait()
	write := Phase{Name: "generation", Seconds: time.Since(start).Seconds(), Ops: b.dev.take()}
	if err := context.Cause(ctx); err != nil {
		return nil, Trial{}, err
	}
	t := Trial{PromptTPS: float64(a.Batch*a.Prompt) / read.Seconds, Seconds: read.Seconds + write.Seconds}
	if a.Generate == 1 {
		return []Phase{read}, t, nil
	}
	t.GenerationTPS = float64(a.Batch*(a.Generate-1)) / write.Seconds
	return []Phase{read, write}, t, nil
}

// Training is the work of a LoRA step on random rows, one of a run: what a run does once, before its first step, is not in the time
// of any. It puts an adapter on the model.
type Training struct {
	Rows           []int // tokens of each row that are learnt; it has one more, which nothing predicts
	NumLayers      int   // blocks that are trained, the last ones; -1 for all
	GradCheckpoint bool  // compute activations twice instead of keeping them
}

// Check refuses settings that nothing can be measured with.
func (w Training) Check() error {
	err := atLeast("batch_size", len(w.Rows), 1)
	for _, n := range w.Rows {
		err = cmp.Or(err, atLeast("seq_length", n, 2))
	}
	return err
}

func (w Training) begin(b *Bench) (passes, error) {
	if most := len(b.Model.Blocks); w.NumLayers > most {
		return nil, fault.Value("num_layers", w.NumLayers, fmt.Sprintf("at most %d, the layers of the model", most))
	}
	if _, err := adapter.New(b.Model, adapter.Config{Rank: 8, Scale: 20, NumLayers: w.NumLayers}, compute.NewKey(0)); err != nil {
		return nil, fault.Mark(err, compute.ErrNoMemory)
	}
	rows, tokens := w.rows(b)
	return func(ctx context.Context, n int, each func([]Phase, Trial) error) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		steps := &stepTimes{start: time.Now(), each: func(s run.Step, seconds float64) {
			p := Phase{Name: "training", Seconds: seconds, Ops: b.dev.take()}
			if err := each([]Phase{p}, Trial{TrainTPS: float64(tokens) / seconds, TrainLoss: s.Loss, Seconds: seconds}); err != nil {
				cancel(err)
			}
		}}
		_, err := w.trainer(b, rows, n, steps).Run(ctx)
		return errors.Join(context.Cause(ctx), err)
	}, nil
}

// warmUp is more than one pass where a device may prepare work that it has seen twice.
func (w Training) warmUp(dev compute.Device) int {
	if _, ok := idlerOf(dev); ok {
		return warmSteps
	}
	return 1
}

// rows are random, and always the same.
func (w Training) rows(b *Bench) (rows train.List, tokens int) {
	random := rand.New(rand.NewPCG(0, 0))
	for _, n := range w.Rows {
		rows = append(rows, train.Example{IDs: b.randomTokens(random, n+1), Loss: [][2]int{{1, n + 1}}})
		tokens += n
	}
	return rows, tokens
}

// trainer does so many steps, all on the same rows.
func (w Training) trainer(b *Bench, rows train.List, steps int, r run.Reporter) *train.Trainer {
	o := train.Defaults()
	o.BatchSize, o.Iters, o.MaxSeqLength, o.GradCheckpoint = len(rows), steps, slices.Max(w.Rows)+1, w.GradCheckpoint
	o.Schedule = train.Constant(0) // the same work, and the model stays as it is
	return &train.Trainer{Model: b.Model, Train: rows, Reporter: r, Options: o}
}

// stepTimes hears when steps are over, and tells what each took.
type stepTimes struct {
	start time.Time
	each  func(s run.Step, seconds float64)
}

func (s *stepTimes) Report(e run.Event) {
	if step, ok := e.(run.Step); ok {
		s.each(step, time.Since(s.start).Seconds())
		s.start = time.Now()
	}
}
