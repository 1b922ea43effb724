package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
)

type cachePromptOptions struct {
	sessionFlags
	EOSToken             string
	Prompt, SystemPrompt string
	File                 string
	JSON                 string
}

func newCachePrompt(streams Streams) *cobra.Command {
	var o cachePromptOptions
	cmd := &cobra.Command{
		Use:     "cache_prompt",
		Aliases: []string{"cache-prompt"},
		Short:   "Read a long prompt once, for many questions",
		Long: `Let a model read the beginning of a prompt, such as a document, and keep what it
knows of it in a file. lentil generate --prompt-cache-file goes on from there, with the
question alone to read. mlx-lm reads the file too, and this reads mlx-lm's.`,
		Example: `  lentil cache_prompt --model ./model --prompt-cache-file book.safetensors --prompt - < book.txt
  lentil generate --prompt-cache-file book.safetensors --prompt "What does it say about salt?"`,
		GroupID: groupUse,
		Args:    noArguments,
	}
	group(cmd, "Model and prompt", func(f *pflag.FlagSet) {
		o.declareModel(f, "mlx_model")
		f.StringVar(&o.Prompt, "prompt", "", "beginning of the user's `text`; - reads standard input (required)")
		f.StringVar(&o.SystemPrompt, "system-prompt", "", "`text` that tells the model how to behave")
		f.StringVar(&o.File, "prompt-cache-file", "", "`file` to write (required)")
		f.StringVar(&o.EOSToken, "eos-token", "", "`token` that ends answers, too")
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "")
		ignore(f.Lookup("trust-remote-code"), noRemoteCode)
	})
	group(cmd, "Engine", func(f *pflag.FlagSet) {
		o.declareEngine(f)
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case o.File == "":
			return fault.Missing("prompt_cache_file").Try("Give the file to write, such as prompt.safetensors.")
		case !cmd.Flags().Changed("prompt"):
			return fault.Missing("prompt").Try("Give the text to read, or - for standard input.")
		}
		return runCachePrompt(cmd.Context(), streams, o)
	}
	return cmd
}

// checkCacheFile refuses, before the long work, a file that cannot be written or that is no prompt cache which this command
// wrote.
func checkCacheFile(path string) error {
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return fault.At("prompt_cache_file", "there is no folder %s", filepath.Dir(path)).Try("Make it, or give another file.")
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return nil // the write tells of a folder
	}
	ours := false
	if p, err := generate.OpenPromptCache(path); err == nil {
		_, ours = p.Metadata[adapterOfCache] // mlx-lm does not tell
		p.Close()
	}
	if !ours {
		return fault.Given("prompt_cache_file", path, "this is there already, and is no prompt cache that Lentil wrote").Try("Give another file, or remove it.")
	}
	return nil
}

// adapterOfCache is the key under which a prompt cache tells what adapter it was made with.
const adapterOfCache = "adapter_path"

func runCachePrompt(ctx context.Context, streams Streams, o cachePromptOptions) error {
	out := streams.Out
	if err := checkCacheFile(o.File); err != nil {
		return err
	}
	if o.Prompt == "-" {
		piped, err := io.ReadAll(streams.In)
		if err != nil {
			return fmt.Errorf("--prompt -: standard input: %w", err)
		}
		o.Prompt = string(piped)
	}
	e, session, err := o.open(ctx, streams)
	if err != nil {
		return err
	}
	defer e.Close()
	defer session.Close()
	if o.EOSToken != "" {
		_, err := e.Stops(o.EOSToken)
		var m *fault.Mistake
		if errors.As(err, &m) {
			m.Setting = "eos_token" // the flag's name here
		}
		if err != nil {
			return err
		}
	}
	tokens, err := o.tokens(e)
	if err != nil {
		return err
	}
	speed, err := readPrompt(ctx, streams, session, tokens)
	if err != nil {
		return err
	}
	peak := e.PeakMemory()
	fmt.Fprintf(out, "Peak memory: %s\nSaving...\n", gigabytes(peak))
	config, err := o.tokenizerConfig()
	if err != nil {
		return err
	}
	err = session.Save(o.File, map[string]string{"model": o.Model, "tokenizer_config": config, adapterOfCache: o.AdapterPath})
	if err != nil {
		return err
	}
	return writeFigures(o.JSON, map[string]any{
		"prompt_cache_file": o.File, "prompt_tokens": len(tokens), "prompt_tps": speed, "peak_bytes": peak,
	})
}

// tokens is the prompt as the user's turn, left open.
func (o *cachePromptOptions) tokens(e *engine.Engine) ([]int32, error) {
	template, err := e.Template()
	if err != nil {
		return nil, err
	}
	if template == nil {
		if o.SystemPrompt != "" {
			return nil, fault.At("system_prompt", "this model has no chat template that takes one")
		}
		return e.Tokenizer.EncodePlain(o.Prompt)
	}
	var messages []chat.Value
	if o.SystemPrompt != "" {
		messages = append(messages, chat.NewMessage("system", o.SystemPrompt))
	}
	return e.Prompt(append(messages, chat.NewMessage("user", o.Prompt)), engine.PromptOptions{ContinueFinal: true})
}

