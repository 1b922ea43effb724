package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/chat"
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
	cmd.RunE = func(*cobra.Command, []string) error {
		text, err := render(o)
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
		return usage("give either --model or --template")
	case (o.Messages == "") == (o.Context == ""):
		return usage("give either --messages or --context")
	case o.Context != "" && (o.Tools != "" || o.AddGenerationPrompt):
		return usage("--context takes all variables: put tools and add_generation_prompt into its file")
	}
	return nil
}

// render gives the text of the template over the conversation or the context.
func render(o renderOptions) (string, error) {
	if err := o.check(); err != nil {
		return "", err
	}
	var now time.Time
	if o.Now != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, o.Now); err != nil {
			return "", usage("--now %s: expected a time such as 2026-11-22T12:00:00Z", o.Now)
		}
	}
	variables, err := o.variables()
	if err != nil {
		return "", err
	}
	if o.Model != "" {
		return renderWithModel(o, variables, now)
	}
	source, err := os.ReadFile(o.Template)
	if err != nil {
		return "", usage("--template: %w", err)
	}
	return renderTemplate(o.Template, string(source), variables, now)
}

// variables gives what the template's variables are before a model adds its own.
func (o renderOptions) variables() (*chat.Dict, error) {
	if o.Context != "" {
		value, err := readJSON("context", o.Context)
		if err != nil {
			return nil, err
		}
		variables, ok := value.(*chat.Dict)
		if !ok {
			return nil, usage("--context %s: expected a JSON object", o.Context)
		}
		return variables, nil
	}
	variables := chat.NewDict()
	for _, v := range []struct{ name, path string }{{"messages", o.Messages}, {"tools", o.Tools}} {
		if v.path == "" {
			variables.Set(v.name, nil)
			continue
		}
		value, err := readJSON(v.name, v.path)
		if err != nil {
			return nil, err
		}
		if _, ok := value.(*chat.List); !ok {
			return nil, usage("--%s %s: expected a JSON list", v.name, v.path)
		}
		variables.Set(v.name, value)
	}
	variables.Set("add_generation_prompt", o.AddGenerationPrompt)
	return variables, nil
}

func renderTemplate(name, source string, variables *chat.Dict, now time.Time) (string, error) {
	template, err := chat.ParseTemplate(source)
	if err != nil {
		return "", usage("%s: %w", name, err)
	}
	text, err := template.Render(variables, chat.RenderOptions{Now: now})
	if err != nil {
		return "", usage("%s: %w", name, err)
	}
	return text, nil
}

func renderWithModel(o renderOptions, variables *chat.Dict, now time.Time) (string, error) {
	tok, err := loadTokenizer(o.Model)
	if err != nil {
		return "", err
	}
	tools, _ := variables.Get("tools")
	source, ok := tok.ChatTemplate(tools != nil)
	if !ok {
		return "", usage("%s has no chat template\nGive one with --template.", o.Model)
	}
	if o.Context == "" {
		for name, text := range tok.SpecialTokens() {
			variables.Set(name, text)
		}
		variables.Set("enable_thinking", tok.HasThinking())
	}
	return renderTemplate("chat template of "+o.Model, source, variables, now)
}

// readJSON reads a JSON file named by a flag, keeping the order of keys.
func readJSON(flag, path string) (chat.Value, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("--%s: %w", flag, err)
	}
	value, err := chat.ParseJSON(text)
	if err != nil {
		return nil, usage("--%s: %w", flag, fmt.Errorf("%s: %w", path, err))
	}
	return value, nil
}
