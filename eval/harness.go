package eval

import (
	"context"
	"math"
	"strings"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/internal/mersenne"
	"github.com/lentil-lm/lentil/train"
)

// A Harness asks questions as lm-eval does it through mlx_lm.evaluate: in the words of its tasks, with examples before a
// question, and with the log-likelihoods of what follows.
type Harness struct {
	Shots     int        // examples before a question; below 0 for as many as the task has
	Multiturn bool       // examples are turns of a conversation, else one message with the question
	Template  bool       // by the model's chat template, if it has one
	Kwargs    *chat.Dict // more variables for the template; may be nil
	MaxTokens int        // of an open answer
	Sampling  generate.Sampling
	Seed      uint64 // of the examples, and of answers that are drawn
	Progress  func(done, total int)
}

// Run asks questions of one task. examples are other rows of it; nil draws examples from the questions themselves, without the one that
// is asked.
func (h Harness) Run(ctx context.Context, e *engine.Engine, questions, examples []score.Question) ([]score.Reply, error) {
	template, err := e.Template()
	if err != nil {
		return nil, err
	}
	h.Template = h.Template && template != nil
	r := mersenne.Python(h.Seed)
	replies := make([]score.Reply, len(questions))
	var open []int
	var prompts [][]int32
	done := 0
	step := func() {
		if done++; h.Progress != nil {
			h.Progress(done, len(questions))
		}
	}
	for i := range questions {
		q := &questions[i]
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f := q.Form()
		shots, err := h.shots(r, &f, questions, examples, i)
		if err != nil {
			return nil, err
		}
		contexts, follow, err := h.contexts(e, &f, shots)
		if err != nil {
			return nil, fault.Of("question %d (%s): %w", i+1, q.Name(), err)
		}
		if follow == nil {
			ids, err := e.Tokenizer.Encode(contexts[0], !h.Template)
			if err == nil {
				err = fits(e, ids)
			}
			if err != nil {
				return nil, fault.Of("question %d (%s): %w", i+1, q.Name(), err)
			}
			open, prompts = append(open, i), append(prompts, ids)
			continue
		}
		if replies[i].Likelihoods, err = h.likelihoods(e, contexts, follow); err != nil {
			return nil, fault.Of("question %d (%s): %w", i+1, q.Name(), err)
		}
		step()
	}
	if len(open) == 0 {
		return replies, nil
	}
	o := generate.Options{MaxTokens: h.MaxTokens, Sampling: h.Sampling, Seed: h.Seed, StopStrings: questions[open[0]].Form().Task.Until}
	err = Answers(ctx, e, prompts, o, func(k int, text string) error {
		q := &questions[open[k]]
		replies[open[k]] = score.Reply{Answer: text, Mark: q.Mark(text, "")}
		step()
		return nil
	})
	return replies, err
}

// shots are the examples before question i, drawn as lm-eval draws them.
func (h Harness) shots(r *mersenne.Random, f *score.Form, questions, examples []score.Question, i int) ([]score.Question, error) {
	n := h.Shots
	if n < 0 || f.Task.Fixed {
		n = f.Task.Shots
	}
	pool, spare := examples, 0
	own := pool == nil
	if own {
		pool = questions
	}
	if own || f.Task.Spare && !f.Task.First {
		spare = 1
	}
	if h.Shots < 0 && !f.Task.Fixed { // the task's number is a wish
		n = max(0, min(n, len(pool)-spare))
	}
	if n == 0 {
		return nil, nil
	}
	if n+spare > len(pool) {
		return nil, fault.Given("num_shots", n, "there are %d rows to take examples from", len(pool)).Try("Give fewer, or a file of more rows beside the task: NAME.train.jsonl.")
	}
	var out []score.Question
	take := func(k int) {
		if len(out) < n && (spare == 0 || pool[k].Key() != questions[i].Key()) {
			out = append(out, pool[k])
		}
	}
	if f.Task.First {
		for k := range pool {
			take(k)
		}
		return out, nil
	}
	for _, k := range r.Sample(len(pool), n+spare) {
		take(k)
	}
	if len(out) < n { // rows that are there twice
		return nil, fault.Given("num_shots", n, "%s is there more than once", questions[i].Name()).Try("Remove rows that are there twice.")
	}
	return out, nil
}

// contexts are the texts before what follows, one for all choices or one for each; follow is nil for an open answer.
func (h Harness) contexts(e *engine.Engine, f *score.Form, shots []score.Question) (contexts, follow []string, err error) {
	texts := f.Texts
	if texts == nil {
		texts = []string{f.Text}
	}
	for _, text := range texts {
		context, err := h.context(e, f.System, shots, text)
		if err != nil {
			return nil, nil, err
		}
		contexts = append(contexts, context)
	}
	delimiter := " "
	if h.Template {
		delimiter = ""
	}
	switch {
	case f.Texts != nil:
		for range contexts {
			follow = append(follow, delimiter+f.Target)
		}
	case f.Choices != nil:
		for _, c := range f.Choices {
			follow = append(follow, delimiter+c)
		}
	}
	return contexts, follow, nil
}

// context is one prompt: a description, examples with their answers, and the question.
func (h Harness) context(e *engine.Engine, system string, shots []score.Question, text string) (string, error) {
	var messages []chat.Value
	var one strings.Builder
	say := func(role, text, delimiter string) {
		if h.Multiturn {
			messages = append(messages, chat.NewMessage(role, text))
		}
		one.WriteString(text + delimiter)
	}
	for i := range shots {
		f := shots[i].Form()
		question := f.Text
		if f.Texts != nil {
			question = f.Texts[f.Correct]
		}
		say("user", question, " ")
		say("assistant", f.Target, "\n\n")
	}
	say("user", text, "")
	if !h.Template {
		return system + one.String(), nil
	}
	if !h.Multiturn {
		messages = []chat.Value{chat.NewMessage("user", one.String())}
	}
	if system != "" {
		messages = append([]chat.Value{chat.NewMessage("system", system)}, messages...)
	}
	return e.Render(messages, engine.PromptOptions{Kwargs: h.Kwargs})
}

// likelihoods are the log-likelihoods of what may follow. Context and what follows are encoded together, since the last token
// of the one may reach into the other.
func (h Harness) likelihoods(e *engine.Engine, contexts, follow []string) ([]float64, error) {
	rows := make([]train.Example, len(follow))
	for i, text := range follow {
		context := contexts[min(i, len(contexts)-1)]
		before, err := e.Tokenizer.Encode(context, !h.Template)
		if err != nil {
			return nil, err
		}
		all, err := e.Tokenizer.Encode(context+text, !h.Template)
		if err != nil {
			return nil, err
		}
		if len(before) == 0 || len(all) <= len(before) {
			return nil, fault.Of("there is nothing to predict: the question has %d tokens, with a choice %d", len(before), len(all))
		}
		rows[i] = train.Example{IDs: all, Loss: [][2]int{{len(before), len(all)}}}
	}
	out, err := sumsOf(e, rows)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if math.IsNaN(out[i]) {
			return nil, fault.Of("the likelihood of choice %d is no number: the weights are broken", i+1)
		}
	}
	return out, nil
}
