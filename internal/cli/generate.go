package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/profile"
)

// defaultModel is the model that mlx-lm asks when none is given.
const defaultModel = "mlx-community/Llama-3.2-3B-Instruct-4bit"

// samplingFlags are the flags of generate and chat that choose the next token.
type samplingFlags struct {
	generate.Sampling
	seed int64
}

func (s *samplingFlags) declare(f *pflag.FlagSet) {
	f.Float64Var(&s.Temp, "temp", 0, "sampling `temperature`; 0 always takes the likeliest token")
	f.Float64Var(&s.TopP, "top-p", 1, "keep the likeliest tokens that add up to this `share`")
	f.Float64Var(&s.XTCProbability, "xtc-probability", 0, "`chance` of dropping the likeliest tokens, for variety")
	f.Float64Var(&s.XTCThreshold, "xtc-threshold", 0.1, "`probability` above which tokens may be dropped by it")
}

type generateOptions struct {
	sessionFlags
	ExtraEOS             []string
	SystemPrompt, Prompt string
	Prefill              string
	MaxTokens            int
	Stop                 []string
	Sampling             samplingFlags
	IgnoreTemplate       bool
	DefaultTemplate      bool
	TemplateConfig       string
	Verbose              string
	PrefillStep          int
	PromptCacheFile      string
	Profile              profileFlag
	JSON                 string

	modelGiven, seedGiven, systemGiven, prefillGiven bool
}

func newGenerate(streams Streams) *cobra.Command {
	var o generateOptions
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Ask a model one thing",
		Long: `Ask a model one thing, with or without an adapter. The answer is streamed, and
figures on speed and memory follow it.`,
		Example: `  lentil generate --model ./model --prompt "What is fibre good for?"
  lentil generate --model ./model --adapter-path ./adapters --max-tokens 400 \
      --prompt "Can you suggest a high-protein vegetarian breakfast?"
  lentil generate --model ./model --draft-model ./small-model --prompt "Why eat lentils?"
  lentil generate --model model.gguf --temp 0.7 --top-p 0.9 --seed 1 --prompt - < question.txt`,
		GroupID: groupUse,
		Args:    noArguments,
	}
	o.declare(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.modelGiven = cmd.Flags().Changed("model")
		o.seedGiven = cmd.Flags().Changed("seed")
		o.prefillGiven = cmd.Flags().Changed("prefill-response")
		o.systemGiven = cmd.Flags().Changed("system-prompt")
		if err := refuseUnsupported(cmd); err != nil {
			return err
		}
		return runGenerate(cmd.Context(), streams, o)
	}
	return cmd
}

func (o *generateOptions) declare(cmd *cobra.Command) {
	group(cmd, "Model and prompt", func(f *pflag.FlagSet) {
		o.declareModel(f, defaultModel)
		f.StringVarP(&o.Prompt, "prompt", "p", "hello", "what to ask; \\n and \\t are understood; - reads standard input")
		f.StringVar(&o.SystemPrompt, "system-prompt", "", "`text` that tells the model how to behave")
		o.Profile.declare(f)
		f.StringVar(&o.PromptCacheFile, "prompt-cache-file", "", "`file` of lentil cache_prompt or mlx_lm.cache_prompt\nwith the beginning of the prompt; --model is the one it was made with")
		f.StringVar(&o.Prefill, "prefill-response", "", "`text` that the answer begins with")
		f.BoolVar(&o.IgnoreTemplate, "ignore-chat-template", false, "give the prompt to the model as it is")
		f.BoolVar(&o.DefaultTemplate, "use-default-chat-template", false, "")
		ignore(f.Lookup("use-default-chat-template"), "the tokenizer's own template is always used")
		f.StringVar(&o.TemplateConfig, "chat-template-config", "", "JSON `object` with more variables for the chat template")
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "")
		ignore(f.Lookup("trust-remote-code"), noRemoteCode)
	})
	group(cmd, "Answer", func(f *pflag.FlagSet) {
		f.IntVarP(&o.MaxTokens, "max-tokens", "m", 100, "end the answer after this many `tokens`; -1 for no limit")
		f.StringArrayVar(&o.ExtraEOS, "extra-eos-token", nil, "`token` (text or id) that also ends the answer; several may follow")
		f.StringArrayVar(&o.Stop, "stop", nil, "end the answer before this `text`; may be repeated")
		f.StringVar(&o.Verbose, "verbose", "True", "`False` prints the answer alone")
		f.StringVar(&o.JSON, "json", "", "also write answer and figures to this `file`")
		annotate(f.Lookup("extra-eos-token"), manyKey, "1")
	})
	group(cmd, "Sampling", func(f *pflag.FlagSet) {
		s := &o.Sampling
		s.declare(f)
		f.Float64Var(&s.MinP, "min-p", 0, "drop tokens below this `share` of the likeliest one's probability")
		f.IntVar(&s.TopK, "top-k", 0, "keep only the `n` likeliest tokens; 0 for all")
		f.IntVar(&s.MinTokensToKeep, "min-tokens-to-keep", 1, "`n` tokens that --min-p leaves at least")
		f.Int64Var(&s.seed, "seed", 0, "`number` that random choices follow from (default: the time)")
	})
	group(cmd, "Engine", func(f *pflag.FlagSet) {
		o.declareEngine(f)
		f.IntVar(&o.PrefillStep, "prefill-step-size", 2048, "read this many `tokens` of the prompt at a time")
	})
	group(cmd, "Draft", o.Draft.declare)
	declareUnsupported(cmd, "image")
	cmd.Flags().Bool("quantize-activations", false, "")
	f := cmd.Flags().Lookup("quantize-activations")
	annotate(f, shortKey, "qa")
	annotate(f, unsupportedKey, "1")
	f.Hidden = true
}

