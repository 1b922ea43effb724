package engine

import (
	"errors"
	"strconv"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tokenizer"
)

// template reads the chat template that comes with a tokenizer; nil for none.
func template(tok *tokenizer.Tokenizer) (*chat.Renderer, error) {
	renderer, err := chat.NewRenderer(tok)
	switch {
	case errors.Is(err, chat.ErrNoTemplate):
		return nil, nil
	case err != nil:
		return nil, fault.Mark(err)
	}
	return renderer, nil
}

// Template is the model's chat template; nil if it has none, as base models have not.
func (f *Files) Template() (*chat.Renderer, error) { return f.template() }

// PromptOptions say how a conversation becomes a prompt.
type PromptOptions struct {
	// ContinueFinal leaves the last message open, and the model goes on with
	// it. Without, the prompt ends where an answer of the assistant's begins.
	ContinueFinal bool
	Kwargs        *chat.Dict // more variables for the chat template, such as enable_thinking; may be nil
	Tools         chat.Value // schemas of tools that the model may call; nil for none
}

// Render gives the text of a conversation, its oldest message first, by the
// model's chat template. A model without one is refused with chat.ErrNoTemplate.
func (f *Files) Render(messages []chat.Value, o PromptOptions) (string, error) {
	renderer, err := f.Template()
	if err != nil {
		return "", err
	}
	if renderer == nil {
		return "", fault.Mark(chat.ErrNoTemplate)
	}
	text, err := renderer.Render(messages, o.Tools, chat.Options{AddGenerationPrompt: !o.ContinueFinal, ContinueFinal: o.ContinueFinal, Kwargs: o.Kwargs})
	return text, fault.Mark(err)
}

// Prompt gives the tokens of a conversation: what Render gives, encoded.
func (f *Files) Prompt(messages []chat.Value, o PromptOptions) ([]int32, error) {
	text, err := f.Render(messages, o)
	if err != nil {
		return nil, err
	}
	return f.Tokenizer.Encode(text, false)
}

// Ends are the tokens that end an answer: those that the model's settings and its tokenizer name.
func (f *Files) Ends() []int32 {
	return model.EndTokens(f.Source.Config(), f.Source.Path(), f.Tokenizer)
}

// Stops are the tokens that end an answer: the model's, and the extra ones. These
// are ids, or texts that are one token.
func (e *Engine) Stops(extra ...string) ([]int32, error) {
	stops := e.Ends()
	for _, text := range extra {
		id, ok := e.Tokenizer.ID(text)
		if n, err := strconv.ParseInt(text, 10, 32); !ok && err == nil && n >= 0 && int(n) < e.Tokenizer.VocabSize() {
			id, ok = int32(n), true
		}
		if !ok {
			return nil, fault.Given("extra_eos_token", text, "this is no token of the model").Try("Give the text or the number of one token.")
		}
		stops = append(stops, id)
	}
	return stops, nil
}
