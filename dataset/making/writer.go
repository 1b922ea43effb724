package making

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/profile"
)

// A Writer is a model that writes rows, and how it is used.
type Writer struct {
	Model   dataset.Completer
	Recipe  *Recipe
	Dir     string // that the log of calls lies in; "" keeps none
	Budget  int    // tokens of prompts and answers, at most; 0 for no limit
	MaxCopy int    // words of the page in a row, at most, that an answer may have; 0 for any
	Votes   int    // of the judge on a doubtful row
	// Rows is how many are wanted of all passages together, shared out by what these have to tell; 0 is one for thirty words.
	Rows int
	// Sample asks for about as many rows only, of passages all over the books; 0 asks for all.
	Sample int
	// Progress hears how it comes along. May be nil.
	Progress func(Progress)
}

// Progress is how far a writer is.
type Progress struct {
	Done, Total int // tasks
	Rows        int // that were taken
	Tokens      int // of this process
	Rejected    map[string]int
}

// A task is one passage with the kinds of questions that are wanted of it.
type task struct {
	passage, second *Passage // second: for questions over two passages; nil for none
	kinds           []Written
	audience        string
	difficulty      string
	profile         *profile.Profile
	seed            uint64
}

// Bounds of the rows of a passage.
const (
	wordsPerRow  = 30
	mostPerCall  = 6
	leastToAsk   = 25 // words of a passage that is asked
	answerTokens = 220
)

// writer is the state of one run of a Writer.
type writer struct {
	*maker
	opt   Writer
	calls *calls

	mu       sync.Mutex
	progress Progress
	failed   int // calls in a row without an answer
	answered int
	last     error // of a call that failed
}

// information is what a passage has to ask for: its figures, and the words that few other passages have, each once. A page of
// repetitions has little of it. Passages of a few words have none.
func (m *maker) information() (of map[*Passage]float64, all float64) {
	const perFigure = 2 // words: a figure is rarely without what it is a figure of
	of = map[*Passage]float64{}
	for _, p := range m.passages {
		if wordCount(p.Text) < leastToAsk {
			continue
		}
		seen, sum := map[string]bool{}, 1.0
		for _, w := range wordRE.FindAllString(p.Text, -1) {
			if w = strings.ToLower(w); !seen[w] && !common[w] {
				seen[w] = true
				sum += math.Log(float64(len(m.passages)+1)/float64(m.words.in[w]+1)) / math.Log(float64(len(m.passages)+1))
			}
		}
		for _, f := range figures(p.Text) {
			if text := p.Text[f.from:f.to]; !seen[text] {
				seen[text] = true
				sum += perFigure
			}
		}
		of[p] = sum
		all += sum
	}
	return of, all
}

// tasks share the rows out: each passage gets some by what it has to tell, before any gets more.
func (m *maker) tasks(w *Writer) (out []task) {
	dice := m.dice(20)
	info, all := m.information()
	users := m.opt.Profiles
	if len(users) == 0 {
		users = w.Recipe.profiles
	}
	var asked []*Passage
	words := 0
	for _, p := range m.passages {
		if info[p] > 0 {
			asked = append(asked, p)
			words += wordCount(p.Text)
		}
	}
	rows := w.Rows
	if rows == 0 {
		rows = words / wordsPerRow
	}
	for i, p := range asked {
		want := max(int(float64(rows)*info[p]/all+0.5), 1)
		var second *Passage
		if i+1 < len(asked) && asked[i+1].unit == p.unit {
			second = asked[i+1]
		}
		for want > 0 {
			k := min(want, mostPerCall)
			want -= k
			t := task{passage: p, seed: dice.Uint64(), audience: w.Recipe.Audiences[dice.IntN(len(w.Recipe.Audiences))], difficulty: w.Recipe.Difficulties[dice.IntN(len(w.Recipe.Difficulties))]}
			if n := len(users); n > 0 {
				t.profile = users[dice.IntN(n)]
			}
			t.kinds = kindsFor(w.Recipe, p, second, k, dice.IntN)
			if slices.Contains(t.kinds, "multi-hop") {
				t.second = second
			}
			out = append(out, t)
		}
	}
	return sampled(out, w.Sample)
}

// sampled gives tasks for about n rows, evenly of all.
func sampled(all []task, n int) (out []task) {
	rows := 0
	for _, t := range all {
		rows += len(t.kinds)
	}
	if n == 0 || n >= rows {
		return all
	}
	calls := max(n*len(all)/rows, 1)
	for k := range calls {
		out = append(out, all[k*len(all)/calls])
	}
	return out
}

// kindsFor draws kinds by their weights, of those that a passage can give.
func kindsFor(r *Recipe, p, second *Passage, n int, draw func(int) int) (out []Written) {
	weights, sum := map[Written]int{}, 0
	for k, weight := range r.Kinds {
		if k == "multi-hop" && second == nil || k == "numbers" && len(figures(p.Text)) < 2 {
			continue
		}
		weights[k] = weight
		sum += weight
	}
	names := slices.Sorted(maps.Keys(weights))
	for range n {
		if sum == 0 {
			break
		}
		at := draw(sum)
		for _, k := range names {
			if at -= weights[k]; at < 0 {
				out = append(out, k)
				if weights[k] > 1 { // the next is likelier another
					weights[k]--
					sum--
				}
				break
			}
		}
	}
	return out
}

