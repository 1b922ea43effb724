package dataset

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
)

// This file reads pairs of a chosen and a rejected answer to one prompt, in the forms that TRL takes:
//
//	{"prompt": TEXT, "chosen": TEXT, "rejected": TEXT}              a question and its answers
//	{"prompt": [MESSAGES], "chosen": [MESSAGES], "rejected": [MESSAGES]}
//	{"chosen": [MESSAGES], "rejected": [MESSAGES]}                  conversations that part at some message
//	{"chosen": TEXT, "rejected": TEXT}                              texts that begin alike
//
// Texts with a prompt become messages, as those of prompt and completion do. Texts without one are learnt as they are.

// Keys of pairs.
const (
	chosenKey   = "chosen"
	rejectedKey = "rejected"
)

var pairKeys = [2]string{chosenKey, rejectedKey}

// detectPair refuses rows that are no pairs.
func (o *Options) detectPair(d *chat.Dict) (Format, error) {
	if o.isVote(d) { // others of the file are pairs, or there is nothing to learn from
		return Preference, nil
	}
	for _, key := range pairKeys {
		if _, ok := d.Get(key); !ok {
			return 0, fault.Of("the rows are no pairs: expected %q and %q, and %q where they do not begin with it; found %s", chosenKey, rejectedKey, o.PromptFeature, keyList(d)).
				Try("Give such rows, or set %v to sft, which learns from single answers.", fault.Setting("train_mode"))
		}
	}
	return Preference, nil
}

// pair takes apart a row of chosen and rejected.
func (o *Options) pair(d *chat.Dict) (row Row, err error) {
	row.Format = Preference
	if _, ok := d.Get(chosenKey); !ok && o.isVote(d) {
		return row, errOneSided
	}
	if row.Tools, err = tools(d); err != nil {
		return row, err
	}
	prompt, _ := d.Get(o.PromptFeature)
	prompt = listIn(prompt)
	var sides [2]chat.Value
	var lists int
	for i, key := range pairKeys {
		v, ok := d.Get(key)
		if !ok {
			return row, missingKey(d, key)
		}
		sides[i] = listIn(v)
		switch sides[i].(type) {
		case string:
		case *chat.List:
			lists++
		case nil:
			return row, emptyAnswer(key)
		default:
			return row, fmt.Errorf("%q: expected a text or a list of messages", key)
		}
	}
	switch {
	case lists == 1:
		return row, errors.New("one of chosen and rejected is a text and the other a list of messages; expected two of a kind")
	case lists == 2:
		err = o.conversations(&row, prompt, sides)
	case prompt == nil:
		err = continuations(&row, sides[0].(string), sides[1].(string))
	default:
		err = o.answers(&row, d, prompt, sides)
	}
	if err == nil {
		err = row.checkSides()
	}
	return row, err
}

// listIn is a list that stands as a JSON text, as in CSV files; others stay as they are.
func listIn(v chat.Value) chat.Value {
	text, ok := v.(string)
	if trimmed := strings.TrimSpace(text); ok && strings.HasPrefix(trimmed, "[") {
		if list, err := jinja.ParseJSON([]byte(trimmed)); err == nil && areMessages(list) {
			return list
		}
	}
	return v
}

// areMessages tells whether a list has objects alone: an answer such as "[1, 2]" is a text.
func areMessages(v chat.Value) bool {
	list, _ := v.(*chat.List)
	return list != nil && len(list.Items) > 0 && !slices.ContainsFunc(list.Items, func(item chat.Value) bool { _, ok := item.(*chat.Dict); return !ok })
}

