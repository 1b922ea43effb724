package making

import (
	"math/rand/v2"
	"strings"

	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/profile"
)

// ForUser is the kind of rows that depend on what is known of the user.
const ForUser Kind = "profile"

// Numbers of rows for users.
const (
	profileShare    = 0.25 // of the other rows for training, which get a profile that their answer keeps
	usersOfRecipe   = 2    // profiles that a recipe is held against
	mostProfiled    = 40   // questions for measuring
	mostIngredients = 4    // that break a rule and are named
)

// forUsers makes facts of a recipe and profiles: whether someone may eat it, by its ingredients.
func (m *maker) forUsers(p *Passage, block int, dish string, ingredients []string, quote string) {
	users := m.opt.Profiles
	dice := rand.New(rand.NewPCG(m.opt.Seed, uint64(len(dish))<<32+uint64(block)))
	for _, at := range dice.Perm(len(users))[:min(usersOfRecipe, len(users))] {
		user := users[at]
		f := &fact{kind: ForUser, by: "profile", passage: p, block: block, quote: quote, profile: user, asks: []string{
			"Would " + dish + " be something for me?",
			"Can I eat " + dish + "?",
			"I think of making " + dish + ". Does it keep to my rules?",
			"Is " + dish + " right for someone like me?",
		}}
		var bad, why []string
		for _, it := range ingredients {
			if hits := user.Scan(it); len(hits) > 0 && len(bad) < mostIngredients {
				bad = append(bad, it)
				why = append(why, string(hits[0].Rule))
				f.must = append(f.must, score.Fact{Term: hits[0].Text})
			}
		}
		if len(bad) > 0 {
			f.answers = []string{
				"No, not as the recipe is: it takes " + series(bad) + ", which breaks a rule of yours (" + series(distinct(why)) + ").",
				"Better not. Its ingredients are against your rules (" + series(distinct(why)) + "): " + series(bad) + ".",
			}
		} else {
			f.asks[0] = "" // a bare yes would be right
			f.answers = []string{
				"Yes: none of its ingredients breaks a rule of yours. It takes " + series(ingredients) + ". Look at the labels of what you buy all the same.",
				"As far as its ingredients tell, yes: " + series(ingredients) + ". Labels of what you buy tell the rest.",
			}
		}
		m.add(f)
	}
}

// series writes "a, b and c".
func series(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " and " + list[last]
}

func distinct(list []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// profiled gives some rows for training a profile that their answer keeps: a model that is told of a user goes on to know
// what the books say.
func (m *maker) profiled(made *Made) {
	users := m.opt.Profiles
	if len(users) == 0 {
		return
	}
	for i := range made.Rows {
		r := &made.Rows[i]
		if r.Split != "train" || r.Profile != nil || r.mixed != nil {
			continue
		}
		dice := rand.New(rand.NewPCG(m.opt.Seed+1, r.fact.id()+uint64(len(r.Question))))
		if dice.Float64() >= profileShare {
			continue
		}
		if user := users[dice.IntN(len(users))]; keeps(user, r) {
			r.Profile = user
		}
	}
}

// keeps tells whether a row names nothing that breaks a rule of the user's.
func keeps(user *profile.Profile, r *Row) bool {
	return len(user.Scan(r.Question)) == 0 && len(user.Scan(r.Answer)) == 0 && len(user.Scan(strings.Join(r.More, "\n"))) == 0
}
