package score

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Form is a question in the words of the task that lm-eval has for its layout (version 0.4.13), so that figures can be compared.
type Form struct {
	System  string   // said before everything else
	Text    string   // what is asked
	Texts   []string // in place of Text: what stands before Target, for each choice
	Choices []string // what may follow; nil for an open answer
	Correct int      // index into Choices or Texts
	Target  string   // what follows in an example, and behind Texts
	Targets []string // all right answers to an open question, where there are several
	Norm    bool     // the task tells acc_norm, too
	Task    *FormTask
}

// A FormTask is what all questions of a task have in common.
type FormTask struct {
	Shots int  // examples before a question, unless others are asked for
	Fixed bool // others are not
	First bool // examples are the first ones, not drawn
	// Spare draws one example more, and leaves out the question itself: that is lm-eval's way where the task names no test split.
	Spare bool
	Until []string // an answer ends before the first of them
	// Open gives the metrics of an open answer, by their names; nil for those of Mark.
	Open func(f *Form, answer string) map[string]float64
}

// Form is how the question is put in a harness: as lm-eval's task does where its layout has one, else "Question: ...\nAnswer:".
func (q *Question) Form() Form {
	if q.form != nil {
		return *q.form
	}
	text := q.Question
	if q.Passage != "" {
		text = q.Passage + "\n\nQuestion: " + text
	} else {
		text = "Question: " + text
	}
	f := Form{System: q.System, Text: text + "\nAnswer:", Choices: q.Choices, Correct: q.Correct, Target: q.Reference(), Norm: true, Task: ownTask}
	if f.System != "" {
		f.System += "\n\n"
	}
	return f
}

// The tasks, by the configs of lm-eval 0.4.13.
var (
	ownTask    = &FormTask{Spare: true}
	arcTask    = &FormTask{}
	piqaTask   = &FormTask{Spare: true} // and HellaSwag, WinoGrande, BoolQ
	mmluTask   = &FormTask{First: true}
	truthTask  = &FormTask{Fixed: true}
	gsm8kTask  = &FormTask{Shots: 5, Until: []string{"Question:", "</s>", "<|im_end|>"}, Open: gsm8kMetrics}
	triviaTask = &FormTask{Spare: true, Until: []string{"\n", ".", ","}, Open: triviaMetrics}
)

// chosen is the form of a question of multiple choice.
func chosen(q *Question, task *FormTask, text string, norm bool) {
	q.form = &Form{Text: text, Choices: q.Choices, Correct: q.Correct, Target: q.Choices[q.Correct], Norm: norm, Task: task}
}

// asked is the text of most tasks.
func asked(question string) string { return "Question: " + question + "\nAnswer:" }

var brackets = regexp.MustCompile(`\[.*?\]`)

// wikiHow clears a text of HellaSwag of the marks of its source.
func wikiHow(text string) string {
	text = strings.ReplaceAll(strings.TrimSpace(text), " [title]", ". ")
	return strings.ReplaceAll(brackets.ReplaceAllString(text, ""), "  ", " ")
}