// write has the model write rows of all passages, and adds what is taken to the facts.
func (m *maker) write(ctx context.Context, opt *Writer) (err error) {
	w := &writer{maker: m, opt: *opt, calls: &calls{have: map[string]dataset.Completion{}}}
	if opt.Dir != "" {
		if w.calls, err = openCalls(opt.Dir); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.calls.Close()) }()
	}
	tasks := m.tasks(opt)
	w.progress = Progress{Total: len(tasks), Rejected: map[string]int{}}
	found := make([][]*fact, len(tasks))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next int
	var workers sync.WaitGroup
	for range min(max(opt.Model.Together(), 1), len(tasks)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				w.mu.Lock()
				i := next
				next++
				w.mu.Unlock()
				if i >= len(tasks) {
					return
				}
				facts, err := w.task(ctx, &tasks[i])
				if err != nil {
					stop(err)
					return
				}
				found[i] = facts
				w.tell(func(p *Progress) { p.Done++; p.Rows += len(facts) })
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, errBudget) {
		return err
	} else if err != nil {
		m.warn(fault.Say("the budget of %d tokens is spent after %d of %d calls; the same command goes on with a larger %v", opt.Budget, w.progress.Done, len(tasks), fault.Setting("budget")))
	}
	if w.answered == 0 && w.last != nil {
		return w.last
	}
	for _, facts := range found { // in the order of the book, whoever was first
		for _, f := range facts {
			m.add(f)
		}
	}
	for reason, n := range w.progress.Rejected {
		m.dropped[reason] += n
	}
	m.report.Calls, m.report.Spent = w.progress.Done, w.calls.spent
	return nil
}

// tell changes the progress and shows it.
func (w *writer) tell(change func(*Progress)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.progress)
	w.calls.mu.Lock()
	w.progress.Tokens = w.calls.spent
	w.calls.mu.Unlock()
	if w.opt.Progress != nil {
		w.opt.Progress(w.progress)
	}
}

// maxFailed is how many calls in a row may fail before that is the server's fault.
const maxFailed = 5

// ask asks the model. A call that fails for itself is one without an answer; several in a row end the run.
func (w *writer) ask(ctx context.Context, p dataset.Prompt) (string, error) {
	out, _, err := w.calls.ask(ctx, w.opt.Model, p, w.opt.Budget)
	w.mu.Lock()
	defer w.mu.Unlock()
	var mistake *fault.Mistake
	switch {
	case err == nil:
		w.failed = 0
		w.answered++
		return out.Text, nil
	case ctx.Err() != nil, errors.Is(err, errBudget), errors.As(err, &mistake):
		return "", err
	}
	w.last = err
	if w.failed++; w.failed >= maxFailed {
		return "", fault.Advise(fmt.Errorf("%d calls in a row have failed: %w", w.failed, err), "What was answered is kept: the same command goes on from there.")
	}
	w.progress.Rejected["no answer from the model"]++
	return "", nil
}

const temperature = 0.7

// task has one passage asked, its rows looked at, and the bad ones mended once.
func (w *writer) task(ctx context.Context, t *task) (out []*fact, err error) {
	prompt := dataset.Prompt{System: writerSystem, User: w.instructions(t), MaxTokens: answerTokens*len(t.kinds) + 100, Temperature: temperature, Seed: t.seed, Schema: rowsSchema(t.kinds)}
	text, err := w.ask(ctx, prompt)
	if err != nil {
		return nil, err
	}
	drafts := parseDrafts(text)
	if len(drafts) == 0 && text != "" { // once more, with what was wrong
		prompt.User += "\n\nYour last reply could not be read. Reply with the JSON object alone, beginning with {."
		if text, err = w.ask(ctx, prompt); err != nil {
			return nil, err
		}
		if drafts = parseDrafts(text); len(drafts) == 0 {
			w.reject("the reply cannot be read", 1)
		}
	}
	page := t.page()
	for i := range drafts {
		d := &drafts[i]
		if _, ok := writtenKinds[d.Kind]; !ok {
			d.Kind = t.kinds[min(i, len(t.kinds)-1)]
		}
		reason, err := w.judged(ctx, d, page, t)
		if err != nil {
			return nil, err
		}
		wrong := ""
		if reason != "" {
			before, why := *d, reason
			if d, reason, err = w.mend(ctx, d, page, t, reason); err != nil {
				return nil, err
			}
			if untrue[why] && key(before.Question) == key(d.Question) && key(before.Answer) != key(d.Answer) {
				wrong = before.Answer
			}
		}
		if reason != "" {
			w.reject(reason, 1)
			continue
		}
		f := w.fact(d, t)
		f.wrong = wrong
		out = append(out, f)
	}
	return out, nil
}

// untrue are the reasons for which an answer is the worse one of a pair, once it was mended.
var untrue = map[string]bool{noQuote: true, noFigure: true, otherUnit: true, claims: true, unsure: true, breaks: true}

