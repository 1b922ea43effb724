package dataset

import (
	"fmt"
	"strings"

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
)

func (f Format) String() string {
	return [...]string{"none", "chat", "completions", "text"}[f]
}

// Row is one decoded example.
type Row struct {
	Format   Format
	Messages []chat.Value // of Chat, and of Completions as a user's and an assistant's message
	Tools    chat.Value   // nil or a list of tool schemas
	Text     string       // of Text
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

// detect chooses the format by the keys of a split's first row, in mlx-lm's order.
func (o *Options) detect(d *chat.Dict) (Format, error) {
	has := func(key string) bool { _, ok := d.Get(key); return ok }
	switch {
	case has(o.PromptFeature) && has(o.CompletionFeature):
		return Completions, nil
	case has(o.ChatFeature):
		return Chat, nil
	case has(o.TextFeature):
		return Text, nil
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
	row := Row{Format: f}
	if f == Text {
		var err error
		row.Text, err = stringAt(d, o.TextFeature)
		return row, err
	}
	tools, _ := d.Get("tools")
	var err error
	if row.Tools, err = chat.CheckTools(tools); err != nil {
		return row, err
	}
	if f == Chat {
		v, ok := d.Get(o.ChatFeature)
		if !ok {
			return row, missingKey(d, o.ChatFeature)
		}
		if row.Messages, err = chat.CheckMessages(v); err != nil && o.ChatFeature != "messages" {
			err = fmt.Errorf("%s", strings.Replace(err.Error(), "messages", o.ChatFeature, 1))
		}
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
