package making

import (
	"slices"
	"strings"
)

// What books of facts rarely tell of the things in them: the first are for measuring, the others for training. A thing
// is asked for only where no passage that has it has the word at the end.
var (
	unknownAsks = [][2]string{
		{"Who was the first to sell %s in shops?", "shops"},
		{"What is the postal code of the place that %s comes from?", "postal"},
		{"Which film of 1994 has %s in its title?", "film"},
		{"How many votes did %s get in the last election?", "votes"},
		{"What is the Latin motto about %s?", "motto"},
	}
	unknownTrained = [][2]string{
		{"What did %s cost in the year 2015?", "2015"},
		{"What is the telephone number of the inventor of %s?", "telephone"},
		{"Where on the internet is there a forum about %s?", "internet"},
		{"Who holds the world record with %s?", "record"},
		{"What is the colour of the label on %s?", "label"},
		{"Which street is named after %s?", "street"},
		{"What was the weather in Oslo on the day of the first article on %s?", "oslo"},
	}
	unknownAnswers = []string{
		"I do not know. The books that I have learnt from say nothing about that.",
		"I cannot tell: nothing that I have read says anything about that.",
		"That is not known to me; the books do not say.",
	}
)

// unknownShare is the share of rows that teach to say so where the books do not tell.
const unknownShare = 0.04

// unknown makes questions about things of the books that the books do not answer. things are facts whose subjects are taken.
func (m *maker) unknown(asks [][2]string, things []*fact, n int) (out []*fact) {
	asks = slices.DeleteFunc(slices.Clone(asks), func(a [2]string) bool { return m.words.in[a[1]] > 0 })
	used := map[string]bool{}
	for k := 0; len(asks) > 0 && len(out) < n && k < len(things); k++ {
		thing := m.thing(things[k])
		ask := asks[len(out)%len(asks)]
		if thing == "" || used[thing] {
			continue
		}
		used[thing] = true
		question := strings.Replace(ask[0], "%s", thing, 1)
		out = append(out, &fact{kind: Unknown, by: "unanswerable", asks: []string{question, question}, answers: []string{unknownAnswers[len(out)%len(unknownAnswers)]}, passage: things[k].passage, block: things[k].block})
	}
	return out
}

// thing is what a fact is about, if that is a word or three.
func (m *maker) thing(f *fact) string {
	x, _, _ := strings.Cut(f.about, " (")
	x, _, _ = strings.Cut(x, ", ")
	if x == "" || wordCount(x) > 3 || hasDigit(x) || strings.ContainsAny(x, ",:;") || labelVerb.MatchString(x) {
		return ""
	}
	return x
}
