package dataset

import (
	"fmt"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
)

// Format is how the rows of a split are laid out.
type Format uint8

// The formats of rows.
const (
	Chat        Format = iota + 1 // {"messages": [...], "tools": [...]}
	Completions                   // {"prompt": "...", "completion": "..."}
	Text                          // {"text": "..."}
	ShareGPT                      // {"conversations": [{"from": "human", "value": "..."}, ...]}; its rows become those of Chat
	Alpaca                        // {"instruction": "...", "input": "...", "output": "..."}; its rows become those of Completions
	Preference                    // {"prompt": ..., "chosen": ..., "rejected": ...}, texts or messages: see preference.go
)

func (f Format) String() string {
	return [...]string{"none", "chat", "completions", "text", "ShareGPT", "Alpaca", "preference"}[f]
}

// Row is one decoded example.
type Row struct {
	Format   Format
	Messages []chat.Value // of Chat, and of Completions as a user's and an assistant's message
	Tools    chat.Value   // nil or a list of tool schemas
	Text     string       // of Text

	// Of Preference: Messages, or Text if there are none, are the prompt, and these are what follows.
	Chosen, Rejected         []chat.Value
	ChosenText, RejectedText string
}

// Row decodes row i.
func (s *Split) Row(i int) (Row, error) {
	p, k := s.find(i)
	d, err := p.src.row(k)
	if err != nil {
		return Row{}, at(p.src, k, err)
	}
	row, err := p.opt.row(p.format, d)
	if err != nil {
		return Row{}, at(p.src, k, err)
	}
	return row, nil
}

// detect chooses the format by the keys of a split's first row, in mlx-lm's order; what mlx-lm does not know comes last.
func (o *Options) detect(d *chat.Dict) (Format, error) {
	if o.Preference {
		return o.detectPair(d)
	}
	has := func(key string) bool { _, ok := d.Get(key); return ok }
	switch {
	case o.isVote(d):
		return 0, fault.Of("the rows are votes on answers").Try("Make rows of them with lentil dataset feedback, or set %v to dpo to learn from the pairs among them.", fault.Setting("train_mode"))
	case has(o.PromptFeature) && has(o.CompletionFeature):
		return Completions, nil
	case has(o.ChatFeature):
		return Chat, nil
	case has(o.TextFeature):
		return Text, nil
	case has(conversationsKey):
		return ShareGPT, nil
	case has(instructionKey) && has(outputKey):
		return Alpaca, nil
	case has(chosenKey) && has(rejectedKey):
		return 0, o.preference(d)
	}
	return 0, fault.Of("unknown row format: expected %q, or %q and %q, or %q; found %s", o.ChatFeature, o.PromptFeature, o.CompletionFeature, o.TextFeature, keyList(d)).
		Try("Give rows one of these keys, or name yours with prompt_feature, completion_feature, chat_feature or text_feature")
}

func keyList(d *chat.Dict) string {
	keys := d.Keys()
	if len(keys) == 0 {
		return "no keys"
	}
	more := ""
	if len(keys) > 10 {
		keys, more = keys[:10], " ..."
	}
	return fmt.Sprintf("%.60q%s", keys, more)
}

// row checks and takes apart one row of a known format.
func (o *Options) row(f Format, d *chat.Dict) (Row, error) {
	switch f {
	case Text:
		text, err := stringAt(d, o.TextFeature)
		return Row{Format: Text, Text: text}, err
	case ShareGPT:
		return shareGPT(d)
	case Alpaca:
		return alpaca(d)
	case Preference:
		return o.pair(d)
	}
	row := Row{Format: f}
	var err error
	if row.Tools, err = tools(d); err != nil {
		return row, err
	}
	if f == Chat {
		row.Messages, err = o.messages(d, o.ChatFeature)
		return row, err
	}
	prompt, err := stringAt(d, o.PromptFeature)
	if err != nil {
		return row, err
	}
	completion, err := stringAt(d, o.CompletionFeature)
	if err != nil {
		return row, err
	}
	row.Messages = []chat.Value{chat.NewMessage("user", prompt), chat.NewMessage("assistant", completion)}
	return row, nil
}

func stringAt(d *chat.Dict, key string) (string, error) {
	v, ok := d.Get(key)
	if !ok {
		return "", missingKey(d, key)
	}
	s, ok := v.(string)
	if !ok {
		shown, _ := jinja.FormatJSON(v)
		return "", fmt.Errorf("%q: expected a string, found %.60s", key, shown)
	}
	return s, nil
}

func missingKey(d *chat.Dict, key string) error {
	return fault.Of("expected the key %q, as in the file's first row; found %s", key, keyList(d)).Try("Every row of a file must have the same format")
}
