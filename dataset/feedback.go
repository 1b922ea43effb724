package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
)

// This file takes in what people said of answers, as the chat page writes it, in TRL's forms of preferences:
//
//	{"prompt": [MESSAGES], "completion": [MESSAGES], "label": true}   a vote; false is a bad one, null takes it back
//	{"prompt": [MESSAGES], "chosen": [MESSAGES], "rejected": [MESSAGES], "by": "correction"}
//
// Pairs with "by": "votes" follow from the votes, and stand there for those who train on the file as it is.

const (
	labelKey = "label"
	byKey    = "by"
	byVotes  = "votes"
)

// errOneSided is why a vote is skipped where pairs are wanted.
var errOneSided = nothingToPrefer{fault.Of("a vote on one answer, without another to compare it with").Try("Make pairs of votes with lentil dataset feedback.")}

// isVote tells a row that says of one answer whether it was good.
func (o *Options) isVote(d *chat.Dict) bool {
	_, label := d.Get(labelKey)
	completion, _ := d.Get(o.CompletionFeature)
	_, list := completion.(*chat.List)
	return label && list
}

// Feedback is what was said of answers, the last word on each.
type Feedback struct {
	Votes, Corrections int // lines

	asked []*askedOf // in the order of the files
	byKey map[string]*askedOf
}

// askedOf is a prompt, with the answers that something was said of.
type askedOf struct {
	key     string
	prompt  []chat.Value
	answers []*saidOf
}

// saidOf is an answer, and what was said of it.
type saidOf struct {
	key    string
	answer []chat.Value
	label  *bool
	better *saidOf // what it should have been
}

// ReadFeedback reads files of the chat page's feedback. A line that is none is a mistake that names it.
func ReadFeedback(paths ...string) (*Feedback, error) {
	f := &Feedback{byKey: map[string]*askedOf{}}
	o := &Options{Preference: true}
	o.setDefaults()
	for _, path := range paths {
		src, err := openSource(path, o)
		if err != nil {
			return nil, fault.Mark(err)
		}
		for i := range src.len() {
			d, err := src.row(i)
			if err == nil {
				err = f.add(o, d)
			}
			if err != nil && !errors.As(err, new(nothingToPrefer)) {
				return nil, fault.Mark(at(src, i, err))
			}
		}
	}
	return f, nil
}

func (f *Feedback) add(o *Options, d *chat.Dict) error {
	if o.isVote(d) {
		prompt, err := o.messages(d, o.PromptFeature)
		if err != nil {
			return err
		}
		answer, err := o.messages(d, o.CompletionFeature)
		if err != nil {
			return err
		}
		said, err := f.said(prompt, answer)
		if err != nil {
			return err
		}
		v, _ := d.Get(labelKey)
		label, ok := v.(bool)
		switch {
		case ok:
			said.label = &label
		case v == nil:
			said.label = nil
		default:
			return fmt.Errorf("%q: expected true, false or null, found %.60v", labelKey, v)
		}
		f.Votes++
		return nil
	}
	if _, err := o.detectPair(d); err != nil {
		return fault.Of("this is neither a vote nor a pair: found %s", keyList(d)).Try("Give feedback.jsonl of a chat page, or rows of prompt, chosen and rejected.")
	}
	row, err := o.pair(d)
	if err != nil {
		return err
	}
	if by, _ := d.Get(byKey); by == byVotes {
		return nil
	}
	if len(row.Messages) == 0 {
		return errors.New("expected messages, found texts")
	}
	better, err := f.said(row.Messages, row.Chosen)
	if err != nil {
		return err
	}
	worse, err := f.said(row.Messages, row.Rejected)
	if err != nil {
		return err
	}
	worse.better = better
	f.Corrections++
	return nil
}

// said finds an answer, or adds it.
func (f *Feedback) said(prompt, answer []chat.Value) (*saidOf, error) {
	key, err := jinja.FormatJSON(jinja.NewList(prompt...))
	if err != nil {
		return nil, err
	}
	a := f.byKey[key]
	if a == nil {
		a = &askedOf{key: key, prompt: prompt}
		f.byKey[key], f.asked = a, append(f.asked, a)
	}
	if key, err = jinja.FormatJSON(jinja.NewList(answer...)); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(a.answers, func(s *saidOf) bool { return s.key == key }); i >= 0 {
		return a.answers[i], nil
	}
	s := &saidOf{key: key, answer: answer}
	a.answers = append(a.answers, s)
	return s, nil
}

// good tells answers that are to be given: those with a good vote, and what others should have been, unless they were called
// bad or should have been something else themselves.
func (a *askedOf) good() (out []*saidOf) {
	for _, s := range a.answers {
		isBetter := slices.ContainsFunc(a.answers, func(o *saidOf) bool { return o.better == s })
		if s.better == nil && (s.label != nil && *s.label || s.label == nil && isBetter) {
			out = append(out, s)
		}
	}
	return out
}

// mostBeside is how many good answers stand beside a bad one, at most: with all, a question that many ask in a chat would fill
// the disk with its pairs.
const mostBeside = 8

// rows are what is learnt of one prompt: pairs of a better and a worse answer, or its good answers. Of many good ones, each
// bad one has others.
func (a *askedOf) rows(as Format) (out []Row) {
	goods := a.good()
	for i, good := range goods {
		if as == Chat {
			out = append(out, Row{Format: Chat, Messages: slices.Concat(a.prompt, good.answer)})
			continue
		}
		at := 0 // the good answer that the bad one's begin with
		for _, bad := range a.answers {
			called := bad.label != nil && !*bad.label
			inTurn := called && (i-at+len(goods))%len(goods) < mostBeside
			if bad != good && (inTurn || bad.better == good) {
				out = append(out, Row{Format: Preference, Messages: a.prompt, Chosen: good.answer, Rejected: bad.answer})
			}
			if called {
				at = (at + mostBeside) % len(goods)
			}
		}
	}
	return out
}

// fewest is how many prompts there are at least where some are kept for validation.
const fewest = 10

// Rows are the rows for training and for validation, as pairs (Preference) or as conversations with good answers (Chat). All of
// one prompt are on one side, which follows from the prompt.
func (f *Feedback) Rows(as Format, share float64) (train, valid []Row) {
	var all [][]Row
	var keys []string
	for _, a := range f.asked {
		if rows := a.rows(as); len(rows) > 0 {
			all, keys = append(all, rows), append(keys, a.key)
		}
	}
	for i, rows := range all {
		sum := sha256.Sum256([]byte(keys[i]))
		if len(all) >= fewest && float64(binary.BigEndian.Uint64(sum[:8]))/math.MaxUint64 < share {
			valid = append(valid, rows...)
		} else {
			train = append(train, rows...)
		}
	}
	return train, valid
}

// WriteRows puts rows for training and validation into a folder, all or nothing. What is there and is no earlier WriteRows' is
// refused, unless overwrite.
func WriteRows(dir string, as Format, train, valid []Row, overwrite bool) error {
	if !overwrite {
		if err := atomicfile.Unowned("out", dir, nil); err != nil {
			return err
		}
	}
	set, err := atomicfile.Begin(dir)
	if err != nil {
		return err
	}
	defer set.Discard()
	set.Record()
	for name, rows := range map[string][]Row{"train.jsonl": train, "valid.jsonl": valid} {
		if len(rows) == 0 {
			set.Remove(name)
			continue
		}
		err := set.Stream(name, func(w io.Writer) error {
			for _, row := range rows {
				line, err := FormatRow(row, as)
				if err != nil {
					return err
				}
				if _, err := io.WriteString(w, line+"\n"); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return set.Commit()
}
