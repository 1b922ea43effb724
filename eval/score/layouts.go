package score

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/fault"
)

// A layout is a form in which question sets are published. It is tried where a row has all its keys; ok is false where
// the row is of another layout after all.
type layout struct {
	keys []string
	read func(row []byte) (q Question, ok bool, err error)
}

// layouts are tried in this order.
var layouts = []layout{
	{[]string{"messages"}, readMessages},
	{[]string{"prompt", "completion"}, readCompletion},
	{[]string{"goal", "sol1", "sol2", "label"}, readPIQA},
	{[]string{"ctx", "endings", "label"}, readHellaSwag},
	{[]string{"sentence", "option1", "option2", "answer"}, readWinogrande},
	{[]string{"question_stem", "choices", "answerKey"}, readARC},
	{[]string{"question", "choices", "answerKey"}, readARC},
	{[]string{"question", "answerKey"}, readARC},
	{[]string{"question", "mc1_targets"}, readTruthfulQA},
	{[]string{"question", "context", "answers"}, readSQuAD},
	{[]string{"question", "passage", "answer"}, readBoolQ},
	{[]string{"question", "passage", "label"}, readBoolQ},
	{[]string{"question", "choices", "answer"}, readMMLU},
	{[]string{"question", "answer"}, readTriviaQA},
	{[]string{"question", "answer"}, readGSM8K},
	{[]string{"question"}, readOwn},
}

// readOwn reads Lentil's form. An unknown key is most likely a mistyped one.
func readOwn(row []byte) (q Question, ok bool, err error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(row, &keys); err != nil {
		return q, false, err
	}
	known := []string{"id", "question", "answer", "facts", "never", "kind", "choices", "correct", "system", "page", "passage"}
	for _, k := range sorted(keys) {
		if k = strings.Trim(k, `"`); !slices.Contains(known, k) {
			if near := fault.Nearest(k, known); near != "" {
				return q, false, fmt.Errorf("it has %q, expected %q", k, near)
			}
		}
	}
	if err = json.Unmarshal(row, &q); err != nil {
		return q, false, err
	}
	if _, told := keys["correct"]; len(q.Choices) > 0 && !told {
		return q, false, fmt.Errorf(`it has "choices" and no "correct", the index of the right one (the first is 0)`)
	}
	return q, true, nil
}

// readMessages reads a row of training data: the last answer is the reference, and what stands before it is asked.
func readMessages(row []byte) (q Question, ok bool, err error) {
	var r struct {
		Messages []struct{ Role, Content string }
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return q, false, err
	}
	n := len(r.Messages)
	if n < 2 || r.Messages[n-1].Role != "assistant" || r.Messages[n-2].Role != "user" {
		return q, false, fmt.Errorf("the last two messages are to be a user's and an assistant's")
	}
	if r.Messages[0].Role == "system" {
		q.System = r.Messages[0].Content
		n--
	}
	if n != 2 {
		return q, false, fmt.Errorf("a conversation of %d messages: a question and its answer are expected", len(r.Messages))
	}
	q.Question, q.Answer = r.Messages[len(r.Messages)-2].Content, r.Messages[len(r.Messages)-1].Content
	return q, true, nil
}

func readCompletion(row []byte) (q Question, ok bool, err error) {
	var r struct{ Prompt, Completion string }
	err = json.Unmarshal(row, &r)
	return Question{Question: r.Prompt, Answer: r.Completion}, err == nil, err
}

// choose makes a question of multiple choice; label is the right one as labels name it, or its index.
func choose(question string, choices, labels []string, label string) (Question, bool, error) {
	q := Question{Question: question, Choices: choices, Kind: General}
	if q.Correct = slices.Index(labels, label); q.Correct < 0 {
		return q, false, fmt.Errorf("the right choice is %q, expected one of %s", label, strings.Join(labels, ", "))
	}
	return q, true, nil
}

func readARC(row []byte) (q Question, ok bool, err error) {
	type choice struct{ Text, Label string }
	var r struct {
		Question  json.RawMessage
		Stem      string `json:"question_stem"`
		Choices   struct{ Text, Label []string }
		AnswerKey string
	}
	var inner struct { // the form of the first release
		Stem    string
		Choices []choice
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return q, false, err
	}
	if json.Unmarshal(r.Question, &inner) == nil && inner.Stem != "" {
		r.Stem = inner.Stem
		for _, c := range inner.Choices {
			r.Choices.Text, r.Choices.Label = append(r.Choices.Text, c.Text), append(r.Choices.Label, c.Label)
		}
	} else if r.Stem == "" {
		if err := json.Unmarshal(r.Question, &r.Stem); err != nil {
			return q, false, err
		}
	}
	if len(r.Choices.Text) != len(r.Choices.Label) {
		return q, false, fmt.Errorf("%d choices have %d labels", len(r.Choices.Text), len(r.Choices.Label))
	}
	isOpenBook := r.Question == nil
	if q, ok, err = choose(r.Stem, r.Choices.Text, r.Choices.Label, strings.TrimSpace(r.AnswerKey)); ok {
		text := asked(r.Stem)
		if isOpenBook {
			text = r.Stem
		}
		chosen(&q, arcTask, text, true)
	}
	return q, ok, err
}

