package eval

import (
	"context"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
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

// fits refuses a prompt that the model has no room for.
func fits(e *engine.Engine, prompt []int32) error {
	if limit := e.Model.Config.MaxPositionEmbeddings; limit > 0 && len(prompt) > limit {
		return fault.Of("its prompt has %d tokens, the model takes %d (max_position_embeddings)", len(prompt), limit).Try("Shorten it.")
	}
	return nil
}

// together is how many answers are decoded at a time.
const together = 16

// Answers decodes an answer to each prompt, and gives them to got in their order. It is the one
// place that decodes for measuring. Answers are decoded together, and each is what it is alone: that is what RowWise is for.
func Answers(ctx context.Context, e *engine.Engine, prompts [][]int32, o generate.Options, got func(i int, text string) error) error {
	if len(prompts) == 0 {
		return nil
	}
	var err error
	if o.StopTokens, err = e.Stops(); err != nil {
		return err
	}
	batch := generate.NewBatch(generate.BatchOptions{Most: together, RowWise: true})
	defer batch.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type answer struct {
		text string
		err  error
	}
	answers := make([]chan answer, len(prompts))
	for i := range answers {
		answers[i] = make(chan answer, 1)
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop() // before the workers are waited for
	for range min(together, len(prompts)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(prompts); i = int(next.Add(1)) - 1 {
				text, err := collect(batch.Stream(ctx, e.Model, e.Tokenizer, prompts[i], o))
				answers[i] <- answer{text, err}
			}
		})
	}
	for i := range prompts {
		a := <-answers[i]
		if a.err != nil {
			return a.err
		}
		if err := got(i, tidyAnswer(a.text)); err != nil {
			return err
		}
	}
	return nil
}

// collect joins the pieces of an answer.
func collect(pieces iter.Seq2[generate.Piece, error]) (string, error) {
	var text strings.Builder
	for p, err := range pieces {
		if err != nil {
			return "", err
		}
		text.WriteString(p.Text)
	}
	return text.String(), nil
}

// likelihoods are the log-likelihoods of choices after a prompt of promptOf.
func likelihoods(e *engine.Engine, prompt []int32, choices []string) ([]float64, error) {
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
	return sumsOf(e, rows)
}

// sumsOf are the log-likelihoods of what each row learns.
func sumsOf(e *engine.Engine, rows []train.Example) ([]float64, error) {
	t := tensor.NewTape(e.Model.Device())
	t.Exact = true
	losses, err := train.Losses(t, e.Model, rows)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(rows))
	for i, row := range rows {
		n := countTargets(row)
		for _, loss := range losses[:n] {
			out[i] -= float64(loss)
		}
		losses = losses[n:]
	}
	return out, nil
}