// answers makes messages of texts that answer a prompt.
func (o *Options) answers(row *Row, d *chat.Dict, prompt chat.Value, sides [2]chat.Value) error {
	if _, isList := prompt.(*chat.List); isList {
		var err error
		if row.Messages, err = o.messagesIn(prompt, o.PromptFeature); err != nil {
			return err
		}
	} else {
		text, err := stringAt(d, o.PromptFeature)
		if err != nil {
			return err
		}
		row.Messages = []chat.Value{chat.NewMessage("user", text)}
	}
	if err := addSystem(row, d); err != nil {
		return err
	}
	row.Chosen = []chat.Value{chat.NewMessage("assistant", sides[0].(string))}
	row.Rejected = []chat.Value{chat.NewMessage("assistant", sides[1].(string))}
	return nil
}

// addSystem puts the text of the key system in front of messages that begin otherwise.
func addSystem(row *Row, d *chat.Dict) error {
	system, err := optional(d, systemKey)
	if err == nil && system != "" && roleOf(row.Messages[0].(*chat.Dict)) != "system" {
		row.Messages = append([]chat.Value{chat.NewMessage("system", system)}, row.Messages...)
	}
	return err
}

// conversations takes messages that answer a prompt, or of which the first are the prompt. Like TRL it does not look at a
// prompt that is a text beside lists.
func (o *Options) conversations(row *Row, prompt chat.Value, sides [2]chat.Value) (err error) {
	if row.Chosen, err = o.messagesIn(sides[0], chosenKey); err != nil {
		return sideError(chosenKey, sides[0], err)
	}
	if row.Rejected, err = o.messagesIn(sides[1], rejectedKey); err != nil {
		return sideError(rejectedKey, sides[1], err)
	}
	if list, ok := prompt.(*chat.List); ok {
		if row.Messages, err = o.messagesIn(list, o.PromptFeature); err != nil {
			return err
		}
		// Some rows have the prompt in the sides again.
		if n := len(row.Messages); alike(row.Messages, row.Chosen) == n && alike(row.Messages, row.Rejected) == n {
			row.Chosen, row.Rejected = row.Chosen[n:], row.Rejected[n:]
		}
		return nil
	}
	n := alike(row.Chosen, row.Rejected)
	if n == 0 {
		return fault.Of("chosen and rejected have different prompts: their first messages differ").
			Try("Let both begin with the same messages, or give the messages before the answers as %q.", o.PromptFeature)
	}
	row.Messages, row.Chosen, row.Rejected = row.Chosen[:n], row.Chosen[n:], row.Rejected[n:]
	if len(row.Chosen) == 0 || len(row.Rejected) == 0 {
		return nil // told by checkSides
	}
	for i, side := range [][]chat.Value{row.Chosen, row.Rejected} {
		if role := roleOf(side[0].(*chat.Dict)); role != "assistant" {
			return fault.Of("chosen and rejected have different prompts: they part at %s[%d], which is of the role %.60q", pairKeys[i], n, role).
				Try("The two have to be equal up to an answer of the assistant.")
		}
	}
	return nil
}

// sideError tells of an empty list of messages in the words for an empty answer.
func sideError(key string, side chat.Value, err error) error {
	if list, ok := side.(*chat.List); ok && len(list.Items) == 0 {
		return emptyAnswer(key)
	}
	return err
}

// alike counts the messages that two conversations begin with.
func alike(a, b []chat.Value) int {
	n := 0
	for n < min(len(a), len(b)) {
		x, err := jinja.FormatJSON(a[n])
		y, err2 := jinja.FormatJSON(b[n])
		if err != nil || err2 != nil || x != y {
			break
		}
		n++
	}
	return n
}

// continuations takes texts that begin with their prompt: what both begin with, without a space at its end.
func continuations(row *Row, chosen, rejected string) error {
	if chosen == rejected {
		return errSame
	}
	n := 0
	for n < min(len(chosen), len(rejected)) && chosen[n] == rejected[n] {
		n++
	}
	for n > 0 && n < len(chosen) && !utf8.RuneStart(chosen[n]) {
		n--
	}
	if n > 0 && chosen[n-1] == ' ' {
		n--
	}
	if n == 0 {
		return fault.Of("chosen and rejected have different prompts: the texts begin differently").
			Try("Let both begin with the prompt, or give it as %q.", "prompt")
	}
	row.Text, row.ChosenText, row.RejectedText = chosen[:n], chosen[n:], rejected[n:]
	return nil
}

