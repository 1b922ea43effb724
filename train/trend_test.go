package train

import (
	"math"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/run"
)

// TestRisingLoss: a learning rate that makes the model worse is told, once; one that
// does not is not.
func TestRisingLoss(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for _, test := range []struct {
		lr          float64
		iters       int
		validations int
		warnings    int
	}{{0.3, 12, 0, 1}, {0.3, 22, -1, 1}, {0.3, 6, -1, 1}, {1e-3, 12, -1, 0}, {0, 12, 0, 0}} {
		o := options()
		o.Iters, o.BatchSize = 10, 12
		tr, l := newTrainer(t, dev, o)
		tr.Valid = tr.Train
		if _, err := tr.Run(t.Context()); err != nil { // now it has something to lose
			t.Fatal(err)
		}
		l.events = nil
		tr.Options.Schedule, tr.Options.Iters, tr.Options.ValBatches = Constant(test.lr), test.iters, test.validations
		if _, err := tr.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := eventsOf[run.Warning](l)
		if len(got) != test.warnings {
			t.Errorf("%+v: %v", test, got)
		}
		for _, w := range got {
			if text := w.Text.String(); !strings.Contains(text, "the loss has risen from ") || !strings.Contains(text, "learning rate of 0.3 ") || !strings.Contains(text, "a smaller learning_rate") {
				t.Errorf("%+v: %s", test, text)
			}
		}
	}
}

func TestTrend(t *testing.T) {
	t.Parallel()
	first := func(losses ...float64) (list []before) {
		for _, loss := range losses {
			list = append(list, before{loss, 1})
		}
		return list
	}
	for name, c := range map[string]struct {
		before []before
		losses []float64
		want   float64 // mean at the warning; 0: none
	}{
		"steady":              {first(2), []float64{2, 3, 2, 1, 2, 3, 2, 1, 2, 2, 2, 2, 2, 2}, 0},
		"risen":               {first(2), []float64{4, 4.5, 4, 4, 3.5, 4, 4, 4.5, 3.5, 4}, 4},
		"at the end":          {first(2), []float64{4, 4, 4, 4, 4}, 4},
		"too few steps":       {first(2), []float64{4, 4, 4, 4}, 0},
		"a hard batch":        {first(2), []float64{9, 2, 2, 2, 2, 2, 2, 2, 2, 2}, 0},
		"an easy first batch": {first(1.5), []float64{2, 3, 2, 1, 2, 3, 2, 1, 2, 2}, 0},
		"a little":            {first(2), []float64{2.1, 2.1, 2.1, 2.1, 2.1}, 0},
		"of the highest":      {first(1, 3), []float64{3.2, 3.2, 3.2, 3.2, 3.2}, 0},
		"of many batches":     {[]before{{2, 25}}, []float64{2.5, 3, 2, 2.5, 3, 2, 2.5, 3, 2, 2.5}, 2.5},
		"of one batch":        {[]before{{2, 1}}, []float64{2.5, 3, 2, 2.5, 3, 2, 2.5, 3, 2, 2.5}, 0},
		"nothing before":      {nil, []float64{4, 4, 4, 4, 4}, 0},
		"before is no number": {first(math.NaN()), []float64{4, 4, 4, 4, 4}, 0},
		"told once":           {first(1), []float64{4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9}, 4},
	} {
		tr := trend{before: c.before}
		var got []float64
		for i, loss := range c.losses {
			if _, to, risen := tr.add(loss, i == len(c.losses)-1); risen {
				got = append(got, to)
			}
		}
		if c.want == 0 && got != nil || c.want != 0 && (len(got) != 1 || got[0] != c.want) {
			t.Errorf("%s: warned at %v, want %v", name, got, c.want)
		}
	}
}
