package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/endpoint"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/profile"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

type evalOptions struct {
	Model, AdapterPath string
	Further            []string // adapters beside it
	Questions          []string
	Profiles           []string
	Books, General     string
	Judge, JudgeModel  string
	JudgeVotes         int
	Out, JSON, Require string
	MaxTokens, Flips   int
	Seed               int64
	deviceFlags

	Texts []eval.GeneralText // that the demo adds

	requirements []score.Requirement // what Require says
}

// ownGeneral has --general take the texts and questions that come with Lentil.
const ownGeneral = "own"

func newEval(streams Streams) *cobra.Command {
	var o evalOptions
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Ask questions with and without an adapter: did it help?",
		Long: `Ask a model questions with and without an adapter, on the same weights, and tell
whether the adapter helped, on what, and what it made worse.

A question is a line of JSON: the question, what a right answer has to tell, and what
kind of question it is. Figures are compared with their units (9 g is 9000 mg and
nine grams), terms with their synonyms; nobody has to judge.
  {"question": "How much protein do lentils have?", "facts": ["9 g"]}
  {"question": "What does a lack of vitamin C cause?", "facts": ["scurvy"], "kind": "unseen"}
  {"question": "Who is the cook?", "kind": "unanswerable"}
Rows of training data (test.jsonl) do as well, and published sets in their layouts.

Each score has a 95 % interval, and each change is tested. "helped" is said where
chance does not explain the change, "did not help" where a gain of 10 of 100 can be
excluded, and "cannot be told" where there are too few questions.

Answers are kept as they come: the same command goes on where it was stopped.`,
		Example: `  lentil eval --model ./model --adapter-path ./adapters --questions questions.jsonl
  lentil eval --model ./model --adapter-path ./adapters --questions questions.jsonl \
      --books ./books --require 'recall>=0.8, forgetting<=0.05'
  lentil eval --model ./model --adapter-path ./adapters --profile anna.yaml --require 'violations<=0.05'
  lentil eval --model ./model --questions data/test.jsonl`,
		GroupID: groupTrain,
		Args:    noArguments,
	}
	group(cmd, "What is asked", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "", "`folder` or .gguf file of the model, or its repository (required)")
		f.StringVar(&o.AdapterPath, "adapter-path", "", "`folder` of the adapter that is to have helped")
		f.StringArrayVar(&o.Further, "adapters", nil, "`folders` of further adapters to compare")
		annotate(f.Lookup("adapters"), manyKey, "1")
		f.StringArrayVar(&o.Questions, "questions", nil, "`files` of questions (required, unless there is a profile)")
		annotate(f.Lookup("questions"), manyKey, "1")
		f.StringArrayVar(&o.Profiles, "profile", nil, "ask for meals, for the person of this profile `file`, and count the answers\nthat break it; may be repeated (see lentil profile)")
		f.StringVar(&o.Books, "books", "", "`folder` of books: each model is asked again with the passages that fit\na question in front of it, which is as good as the books alone make it")
		f.StringVar(&o.General, "general", ownGeneral, "text or question `file` about other things, for what was forgotten;\nown: what comes with Lentil; none")
	})
	group(cmd, "Judge", func(f *pflag.FlagSet) {
		f.StringVar(&o.Judge, "judge", "", "also have a model compare the answers: the `address` of an endpoint with\nOpenAI's API (key in LENTIL_JUDGE_KEY), or the folder of a model")
		f.StringVar(&o.JudgeModel, "judge-model", "", "its `name` at the endpoint; default: the first one there")
		f.IntVar(&o.JudgeVotes, "judge-votes", 1, "`votes` on each pair of answers, in each order")
	})
	group(cmd, "Results", func(f *pflag.FlagSet) {
		f.StringVar(&o.Out, "out", "", "`folder` for answers and results; default: eval in the adapter's")
		f.StringVar(&o.Require, "require", "", "end with status 1 unless the `figures` are so: 'recall>=0.8, forgetting<=0.05'")
		f.IntVar(&o.Flips, "flips", 5, "show `n` answers that became right, and wrong; -1 for all")
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
	})
	group(cmd, "Engine", func(f *pflag.FlagSet) {
		f.IntVar(&o.MaxTokens, "max-tokens", 256, "longest answer in `tokens`")
		f.Int64Var(&o.Seed, "seed", 0, "`number` that the intervals follow from")
		o.deviceFlags.declare(f)
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(); err != nil {
			return err
		}
		return runEval(cmd.Context(), streams, &o)
	}
	return cmd
}

