package eval

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/profile"
	"github.com/lentil-lm/lentil/train"
)

// An Evaluation is what is asked and measured.
type Evaluation struct {
	Questions []score.Question
	Profiles  []*profile.Profile // that questions are for
	Texts     []GeneralText      // for what was forgotten; may be empty
	Adapters  []Adapter          // each on the same weights as the base
	Books     *Library           // nil: nothing is looked up
	Judge     Judge              // nil: nobody judges
	Votes     int                // of the judge on each pair of answers, in each order; 0 is 1

	Answers   *AnswerFile       // keeps answers, and has those of an evaluation that was cut short; nil for none
	MaxTokens int               // of an answer; 0 is 256
	Sampling  generate.Sampling // of answers; the zero value takes the likeliest tokens
	Seed      uint64            // of the intervals, and of the judge's order
	// Model names the weights in Answers: answers of other weights are not taken for theirs.
	Model string
	// Progress hears of each answer and each batch. May be nil.
	Progress func(task string, done, total int)
}

// An Adapter is one that is evaluated.
type Adapter struct {
	Name   string // of its column; the first is mostly "tuned"
	Path   string
	SHA256 string // of its weights
}

// answerTokens is the default of Evaluation.MaxTokens.
const answerTokens = 256

// Run asks the base, which has no adapter on it, and each adapter. What it found is complete but for the names of files
// and commands, which the caller knows.
func (v *Evaluation) Run(ctx context.Context, base *engine.Engine) (*score.Results, error) {
	began := time.Now()
	if err := v.profiles(); err != nil {
		return nil, err
	}
	r := &score.Results{Seed: v.Seed, Columns: v.columns(), Made: began.UTC()}
	for _, q := range v.Questions {
		r.Answered = append(r.Answered, score.Answered{Question: q, Replies: make([]score.Reply, len(r.Columns))})
	}
	for at, a := range append([]Adapter{{}}, v.Adapters...) {
		if err := v.model(ctx, base, a, r, at); err != nil {
			return nil, err
		}
	}
	r.Rows = score.Rows(r.Columns, r.Answered, v.Seed)
	if v.Judge != nil {
		if err := v.judge(ctx, r); err != nil {
			return nil, err
		}
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// columns are the base and the adapters, and each again with books.
func (v *Evaluation) columns() []score.Column {
	out := []score.Column{{Name: "base", Against: -1}}
	for _, a := range v.Adapters {
		out = append(out, score.Column{Name: a.Name, Adapter: a.Path, SHA256: a.SHA256})
	}
	if v.Books != nil {
		for _, c := range out {
			c.Name, c.Books = c.Name+" + book", true
			if c.Adapter == "" {
				c.Against = 0
			} else {
				c.Against = 1 + len(v.Adapters) // the base with books
			}
			out = append(out, c)
		}
	}
	return out
}

// model fills in the columns of one model: the base's are number 0, the adapters' those after it.
func (v *Evaluation) model(ctx context.Context, base *engine.Engine, a Adapter, r *score.Results, at int) error {
	e := base
	if a.Path != "" {
		var err error
		if e, err = base.With(a.Path); err != nil {
			return err
		}
		defer e.Close()
	}
	for c, column := range r.Columns {
		if column.Adapter != a.Path || column.SHA256 != a.SHA256 || (c != at && c != at+1+len(v.Adapters)) {
			continue
		}
		if err := v.ask(ctx, e, r, c); err != nil {
			return err
		}
	}
	return v.texts(ctx, e, r, at)
}

// A prompt is one question as a model is asked it.
type prompt struct {
	index   int // of the question
	ids     []int32
	passage string // that was looked up
}

// ask puts all questions to one column.
func (v *Evaluation) ask(ctx context.Context, e *engine.Engine, r *score.Results, c int) error {
	column := r.Columns[c]
	by := key(v.Model, column.SHA256, fmt.Sprint(column.Books, v.Books.version(column.Books), v.maxTokens()))
	var prompts []prompt
	reply := func(i int, passage string, answer kept) {
		a := &r.Answered[i]
		if len(a.Choices) > 0 {
			a.Replies[c] = a.Choose(answer.Likelihoods)
			return
		}
		a.Replies[c] = score.Reply{Answer: answer.Answer, Mark: v.mark(&a.Question, answer.Answer, passage)}
	}
	for i := range r.Answered {
		q := &r.Answered[i].Question
		ids, passage, err := v.promptOf(e, q, column.Books)
		if err == nil {
			err = fits(e, ids)
		}
		if err != nil {
			return fault.Of("question %d (%s): %w", i+1, q.Name(), err)
		}
		if answer, ok := v.Answers.find(by, q.Key()); ok && len(answer.Likelihoods) == len(q.Choices) {
			reply(i, passage, answer)
			continue
		}
		prompts = append(prompts, prompt{i, ids, passage})
	}
	done, total := len(r.Answered)-len(prompts), len(r.Answered)
	got := func(p prompt, answer kept) error {
		answer.By, answer.Question = by, r.Answered[p.index].Key()
		reply(p.index, p.passage, answer)
		if done++; v.Progress != nil {
			v.Progress("Asking "+column.Name, done, total)
		}
		return v.Answers.add(answer)
	}
	return v.answers(ctx, e, r, prompts, got)
}

// promptOf is a question as a column is asked it, with as much of the passages that fit it as the model has room for.
func (v *Evaluation) promptOf(e *engine.Engine, q *score.Question, books bool) (ids []int32, passage string, err error) {
	if !books {
		ids, err = promptOf(e, q, "")
		return ids, "", err
	}
	room := e.Model.Config.MaxPositionEmbeddings
	if room -= min(v.maxTokens(), room/2); room <= 0 {
		room = math.MaxInt
	}
	for n, words := passages, math.MaxInt; ; {
		passage = firstWords(v.Books.Look(q.Question, n), words)
		if ids, err = promptOf(e, q, passage); err != nil || len(ids) <= room || passage == "" {
			return ids, passage, err
		}
		if n > 1 {
			n--
			continue
		}
		words = len(strings.Fields(passage)) * 3 / 4
	}
}

// firstWords cuts a text after n words.
func firstWords(text string, n int) string {
	at, inWord := 0, false
	for i, r := range text {
		if space := unicode.IsSpace(r); space == inWord {
			if inWord = !space; inWord {
				if at++; at > n {
					return text[:i]
				}
			}
		}
	}
	return text
}

// answers asks the open questions, and takes the likelihoods of choices.
func (v *Evaluation) answers(ctx context.Context, e *engine.Engine, r *score.Results, prompts []prompt, got func(prompt, kept) error) error {
	var open []prompt
	for _, p := range prompts {
		q := &r.Answered[p.index].Question
		if len(q.Choices) == 0 {
			open = append(open, p)
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		sums, err := likelihoods(e, p.ids, q.Choices)
		if err != nil {
			return fault.Of("question %d (%s): %w", p.index+1, q.Name(), err)
		}
		if err := got(p, kept{Likelihoods: sums}); err != nil {
			return err
		}
	}
	ids := make([][]int32, len(open))
	for i, p := range open {
		ids[i] = p.ids
	}
	return Answers(ctx, e, ids, generate.Options{MaxTokens: v.maxTokens(), Sampling: v.Sampling, Seed: v.Seed}, func(i int, text string) error { return got(open[i], kept{Answer: text}) })
}

func (v *Evaluation) maxTokens() int {
	if v.MaxTokens == 0 {
		return answerTokens
	}
	return v.MaxTokens
}

// texts measures the general texts.
func (v *Evaluation) texts(ctx context.Context, e *engine.Engine, r *score.Results, c int) error {
	for i := range v.Texts {
		text := &v.Texts[i]
		if len(r.Texts) == i {
			n := len(r.Columns)
			r.Texts = append(r.Texts, score.Text{Name: text.Name, Loss: make([]float64, n), Perplexity: make([]float64, n), Rise: make([]score.Interval, n)})
		}
		losses, tokens, err := text.measure(ctx, e.Model, func(done, total int) {
			if v.Progress != nil {
				v.Progress("Reading "+text.Name, done, total)
			}
		})
		if err != nil {
			return fmt.Errorf("%s: %w", text.Name, err)
		}
		text.fill(&r.Texts[i], c, losses, tokens, v.Seed)
		if v.Books != nil { // the text is read without books
			text.fill(&r.Texts[i], c+1+len(v.Adapters), losses, tokens, v.Seed)
		}
	}
	return nil
}

// tidyAnswer takes the spaces around an answer off.
func tidyAnswer(text string) string { return strings.TrimSpace(text) }

// A GeneralText has nothing to do with the books: how well a model still predicts it tells what it forgot.
type GeneralText struct {
	Name string
	Rows []train.Example

	base []float64 // the base's losses by row
}
