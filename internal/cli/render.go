package cli

import (
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/smallfile"
	"github.com/lentil-lm/lentil/tokenizer"
)

type renderOptions struct {
	Model, Template          string
	Messages, Tools, Context string
	AddGenerationPrompt      bool
	Now                      string
}

func newRender(streams Streams) *cobra.Command {
	var o renderOptions
	cmd := &cobra.Command{
		Use:   "render (--model DIR | --template FILE.jinja) (--messages FILE.json | --context FILE.json)",
		Short: "Show what a chat template makes of a conversation",
		Long: `Show the text that a chat template makes of a conversation, as the model sees it.
Messages are a JSON list of objects with role and content. With --context, a JSON
object gives all of the template's variables, and nothing is added to them.`,
		Example: `  lentil render --model ./model --messages chat.json --add-generation-prompt
  lentil render --template chat_template.jinja --context variables.json --now 2026-11-22T00:00:00Z`,
		GroupID: groupInspect,
		Args:    noArguments,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "", "`folder` or .gguf file whose template to use")
		f.StringVar(&o.Template, "template", "", "template `file` to use instead")
		f.StringVar(&o.Messages, "messages", "", "`file` with the conversation")
		f.StringVar(&o.Tools, "tools", "", "`file` with a JSON list of tools")
		f.StringVar(&o.Context, "context", "", "`file` with all variables of the template")
		f.BoolVar(&o.AddGenerationPrompt, "add-generation-prompt", false, "end with what makes the model answer")
		f.StringVar(&o.Now, "now", "", "`time` (RFC 3339) that the template takes for the present")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(); err != nil {
			return err
		}
		var tok *tokenizer.Tokenizer // nil with a template of one's own
		if o.Template == "" {
			var err error
			if tok, err = engine.OpenTokenizer(cmd.Context(), o.Model, streams.opening(0)); err != nil {
				return err
			}
		}
		text, err := o.render(tok)
		if err != nil {
			return err
		}
		if streams.outIsTerminal() && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		_, err = io.WriteString(streams.Out, text)
		return err
	}
	return cmd
}

func (o renderOptions) check() error {
	switch {
	case (o.Model == "") == (o.Template == ""):
		return fault.Of("give either --model or --template")
	case (o.Messages == "") == (o.Context == ""):
		return fault.Of("give either --messages or --context")
	case o.Context != "" && (o.Tools != "" || o.AddGenerationPrompt):
		return fault.Of("--context takes all variables: put tools and add_generation_prompt into its file")
	}
	return nil
}

// render gives the text of the template over the conversation or the context.
func (o renderOptions) render(tok *tokenizer.Tokenizer) (string, error) {
	now := time.Now()
	if o.Now != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, o.Now); err != nil {
			return "", fault.Value("now", o.Now, "a time such as 2026-11-22T12:00:00Z")
		}
	}
	if o.Context != "" {
		return o.renderContext(tok, now)
	}
	renderer, err := o.renderer(tok)
	if err != nil {
		return "", err
	}
	messages, err := readList("messages", o.Messages)
	if err != nil {
		return "", err
	}
	var tools chat.Value
	if o.Tools != "" {
		if tools, err = readList("tools", o.Tools); err != nil {
			return "", err
		}
	}
	text, err := renderer.Render(messages.Items, tools, chat.Options{AddGenerationPrompt: o.AddGenerationPrompt, Now: now})
	if err != nil {
		return "", fault.Mark(err)
	}
	return text, nil
}

// renderContext runs the template with the variables of the context file and no others.
func (o renderOptions) renderContext(tok *tokenizer.Tokenizer, now time.Time) (string, error) {
	value, err := readJSON("context", o.Context)
	if err != nil {
		return "", err
	}
	variables, ok := value.(*chat.Dict)
	if !ok {
		return "", fault.Value("context", o.Context, "a JSON object")
	}
	template, err := o.template(tok, variables)
	if err != nil {
		return "", err
	}
	text, _, err := template.Render(variables, now)
	if err != nil {
		return "", fault.Mark(err)
	}
	return text, nil
}

// template parses the template file, or the model's template for these variables.
func (o renderOptions) template(tok *tokenizer.Tokenizer, variables *chat.Dict) (*jinja.Template, error) {
	source := ""
	if o.Template != "" {
		text, err := smallfile.ReadAny(o.Template, maxText)
		if err != nil {
			return nil, fault.At("template", "%w", err)
		}
		source = string(text)
	} else {
		tools, _ := variables.Get("tools")
		var ok bool
		if source, ok = tok.ChatTemplate(tools != nil); !ok {
			return nil, fault.Mark(chat.ErrNoTemplate)
		}
	}
	template, err := jinja.Parse(source)
	if err != nil {
		return nil, fault.Mark(err)
	}
	return template, nil
}

// renderer gives the model's renderer, or one of the template file alone.
func (o renderOptions) renderer(tok *tokenizer.Tokenizer) (*chat.Renderer, error) {
	if o.Template != "" {
		template, err := o.template(nil, jinja.NewDict())
		if err != nil {
			return nil, err
		}
		return chat.NewRendererWith(noTokenizer{}, template), nil
	}
	renderer, err := chat.NewRenderer(tok)
	if err != nil {
		return nil, fault.Mark(err)
	}
	return renderer, nil
}

// noTokenizer stands in where a template is rendered without a model: it has no special tokens.
type noTokenizer struct{}

func (noTokenizer) ChatTemplate(bool) (string, bool) { return "", false }
func (noTokenizer) SpecialTokens() map[string]string { return nil }
func (noTokenizer) HasThinking() bool                { return false }

func readList(setting fault.Setting, path string) (*chat.List, error) {
	value, err := readJSON(setting, path)
	if err != nil {
		return nil, err
	}
	list, ok := value.(*chat.List)
	if !ok {
		return nil, fault.Value(setting, path, "a JSON list")
	}
	return list, nil
}

// readJSON reads a JSON file that a setting names, keeping the order of keys.
func readJSON(setting fault.Setting, path string) (chat.Value, error) {
	text, err := smallfile.ReadAny(path, maxText)
	if err != nil {
		return nil, fault.At(setting, "%w", err)
	}
	value, err := jinja.ParseJSON(text)
	if err != nil {
		return nil, fault.At(setting, "%s: %w", path, err)
	}
	return value, nil
}
