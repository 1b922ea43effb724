package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/internal/atomicfile"
)

// evaluateOptions are those of mlx_lm.evaluate.
type evaluateOptions struct {
	Model, AdapterPath string
	Tasks              []string
	OutputDir          string
	NumShots           int // below 0: the task's
	MaxTokens, Limit   int
	Seed               int64
	Template           bool
	Multiturn          bool
	TemplateArgs       string
	Sampling           generate.Sampling
	deviceFlags
}

func newEvaluate(streams Streams) *cobra.Command {
	var o evaluateOptions
	var ignored struct {
		batch        int
		unsafe, code bool
	}
	noTemplate := false
	temp, topP := 0.0, 1.0
	cmd := &cobra.Command{
		Use:   "evaluate",
		Short: "Measure a model on published question sets that lie here",
		Long: `Measure a model on published sets of questions, with mlx_lm.evaluate's flags. A task is
a file of JSON lines in the layout in which its set is published (ARC, OpenBookQA, MMLU,
HellaSwag, PIQA, WinoGrande, TruthfulQA, BoolQ, SQuAD, GSM8K, TriviaQA), or the name of
such a file without .jsonl. Nothing is downloaded. Questions are put in the words of
lm-eval's tasks, and results are in its form: acc and acc_norm of choices by
log-likelihood, exact_match of open answers. Examples before a question (--num-shots)
come from NAME.train.jsonl beside NAME.jsonl, else from the other questions.

Did an adapter help? That is what lentil eval tells.`,
		Example: `  lentil evaluate --model ./model --tasks arc_easy.jsonl piqa.jsonl --limit 200
  lentil evaluate --model ./model --tasks gsm8k --max-tokens 256 --output-dir results`,
		GroupID: groupTrain,
		Args:    noArguments,
	}
	group(cmd, "Model and tasks", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "", "`folder` or .gguf file of the model, or its repository (required)")
		f.StringVar(&o.AdapterPath, "adapter-path", "", "`folder` of an adapter to put on it")
		f.StringArrayVar(&o.Tasks, "tasks", nil, "`files` of questions, or their names without .jsonl (required)")
		annotate(f.Lookup("tasks"), manyKey, "1")
		f.StringVar(&o.OutputDir, "output-dir", ".", "`folder` for the results")
		f.IntVar(&o.Limit, "limit", 0, "take the first `n` questions of each task; 0 for all")
		f.IntVar(&o.NumShots, "num-shots", 0, "`examples` before a question; default: the task's number, 5 for GSM8K and 0 for others")
	})
	group(cmd, "Answers", func(f *pflag.FlagSet) {
		f.IntVar(&o.MaxTokens, "max-tokens", 256, "longest answer in `tokens`")
		f.BoolVar(&o.Template, "apply-chat-template", true, "put questions by the model's chat template, if it has one")
		f.BoolVar(&noTemplate, "no-apply-chat-template", false, "put them as texts to go on with")
		f.Float64Var(&temp, "temp", 0, "`temperature` of open answers; 0 takes the likeliest tokens")
		f.Float64Var(&topP, "top-p", 1, "take tokens that make up this `share` of the likelihood")
		f.IntVar(&o.Sampling.TopK, "top-k", 0, "take the `n` likeliest tokens; 0 for all")
		f.Int64Var(&o.Seed, "seed", 123, "`number` that random choices follow from")
		f.IntVar(&ignored.batch, "batch-size", 8, "")
		ignore(f.Lookup("batch-size"), "answers are decoded together as the model allows")
		f.BoolVar(&o.Multiturn, "fewshot-as-multiturn", false, "examples are turns of a conversation, not one message with the question")
		f.StringVar(&o.TemplateArgs, "chat-template-args", "{}", "JSON `object` with more variables for the chat template")
		f.BoolVar(&ignored.unsafe, "confirm-run-unsafe-code", false, "")
		ignore(f.Lookup("confirm-run-unsafe-code"), "no task runs code")
		f.BoolVar(&ignored.code, "trust-remote-code", false, "")
		ignore(f.Lookup("trust-remote-code"), noRemoteCode)
	})
	group(cmd, "Engine", func(f *pflag.FlagSet) { o.deviceFlags.declare(f) })
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case o.Model == "":
			return fault.Missing("model").Try("Give the folder of a model, a .gguf file, or a repository ORG/NAME.")
		case len(o.Tasks) == 0:
			return fault.Missing("tasks").Try("Give files of questions, such as arc_easy.jsonl.")
		case o.NumShots < 0:
			return fault.Value("num_shots", o.NumShots, "0 or more")
		case o.MaxTokens < 1:
			return fault.Value("max_tokens", o.MaxTokens, "1 or more")
		case o.Limit < 0:
			return fault.Value("limit", o.Limit, "0 or more")
		case o.Seed < 0:
			return fault.Value("seed", o.Seed, "0 or more")
		}
		if !cmd.Flags().Changed("num-shots") {
			o.NumShots = -1
		}
		o.Template = o.Template && !noTemplate
		o.Sampling.Temp, o.Sampling.TopP, o.Sampling.MinTokensToKeep = temp, topP, 1
		if err := o.Sampling.Check(); err != nil {
			return fault.Mark(err)
		}
		return runEvaluate(cmd.Context(), streams, &o)
	}
	return cmd
}

// A task is a set of questions with its name.
type task struct {
	name      string
	questions []score.Question
	examples  []score.Question // from NAME.train.jsonl; nil if there is none
}

// taskMetrics are the figures of one task, by lm-eval's names.
type taskMetrics map[string]any

