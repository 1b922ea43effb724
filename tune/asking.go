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
func (j *Job) ask(records []run.Record, tokens int) func(context.Context, int) error {
	if j.options.Ask == nil || j.Recipe.EvalQuestions == "" {
		return nil
	}
	best, began, spent, warned, told := -1, time.Now(), 0.0, false, false
	for _, r := range records {
		if e, ok := r.Event.(run.Asked); ok && e.Iteration > 0 {
			best = max(best, e.Right)
		}
	}
	return func(ctx context.Context, done int) error {
		asked, err := j.options.Ask(ctx, j.Engine, tokens)
		if err != nil {
			return err
		}
		if asked.Iteration = done; asked.Of > asked.Questions && !told {
			told = true
			j.options.say("On the way %d of %d questions are asked, which takes about %.0f %% of the time. With %v all are.", asked.Questions, asked.Of, 100*mostAsking, fault.Setting("eval_every"))
		}
		j.options.report(asked)
		spent += asked.Seconds
		if share := spent / max(time.Since(began).Seconds(), 1e-9); done > 0 && !warned && share > mostAsking && done < j.Recipe.Iters {
			warned = true
			every, setting := float64(cmp.Or(j.Recipe.EvalEvery, j.Recipe.StepsPerEval)), fault.Setting("eval_every")
			if asked.Of > asked.Questions { // with eval_every all would be asked
				setting = "steps_per_eval"
			}
			j.options.report(run.Warning{Text: fault.Say("questions take %.0f %% of the time so far: with %v %.0f it would be about %.0f %%", 100*share, setting,
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

// askTokens is how many tokens could be trained on in the time that asking once may take, 0 for no bound: who says how often
// questions are asked has all of them asked. It follows from the rows, not from a clock, so that a run goes the same way again.
func (r *Recipe) askTokens(lengths []int) int {
	if r.EvalEvery > 0 || len(lengths) == 0 {
		return 0
	}
	sum := 0
	for _, n := range lengths {
		sum += min(n, r.MaxSeqLength)
	}
	step := float64(min(r.BatchSize, len(lengths))*sum) / float64(len(lengths))
	times := 2 + (r.Iters-1)/r.StepsPerEval // at the beginning, on the way, at the end
	return max(1, int(mostAsking*float64(r.Iters)*step/float64(times)))
}

// checkAsking refuses questions that nobody asks.
func (o Options) checkAsking(r *Recipe) error {
	if r.Train && r.EvalQuestions != "" && o.Ask == nil {
		return fault.Given("eval_questions", r.EvalQuestions, "nothing here can ask questions").Try("Leave it out, or set Options.Ask.")
	}
	return nil
}
