package cli

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/dataset/making"
	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/report"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/tune"
)

// Where the demo's parts lie below its folder.
const (
	demoModel    = "model"
	demoData     = "data"
	demoUnseen   = "unseen"
	demoAdapters = "adapters"
	demoFused    = "fused"
	demoConfig   = "lora.yaml"
	demoAsked    = "questions.jsonl"
	demoMade     = "made"
)

// answerTokens is the longest answer that the demo waits for.
const answerTokens = 60

type demoOptions struct {
	Model, Dir, JSON string
	Overwrite        bool
	Iters, NumLayers int
	BatchSize        int
	LearningRate     float64
	deviceFlags
}

// demoFigures is what demo's --json writes.
type demoFigures struct {
	TestPPLBase    any     `json:"test_ppl_base"`
	TestPPLTuned   any     `json:"test_ppl_tuned"`
	UnseenPPLBase  any     `json:"unseen_ppl_base"`
	UnseenPPLTuned any     `json:"unseen_ppl_tuned"`
	RightBase      int     `json:"right_answers_base"`
	RightTuned     int     `json:"right_answers_tuned"`
	RightFused     int     `json:"right_answers_fused"`
	Questions      int     `json:"questions"`
	Survival       float64 `json:"fuse_survival"`
	// Scores of the questions in questions.jsonl, and the perplexity of facts that were never told; the whole is in adapters/eval.
	Scores    []score.Row  `json:"scores"`
	Texts     []score.Text `json:"texts"`
	Seconds   float64      `json:"seconds"`
	PeakBytes int64        `json:"peak_bytes"`
}

func newDemo(streams Streams) *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: fine-tune a small model on a nutrition handbook",
		Long: `Fine-tune a small model that comes with Lentil on questions about a nutrition
handbook, from start to end and offline: make rows of the handbook, measure the model,
train it, measure it again, ask it, put a question on each fact to it, fuse it. It takes
about a minute. With --model it does the same to any model.`,
		Example: `  lentil demo
  lentil demo --dir /tmp/demo --json figures.json
  lentil demo --model ./SmolLM2-135M-Instruct --iters 200`,
		GroupID: groupTrain,
		Args:    noArguments,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "", "`folder` or .gguf file of another model than the demo's own")
		f.StringVar(&o.Dir, "dir", "lentil-demo", "`folder` to put everything into")
		f.BoolVar(&o.Overwrite, "overwrite", false, "replace what is in the folder under the demo's names, whoever wrote it")
		f.IntVar(&o.Iters, "iters", 0, "training `steps` (default 500; with --model 300)")
		f.IntVar(&o.NumLayers, "num-layers", 0, "train the last `n` blocks; -1 for all (default 4; with --model 8)")
		f.IntVar(&o.BatchSize, "batch-size", 0, "rows per `step` (default 16; with --model 4)")
		f.Float64Var(&o.LearningRate, "learning-rate", 0, "`rate` at its highest (default 1e-3; with --model 1e-4)")
		o.deviceFlags.declare(f)
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), streams, o) }
	return cmd
}

// recipe gives what the demo trains by.
func (o *demoOptions) recipe(streams Streams) (tune.Recipe, error) {
	at := func(name string) string { return filepath.Join(o.Dir, name) }
	r := tune.New()
	if o.Model == "" {
		if _, err := configure(&r, at(demoConfig), nil, streams); err != nil {
			return r, err
		}
		r.Model = at(demoModel)
	} else {
		r.Model, r.Train, r.MaskPrompt = o.Model, true, true
		r.NumLayers, r.BatchSize, r.Iters, r.LearningRate = 8, 4, 300, 1e-4
	}
	r.Data, r.AdapterPath, r.Device, r.Threads = at(demoData), at(demoAdapters), o.Device, o.Threads
	if o.Iters != 0 && o.Model == "" {
		r.LRSchedule, r.LearningRate = nil, 5e-4 // the schedule of the demo's config ends with its last step
	}
	r.Iters, r.NumLayers, r.BatchSize = cmp.Or(o.Iters, r.Iters), cmp.Or(o.NumLayers, r.NumLayers), cmp.Or(o.BatchSize, r.BatchSize)
	r.LearningRate = cmp.Or(o.LearningRate, r.LearningRate)
	return r, nil
}

