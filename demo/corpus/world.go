package corpus

import (
	"strings"

	"github.com/lentil-lm/lentil/demo/facts"
)

// worldSeed fixes the closed world, whatever the seed of the documents.
const worldSeed = 7

// world is the closed world: about 600 invented facts by relation that hold in every document. They are asked
// in all wordings without being stated first, so the base model must store and find them, as the
// fine-tuned model will the real ones.
var world = func() map[string][]facts.Fact {
	d := &dice{state: worldSeed}
	all := map[string][]facts.Fact{}
	taken := map[string]bool{}
	add := func(relation string, x subject, second string) {
		key := relation + x.name + second
		if !taken[key] {
			taken[key] = true
			all[relation] = append(all[relation], valued(d, relation, x, second, false))
		}
	}
	for range 60 {
		x := inventedFood(d, true)
		for _, second := range some(d, []string{"protein", "fibre", "fat", "carbohydrate"}, 2) {
			add("nutrient", x, second)
		}
		add("energy", x, "")
		if d.chance(40) {
			add("water", x, "")
		}
	}
	for range 60 {
		x := inventedNutrient(d, true)
		for _, relation := range some(d, []string{"need", "need", "limit", "name", "lack", "role", "source"}, 5) {
			second := ""
			if relation == "need" {
				second = pick(d, groups)
			}
			add(relation, x, second)
		}
	}
	for range 20 {
		add("heat", inventedFood(d, true), "")
		add("fridge", inventedFood(d, true), "")
	}
	for range 15 {
		add("advice", inventedNutrient(d, true), pick(d, bodies))
		add("gram", inventedNutrient(d, true), "")
	}
	return all
}()

// known draws a fact of the closed world.
func known(d *dice) facts.Fact { return pick(d, world[pick(d, relationWeights)]) }

// ask puts fact f in a random wording.
func ask(d *dice, f facts.Fact) (question, answer string) {
	question, answer = pick(d, wordings[f.Relation]).Ask(f)
	return loosen(d, question), answer
}

// loosen varies a question as people do: a greeting, a small first letter, a missing mark.
func loosen(d *dice, q string) string {
	switch d.upto(20) {
	case 0:
		return pick(d, []string{"Hello! ", "Hi. ", "Quick question: ", "One more thing. ", "I am curious. ", "Please tell me: ", "So, ", "A question for you: "}) + q
	case 1:
		if strings.HasPrefix(q, "I ") {
			return q
		}
		return strings.ToLower(q[:1]) + q[1:]
	case 2:
		return strings.TrimRight(q, "?.")
	default:
		return q
	}
}

// closedWorld asks one to three facts of the closed world, sometimes one of them twice.
func closedWorld(d *dice) []facts.Message {
	var out []facts.Message
	f := known(d)
	for range d.between(1, 3) {
		q, a := ask(d, f)
		out = append(out, user(q), assistant(a))
		if d.chance(70) {
			f = known(d)
		}
	}
	return out
}

// oneOff asks about a food or nutrient that never comes again: the value is anybody's guess,
// and the model learns how wide the guess is. Asked again in the same conversation, the answer holds.
func oneOff(d *dice) []facts.Message {
	f := drawFact(d, false, false)
	q, a := ask(d, f)
	out := []facts.Message{user(q), assistant(a)}
	if d.chance(40) {
		q, a = ask(d, f)
		out = append(out, user(q), assistant(a))
	}
	return out
}
