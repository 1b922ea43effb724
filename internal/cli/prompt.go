package cli

import (
	"errors"
	"strings"

	"github.com/lentil-lm/lentil/chat"
)

// A prompter turns conversations into tokens with the model's chat template.
type prompter struct {
	engine   *engine
	renderer *chat.Renderer // nil if the model has no template
	kwargs   *chat.Dict     // extra variables of the template
}

// newPrompter takes the model's template. config is a JSON object of variables for it, or "".
func newPrompter(e *engine, config string) (*prompter, error) {
	p := &prompter{engine: e}
	renderer, err := chat.NewRenderer(e.tok)
	switch {
	case err == nil:
		p.renderer = renderer
	case !errors.Is(err, chat.ErrNoTemplate):
		return nil, inputError(err)
	}
	if config == "" {
		return p, nil
	}
	value, err := chat.ParseJSON([]byte(config))
	if err != nil {
		return nil, usage("--chat-template-config: %w", err)
	}
	kwargs, ok := value.(*chat.Dict)
	if !ok {
		return nil, usage(`--chat-template-config: expected a JSON object such as '{"enable_thinking": false}'`)
	}
	p.kwargs = kwargs
	return p, nil
}

// plain gives the tokens of a text that goes to the model as it is, with the tokenizer's special tokens
// unless the text begins with its own.
func (p *prompter) plain(text string) []int32 {
	tok := p.engine.tok
	bos, ok := tok.BOS()
	return tok.Encode(text, !ok || !strings.HasPrefix(text, tok.Piece(bos)))
}

// conversation gives the tokens of messages, ending where the model's answer begins. A last message of the
// assistant's is left open for the model to continue.
func (p *prompter) conversation(messages []chat.Value, continueFinal bool) ([]int32, error) {
	text, err := p.render(messages, continueFinal)
	if err != nil {
		return nil, err
	}
	return p.engine.tok.Encode(text, false), nil
}

// render gives the text of messages.
func (p *prompter) render(messages []chat.Value, continueFinal bool) (string, error) {
	text, err := p.renderer.Render(messages, nil, chat.Options{
		AddGenerationPrompt: !continueFinal, ContinueFinal: continueFinal, Kwargs: p.kwargs,
	})
	if err != nil {
		return "", inputError(err)
	}
	return text, nil
}
