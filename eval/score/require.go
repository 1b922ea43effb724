package score

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/fault"
)

// A Requirement is a limit for one figure of the results: "recall>=0.8".
type Requirement struct {
	Figure string
	Sign   string
	Limit  float64
}

func (r Requirement) String() string { return fmt.Sprintf("%s%s%g", r.Figure, r.Sign, r.Limit) }

// A figureOf gives one figure of results, and whether they have it; what it needs is for messages.
type figureOf struct {
	name, needs string
	value       func(*Results) (float64, bool)
}

// figures can be required. They are those of the tuned column.
var figures = []figureOf{
	{"right", "questions", share(Right, "")},
	{"recall", "questions of kind trained", share(Right, Trained)},
	{"unseen", "questions of kind unseen", share(Right, Unseen)},
	{"restraint", "questions of kind unanswerable", share(Right, Unanswerable)},
	{"profile", "questions of kind profile", share(Right, Profile)},
	{"general", "questions of kind general", share(Right, General)},
	{"violations", "a profile", func(r *Results) (worst float64, found bool) {
		for _, row := range r.Rows {
			if row.Metric == Violations {
				worst, found = max(worst, row.Scores[r.Tuned()].Mean), true
			}
		}
		return worst, found
	}},
	{"made_up", "questions without choices", share(MadeUp, "")},
	{"f1", "questions with a reference answer", share(F1, "")},
	{"gain", "an adapter", func(r *Results) (float64, bool) {
		row := r.Row(Right, "")
		if row == nil || row.Against[r.Tuned()] == nil {
			return 0, false
		}
		return row.Against[r.Tuned()].Difference.Mean, true
	}},
	{"forgetting", "an adapter and a general text", func(r *Results) (float64, bool) {
		f := r.Forgetting()
		return f, r.Tuned() > 0 && !math.IsNaN(f)
	}},
}

func share(metric string, k Kind) func(*Results) (float64, bool) {
	return func(r *Results) (float64, bool) {
		row := r.Row(metric, k)
		if row == nil || row.N == 0 {
			return 0, false
		}
		return row.Scores[r.Tuned()].Mean, true
	}
}

// Requirements reads "recall>=0.8, forgetting<=5%".
func Requirements(setting fault.Setting, text string) (out []Requirement, err error) {
	var names []string
	for _, f := range figures {
		names = append(names, f.name)
	}
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' }) {
		part = strings.TrimSpace(part)
		at := strings.IndexAny(part, "<>=")
		if at < 0 {
			return nil, fault.Given(setting, text, "%q has no limit", part).Try("Write it as in: recall>=0.8, forgetting<=0.05")
		}
		r := Requirement{Figure: strings.TrimSpace(part[:at]), Sign: part[at : at+1]}
		rest := part[at+1:]
		if strings.HasPrefix(rest, "=") {
			r.Sign, rest = r.Sign+"=", rest[1:]
		}
		if r.Figure = strings.ReplaceAll(r.Figure, "-", "_"); !slices.Contains(names, r.Figure) {
			return nil, fault.Given(setting, text, "there is no figure %q", r.Figure).Try("The figures are %s.", strings.Join(names, ", "))
		}
		number, isPercent := strings.CutSuffix(strings.TrimSpace(rest), "%")
		if r.Limit, err = strconv.ParseFloat(strings.TrimSpace(number), 64); err != nil || math.IsNaN(r.Limit) {
			return nil, fault.Given(setting, text, "%q is no number", strings.TrimSpace(rest)).Try("Write it as in: recall>=0.8, forgetting<=0.05")
		}
		if isPercent {
			r.Limit /= 100
		}
		out = append(out, r)
	}
	return out, nil
}

// Asked refuses a requirement that questions, or the lack of an adapter, cannot lead to, before any is asked.
func (r Requirement) Asked(setting fault.Setting, questions []Question, adapted bool) error {
	kind, of := map[string]Kind{"recall": Trained, "unseen": Unseen, "restraint": Unanswerable, "profile": Profile, "general": General}[r.Figure]
	missing := of && !slices.ContainsFunc(questions, func(q Question) bool { return q.Kind == kind })
	if missing || !adapted && (r.Figure == "gain" || r.Figure == "forgetting") {
		return r.missing(setting)
	}
	return nil
}

// missing is the mistake that results do not have the figure.
func (r Requirement) missing(setting fault.Setting) error {
	f := figures[slices.IndexFunc(figures, func(f figureOf) bool { return f.name == r.Figure })]
	return fault.Given(setting, r.String(), "%s is not measured: it needs %s", r.Figure, f.needs)
}

// Met tells whether results keep a requirement, and the figure. One that they do not have is a mistake.
func (r Requirement) Met(setting fault.Setting, results *Results) (met bool, value float64, err error) {
	f := figures[slices.IndexFunc(figures, func(f figureOf) bool { return f.name == r.Figure })]
	value, ok := f.value(results)
	if !ok {
		return false, 0, r.missing(setting)
	}
	switch r.Sign {
	case ">=":
		met = value >= r.Limit
	case "<=":
		met = value <= r.Limit
	case ">":
		met = value > r.Limit
	case "<":
		met = value < r.Limit
	default:
		met = value == r.Limit
	}
	return met, value, nil
}
