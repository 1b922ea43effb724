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
func asking(path string) (func(context.Context, *engine.Engine) (run.Asked, error), error) {
	questions, err := score.Read("eval_questions", path)
	if err != nil {
		return nil, err
	}
	turn := 0
	return func(ctx context.Context, e *engine.Engine) (run.Asked, error) {
		began := time.Now()
		v := eval.Evaluation{Questions: questions, MaxTokens: askedTokens}
		results, err := v.Run(ctx, e)
		if err != nil {
			return run.Asked{}, err
		}
		out := run.Asked{Questions: len(questions)}
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
