package score

import "testing"

// TestDemoQuestions: the answers that the demo's questions come with are right, and those to other questions are not.
func TestDemoQuestions(t *testing.T) {
	t.Parallel()
	questions, err := Read("questions", "../../demo/data/questions.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	crossed := 0
	for i, q := range questions {
		if m := q.Mark(q.Answer, ""); !m.Right || len(m.MadeUp) > 0 {
			t.Errorf("%s: %q is marked %+v", q.ID, q.Answer, m)
		}
		if other := questions[(i+1)%len(questions)]; other.Facts[0].String() != q.Facts[0].String() && q.Mark(other.Answer, "").Right {
			t.Logf("%s: %q for %v", q.ID, other.Answer, q.Facts)
			crossed++
		}
	}
	if crossed > 1 { // "10 % or less" passes for "less than 10 %"
		t.Errorf("%d of %d questions take the next one's answer for right", crossed, len(questions))
	}
}
