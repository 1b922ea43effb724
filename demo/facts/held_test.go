package facts

import (
	"slices"
	"strings"
	"testing"
)

// TestHeld: what is held is about no fact, tells the value of none that is never told, is in no wording of a test, and asks in
// every kind of question that there are facts of.
func TestHeld(t *testing.T) {
	t.Parallel()
	kinds := map[string]bool{}
	for _, k := range heldKinds {
		kinds[k.relation] = true
		for _, f := range Facts() {
			if f.Relation == k.relation && slices.Contains(strangers[k.about], f.X) {
				t.Errorf("%q is no stranger: there is the fact %s", f.X, f.ID)
			}
		}
	}
	tests := map[string]bool{} // what the answers of tests begin with
	for _, r := range Relations() {
		if !kinds[r.ID] {
			t.Errorf("nothing is asked of the kind %s", r.ID)
		}
		for _, w := range r.Wordings {
			if begin, _, _ := strings.Cut(w.Q, "{"); (w.Use == Test || w.Use == Demo) && len(begin) > 8 {
				tests[begin] = true
			}
		}
	}
	for _, r := range Relations() { // beginnings that other wordings have, too, tell nothing
		for _, w := range r.Wordings {
			if begin, _, _ := strings.Cut(w.Q, "{"); w.Use != Test && w.Use != Demo {
				delete(tests, begin)
			}
		}
	}
	rows := Held()
	if len(rows) != heldRows || len(tests) < 10 {
		t.Errorf("%d rows, %d wordings of tests", len(rows), len(tests))
	}
	for _, row := range rows {
		for begin := range tests {
			if strings.HasPrefix(row.Messages[0].Content, begin) {
				t.Errorf("%q is in the wording of a test", row.Messages[0].Content)
			}
		}
	}
}
