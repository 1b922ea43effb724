package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/dataset/audit"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tune"
)

type checkOptions struct {
	Data, Model, JSON       string
	MaxSeqLength, BatchSize int
	Pairs, Strict           bool
	Threads                 int
}

func newDatasetCheck(streams Streams) *cobra.Command {
	o := checkOptions{}
	cmd := &cobra.Command{
		Use:   "check DATA",
		Short: "Look at a dataset for what spoils a training, or its measure",
		Long: `Check a dataset, whoever made it: empty answers, rows of valid and test that train has,
one question with answers that contradict each other, rows that are there twice or
nearly, addresses and numbers of persons, and a mix of languages.

With --model, rows are also counted in its tokens, through its chat template: which are
cut, which lose their whole answer, what the template leaves out, and which length and
batch fit into memory.

It ends with status 1 if there are empty answers, rows of valid or test in train, one
question with different figures, or rows without a token to learn; with --strict, if
there is anything to tell.`,
		Example: `  lentil dataset check ./data
  lentil dataset check ./data --model ./model --max-seq-length 1024 --json check.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.Of("found %d datasets, expected one", len(args)).Try("Usage: %s", cmd.UseLine())
			}
			return nil
		},
	}
	r := tune.New()
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "", "also count tokens: `folder` or .gguf file of the model that is to be trained")
		f.IntVar(&o.MaxSeqLength, "max-seq-length", r.MaxSeqLength, "where training will cut rows, in `tokens`")
		f.IntVar(&o.BatchSize, "batch-size", r.BatchSize, "`rows` of a step, for the memory that it takes")
		f.BoolVar(&o.Pairs, "pairs", false, "rows are pairs of a chosen and a rejected answer (default: as they look)")
		f.BoolVar(&o.Strict, "strict", false, "end with status 1 for anything that is told")
		f.IntVar(&o.Threads, "threads", 0, "worker `threads`; 0 for one per core")
		f.StringVar(&o.JSON, "json", "", "also write all of it to this `file`")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.Data = args[0]
		switch {
		case o.MaxSeqLength < 2:
			return fault.Value("max_seq_length", o.MaxSeqLength, "2 or more")
		case o.BatchSize < 1:
			return fault.Value("batch_size", o.BatchSize, "1 or more")
		}
		return runDatasetCheck(cmd.Context(), streams, &o)
	}
	return cmd
}

// checked is what --json writes.
type checked struct {
	*audit.Report
	Splits   []splitTokens `json:"splits,omitempty"`
	Plans    []batchPlan   `json:"plans,omitempty"`
	Suggest  int           `json:"suggested_max_seq_length,omitempty"`
	Batch    int           `json:"suggested_batch_size,omitempty"`
	Warnings []string      `json:"warnings"`
	Wrong    int           `json:"wrong"`
}

// splitTokens are the lengths of the rows of a split.
type splitTokens struct {
	Split    string `json:"split"`
	Rows     int    `json:"rows"`
	Tokens   int    `json:"tokens"`
	Learnt   int    `json:"learnt"`
	Least    int    `json:"min"`
	Median   int    `json:"median"`
	P95      int    `json:"p95"`
	Longest  int    `json:"max"`
	Cut      int    `json:"cut"`
	NoLoss   int    `json:"no_answer_left"`
	LeftOut  int    `json:"left_out_by_template"`
	BinWidth int    `json:"bin_width"`
	Bins     []int  `json:"bins"`

	report *dataset.Report
}

// A batchPlan is the memory that a training takes with a batch.
type batchPlan struct {
	BatchSize int   `json:"batch_size"`
	Bytes     int64 `json:"bytes"`
	Fits      bool  `json:"fits"`
}

func runDatasetCheck(ctx context.Context, streams Streams, o *checkOptions) error {
	streams.presses.stopping("Stopping: nothing was changed.")
	query := tune.DataQuery{Data: o.Data, Pairs: o.Pairs, Train: true, Valid: true, Test: true}
	splits, err := tune.FindData(ctx, query, streams.tuning(nil))
	if err != nil && !o.Pairs {
		query.Pairs = true
		if of, failed := tune.FindData(ctx, query, streams.tuning(nil)); failed == nil {
			splits, err, o.Pairs = of, nil, true
		}
	}
	if err != nil {
		return err
	}
	if splits.Train.Len()+splits.Valid.Len()+splits.Test.Len() == 0 {
		return fault.Of("%s has no rows", o.Data).Try("Give a folder with train.jsonl, or a file of rows.")
	}
	bar := streams.bar(nil)
	report, err := audit.Look(ctx, splits, func(done, total int) { bar.Set("Reading rows", done, total) })
	bar.Clear()
	if err != nil {
		return fault.Mark(err)
	}
	c := &checked{Report: report, Warnings: []string{}, Wrong: report.Wrong()}
	if o.Model != "" {
		if err := c.tokens(ctx, streams, o, splits); err != nil {
			return err
		}
	}
	c.print(streams, o)
	if err := writeFigures(o.JSON, c); err != nil {
		return err
	}
	told := len(report.Findings) + len(c.Warnings)
	if c.Wrong > 0 {
		return fmt.Errorf("%w: %d findings are wrong in any dataset", errSaid, c.Wrong)
	}
	if o.Strict && told > 0 {
		return fmt.Errorf("%w: there is something to tell", errSaid)
	}
	return nil
}

// tokens counts rows as the model will see them, and plans their memory.
func (c *checked) tokens(ctx context.Context, streams Streams, o *checkOptions, splits *dataset.Splits) error {
	r := tune.New()
	r.Model, r.Data, r.MaxSeqLength, r.BatchSize, r.Threads = o.Model, o.Data, o.MaxSeqLength, o.BatchSize, o.Threads
	if o.Pairs {
		r.TrainMode = "dpo"
	}
	// A folder that is not there: nothing is written.
	r.Train, r.AdapterPath = true, filepath.Join(os.TempDir(), fmt.Sprintf("lentil-check-%d", os.Getpid()))
	if splits.Train.Len() == 0 {
		r.Train, r.Test, r.AdapterPath = false, true, ""
	}
	options := streams.tuning(nil)
	options.Given = func(string) bool { return false } // what is not told here follows the model
	job, err := tune.Open(ctx, r, options)
	if err != nil {
		return err
	}
	defer job.Close()
	renderer, err := job.Engine.Template()
	if err != nil {
		return err
	}
	longest := 0
	for _, s := range []*dataset.Split{splits.Train, splits.Valid, splits.Test} {
		if s.Len() == 0 {
			continue
		}
		enc := dataset.NewEncoder(job.Engine.Tokenizer, renderer, dataset.EncoderOptions{MaskPrompt: s.Format != dataset.Text, MaxSeqLength: o.MaxSeqLength})
		rows, err := enc.Rows(s)
		if err != nil {
			return fault.Mark(err)
		}
		bar := streams.bar(nil)
		report, err := rows.Prepare(ctx, func(done, total int) { bar.Set("Tokenizing "+s.Name, done, total) })
		bar.Clear()
		if report == nil {
			return fault.Mark(err)
		}
		t := splitTokens{Split: s.Name, Rows: report.Rows, Tokens: report.Tokens, Learnt: report.LossTokens, Median: report.P50, P95: report.P95, Longest: report.Longest,
			Cut: report.Truncated, NoLoss: report.NoLoss, LeftOut: report.LeftOut, BinWidth: report.BinWidth, Bins: report.Bins, report: report}
		for i := range rows.Len() {
			item, err := rows.Item(i)
			if err != nil {
				return fault.Mark(err)
			}
			if n := len(item.IDs); t.Least == 0 || n < t.Least {
				t.Least = n
			}
		}
		c.Splits = append(c.Splits, t)
		c.Wrong += report.NoLoss
		longest = max(longest, report.Longest)
		for _, w := range report.Warnings() {
			c.Warnings = append(c.Warnings, w.Spell(flagName))
		}
		if s == splits.Train && rows.Len() > 0 {
			if err := c.plan(job, rows, o); err != nil {
				return err
			}
		}
	}
	const step = 32 // lengths are rounded up to it
	c.Suggest = (longest + step - 1) / step * step
	return nil
}

// plan finds the largest batch that fits into memory, of powers of two up to 32.
func (c *checked) plan(job *tune.Job, rows *dataset.Rows, o *checkOptions) error {
	sizes := []int{1, 2, 4, 8, 16, 32}
	if !slices.Contains(sizes, o.BatchSize) {
		sizes = append(sizes, o.BatchSize)
		slices.Sort(sizes)
	}
	for _, n := range sizes {
		if n > rows.Len() {
			break
		}
		job.Recipe.BatchSize = n
		p, err := job.Forecast(rows)
		if err != nil {
			return err
		}
		c.Plans = append(c.Plans, batchPlan{n, p.TotalBytes, p.Fits})
		if !p.Fits {
			break
		}
		c.Batch = n
	}
	return nil
}

func (c *checked) print(streams Streams, o *checkOptions) {
	out := streams.Out
	fmt.Fprintf(out, "%s: %d train, %d valid, %d test\n", o.Data, c.Rows["train"], c.Rows["valid"], c.Rows["test"])
	var languages []string
	for _, lang := range slices.SortedFunc(maps.Keys(c.Languages), func(a, b string) int { return cmp.Or(c.Languages[b]-c.Languages[a], cmp.Compare(a, b)) }) {
		languages = append(languages, fmt.Sprintf("%d %s", c.Languages[lang], lang))
	}
	fmt.Fprintf(out, "Languages: %s\n", strings.Join(languages, ", "))
	for _, t := range c.Splits {
		fmt.Fprintf(out, "\n%s: %d rows, %d tokens (%d learnt); of a row: min %d, median %d, 95 %% up to %d, max %d\n", t.Split, t.Rows, t.Tokens, t.Learnt, t.Least, t.Median, t.P95, t.Longest)
		fmt.Fprintf(out, "  cut at %d: %d; without a token of the answer: %d; the template leaves something out: %d\n%s", o.MaxSeqLength, t.Cut, t.NoLoss, t.LeftOut, histogram(t.Bins, t.BinWidth))
	}
	if c.Suggest > 0 {
		fmt.Fprintf(out, "\nNothing is cut with --max-seq-length %d.", c.Suggest)
		for _, p := range c.Plans {
			fits := ""
			if !p.Fits {
				fits = " (does not fit)"
			}
			fmt.Fprintf(out, "\n  --batch-size %-3d %s%s", p.BatchSize, run.Bytes(p.Bytes), fits)
		}
		fmt.Fprintln(out)
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(out, "\nWarning: %s\n", w)
	}
	any := false
	for _, kind := range audit.Kinds {
		n := c.Counts[kind]
		if n == 0 {
			continue
		}
		any = true
		fmt.Fprintf(out, "\n%s%s: %d\n", map[bool]string{true: "WRONG: "}[kind.Wrong()], kind, n)
		for _, f := range c.Findings {
			if f.Kind == kind {
				fmt.Fprintf(out, "  %s%s  %s\n", f.Where, map[bool]string{true: " (" + f.Other + ")"}[f.Other != ""], f.Text)
			}
		}
	}
	if !any && len(c.Warnings) == 0 {
		fmt.Fprintln(out, "\nNothing is wrong with it that could be found.")
	}
	if c.Unlooked > 0 {
		fmt.Fprintf(out, "\n%d rows more were not compared for being nearly the same.\n", c.Unlooked)
	}
}

// histogram draws the lengths of rows, a line for each bin.
func histogram(bins []int, width int) string {
	const widest, most = 40, 12
	for len(bins) > most { // two become one
		var half []int
		for i := 0; i < len(bins); i += 2 {
			n := bins[i]
			if i+1 < len(bins) {
				n += bins[i+1]
			}
			half = append(half, n)
		}
		bins, width = half, 2*width
	}
	peak := 1
	for _, n := range bins {
		peak = max(peak, n)
	}
	var b strings.Builder
	for i, n := range bins {
		fmt.Fprintf(&b, "  %6d–%-6d %-*s %d\n", i*width+1, (i+1)*width, widest, strings.Repeat("█", (n*widest+peak-1)/peak), n)
	}
	return b.String()
}
