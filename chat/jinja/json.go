package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseJSON decodes one JSON text. It keeps the order of keys, tells integers (int64, or *big.Int beyond 64 bits) from
// floats, and takes NaN and Infinity as Python's json module does. A key that occurs twice keeps its first place and its
// last value. The error is a [*JSONError].
func ParseJSON(data []byte) (Value, error) {
	p := &jsonParser{src: data}
	p.space()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.pos < len(p.src) {
		return nil, p.errorf("extra text after the JSON value")
	}
	return v, nil
}

// JSONError says where a JSON text is wrong; line and column count from 1, columns in characters.
type JSONError struct {
	Line, Column int
	Msg          string
}

func (e *JSONError) Error() string {
	return fmt.Sprintf("invalid JSON at line %d column %d: %s", e.Line, e.Column, e.Msg)
}

type jsonParser struct {
	src    []byte
	pos    int
	values int // read so far
}

// maxJSONValues bounds the values of a text: each takes up to a hundred times the two bytes that it may have there.
const maxJSONValues = 1 << 20

func (p *jsonParser) errorf(format string, args ...any) error {
	before := p.src[:min(p.pos, len(p.src))]
	line, start := 1, 0
	for i, c := range before {
		if c == '\n' {
			line++
			start = i + 1
		}
	}
	col := utf8.RuneCount(before[start:]) + 1
	return &JSONError{Line: line, Column: col, Msg: fmt.Sprintf(format, args...)}
}

func (p *jsonParser) space() {
	for p.pos < len(p.src) && strings.IndexByte(" \t\r\n", p.src[p.pos]) >= 0 {
		p.pos++
	}
}

// found describes what stands at the current position, for messages.
func (p *jsonParser) found() string {
	if p.pos >= len(p.src) {
		return "the end of the text"
	}
	r, _ := utf8.DecodeRune(p.src[p.pos:])
	return strconv.QuoteRune(r)
}

func (p *jsonParser) take(word string) bool {
	if strings.HasPrefix(string(p.src[p.pos:min(len(p.src), p.pos+len(word))]), word) {
		p.pos += len(word)
		return true
	}
	return false
}

func (p *jsonParser) value(depth int) (Value, error) {
	if depth > maxNesting {
		return nil, p.errorf("nested more than %d levels", maxNesting)
	}
	if p.values++; p.values > maxJSONValues {
		return nil, p.errorf("more than %d values", maxJSONValues)
	}
	if p.pos >= len(p.src) {
		return nil, p.errorf("expected a value, found the end of the text")
	}
	switch c := p.src[p.pos]; {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.str()
	case p.take("true"):
		return true, nil
	case p.take("false"):
		return false, nil
	case p.take("null"):
		return nil, nil
	case p.take("NaN"):
		return math.NaN(), nil
	case p.take("Infinity"):
		return math.Inf(1), nil
	case p.take("-Infinity"):
		return math.Inf(-1), nil
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	return nil, p.errorf("expected a value, found %s", p.found())
}

func (p *jsonParser) object(depth int) (Value, error) {
	d := NewDict()
	p.pos++
	for p.space(); !p.take("}"); p.space() {
		if d.Len() > 0 {
			if !p.take(",") {
				return nil, p.errorf("expected ',' or '}' in an object, found %s", p.found())
			}
			p.space()
		}
		if p.pos >= len(p.src) || p.src[p.pos] != '"' {
			return nil, p.errorf("expected a key in double quotes, found %s", p.found())
		}
		key, err := p.str()
		if err != nil {
			return nil, err
		}
		p.space()
		if !p.take(":") {
			return nil, p.errorf("expected ':' after the key %.60q, found %s", key, p.found())
		}
		p.space()
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		d.Set(key, v)
	}
	return d, nil
}

func (p *jsonParser) array(depth int) (Value, error) {
	list := NewList()
	p.pos++
	for p.space(); !p.take("]"); p.space() {
		if len(list.Items) > 0 {
			if !p.take(",") {
				return nil, p.errorf("expected ',' or ']' in an array, found %s", p.found())
			}
			p.space()
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, v)
	}
	return list, nil
}

func (p *jsonParser) number() (Value, error) {
	start := p.pos
	digits := func() bool {
		from := p.pos
		for p.pos < len(p.src) && p.src[p.pos] >= '0' && p.src[p.pos] <= '9' {
			p.pos++
		}
		return p.pos > from
	}
	p.take("-")
	whole := p.pos
	if !digits() || p.src[whole] == '0' && p.pos > whole+1 {
		return nil, p.errorf("malformed number")
	}
	isFloat := false
	if p.take(".") {
		isFloat = true
		if !digits() {
			return nil, p.errorf("expected a digit after the decimal point, found %s", p.found())
		}
	}
	if p.take("e") || p.take("E") {
		isFloat = true
		if !p.take("+") {
			p.take("-")
		}
		if !digits() {
			return nil, p.errorf("expected a digit in the exponent, found %s", p.found())
		}
	}
	s := string(p.src[start:p.pos])
	if isFloat {
		f, _ := strconv.ParseFloat(s, 64) // out of range gives an infinity, as in Python
		return f, nil
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	if len(s) > maxIntDigits {
		return nil, p.errorf("integer of %d digits; at most %d are supported", len(s), maxIntDigits)
	}
	i, _ := new(big.Int).SetString(s, 10)
	return i, nil
}

// maxIntDigits is Python's own limit for integers in text; longer ones take quadratic time.
const maxIntDigits = 4300

func (p *jsonParser) str() (string, error) {
	p.pos++
	start := p.pos
	var b []byte // nil until the first escape: most strings have none
	for {
		if p.pos >= len(p.src) {
			return "", p.errorf("a string is not closed")
		}
		switch c := p.src[p.pos]; {
		case c == '"':
			if b == nil {
				b = p.src[start:p.pos]
			}
			p.pos++
			return string(b), nil
		case c == '\\':
			if b == nil {
				b = append(make([]byte, 0, p.pos-start+16), p.src[start:p.pos]...)
			}
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			b = utf8.AppendRune(b, r)
		case c < 0x20:
			return "", p.errorf("raw control character %q in a string; write it as an escape", c)
		default:
			r, size := utf8.DecodeRune(p.src[p.pos:])
			if r == utf8.RuneError && size == 1 {
				return "", p.errorf("byte 0x%02x is not valid UTF-8", c)
			}
			if b != nil {
				b = append(b, p.src[p.pos:p.pos+size]...)
			}
			p.pos += size
		}
	}
}

func (p *jsonParser) escape() (rune, error) {
	p.pos++
	if p.pos >= len(p.src) {
		return 0, p.errorf("a string is not closed")
	}
	c := p.src[p.pos]
	p.pos++
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		p.pos -= 2
		return 0, p.errorf(`unknown escape \%c`, c)
	}
	r, err := p.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if mark := p.pos; p.take(`\u`) {
		low, err := p.hex4()
		if err != nil {
			return 0, err
		}
		if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
			return full, nil
		}
		p.pos = mark
	}
	return utf8.RuneError, nil // half a surrogate pair has no UTF-8 form
}

func (p *jsonParser) hex4() (rune, error) {
	if p.pos+4 > len(p.src) {
		return 0, p.errorf("a string is not closed")
	}
	n, err := strconv.ParseUint(string(p.src[p.pos:p.pos+4]), 16, 16)
	if err != nil {
		return 0, p.errorf(`\u needs four hexadecimal digits`)
	}
	p.pos += 4
	return rune(n), nil
}
