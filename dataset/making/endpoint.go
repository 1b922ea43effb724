package making

import (
	"context"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/endpoint"
)

// An Endpoint is a model that others serve, as a Completer.
type Endpoint struct{ *endpoint.Client }

// Name is the model's, without the address.
func (e Endpoint) Name() string { return e.Model() }

// Complete asks the endpoint.
func (e Endpoint) Complete(ctx context.Context, p dataset.Prompt) (dataset.Completion, error) {
	r, err := e.Chat(ctx, endpoint.Request{System: p.System, User: p.User, MaxTokens: p.MaxTokens, Temperature: p.Temperature, Seed: p.Seed, Schema: p.Schema})
	return dataset.Completion{Text: r.Text, Cut: r.Cut, Prompt: r.Prompt, Tokens: r.Tokens}, err
}