func (w *writer) reject(reason string, n int) {
	w.tell(func(p *Progress) { p.Rejected[reason] += n })
}

// page is what a task's rows are held against.
func (t *task) page() string {
	if t.second != nil {
		return t.passage.Text + "\n\n" + t.second.Text
	}
	return t.passage.Text
}

// judged is refuse, with a judge where there is doubt.
func (w *writer) judged(ctx context.Context, d *draft, page string, t *task) (string, error) {
	reason, doubt := w.refuse(d, page)
	if reason == "" && d.Kind == "profile" && len(t.profile.Scan(d.Answer)) > 0 {
		reason = breaks
	}
	if reason != "" || !doubt || w.opt.Votes == 0 {
		return reason, nil
	}
	yes, said := 0, 0
	for vote := range w.opt.Votes {
		text, err := w.ask(ctx, dataset.Prompt{System: judgeSystem, User: judgePrompt(d, t), MaxTokens: 60, Temperature: temperature * float64(min(vote, 1)), Seed: t.seed + uint64(vote), Schema: verdictSchema})
		if err != nil {
			return "", err
		}
		if v, ok := verdict(text); ok {
			said++
			if v {
				yes++
			}
		}
		if left := w.opt.Votes - vote - 1; yes > left+said-yes || said-yes > left+yes { // the others change nothing
			break
		}
	}
	if d.Kind == "unanswerable" {
		if yes > 0 {
			return answerable, nil
		}
		return "", nil
	}
	if yes*2 <= said || said == 0 {
		return unsure, nil
	}
	return "", nil
}

// verdict reads yes or no, the last of them that is said.
func verdict(text string) (yes, ok bool) {
	if _, after, thought := strings.Cut(text, "</think>"); thought {
		text = after
	}
	for _, word := range wordRE.FindAllString(strings.ToLower(text), -1) {
		if word == "yes" || word == "no" {
			yes, ok = word == "yes", true
		}
	}
	return yes, ok
}

// mend has a row written again, once, with the reason why it was not taken.
func (w *writer) mend(ctx context.Context, d *draft, page string, t *task, reason string) (*draft, string, error) {
	user := passageText(t) + "\n\nThis row was written for it:\n" + rowText(d) + "\n\nIt cannot be taken: " + reason + ". " + howToMend[reason] +
		"\nWrite it again, with everything in the answer from the passage. " + formatText(d.Kind) + "\nReply with one JSON object."
	text, err := w.ask(ctx, dataset.Prompt{System: writerSystem, User: user, MaxTokens: answerTokens + 100, Temperature: 0, Seed: t.seed, Schema: rowSchema(d.Kind)})
	if err != nil {
		return d, "", err
	}
	again := parseDrafts(text)
	if len(again) == 0 {
		return d, reason, nil
	}
	n := &again[0]
	n.Kind = d.Kind
	second, err := w.judged(ctx, n, page, t)
	return n, second, err
}

// fact makes a fact of a row that was taken.
func (w *writer) fact(d *draft, t *task) *fact {
	f := &fact{kind: Kind(d.Kind), by: "prompt:" + w.opt.Recipe.Name + "/" + string(d.Kind), model: w.opt.Model.Name(), passage: t.passage, second: t.second, block: t.passage.From,
		asks: []string{strings.TrimSpace(d.Other), d.Question}, answers: []string{d.Answer}, quote: d.Quote}
	if d.Kind == "profile" {
		f.profile = t.profile
	}
	if d.Kind == "follow-up" && wordCount(d.FollowQuestion) > 1 && strings.TrimSpace(d.FollowAnswer) != "" {
		f.more = []string{strings.TrimSpace(d.FollowQuestion), strings.TrimSpace(d.FollowAnswer)}
	}
	if metaRE.MatchString(f.asks[0]) || wordCount(f.asks[0]) < 3 || key(f.asks[0]) == key(d.Question) || d.Kind == "unanswerable" {
		f.asks[0] = ""
	}
	if f.must = figureFacts(d.Answer); len(f.must) == 0 || len(f.must) > 3 {
		f.must = termFacts(w.words.rare(d.Answer, d.Question+" "+d.Other, 2))
	}
	return f
}

// Plan is what writing will take.
type Plan struct {
	Calls  int `json:"calls"`
	Rows   int `json:"rows"`
	Prompt int `json:"prompt_tokens"`
	Tokens int `json:"tokens"` // of answers, at most
}

// plan adds up what the tasks will ask. A third more calls come for what is to be mended and judged.
func (m *maker) plan(opt *Writer) (p Plan, err error) {
	w := &writer{maker: m, opt: *opt, calls: &calls{have: map[string]dataset.Completion{}}}
	for _, t := range m.tasks(opt) {
		prompt := dataset.Prompt{System: writerSystem, User: w.instructions(&t), MaxTokens: answerTokens*len(t.kinds) + 100}
		n, err := m.tokens(prompt.System + prompt.User)
		if err != nil {
			return p, err
		}
		p.Calls++
		p.Rows += len(t.kinds)
		p.Prompt += n
		p.Tokens += prompt.MaxTokens
	}
	return p, nil
}
