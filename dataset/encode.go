package dataset

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/fault"
)

// Tokenizer is what the encoder needs of a tokenizer.
type Tokenizer interface {
	chat.Tokenizer
	Encode(text string, addSpecial bool) ([]int32, error)
	EncodePlain(text string) ([]int32, error)
	EOS() (int32, bool)
}

// EncoderOptions choose what is learnt of a row.
type EncoderOptions struct {
	// MaskPrompt puts the loss on the completion, or the final message of a conversation, only.
	MaskPrompt bool
	// CompatMLX copies mlx-lm: the masked part is as long as the rendered prompt, whether or not the row begins with
	// it; rows without loss stay; rows with more JSON keys come after those with fewer; the template gets the messages as
	// they are in the file, and no row is refused for what it leaves out.
	CompatMLX bool
	// MaxSeqLength is where rows will be cut; 0 for nowhere. Items are not cut, but loss tokens beyond do not count, and of
	// rows of more than a MiB only as much is tokenised as is surely enough.
	MaxSeqLength int
	// Now is the time that templates see; zero means when the encoder was made.
	Now time.Time
}

// Item is a tokenised row.
type Item struct {
	IDs    []int32
	Offset int // first token of the completion under MaskPrompt, otherwise 0
	// Loss are half-open ranges of indices into IDs: the tokens to be predicted. Index 0 is never predicted. Under
	// CompatMLX a range may be empty.
	Loss [][2]int
	// NotPrefix says that the rendered prompt is not what the rendered row begins with, so that Offset is the place
	// where the two part (without CompatMLX).
	NotPrefix bool
	// FinalRole is the role of the final message if MaskPrompt trains on one that is not the assistant's.
	FinalRole string
	// LeftOut is what the chat template does not write of the row.
	LeftOut LeftOut
	// EmptyAnswer says that a message to be learnt is empty, OddRole is the first role that is none.
	EmptyAnswer bool
	OddRole     string
	// Rejected is the worse answer of a pair, to the same prompt; nil for other rows.
	Rejected *Item
	// Unread is how many bytes at the end of a very long row were not tokenised.
	Unread int
}

// Encoder turns rows into tokens. It may be used by several goroutines at once.
type Encoder struct {
	tok      Tokenizer
	renderer *chat.Renderer
	opt      EncoderOptions
}

// NewEncoder returns an encoder. renderer may be nil when all rows are texts.
func NewEncoder(tok Tokenizer, renderer *chat.Renderer, opt EncoderOptions) *Encoder {
	if opt.Now.IsZero() {
		opt.Now = time.Now() // one time for all rows, so that a run sees one date
	}
	return &Encoder{tok: tok, renderer: renderer, opt: opt}
}

// errMaskText has mlx-lm's wording.
var errMaskText = fault.At("mask_prompt", "Prompt masking not supported for text dataset.").Try("Leave it out, or give rows with prompt and completion.")

// check tells whether rows of a format can be encoded at all.
func (e *Encoder) check(f Format) error {
	switch {
	case f == Text && e.opt.MaskPrompt:
		return errMaskText
	case f != Text && f != Preference && e.renderer == nil:
		return fmt.Errorf("%s rows need a chat template: %w", f, chat.ErrNoTemplate)
	}
	return nil
}

// Encode tokenises a row.
func (e *Encoder) Encode(row Row) (Item, error) {
	if err := e.check(row.Format); err != nil {
		return Item{}, err
	}
	switch row.Format {
	case Text:
		return e.text(row.Text)
	case Preference:
		return e.encodePair(row)
	}
	learnt := 0
	if e.opt.MaskPrompt {
		learnt = len(row.Messages) - 1
	}
	return e.conversation(row, learnt)
}

