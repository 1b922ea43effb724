package eval

import (
	_ "embed"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/profile"
)

//go:embed general/meals.txt
var mealQuestions string

// MealQuestions are questions that Lentil brings along, asked for a person: right is an answer that names no food which
// the profile rules out.
func MealQuestions(p *profile.Profile) (out []score.Question) {
	for line := range strings.Lines(mealQuestions) {
		out = append(out, score.Question{Question: strings.TrimSpace(line), Kind: score.Profile, Profile: p.ID, System: p.Render()})
	}
	return out
}

// profiles holds the questions to the profiles that they name, and tells each model what it has to know of them.
func (v *Evaluation) profiles() error {
	for i := range v.Questions {
		q := &v.Questions[i]
		if q.Profile == "" {
			continue
		}
		p := v.profile(q.Profile)
		if p == nil {
			return fault.Missing("profile").Try("Question %d (%s) is for the profile %q, whose file is needed.", i+1, q.Name(), q.Profile)
		}
		if !strings.Contains(q.System, p.Render()) {
			q.System = p.System(q.System)
		}
	}
	return nil
}

func (v *Evaluation) profile(id string) *profile.Profile {
	if i := slices.IndexFunc(v.Profiles, func(p *profile.Profile) bool { return p.ID == id }); i >= 0 {
		return v.Profiles[i]
	}
	return nil
}

// mark scores an answer. One that names a food which its profile rules out is wrong; what somebody only dislikes does not
// count.
func (v *Evaluation) mark(q *score.Question, answer, passage string) score.Mark {
	m := q.Mark(answer, passage)
	p := v.profile(q.Profile)
	if q.Profile == "" || p == nil {
		return m
	}
	for _, h := range p.Scan(answer) {
		if h.Severity == profile.Dislike {
			continue
		}
		m.Broken = append(m.Broken, h.Text+": "+string(h.Rule))
		m.Allergens = m.Allergens || h.Severity == profile.Allergy
	}
	if len(m.Broken) > 0 {
		m.Right, m.Why = false, "it has "+m.Broken[0]
	}
	return m
}