// command is the command line that trains by the recipe.
func (o *demoOptions) command() string {
	at := func(name string) string { return filepath.Join(o.Dir, name) }
	args := []string{"--data", at(demoData), "--adapter-path", at(demoAdapters)}
	if o.Model == "" {
		args = append([]string{"--config", at(demoConfig), "--model", at(demoModel)}, args...)
	} else {
		args = append([]string{"--train", "--mask-prompt", "--model", o.Model}, args...)
		args = append(args, "--num-layers", "8", "--batch-size", "4", "--iters", "300", "--learning-rate", "1e-4")
	}
	for _, f := range []struct {
		flag  string
		value int
	}{{"--iters", o.Iters}, {"--num-layers", o.NumLayers}, {"--batch-size", o.BatchSize}, {"--threads", o.Threads}} {
		if f.value != 0 {
			args = append(args, f.flag, strconv.Itoa(f.value))
		}
	}
	if o.Device != "auto" {
		args = append(args, "--device", o.Device)
	}
	if o.LearningRate != 0 {
		args = append(args, "--learning-rate", strconv.FormatFloat(o.LearningRate, 'g', -1, 64))
	}
	return program() + " lora " + strings.Join(args, " ")
}

// tuning are the options of the demo's training. An adapter that a demo trained may be trained over, once that is finished.
func (o *demoOptions) tuning(streams Streams, report run.Reporter) tune.Options {
	const name = "demo"
	options := streams.tuning(report)
	options.Command = []string{"lentil", name, "--dir", o.Dir}
	m, err := run.ReadManifest(filepath.Join(o.Dir, demoAdapters))
	options.Overwrite = o.Overwrite || err == nil && len(m.Command) > 1 && m.Command[1] == name
	return options
}

// A show is one run of the demo.
type show struct {
	*tune.Job
	options   demoOptions
	report    run.Reporter
	unseen    *dataset.Rows
	test      *dataset.Rows
	questions []demo.Question
	figures   demoFigures
	results   *score.Results
}

func (s *show) say(format string, args ...any) {
	s.report.Report(run.Message{Text: fault.Say(format, args...)})
}

func runDemo(ctx context.Context, streams Streams, o demoOptions) error {
	began := time.Now()
	if err := demo.Write(o.Dir, o.Overwrite); err != nil {
		return err
	}
	s := &show{options: o, questions: demo.Questions()}
	s.figures.Questions = len(s.questions)
	if err := s.make(ctx, streams); err != nil {
		return err
	}
	if err := s.train(ctx, streams); err != nil {
		return err
	}
	if err := s.evaluate(ctx, streams); err != nil {
		return err
	}
	fused, err := s.fuse(ctx, streams)
	if err != nil {
		return err
	}
	writeReport(streams, s.Recipe.AdapterPath)
	s.figures.Seconds, s.figures.PeakBytes = time.Since(began).Seconds(), machine.PeakMemory()
	s.summary(streams, fused)
	return writeFigures(o.JSON, s.figures)
}

// make makes rows of the handbook as anyone's book, for models that understand more than the demo's own: that one knows the
// wordings of its data, and learns values alone.
func (s *show) make(ctx context.Context, streams Streams) error {
	books, out := filepath.Join(s.options.Dir, filepath.Dir(demo.EPUBName)), filepath.Join(s.options.Dir, demoMade)
	fmt.Fprintf(streams.Out, "Lentil fine-tunes a small model on a nutrition handbook.\nThe handbook, the questions made from it and the model are in %s.\n\n", s.options.Dir)
	fmt.Fprintf(streams.Out, "== From a shelf with the handbook as EPUB and as PDF to rows: %s dataset make %s --out %s\n", program(), books, out)
	o := making.New(books)
	o.Warn = func(n fault.Note) { fmt.Fprintln(streams.Out, n.Spell(flagName)) }
	made, err := making.Make(ctx, o)
	if err != nil {
		return err
	}
	if err := made.Write(out, s.options.Overwrite); err != nil {
		return err
	}
	fmt.Fprint(streams.Out, made.Report.String())
	fmt.Fprintf(streams.Out, "The demo's small model knows the wordings of %s alone, and learns from these; models of other makers take the rows made here.\n\n", filepath.Join(s.options.Dir, demoData))
	return nil
}

