package corpus

import (
	"strings"

	"github.com/lentil-lm/lentil/demo/facts"
)

// Openings say that what follows is given, not known.
var openings = []string{
	"Suppose this is so:", "A made-up card says:", "In a game we write:", "Notes for a story:", "Let us pretend:", "On an invented label:",
	"For this exercise:", "Take this as given:", "In a tale I read:", "From an imaginary table:",
}

var thanks = []string{
	"Thank you, I will keep that in mind.", "Noted.", "Good, I have noted it.", "All right, I will remember that.", "Understood. Ask me about it when you like.",
}

// statement gives fact f as a sentence: the answer of a random wording.
func statement(d *dice, f facts.Fact) string {
	_, a := pick(d, wordings[f.Relation]).Ask(f)
	return a
}

// context states facts with values drawn for this conversation alone and asks for them in other words.
func context(d *dice) []facts.Message {
	given := drawGiven(d)
	switch d.upto(4) {
	case 0:
		return notes(d, given)
	case 1:
		return told(d, given)
	case 2:
		return table(d)
	default:
		return inOneBreath(d, given)
	}
}

// drawGiven draws two to four facts, no two with the same question. Half of them vary one fact in the subject or
// in the second part, so that both must be heeded to find the value.
func drawGiven(d *dice) []facts.Fact {
	isReal := d.chance(65)
	list := []facts.Fact{drawFact(d, isReal, false)}
	taken := map[string]bool{list[0].Relation + list[0].X + list[0].N: true}
	for range d.between(1, 3) {
		f := drawFact(d, isReal, false)
		if d.chance(60) {
			x, second := drawSubject(d, list[0].Relation, isReal, false)
			if list[0].N != "" && d.chance(40) {
				x = subject{list[0].X, list[0].Plural}
			}
			f = valued(d, list[0].Relation, x, second, isReal)
		}
		if key := f.Relation + f.X + f.N; !taken[key] {
			taken[key] = true
			list = append(list, f)
		}
	}
	return list
}

// notes gives all facts in the first turn with a question, and asks for one or two more.
func notes(d *dice, given []facts.Fact) []facts.Message {
	lines := []string{pick(d, openings)}
	for _, f := range given {
		lines = append(lines, statement(d, f))
	}
	separator := pick(d, []string{" ", "\n", "\n- "})
	var out []facts.Message
	for i, f := range some(d, given, d.between(1, 2)) {
		q, a := ask(d, f)
		if i == 0 {
			q = strings.Join(lines, separator) + "\n" + q
		}
		out = append(out, user(q), assistant(a))
	}
	return out
}

// told gives one fact a turn and asks afterwards.
func told(d *dice, given []facts.Fact) []facts.Message {
	var out []facts.Message
	for _, f := range given[:min(2, len(given))] {
		out = append(out, user(pick(d, openings)+" "+statement(d, f)), assistant(pick(d, thanks)))
	}
	f := given[d.upto(min(2, len(given)))]
	for range d.between(1, 2) {
		q, a := ask(d, f)
		out = append(out, user(q), assistant(a))
	}
	return out
}

// inOneBreath states one fact in the question itself.
func inOneBreath(d *dice, given []facts.Fact) []facts.Message {
	f := given[0]
	q, a := ask(d, f)
	out := []facts.Message{user(pick(d, openings) + " " + statement(d, f) + " " + q), assistant(a)}
	q, a = ask(d, f)
	return append(out, user(q), assistant(a))
}

// table gives a small Markdown table and asks for a cell.
func table(d *dice) []facts.Message {
	isReal := d.chance(65)
	seconds := some(d, []string{"protein", "fibre", "fat", "carbohydrate", "energy"}, d.between(2, 3))
	var b strings.Builder
	b.WriteString(pick(d, openings) + "\n| Per 100 g |")
	for _, s := range seconds {
		b.WriteString(" " + facts.Capital(s) + " |")
	}
	var cells []facts.Fact
	taken := map[string]bool{}
	for range d.between(2, 4) {
		x, _ := drawSubject(d, "energy", isReal, false)
		if taken[x.name] {
			continue
		}
		taken[x.name] = true
		b.WriteString("\n| " + facts.Capital(x.name) + " |")
		for _, s := range seconds {
			relation := "nutrient"
			if s == "energy" {
				relation, s = "energy", ""
			}
			f := valued(d, relation, x, s, isReal)
			b.WriteString(" " + f.Value + " |")
			cells = append(cells, f)
		}
	}
	var out []facts.Message
	for i, f := range some(d, cells, d.between(1, 3)) {
		q, a := ask(d, f)
		if i == 0 {
			q = b.String() + "\n" + q
		}
		out = append(out, user(q), assistant(a))
	}
	return out
}

// rephrase says a question or a sentence about an invented food in other words.
func rephrase(d *dice) []facts.Message {
	f := drawFact(d, false, d.chance(50))
	forms := some(d, wordings[f.Relation], 2)
	q0, a0 := forms[0].Ask(f)
	q1, a1 := forms[1].Ask(f)
	if d.chance(50) {
		return []facts.Message{user(pick(d, []string{"Ask this in other words: ", "Say this question differently: ", "Rephrase: "}) + q0), assistant(q1)}
	}
	opening := pick(d, []string{"Say this in other words: ", "Put this differently: ", "Rephrase: "})
	return []facts.Message{user(opening + pick(d, openings) + " " + a0), assistant(a1)}
}
