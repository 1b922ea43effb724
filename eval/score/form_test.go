package score

import (
	"fmt"
	"strings"
	"testing"
)

// TestForms: rows of published layouts are put as the tasks of lm-eval put them. interop has the same from lm-eval itself.
func TestForms(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ row, want string }{
		"ARC":        {`{"question":"Why?","choices":{"text":["so","no"],"label":["A","B"]},"answerKey":"B"}`, `Question: Why?|Answer: -> so, no; 1`},
		"OpenBookQA": {`{"question_stem":"The sun is","choices":{"text":["hot","cold"],"label":["A","B"]},"answerKey":" A"}`, `The sun is -> hot, cold; 0`},
		"PIQA":       {`{"goal":"Open it","sol1":"pull","sol2":"wait","label":1}`, `Question: Open it|Answer: -> pull, wait; 1`},
		"HellaSwag": {`{"activity_label":"Cooking","ctx_a":"A man [step] stirs.","ctx_b":"then HE","ctx":"x","endings":["eats. [title] Done","[x] runs"],"label":"0"}`,
			`Cooking: A man stirs. Then he -> eats.. Done,  runs; 0`},
		"WinoGrande": {`{"sentence":"Ann thanked Bea because _ helped.","option1":"Ann","option2":"Bea","answer":"2"}`, `Ann thanked Bea because Ann / Ann thanked Bea because Bea -> helped.; 1`},
		"BoolQ":      {`{"question":"is it hot","passage":"It is hot.","answer":true}`, `It is hot.|Question: is it hot?|Answer: -> no, yes; 1`},
		"SuperGLUE":  {`{"question":"is it hot","passage":"It is hot.","idx":3,"label":0}`, `It is hot.|Question: is it hot?|Answer: -> no, yes; 0`},
		"MMLU": {`{"question":" Which? ","subject":"human_aging","choices":["a","b","c"],"answer":2}`,
			`The following are multiple choice questions (with answers) about human aging.||Which?|A. a|B. b|C. c|Answer: -> A, B, C; 2`},
		"GSM8K":    {`{"question":"2 times 3?","answer":"It is 6.\n#### 6"}`, `Question: 2 times 3?|Answer: -> It is 6.|#### 6`},
		"TriviaQA": {`{"question":"Who was it","answer":{"value":"Ada","aliases":["Ada L.","Lovelace"]}}`, `Question: Who was it?|Answer: -> Ada L.`},
		"own":      {`{"question":"How much?","facts":["9 g"]}`, `Question: How much?|Answer: -> 9 g`},
	} {
		q, err := Parse(name, []byte(tt.row))
		if err != nil {
			t.Fatal(err)
		}
		f := q[0].Form()
		got := f.System + f.Text + strings.Join(f.Texts, " / ") + " -> "
		switch {
		case f.Texts != nil:
			got += fmt.Sprint(f.Target, "; ", f.Correct)
		case f.Choices != nil:
			got += fmt.Sprint(strings.Join(f.Choices, ", "), "; ", f.Correct)
		default:
			got += f.Target
		}
		if got = strings.ReplaceAll(got, "\n", "|"); got != tt.want {
			t.Errorf("%s: %s\nwant %s", name, got, tt.want)
		}
	}
}

// TestMetrics: lm-eval's filters and comparisons of open answers, and its two accuracies.
func TestMetrics(t *testing.T) {
	t.Parallel()
	gsm := `{"question":"?","answer":"so\n#### 1,200"}`
	trivia := `{"question":"?","answer":{"value":"x","aliases":["Ada L.","Lovelace"]}}`
	choice := `{"goal":"g","sol1":"a","sol2":"bbbb","label":1}`
	for _, tt := range []struct {
		row   string
		reply Reply
		want  string
	}{
		{gsm, Reply{Answer: "It is so.\n#### 1200"}, "map[exact_match,flexible-extract:1 exact_match,strict-match:1]"},
		{gsm, Reply{Answer: "It is $1,200."}, "map[exact_match,flexible-extract:1 exact_match,strict-match:0]"},
		{gsm, Reply{Answer: "1200, no, 12"}, "map[exact_match,flexible-extract:0 exact_match,strict-match:0]"},
		{gsm, Reply{Answer: "none"}, "map[exact_match,flexible-extract:0 exact_match,strict-match:0]"},
		{trivia, Reply{Answer: " lovelace!"}, "map[exact_match,remove_whitespace:1]"},
		{trivia, Reply{Answer: "Ada"}, "map[exact_match,remove_whitespace:0]"},
		{choice, Reply{Likelihoods: []float64{-2, -3}}, "map[acc,none:0 acc_norm,none:1]"},
		{choice, Reply{Likelihoods: []float64{-1, -1}}, "map[acc,none:0 acc_norm,none:1]"}, // the first of equal ones
	} {
		q, err := Parse("row", []byte(tt.row))
		if err != nil {
			t.Fatal(err)
		}
		f := q[0].Form()
		if got := fmt.Sprint(q[0].Metrics(&f, tt.reply)); got != tt.want {
			t.Errorf("%s, %+v: %s, want %s", tt.row, tt.reply, got, tt.want)
		}
	}
}