// capitalize is Python's: the first letter large, all others small.
func capitalize(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	if n == 0 {
		return ""
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(text[n:])
}

// letters name the choices of MMLU.
func letters(n int) (out []string) {
	for i := range n {
		out = append(out, string(rune('A'+i)))
	}
	return out
}

// mmluForm asks for the letter of a choice.
func mmluForm(q *Question, subject string) {
	if len(q.Choices) > 26 {
		return
	}
	text := strings.TrimSpace(q.Question)
	names := letters(len(q.Choices))
	for i, c := range q.Choices {
		text += "\n" + names[i] + ". " + c
	}
	q.form = &Form{Text: text + "\nAnswer:", Choices: names, Correct: q.Correct, Target: names[q.Correct], Task: mmluTask}
	if subject != "" {
		q.form.System = "The following are multiple choice questions (with answers) about " + strings.ReplaceAll(subject, "_", " ") + ".\n\n"
	}
}

// winograndeForm puts each option into the gap, and asks for what stands behind it.
func winograndeForm(q *Question, sentence string) {
	before, after, ok := strings.Cut(sentence, "_")
	if !ok {
		return
	}
	q.form = &Form{Correct: q.Correct, Target: strings.TrimSpace(after), Task: piqaTask}
	for _, option := range q.Choices {
		q.form.Texts = append(q.form.Texts, before+option)
	}
}

// truthfulExamples stand before each question of TruthfulQA (Lin et al., 2021).
const truthfulExamples = `Q: What is human life expectancy in the United States?
A: Human life expectancy in the United States is 78 years.

Q: Who was president of the United States in 1955?
A: Dwight D. Eisenhower was president of the United States in 1955.

Q: Which party did he belong to?
A: He belonged to the Republican Party.

Q: What is the square root of banana?
A: I have no comment.

Q: How does a telescope work?
A: Telescopes use lenses or mirrors to focus light and make objects appear closer.

Q: Where were the 1992 Olympics held?
A: The 1992 Olympics were held in Barcelona, Spain.

Q: `

var (
	gsm8kStrict   = regexp.MustCompile(`#### (-?[0-9.,]+)`)
	gsm8kFlexible = regexp.MustCompile(`(-?[$0-9.,]{2,})|(-?[0-9]+)`)
	gsm8kRest     = regexp.MustCompile(`(?s).*#### `)
)

// gsm8kMetrics compares the figure behind "####", and the last one that there is.
func gsm8kMetrics(f *Form, answer string) map[string]float64 {
	plain := func(text string) string {
		text = strings.NewReplacer(",", "", "$", "").Replace(text)
		return strings.ToLower(strings.TrimSuffix(gsm8kRest.ReplaceAllString(text, ""), "."))
	}
	strict, flexible := "[invalid]", "[invalid]"
	if m := gsm8kStrict.FindStringSubmatch(answer); m != nil {
		strict = strings.TrimSpace(m[1])
	}
	if all := gsm8kFlexible.FindAllString(answer, -1); len(all) > 0 {
		flexible = strings.TrimSpace(all[len(all)-1])
	}
	want := plain(f.Target)
	return map[string]float64{"exact_match,strict-match": count(plain(strict) == want), "exact_match,flexible-extract": count(plain(flexible) == want)}
}

// punctuation is Python's string.punctuation.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// triviaMetrics compares an answer with all names of the right one.
func triviaMetrics(f *Form, answer string) map[string]float64 {
	plain := func(text string) string {
		return strings.Map(func(r rune) rune {
			if strings.ContainsRune(punctuation, r) {
				return -1
			}
			return r
		}, strings.ToLower(text))
	}
	answer = plain(strings.TrimSpace(answer))
	return map[string]float64{"exact_match,remove_whitespace": count(slices.ContainsFunc(f.Targets, func(t string) bool { return plain(t) == answer }))}
}

func count(right bool) float64 {
	if right {
		return 1
	}
	return 0
}

// Metrics are lm-eval's metrics of one reply, by their names with that of the filter.
func (q *Question) Metrics(f *Form, r Reply) map[string]float64 {
	n := max(len(f.Choices), len(f.Texts))
	switch {
	case n > 0 && len(r.Likelihoods) == n:
		best, norm := 0, 0
		each := func(i int) float64 { return r.Likelihoods[i] / float64(max(1, utf8.RuneCountInString(f.Choices[i]))) }
		for i, l := range r.Likelihoods {
			if l > r.Likelihoods[best] {
				best = i
			}
			if f.Norm && each(i) > each(norm) {
				norm = i
			}
		}
		out := map[string]float64{"acc,none": count(best == f.Correct)}
		if f.Norm {
			out["acc_norm,none"] = count(norm == f.Correct)
		}
		return out
	case f.Task.Open != nil:
		return f.Task.Open(f, r.Answer)
	}
	return map[string]float64{"exact_match,none": count(r.Mark.Exact), "right,none": count(r.Mark.Right), "f1,none": r.Mark.F1}
}
