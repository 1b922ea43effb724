package score

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/fault"
)

func questionsOf(t *testing.T, text string) ([]Question, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "q.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Read("questions", path)
}

// TestLayouts reads a row of each published set, copied in form, not in words.
func TestLayouts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ row, want string }{
		"own":        {`{"question":"How much?","facts":["9 g",{"term":"protein","synonyms":["proteins"]}],"kind":"unseen","page":"4"}`, "How much? [] 0 [9 g protein/proteins] unseen"},
		"own choice": {`{"question":"Which?","choices":["a","b"],"correct":1}`, "Which? [a b] 1 [] trained"},
		"list":       {`[{"question":"How much?","answer":"9 g"}]`, "How much? [] 0 [] trained"},
		"messages":   {`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"},{"role":"assistant","content":"9 g"}]}`, "u [] 0 [] trained"},
		"completion": {`{"prompt":"p","completion":"c"}`, "p [] 0 [] trained"},
		"ARC":        {`{"id":"M1","question":"q","choices":{"text":["x","y"],"label":["A","B"]},"answerKey":"B"}`, "q [x y] 1 [] general"},
		"ARC first":  {`{"id":"M1","question":{"stem":"q","choices":[{"text":"x","label":"1"},{"text":"y","label":"2"}]},"answerKey":"1"}`, "q [x y] 0 [] general"},
		"OpenBookQA": {`{"question_stem":"q","choices":{"text":["x","y"],"label":["A","B"]},"answerKey":"A"}`, "q [x y] 0 [] general"},
		"MMLU":       {`{"question":"q","subject":"s","choices":["x","y","z","w"],"answer":3}`, "q [x y z w] 3 [] general"},
		"HellaSwag":  {`{"ctx":"c","endings":["x","y"],"label":"1"}`, "c [x y] 1 [] general"},
		"PIQA":       {`{"goal":"g","sol1":"x","sol2":"y","label":0}`, "g [x y] 0 [] general"},
		"Winogrande": {`{"sentence":"s _","option1":"x","option2":"y","answer":"2"}`, "s _ [x y] 1 [] general"},
		"BoolQ":      {`{"question":"q","passage":"p","answer":true}`, "q [no yes] 1 [] general"},
		"SQuAD":      {`{"id":"1","question":"q","context":"c","answers":{"text":["x","the x"],"answer_start":[1]}}`, "q [] 0 [x/the x] general"},
		"SQuAD 2":    {`{"id":"1","question":"q","context":"c","answers":{"text":[]}}`, "q [] 0 [] unanswerable"},
		"GSM8K":      {`{"question":"q","answer":"so\n#### 42"}`, "q [] 0 [42] general"},
		"TriviaQA":   {`{"question":"q","answer":{"value":"x","aliases":["y"]}}`, "q [] 0 [x/y] general"},
		"TruthfulQA": {`{"question":"q","mc1_targets":{"choices":["x","y"],"labels":[0,1]}}`, "q [x y] 1 [] general"},
	} {
		got, err := questionsOf(t, tt.row)
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		q := got[0]
		var facts []string
		for _, f := range q.Facts {
			facts = append(facts, strings.Join(append([]string{f.String()}, f.Synonyms...), "/"))
		}
		if s := fmt.Sprintf("%s %v %d %v %s", q.Question, q.Choices, q.Correct, facts, q.Kind); s != tt.want {
			t.Errorf("%s: %s, want %s", name, s, tt.want)
		}
	}
}

func TestReadErrors(t *testing.T) {
	t.Parallel()
	good := `{"question":"q","answer":"9 g"}` + "\n"
	for text, want := range map[string]string{
		"":                               "it has no questions",
		good + "{":                       "q.jsonl:2: ",
		good + "\n" + `{"question":"q"}`: "q.jsonl:3: nothing says what a right answer is",
		`{"question":"q","answers":"x"}`: `it has "answers", expected "answer"`,
		`{"question":"q","answer":"x","kind":"hard"}`:                      `"kind" is "hard", expected trained`,
		`{"question":"q","facts":[{"figure":"some"}]}`:                     `fact 1: "some" is no figure`,
		`{"question":"q","facts":[{"figur":"9 g"}]}`:                       "figur",
		`{"question":"q","choices":["a"],"correct":0}`:                     "one entry",
		`{"question":"q","choices":["a","b"],"correct":2}`:                 `"correct" is 2`,
		`{"question":"q","facts":[{"figure":"9 g","tolerance":"500 %"}]}`:  "less than 100 %",
		`{"question":"q","facts":[{"figure":"9 g","tolerance":"2 kcal"}]}`: "a unit that 9 g has",
		`{"question":"q","choices":["a","b"]}`:                             `no "correct"`,
		`{"question":"q","choices":["a"," "],"correct":0}`:                 `entry 2 of "choices" is empty`,
		`{"text":"a book"}`: `no question was found in it; it has "text"`,
		`{"question":"q","choices":["a","b"],"answer":"c"}`:              `the right choice is "c"`,
		`{"question":" ","answer":"c"}`:                                  `"question" is empty`,
		`[{"question":"q","answer":"9 g"},{}]`:                           "entry 2",
		`{"messages":[{"role":"user","content":"u"}]}`:                   "an assistant's",
		`{"question":"q","facts":[{"figure":"9 g","tolerance":"some"}]}`: `"tolerance" is "some"`,
	} {
		_, err := questionsOf(t, text)
		if err == nil || !strings.Contains(err.Error(), want) || fault.SettingOf(err) != "questions" {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := Read("questions", filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	a := Question{Question: "q", Answer: "9 g"}
	b := Question{Question: "q", Answer: "10 g", Kind: Unseen}
	c := Question{Question: "q", Passage: "p"}
	if a.Key() != b.Key() || a.Key() == c.Key() {
		t.Error(a.Key(), b.Key(), c.Key())
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"question":"q","facts":["9 g"]}`)
	f.Add(`{"question":{"stem":"q","choices":[{"text":"x","label":"1"}]},"answerKey":"1"}`)
	f.Fuzz(func(t *testing.T, line string) {
		q, err := readOne([]byte(line))
		if err == nil && len(q.Choices) == 0 {
			q.Mark("9 g of it", "")
		}
	})
}