// unsupportedKey marks a flag of mlx-lm's that this version does not have: it is refused by name instead
// of as unknown.
const unsupportedKey = "lentil.unsupported"

// declareUnsupported adds flags that take a value and are refused.
func declareUnsupported(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		cmd.Flags().String(name, "", "")
		f := cmd.Flags().Lookup(name)
		annotate(f, unsupportedKey, "1")
		f.Hidden = true
	}
}

func refuseUnsupported(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if annotation(f, unsupportedKey) != "" && err == nil {
			err = fault.Of("--%s is not supported in this version", f.Name).Try("Leave it out.")
		}
	})
	return err
}

// verbose reads mlx-lm's --verbose: anything but "false" and "f" means yes.
func (o *generateOptions) verbose() bool {
	v := strings.ToLower(o.Verbose)
	return v != "false" && v != "f"
}

// prompt gives the text of --prompt.
func (o *generateOptions) prompt(in io.Reader) (string, error) {
	text := strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(o.Prompt)
	if text != "-" {
		return text, nil
	}
	piped, err := io.ReadAll(in)
	if err != nil {
		return "", fmt.Errorf("--prompt -: standard input: %w", err)
	}
	return string(piped), nil
}

// tokens gives the tokens of the prompt: of all of it, or what comes behind the prompt cache.
func (o *generateOptions) tokens(e *engine.Engine, text string) ([]int32, error) {
	kwargs, err := templateConfig("chat_template_config", o.TemplateConfig)
	if err != nil {
		return nil, err
	}
	template, err := e.Template()
	if err != nil {
		return nil, err
	}
	settings := engine.PromptOptions{ContinueFinal: o.prefillGiven, Kwargs: kwargs}
	cached := o.PromptCacheFile != ""
	switch plain := o.IgnoreTemplate || template == nil; {
	case plain && o.Profile.Profile != nil:
		return nil, fault.At("profile", "a profile is told in the system prompt, and without a chat template there is none")
	case plain && cached:
		return e.Tokenizer.Encode(text, false)
	case plain:
		return e.Tokenizer.EncodePlain(text)
	case cached:
		return o.suffix(e, text, settings)
	}
	return e.Prompt(o.messages(text), settings)
}

// templateConfig reads a JSON object of variables for the chat template, as setting has it; nil for "".
func templateConfig(setting fault.Setting, text string) (*chat.Dict, error) {
	if text == "" {
		return nil, nil
	}
	value, err := jinja.ParseJSON([]byte(text))
	if err != nil {
		return nil, fault.At(setting, "%w", err)
	}
	kwargs, ok := value.(*chat.Dict)
	if !ok {
		return nil, fault.At(setting, `expected a JSON object such as '{"enable_thinking": false}'`)
	}
	return kwargs, nil
}