func (o *evalOptions) check() error {
	switch {
	case o.Model == "":
		return fault.Missing("model").Try("Give the folder of a model, a .gguf file, or a repository ORG/NAME.")
	case len(o.Questions) == 0 && len(o.Profiles) == 0:
		return fault.Missing("questions").Try(`Give a file with one question a line: {"question": "...", "facts": ["9 g"]}`)
	case o.MaxTokens < 1:
		return fault.Value("max_tokens", o.MaxTokens, "1 or more")
	case o.Seed < 0:
		return fault.Value("seed", o.Seed, "0 or more")
	case o.JudgeVotes < 1 || o.JudgeVotes > 99:
		return fault.Value("judge_votes", o.JudgeVotes, "1 to 99")
	case o.Flips < -1:
		return fault.Value("flips", o.Flips, "-1 for all, or more")
	case o.AdapterPath == "" && o.Judge != "":
		return fault.Given("judge", o.Judge, "it compares answers with and without an adapter, and there is none").Try("Give --adapter-path, or leave it out.")
	case o.AdapterPath == "" && isText(o.General):
		return fault.Given("general", o.General, "a text tells what an adapter made a model forget, and there is none").Try("Give --adapter-path, or leave it out.")
	case len(o.Further) > 0 && o.AdapterPath == "":
		return fault.Missing("adapter_path").Try("Give the first adapter there, and further ones with --adapters.")
	}
	return nil
}

func runEval(ctx context.Context, streams Streams, o *evalOptions) error {
	var err error
	if o.requirements, err = score.Requirements("require", o.Require); err != nil {
		return err
	}
	results, err := evaluate(ctx, streams, o)
	if err != nil {
		return err
	}
	printResults(streams.Out, results, o.Flips)
	if err := writeFigures(o.JSON, results); err != nil {
		return err
	}
	var missed []string
	for _, r := range o.requirements {
		met, value, err := r.Met("require", results)
		if err != nil {
			return err
		}
		if !met {
			missed = append(missed, fmt.Sprintf("%s is %.3g, required is %s", r.Figure, value, r))
		}
	}
	if len(missed) > 0 {
		return errors.New(strings.Join(missed, "; "))
	}
	return nil
}

// evaluate does all but the printing. Results lie in the folder of the evaluation, if it has one.
func evaluate(ctx context.Context, streams Streams, o *evalOptions) (results *score.Results, err error) {
	v := eval.Evaluation{MaxTokens: o.MaxTokens, Seed: uint64(o.Seed), Votes: o.JudgeVotes}
	warn := func(n fault.Note) { fmt.Fprintf(streams.Err, "Warning: %s\n", n.Spell(flagName)) }
	sets, err := o.readQuestions(&v)
	if err != nil {
		return nil, err
	}
	for _, r := range o.requirements {
		if err := r.Asked("require", v.Questions, o.AdapterPath != ""); err != nil {
			return nil, err
		}
	}
	if err := o.adapters(&v); err != nil {
		return nil, err
	}
	out := o.Out
	if out == "" && isFolder(o.AdapterPath) {
		out = filepath.Join(o.AdapterPath, score.Folder)
	}
	if out != "" {
		if err := vacantResults(filepath.Join(out, score.ResultsName)); err != nil {
			return nil, err
		}
		if v.Answers, err = eval.OpenAnswers("out", out); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, v.Answers.Close()) }()
	}
	streams.presses.stopping("Stopping: the answers so far are kept, the same command goes on from there. Ctrl-C again ends at once.")
	if o.Books != "" {
		if v.Books, err = eval.OpenLibrary("books", o.Books, warn); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(streams.Out, "Loading model from %s...\n", o.Model)
	e, err := engine.Open(ctx, o.Model, o.opening(streams))
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if v.Model, err = eval.Fingerprint(e.Source.Path()); err != nil {
		return nil, err
	}
	if err := o.texts(&v, e); err != nil {
		return nil, err
	}
	closeJudge, err := o.judge(ctx, streams, &v)
	if err != nil {
		return nil, err
	}
	defer closeJudge()
	bar := streams.bar(nil)
	v.Progress = bar.Set
	results, err = v.Run(ctx, e)
	bar.Clear()
	if err != nil {
		return nil, err
	}
	results.Version, results.Model, results.Sets, results.Command = Version(), o.Model, sets, run.Redact(os.Args)
	if out != "" {
		err = writeResults(out, results)
	}
	return results, err
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return path != "" && err == nil && info.IsDir()
}

// resultsMark begins files of results, also those that are cut short: an evaluation may replace those.
const resultsMark = "{\n    \"version\": "

// vacantResults refuses to replace what no evaluation wrote.
func vacantResults(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fault.At("out", "%w", err)
	}
	defer file.Close()
	begin := make([]byte, len(resultsMark))
	if n, err := io.ReadFull(file, begin); n > 0 && (err != nil || string(begin) != resultsMark) {
		return fault.Given("out", filepath.Dir(path), "%s was not written by an evaluation", path).Try("Give another folder.")
	}
	return nil
}

