package dataset

import "context"

// A Completer is a language model as datasets know one: the engine in this process, or an endpoint. It may be called by
// several goroutines at once.
type Completer interface {
	// Name says which model it is: answers are kept under it.
	Name() string
	// Complete answers a prompt. The error is a fault, or ctx's, where nothing will be better the next time.
	Complete(ctx context.Context, p Prompt) (Completion, error)
	// Together is how many calls are worth having at a time.
	Together() int
}

// A Prompt is what a Completer is asked.
type Prompt struct {
	System      string  `json:"system,omitempty"`
	User        string  `json:"user"`
	MaxTokens   int     `json:"max_tokens"`
	Temperature float64 `json:"temperature"`
	Seed        uint64  `json:"seed"`
	// Schema is a JSON schema that the answer is to fit; "" for any text. A Completer that cannot promise that leaves it out.
	Schema string `json:"schema,omitempty"`
}

// A Completion is what it answers.
type Completion struct {
	Text   string `json:"text"`
	Cut    bool   `json:"cut,omitempty"` // it has MaxTokens and no end
	Prompt int    `json:"prompt"`        // tokens of the prompt
	Tokens int    `json:"tokens"`        // of the answer
}
