package grammar

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/fault"
)

// A Source is a set of texts.
type Source struct {
	root  node
	rules map[string]node
}

// node is an expression over texts.
type node interface{ isNode() }

type (
	literal string
	class   []runeRange // one character of any of them
	seq     []node
	alt     []node
	ref     string // a rule
	repeat  struct {
		of       node
		min, max int // max -1 is any number
	}
)

// runeRange is the characters lo to hi.
type runeRange struct{ lo, hi rune }

func (literal) isNode() {}
func (class) isNode()   {}
func (seq) isNode()     {}
func (alt) isNode()     {}
func (ref) isNode()     {}
func (repeat) isNode()  {}

// Within puts texts before and after.
func (s *Source) Within(before, after string) *Source {
	return &Source{seq{literal(before), s.root, literal(after)}, s.rules}
}

// OneOf is the texts of any of several sources.
func OneOf(sources ...*Source) *Source {
	out := &Source{rules: map[string]node{}}
	var all alt
	for i, s := range sources {
		name := func(r ref) ref { return ref(fmt.Sprintf("%d/%s", i, r)) }
		for r, n := range s.rules {
			out.rules[string(name(ref(r)))] = renamed(n, name)
		}
		all = append(all, renamed(s.root, name))
	}
	out.root = all
	return out
}

// renamed is a node with other names of rules.
func renamed(n node, name func(ref) ref) node {
	each := func(list []node) []node {
		out := make([]node, len(list))
		for i, x := range list {
			out[i] = renamed(x, name)
		}
		return out
	}
	switch n := n.(type) {
	case ref:
		return name(n)
	case seq:
		return seq(each(n))
	case alt:
		return alt(each(n))
	case repeat:
		return repeat{renamed(n.of, name), n.min, n.max}
	}
	return n
}

// A symbol is a set of bytes, or a rule.
type symbol struct {
	rule  int // -1 for bytes
	bytes byteSet
}

// byteSet is a set of bytes.
type byteSet [4]uint64

func (s *byteSet) add(lo, hi byte) {
	for b := int(lo); b <= int(hi); b++ {
		s[b/64] |= 1 << (b % 64)
	}
}

func (s *byteSet) has(b byte) bool { return s[b/64]&(1<<(b%64)) != 0 }

// mostSymbols bounds what a grammar grows to: repetitions are written out.
const mostSymbols = 1 << 18

// compiler turns nodes into rules of alternatives of symbols.
type compiler struct {
	source  *Source
	rules   [][][]symbol
	named   map[string]int
	symbols int
	depth   int
}

// mostDepth bounds how deep a source is nested.
const mostDepth = 500

func tooLarge() error {
	return fault.Of("the grammar is too large").Try("Allow fewer repetitions, or use a smaller schema.")
}

// rule makes a rule of alternatives.
func (c *compiler) rule(alts ...[]symbol) (int, error) {
	for _, a := range alts {
		c.symbols += len(a) + 1
	}
	if c.symbols > mostSymbols {
		return 0, tooLarge()
	}
	c.rules = append(c.rules, alts)
	return len(c.rules) - 1, nil
}

// call is the symbol of a rule.
func call(rule int) []symbol { return []symbol{{rule: rule}} }

// compile gives the symbols of a node.
func (c *compiler) compile(n node) ([]symbol, error) {
	if c.depth++; c.depth > mostDepth {
		return nil, fault.Of("the grammar is nested deeper than %d", mostDepth)
	}
	defer func() { c.depth-- }()
	switch n := n.(type) {
	case literal:
		out := make([]symbol, len(n))
		for i := range len(n) {
			out[i].rule = -1
			out[i].bytes.add(n[i], n[i])
		}
		return out, nil
	case class:
		return c.class(n)
	case seq:
		var out []symbol
		for _, x := range n {
			part, err := c.compile(x)
			if err != nil {
				return nil, err
			}
			if out = append(out, part...); len(out) > mostSymbols {
				return nil, tooLarge()
			}
		}
		return out, nil
	case alt:
		var alts [][]symbol
		for _, x := range n {
			part, err := c.compile(x)
			if err != nil {
				return nil, err
			}
			alts = append(alts, part)
		}
		r, err := c.rule(alts...)
		return call(r), err
	case ref:
		return c.ref(string(n))
	case repeat:
		return c.repeat(n)
	}
	return nil, fmt.Errorf("grammar: a node of type %T", n)
}

func (c *compiler) ref(name string) ([]symbol, error) {
	if r, ok := c.named[name]; ok {
		return call(r), nil
	}
	n, ok := c.source.rules[name]
	if !ok {
		return nil, fault.Of("the grammar has no rule %q", name).Try("It has: %q", slices.Sorted(maps.Keys(c.source.rules)))
	}
	c.rules = append(c.rules, nil)
	r := len(c.rules) - 1
	c.named[name] = r
	body, err := c.compile(n)
	if err != nil {
		return nil, err
	}
	c.rules[r] = [][]symbol{body}
	if len(body) == 1 && body[0].rule >= 0 && c.rules[body[0].rule] != nil {
		c.rules[r] = c.rules[body[0].rule] // the alternatives themselves
	}
	c.symbols += len(body) + 1
	return call(r), nil
}

