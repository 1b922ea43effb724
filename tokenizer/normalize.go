package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites text before it is split.
type normalizer = rewriter

// normalizerDef is a normalizer as tokenizer.json writes it.
type normalizerDef struct {
	Type        string          `json:"type"`
	Normalizers []normalizerDef `json:"normalizers"` // Sequence
	Prepend     string          `json:"prepend"`     // Prepend
	Pattern     *patternDef     `json:"pattern"`     // Replace
	Content     string          `json:"content"`     // Replace
	StripLeft   bool            `json:"strip_left"`  // Strip
	StripRight  bool            `json:"strip_right"` // Strip
}

// newNormalizer builds the normalizer that raw describes; nil for none.
func newNormalizer(raw json.RawMessage) (normalizer, error) {
	var def normalizerDef
	if present, err := unmarshalPart(raw, &def); !present || err != nil {
		return nil, err
	}
	step, err := def.build()
	if err != nil {
		return nil, err
	}
	return func(s string) (string, error) { return step(s, mostGrowth*len(s)+leastGrowth) }, nil
}

// Bounds of what a normalizer makes of a text: "▁" for each space takes 3 times the bytes of the text.
const (
	mostGrowth  = 8
	leastGrowth = 1 << 10 // bytes
)

func (d *normalizerDef) build() (boundedRewriter, error) {
	switch d.Type {
	case "Sequence":
		steps := make([]boundedRewriter, len(d.Normalizers))
		for i := range d.Normalizers {
			step, err := d.Normalizers[i].build()
			if err != nil {
				return nil, at(fmt.Sprintf("normalizers[%d]", i), err)
			}
			steps[i] = step
		}
		return func(s string, most int) (string, error) {
			var err error
			for i := 0; i < len(steps) && err == nil; i++ {
				s, err = steps[i](s, most)
			}
			return s, err
		}, nil
	case "NFC":
		return always(unicodeForm(norm.NFC)), nil
	case "NFD":
		return always(unicodeForm(norm.NFD)), nil
	case "NFKC":
		return always(unicodeForm(norm.NFKC)), nil
	case "NFKD":
		return always(unicodeForm(norm.NFKD)), nil
	case "Lowercase":
		return always(lowercase), nil
	case "Strip":
		return always(d.strip), nil
	case "Prepend":
		prefix := d.Prepend
		return func(s string, most int) (string, error) {
			switch grown := len(prefix) + len(s); {
			case s == "":
				return s, nil
			case grown > most:
				return "", tooGrown(grown, most)
			default:
				return prefix + s, nil
			}
		}, nil
	case "Replace":
		replace, err := newReplacer(d.Pattern, d.Content)
		return replace, at("pattern", err)
	}
	return nil, unsupported("normalizer", d.Type,
		"Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace")
}

// always makes a step of a function that can multiply a text by little only.
func always(f func(string) string) boundedRewriter {
	return func(s string, most int) (string, error) {
		s = f(s)
		if len(s) > most {
			return "", tooGrown(len(s), most)
		}
		return s, nil
	}
}

func (d *normalizerDef) strip(s string) string {
	if d.StripLeft {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
	}
	if d.StripRight {
		s = strings.TrimRightFunc(s, unicode.IsSpace)
	}
	return s
}

// lowercase maps each character by itself, whatever its neighbours are: there is no final
// sigma. U+0130 is the one character that becomes two.
func lowercase(s string) string {
	return strings.ReplaceAll(strings.Map(func(r rune) rune {
		if r == 'İ' {
			return r
		}
		return unicode.ToLower(r)
	}, s), "İ", "i\u0307")
}

// unicodeForm returns the normalizer of a Unicode normalization form. It does runs of more
// than 30 combining marks by hand: x/text puts U+034F into them (the Stream-Safe Text
// Format), the tokenizers library does not.
func unicodeForm(form norm.Form) func(string) string {
	return func(s string) string {
		if form.IsNormalString(s) {
			return s
		}
		if hasLongMarkRun(s) {
			return normalizeLong(form, s)
		}
		return form.String(s)
	}
}

// maxMarkRun is the number of combining marks in a row that x/text allows.
const maxMarkRun = 30

// hasLongMarkRun says whether s, decomposed, may hold more than maxMarkRun combining marks
// in a row. It may say yes where this is not so: it counts four marks, the most that a
// character decomposes to.
func hasLongMarkRun(s string) bool {
	run := 0
	for i := 0; i < len(s); {
		p := norm.NFD.PropertiesString(s[i:])
		if p.CCC() == 0 && p.TrailCCC() == 0 {
			run = 0
		} else if run += 4; run > maxMarkRun {
			return true
		}
		i += max(1, p.Size())
	}
	return false
}

// normalizeLong is the definition of the Unicode normalization forms (UAX
// #15): decompose, order the marks, and for NFC and NFKC compose again.
func normalizeLong(form norm.Form, s string) string {
	decomposition := norm.NFD
	if form == norm.NFKC || form == norm.NFKD {
		decomposition = norm.NFKD
	}
	var runes []rune
	for _, r := range s {
		runes = append(runes, []rune(decomposition.String(string(r)))...)
	}
	class := make([]uint8, len(runes))
	for i, r := range runes {
		class[i] = norm.NFD.PropertiesString(string(r)).CCC()
	}
	sortMarks(runes, class)
	if form == norm.NFD || form == norm.NFKD {
		return string(runes)
	}
	return string(compose(runes, class))
}

// sortMarks brings the marks of each run into canonical order: by class, stably. There is a bucket for each class, as a
// run may be as long as the text.
func sortMarks(runes []rune, class []uint8) {
	var marks [256][]rune
	for start := 0; start < len(runes); start++ {
		end := start
		for ; end < len(runes) && class[end] != 0; end++ {
			marks[class[end]] = append(marks[class[end]], runes[end])
		}
		if end == start {
			continue
		}
		at := start
		for c := range marks {
			for _, r := range marks[c] {
				runes[at], class[at] = r, uint8(c)
				at++
			}
			marks[c] = marks[c][:0]
		}
		start = end
	}
}

// compose joins each character with the last starter before it, if nothing between them
// blocks it and their pair has a composed form.
func compose(runes []rune, class []uint8) []rune {
	out := runes[:0]
	starter, last := -1, uint8(0) // index in out of the last starter; class of the last character kept
	for i, r := range runes {
		adjacent := starter == len(out)-1
		if starter >= 0 && (adjacent || last < class[i]) {
			pair := norm.NFC.String(string(out[starter]) + string(r))
			if c, n := utf8.DecodeRuneInString(pair); n == len(pair) {
				out[starter] = c
				continue
			}
		}
		if class[i] == 0 {
			starter = len(out)
		}
		last = class[i]
		out = append(out, r)
	}
	return out
}
