package tune

import (
	"cmp"
	"context"
	"math"
	"time"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// mostAsking is the share of the time that questions should take at most.
const mostAsking = 0.05

// ask has the questions put to the model, reports the answers, and keeps the weights that gave the most right ones. A run
// that goes on knows the best of before from its log.
func (j *Job) ask(records []run.Record) func(context.Context, int) error {
	if j.options.Ask == nil || j.Recipe.EvalQuestions == "" {
		return nil
	}
	best, began, spent, warned := -1, time.Now(), 0.0, false
	for _, r := range records {
		if e, ok := r.Event.(run.Asked); ok && e.Iteration > 0 {
			best = max(best, e.Right)
		}
	}
	return func(ctx context.Context, done int) error {
		asked, err := j.options.Ask(ctx, j.Engine)
		if err != nil {
			return err
		}
		asked.Iteration = done
		j.options.report(asked)
		spent += asked.Seconds
		if share := spent / max(time.Since(began).Seconds(), 1e-9); done > 0 && !warned && share > mostAsking && done < j.Recipe.Iters {
			warned = true
			every := float64(cmp.Or(j.Recipe.EvalEvery, j.Recipe.StepsPerEval))
			j.options.report(run.Warning{Text: fault.Say("questions take %.0f %% of the time so far: with %v %.0f it would be about %.0f %%", 100*share, fault.Setting("eval_every"),
				math.Ceil(every*share/mostAsking/10)*10, 100*mostAsking)})
		}
		if !j.Recipe.SaveBest || done == 0 || asked.Right <= best {
			return nil
		}
		best = asked.Right
		if err := j.saveBest(train.Best{Iteration: done + 1}, &asked); err != nil {
			j.options.report(run.Warning{Text: fault.Say("the best weights, those after iteration %d, could not be saved: %v", done, err)})
		}
		return nil
	}
}

// checkAsking refuses questions that nobody asks.
func (o Options) checkAsking(r *Recipe) error {
	if r.Train && r.EvalQuestions != "" && o.Ask == nil {
		return fault.Given("eval_questions", r.EvalQuestions, "nothing here can ask questions").Try("Leave it out, or set Options.Ask.")
	}
	return nil
}
