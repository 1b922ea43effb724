package jinja

import (
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEOF tokenKind = iota
	tokData
	tokVarBegin
	tokVarEnd
	tokBlockBegin
	tokBlockEnd
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

type token struct {
	kind tokenKind
	text string // name, operator, decoded string or template text
	num  Value  // of tokInt and tokFloat
	line int
}

// describe names a token in messages.
func (t token) describe() string {
	switch t.kind {
	case tokEOF:
		return "end of template"
	case tokVarBegin:
		return "'{{'"
	case tokVarEnd:
		return "'}}'"
	case tokBlockBegin:
		return "'{%'"
	case tokBlockEnd:
		return "'%}'"
	case tokString:
		return "string " + strconv.Quote(t.text)
	case tokInt, tokFloat:
		s, _ := toRepr(t.num)
		return s
	case tokData:
		return "template text"
	}
	return "'" + t.text + "'"
}

type lexer struct {
	src       string
	pos       int
	line      int
	lineStart bool // the last match ended a line, so a block tag may strip the blanks before it
	tokens    []token
}

// tokenize splits a template into tokens, applying trim_blocks, lstrip_blocks and the - and + signs.
func tokenize(src string) ([]token, error) {
	src = strings.ReplaceAll(src, "\r\n", "\n")
	src = strings.ReplaceAll(src, "\r", "\n")
	src = strings.TrimSuffix(src, "\n") // Jinja2 drops one newline at the end
	lx := &lexer{src: src, line: 1, lineStart: true}
	for lx.pos < len(lx.src) {
		if err := lx.root(); err != nil {
			return nil, err
		}
	}
	lx.emit(tokEOF, "")
	return lx.tokens, nil
}

func (lx *lexer) errorf(format string, args ...any) error {
	return atLine(errorf(syntaxError, format, args...), lx.line)
}

func (lx *lexer) emit(kind tokenKind, text string) {
	lx.tokens = append(lx.tokens, token{kind: kind, text: text, line: lx.line})
}

// advance consumes n bytes.
func (lx *lexer) advance(n int) {
	s := lx.src[lx.pos : lx.pos+n]
	lx.line += strings.Count(s, "\n")
	lx.pos += n
	if n > 0 {
		lx.lineStart = s[n-1] == '\n'
	}
}

func (lx *lexer) rest() string { return lx.src[lx.pos:] }

// root reads template text up to the next tag, then that tag.
func (lx *lexer) root() error {
	rest := lx.rest()
	at := nextTag(rest)
	if at < 0 {
		lx.emit(tokData, rest)
		lx.advance(len(rest))
		return nil
	}
	tag := rest[at : at+2]
	sign := signAt(rest, at+2)
	lx.data(rest[:at], sign, tag != "{{")
	open := 2
	if sign != 0 {
		open = 3
	}
	if tag == "{%" {
		if n := rawBegin(rest[at:]); n > 0 {
			lx.advance(n)
			return lx.raw()
		}
	}
	line := lx.line
	lx.advance(open)
	switch tag {
	case "{#":
		return lx.comment(line)
	case "{{":
		lx.emit(tokVarBegin, "")
		return lx.inside("}}", tokVarEnd, line)
	}
	lx.emit(tokBlockBegin, "")
	return lx.inside("%}", tokBlockEnd, line)
}

// data emits the text before a tag, stripped as the tag's sign and lstrip_blocks ask, and consumes all of it.
func (lx *lexer) data(s string, sign byte, lstrip bool) {
	kept := s
	switch {
	case sign == '-':
		kept = strings.TrimRightFunc(s, IsSpace)
	case sign != '+' && lstrip:
		start := strings.LastIndexByte(s, '\n') + 1
		if (start > 0 || lx.lineStart) && strings.TrimLeftFunc(s[start:], IsSpace) == "" {
			kept = s[:start]
		}
	}
	if kept != "" {
		lx.emit(tokData, kept)
	}
	lx.advance(len(s))
}

func nextTag(s string) int {
	for i := 0; ; i++ {
		j := strings.IndexByte(s[i:], '{')
		if j < 0 || i+j+1 >= len(s) {
			return -1
		}
		i += j
		if c := s[i+1]; c == '{' || c == '%' || c == '#' {
			return i
		}
	}
}

func signAt(s string, i int) byte {
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		return s[i]
	}
	return 0
}

