package facts

import "testing"

// TestHeld: what is held asks in every kind of question that there are facts of, but for no fact in any wording, and tells the
// value of none that is never told.
func TestHeld(t *testing.T) {
	t.Parallel()
	asked, told, kinds := map[string]string{}, map[string]bool{}, map[string]bool{}
	relations := map[string]Relation{}
	for _, r := range Relations() {
		relations[r.ID] = r
	}
	for _, f := range Facts() {
		for _, w := range relations[f.Relation].Wordings {
			q, a := w.Ask(f)
			asked[q] = f.ID
			if !f.Unseen {
				told[a] = true
			}
		}
	}
	rows := Held()
	want := 0
	for _, k := range heldKinds {
		kinds[k.relation] = true
		want += k.rows
	}
	for _, r := range relations {
		if !kinds[r.ID] {
			t.Errorf("nothing is asked of the kind %s", r.ID)
		}
	}
	if len(rows) != want || want < 1000 {
		t.Errorf("%d rows, want %d", len(rows), want)
	}
	for _, row := range rows {
		question, answer := row.Messages[0].Content, row.Messages[1].Content
		if fact := asked[question]; fact != "" || told[answer] {
			t.Errorf("%q, %q is about the fact %s", question, answer, fact)
		}
	}
}