// readPrompt fills the session, with mlx-lm's line on progress, and gives the speed in tokens a second.
func readPrompt(ctx context.Context, streams Streams, s *engine.Session, tokens []int32) (speed float64, err error) {
	live := streams.outIsTerminal()
	began := time.Now()
	options := generate.Options{Progress: func(done, total int) {
		speed = float64(done) / time.Since(began).Seconds()
		switch line := fmt.Sprintf("Processed %6d tokens (%6.2f tok/s)", done, speed); {
		case live:
			streams.rewrite(line)
		case done == total:
			fmt.Fprint(streams.Out, line)
		}
	}}
	_, _, err = s.Answer(ctx, tokens, options)
	fmt.Fprintln(streams.Out)
	return speed, err
}

// tokenizerConfig is what mlx-lm opens the tokenizer with, as Python writes it on one line.
func (o *cachePromptOptions) tokenizerConfig() (string, error) {
	d := jinja.NewDict()
	d.Set("trust_remote_code", o.TrustRemoteCode)
	if o.EOSToken != "" {
		d.Set("eos_token", o.EOSToken)
	}
	return jinja.DumpJSON(d, 0)
}

// begin opens the model and a session, which knows what the file of --prompt-cache-file holds, if that is given.
func (o *generateOptions) begin(ctx context.Context, streams Streams) (*engine.Engine, *engine.Session, error) {
	if o.PromptCacheFile == "" {
		return o.open(ctx, streams)
	}
	cached, err := o.openPromptCache()
	if err != nil {
		return nil, nil, err
	}
	defer cached.Close()
	if o.Draft.Model != "" {
		fmt.Fprintln(streams.Err, "The draft model does not see what --prompt-cache-file holds: expect fewer of its guesses to be right.")
	}
	e, session, err := o.open(ctx, streams)
	if err != nil {
		return nil, nil, err
	}
	if err := session.Load(cached); err != nil {
		session.Close()
		e.Close()
		return nil, nil, fault.Mark(err, compute.ErrNoMemory)
	}
	return e, session, nil
}

// openPromptCache opens the file of --prompt-cache-file and settles model, adapter, cache size and end
// token with it.
func (o *generateOptions) openPromptCache() (*generate.PromptCache, error) {
	if o.systemGiven {
		return nil, fault.Of("--system-prompt comes before what --prompt-cache-file holds").Try("Give it to lentil cache_prompt.")
	}
	p, err := generate.OpenPromptCache(o.PromptCacheFile)
	if err != nil {
		return nil, fault.At("prompt_cache_file", "%w", err)
	}
	if err := o.agree(p.Metadata); err != nil {
		p.Close()
		return nil, err
	}
	if err := o.KV.agree(p, o.PromptCacheFile, o.MaxKVSize); err != nil {
		p.Close()
		return nil, err
	}
	if o.MaxKVSize == 0 {
		o.MaxKVSize = p.MaxKVSize
	}
	var config struct {
		EOS string `json:"eos_token"`
	}
	if json.Unmarshal([]byte(p.Metadata["tokenizer_config"]), &config) == nil && config.EOS != "" {
		o.ExtraEOS = append(o.ExtraEOS, config.EOS)
	}
	return p, nil
}

// agree takes the model that a prompt cache was made with, and refuses another, or another adapter.
func (o *generateOptions) agree(metadata map[string]string) error {
	made := metadata["model"]
	switch {
	case made == "" && !o.modelGiven:
		return fault.Of("--model is missing, and %s does not tell its own", o.PromptCacheFile)
	case !o.modelGiven:
		o.Model = made
	case made != "" && !samePlace(made, o.Model):
		return fault.Given("model", o.Model, "the prompt cache %s was made with %s", o.PromptCacheFile, made).Try("Give that model, or none.")
	}
	if adapter, ok := metadata[adapterOfCache]; ok && !samePlace(adapter, o.AdapterPath) { // mlx-lm does not tell
		return fault.Given("adapter_path", o.AdapterPath, "the prompt cache %s was made with %q", o.PromptCacheFile, adapter).Try("Give the same.")
	}
	return nil
}

// samePlace tells whether two names are of one model or adapter, on this machine or in a repository.
func samePlace(a, b string) bool {
	if a == b || a == "" || b == "" {
		return a == b
	}
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// placeholder stands for the query where the rest of the prompt is rendered around it.
const placeholder = "<query>"

// suffix gives the tokens of the prompt behind what a prompt cache holds: from the query on.
func (o *generateOptions) suffix(e *engine.Engine, text string, settings engine.PromptOptions) ([]int32, error) {
	around, err := e.Render(o.messages(placeholder), settings)
	if err != nil {
		return nil, err
	}
	whole, err := e.Render(o.messages(text), settings)
	if err != nil {
		return nil, err
	}
	at := strings.Index(around, placeholder)
	if at < 0 || !strings.HasPrefix(whole, around[:at]) {
		return nil, fault.Of("the chat template changes what comes before the prompt, so that it cannot go on from --prompt-cache-file").Try("Give --ignore-chat-template.")
	}
	return e.Tokenizer.Encode(whole[at:], false)
}