// A nothingToPrefer is why a pair teaches nothing. Published sets have such rows, so that they are skipped and counted.
type nothingToPrefer struct{ error }

func (e nothingToPrefer) Unwrap() error { return e.error }

var errSame = nothingToPrefer{fault.Of("chosen and rejected are the same: there is nothing to prefer").Try("Remove the row, or correct it.")}

func emptyAnswer(key string) error {
	return nothingToPrefer{fault.Of("the %s answer is empty", key).Try("Write it, or remove the row.")}
}

// checkSides refuses answers that are empty or equal.
func (r *Row) checkSides() error {
	if r.Chosen == nil && r.Rejected == nil {
		for i, text := range []string{r.ChosenText, r.RejectedText} {
			if strings.TrimSpace(text) == "" {
				return emptyAnswer(pairKeys[i])
			}
		}
		return nil
	}
	if n := alike(r.Chosen, r.Rejected); n == len(r.Chosen) && n == len(r.Rejected) {
		return errSame
	}
	for i, side := range [][]chat.Value{r.Chosen, r.Rejected} {
		if !slices.ContainsFunc(side, says) {
			return emptyAnswer(pairKeys[i])
		}
	}
	return nil
}

// says tells whether a message has a text, a call of a tool or reasoning.
func says(v chat.Value) bool {
	m := v.(*chat.Dict)
	content, _ := m.Get("content")
	text, isText := content.(string)
	return content != nil && !isText || strings.TrimSpace(text) != "" || len(calls(m)) > 0 || hasReasoning(m)
}

// encodePair tokenises both sides of a pair. The loss is on the answers, and on the prompt of the chosen one unless the prompt
// is masked, which only an objective that learns the chosen text as such looks at.
func (e *Encoder) encodePair(row Row) (Item, error) {
	var sides [2]Item
	if len(row.Messages) > 0 && e.renderer == nil {
		return Item{}, fault.Advise(fmt.Errorf("answers to a prompt need a chat template: %w", chat.ErrNoTemplate),
			"Give chosen and rejected as texts that begin with the prompt, without %q.", "prompt")
	}
	for i, side := range [2]Row{{Messages: row.Chosen, Text: row.ChosenText}, {Messages: row.Rejected, Text: row.RejectedText}} {
		var err error
		if len(row.Messages) == 0 {
			sides[i], err = e.continued(row.Text, side.Text)
		} else {
			whole := Row{Format: Chat, Messages: append(slices.Clone(row.Messages), side.Messages...), Tools: row.Tools}
			sides[i], err = e.conversation(whole, len(row.Messages))
		}
		if err != nil {
			return Item{}, fmt.Errorf("%s: %w", pairKeys[i], err)
		}
	}
	item, rejected := sides[0], sides[1]
	// A token that reaches over the end of the prompt on one side is an alternative to the other side's.
	item.Offset = min(item.Offset, rejected.Offset)
	rejected.Offset = item.Offset
	rejected.Loss = e.loss(item.Offset, len(rejected.IDs))
	item.Loss = e.loss(0, len(item.IDs))
	if e.opt.MaskPrompt {
		item.Loss = e.loss(item.Offset, len(item.IDs))
	}
	item.Rejected = &rejected
	return item, nil
}

// continued tokenises a text whose beginning is a prompt.
func (e *Encoder) continued(prompt, answer string) (Item, error) {
	item, err := e.text(prompt + answer)
	if err != nil {
		return item, err
	}
	ids, _, err := e.enough(prompt, e.tok.EncodePlain)
	item.Offset = commonPrefix(ids, item.IDs)
	return item, err
}
