package corpus

import (
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/demo/facts"
)

// take collects n documents.
func take(seed uint64, n int) []Document {
	var docs []Document
	for doc := range Documents(seed) {
		if docs = append(docs, doc); len(docs) == n {
			break
		}
	}
	return docs
}

func text(doc Document) string {
	var b strings.Builder
	for _, m := range doc.Messages {
		b.WriteString(m.Content + "\n")
	}
	return b.String()
}

func TestRecipe(t *testing.T) {
	t.Parallel()
	sum := 0
	for _, r := range recipe {
		sum += r.percent
	}
	if sum != 100 {
		t.Errorf("the shares of the recipe add up to %d %%, want 100", sum)
	}
}

func TestDeterministic(t *testing.T) {
	t.Parallel()
	a, b, c := take(5, 300), take(5, 300), take(6, 300)
	same := func(x, y Document) bool { return x.Kind == y.Kind && slices.Equal(x.Messages, y.Messages) }
	if !slices.EqualFunc(a, b, same) {
		t.Error("the same seed gave other documents")
	}
	if slices.EqualFunc(a, c, same) {
		t.Error("another seed gave the same documents")
	}
}

func TestWellFormed(t *testing.T) {
	t.Parallel()
	kinds := map[string]int{}
	for _, doc := range take(1, 5000) {
		kinds[doc.Kind]++
		if len(doc.Messages) == 0 || len(doc.Messages)%2 != 0 {
			t.Fatalf("%s: %d messages, want pairs", doc.Kind, len(doc.Messages))
		}
		for i, m := range doc.Messages {
			if want := [2]string{"user", "assistant"}[i%2]; m.Role != want {
				t.Fatalf("%s: message %d is from %q, want %q", doc.Kind, i, m.Role, want)
			}
			if m.Content == "" || strings.ContainsAny(m.Content, "{}[]") || strings.Contains(m.Content, "%!") || strings.Contains(m.Content, "<|") {
				t.Fatalf("%s: unfilled or foreign text: %q", doc.Kind, m.Content)
			}
		}
	}
	for _, r := range recipe {
		if kinds[r.kind] == 0 {
			t.Errorf("no document of kind %q", r.kind)
		}
	}
}

// TestHoldsNoFact looks for every fact of the dataset, in every wording, in a stretch of the
// corpus, and for any true pair of a real subject and its value.
func TestHoldsNoFact(t *testing.T) {
	t.Parallel()
	sentences := map[string]string{} // sentence -> fact
	for _, f := range facts.Facts() {
		for _, w := range wordings[f.Relation] {
			_, a := w.Ask(f)
			sentences[a] = f.ID
		}
	}
	for _, split := range [][]facts.Row{facts.Make().Train} {
		for _, row := range split {
			sentences[row.Messages[1].Content] = "train row"
		}
	}
	for _, doc := range take(11, 20000) {
		all := strings.NewReplacer("\n- ", "\n", ": ", ":\n", ". ", ".\n").Replace(text(doc))
		for line := range strings.SplitSeq(all, "\n") {
			if id, ok := sentences[line]; ok {
				t.Fatalf("%s holds %s: %q", doc.Kind, id, line)
			}
		}
	}
}

// TestRealSubjectsAreGiven checks that a real food or nutrient is asked about only where the conversation gave the value before.
func TestRealSubjectsAreGiven(t *testing.T) {
	t.Parallel()
	isReal := map[string]bool{}
	for _, f := range facts.Facts() {
		for _, w := range wordings[f.Relation] {
			q, _ := w.Ask(f)
			isReal[q] = true
		}
	}
	for _, doc := range take(3, 20000) {
		if doc.Kind == "context" {
			continue
		}
		for _, m := range doc.Messages {
			if m.Role == "user" && isReal[m.Content] {
				t.Fatalf("%s asks %q without having been told", doc.Kind, m.Content)
			}
		}
	}
}

// TestWorldHolds checks that the closed world's facts do not depend on the seed and that enough of each kind exist.
func TestWorldHolds(t *testing.T) {
	t.Parallel()
	n := 0
	for _, r := range relations {
		if len(world[r.ID]) < 10 {
			t.Errorf("%s: %d facts in the closed world", r.ID, len(world[r.ID]))
		}
		n += len(world[r.ID])
	}
	if n < 400 {
		t.Errorf("the closed world has %d facts", n)
	}
}
