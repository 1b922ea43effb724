package eval

import (
	"context"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/train"
)

// promptOf is a question as the model takes it: a conversation by its template, else a text that it goes on with.
func promptOf(e *engine.Engine, q *score.Question, passage string) ([]int32, error) {
	if passage == "" {
		passage = q.Passage
	}
	text := q.Question
	if passage != "" {
		text = "Answer from this text:\n\n" + passage + "\n\nQuestion: " + q.Question
	}
	template, err := e.Template()
	if err != nil {
		return nil, err
	}
	if template == nil {
		if q.System != "" {
			text = q.System + "\n\n" + text
		}
		if passage == "" {
			text = "Question: " + text
		}
		return e.Tokenizer.Encode(text+"\nAnswer:", true)
	}
	var messages []chat.Value
	if q.System != "" {
		messages = append(messages, chat.NewMessage("system", q.System))
	}
	return e.Prompt(append(messages, chat.NewMessage("user", text)), engine.PromptOptions{})
}

// Answers decodes an answer to each prompt with the likeliest words, and gives each to got as it comes, by its index. It is
// the one place that decodes for measuring.
func Answers(ctx context.Context, e *engine.Engine, prompts [][]int32, maxTokens int, got func(i int, text string) error) error {
	s, err := e.Session(engine.SessionOptions{})
	if err != nil {
		return err
	}
	defer s.Close()
	for i, ids := range prompts {
		s.Reset() // so that an answer does not hang on the one before
		text, _, err := s.Answer(ctx, ids, generate.Options{MaxTokens: maxTokens})
		if err != nil {
			return err
		}
		if err := got(i, tidyAnswer(text)); err != nil {
			return err
		}
	}
	return nil
}

// Likelihoods are the log-likelihoods of choices after a prompt, each divided by its length in bytes as lm-eval's acc_norm does.
func Likelihoods(e *engine.Engine, prompt []int32, choices []string) ([]float64, error) {
	template, err := e.Template()
	if err != nil {
		return nil, err
	}
	rows := make([]train.Example, len(choices))
	for i, choice := range choices {
		if template == nil {
			choice = " " + choice // after "Answer:"
		}
		ids, err := e.Tokenizer.EncodePlain(choice)
		if err != nil {
			return nil, err
		}
		all := append(append([]int32{}, prompt...), ids...)
		rows[i] = train.Example{IDs: all, Loss: [][2]int{{len(prompt), len(all)}}}
	}
	t := tensor.NewTape(e.Model.Device())
	t.Exact = true
	losses, err := train.Losses(t, e.Model, rows)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(choices))
	for i, row := range rows {
		n := countTargets(row)
		for _, loss := range losses[:n] {
			out[i] -= float64(loss)
		}
		losses = losses[n:]
		out[i] /= float64(max(len(choices[i]), 1))
	}
	return out, nil
}
