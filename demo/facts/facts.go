// Package facts holds the table from which the demo's question-answer rows are made:
// relations (a kind of question with all its wordings), facts (a relation filled in with
// true figures, each found in ../handbook) and the split into train, valid, test and unseen rows.
//
// A wording is a question and an answer that echoes the question's words. The base model has
// met every wording about invented foods (package corpus), so fine-tuning only has to teach the values.
package facts

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Use says which rows about real foods a wording may appear in. No wording has two uses, so no
// question or answer of one split can appear in another. The base corpus uses all wordings.
type Use uint8

// The uses.
const (
	Train Use = iota
	Valid
	Test
	Demo // only for the questions of questions.json
	Base // only in the base corpus, to widen what the model understands
)

// Wording is one way to ask for a fact and the answer in matching words. Slots:
// {x} subject, {n} second part (nutrient, group of people, body that advises), {v} value;
// {X} and {N} start with a capital; [is|are] is chosen by the subject's number.
type Wording struct {
	Use  Use
	Q, A string
}

// Relation is a kind of fact: what can be asked of a food, a nutrient or a piece of advice.
type Relation struct {
	ID       string
	Wordings []Wording
}

// Fact is one true figure or name.
type Fact struct {
	ID       string // "protein/cooked-lentils"
	Relation string // Relation.ID
	X        string // subject: "cooked lentils"
	Plural   bool   // the subject takes "are" and "have"
	N        string // second slot, empty where the relation has none
	Value    string // "9 g", "scurvy"
	Page     string // handbook file that states it
	Key      string // text that stands on the same handbook line as the value
	Unseen   bool   // kept out of train, valid and test
}

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Row is one line of a dataset file.
type Row struct {
	Messages []Message `json:"messages"`
}

// Ask gives the question and the answer of fact f in wording w.
func (w Wording) Ask(f Fact) (question, answer string) {
	return fill(w.Q, f), fill(w.A, f)
}

// fill replaces the slots of a template.
func fill(template string, f Fact) string {
	var b strings.Builder
	for rest := template; rest != ""; {
		i := strings.IndexAny(rest, "{[")
		if i < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		end := strings.IndexAny(rest[i:], "}]") + i
		slot := rest[i+1 : end]
		if rest[i] == '[' {
			one, many, _ := strings.Cut(slot, "|")
			if f.Plural {
				one = many
			}
			b.WriteString(one)
		} else {
			switch slot {
			case "x":
				b.WriteString(f.X)
			case "X":
				b.WriteString(Capital(f.X))
			case "n":
				b.WriteString(f.N)
			case "N":
				b.WriteString(Capital(f.N))
			case "v":
				b.WriteString(f.Value)
			}
		}
		rest = rest[end+1:]
	}
	return b.String()
}

// Capital makes the first letter a capital.
func Capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}
