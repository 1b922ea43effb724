package generate

import (
	"slices"
	"sync"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// eager hides that a device compiles.
type eager struct{ compute.Device }

// alike compares the answers that a device gives to prompts, one by one and together, with those that it gives where no pass is
// compiled. The prompts are so long that caches grow meanwhile.
func alike(t *testing.T, spec modeltest.Spec, dev compute.Device, from, answers, n int) {
	t.Helper()
	tok := newTokenizer(t)
	said := func(dev compute.Device, together bool) [][]int32 {
		m := modeltest.Load(t, dev, spec)
		b := NewBatch(BatchOptions{RowWise: true})
		defer b.Close()
		all := make([][]int32, answers)
		var done sync.WaitGroup
		for i := range all {
			s, err := NewSession(m, 0, false)
			if together {
				s, err = b.Session(m)
			}
			if err != nil {
				t.Fatal(err)
			}
			o := Options{MaxTokens: n + i, Seed: uint64(i), PrefillStep: 64}
			if i%2 == 1 {
				o.Sampling = Sampling{Temp: 0.9, TopP: 0.9}
			}
			answer := func() {
				defer s.Close()
				if all[i], _, err = tokensOf(s.Stream(t.Context(), tok, modeltest.Sequence(from+i), o)); err != nil {
					t.Error(err)
				}
			}
			if together {
				done.Go(answer)
			} else {
				answer()
			}
		}
		done.Wait()
		return all
	}
	for _, together := range []bool{false, true} {
		got, want := said(dev, together), said(eager{dev}, together)
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Errorf("together %v, answer %d: %v with compiled passes, %v without", together, i, got[i], want[i])
			}
		}
	}
}

// TestAgain: a device that compiles passes gives the answers of one that does not.
func TestAgain(t *testing.T) {
	t.Parallel()
	async := beside(t)
	alike(t, spec, async, 245, 4, 30)
	if c := async.Take(); c.Programs < 4*20+20 {
		t.Errorf("%d passes were compiled ones", c.Programs)
	}
}