func runEvaluate(ctx context.Context, streams Streams, o *evaluateOptions) error {
	tasks, err := o.read()
	if err != nil {
		return err
	}
	name := "eval_" + strings.NewReplacer("/", "_", string(filepath.Separator), "_").Replace(o.Model) + "_lentil"
	if o.NumShots >= 0 {
		name += fmt.Sprintf("_%02d", o.NumShots)
	}
	for _, t := range tasks {
		name += "_" + t.name
	}
	out := filepath.Join(o.OutputDir, name)
	if err := os.MkdirAll(o.OutputDir, 0o755); err != nil {
		return fault.At("output_dir", "%w", err)
	}
	if err := checkFiguresOf("output_dir", out); err != nil {
		return err
	}
	kwargs, err := templateConfig("chat_template_args", o.TemplateArgs)
	if err != nil {
		return err
	}
	streams.presses.stopping("Stopping: a part of the measure is no measure, and is not told. Ctrl-C again ends at once.")
	options := o.opening(streams)
	options.Adapter = o.AdapterPath
	e, err := engine.Open(ctx, o.Model, options)
	if err != nil {
		return err
	}
	defer e.Close()
	bar := streams.bar(nil)
	defer bar.Clear()
	results, counts := map[string]taskMetrics{}, map[string]int{}
	for _, t := range tasks {
		h := eval.Harness{Shots: o.NumShots, Multiturn: o.Multiturn, Template: o.Template, Kwargs: kwargs, MaxTokens: o.MaxTokens, Sampling: o.Sampling, Seed: uint64(o.Seed)}
		h.Progress = func(done, total int) { bar.Set(t.name, done, total) }
		replies, err := h.Run(ctx, e, t.questions, t.examples)
		if err != nil {
			return err
		}
		results[t.name], counts[t.name] = metricsOf(t.questions, replies), len(replies)
	}
	bar.Clear()
	for _, t := range tasks {
		printTask(streams, t, results[t.name])
	}
	var shots any // null: each task's own
	if o.NumShots >= 0 {
		shots = o.NumShots
	}
	figures := map[string]any{"lentil_figures": 1, "results": results, "n-samples": counts, "config": map[string]any{"model": o.Model, "adapter_path": o.AdapterPath, "limit": o.Limit, "seed": o.Seed, "num_fewshot": shots, "version": Version()}}
	text, err := json.MarshalIndent(figures, "", "    ")
	if err != nil {
		return err
	}
	text = append([]byte(figuresMark), strings.TrimPrefix(strings.Replace(string(text), "    \"lentil_figures\": 1,\n", "", 1), "{\n")...)
	if err := atomicfile.Write(out, append(text, '\n')); err != nil {
		return fault.At("output_dir", "%w", err)
	}
	fmt.Fprintf(streams.Out, "Wrote %s\n", out)
	return nil
}

// read finds the files of the tasks.
func (o *evaluateOptions) read() (tasks []task, err error) {
	for _, name := range o.Tasks {
		path := name
		if _, err := os.Stat(path); err != nil {
			if _, err := os.Stat(name + ".jsonl"); err != nil {
				return nil, fault.Given("tasks", name, "there is no file of that name, nor %s.jsonl", name).
					Try("Save the set's test rows as JSON lines, in the layout in which it is published: nothing is downloaded here.")
			}
			path = name + ".jsonl"
		}
		questions, err := score.Read("tasks", path)
		if err != nil {
			return nil, err
		}
		if o.Limit > 0 {
			questions = questions[:min(o.Limit, len(questions))]
		}
		t := task{name: score.SetName(path), questions: questions}
		if slices.ContainsFunc(tasks, func(other task) bool { return other.name == t.name }) {
			return nil, fault.Given("tasks", name, "two tasks are called %s, and results go by name", t.name).Try("Rename one of the files.")
		}
		examples := strings.TrimSuffix(path, ".jsonl") + ".train.jsonl"
		if _, err := os.Stat(examples); err == nil && o.NumShots != 0 {
			if t.examples, err = score.Read("tasks", examples); err != nil {
				return nil, err
			}
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

// metricsOf are lm-eval's metrics with their standard errors.
func metricsOf(questions []score.Question, replies []score.Reply) taskMetrics {
	scores := map[string][]float64{}
	for i, r := range replies {
		f := questions[i].Form()
		for name, v := range questions[i].Metrics(&f, r) {
			scores[name] = append(scores[name], v)
		}
	}
	out := taskMetrics{}
	for name, list := range scores {
		mean, spread := 0.0, 0.0
		for _, v := range list {
			mean += v / float64(len(list))
		}
		for _, v := range list {
			spread += (v - mean) * (v - mean)
		}
		out[name] = mean
		out[stderrOf(name)] = figure(math.Sqrt(spread / float64(len(list)-1) / float64(len(list))))
	}
	return out
}

// stderrOf names the standard error of a metric, "acc_stderr,none" for "acc,none".
func stderrOf(name string) string {
	metric, filter, _ := strings.Cut(name, ",")
	return metric + "_stderr," + filter
}

func printTask(streams Streams, t task, m taskMetrics) {
	fmt.Fprintf(streams.Out, "%s, %d questions\n", t.name, len(t.questions))
	var names []string
	for name := range m {
		if !strings.Contains(name, "_stderr") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		short := strings.TrimSuffix(name, ",none")
		line := fmt.Sprintf("  %-12s %.4f", short, m[name])
		if e, ok := m[stderrOf(name)].(float64); ok {
			line += fmt.Sprintf(" ± %.4f", e)
		}
		fmt.Fprintln(streams.Out, line)
	}
}
