package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonReader walks over a JSON document without building it in memory. It reads
// vocabularies and merges, for which encoding/json takes a second in a file of 17 MB. The
// small parts go to encoding/json.
type jsonReader struct {
	data    []byte
	pos     int
	scratch []byte
}

// maxTokenizerFile bounds a tokenizer.json; the largest known are about 40 MB.
const maxTokenizerFile = 1 << 30

func (r *jsonReader) errorf(format string, args ...any) error {
	line := 1 + bytes.Count(r.data[:min(r.pos, len(r.data))], []byte{'\n'})
	return fmt.Errorf("line %d, byte %d: %s", line, r.pos, fmt.Sprintf(format, args...))
}

// peek skips white space and returns the next byte, 0 at the end.
func (r *jsonReader) peek() byte {
	for ; r.pos < len(r.data); r.pos++ {
		switch c := r.data[r.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (r *jsonReader) expect(c byte) error {
	if found := r.peek(); found != c {
		return r.errorf("found %s, want %q", describe(found), c)
	}
	r.pos++
	return nil
}

func describe(c byte) string {
	if c == 0 {
		return "the end of the file"
	}
	return strconv.QuoteRune(rune(c))
}

// object calls member for each key of the object at hand. member reads the value; the key
// is valid until it does.
func (r *jsonReader) object(member func(key []byte) error) error {
	if err := r.expect('{'); err != nil {
		return err
	}
	if r.peek() == '}' {
		r.pos++
		return nil
	}
	for {
		key, err := r.string()
		if err != nil {
			return err
		}
		if err := r.expect(':'); err != nil {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
		if done, err := r.endOrComma('}'); done || err != nil {
			return err
		}
	}
}

// array calls element for each element of the array at hand.
func (r *jsonReader) array(element func(i int) error) error {
	if err := r.expect('['); err != nil {
		return err
	}
	if r.peek() == ']' {
		r.pos++
		return nil
	}
	for i := 0; ; i++ {
		if err := element(i); err != nil {
			return err
		}
		if done, err := r.endOrComma(']'); done || err != nil {
			return err
		}
	}
}

func (r *jsonReader) endOrComma(end byte) (done bool, err error) {
	switch c := r.peek(); c {
	case end:
		r.pos++
		return true, nil
	case ',':
		r.pos++
		return false, nil
	default:
		return false, r.errorf("found %s, want %q or %q", describe(c), ',', end)
	}
}

// string reads a string. The result is only valid until the next call.
func (r *jsonReader) string() ([]byte, error) {
	if err := r.expect('"'); err != nil {
		return nil, err
	}
	start := r.pos
	for i := start; i < len(r.data); i++ {
		switch c := r.data[i]; {
		case c == '"':
			r.pos = i + 1
			return r.data[start:i], nil
		case c == '\\':
			return r.escapedString(start, i)
		case c < ' ':
			r.pos = i
			return nil, r.errorf("control character %#02x in a string; it must be escaped", c)
		}
	}
	r.pos = len(r.data)
	return nil, r.errorf("the file ends within a string")
}

// escapedString reads on from the first backslash, at i.
func (r *jsonReader) escapedString(start, i int) ([]byte, error) {
	for i < len(r.data) && r.data[i] != '"' {
		if r.data[i] == '\\' {
			i++
		}
		i++
	}
	if i >= len(r.data) {
		r.pos = len(r.data)
		return nil, r.errorf("the file ends within a string")
	}
	var s string
	if err := json.Unmarshal(r.data[start-1:i+1], &s); err != nil {
		return nil, r.errorf("%v", err)
	}
	r.pos = i + 1
	r.scratch = append(r.scratch[:0], s...)
	return r.scratch, nil
}

// int reads an integer in 0..maxID.
func (r *jsonReader) int() (int32, error) {
	r.peek()
	n, start := 0, r.pos
	for ; r.pos < len(r.data) && r.data[r.pos] >= '0' && r.data[r.pos] <= '9'; r.pos++ {
		if n = n*10 + int(r.data[r.pos]-'0'); n > maxID {
			return 0, r.errorf("number is larger than %d, the largest token id allowed", maxID)
		}
	}
	if r.pos == start {
		return 0, r.errorf("found %s, want a token id", describe(r.peek()))
	}
	return int32(n), nil
}

// skip passes over a value and returns its text. It checks no more than that brackets are
// balanced and strings closed.
func (r *jsonReader) skip() (json.RawMessage, error) {
	r.peek()
	start, depth := r.pos, 0
	for r.pos < len(r.data) {
		switch c := r.data[r.pos]; c {
		case '"':
			if err := r.skipString(); err != nil {
				return nil, err
			}
			if depth == 0 {
				return r.data[start:r.pos], nil
			}
			continue
		case '{', '[':
			depth++
		case '}', ']', ',':
			if depth == 0 { // a number or literal ends before this
				return r.scalar(start)
			}
			if c != ',' {
				if depth--; depth == 0 {
					r.pos++
					return r.data[start:r.pos], nil
				}
			}
		}
		r.pos++
	}
	if depth > 0 {
		return nil, r.errorf("the file ends within an object or array")
	}
	return r.scalar(start)
}

func (r *jsonReader) skipString() error {
	for i := r.pos + 1; i < len(r.data); i++ {
		switch r.data[i] {
		case '\\':
			i++
		case '"':
			r.pos = i + 1
			return nil
		}
	}
	r.pos = len(r.data)
	return r.errorf("the file ends within a string")
}

func (r *jsonReader) scalar(start int) (json.RawMessage, error) {
	text := bytes.TrimRight(r.data[start:r.pos], " \t\r\n")
	if len(text) == 0 {
		return nil, r.errorf("found %s, want a value", describe(r.peek()))
	}
	return text, nil
}

// parseTokenizer reads a tokenizer.json.
func parseTokenizer(data []byte) (*definition, error) {
	if len(data) > maxTokenizerFile {
		return nil, fmt.Errorf("file has %d bytes; more than %d are refused", len(data), maxTokenizerFile)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, errors.New("file is not valid UTF-8")
	}
	d := &definition{}
	var added json.RawMessage
	hasModel := false
	r := &jsonReader{data: data}
	err := r.object(func(key []byte) (err error) {
		switch string(key) {
		case "added_tokens":
			added, err = r.skip()
		case "normalizer":
			d.normalizer, err = r.keep()
		case "pre_tokenizer":
			d.preTokenizer, err = r.keep()
		case "post_processor":
			d.postProcessor, err = r.keep()
		case "decoder":
			d.decoder, err = r.keep()
		case "model":
			hasModel = true
			err = at("model", d.parseModel(r))
		default:
			_, err = r.skip()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if c := r.peek(); r.pos < len(data) {
		return nil, r.errorf("found %s after the end of the document", describe(c))
	}
	if !hasModel {
		return nil, errors.New(`"model" is missing; this is no tokenizer.json of the tokenizers library`)
	}
	var tokens []addedToken
	if _, err := unmarshalPart(added, &tokens); err != nil {
		return nil, at("added_tokens", err)
	}
	d.vocab, d.listed = len(d.ids), tokens
	if err := d.checkAdded(tokens); err != nil {
		return nil, at("added_tokens", err)
	}
	return d, at("added_tokens", d.addTokens(tokens))
}

// keep is skip for parts that outlive the document.
func (r *jsonReader) keep() (json.RawMessage, error) {
	raw, err := r.skip()
	return bytes.Clone(raw), err
}

// modelDef holds the small settings of "model".
type modelDef struct {
	Type                    string `json:"type"`
	UnkToken                string `json:"unk_token"`
	ContinuingSubwordPrefix string `json:"continuing_subword_prefix"`
	EndOfWordSuffix         string `json:"end_of_word_suffix"`
	FuseUnk                 bool   `json:"fuse_unk"`
	ByteFallback            bool   `json:"byte_fallback"`
	IgnoreMerges            bool   `json:"ignore_merges"`
}

// parseModel reads the value of "model". Merges can be read only when the vocabulary and
// the small settings are known. Files have these first, but need not.
func (d *definition) parseModel(r *jsonReader) error {
	var vocab, merges *jsonReader
	settings := []byte{'{'}
	err := r.object(func(key []byte) (err error) {
		name := string(key)
		here := &jsonReader{data: r.data, pos: r.pos}
		raw, err := r.skip()
		switch name {
		case "vocab":
			vocab = here
		case "merges":
			merges = here
		default:
			if len(settings) > 1 {
				settings = append(settings, ',')
			}
			settings = strconv.AppendQuote(settings, name)
			settings = append(append(settings, ':'), raw...)
		}
		return err
	})
	if err != nil {
		return err
	}
	var def modelDef
	if err := jsonError(json.Unmarshal(append(settings, '}'), &def)); err != nil {
		return err
	}
	if def.Type != "BPE" && !(def.Type == "" && merges != nil) { // early files do not give the type
		return unsupported("model", def.Type, "BPE")
	}
	d.unk, d.prefix, d.suffix = def.UnkToken, def.ContinuingSubwordPrefix, def.EndOfWordSuffix
	d.fuseUnk, d.byteFallback, d.ignoreMerges = def.FuseUnk, def.ByteFallback, def.IgnoreMerges
	if vocab == nil {
		return errors.New(`"vocab" is missing`)
	}
	if err := d.parseVocab(vocab); err != nil {
		return at("vocab", err)
	}
	if merges == nil {
		return nil
	}
	return at("merges", d.parseMerges(merges))
}

// sizeHint guesses the number of entries in the part of a file that is left.
func sizeHint(r *jsonReader, bytesPerEntry int) int {
	return min((len(r.data)-r.pos)/bytesPerEntry, maxID)
}

func (d *definition) parseVocab(r *jsonReader) error {
	var text strings.Builder // holds all pieces, so that they take one allocation
	d.ids = make(map[string]int32, sizeHint(r, 64))
	return r.object(func(key []byte) error {
		start := text.Len()
		text.Write(key)
		piece := text.String()[start:]
		id, err := r.int()
		if err != nil {
			return at(strconv.Quote(clip(piece)), err)
		}
		d.addPiece(piece, id)
		return nil
	})
}

func (d *definition) parseMerges(r *jsonReader) error {
	d.merges = newMergeTable(0)
	var joined []byte
	return r.array(func(i int) error {
		var p pair
		var err error
		if r.peek() == '[' {
			p, joined, err = d.mergeOfArray(r, joined[:0])
		} else {
			p, joined, err = d.mergeOfString(r, joined[:0])
		}
		if err == nil {
			err = d.addMerge(p, joined, i)
		}
		if err != nil {
			return at(fmt.Sprintf("[%d]", i), err)
		}
		return nil
	})
}

// mergeOfArray reads a merge written as ["left", "right"]. joined is both texts together.
func (d *definition) mergeOfArray(r *jsonReader, joined []byte) (p pair, _ []byte, err error) {
	n := 0
	err = r.array(func(i int) error {
		part, err := r.string()
		if err != nil {
			return err
		}
		id, err := d.mergePart(part)
		if i == 0 {
			p.left = id
		} else {
			p.right = id
			part = bytes.TrimPrefix(part, []byte(d.prefix))
		}
		joined = append(joined, part...)
		n++
		return err
	})
	if err == nil && n != 2 {
		err = fmt.Errorf("found %d strings, want 2", n)
	}
	return p, joined, err
}

// mergeOfString reads a merge written as "left right".
func (d *definition) mergeOfString(r *jsonReader, joined []byte) (p pair, _ []byte, err error) {
	both, err := r.string()
	if err != nil {
		return p, joined, err
	}
	left, right, found := bytes.Cut(both, []byte{' '})
	if !found || bytes.IndexByte(right, ' ') >= 0 {
		return p, joined, fmt.Errorf("found %q, want two tokens with one space between", clip(string(both)))
	}
	if p.left, err = d.mergePart(left); err != nil {
		return p, joined, err
	}
	if p.right, err = d.mergePart(right); err != nil {
		return p, joined, err
	}
	joined = append(joined, left...)
	return p, append(joined, bytes.TrimPrefix(right, []byte(d.prefix))...), nil
}

func (d *definition) mergePart(part []byte) (int32, error) {
	id, ok := d.ids[string(part)]
	if !ok {
		return 0, fmt.Errorf("token %q is not in the vocabulary", clip(string(part)))
	}
	return id, nil
}

// addMerge puts a merge under its rank. If a pair is listed twice, the later one counts.
func (d *definition) addMerge(p pair, joined []byte, rank int) error {
	id, err := d.mergePart(joined)
	if err == nil {
		d.merges.set(p, merge{int32(rank), id})
	}
	return err
}