// answer says how the answer is made, which these tokens end.
func (o *generateOptions) answer(stops []int32) generate.Options {
	seed := uint64(o.Sampling.seed)
	if !o.seedGiven {
		seed = uint64(time.Now().UnixNano())
	}
	return generate.Options{
		MaxTokens: o.MaxTokens, Sampling: o.Sampling.Sampling, Seed: seed, StopTokens: stops, StopStrings: o.Stop, PrefillStep: o.PrefillStep,
	}
}

// messages is the conversation whose last answer is asked for.
func (o *generateOptions) messages(text string) []chat.Value {
	var messages []chat.Value
	if o.systemGiven {
		messages = append(messages, chat.NewMessage("system", o.SystemPrompt))
	}
	messages = append(messages, chat.NewMessage("user", text))
	if o.prefillGiven {
		messages = append(messages, chat.NewMessage("assistant", o.Prefill))
	}
	return o.Profile.Tell(messages)
}

// generateFigures is what generate's --json writes.
type generateFigures struct {
	generate.Stats
	Text         string `json:"text"`
	FinishReason string `json:"finish_reason"`
	PeakBytes    int64  `json:"peak_bytes"`
	// Violations are what the answer breaks of a profile, where one was given.
	Violations []profile.Hit `json:"violations,omitempty"`
}

func runGenerate(ctx context.Context, streams Streams, o generateOptions) error {
	if err := o.Sampling.Check(); err != nil {
		return fault.Mark(err)
	}
	if err := o.Profile.read(); err != nil {
		return err
	}
	if o.Profile.Profile != nil && o.PromptCacheFile != "" {
		return fault.At("profile", "the prompt cache has the system prompt already").Try("Make the cache with the text of lentil profile show as its system prompt, or leave it out.")
	}
	text, err := o.prompt(streams.In)
	if err != nil {
		return err
	}
	e, session, err := o.begin(ctx, streams)
	if err != nil {
		return err
	}
	defer e.Close()
	defer session.Close()
	tokens, err := o.tokens(e, text)
	if err != nil {
		return err
	}
	stops, err := e.Stops(o.ExtraEOS...)
	if err != nil {
		return err
	}
	result, err := streamAnswer(ctx, streams.Out, session, tokens, o.answer(stops), o.verbose())
	if err != nil {
		return err
	}
	if o.Draft.Model != "" && o.verbose() {
		fmt.Fprintf(streams.Out, "Drafted: %d tokens, %d accepted\n", result.DraftedTokens, result.AcceptedTokens)
	}
	if result.Violations = o.Profile.hits(result.Text); o.Profile.Profile != nil {
		tellHits(streams.Err, o.Profile.ID, result.Violations)
	}
	return writeFigures(o.JSON, result)
}

// streamAnswer prints the answer as it comes, with mlx-lm's lines around it if verbose.
func streamAnswer(ctx context.Context, out io.Writer, s *engine.Session, prompt []int32, o generate.Options, verbose bool) (generateFigures, error) {
	var result generateFigures
	var text strings.Builder
	if verbose {
		fmt.Fprintln(out, "==========")
	}
	for piece, err := range s.Stream(ctx, prompt, o) {
		if err != nil {
			if text.Len() > 0 {
				fmt.Fprintln(out)
			}
			return result, err
		}
		if _, err := io.WriteString(out, piece.Text); err != nil {
			return result, err
		}
		text.WriteString(piece.Text)
		result.Stats, result.FinishReason = piece.Stats, piece.Finish
	}
	result.Text = text.String()
	result.PeakBytes = s.PeakMemory()
	fmt.Fprintln(out)
	if !verbose {
		return result, nil
	}
	fmt.Fprintln(out, "==========")
	if result.Text == "" {
		fmt.Fprintln(out, "No text generated for this prompt")
		return result, nil
	}
	fmt.Fprintf(out, "Prompt: %d tokens, %.3f tokens-per-sec\n", result.PromptTokens, result.PromptTPS)
	fmt.Fprintf(out, "Generation: %d tokens, %.3f tokens-per-sec\n", result.GenerationTokens, result.GenerationTPS)
	fmt.Fprintf(out, "Peak memory: %s\n", gigabytes(result.PeakBytes))
	return result, nil
}
