package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/machine"
)

type chatOptions struct {
	sessionFlags
	Sampling       samplingFlags
	PrefillStep    int
	MaxTokens      int
	SystemPrompt   string
	TemplateConfig string
}

func newChat(streams Streams) *cobra.Command {
	var o chatOptions
	cmd := &cobra.Command{
		Use:   "chat",
		Short: "Talk with a model",
		Long: `Talk with a model, with or without an adapter. The whole conversation is kept:
the model sees what was said before. A line of q ends it, r starts a new
conversation, h shows this help. Ctrl-C stops an answer that is being written.`,
		Example: `  lentil chat --model ./model
  lentil chat --model ./model --adapter-path ./adapters --system-prompt "You are a nutritionist."`,
		GroupID: groupUse,
		Args:    noArguments,
	}
	group(cmd, "Model", func(f *pflag.FlagSet) {
		o.declareModel(f, defaultModel)
		f.StringVar(&o.SystemPrompt, "system-prompt", "", "`text` that tells the model how to behave")
		f.StringVar(&o.TemplateConfig, "chat-template-config", "", "JSON `object` with more variables for the chat template")
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "accepted for mlx-lm's sake; Lentil never runs code from a model folder")
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

const chatHelp = `q  end
r  forget the conversation and start a new one
h  this help
Everything else goes to the model.
`

// maxLine is the longest line that chat reads.
const maxLine = 1 << 20

// A talk is a conversation going on.
type talk struct {
	engine   *engine.Engine
	session  *engine.Session
	prompt   engine.PromptOptions
	options  generate.Options
	system   string
	messages []chat.Value
}

func runChat(ctx context.Context, streams Streams, o chatOptions) error {
	if err := o.Sampling.Check(); err != nil {
		return fault.Mark(err)
	}
	e, session, err := o.open(ctx, streams)
	if err != nil {
		return err
	}
	defer e.Close()
	defer session.Close()
	t, err := newTalk(e, session, o)
	if err != nil {
		return err
	}
	fmt.Fprint(streams.Out, o.banner())
	lines := bufio.NewScanner(streams.In)
	lines.Buffer(nil, maxLine)
	for ctx.Err() == nil {
		fmt.Fprint(streams.Out, ">> ")
		if !lines.Scan() {
			fmt.Fprintln(streams.Out)
			return lines.Err()
		}
		switch line := lines.Text(); line {
		case "":
		case "q":
			fmt.Fprintln(streams.Out, "bye")
			return nil
		case "h":
			fmt.Fprint(streams.Out, chatHelp)
		case "r":
			t.reset()
			fmt.Fprintln(streams.Out, "context cleared")
		default:
			if err := t.answer(ctx, streams.Out, line); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func newTalk(e *engine.Engine, session *engine.Session, o chatOptions) (*talk, error) {
	kwargs, err := templateConfig(o.TemplateConfig)
	if err != nil {
		return nil, err
	}
	if template, err := e.Template(); template == nil {
		return nil, fault.Mark(cmp.Or(err, chat.ErrNoTemplate))
	}
	t := &talk{engine: e, session: session, prompt: engine.PromptOptions{Kwargs: kwargs}, system: o.SystemPrompt}
	t.options = generate.Options{MaxTokens: o.MaxTokens, Sampling: o.Sampling.Sampling, Seed: uint64(o.Sampling.seed), PrefillStep: o.PrefillStep}
	t.reset()
	return t, nil
}

// reset starts a new conversation. The session notices by itself that the next prompt begins otherwise.
func (t *talk) reset() {
	t.messages = nil
	if t.system != "" {
		t.messages = []chat.Value{chat.NewMessage("system", t.system)}
	}
}

// answer adds the user's turn and the model's to the conversation.
func (t *talk) answer(ctx context.Context, out io.Writer, line string) error {
	t.messages = append(t.messages, chat.NewMessage("user", line))
	tokens, err := t.engine.Prompt(t.messages, t.prompt)
	if err != nil {
		return err
	}
	var text strings.Builder
	var stats generate.Stats
	for piece, err := range t.session.Stream(ctx, tokens, t.options) {
		if errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(out, piece.Text); err != nil {
			return err
		}
		text.WriteString(piece.Text)
		stats = piece.Stats
	}
	t.options.Seed++ // the next answer has random numbers of its own
	t.messages = append(t.messages, chat.NewMessage("assistant", text.String()))
	_, err = fmt.Fprintf(out, "\n%d tokens · %.1f tok/s · prompt %.1f tok/s · peak %.2f GB\n",
		stats.GenerationTokens, stats.GenerationTPS, stats.PromptTPS, float64(machine.PeakMemory())/1e9)
	return err
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
	row("max tokens", fmt.Sprint(o.MaxTokens))
	b.WriteString("q ends, r starts anew, h helps\n")
	return b.String()
}
