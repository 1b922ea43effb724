package tune

import (
	"reflect"
	"testing"

	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
)

func TestMeasured(t *testing.T) {
	t.Parallel()
	const valid, test = "perplexity on the validation set", "perplexity on the test set"
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
