package eval

import (
	"context"
	"fmt"
	"strings"

	"github.com/lentil-lm/lentil/endpoint"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval/score"
)

// A Judge says which of two answers is the better one.
type Judge interface {
	// Name says who judges, in results.
	Name() string
	// Vote is 'A' or 'B', or 'T' for neither. vote numbers the votes on the same pair.
	Vote(ctx context.Context, prompt string, vote int) (byte, error)
}

// judgePrompt asks for the better of two answers.
func judgePrompt(q *score.Question, a, b string) string {
	var s strings.Builder
	s.WriteString("Two answers to a question are to be compared. The better one agrees with the reference and adds nothing that is wrong. Length and style do not count.\n\n")
	fmt.Fprintf(&s, "Question: %s\n", q.Question)
	if q.Answer != "" {
		fmt.Fprintf(&s, "Reference: %s\n", q.Answer)
	}
	for _, f := range q.Facts {
		fmt.Fprintf(&s, "It has to tell: %s\n", f)
	}
	fmt.Fprintf(&s, "\nAnswer A: %s\n\nAnswer B: %s\n\nWhich is better? Reply with one word: A, B or TIE.", a, b)
	return s.String()
}

// judge has each pair of answers judged in both orders, so that a liking for the first one cancels out.
func (v *Evaluation) judge(ctx context.Context, r *score.Results) error {
	by := key("judge", v.Judge.Name())
	for c, column := range r.Columns {
		if column.Against < 0 {
			continue
		}
		j := score.Judged{Column: c, Judge: v.Judge.Name()}
		var rates []float64
		for i := range r.Answered {
			a := &r.Answered[i]
			if len(a.Choices) > 0 {
				continue
			}
			sum, err := v.pair(ctx, by, a, column.Against, c)
			if err != nil {
				return err
			}
			switch {
			case sum > 0:
				j.Won++
				rates = append(rates, 1)
			case sum < 0:
				j.Lost++
				rates = append(rates, 0)
			default:
				j.Tied++
				rates = append(rates, 0.5)
			}
			if v.Progress != nil {
				v.Progress("Judging "+column.Name, i+1, len(r.Answered))
			}
		}
		j.Rate, j.P = score.Mean(rates, v.Seed), score.McNemar(j.Won, j.Lost)
		r.Judged = append(r.Judged, j)
	}
	return nil
}

// pair sums up the votes on the answers of two columns: above 0 for the one of after.
func (v *Evaluation) pair(ctx context.Context, by string, a *score.Answered, before, after int) (sum int, err error) {
	x, y := a.Replies[before].Answer, a.Replies[after].Answer
	if x == y {
		return 0, nil
	}
	for vote := range max(v.Votes, 1) {
		for _, swapped := range []bool{false, true} {
			first, second, gain := x, y, map[byte]int{'A': -1, 'B': 1}
			if swapped {
				first, second, gain = y, x, map[byte]int{'A': 1, 'B': -1}
			}
			name := key(a.Key(), a.Question.Answer, first, second, fmt.Sprint(vote))
			known, ok := v.Answers.find(by, name)
			if !ok || len(known.Answer) != 1 {
				got, err := v.Judge.Vote(ctx, judgePrompt(&a.Question, first, second), vote)
				if err != nil {
					return 0, err
				}
				known = kept{By: by, Question: name, Answer: string(got)}
				if err := v.Answers.add(known); err != nil {
					return 0, err
				}
			}
			sum += gain[known.Answer[0]]
		}
	}
	return sum, nil
}

// A ModelJudge is a model of one's own. It prefers the letter that it finds likelier.
type ModelJudge struct {
	Engine *engine.Engine
	Label  string
}

// Name is the model's.
func (m ModelJudge) Name() string { return m.Label }

// Vote compares the likelihoods of the letters. It is the same each time.
func (m ModelJudge) Vote(ctx context.Context, prompt string, _ int) (byte, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	ids, err := promptOf(m.Engine, &score.Question{Question: prompt}, "")
	if err != nil {
		return 0, err
	}
	l, err := likelihoods(m.Engine, ids, []string{"A", "B"})
	switch {
	case err != nil:
		return 0, err
	case l[0] > l[1]:
		return 'A', nil
	case l[1] > l[0]:
		return 'B', nil
	}
	return 'T', nil
}

// An EndpointJudge asks an endpoint that speaks OpenAI's chat completions.
type EndpointJudge struct{ *endpoint.Client }

// Name is the model's, without the address.
func (j EndpointJudge) Name() string { return j.Model() }

// Vote asks once. The first vote is the likeliest reply, others are drawn.
func (j EndpointJudge) Vote(ctx context.Context, prompt string, vote int) (byte, error) {
	const answerTokens = 1024 // some think aloud first
	r := endpoint.Request{User: prompt, MaxTokens: answerTokens, Seed: uint64(vote) << 33}
	if vote > 0 {
		r.Temperature = 0.7
	}
	reply, err := j.Chat(ctx, r)
	if err != nil {
		return 0, err
	}
	return verdictOf(reply.Text), nil
}

// verdictOf reads the last word of a reply that is a verdict; a judge that says none of them is for neither.
func verdictOf(text string) byte {
	if _, after, ok := strings.Cut(text, "</think>"); ok {
		text = after
	}
	out := byte('T')
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') }) {
		if w == "A" || w == "B" || w == "TIE" {
			out = w[0]
		}
	}
	return out
}
