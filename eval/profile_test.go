package eval

import (
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/profile"
)

func TestMealQuestions(t *testing.T) {
	p := &profile.Profile{ID: "anna", Diet: []string{"vegan"}}
	questions := MealQuestions(p)
	if len(questions) < 30 {
		t.Errorf("%d questions", len(questions))
	}
	for _, q := range questions {
		if q.Profile != "anna" || q.Kind != score.Profile || !strings.Contains(q.System, "vegan") || !strings.HasSuffix(q.Question, "?") && !strings.HasSuffix(q.Question, ".") {
			t.Errorf("%+v", q)
		}
		if hits := p.Scan(q.Question); len(hits) > 0 && q.Question != "How do I make pancakes?" && q.Question != "Give me a recipe for a cake." {
			t.Errorf("%s: %v", q.Question, hits)
		}
	}
}

// TestProfileMark: what the profile rules out makes an answer wrong, and is counted per profile.
func TestProfileMark(t *testing.T) {
	p := &profile.Profile{ID: "anna", Avoid: []string{"nuts"}, Diet: []string{"vegetarian"}, Dislikes: []string{"coriander"}}
	v := Evaluation{Profiles: []*profile.Profile{p}}
	asks := MealQuestions(p)[:4]
	for answer, want := range map[string]score.Mark{
		"Fry tofu without almonds, with coriander.": {Right: true},
		"Add almonds.": {Broken: []string{"almonds: nuts"}, Allergens: true, Why: "it has almonds: nuts"},
		"Add ham.":     {Broken: []string{"ham: vegetarian"}, Why: "it has ham: vegetarian"},
		" ":            {Why: "empty"},
	} {
		got := v.mark(&asks[0], answer, "")
		if got.Right != want.Right || strings.Join(got.Broken, ", ") != strings.Join(want.Broken, ", ") || got.Allergens != want.Allergens || got.Why != want.Why {
			t.Errorf("%s: %+v, expected %+v", answer, got, want)
		}
	}
	said := [][2]string{{"Rice.", "Rice."}, {"Nuts.", "Rice."}, {"Ham.", "Rice."}, {"Ham.", "Nuts."}} // base, tuned
	var answered []score.Answered
	for i, s := range said {
		a := score.Answered{Question: asks[i]}
		for _, text := range s {
			a.Replies = append(a.Replies, score.Reply{Answer: text, Mark: v.mark(&asks[i], text, "")})
		}
		answered = append(answered, a)
	}
	r := score.Results{Columns: []score.Column{{Name: "base", Against: -1}, {Name: "tuned", Adapter: "a"}}, Answered: answered}
	r.Rows = score.Rows(r.Columns, answered, 1)
	broken, allergens := r.Row(score.Violations, score.Profile), r.Row(score.Allergens, score.Profile)
	if broken == nil || allergens == nil {
		t.Fatalf("rows %+v", r.Rows)
	}
	if broken.Title() != "Answers against anna" || broken.Scores[0].Mean != 0.75 || broken.Scores[1].Mean != 0.25 || broken.Against[1].Won != 2 || broken.Against[1].Lost != 0 {
		t.Errorf("violations %+v, %+v", broken, broken.Against[1])
	}
	if allergens.Scores[0].Mean != 0.25 || allergens.Scores[1].Mean != 0.25 || !(broken.Scores[1].Low < 0.25 && broken.Scores[1].High > 0.25) {
		t.Errorf("allergens %+v", allergens)
	}
	requirements, err := score.Requirements("require", "violations<=0.2")
	if err != nil {
		t.Fatal(err)
	}
	if met, value, err := requirements[0].Met("require", &r); met || value != 0.25 || err != nil {
		t.Errorf("violations<=0.2: %v %g %v", met, value, err)
	}
}

// TestProfileMissing: a question for a profile that nobody gave is refused.
func TestProfileMissing(t *testing.T) {
	v := Evaluation{Questions: []score.Question{{Question: "Lunch?", Kind: score.Profile, Profile: "ben"}}}
	if err := v.profiles(); err == nil || !strings.Contains(err.Error(), `profile "ben"`) {
		t.Errorf("%v", err)
	}
	v.Profiles = []*profile.Profile{{ID: "ben", Diet: []string{"vegan"}}}
	v.Questions[0].System = "Be brief."
	for range 2 { // once
		if err := v.profiles(); err != nil || strings.Count(v.Questions[0].System, "vegan (nothing") != 1 || !strings.HasPrefix(v.Questions[0].System, "Be brief.") {
			t.Errorf("%v %q", err, v.Questions[0].System)
		}
	}
}
