package grammar

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/fault"
)

// GBNF reads a grammar as llama.cpp writes it; its texts are those of the rule root:
//
//	root ::= "yes" | "no" [.!]? | item ("," item)*
//
// A rule may not begin with itself.
func GBNF(text string) (*Source, error) {
	const most = 1 << 20
	if len(text) > most {
		return nil, fault.At("grammar", "it has %d bytes, %d are the most", len(text), most)
	}
	p := &gbnf{text: text, rules: map[string]node{}}
	for p.space(true); p.at < len(p.text); p.space(true) {
		if err := p.rule(); err != nil {
			return nil, err
		}
	}
	if p.rules["root"] == nil {
		return nil, fault.At("grammar", "it has no rule root").Try("Name the rule of the whole text root.")
	}
	return &Source{ref("root"), p.rules}, nil
}

type gbnf struct {
	text  string
	at    int
	depth int
	rules map[string]node
}

func (p *gbnf) fail(format string, args ...any) error {
	line := 1 + strings.Count(p.text[:min(p.at, len(p.text))], "\n")
	return fault.At("grammar", "line %d: %s", line, fault.Say(format, args...).String())
}

// space passes by white space and comments; line breaks too, where lines is set.
func (p *gbnf) space(lines bool) {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == ' ' || c == '\t' || lines && (c == '\n' || c == '\r'):
			p.at++
		case c == '#':
			if i := strings.IndexByte(p.text[p.at:], '\n'); i >= 0 {
				p.at += i
			} else {
				p.at = len(p.text)
			}
		default:
			return
		}
	}
}

func (p *gbnf) take(s string) bool {
	ok := strings.HasPrefix(p.text[p.at:], s)
	if ok {
		p.at += len(s)
	}
	return ok
}

func (p *gbnf) name() string {
	start := p.at
	for p.at < len(p.text) {
		c := rune(p.text[p.at])
		if c != '-' && c != '_' && (c >= 0x80 || !unicode.IsLetter(c) && !unicode.IsDigit(c)) {
			break
		}
		p.at++
	}
	return p.text[start:p.at]
}

func (p *gbnf) rule() error {
	name := p.name()
	if name == "" {
		return p.fail("expected the name of a rule")
	}
	p.space(false)
	if !p.take("::=") {
		return p.fail("expected ::= behind %s", name)
	}
	if p.rules[name] != nil {
		return p.fail("there are two rules %s", name)
	}
	p.space(true)
	n, err := p.alternatives(false)
	if err != nil {
		return err
	}
	p.rules[name] = n
	if p.at < len(p.text) && p.text[p.at] != '\n' && p.text[p.at] != '\r' {
		return p.fail("found %q, expected the end of the rule", p.text[p.at:min(p.at+8, len(p.text))])
	}
	return nil
}

// alternatives reads up to the end of the rule, or of the group.
func (p *gbnf) alternatives(group bool) (node, error) {
	if p.depth++; p.depth > mostDepth/4 {
		return nil, p.fail("groups are nested deeper than %d", mostDepth/4)
	}
	defer func() { p.depth-- }()
	var out alt
	for {
		s, err := p.sequence(group)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
		if !p.take("|") {
			return out, nil
		}
		p.space(true)
	}
}

