package cli

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
)

type feedbackOptions struct {
	Out, Format string
	Valid       float64
	Overwrite   bool
}

// feedbackFormats are what rows are made of feedback.
var feedbackFormats = map[string]dataset.Format{"pairs": dataset.Preference, "messages": dataset.Chat}

func newDatasetFeedback(streams Streams) *cobra.Command {
	var o feedbackOptions
	cmd := &cobra.Command{
		Use:   "feedback FILES...",
		Short: "Make training data of votes and corrections on the chat page",
		Long: `Make rows of what people said of answers on the chat page of lentil serve, which is in
feedback.jsonl in the folder of its chats. The last vote on an answer counts.

Pairs have a good answer, or what an answer should have been, beside each bad one to the
same question (of many good ones, eight in turn), for lentil train --train-mode dpo or
orpo. With --format messages the good ones alone are rows of conversations, for other
training. All that was said of one question is on one side of the split; fewer than ten
questions all are for training.`,
		Example: `  lentil dataset feedback ~/.local/share/lentil/serve/feedback.jsonl --out ./liked
  lentil train --train-mode dpo --model ./model --data ./liked --adapter-path ./better`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.Of("no file was given").Try("Usage: %s", cmd.UseLine())
			}
			return nil
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&o.Out, "out", "", "`folder` for the rows (required)")
		f.StringVar(&o.Format, "format", "pairs", "`layout` of the rows: pairs, messages")
		f.Float64Var(&o.Valid, "valid-share", 0.1, "`share` of the questions for validation")
		f.BoolVar(&o.Overwrite, "overwrite", false, "replace files in the folder that this command did not write")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case o.Out == "":
			return fault.Missing("out").Try("Give the folder that the rows are to lie in.")
		case !(o.Valid >= 0 && o.Valid < 1):
			return fault.Value("valid_share", o.Valid, "0 to below 1")
		}
		if err := fault.Choice("format", o.Format, "pairs", "messages"); err != nil {
			return err
		}
		return runDatasetFeedback(streams, args, o)
	}
	return cmd
}

func runDatasetFeedback(streams Streams, files []string, o feedbackOptions) error {
	f, err := dataset.ReadFeedback(files...)
	if err != nil {
		return err
	}
	as := feedbackFormats[o.Format]
	train, valid := f.Rows(as, o.Valid)
	if len(train) == 0 {
		remedy := "Call an answer good and another one to the same question bad, or correct one."
		if as == dataset.Chat {
			remedy = "Call answers good, or correct them."
		}
		return fault.Of("%d votes and %d corrections make no row", f.Votes, f.Corrections).Try("%s", remedy)
	}
	if err := dataset.WriteRows(o.Out, as, train, valid, o.Overwrite); err != nil {
		return err
	}
	fmt.Fprintf(streams.Out, "%d votes and %d corrections gave %d rows for training and %d for validation: %s\n", f.Votes, f.Corrections, len(train), len(valid), o.Out)
	return nil
}
