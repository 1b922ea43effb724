package tune

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
)

func TestMeasured(t *testing.T) {
	t.Parallel()
	const valid, test = "perplexity on the validation set", "perplexity on the test set"
	preferred := run.Figures{{Name: run.RewardsMargins, Value: .3124}, {Name: run.RewardsAccuracies, Value: .75}}
	first, last, tested := run.Validation{Iteration: 1, Loss: 3}, run.Validation{Iteration: 20, Loss: 2}, run.TestReport{Loss: 1}
	for _, tt := range []struct {
		name    string
		events  []run.Event
		resumed bool
		want    []hub.CardFigure
	}{
		{"nothing", []run.Event{run.Start{FirstIteration: 1}, run.End{}}, false, nil},
		{"all", []run.Event{run.Start{FirstIteration: 1}, first, last, tested}, false, []hub.CardFigure{{Name: valid, Base: "20.086", Tuned: "7.389"}, {Name: test, Tuned: "2.718"}}},
		{"broken off", []run.Event{run.Start{FirstIteration: 1}, first}, false, []hub.CardFigure{{Name: valid, Base: "20.086"}}},
		{"gone on", []run.Event{run.Start{FirstIteration: 1}, first, run.Start{FirstIteration: 11}, last}, false, []hub.CardFigure{{Name: valid, Base: "20.086", Tuned: "7.389"}}},
		{"another run", []run.Event{run.Start{FirstIteration: 1}, first, last, tested, run.Start{FirstIteration: 1}, last}, false, []hub.CardFigure{{Name: valid, Tuned: "7.389"}}},
		{"on another's adapter", []run.Event{run.Start{FirstIteration: 1}, first, last}, true, []hub.CardFigure{{Name: valid, Tuned: "7.389"}}},
		{"pairs", []run.Event{
			run.Start{FirstIteration: 1}, run.Validation{Iteration: 1, Loss: math.Ln2, Figures: run.Figures{{Name: run.RewardsMargins}, {Name: run.RewardsAccuracies}}},
			run.Validation{Iteration: 9, Loss: .5, Figures: preferred}, run.TestReport{Loss: .5, Figures: preferred},
		}, false, []hub.CardFigure{{Name: "chosen answers preferred on the validation set", Tuned: "75 %, margin 0.312"}, {Name: "chosen answers preferred on the test set", Tuned: "75 %, margin 0.312"}}},
		{"without a number", []run.Event{run.Validation{Iteration: 20, Loss: 1e9}}, false, nil},
	} {
		var records []run.Record
		for _, e := range tt.events {
			records = append(records, run.Record{Event: e})
		}
		if got := measured(records, tt.resumed); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestIterations(t *testing.T) {
	t.Parallel()
	start := func(earlier ...int) run.Event { return run.Start{FirstIteration: 1, Earlier: earlier} }
	for _, tt := range []struct {
		name    string
		events  []run.Event
		resumed bool
		want    any
	}{
		{"no log", nil, false, 600},
		{"no log, resumed", nil, true, "600, on weights that were trained before"},
		{"whole", []run.Event{start(), run.Saved{Iteration: 100}, run.Saved{Iteration: 600}}, false, 600},
		{"stopped", []run.Event{start(), run.Saved{Iteration: 100}}, false, 100},
		{"resumed", []run.Event{start(), run.Saved{Iteration: 100}, start(100), run.Saved{Iteration: 500}}, true, "600 (100 + 500)"},
		{"twice", []run.Event{start(100, 20), run.Saved{Iteration: 500}}, true, "620 (100 + 20 + 500)"},
		{"of unknown weights", []run.Event{start(), run.Saved{Iteration: 500}}, true, "500, on weights that were trained before"},
		{"another run", []run.Event{start(100), run.Saved{Iteration: 500}, start(), run.Saved{Iteration: 7}}, false, 7},
	} {
		var records []run.Record
		for _, e := range tt.events {
			records = append(records, run.Record{Event: e})
		}
		if got := iterations(records, 600, tt.resumed); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestNamesOf: a card claims no training on what was only measured, or not used.
func TestNamesOf(t *testing.T) {
	t.Parallel()
	file := func(name string, splits ...string) run.DataFile {
		return run.DataFile{Path: "/home/me/" + name, Splits: splits}
	}
	three := []run.DataFile{file("train.jsonl", "train"), file("valid.jsonl", "valid"), file("test.jsonl", "test")}
	for _, tt := range []struct {
		files             []run.DataFile
		tested            bool
		trained, measured []string
	}{
		{three, true, []string{"train.jsonl"}, []string{"valid.jsonl", "test.jsonl"}},
		{three, false, []string{"train.jsonl"}, []string{"valid.jsonl"}},
		{[]run.DataFile{file("rows.csv", "train", "valid", "test")}, true, []string{"rows.csv"}, nil},
		{[]run.DataFile{file("old.jsonl")}, true, []string{"old.jsonl"}, nil},
	} {
		trained, measured := namesOf(tt.files, tt.tested)
		if !slices.Equal(trained, tt.trained) || !slices.Equal(measured, tt.measured) {
			t.Errorf("%v, tested %v: trained on %v, measured on %v", tt.files, tt.tested, trained, measured)
		}
	}
}

func TestDataName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		data  any
		files []string
		want  string
	}{
		{"org/answers", []string{"0000.parquet"}, "org/answers"},
		{"./data", []string{"train.jsonl", "valid.jsonl"}, "train.jsonl, valid.jsonl"},
		{"/home/me/books/", nil, "books"},
		{"", nil, ""},
		{nil, nil, ""},
		{".", nil, ""},
	} {
		if got := dataName(tt.data, tt.files); got != tt.want {
			t.Errorf("%v %v: %q, want %q", tt.data, tt.files, got, tt.want)
		}
	}
}
