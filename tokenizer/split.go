package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// word is a stretch of text that the model encodes by itself.
type word struct {
	text  string
	first bool // at the beginning of the whole text
}

// splitStep splits or rewrites words, appending the results to dst.
type splitStep func(dst, words []word) ([]word, error)

// preTokenizer is the chain of steps that turns normalized text into words.
type preTokenizer struct {
	steps []splitStep
	// byteLevel says that the words are still plain text, which the model reads as
	// byte-level characters. This is so if ByteLevel is the last step: no word is
	// written anew.
	byteLevel bool
}

// preTokenizerDef is a pre-tokenizer as tokenizer.json writes it.
type preTokenizerDef struct {
	Type             string            `json:"type"`
	PreTokenizers    []preTokenizerDef `json:"pretokenizers"`     // Sequence
	Pattern          *patternDef       `json:"pattern"`           // Split
	Behavior         string            `json:"behavior"`          // Split
	Invert           bool              `json:"invert"`            // Split
	IndividualDigits bool              `json:"individual_digits"` // Digits
	UseRegex         *bool             `json:"use_regex"`         // ByteLevel; default true
	AddPrefixSpace   *bool             `json:"add_prefix_space"`  // ByteLevel, Metaspace; default true
	Replacement      string            `json:"replacement"`       // Metaspace
	PrependScheme    string            `json:"prepend_scheme"`    // Metaspace
	Split            *bool             `json:"split"`             // Metaspace; default true
}

// newPreTokenizer builds the pre-tokenizer that raw describes. readsBytes says that the
// model can read plain text as byte-level characters.
func newPreTokenizer(raw json.RawMessage, readsBytes bool) (preTokenizer, error) {
	var p preTokenizer
	var def preTokenizerDef
	if present, err := unmarshalPart(raw, &def); !present || err != nil {
		return p, err
	}
	err := p.add(&def, readsBytes)
	return p, err
}

// add appends the steps of def. last says that the model reads the result, and can read
// it as bytes.
func (p *preTokenizer) add(def *preTokenizerDef, last bool) error {
	switch def.Type {
	case "Sequence":
		for i := range def.PreTokenizers {
			err := p.add(&def.PreTokenizers[i], last && i == len(def.PreTokenizers)-1)
			if err != nil {
				return at(fmt.Sprintf("pretokenizers[%d]", i), err)
			}
		}
	case "Split":
		step, err := def.split()
		if err != nil {
			return err
		}
		p.steps = append(p.steps, step)
	case "Digits":
		behavior := "Contiguous"
		if def.IndividualDigits {
			behavior = "Isolated"
		}
		step, err := splitAt(findDigits, behavior, false)
		if err != nil {
			return err
		}
		p.steps = append(p.steps, step)
	case "ByteLevel":
		p.addByteLevel(def, last)
	case "Metaspace":
		step, err := def.metaspace()
		if err != nil {
			return err
		}
		p.steps = append(p.steps, step)
	default:
		return unsupported("pre-tokenizer", def.Type, "Sequence, Split, Digits, ByteLevel, Metaspace")
	}
	return nil
}

// split returns the step of a Split.
func (d *preTokenizerDef) split() (splitStep, error) {
	find, err := d.Pattern.find()
	if err != nil {
		return nil, at("pattern", err)
	}
	step, err := splitAt(find, d.Behavior, d.Invert)
	return step, at("behavior", err)
}

// addByteLevel appends the steps of a ByteLevel. If it is the last step, the model writes
// the words as byte-level characters.
func (p *preTokenizer) addByteLevel(def *preTokenizerDef, last bool) {
	if def.AddPrefixSpace == nil || *def.AddPrefixSpace {
		p.steps = append(p.steps, prependSpace)
	}
	if def.UseRegex == nil || *def.UseRegex {
		step, _ := splitAt(findScanned(scanGPT2), "Isolated", false)
		p.steps = append(p.steps, step)
	}
	if p.byteLevel = last; !last {
		p.steps = append(p.steps, func(dst, words []word) ([]word, error) {
			for _, w := range words {
				dst = append(dst, word{toByteLevel(w.text), w.first})
			}
			return dst, nil
		})
	}
}

func prependSpace(dst, words []word) ([]word, error) {
	for _, w := range words {
		if !strings.HasPrefix(w.text, " ") {
			w.text = " " + w.text
		}
		dst = append(dst, w)
	}
	return dst, nil
}