// repeat writes repetitions out: as many as must be, then each that may be within the one before.
func (c *compiler) repeat(n repeat) ([]symbol, error) {
	body, err := c.compile(n.of)
	if err != nil {
		return nil, err
	}
	if len(body) > 1 {
		r, err := c.rule(body)
		if err != nil {
			return nil, err
		}
		body = call(r)
	}
	if n.min > mostSymbols || n.max > mostSymbols {
		return nil, tooLarge()
	}
	var out []symbol
	for range n.min {
		out = append(out, body...)
	}
	if n.max < 0 {
		r, err := c.rule(nil, nil)
		if err != nil {
			return nil, err
		}
		c.rules[r] = [][]symbol{append(slices.Clone(body), symbol{rule: r}), nil}
		return append(out, symbol{rule: r}), nil
	}
	var rest []symbol
	for range n.max - n.min {
		r, err := c.rule(slices.Concat(body, rest), nil)
		if err != nil {
			return nil, err
		}
		rest = call(r)
	}
	return append(out, rest...), nil
}

// class gives the encodings of characters as alternatives of bytes.
func (c *compiler) class(ranges class) ([]symbol, error) {
	var one symbol
	one.rule = -1
	var alts [][]symbol
	for _, r := range ranges {
		encodings(r.lo, r.hi, func(lo, hi []byte) {
			if len(lo) == 1 {
				one.bytes.add(lo[0], hi[0])
				return
			}
			a := make([]symbol, len(lo))
			for i := range lo {
				a[i].rule = -1
				a[i].bytes.add(lo[i], hi[i])
			}
			alts = append(alts, a)
		})
	}
	if one.bytes != (byteSet{}) {
		if len(alts) == 0 {
			return []symbol{one}, nil
		}
		alts = append(alts, []symbol{one})
	}
	r, err := c.rule(alts...)
	return call(r), err
}

// encodings cuts a range of characters into ranges whose UTF-8 is a range in each byte. There are no surrogates.
func encodings(lo, hi rune, yield func(lo, hi []byte)) {
	const firstSurrogate, lastSurrogate = 0xd800, 0xdfff
	if lo > hi {
		return
	}
	if lo <= lastSurrogate && hi >= firstSurrogate {
		encodings(lo, firstSurrogate-1, yield)
		encodings(lastSurrogate+1, hi, yield)
		return
	}
	for _, last := range []rune{0x7f, 0x7ff, 0xffff} { // of each length
		if lo <= last && hi > last {
			encodings(lo, last, yield)
			encodings(last+1, hi, yield)
			return
		}
	}
	// Cut where the bytes behind the first that differs do not run through all of theirs.
	for shift := 6; shift <= 18; shift += 6 {
		low := rune(1)<<shift - 1
		if hi <= 0x7f || lo&^low == hi&^low {
			break
		}
		if lo&low != 0 {
			encodings(lo, lo|low, yield)
			encodings((lo|low)+1, hi, yield)
			return
		}
		if hi&low != low {
			encodings(lo, (hi&^low)-1, yield)
			encodings(hi&^low, hi, yield)
			return
		}
	}
	yield(utf8.AppendRune(nil, lo), utf8.AppendRune(nil, hi))
}

// tidy drops alternatives that no text ends, and refuses rules that begin with themselves, which a state would go round in
// for ever.
func (c *compiler) tidy(root int) error {
	ends := make([]bool, len(c.rules))
	empty := make([]bool, len(c.rules))
	productive := func(a []symbol) bool {
		for _, s := range a {
			if s.rule >= 0 && !ends[s.rule] || s.rule < 0 && s.bytes == (byteSet{}) {
				return false
			}
		}
		return true
	}
	vanishes := func(a []symbol) bool {
		for _, s := range a {
			if s.rule < 0 || !empty[s.rule] {
				return false
			}
		}
		return true
	}
	for changed := true; changed; {
		changed = false
		for r, alts := range c.rules {
			for _, a := range alts {
				if !ends[r] && productive(a) {
					ends[r], changed = true, true
				}
				if !empty[r] && vanishes(a) {
					empty[r], changed = true, true
				}
			}
		}
	}
	if !ends[root] {
		return fault.Of("no text that ends keeps to it: it asks for itself within itself")
	}
	for r, alts := range c.rules {
		c.rules[r] = slices.DeleteFunc(slices.Clone(alts), func(a []symbol) bool { return !productive(a) })
	}
	return c.checkLeft(empty)
}

// checkLeft refuses rules that begin with themselves.
func (c *compiler) checkLeft(empty []bool) error {
	const fresh, open, closed = 0, 1, 2
	state := make([]int, len(c.rules))
	var visit func(r int) error
	visit = func(r int) error {
		state[r] = open
		for _, a := range c.rules[r] {
			for _, s := range a {
				if s.rule < 0 {
					break
				}
				switch state[s.rule] {
				case open:
					return fault.Of("a rule of the grammar begins with itself, or repeats what may be empty%s", c.nameOf(s.rule)).
						Try("Write it with the repetition at its end: list ::= item (\",\" item)*")
				case fresh:
					if err := visit(s.rule); err != nil {
						return err
					}
				}
				if !empty[s.rule] {
					break
				}
			}
		}
		state[r] = closed
		return nil
	}
	for r := range c.rules {
		if state[r] == fresh {
			if err := visit(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *compiler) nameOf(rule int) string {
	for name, r := range c.named {
		if r == rule {
			return ": " + name
		}
	}
	return ""
}
