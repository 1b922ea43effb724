package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/dataset/making"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/profile"
	"github.com/lentil-lm/lentil/tune"
)

type makeOptions struct {
	making.Options
	Out, Tokenizer string
	Vectors        string
	Mixes, Users   []string
	Seed           int64
	Plan           bool
	Sample         int
	Overwrite      bool
	JSON           string
	format, pii    string

	Model, Endpoint, EndpointModel, Recipe       string
	Budget, MaxCopy, Votes, Concurrency, Threads int
}

func newDatasetMake(streams Streams) *cobra.Command {
	o := makeOptions{Options: making.New()}
	cmd := &cobra.Command{
		Use:   "make BOOKS...",
		Short: "Make training data and questions for measuring of books",
		Long: `Make a dataset of books: train.jsonl, valid.jsonl and test.jsonl as lentil train and
mlx-lm read them, questions.jsonl for lentil eval, text/ for continued pretraining,
provenance.jsonl with the page of each row, and report.html.

Without a model, what the pages state in tables, definitions, sentences with figures
and reasons, lists, recipes and below headings becomes questions and answers, each with
its quote. With --model or --endpoint, a model writes further rows of every passage. Each has
to quote the page, may have no figure that the page has not, and is judged where there
is doubt; what does not hold is mended once, or left out with its reason. The wordings
of questions.jsonl are in no row. Chapters and their parts lie on one side of the split,
and so does what is told twice.

Answers of the model are kept as they come: the same command goes on where it was
stopped, and asks nothing twice.`,
		Example: `  lentil dataset make ./books --out ./data
  lentil dataset make book.epub --out ./data --rows 2000 --mix chats.jsonl:0.2
  lentil dataset make book.epub --out ./data --endpoint http://localhost:8080/v1 --recipe nutrition
  lentil dataset make book.epub --sample 20`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.Of("no book was given").Try("Usage: %s", cmd.UseLine())
			}
			return nil
		},
	}
	group(cmd, "What is made", func(f *pflag.FlagSet) {
		f.StringVar(&o.Out, "out", "", "`folder` for the dataset (required, except with --plan and --sample)")
		f.StringVar(&o.format, "format", string(making.Messages), "`layout` of the rows: "+strings.Join(making.Formats, ", "))
		f.IntVar(&o.Rows, "rows", 0, "`rows` at most, with some of each page; 0: all that the books give")
		f.IntVar(&o.Wordings, "wordings", o.Wordings, "`ways` of asking for one fact, 1 to 4")
		f.StringVar(&o.System, "system", "", "system `message` of every row")
		f.StringArrayVar(&o.Mixes, "mix", nil, "rows of other data that come along, by their share of the tokens, so that\nthe model forgets less: `FILE:share`, such as chats.jsonl:0.2")
		f.StringArrayVar(&o.Users, "profile", nil, "rows for a user as well: `file` of what someone eats and does not eat")
		f.StringVar(&o.pii, "pii", string(o.Privacy), "addresses and numbers of persons: `mask`, keep, or drop rows with them")
	})
	group(cmd, "Books", func(f *pflag.FlagSet) {
		f.StringVar(&o.OCR, "ocr", "", "`command` that reads the text off pages that are pictures: {} stands for the picture")
	})
	group(cmd, "Model that writes", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", noModel, "`folder` or .gguf file of a model that writes rows, or its repository")
		f.StringVar(&o.Endpoint, "endpoint", "", "instead of it the `address` of an endpoint with OpenAI's API\n(key in LENTIL_ENDPOINT_KEY)")
		f.StringVar(&o.EndpointModel, "endpoint-model", "", "its `name` at the endpoint; default: the first one there")
		f.StringVar(&o.Recipe, "recipe", "general", "kinds of questions, and for whom: "+strings.Join(making.RecipeNames(), ", ")+", or a `file` .json")
		f.IntVar(&o.Budget, "budget", 0, "`tokens` of prompts and answers, at most; 0: as many as it takes")
		f.IntVar(&o.MaxCopy, "max-copy", 25, "`words` in a row, at most, that an answer may copy; 0: any number")
		f.IntVar(&o.Votes, "votes", 3, "`votes` of the model on a row that its page supports poorly; 0: none")
		f.IntVar(&o.Concurrency, "concurrency", 8, "`calls` of the endpoint at a time, at most")
		f.IntVar(&o.Threads, "threads", 0, "worker `threads` of a model; 0 for one per core")
	})
	group(cmd, "Split and lengths", func(f *pflag.FlagSet) {
		f.Float64Var(&o.Valid, "valid-share", o.Valid, "`share` of the text for validation")
		f.Float64Var(&o.Test, "test-share", o.Test, "`share` of the text for testing")
		f.StringVar(&o.Vectors, "embeddings", "", "`model` whose vectors tell rows that say the same in other words\n(default: the one of --model; without one, words alone tell)")
		f.StringVar(&o.Tokenizer, "tokenizer", "", "`model` that is to be trained: lengths are counted in its tokens\n(default: a token for four bytes)")
		f.IntVar(&o.TextTokens, "max-seq-length", o.TextTokens, "`tokens` of a row of text/")
		f.Int64Var(&o.Seed, "seed", 0, "`number` that choices follow from: the same one gives the same rows")
	})
	group(cmd, "Before it is written", func(f *pflag.FlagSet) {
		f.BoolVar(&o.Plan, "plan", false, "only tell what would be made")
		f.IntVar(&o.Sample, "sample", 0, "only show `n` rows")
		f.BoolVar(&o.Overwrite, "overwrite", false, "replace files in the folder that this command did not write")
		f.StringVar(&o.JSON, "json", "", "also write the report to this `file`")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.Books = args
		if err := o.check(); err != nil {
			return err
		}
		o.tellIdle(cmd, streams.Err)
		return runDatasetMake(cmd.Context(), streams, &o)
	}
	return cmd
}

