package facts

import (
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	t.Parallel()
	f := Fact{X: "cooked lentils", Plural: true, N: "protein", Value: "9 g"}
	w := Wording{Q: "How much {n} [does|do] {x} have?", A: "{X} [has|have] {v} of {n}."}
	q, a := w.Ask(f)
	if want := "How much protein do cooked lentils have?"; q != want {
		t.Errorf("question %q, want %q", q, want)
	}
	if want := "Cooked lentils have 9 g of protein."; a != want {
		t.Errorf("answer %q, want %q", a, want)
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	relations := map[string]Relation{}
	for _, r := range Relations() {
		relations[r.ID] = r
		questions, uses := map[string]bool{}, map[Use]int{}
		for _, w := range r.Wordings {
			uses[w.Use]++
			if questions[w.Q] {
				t.Errorf("%s: the question %q comes twice", r.ID, w.Q)
			}
			questions[w.Q] = true
			if !strings.Contains(w.A, "{v}") || strings.Contains(w.Q, "{v}") {
				t.Errorf("%s: the value must stand in the answer and not in the question: %q, %q", r.ID, w.Q, w.A)
			}
			if !strings.Contains(strings.ToLower(w.Q), "{x}") {
				t.Errorf("%s: %q names no subject", r.ID, w.Q)
			}
		}
		if uses[Train] < perFact || uses[Test] < testsPerFact || uses[Valid] < 1 || uses[Demo] < 1 {
			t.Errorf("%s: too few wordings: %v", r.ID, uses)
		}
	}
	ids := map[string]bool{}
	for _, f := range Facts() {
		if ids[f.ID] {
			t.Errorf("fact %s comes twice", f.ID)
		}
		ids[f.ID] = true
		if _, ok := relations[f.Relation]; !ok {
			t.Errorf("fact %s: no relation %q", f.ID, f.Relation)
		}
		if strings.Contains(f.X+f.Value, "=") || f.Value == "" {
			t.Errorf("fact %s is malformed: %+v", f.ID, f)
		}
	}
}

// TestNoLeak proves what the demo claims: nothing in test is in train, and nothing trained is in unseen.
func TestNoLeak(t *testing.T) {
	t.Parallel()
	s := Make()
	if len(s.Train) < 600 || len(s.Valid) < 100 || len(s.Test) < 200 || len(s.Unseen) < 50 {
		t.Errorf("too few rows: train %d, valid %d, test %d, unseen %d", len(s.Train), len(s.Valid), len(s.Test), len(s.Unseen))
	}
	where := map[string]string{} // question or answer -> split
	for _, split := range []struct {
		name string
		rows []Row
	}{{"train", s.Train}, {"valid", s.Valid}, {"test", s.Test}, {"unseen", s.Unseen}} {
		asked := map[string]bool{}
		for _, row := range split.rows {
			q, a := row.Messages[0].Content, row.Messages[1].Content
			if asked[q] {
				t.Errorf("%s asks %q twice", split.name, q)
			}
			asked[q] = true
			for _, text := range []string{q, a} {
				text = strings.ToLower(strings.Trim(text, " .?"))
				if other, ok := where[text]; ok && other != split.name {
					t.Errorf("%q is in %s and in %s", text, other, split.name)
				}
				where[text] = split.name
			}
		}
	}
	trained := map[string]bool{}
	for _, f := range Facts() {
		if !f.Unseen {
			trained[f.Relation+"|"+f.X+"|"+f.N] = true
		}
	}
	for _, f := range Facts() {
		if f.Unseen && trained[f.Relation+"|"+f.X+"|"+f.N] {
			t.Errorf("unseen fact %s is trained as well", f.ID)
		}
		if !f.Unseen {
			continue
		}
		for _, r := range Relations() {
			if r.ID != f.Relation {
				continue
			}
			for _, w := range r.Wordings {
				q, a := w.Ask(f)
				for _, text := range []string{q, a} {
					if split := where[strings.ToLower(strings.Trim(text, " .?"))]; split != "" && split != "unseen" {
						t.Errorf("unseen fact %s stands in %s: %q", f.ID, split, text)
					}
				}
			}
		}
	}
}
