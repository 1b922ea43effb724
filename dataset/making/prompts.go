package making

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
)

const writerSystem = `You write questions and answers from which a model learns what a book says. You reply with JSON and nothing else.`

const judgeSystem = `You check whether a passage says what is claimed. You reply with one word: yes or no.`

// instructions ask for the rows of a task.
func (w *writer) instructions(t *task) string {
	var b strings.Builder
	b.WriteString(passageText(t))
	fmt.Fprintf(&b, "\n\nWrite %d questions about %s, each with its answer, as %s would ask them. They are %s. ", len(t.kinds), w.opt.Recipe.About, t.audience, t.difficulty)
	b.WriteString("The kinds, in this order:\n")
	for i, k := range t.kinds {
		fmt.Fprintf(&b, "%d. %s: %s\n", i+1, k, writtenKinds[k])
		if k == "profile" {
			fmt.Fprintf(&b, "   Known of the user: %s\n", t.profile.Render())
		}
	}
	b.WriteString("\nRules:\n- Everything in an answer stands in the passage. Say it in your own words, in one to five sentences.\n" +
		"- Who asks has not seen the passage, and never speaks of a text, a passage or an author. Name the thing that is asked for.\n" +
		"- \"quote\" is the sentence, or line of a table, that has the answer, copied letter by letter.\n" +
		"- \"other_wording\" asks the same in other words.\n")
	for _, rule := range w.opt.Recipe.Rules {
		b.WriteString("- " + rule + "\n")
	}
	kind := Written("")
	for _, k := range t.kinds {
		if k == "follow-up" {
			kind = k
		}
	}
	b.WriteString("\n" + formatText(kind) + "\nReply with {\"rows\": [...]}.")
	return b.String()
}

// formatText shows the form of a row.
func formatText(kind Written) string {
	more := ""
	if kind == "follow-up" {
		more = `, "follow_question": "...", "follow_answer": "..."`
	}
	return `A row is {"kind": "...", "question": "...", "other_wording": "...", "answer": "...", "quote": "..."` + more + `}.`
}

// rowSchema is the form of a row, as a JSON schema: what a model writes in it can always be read.
func rowSchema(kind Written) string {
	names := []string{"question", "other_wording", "answer", "quote"}
	if kind == "follow-up" {
		names = append(names, "follow_question", "follow_answer")
	}
	var properties []string
	for _, n := range names {
		properties = append(properties, fmt.Sprintf(`"%s": {"type": "string", "maxLength": %d}`, n, schemaText))
	}
	return `{"type": "object", "properties": {` + strings.Join(properties, ", ") + `}, "required": ["` + strings.Join(names, `", "`) + `"], "additionalProperties": false}`
}

// schemaText is how long a text of a row may be, so that small models come to its end.
const schemaText = 500

// rowsSchema is the form of n rows. The rows of a task have the fields of its kinds.
func rowsSchema(kinds []Written) string {
	kind := Written("")
	if slices.Contains(kinds, "follow-up") {
		kind = "follow-up"
	}
	return fmt.Sprintf(`{"type": "object", "properties": {"rows": {"type": "array", "minItems": %d, "maxItems": %d, "items": %s}}, "required": ["rows"], "additionalProperties": false}`,
		len(kinds), len(kinds), rowSchema(kind))
}

// verdictSchema is the form of what a judge says.
const verdictSchema = `{"enum": ["yes", "no"]}`

func passageText(t *task) string {
	var b strings.Builder
	if title := t.passage.Title; title != "" {
		fmt.Fprintf(&b, "Book: %s\n", title)
	}
	if len(t.passage.Path) > 0 {
		fmt.Fprintf(&b, "Chapter: %s\n", strings.Join(t.passage.Path, " > "))
	}
	b.WriteString("Passage:\n\"\"\"\n" + t.passage.Text + "\n\"\"\"")
	if t.second != nil {
		b.WriteString("\n\nSecond passage:\n\"\"\"\n" + t.second.Text + "\n\"\"\"")
	}
	return b.String()
}

func rowText(d *draft) string {
	text, err := json.Marshal(d)
	if err != nil {
		return "" // texts always have a form in JSON
	}
	return string(text)
}

// howToMend says what helps against a reason.
var howToMend = map[string]string{
	meta:      "Who asks has not seen the passage: ask about the thing itself.",
	noQuote:   "Copy the quote letter by letter.",
	noFigure:  "Give only figures that stand in the passage.",
	otherUnit: "Give each figure with the unit that the passage has.",
	copies:    "Say it in your own words.",
	claims:    "Say plainly that you do not know, and give no figure.",
	breaks:    "Suggest nothing that the user does not eat.",
	unsure:    "Say nothing that the passage does not say.",
}

// judgePrompt asks whether the passage supports an answer, or whether it tells what was to be unanswerable.
func judgePrompt(d *draft, t *task) string {
	text := passageText(t) + "\n\nQuestion: " + d.Question
	if d.Kind == "unanswerable" {
		return text + "\n\nCan the question be answered from the passage? Reply yes or no."
	}
	return text + "\nAnswer: " + strings.TrimSpace(d.Answer+" "+d.FollowAnswer) + "\n\nDoes the passage say everything that the answer claims? Reply yes or no."
}

// Rewrite has a model write another row of the same kind on a passage.
func Rewrite(ctx context.Context, model dataset.Completer, row Reviewed, passage string, seed uint64) (question, answer string, err error) {
	d := draft{Kind: Written(row.Kind), Question: row.Question, Answer: row.Answer, Quote: row.Quote}
	user := "Passage:\n\"\"\"\n" + passage + "\n\"\"\"\n\nThis row was written for it:\n" + rowText(&d) +
		"\n\nWrite a better one on the same: clear to someone who has not seen the passage, and with nothing that the passage does not say. " + formatText(d.Kind) + "\nReply with one JSON object."
	out, err := model.Complete(ctx, dataset.Prompt{System: writerSystem, User: user, MaxTokens: answerTokens + 100, Temperature: temperature, Seed: seed, Schema: rowSchema(d.Kind)})
	if err != nil {
		return "", "", err
	}
	drafts := parseDrafts(out.Text)
	if len(drafts) == 0 {
		return "", "", fault.Of("the model wrote no row").Try("Try it again.")
	}
	return drafts[0].Question, drafts[0].Answer, nil
}