// train measures and asks the base, trains it, and measures and asks it again.
func (s *show) train(ctx context.Context, streams Streams) error {
	display := streams.display()
	defer display.Close()
	fmt.Fprintf(streams.Out, "== The command behind this: %s\n", s.options.command())
	recipe, err := s.options.recipe(streams)
	if err != nil {
		return err
	}
	s.report = display
	tuning := s.options.tuning(streams, display)
	tuning.Overwrite = s.options.Overwrite || tuning.Overwrite && !tune.Waiting(recipe)
	tuning.Abandon = streams.presses.abandoning()
	tuning.Given = func(setting string) bool { return setting != "num_layers" || s.options.NumLayers != 0 }
	if s.Job, err = tune.Open(ctx, recipe, tuning); err != nil {
		return err
	}
	defer s.Close()
	if err := s.tokenize(ctx); err != nil {
		return err
	}
	s.say("\n== The model before, on the trained facts in other words (test) and on facts it is never told (unseen)")
	if err := s.measure(ctx, &s.figures.TestPPLBase, &s.figures.UnseenPPLBase); err != nil {
		return err
	}
	before, err := s.ask(ctx)
	if err != nil {
		return err
	}
	s.say("\n== Training")
	if _, err := s.Train(ctx); err != nil {
		return err
	}
	s.say("\n== The model after")
	if err := s.measure(ctx, &s.figures.TestPPLTuned, &s.figures.UnseenPPLTuned); err != nil {
		return err
	}
	after, err := s.ask(ctx)
	if err != nil {
		return err
	}
	s.say("\n== Five questions, in words that are in no row of the data")
	s.figures.RightBase, s.figures.RightTuned = s.count(before), s.count(after)
	for i, q := range s.questions {
		s.say("%s\n  before  %s %s\n  after   %s %s", q.Question, mark(q, before[i]), before[i], mark(q, after[i]), after[i])
	}
	return nil
}

// tokenize reads the two test sets.
func (s *show) tokenize(ctx context.Context) (err error) {
	if s.test, err = s.Rows(ctx, s.Data.Test); err != nil {
		return err
	}
	unseen, err := dataset.Load(filepath.Join(s.options.Dir, demoUnseen), dataset.Options{})
	if err != nil {
		return err
	}
	s.unseen, err = s.Rows(ctx, unseen.Test)
	return err
}

// measure takes the perplexity of both test sets.
func (s *show) measure(ctx context.Context, test, unseen *any) error {
	for _, set := range []struct {
		name string
		rows *dataset.Rows
		ppl  *any
	}{{"test", s.test, test}, {"unseen", s.unseen, unseen}} {
		got, err := train.Evaluate(ctx, s.Engine.Model, train.FromRows(set.rows), train.EvalOptions{
			BatchSize: 16, Batches: -1, MaxSeqLength: s.Recipe.MaxSeqLength,
		}, func(done, total int) {
			s.report.Report(run.Progress{Task: "Measuring " + set.name, Done: done, Total: total})
		})
		if err != nil {
			return err
		}
		*set.ppl = figure(got.Perplexity())
		s.say("%-6s  %3d questions  loss %.3f  perplexity %.3f", set.name, set.rows.Len(), got.Loss, got.Perplexity())
	}
	return nil
}

// ask puts the questions to the model as it is now.
func (s *show) ask(ctx context.Context) ([]string, error) { return askAll(ctx, s.Engine, s.questions) }

// askAll answers each question in a conversation of its own, with the likeliest words.
func askAll(ctx context.Context, e *engine.Engine, questions []demo.Question) ([]string, error) {
	var answers []string
	for _, q := range questions {
		text, _, err := e.Answer(ctx, q.Question, generate.Options{MaxTokens: answerTokens})
		if err != nil {
			return nil, err
		}
		answers = append(answers, strings.Join(strings.Fields(text), " "))
	}
	return answers, nil
}

func (s *show) count(answers []string) int {
	n := 0
	for i, q := range s.questions {
		if q.Right(answers[i]) {
			n++
		}
	}
	return n
}

func mark(q demo.Question, answer string) string {
	if q.Right(answer) {
		return "✓"
	}
	return "✗"
}

