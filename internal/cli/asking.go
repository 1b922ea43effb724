package cli

import (
	"context"
	"time"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/run"
)

// Bounds of what is asked in the middle of a training.
const (
	askedTokens  = 96 // of an answer: it has to tell a fact
	askedSamples = 2  // answers that are shown
)

// asking reads a file of questions and gives what asks them: see tune.Options.Ask.
func asking(path string) (func(context.Context, *engine.Engine, int) (run.Asked, error), error) {
	all, err := score.Read("eval_questions", path)
	if err != nil {
		return nil, err
	}
	turn := 0
	var questions []score.Question // of each time
	return func(ctx context.Context, e *engine.Engine, tokens int) (run.Asked, error) {
		began := time.Now()
		if questions == nil {
			if questions, err = some(e, all, tokens); err != nil {
				return run.Asked{}, err
			}
		}
		v := eval.Evaluation{Questions: questions, MaxTokens: askedTokens}
		results, err := v.Run(ctx, e)
		if err != nil {
			return run.Asked{}, err
		}
		out := run.Asked{Questions: len(questions)}
		if len(questions) < len(all) {
			out.Of = len(all)
		}
		for _, a := range results.Answered {
			if a.Replies[0].Mark.Right {
				out.Right++
			}
		}
		for k := range min(askedSamples, len(questions)) { // each time others
			a := results.Answered[(turn+k)%len(questions)]
			out.Samples = append(out.Samples, run.Sample{Question: a.Question.Question, Answer: a.Replies[0].Answer, Right: a.Replies[0].Mark.Right})
		}
		turn += askedSamples
		out.Seconds = time.Since(began).Seconds()
		return out, nil
	}, nil
}

// What a question costs, in tokens that are trained on in the same time. Measured on the demo's model.
const (
	promptCost = 1. // of a token that is read
	answerCost = 4. // of one that is written, with fifteen others
	leastAsked = 10 // questions that are asked whatever it costs: fewer tell nothing
)

// some are as many of the questions as may be asked in the time of so many tokens, from all over the file; 0 are all.
func some(e *engine.Engine, all []score.Question, tokens int) ([]score.Question, error) {
	if tokens == 0 {
		return all, nil
	}
	cost := 0.0
	for i := range all {
		ids, err := e.Tokenizer.Encode(all[i].System+all[i].Passage+all[i].Question, false)
		if err != nil {
			return nil, err
		}
		answer, err := e.Tokenizer.Encode(all[i].Reference(), false)
		if err != nil {
			return nil, err
		}
		cost += promptCost*float64(len(ids)*max(1, len(all[i].Choices))) + answerCost*float64(min(len(answer), askedTokens))
	}
	n := int(float64(len(all)) * float64(tokens) / max(cost, 1))
	if n = max(n, leastAsked); n >= len(all) {
		return all, nil
	}
	out := make([]score.Question, n)
	for i := range out {
		out[i] = all[i*len(all)/n]
	}
	return out, nil
}
