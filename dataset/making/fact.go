package making

import (
	"encoding/json"
	"hash/fnv"
	"strings"

	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/profile"
)

// A Kind says what a row is about.
type Kind string

// The kinds of rows that are made without a model.
const (
	Numbers    Kind = "numbers"    // figures of tables and sentences
	Cell       Kind = "table"      // words of tables
	Definition Kind = "definition" // what something is
	Why        Kind = "why"        // reasons
	ListOf     Kind = "list"
	HowTo      Kind = "how-to" // steps, recipes
	Compare    Kind = "compare"
	Section    Kind = "section"      // what stands below a heading
	Unknown    Kind = "unanswerable" // the books do not tell
	Mixed      Kind = "mixed"        // rows of --mix
)

// A fact is what a page states, with the questions that it answers.
type fact struct {
	kind Kind
	by   string // the rule that found it: "table", "sentence", ...
	// asks are the wordings of the question. The first is for measuring and comes into no row of the training data;
	// an empty one says that the fact is not measured.
	asks    []string
	answers []string // ways of saying the answer
	about   string   // what it is a fact of: "butter"; "" where that is no simple thing
	wrong   string   // an answer of the same form that is wrong, for pairs; "" for none
	quote   string   // of the page, word for word but for white space
	must    []score.Fact
	passage *Passage
	block   int

	// Of rows that a model wrote:
	model   string
	profile *profile.Profile // of the user; nil for none
	more    []string         // a second question and its answer
	second  *Passage         // that the answer is from as well; nil for none

	byMeaning bool   // near was found by vectors
	near      *fact  // that it is nearly the same as; nil for none
	moved     string // the split that it was put into for that; "" for that of its passage
}

// id names a fact by what it is, whatever else is in the book.
func (f *fact) id() uint64 {
	h := fnv.New64a()
	for _, s := range []string{string(f.kind), f.by, f.quote, strings.Join(f.asks, "\x00")} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return h.Sum64()
}

// figureFacts is what an answer has to tell of a value: its figures with their units.
func figureFacts(value string) (out []score.Fact) {
	for _, f := range figures(value) {
		out = append(out, score.Fact{Figure: strings.TrimRight(value[f.from:f.end], " .")})
	}
	return out
}

func termFacts(words []string) (out []score.Fact) {
	for _, w := range words {
		out = append(out, score.Fact{Term: w})
	}
	return out
}

// question is the fact as it is measured.
func (f *fact) question(kind score.Kind) score.Question {
	q := score.Question{Question: f.asks[0], Answer: f.answers[0], Facts: f.must, Kind: kind, Page: f.passage.place()}
	if f.profile != nil {
		q.Kind, q.System = score.Profile, f.profile.Render()
	}
	return q
}

// sound tells whether the fact's own answers are right by the rules that measure them, and whether what they are is in
// no wording of the question. A fact that is not sound teaches, but does not measure.
func (f *fact) sound() bool {
	if f.asks[0] == "" || len(f.must) == 0 {
		return false
	}
	q := f.question(score.Trained)
	line, err := json.Marshal(q)
	if err != nil {
		return false
	}
	if _, err := score.Parse("", line); err != nil { // a figure that is none to those who measure
		return false
	}
	for _, a := range f.answers {
		if !q.Mark(a, "").Right {
			return false
		}
	}
	return !q.Mark(q.Question, "").Right
}
