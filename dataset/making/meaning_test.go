package making

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
)

// topics is an Embedder that knows what a text is about, and nothing else.
func topics(_ context.Context, text string) ([]float32, error) {
	v := make([]float32, 4)
	for i, words := range []string{"stone weigh heavy kilogram", "toll share pay", "rye moist dry", "soup barley"} {
		for w := range strings.FieldsSeq(words) {
			v[i] += float32(strings.Count(strings.ToLower(text), w))
		}
	}
	length := math.Sqrt(dot(v, v))
	for i := range v {
		v[i] /= float32(max(length, 1e-9))
	}
	return v, nil
}

// TestMeanings: what is said again in other words is tagged, and lies on one side; another figure or another thing is another
// fact.
func TestMeanings(t *testing.T) {
	t.Parallel()
	train, test := &Passage{split: "train"}, &Passage{split: "test"}
	one := func(p *Passage, about, ask, answer string) *fact {
		return &fact{passage: p, about: about, asks: []string{"", ask}, answers: []string{answer}, quote: answer}
	}
	facts := []*fact{
		one(train, "", "How heavy is the upper stone?", "It weighs 12 kilograms."),
		one(train, "", "What is a toll?", "A share of the flour that the miller is paid with."),
		one(test, "", "Which weight has the stone on top?", "12 kilograms: quite heavy."),
		one(test, "", "What does the lower stone weigh?", "The weight of that stone is 15 kilograms, so heavy is it."),
		one(test, "the rye toll", "What does one pay for rye?", "A toll, the share of the miller."),
		one(test, "", "Why is rye dried?", "It gets moist."),
		one(test, "", "What goes into the soup?", "Barley."),
	}
	for i, f := range facts {
		f.block = i
	}
	facts[1].about = "a toll"
	m := &maker{facts: facts, opt: Options{Embed: topics}}
	m.alike()
	if err := m.meanings(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.twins()
	for i, f := range facts {
		if want := i == 2; (f.near != nil) != want || f.byMeaning != want {
			t.Errorf("%q is near %v", f.asks[1], f.near)
		}
	}
	if facts[2].near != facts[0] || facts[2].side() != "train" || facts[3].side() != "test" || m.report.Moved != 1 {
		t.Errorf("sides %s, %s; %d moved", facts[2].side(), facts[3].side(), m.report.Moved)
	}
	m.opt.Embed = func(context.Context, string) ([]float32, error) { return nil, errors.New("no vector") }
	if err := m.meanings(t.Context()); err == nil {
		t.Error("no error")
	}
}

// TestInformation: a page of figures and rare words is asked for more than one that repeats itself.
func TestInformation(t *testing.T) {
	t.Parallel()
	m := &maker{words: newLexicon()}
	for _, text := range []string{
		strings.Repeat("The mill is a good mill and the miller is a good miller. ", 6),
		"Pearl barley has 9 g of fibre, oats 10 g, rye 15 g; spelt brings magnesium, wheat gluten, teff calcium, and buckwheat rutin, as every baker of the canton learns early on.",
		"Too short.",
		"Of the mill one says that it is good, and so is the miller, and so is the flour that they make there day and night and which is sold.",
	} {
		p := &Passage{Text: text}
		m.words.add(text)
		m.passages = append(m.passages, p)
	}
	info, all := m.information()
	if len(info) != 3 || info[m.passages[1]] < 3*info[m.passages[0]] || !(math.Abs(all-info[m.passages[0]]-info[m.passages[1]]-info[m.passages[3]]) <= 1e-9) {
		t.Errorf("%v of %g", info, all)
	}
}
