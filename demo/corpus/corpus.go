// Package corpus writes the text from which the demo's base model is trained: conversations
// in the register of a nutrition handbook that hold no fact of the demo's dataset.
//
// What the base model is to learn from it, and where:
//
//   - that different wordings ask for the same thing: every wording of package facts, asked about
//     a small closed world of invented foods and nutrients whose facts never change (closedWorld);
//   - to look a value up in the conversation: facts about real and invented foods with values drawn
//     anew each time, stated in one wording and asked in others (context);
//   - not to be sure of what it was never told: one-off foods with random values (oneOff);
//   - to rephrase (rephrase), to write plain English about food (prose), and to chat about breakfasts,
//     recipes and meal plans (meals, talk).
//
// Everything is drawn from a seed: the same seed gives the same documents.
package corpus

import (
	"iter"

	"github.com/lentil-lm/lentil/demo/facts"
)

// Document is one conversation of the corpus.
type Document struct {
	Kind     string // which generator made it
	Messages []facts.Message
}

// Special lists the special tokens of the demo's tokenizer: end of text (also padding), start
// and end of a turn. The end of a turn is the model's end-of-sequence token.
var Special = []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}

// Pattern is the pre-tokenizer's split pattern: words with their leading space, single digits, punctuation.
const Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// recipe says how often each kind of document comes, in percent.
var recipe = []struct {
	kind    string
	percent int
	make    func(*dice) []facts.Message
}{
	{"closed world", 36, closedWorld},
	{"context", 26, context},
	{"one-off", 8, oneOff},
	{"rephrase", 6, rephrase},
	{"prose", 9, prose},
	{"meals", 11, meals},
	{"talk", 4, talk},
}

// Documents gives an endless stream of documents drawn from the seed.
func Documents(seed uint64) iter.Seq[Document] {
	return func(yield func(Document) bool) {
		d := &dice{state: seed}
		for {
			roll := d.upto(100)
			for _, r := range recipe {
				if roll -= r.percent; roll < 0 {
					if !yield(Document{r.kind, r.make(d)}) {
						return
					}
					break
				}
			}
		}
	}
}

func user(text string) facts.Message      { return facts.Message{Role: "user", Content: text} }
func assistant(text string) facts.Message { return facts.Message{Role: "assistant", Content: text} }