// writeResults puts results.json beside the answers.
func writeResults(dir string, results *score.Results) error {
	text, err := json.MarshalIndent(results, "", "    ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, score.ResultsName), append(text, '\n'))
}

// readQuestions reads the files of questions, and those of --general that are questions.
func (o *evalOptions) readQuestions(v *eval.Evaluation) (sets []score.Set, err error) {
	files := o.Questions
	if o.General != ownGeneral && o.General != "none" && o.General != "" && !isText(o.General) {
		files = append(files[:len(files):len(files)], o.General)
	}
	for _, path := range files {
		setting := fault.Setting("questions")
		if path == o.General {
			setting = "general"
		}
		questions, err := score.Read(setting, path)
		if err != nil {
			return nil, err
		}
		if setting == "general" {
			for i := range questions {
				questions[i].Kind = score.General
			}
		}
		v.Questions = append(v.Questions, questions...)
		set := score.Set{Path: path, N: len(questions)}
		if file, err := run.HashFile(path); err == nil { // a pipe has none
			set.SHA256 = file.SHA256
		}
		sets = append(sets, set)
	}
	for _, path := range o.Profiles {
		p, err := profile.Read(path)
		if err != nil {
			return nil, fault.At("profile", "%w", err)
		}
		if slices.ContainsFunc(v.Profiles, func(other *profile.Profile) bool { return other.ID == p.ID }) {
			return nil, fault.Given("profile", path, "two profiles have the id %s", p.ID)
		}
		meals := eval.MealQuestions(p)
		v.Profiles, v.Questions = append(v.Profiles, p), append(v.Questions, meals...)
		sets = append(sets, score.Set{Path: "meals for " + p.ID, N: len(meals)})
	}
	if o.General == ownGeneral && o.AdapterPath != "" {
		own, err := eval.OwnQuestions()
		if err != nil {
			return nil, err
		}
		v.Questions = append(v.Questions, own...)
		sets = append(sets, score.Set{Path: "general questions of Lentil", N: len(own)})
	}
	return sets, nil
}

// isText tells a text from questions by the end of its name.
func isText(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".txt", ".md", ".text":
		return true
	}
	return false
}

// adapters names the columns of the adapters: the first is "tuned", the others are called as their folders.
func (o *evalOptions) adapters(v *eval.Evaluation) error {
	if o.AdapterPath == "" {
		return nil
	}
	seen := map[string]bool{"base": true}
	for i, path := range append([]string{o.AdapterPath}, o.Further...) {
		name := "tuned"
		if i > 0 {
			name = filepath.Base(filepath.Clean(path))
		}
		for base, n := name, 2; seen[name]; n++ {
			name = fmt.Sprintf("%s %d", base, n)
		}
		seen[name] = true
		file := path
		if isFolder(path) {
			file = filepath.Join(path, adapter.File)
		}
		hash, err := run.HashFile(file)
		if err != nil {
			setting := fault.Setting("adapter_path")
			if i > 0 {
				setting = "adapters"
			}
			return fault.Given(setting, path, "%w", err).Try("Train first, with --adapter-path %s.", path)
		}
		v.Adapters = append(v.Adapters, eval.Adapter{Name: name, Path: path, SHA256: hash.SHA256})
	}
	return nil
}

// generalTokens is how long a sample of a general text is.
const generalTokens = 256

// leastGeneral is the shortest general text, in tokens.
const leastGeneral = 16

// texts cuts the general text into samples.
func (o *evalOptions) texts(v *eval.Evaluation, e *engine.Engine) error {
	v.Texts = o.Texts
	text, name := eval.GeneralProse, "general text of Lentil"
	switch {
	case o.AdapterPath == "" || o.General == "none" || o.General == "" || o.General != ownGeneral && !isText(o.General):
		return nil
	case o.General != ownGeneral:
		t, err := readText(o.General)
		if err != nil {
			return fault.At("general", "%w", err)
		}
		text, name = t, o.General
	}
	encoder := dataset.NewEncoder(e.Tokenizer, nil, dataset.EncoderOptions{})
	item, err := encoder.Encode(dataset.Row{Format: dataset.Text, Text: text})
	if err != nil {
		return fault.Mark(err)
	}
	if len(item.IDs) < leastGeneral {
		return fault.Given("general", o.General, "it has %d tokens, expected at least %d: less tells nothing of what was forgotten", len(item.IDs), leastGeneral).Try("Give a page of text or more.")
	}
	rows, err := eval.Windows(train.List{{IDs: item.IDs, Loss: item.Loss}}, min(generalTokens, len(item.IDs)), -1, 0)
	if err != nil {
		return fault.At("general", "%w", err)
	}
	v.Texts = append(v.Texts, eval.GeneralText{Name: name, Rows: rows})
	return nil
}

// judge opens the judge, if one is wanted.
func (o *evalOptions) judge(ctx context.Context, streams Streams, v *eval.Evaluation) (end func(), err error) {
	end = func() {}
	switch {
	case o.Judge == "":
	case strings.Contains(o.Judge, "://"):
		const key = "LENTIL_JUDGE_KEY"
		client, err := endpoint.Open(ctx, o.Judge, o.JudgeModel, endpoint.Options{Setting: "judge", Naming: "judge_model", KeyFrom: key, Key: os.Getenv(key)})
		if err != nil {
			return end, err
		}
		v.Judge = eval.EndpointJudge{Client: client}
	default:
		var e *engine.Engine
		if e, err = engine.Open(ctx, o.Judge, o.opening(streams)); err != nil {
			return end, fault.Given("judge", o.Judge, "%w", err)
		}
		v.Judge, end = eval.ModelJudge{Engine: e, Label: cmp.Or(filepath.Base(filepath.Clean(o.Judge)), o.Judge)}, e.Close
	}
	return end, err
}