// blockEnd matches the end of a block tag at the start of s and returns its length: "-%}" takes the blanks that
// follow, "%}" one newline (trim_blocks), "+%}" nothing. Comments end in the same ways.
func blockEnd(s, closing string) int {
	switch {
	case strings.HasPrefix(s, "+"+closing):
		return 3
	case strings.HasPrefix(s, "-"+closing):
		return 3 + spaces(s[3:])
	case strings.HasPrefix(s, closing+"\n"):
		return 3
	case strings.HasPrefix(s, closing):
		return 2
	}
	return 0
}

func spaces(s string) int { return len(s) - len(strings.TrimLeftFunc(s, IsSpace)) }

// IsSpace is Python's str.isspace for one character.
func IsSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// rawBegin returns the length of a {% raw %} tag at the start of s, or 0.
func rawBegin(s string) int {
	n, ok := tagName(s, "raw")
	if !ok {
		return 0
	}
	if strings.HasPrefix(s[n:], "-%}") {
		return n + 3 + spaces(s[n+3:])
	}
	if strings.HasPrefix(s[n:], "%}") { // no trim_blocks after raw
		return n + 2
	}
	return 0
}

// tagName matches "{%", a sign, blanks, the name and blanks, and returns the length.
func tagName(s, name string) (int, bool) {
	n := 2
	if signAt(s, n) != 0 {
		n++
	}
	n += spaces(s[n:])
	if !strings.HasPrefix(s[n:], name) {
		return 0, false
	}
	n += len(name)
	return n + spaces(s[n:]), true
}

func (lx *lexer) raw() error {
	rest := lx.rest()
	for at := 0; ; at += 2 {
		i := strings.Index(rest[at:], "{%")
		if i < 0 {
			return lx.errorf("missing end of raw block: expected {%% endraw %%}")
		}
		at += i
		n, ok := tagName(rest[at:], "endraw")
		if !ok {
			continue
		}
		if end := blockEnd(rest[at+n:], "%}"); end > 0 {
			lx.data(rest[:at], signAt(rest, at+2), true)
			lx.advance(n + end)
			return nil
		}
	}
}

func (lx *lexer) comment(line int) error {
	rest := lx.rest()
	i := strings.Index(rest, "#}")
	if i < 0 {
		lx.line = line
		return lx.errorf("missing end of comment: expected #}")
	}
	if i > 0 && (rest[i-1] == '-' || rest[i-1] == '+') {
		i--
	}
	lx.advance(i + blockEnd(rest[i:], "#}"))
	return nil
}

// inside reads the tokens of a {{ }} or {% %} tag, its end included.
func (lx *lexer) inside(closing string, end tokenKind, line int) error {
	var brackets []byte
	for {
		rest := lx.rest()
		if rest == "" {
			lx.line = line
			return lx.errorf("a tag is not closed: expected '%s'", closing)
		}
		if len(brackets) == 0 {
			if n := tagEnd(rest, closing); n > 0 {
				lx.emit(end, "")
				lx.advance(n)
				return nil
			}
		}
		if n := spaces(rest); n > 0 {
			lx.advance(n)
			continue
		}
		if err := lx.token(&brackets); err != nil {
			return err
		}
	}
}

func tagEnd(s, closing string) int {
	if closing == "%}" {
		return blockEnd(s, closing)
	}
	if strings.HasPrefix(s, "-}}") {
		return 3 + spaces(s[3:])
	}
	if strings.HasPrefix(s, "}}") {
		return 2
	}
	return 0
}

