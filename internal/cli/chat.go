package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/fault"
)

type chatOptions struct {
	sessionFlags
	Sampling       samplingFlags
	PrefillStep    int
	MaxTokens      int
	SystemPrompt   string
	TemplateConfig string
	Profile        profileFlag
}

func newChat(streams Streams) *cobra.Command {
	var o chatOptions
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Talk with a model",
		Long: `Talk with a model, with or without an adapter. The whole conversation is kept:
the model sees what was said before. Ctrl-C ends an answer that is being written
and keeps what there is of it; at the prompt it takes back what was typed, and a
second one ends the chat.

Several lines that are pasted are one message, and so are lines between """ and """.
Lines are edited as in a shell: arrows, Ctrl-A, Ctrl-E, Ctrl-W, Ctrl-R; ~/.inputrc
counts. What was typed is remembered in $XDG_STATE_HOME/lentil/history, or in the
file that LENTIL_HISTORY names; if that is empty, nothing is. From a pipe, each line
is a message.

` + chatCommandsHelp(),
		Example: `  lentil chat --model ./model
  lentil chat --model ./model --adapter-path ./adapters --system-prompt "You are a nutritionist."`,
		GroupID: groupUse,
		Args:    noArguments,
	}
	group(cmd, "Model", func(f *pflag.FlagSet) {
		o.declareModel(f, defaultModel)
		f.StringVar(&o.SystemPrompt, "system-prompt", "", "`text` that tells the model how to behave")
		o.Profile.declare(f)
		f.StringVar(&o.TemplateConfig, "chat-template-config", "", "JSON `object` with more variables for the chat template")
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "")
		ignore(f.Lookup("trust-remote-code"), noRemoteCode)
	})
	group(cmd, "Answers", func(f *pflag.FlagSet) {
		f.IntVarP(&o.MaxTokens, "max-tokens", "m", 256, "end an answer after this many `tokens`; -1 for no limit")
		o.Sampling.declare(f)
		f.Int64Var(&o.Sampling.seed, "seed", 0, "`number` that random choices follow from")
	})
	group(cmd, "Engine", func(f *pflag.FlagSet) {
		o.declareEngine(f)
		f.IntVar(&o.PrefillStep, "prefill-step-size", 2048, "read this many `tokens` of a prompt at a time")
	})
	group(cmd, "Draft", o.Draft.declare)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runChat(cmd.Context(), streams, o)
	}
	return cmd
}

func runChat(ctx context.Context, streams Streams, o chatOptions) error {
	if err := o.Sampling.Check(); err != nil {
		return fault.Mark(err)
	}
	if err := o.Profile.read(); err != nil {
		return err
	}
	t, err := newTalk(ctx, streams, o)
	if err != nil {
		return err
	}
	defer t.close()
	fmt.Fprint(streams.Out, o.banner())
	return t.run(ctx, streams.input())
}

func (o chatOptions) banner() string {
	var b strings.Builder
	row := func(name, value string) { fmt.Fprintf(&b, "%-10s %s\n", name, value) }
	row("model", o.Model)
	if o.AdapterPath != "" {
		row("adapter", o.AdapterPath)
	}
	if o.SystemPrompt != "" {
		text := []rune(o.SystemPrompt)
		if len(text) > 57 {
			text = append(text[:57], []rune("...")...)
		}
		row("system", string(text))
	}
	if o.Profile.Profile != nil {
		row("profile", o.Profile.ID+": "+summary(o.Profile.Profile))
		row("", o.Profile.Notice())
	}
	row("max tokens", fmt.Sprint(o.MaxTokens))
	b.WriteString("/help lists the commands, Ctrl-D ends\n")
	return b.String()
}