// digits are the labels "0", "1", ... of n choices.
func digits(n int) (out []string) {
	for i := range n {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func readMMLU(row []byte) (q Question, ok bool, err error) {
	var r struct {
		Question string
		Choices  []string
		Answer   any
		Correct  *int
		Subject  string
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return q, false, err
	}
	if r.Correct != nil {
		return readOwn(row)
	}
	label := fmt.Sprint(r.Answer)
	if len(label) == 1 && label[0] >= 'A' && int(label[0]-'A') < len(r.Choices) {
		label = strconv.Itoa(int(label[0] - 'A'))
	}
	if len(r.Choices) > 0 && slices.Contains(r.Choices, label) && !slices.Contains(digits(len(r.Choices)), label) {
		label = strconv.Itoa(slices.Index(r.Choices, label))
	}
	if q, ok, err = choose(r.Question, r.Choices, digits(len(r.Choices)), label); ok {
		mmluForm(&q, r.Subject)
	}
	return q, ok, err
}

func readHellaSwag(row []byte) (q Question, ok bool, err error) {
	var r struct {
		Ctx      string
		CtxA     string `json:"ctx_a"`
		CtxB     string `json:"ctx_b"`
		Activity string `json:"activity_label"`
		Endings  []string
		Label    any
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return q, false, err
	}
	if q, ok, err = choose(r.Ctx, r.Endings, digits(len(r.Endings)), fmt.Sprint(r.Label)); ok {
		text := r.Ctx
		if r.CtxA != "" {
			text = r.Activity + ": " + r.CtxA + " " + capitalize(r.CtxB)
		}
		chosen(&q, piqaTask, wikiHow(text), true)
		q.form.Choices = nil
		for _, e := range r.Endings {
			q.form.Choices = append(q.form.Choices, wikiHow(e))
		}
		q.form.Target = q.form.Choices[q.Correct]
	}
	return q, ok, err
}

func readPIQA(row []byte) (q Question, ok bool, err error) {
	var r struct {
		Goal, Sol1, Sol2 string
		Label            any
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return q, false, err
	}
	if q, ok, err = choose(r.Goal, []string{r.Sol1, r.Sol2}, digits(2), fmt.Sprint(r.Label)); ok {
		chosen(&q, piqaTask, asked(r.Goal), true)
	}
	return q, ok, err
}

func readWinogrande(row []byte) (q Question, ok bool, err error) {
	var r struct{ Sentence, Option1, Option2, Answer string }
	if err := json.Unmarshal(row, &r); err != nil {
		return q, false, err
	}
	if q, ok, err = choose(r.Sentence, []string{r.Option1, r.Option2}, []string{"1", "2"}, r.Answer); ok {
		winograndeForm(&q, r.Sentence)
	}
	return q, ok, err
}

func readTruthfulQA(row []byte) (q Question, ok bool, err error) {
	var r struct {
		Question string
		MC1      struct {
			Choices []string
			Labels  []int
		} `json:"mc1_targets"`
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return q, false, err
	}
	if q, ok, err = choose(r.Question, r.MC1.Choices, digits(len(r.MC1.Choices)), strconv.Itoa(slices.Index(r.MC1.Labels, 1))); ok {
		chosen(&q, truthTask, truthfulExamples+r.Question+"\nA:", false)
	}
	return q, ok, err
}

func readBoolQ(row []byte) (q Question, ok bool, err error) {
	var r struct {
		Question, Passage string
		Answer, Label     any
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return q, false, err
	}
	yes, isBool := r.Answer.(bool)
	if n, isNumber := r.Label.(float64); isNumber && (n == 0 || n == 1) { // SuperGLUE
		yes, isBool = n == 1, true
	}
	if !isBool {
		return q, false, nil
	}
	label := "no"
	if yes {
		label = "yes"
	}
	q, ok, err = choose(r.Question, []string{"no", "yes"}, []string{"no", "yes"}, label)
	q.Passage = r.Passage
	if ok {
		chosen(&q, piqaTask, r.Passage+"\n"+asked(r.Question+"?"), false)
	}
	return q, ok, err
}

func readSQuAD(row []byte) (q Question, ok bool, err error) {
	var r struct {
		ID, Question, Context string
		Answers               struct{ Text []string }
	}
	if err := json.Unmarshal(row, &r); err != nil {
		return q, false, err
	}
	q = Question{ID: r.ID, Question: r.Question, Passage: r.Context, Kind: General}
	if len(r.Answers.Text) == 0 { // SQuAD 2.0
		q.Kind = Unanswerable
		return q, true, nil
	}
	q.Answer, q.Facts = r.Answers.Text[0], []Fact{{Term: r.Answers.Text[0], Synonyms: r.Answers.Text[1:]}}
	return q, true, nil
}

func readTriviaQA(row []byte) (q Question, ok bool, err error) {
	var r struct {
		Question string
		Answer   struct {
			Value   string
			Aliases []string
		}
	}
	if json.Unmarshal(row, &r) != nil || r.Answer.Value == "" {
		return q, false, nil
	}
	q = Question{Question: r.Question, Answer: r.Answer.Value, Facts: []Fact{{Term: r.Answer.Value, Synonyms: r.Answer.Aliases}}, Kind: General}
	if names := r.Answer.Aliases; len(names) > 0 {
		q.form = &Form{Text: asked(r.Question + "?"), Target: names[0], Targets: names, Task: triviaTask}
	}
	return q, true, nil
}

func readGSM8K(row []byte) (q Question, ok bool, err error) {
	var r struct{ Question, Answer string }
	if json.Unmarshal(row, &r) != nil {
		return q, false, nil
	}
	_, figure, ok := strings.Cut(r.Answer, "\n#### ")
	if !ok {
		return q, false, nil
	}
	q = Question{Question: r.Question, Answer: r.Answer, Facts: []Fact{{Figure: strings.TrimSpace(figure)}}, Kind: General}
	q.form = &Form{Text: asked(r.Question), Target: r.Answer, Task: gsm8kTask}
	return q, true, nil
}
