package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/lentil-lm/lentil/eval/score"
)

// printResults prints the table of an evaluation, what changed, and what was forgotten.
func printResults(out io.Writer, r *score.Results, flips int) {
	fmt.Fprintf(out, "\n%s\n", countQuestions(r))
	for _, block := range []func(io.Writer, *score.Results){printScores, printVerdicts, printTexts, printJudged} {
		block(out, r)
	}
	printFlips(out, r, flips)
}

// countQuestions is "120 questions: 80 trained, 40 unseen".
func countQuestions(r *score.Results) string {
	n := map[score.Kind]int{}
	for _, a := range r.Answered {
		n[a.Kind]++
	}
	var parts []string
	for _, k := range score.Kinds {
		if n[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[k], k))
		}
	}
	return fmt.Sprintf("%d questions: %s", len(r.Answered), strings.Join(parts, ", "))
}

// printScores prints a row for each score, a column for each model.
func printScores(out io.Writer, r *score.Results) {
	const name, cell = 34, 22
	line := fmt.Sprintf("%-*s", name, "")
	for _, c := range r.Columns {
		line += fmt.Sprintf("%-*s", cell, c.Name)
	}
	fmt.Fprintf(out, "\n%s\n", strings.TrimRight(line, " "))
	for _, row := range r.Rows {
		line := fmt.Sprintf("%-*s", name, row.Title())
		for _, s := range row.Scores {
			line += fmt.Sprintf("%-*s", cell, s.String())
		}
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
}

func printVerdicts(out io.Writer, r *score.Results) {
	first := true
	for c, column := range r.Columns {
		for _, row := range r.Rows {
			if row.Against[c] == nil {
				continue
			}
			if first {
				fmt.Fprintln(out)
				first = false
			}
			fmt.Fprintf(out, "%s against %s, %s: %s\n", column.Name, r.Columns[column.Against].Name, lowerFirst(row.Title()), row.Said(c))
		}
	}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func printTexts(out io.Writer, r *score.Results) {
	for _, t := range r.Texts {
		fmt.Fprintf(out, "\n%s, %d tokens: perplexity", t.Name, t.Tokens)
		sep := " "
		for c, column := range r.Columns {
			if column.Books {
				continue
			}
			fmt.Fprintf(out, "%s%s %.3f", sep, column.Name, t.Perplexity[c])
			if column.Adapter != "" {
				fmt.Fprintf(out, ", %s", t.Rise[c].Change())
			}
			sep = ", "
		}
		fmt.Fprintln(out)
	}
}

func printJudged(out io.Writer, r *score.Results) {
	for _, j := range r.Judged {
		c := r.Columns[j.Column]
		fmt.Fprintf(out, "\nJudge %s: %s better %d times, %s %d times, neither %d times (p = %.2g)\n", j.Judge, c.Name, j.Won, r.Columns[c.Against].Name, j.Lost, j.Tied, j.P)
	}
}

// printFlips shows answers that changed sides, of the adapter without books.
func printFlips(out io.Writer, r *score.Results, most int) {
	c := r.Tuned()
	won, lost := r.Flips(c)
	for _, part := range []struct {
		title string
		list  []score.Answered
	}{{"Became right", won}, {"Became wrong", lost}} {
		if len(part.list) == 0 {
			continue
		}
		show := part.list
		if most >= 0 {
			show = show[:min(most, len(show))]
		}
		if len(show) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s: %d\n", part.title, len(part.list))
		for _, a := range show {
			before, after := a.Replies[r.Columns[c].Against], a.Replies[c]
			fmt.Fprintf(out, "%s\n  %-7s %s %s\n  %-7s %s %s\n", oneLine(a.Question.Question), r.Columns[r.Columns[c].Against].Name, sign(before), oneLine(before.Answer), r.Columns[c].Name, sign(after), oneLine(after.Answer))
		}
		if more := len(part.list) - len(show); more > 0 {
			fmt.Fprintf(out, "  and %d more\n", more)
		}
	}
}

func sign(r score.Reply) string {
	if r.Mark.Right {
		return "✓"
	}
	return "✗"
}

// oneLine shows the beginning of a text on one line.
func oneLine(text string) string {
	const most = 200
	r := []rune(strings.Join(strings.Fields(text), " "))
	if len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return string(r)
}
