package bench

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/generate"
)

// BenchmarkTogether decodes sixteen answers in turn and then together, in alternation, and
// tells how many times as fast they are together: on 135 million random weights of 4 bits,
// after prompts of 32 tokens.
func BenchmarkTogether(b *testing.B) {
	dir := b.TempDir()
	shape, err := FindShape("smollm2-135m")
	if err == nil {
		err = shape.Write(dir, 4, 64)
	}
	if err != nil {
		b.Fatal(err)
	}
	m, err := Open(b.Context(), dir, engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	for name, o := range map[string]generate.BatchOptions{"fast": {}, "rowwise": {RowWise: true}, "exact": {Exact: true}} {
		b.Run(name, func(b *testing.B) {
			batch := generate.NewBatch(o)
			defer batch.Close()
			random := rand.New(rand.NewPCG(0, 0))
			var apart, together []*generate.Session
			var prompts [][]int32
			for range 16 {
				one, err1 := generate.NewSession(m.Model, 0, o.Exact)
				other, err2 := batch.Session(m.Model)
				if err1 != nil || err2 != nil {
					b.Fatal(err1, err2)
				}
				defer one.Close()
				defer other.Close()
				apart, together, prompts = append(apart, one), append(together, other), append(prompts, m.randomTokens(random, 32))
			}
			var inTurn, atOnce time.Duration
			for b.Loop() {
				for i, s := range apart {
					inTurn += decode(b, s, prompts[i], func() {})
				}
				var ready, done sync.WaitGroup
				ready.Add(len(together))
				times := make([]time.Duration, len(together))
				for i, s := range together {
					done.Go(func() {
						times[i] = decode(b, s, prompts[i], func() {
							ready.Done()
							ready.Wait()
						})
					})
				}
				done.Wait()
				longest := times[0]
				for _, t := range times {
					longest = max(longest, t)
				}
				atOnce += longest
			}
			b.ReportMetric(inTurn.Seconds()/atOnce.Seconds(), "times_as_fast")
			b.ReportMetric(16*decoded*float64(b.N)/atOnce.Seconds(), "tokens/s")
		})
	}
}

const decoded = 32 // tokens

// decode is the time that tokens after the first take; first is called when that is there.
func decode(b *testing.B, s *generate.Session, prompt []int32, first func()) time.Duration {
	var start time.Time
	for _, err := range s.Tokens(context.Background(), prompt, generate.Options{MaxTokens: 1 + decoded}) {
		if err != nil {
			b.Error(err)
			return 0
		}
		if start.IsZero() {
			first()
			start = time.Now()
		}
	}
	return time.Since(start)
}