var operators = []string{
	"//", "**", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

func (lx *lexer) token(brackets *[]byte) error {
	rest := lx.rest()
	c := rest[0]
	switch {
	case c >= '0' && c <= '9':
		return lx.number()
	case c == '"' || c == '\'':
		return lx.str(c)
	}
	if n := nameLen(rest); n > 0 {
		lx.emit(tokName, rest[:n])
		lx.advance(n)
		return nil
	}
	for _, op := range operators {
		if !strings.HasPrefix(rest, op) {
			continue
		}
		if err := lx.balance(op, brackets); err != nil {
			return err
		}
		lx.emit(tokOp, op)
		lx.advance(len(op))
		return nil
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return lx.errorf("unexpected character %q", r)
}

func (lx *lexer) balance(op string, brackets *[]byte) error {
	if i := strings.Index("{([", op); i >= 0 {
		*brackets = append(*brackets, "})]"[i])
		return nil
	}
	if !strings.Contains("})]", op) {
		return nil
	}
	n := len(*brackets)
	if n == 0 {
		return lx.errorf("unexpected '%s'", op)
	}
	if want := (*brackets)[n-1]; want != op[0] {
		return lx.errorf("unexpected '%s', expected '%c'", op, want)
	}
	*brackets = (*brackets)[:n-1]
	return nil
}

func nameLen(s string) int {
	for i, r := range s {
		if r == '_' || unicode.IsLetter(r) || i > 0 && (unicode.IsDigit(r) || unicode.IsMark(r)) {
			continue
		}
		return i
	}
	return len(s)
}

// digitsLen is the length of a run of digits that single underscores may divide.
func digitsLen(s string, digits string) int {
	n := 0
	for n < len(s) && (strings.IndexByte(digits, s[n]) >= 0 || s[n] == '_' && n > 0 && n+1 < len(s) && strings.IndexByte(digits, s[n+1]) >= 0) {
		n++
	}
	return n
}

const decimal = "0123456789"

func (lx *lexer) number() error {
	rest := lx.rest()
	for prefix, digits := range map[string]string{"0x": "0123456789abcdefABCDEF", "0o": "01234567", "0b": "01"} {
		if len(rest) > 2 && strings.EqualFold(rest[:2], prefix) {
			if n := digitsLen(rest[2:], digits); n > 0 {
				return lx.integer(rest[:2+n], 0)
			}
		}
	}
	n := digitsLen(rest, decimal)
	isFloat := false
	// A digit run right after a dot is a subscript (x.0.1), never the start of a float.
	afterDot := lx.pos > 0 && lx.src[lx.pos-1] == '.'
	if !afterDot && n+1 < len(rest) && rest[n] == '.' {
		if m := digitsLen(rest[n+1:], decimal); m > 0 {
			n += 1 + m
			isFloat = true
		}
	}
	if !afterDot && n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		k := n + 1
		if signAt(rest, k) != 0 {
			k++
		}
		if m := digitsLen(rest[k:], decimal); m > 0 {
			n = k + m
			isFloat = true
		}
	}
	if !isFloat {
		return lx.integer(rest[:n], 10)
	}
	f, _ := strconv.ParseFloat(strings.ReplaceAll(rest[:n], "_", ""), 64)
	lx.emit(tokFloat, "")
	lx.tokens[len(lx.tokens)-1].num = f
	lx.advance(n)
	return nil
}

func (lx *lexer) integer(s string, base int) error {
	digits := strings.ReplaceAll(s, "_", "")
	if len(digits) > maxIntDigits {
		return lx.errorf("integer of %d digits; at most %d are supported", len(digits), maxIntDigits)
	}
	value, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return lx.errorf("malformed number %s", s)
	}
	lx.emit(tokInt, "")
	t := &lx.tokens[len(lx.tokens)-1]
	if t.num = Value(value); value.IsInt64() {
		t.num = value.Int64()
	}
	lx.advance(len(s))
	return nil
}

func (lx *lexer) str(quote byte) error {
	rest := lx.rest()
	end := 1
	for end < len(rest) && rest[end] != quote {
		if rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(rest) {
		return lx.errorf("a string is not closed")
	}
	s, err := unescape(rest[1:end])
	if err != nil {
		return atLine(err, lx.line)
	}
	lx.emit(tokString, s)
	lx.advance(end + 1)
	return nil
}

// unescape decodes Python's string escapes; an unknown one keeps its backslash.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i]
		if k := strings.IndexByte("\\'\"abfnrtv\n", c); k >= 0 {
			if c != '\n' { // an escaped newline is nothing
				b.WriteByte("\\'\"\a\b\f\n\r\t\v"[k])
			}
			continue
		}
		if c >= '0' && c <= '7' {
			v := rune(0)
			n := 0
			for ; n < 3 && i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '7'; n++ {
				v = 8*v + rune(s[i+n]-'0')
			}
			b.WriteRune(v)
			i += n - 1
			continue
		}
		width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		if width == 0 {
			b.WriteByte('\\')
			b.WriteByte(c)
			continue
		}
		v, err := strconv.ParseUint(s[i+1:min(i+1+width, len(s))], 16, 32)
		if err != nil || i+width >= len(s) || v > unicode.MaxRune {
			return "", errorf(syntaxError, `malformed \%c escape in a string`, c)
		}
		b.WriteRune(rune(v))
		i += width
	}
	return b.String(), nil
}