// conversation tokenises messages of which those from learnt on are learnt.
func (e *Encoder) conversation(row Row, learnt int) (Item, error) {
	full, err := e.fit(&row)
	if err != nil {
		return Item{}, err
	}
	var item Item
	if err := e.look(&item, full, row, learnt); err != nil && !e.opt.CompatMLX {
		return Item{}, err
	}
	if item.IDs, item.Unread, err = e.rendered(full); err != nil {
		return Item{}, err
	}
	if learnt > 0 || e.opt.MaskPrompt {
		if err := e.mask(&item, full, row, learnt); err != nil {
			return Item{}, err
		}
	}
	item.Loss = e.loss(item.Offset, len(item.IDs))
	return item, nil
}

// text encodes with the tokenizer's own special tokens and an end of text. mlx-lm puts a second BOS before one that
// the row begins with; without CompatMLX, rows are encoded as prompts are.
func (e *Encoder) text(s string) (Item, error) {
	encode := e.tok.EncodePlain
	if e.opt.CompatMLX {
		encode = func(s string) ([]int32, error) { return e.tok.Encode(s, true) }
	}
	ids, unread, err := e.enough(s, encode)
	if err != nil {
		return Item{}, err
	}
	if eos, ok := e.tok.EOS(); ok && unread == 0 && (len(ids) == 0 || ids[len(ids)-1] != eos) {
		ids = append(ids, eos)
	}
	return Item{IDs: ids, Loss: e.loss(0, len(ids)), Unread: unread}, nil
}

// leastRead is how many bytes of a row are tokenised in any case: a tokenizer takes about eighty times as much memory.
const leastRead = 1 << 20

// enough tokenises a text, or the beginning of one that is long, so that the tokens before the cut are those of the
// whole text. It gives the number of bytes that are left.
func (e *Encoder) enough(s string, encode func(string) ([]int32, error)) (ids []int32, unread int, err error) {
	limit := e.opt.MaxSeqLength
	for n := max(leastRead, 64*limit); limit > 0 && n < len(s); n *= 2 {
		end := n
		for !utf8.RuneStart(s[end]) {
			end--
		}
		// The last words of a beginning may be others than in the whole text.
		if ids, err = encode(s[:end]); err != nil || len(ids) >= 2*limit {
			return ids, len(s) - end, err
		}
	}
	ids, err = encode(s)
	return ids, 0, err
}

// loss gives the tokens to be predicted: from offset on. Under CompatMLX a range that is empty but lies within the
// row stays: mlx-lm has such rows learn the padding that follows.
func (e *Encoder) loss(offset, n int) [][2]int {
	if start := max(offset, 1); start < n || start == n && e.opt.CompatMLX {
		return [][2]int{{start, n}}
	}
	return nil
}

// rendered tokenises what a template wrote.
func (e *Encoder) rendered(text string) (ids []int32, unread int, err error) {
	return e.enough(text, func(s string) ([]int32, error) { return e.tok.Encode(s, false) })
}

// write renders a conversation.
func (e *Encoder) write(messages []chat.Value, tools chat.Value, generate bool) (string, error) {
	return e.renderer.Render(messages, tools, chat.Options{AddGenerationPrompt: generate, Now: e.opt.Now})
}

// mask finds where message number learnt begins: after the rendering of the messages before it, with the opening of the
// assistant's turn.
func (e *Encoder) mask(item *Item, full string, row Row, learnt int) error {
	prompt := row.Messages[:learnt]
	role, _ := row.Messages[len(prompt)].(*chat.Dict).Get("role")
	if role != "assistant" {
		item.FinalRole, _ = role.(string)
	}
	if len(prompt) == 0 && !e.opt.CompatMLX {
		return nil // many templates cannot render a conversation without messages
	}
	text, err := e.write(prompt, row.Tools, role == "assistant")
	if err != nil {
		return fmt.Errorf("rendering the messages before the answer: %w", err)
	}
	ids, _, err := e.rendered(text)
	if err != nil {
		return err
	}
	if e.opt.CompatMLX {
		item.Offset = len(ids)
		return nil
	}
	// Where the text goes on without a break but the tokens do not, a token reaches over the border: it is learnt.
	item.Offset = commonPrefix(ids, item.IDs)
	item.NotPrefix = !strings.HasPrefix(full, text)
	return nil
}

func commonPrefix(a, b []int32) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