// tellIdle says which flags change nothing where no model writes, or where it is not at an endpoint.
func (o *makeOptions) tellIdle(cmd *cobra.Command, w io.Writer) {
	model := o.Model != noModel && o.Model != ""
	idle := []string{}
	if o.Endpoint == "" {
		idle = append(idle, "endpoint-model", "concurrency")
	}
	if o.Endpoint == "" && !model {
		idle = append(idle, "recipe", "budget", "max-copy", "votes")
	}
	if !model && o.Vectors == "" {
		idle = append(idle, "threads")
	}
	for _, name := range idle {
		if cmd.Flags().Changed(name) {
			why := "no model writes rows: give --model or --endpoint"
			switch {
			case model:
				why = "the model of --model is at no endpoint"
			case o.Endpoint != "":
				why = "the endpoint has its own threads"
			}
			fmt.Fprintf(w, "Note: --%s changes nothing: %s.\n", name, why)
		}
	}
}

func (o *makeOptions) check() error {
	o.Format, o.Privacy, o.Options.Seed = making.Format(o.format), making.Privacy(o.pii), uint64(o.Seed)
	if err := fault.Choice("format", o.format, making.Formats...); err != nil {
		return err
	}
	if err := fault.Choice("pii", o.pii, string(making.Mask), string(making.Keep), string(making.Drop)); err != nil {
		return err
	}
	switch {
	case o.Out == "" && !o.Plan && o.Sample == 0:
		return fault.Missing("out").Try("Give the folder that the dataset is to lie in.")
	case o.Rows < 0:
		return fault.Value("rows", o.Rows, "0 or more")
	case o.Endpoint != "" && o.Model != noModel && o.Model != "":
		return fault.Given("endpoint", o.Endpoint, "%v names a model as well", fault.Setting("model")).Try("Give one of them.")
	case o.Budget < 0:
		return fault.Value("budget", o.Budget, "0 or more")
	case o.MaxCopy < 0:
		return fault.Value("max_copy", o.MaxCopy, "0 or more")
	case o.Votes < 0 || o.Votes > 99:
		return fault.Value("votes", o.Votes, "0 to 99")
	case o.Concurrency < 1 || o.Concurrency > 1000:
		return fault.Value("concurrency", o.Concurrency, "1 to 1000")
	case o.Sample < 0:
		return fault.Value("sample", o.Sample, "0 or more")
	case o.Wordings < 1 || o.Wordings > 4:
		return fault.Value("wordings", o.Wordings, "1 to 4")
	case o.Seed < 0:
		return fault.Value("seed", o.Seed, "0 or more")
	case !(o.Valid >= 0 && o.Valid < 1):
		return fault.Value("valid_share", o.Valid, "0 to below 1")
	case !(o.Test >= 0 && o.Test+o.Valid < 1):
		return fault.Value("test_share", o.Test, "0 to below 1, with the share for validation")
	case o.TextTokens < 16:
		return fault.Value("max_seq_length", o.TextTokens, "16 or more")
	case o.System != "" && o.Format == making.Completions:
		return fault.Given("system", o.System, "rows of prompt and completion have no place for it").Try("Take another format, such as messages.")
	}
	for _, path := range o.Users {
		user, err := profile.Read(path)
		if err != nil {
			return fault.Given("profile", path, "%w", err)
		}
		o.Profiles = append(o.Profiles, user)
	}
	return o.mixes()
}

// mixes takes FILE:share apart.
func (o *makeOptions) mixes() error {
	sum := 0.0
	for _, text := range o.Mixes {
		at := strings.LastIndexByte(text, ':')
		if at < 1 {
			return fault.Given("mix", text, "there is no share").Try("Give FILE:share, such as chats.jsonl:0.2")
		}
		share, err := strconv.ParseFloat(text[at+1:], 64)
		if err != nil || !(share > 0 && share < 1) {
			return fault.Given("mix", text, "the share is %q, expected a number between 0 and 1", text[at+1:]).Try("Give FILE:share, such as chats.jsonl:0.2")
		}
		if sum += share; sum >= 1 {
			return fault.Given("mix", text, "the shares together are %g, expected less than 1", sum)
		}
		o.Mix = append(o.Mix, making.Mix{Path: text[:at], Share: share})
	}
	return nil
}

