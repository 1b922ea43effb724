package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

// newLoRA makes `lentil lora`, or one of its short names: `lentil train` is `lora --train`, `lentil test`
// is `lora --test`. work does what the options ask for.
func newLoRA(streams Streams, name string, work func(context.Context, Streams, *loraOptions) error) *cobra.Command {
	o := newLoRAOptions()
	cmd := &cobra.Command{Use: name, GroupID: groupTrain, Args: noArguments}
	o.declare(cmd)
	switch name {
	case "train":
		cmd.Short = "Fine-tune a model (lora --train)"
		cmd.Long = "Fine-tune a model on your data. The same as `lentil lora --train`."
		cmd.Example = `  lentil train --model ./model --data ./data --iters 600 --mask-prompt
  lentil train --config lora.yaml --learning-rate 2e-5`
	case "test":
		cmd.Short = "Measure the loss on the test set (lora --test)"
		cmd.Long = "Measure loss and perplexity on the test set. The same as `lentil lora --test`."
		cmd.Example = `  lentil test --model ./model --adapter-path ./adapters --data ./data
  lentil test --model ./model --adapter-path "" --data ./data    # without an adapter`
	default:
		cmd.Short = "Fine-tune a model, or test it, with mlx-lm's flags"
		cmd.Long = `Fine-tune a model (--train), measure its loss on a test set (--test), or both.
Before the first step it tells what the run will need. Ctrl-C saves and says how
to go on; a second Ctrl-C stops at once.`
		cmd.Example = `  lentil lora --model ./model --data ./data --train --fine-tune-type lora --batch-size 4 \
      --num-layers 16 --iters 1000 --adapter-path ./adapters --mask-prompt
  lentil lora --model ./model --adapter-path ./adapters --data ./data --test
  lentil lora --config lora.yaml --train`
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch name {
		case "train":
			o.Train = true
		case "test":
			o.Test = true
		}
		if err := o.resolve(cmd, streams); err != nil {
			return err
		}
		return work(cmd.Context(), streams, o)
	}
	return cmd
}

// resolve completes the flags with the config file and checks the whole.
func (o *loraOptions) resolve(cmd *cobra.Command, streams Streams) error {
	if o.Config != "" {
		fmt.Fprintln(streams.Out, "Loading configuration file", o.Config)
		if err := o.mergeYAML(cmd.Flags(), streams.Err); err != nil {
			return err
		}
	}
	return o.check()
}