// evaluate asks a question on each fact with and without the adapter. What is never told stands for what should not be lost.
func (s *show) evaluate(ctx context.Context, streams Streams) error {
	o := evalOptions{
		Model: s.Recipe.Model, AdapterPath: s.Recipe.AdapterPath, Questions: []string{filepath.Join(s.options.Dir, demoAsked)}, General: "none",
		MaxTokens: answerTokens, JudgeVotes: 1, deviceFlags: deviceFlags{s.Recipe.Device, s.Recipe.Threads},
	}
	fmt.Fprintf(streams.Out, "\n== Questions: %s eval --model %s --adapter-path %s --questions %s\n", program(), o.Model, o.AdapterPath, o.Questions[0])
	rows := train.FromRows(s.unseen)
	var text train.List
	for i := range rows.Len() {
		row, err := rows.Example(i)
		if err != nil {
			return err
		}
		text = append(text, row)
	}
	o.Texts = []eval.GeneralText{{Name: "facts never told", Rows: text}}
	var err error
	if s.results, err = evaluate(ctx, streams, &o); err != nil {
		return err
	}
	s.figures.Scores, s.figures.Texts = s.results.Rows, s.results.Texts
	return nil
}

// fuse puts the adapter into the model's weights and asks the fused model.
func (s *show) fuse(ctx context.Context, streams Streams) (string, error) {
	path := filepath.Join(s.options.Dir, demoFused)
	fmt.Fprintf(streams.Out, "\n== Fusing: %s fuse --model %s --adapter-path %s --save-path %s\n", program(), s.Recipe.Model, s.Recipe.AdapterPath, path)
	options := deviceFlags{s.Recipe.Device, s.Recipe.Threads}.opening(streams)
	options.Adapter = s.Recipe.AdapterPath
	base, err := engine.Open(ctx, s.Recipe.Model, options)
	if err != nil {
		return "", err
	}
	defer base.Close()
	fused, err := export.Fuse(base.Model, base.Tokenizer, export.FuseOptions{AdapterPath: s.Recipe.AdapterPath, SavePath: path, Overwrite: s.options.Overwrite})
	if err != nil {
		return "", err
	}
	s.figures.Survival = fused.Survival
	noteFused(s.Recipe.AdapterPath, fused)
	printFuseReport(streams.Out, fused, s.Recipe.Model)
	e, err := engine.Open(ctx, path, deviceFlags{s.Recipe.Device, s.Recipe.Threads}.opening(streams))
	if err != nil {
		return "", err
	}
	defer e.Close()
	answers, err := askAll(ctx, e, s.questions)
	if err != nil {
		return "", err
	}
	s.figures.RightFused = s.count(answers)
	fmt.Fprintln(streams.Out, "\n== The fused model")
	for i, q := range s.questions {
		fmt.Fprintf(streams.Out, "%s\n  %s %s\n", q.Question, mark(q, answers[i]), answers[i])
	}
	return path, nil
}

// summary sums up and says how to go on.
func (s *show) summary(streams Streams, fused string) {
	f := s.figures
	ppl := func(v any) string {
		if x, ok := v.(float64); ok && !math.IsNaN(x) {
			return fmt.Sprintf("%.3f", x)
		}
		return "–"
	}
	out := streams.Out
	fmt.Fprintf(out, "\n== Summary\n%-34s %8s %8s\n", "", "before", "after")
	fmt.Fprintf(out, "%-34s %8s %8s\n", "perplexity, trained facts (test)", ppl(f.TestPPLBase), ppl(f.TestPPLTuned))
	fmt.Fprintf(out, "%-34s %8s %8s\n", "perplexity, facts never told", ppl(f.UnseenPPLBase), ppl(f.UnseenPPLTuned))
	fmt.Fprintf(out, "%-34s %7d/%d %6d/%d\n", "right answers to these five", f.RightBase, f.Questions, f.RightTuned, f.Questions)
	printResults(out, s.results, 0)
	fmt.Fprintln(out)
	if f.RightTuned == f.Questions {
		fmt.Fprintln(out, "Fine-tuning taught the facts of the data, in other words too; what the data does not say it did not learn.")
	} else {
		fmt.Fprintln(out, "Not all answers are right yet: more steps (--iters) or a higher --learning-rate teach more.")
	}
	fmt.Fprintf(out, "It took %s and at most %s of memory.\n", run.Duration(time.Duration(f.Seconds*float64(time.Second))), run.Bytes(f.PeakBytes))
	fmt.Fprintf(out, "\nreport       %s\nadapter      %s\nfused model  %s\nhandbook     %s\n", filepath.Join(s.Recipe.AdapterPath, report.PageName), s.Recipe.AdapterPath, fused, filepath.Join(s.options.Dir, "handbook"))
	fmt.Fprintf(out, "\nTalk to it:   %s chat --model %s\n", program(), fused)
	fmt.Fprintf(out, "A real model: %s lora --model DIR --data %s --train --mask-prompt --iters 600\n", program(), filepath.Join(s.options.Dir, demoMade))
}