func runDatasetMake(ctx context.Context, streams Streams, o *makeOptions) error {
	o.Warn = func(n fault.Note) { fmt.Fprintf(streams.Err, "Warning: %s\n", n.Spell(flagName)) }
	if o.Tokenizer != "" {
		tok, err := engine.OpenTokenizer(ctx, o.Tokenizer, streams.opening(0))
		if err != nil {
			return err
		}
		o.Count = func(text string) (int, error) {
			ids, err := tok.EncodePlain(text)
			return len(ids), err
		}
	}
	if o.Out != "" && !o.Plan && !o.Overwrite {
		if err := making.Vacant(o.Out); err != nil { // before a model works for hours
			return err
		}
	}
	writer, closeWriter, err := o.openWriter(ctx, streams)
	if err != nil {
		return err
	}
	defer closeWriter()
	if writer != nil {
		streams.presses.stopping("Stopping: what was written so far is kept, the same command goes on from there. Ctrl-C again ends at once.")
		var clear func()
		writer.Progress, clear = watchWriter(streams)
		defer clear()
		if o.System == "" {
			o.System = writer.Recipe.System
		}
	}
	o.Writer, o.PlanOnly = writer, o.Plan
	closeVectors, err := o.openVectors(ctx, streams)
	if err != nil {
		return err
	}
	defer closeVectors()
	made, err := making.Make(ctx, o.Options)
	if err != nil {
		return err
	}
	if o.Sample > 0 {
		printSample(streams, made, o.Sample, writer != nil)
		return nil
	}
	if o.Plan {
		fmt.Fprint(streams.Out, made.Report.String())
		if plan := made.Report.Plan; plan != nil {
			fmt.Fprintln(streams.Out)
			if err := printPlan(ctx, streams, writer, plan); err != nil {
				return err
			}
		}
		fmt.Fprintln(streams.Out, "Nothing is written.")
		return writeFigures(o.JSON, &made.Report)
	}
	if err := made.Write(o.Out, o.Overwrite); err != nil {
		return err
	}
	fmt.Fprintf(streams.Out, "%s\nWritten to %s; look at %s/report.html.\n\n%s", made.Report.String(), o.Out, o.Out, o.next(&made.Report))
	return writeFigures(o.JSON, &made.Report)
}

// Numbers of the training that is proposed. The rate is that of lentil demo for models of other makers.
const (
	proposedPasses = 4
	proposedRate   = "1e-4"
)

// next are the commands that train on the rows, for a few passes over them, and ask what was learnt.
func (o *makeOptions) next(r *making.Report) string {
	data, rows, batch := o.Out, r.Rows["train"], tune.New().BatchSize
	flags := " --learning-rate " + proposedRate
	switch {
	case o.Format == making.Texts:
		rows = r.Texts["train"]
	case rows == 0 && r.Texts["train"] > 0: // what is no English gives no questions
		data, rows = filepath.Join(o.Out, making.TextFolder), r.Texts["train"]
	case o.Format == making.Pairs:
		flags = " --train-mode dpo"
	default:
		flags = " --mask-prompt" + flags
	}
	if rows == 0 {
		return ""
	}
	text := fmt.Sprintf("Next:\n  %s train --model MODEL --data %s%s --iters %d\n", program(), quoted(data), flags, (proposedPasses*rows+batch-1)/batch)
	for _, k := range score.Kinds {
		if r.Questions[string(k)] > 0 {
			return text + fmt.Sprintf("  %s eval --model MODEL --adapter-path ./adapters --questions %s\n", program(), quoted(filepath.Join(o.Out, making.QuestionsName)))
		}
	}
	return text
}

// printSample shows rows, evenly from the dataset: those of the model, if there is one, and why others were not taken.
func printSample(streams Streams, made *making.Made, n int, byModel bool) {
	rows := slices.DeleteFunc(slices.Clone(made.Rows), func(r making.Row) bool { return byModel && r.Model == noModel })
	if byModel {
		fmt.Fprintf(streams.Out, "%d rows of the model were taken.\n", len(rows))
		for _, reason := range slices.Sorted(maps.Keys(made.Report.Dropped)) {
			fmt.Fprintf(streams.Out, "Left out: %d (%s)\n", made.Report.Dropped[reason], reason)
		}
		fmt.Fprintln(streams.Out)
	}
	n = min(n, len(rows))
	for k := range n {
		r := &rows[k*len(rows)/n]
		fmt.Fprintf(streams.Out, "[%s] %s\nQ: %s\nA: %s\n\n", r.Kind, r.Place(), r.Question, r.Answer)
	}
}