// metaspace returns the step that writes spaces as "▁", puts one in front,
// and splits before each.
func (d *preTokenizerDef) metaspace() (splitStep, error) {
	mark := d.Replacement
	if utf8.RuneCountInString(mark) != 1 {
		return nil, fmt.Errorf("replacement: found %q, want one character", mark)
	}
	scheme := d.PrependScheme
	if scheme == "" {
		scheme = "always"
		if d.AddPrefixSpace != nil && !*d.AddPrefixSpace {
			scheme = "never"
		}
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return nil, fmt.Errorf(`prepend_scheme: found %q, want "always", "first" or "never"`, scheme)
	}
	split := func(dst, words []word) ([]word, error) { return append(dst, words...), nil }
	if d.Split == nil || *d.Split {
		split, _ = splitAt(findLiteral(mark), "MergedWithNext", false)
	}
	return func(dst, words []word) ([]word, error) {
		for i, w := range words {
			w.text = strings.ReplaceAll(w.text, " ", mark)
			if (scheme == "always" || scheme == "first" && w.first) && !strings.HasPrefix(w.text, mark) {
				w.text = mark + w.text
			}
			words[i] = w
		}
		return split(dst, words)
	}, nil
}

// findDigits finds each numeric character of any script.
func findDigits(text string, yield func(start, end int)) error {
	for i, r := range text {
		if r < utf8.RuneSelf && (r < '0' || r > '9') {
			continue
		}
		if unicode.Is(unicode.N, r) {
			yield(i, i+utf8.RuneLen(r))
		}
	}
	return nil
}

// span is a part of a word: a match of a pattern, or text between matches.
type span struct {
	start, end int
	match      bool
}

// splitAt returns the step that splits words at what find finds. behavior says what
// becomes of the matches; invert swaps matches and the rest.
func splitAt(find finder, behavior string, invert bool) (splitStep, error) {
	join, ok := map[string]func([]span) []span{
		"Isolated":           nil,
		"Removed":            dropMatches,
		"MergedWithPrevious": mergeWithPrevious,
		"MergedWithNext":     mergeWithNext,
		"Contiguous":         mergeAlike,
	}[behavior]
	if !ok {
		return nil, fmt.Errorf("found %q, want Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous", behavior)
	}
	if behavior == "Isolated" {
		return isolate(find), nil
	}
	return func(dst, words []word) ([]word, error) {
		for _, w := range words {
			all, err := spans(find, w.text, invert)
			if err != nil {
				return dst, err
			}
			for _, s := range join(all) {
				if s.end > s.start {
					dst = append(dst, word{w.text[s.start:s.end], w.first && s.start == 0})
				}
			}
		}
		return dst, nil
	}, nil
}

// isolate is splitAt for the common behavior: both matches and the text between them
// become words.
func isolate(find finder) splitStep {
	return func(dst, words []word) ([]word, error) {
		for _, w := range words {
			done := 0
			emit := func(end int) {
				if end > done {
					dst = append(dst, word{w.text[done:end], w.first && done == 0})
					done = end
				}
			}
			err := find(w.text, func(start, end int) {
				emit(start)
				emit(end)
			})
			if err != nil {
				return dst, err
			}
			emit(len(w.text))
		}
		return dst, nil
	}
}

func spans(find finder, text string, invert bool) ([]span, error) {
	var all []span
	done := 0
	err := find(text, func(start, end int) {
		if start > done {
			all = append(all, span{done, start, invert})
		}
		all = append(all, span{start, end, !invert})
		done = end
	})
	if done < len(text) {
		all = append(all, span{done, len(text), invert})
	}
	return all, err
}

func dropMatches(all []span) []span {
	kept := all[:0]
	for _, s := range all {
		if !s.match {
			kept = append(kept, s)
		}
	}
	return kept
}

// mergeWithPrevious joins each match to the text before it, but only the first of matches
// in a row.
func mergeWithPrevious(all []span) []span {
	kept := all[:0]
	previousMatch := false
	for _, s := range all {
		if s.match && !previousMatch && len(kept) > 0 {
			kept[len(kept)-1].end = s.end
		} else {
			kept = append(kept, s)
		}
		previousMatch = s.match
	}
	return kept
}

// mergeWithNext joins each match to the text after it, but only the last of matches in a
// row.
func mergeWithNext(all []span) []span {
	kept := all[:0]
	for i, s := range all {
		if i > 0 && all[i-1].match && !s.match {
			kept[len(kept)-1].end = s.end
		} else {
			kept = append(kept, s)
		}
	}
	return kept
}

// mergeAlike joins matches in a row.
func mergeAlike(all []span) []span {
	kept := all[:0]
	for _, s := range all {
		if n := len(kept); n > 0 && kept[n-1].match == s.match {
			kept[n-1].end = s.end
		} else {
			kept = append(kept, s)
		}
	}
	return kept
}