func (p *gbnf) sequence(group bool) (node, error) {
	var out seq
	for {
		p.space(group)
		if p.at >= len(p.text) || strings.IndexByte("|)\n\r", p.text[p.at]) >= 0 {
			if !group && p.nextLineGoesOn() {
				p.space(true)
				return out, nil
			}
			return out, nil
		}
		n, err := p.item()
		if err != nil {
			return nil, err
		}
		if n, err = p.times(n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
}

// nextLineGoesOn tells whether the next line begins with |.
func (p *gbnf) nextLineGoesOn() bool {
	rest := &gbnf{text: p.text, at: p.at}
	rest.space(true)
	return rest.at < len(rest.text) && rest.text[rest.at] == '|'
}

func (p *gbnf) item() (node, error) {
	switch c := p.text[p.at]; c {
	case '"':
		p.at++
		var b strings.Builder
		for {
			if p.at < len(p.text) && p.text[p.at] == '"' {
				p.at++
				return literal(b.String()), nil
			}
			r, err := p.char()
			if err != nil {
				return nil, err
			}
			b.WriteRune(r)
		}
	case '[':
		p.at++
		return p.class()
	case '(':
		p.at++
		n, err := p.alternatives(true)
		if err == nil && !p.take(")") {
			err = p.fail("a group has no )")
		}
		return n, err
	case '.':
		p.at++
		return class{{0, unicode.MaxRune}}, nil
	}
	if name := p.name(); name != "" {
		return ref(name), nil
	}
	return nil, p.fail("found %q, expected a text, [characters], a group or a rule", p.text[p.at:min(p.at+8, len(p.text))])
}

// char reads one character, escaped or not.
func (p *gbnf) char() (rune, error) {
	if p.at >= len(p.text) || p.text[p.at] == '\n' {
		return 0, p.fail("the text has no end")
	}
	r, n := utf8.DecodeRuneInString(p.text[p.at:])
	if r == utf8.RuneError && n <= 1 {
		return 0, p.fail("it is not UTF-8")
	}
	p.at += n
	if r != '\\' {
		return r, nil
	}
	if p.at >= len(p.text) {
		return 0, p.fail("the text has no end")
	}
	c := p.text[p.at]
	p.at++
	if digits, ok := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]; ok {
		if p.at+digits > len(p.text) {
			return 0, p.fail("the text has no end")
		}
		v, err := strconv.ParseUint(p.text[p.at:p.at+digits], 16, 32)
		if err != nil || v > unicode.MaxRune || !utf8.ValidRune(rune(v)) {
			return 0, p.fail("\\%c%s is no character", c, p.text[p.at:p.at+digits])
		}
		p.at += digits
		return rune(v), nil
	}
	if r, ok := map[byte]rune{'n': '\n', 'r': '\r', 't': '\t', '\\': '\\', '"': '"', '[': '[', ']': ']', '-': '-', '^': '^'}[c]; ok {
		return r, nil
	}
	return 0, p.fail("there is no escape \\%c", c)
}

// class reads characters up to ].
func (p *gbnf) class() (node, error) {
	not := p.take("^")
	var ranges class
	for !p.take("]") {
		lo, err := p.char()
		if err != nil {
			return nil, err
		}
		hi := lo
		if p.at+1 < len(p.text) && p.text[p.at] == '-' && p.text[p.at+1] != ']' {
			p.at++
			if hi, err = p.char(); err != nil {
				return nil, err
			}
		}
		if hi < lo {
			return nil, p.fail("the range %c-%c is empty", lo, hi)
		}
		ranges = append(ranges, runeRange{lo, hi})
	}
	if not {
		ranges = without(ranges)
	}
	return ranges, nil
}

// without is all characters but those.
func without(ranges class) class {
	left := class{{0, unicode.MaxRune}}
	for _, r := range ranges {
		var next class
		for _, l := range left {
			if r.hi < l.lo || r.lo > l.hi {
				next = append(next, l)
				continue
			}
			if l.lo < r.lo {
				next = append(next, runeRange{l.lo, r.lo - 1})
			}
			if l.hi > r.hi {
				next = append(next, runeRange{r.hi + 1, l.hi})
			}
		}
		left = next
	}
	return left
}

// times reads what may stand behind an item: * + ? {n} {n,} {n,m}.
func (p *gbnf) times(n node) (node, error) {
	for {
		switch {
		case p.take("*"):
			n = repeat{n, 0, -1}
		case p.take("+"):
			n = repeat{n, 1, -1}
		case p.take("?"):
			n = repeat{n, 0, 1}
		case p.take("{"):
			text, rest, ok := strings.Cut(p.text[p.at:], "}")
			from, to, two := strings.Cut(text, ",")
			least, err := strconv.Atoi(strings.TrimSpace(from))
			most := least
			if two {
				if most = -1; strings.TrimSpace(to) != "" {
					var err2 error
					if most, err2 = strconv.Atoi(strings.TrimSpace(to)); err == nil {
						err = err2
					}
				}
			}
			if !ok || err != nil || least < 0 || most >= 0 && most < least || least > mostSymbols || most > mostSymbols {
				return nil, p.fail("expected a repetition such as {2}, {2,} or {2,5}, of %d at most", mostSymbols)
			}
			p.at = len(p.text) - len(rest)
			n = repeat{n, least, most}
		default:
			return n, nil
		}
	}
}
