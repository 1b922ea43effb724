package grammar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/tokenizer"
)

// A Vocabulary is the tokens of a model, prepared for masks. It may be used by several grammars at once.
type Vocabulary struct {
	bytes   []string // of each token; "" for those that never come
	begins  []bool   // a token adds its bytes at the beginning, too
	sorted  []int32  // tokens that are text, by their bytes
	special []int32  // tokens of structure, that come where nothing else can
	ends    []int32
}

// NewVocabulary prepares the tokens of a tokenizer; ends are the tokens that end an answer.
func NewVocabulary(tok *tokenizer.Tokenizer, ends []int32) (*Vocabulary, error) {
	if len(ends) == 0 {
		return nil, fault.Of("the model has no token that ends an answer, so that none can be kept to a form")
	}
	bytes, begins := tok.Bytes()
	v := &Vocabulary{begins: begins, ends: ends, bytes: make([]string, len(bytes))}
	for id := range int32(len(bytes)) {
		if len(bytes[id]) == 0 || slices.Contains(ends, id) {
			continue
		}
		v.bytes[id] = string(bytes[id])
		if tok.IsSpecial(id) {
			v.special = append(v.special, id)
		} else {
			v.sorted = append(v.sorted, id)
		}
	}
	slices.SortFunc(v.sorted, func(a, b int32) int { return strings.Compare(v.bytes[a], v.bytes[b]) })
	return v, nil
}

// A Grammar is a source with the tokens of a model. It may be used by several goroutines.
type Grammar struct {
	vocab *Vocabulary
	rules [][][]symbol
	root  int

	mu     sync.Mutex
	frames map[frame]*frame
	nodes  map[string]*point
	start  *point
}

// frame is a place in an alternative of a rule, and where to go on behind that rule.
type frame struct {
	rule, alt, at int
	parent        *frame // nil: the text may end
}

// point is a set of stacks: all places that a text can be at.
type point struct {
	tops []*frame // whose symbols are bytes
	done bool     // the text may end
	next map[byte]*point
	mask []uint64 // tokens that may come
	some bool     // there are any
}

// Limits on what a grammar keeps: an automaton that is built as it is walked may have any size.
const (
	mostPoints = 1 << 12
	mostTops   = 1 << 12
)

// Compile joins a source with tokens.
func (s *Source) Compile(v *Vocabulary) (*Grammar, error) {
	c := compiler{source: s, named: map[string]int{}}
	body, err := c.compile(s.root)
	if err != nil {
		return nil, err
	}
	root, err := c.rule(body)
	if err != nil {
		return nil, err
	}
	if err := c.tidy(root); err != nil {
		return nil, err
	}
	g := &Grammar{vocab: v, rules: c.rules, root: root}
	g.reset()
	return g, nil
}

// reset forgets the automaton.
func (g *Grammar) reset() {
	g.frames, g.nodes = map[frame]*frame{}, map[string]*point{}
	set := newClosure(g)
	for a := range g.rules[g.root] {
		set.add(frame{g.root, a, 0, nil})
	}
	g.start, _ = set.point()
}

// closure collects places.
type closure struct {
	g    *Grammar
	seen map[frame]bool
	tops []*frame
	done bool
}

func newClosure(g *Grammar) *closure { return &closure{g: g, seen: map[frame]bool{}} }

// add adds a place: if a rule begins or ends there, the places that that leads to.
func (c *closure) add(f frame) {
	if c.seen[f] {
		return
	}
	c.seen[f] = true
	symbols := c.g.rules[f.rule][f.alt]
	if f.at == len(symbols) {
		if f.parent == nil {
			c.done = true
		} else {
			c.add(*f.parent)
		}
		return
	}
	s := symbols[f.at]
	if s.rule < 0 {
		c.tops = append(c.tops, c.g.intern(f))
		return
	}
	back := f.parent // behind the last symbol nothing of this rule is left
	if f.at+1 < len(symbols) {
		back = c.g.intern(frame{f.rule, f.alt, f.at + 1, f.parent})
	}
	for a := range c.g.rules[s.rule] {
		c.add(frame{s.rule, a, 0, back})
	}
}

// intern makes equal frames one.
func (g *Grammar) intern(f frame) *frame {
	if p, ok := g.frames[f]; ok {
		return p
	}
	p := &f
	g.frames[f] = p
	return p
}

// point is the collected places.
func (c *closure) point() (*point, error) {
	if len(c.tops) > mostTops {
		return nil, fault.Of("the grammar has more than %d readings of one text", mostTops).Try("Write it so that a text has one.")
	}
	keys := make([]string, len(c.tops))
	for i, f := range c.tops {
		keys[i] = fmt.Sprintf("%p", f)
	}
	slices.Sort(keys)
	key := fmt.Sprint(c.done, keys)
	if p, ok := c.g.nodes[key]; ok {
		return p, nil
	}
	p := &point{tops: c.tops, done: c.done, next: map[byte]*point{}}
	c.g.nodes[key] = p
	return p, nil
}

// step is the point behind one more byte; nil if it cannot come.
func (g *Grammar) step(p *point, b byte) (*point, error) {
	if next, ok := p.next[b]; ok {
		return next, nil
	}
	var set *closure
	for _, f := range p.tops {
		if g.rules[f.rule][f.alt][f.at].bytes.has(b) {
			if set == nil {
				set = newClosure(g)
			}
			set.add(frame{f.rule, f.alt, f.at + 1, f.parent})
		}
	}
	if set == nil {
		p.next[b] = nil
		return nil, nil
	}
	next, err := set.point()
	if err == nil {
		p.next[b] = next
	}
	return next, err
}

// State follows one answer.
type State struct {
	g     *Grammar
	at    *point
	begun bool
	over  bool
}

// Start is the state before the first token.
func (g *Grammar) Start() *State { return &State{g: g, at: g.start} }

// Accept takes the next token of the answer.
func (s *State) Accept(token int32) error {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	if slices.Contains(s.g.vocab.ends, token) {
		s.over = true
		return nil
	}
	if int(token) >= len(s.g.vocab.bytes) || s.g.vocab.bytes[token] == "" {
		return fmt.Errorf("grammar: token %d has no text", token)
	}
	at, err := s.g.walk(s.at, s.g.vocab.bytes[token])
	if err == nil && at == nil {
		err = fmt.Errorf("grammar: %q cannot come here", s.g.vocab.bytes[token])
	}
	if err != nil {
		return err
	}
	s.at, s.begun = at, true
	return nil
}

// Done reports whether the text may end here.
func (s *State) Done() bool { return s.at.done }

// walk goes along a text; nil if it cannot come.
func (g *Grammar) walk(p *point, text string) (_ *point, err error) {
	for i := 0; i < len(text) && p != nil && err == nil; i++ {
		p, err = g.step(p, text[i])
	}
	return p, err
}

// ErrNoToken says that no token of the vocabulary goes on with the text.
var ErrNoToken = errors.New("grammar: no token of the model goes on with the text")

// Mask sets the logits of tokens that may not come next to masked.
func (s *State) Mask(logits []float32, masked float32) error {
	g, v := s.g, s.g.vocab
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.nodes) > mostPoints {
		// What is known is given up; this state goes on from copies that know nothing yet.
		g.reset()
		s.at = &point{tops: s.at.tops, done: s.at.done, next: map[byte]*point{}}
	}
	if s.at.mask == nil {
		if err := g.fill(s.at); err != nil {
			return err
		}
	}
	left := s.at.some || s.at.done
	for id := range logits {
		if id >= 64*len(s.at.mask) || s.at.mask[id/64]&(1<<(id%64)) == 0 {
			if s.at.done && slices.Contains(v.ends, int32(id)) {
				continue
			}
			logits[id] = masked
		}
	}
	if !s.begun { // a token that would lose its space here
		left = s.at.done
		for id, begins := range v.begins {
			if id < len(logits) && !begins {
				logits[id] = masked
			} else if id < 64*len(s.at.mask) && s.at.mask[id/64]&(1<<(id%64)) != 0 {
				left = true
			}
		}
	}
	if !left {
		return ErrNoToken
	}
	return nil
}

// fill computes the mask of a point.
func (g *Grammar) fill(p *point) error {
	v := g.vocab
	mask := make([]uint64, (len(v.bytes)+63)/64)
	allow := func(id int32) {
		mask[id/64] |= 1 << (id % 64)
		p.some = true
	}
	var walk func(tokens []int32, depth int, at *point) error
	walk = func(tokens []int32, depth int, at *point) error {
		for len(tokens) > 0 && len(v.bytes[tokens[0]]) == depth {
			allow(tokens[0])
			tokens = tokens[1:]
		}
		for len(tokens) > 0 {
			b := v.bytes[tokens[0]][depth]
			n := 1
			for n < len(tokens) && v.bytes[tokens[n]][depth] == b {
				n++
			}
			next, err := g.step(at, b)
			if err != nil {
				return err
			}
			if next != nil {
				if err := walk(tokens[:n], depth+1, next); err != nil {
					return err
				}
			}
			tokens = tokens[n:]
		}
		return nil
	}
	if err := walk(v.sorted, 0, p); err != nil {
		return err
	}
	for _, id := range v.special {
		ok, err := g.forced(p, v.bytes[id])
		if err != nil {
			return err
		}
		if ok {
			allow(id)
		}
	}
	p.mask = mask
	return nil
}

// forced reports whether a text is the only one that can come: tokens of structure stand for nothing else.
func (g *Grammar) forced(p *point, text string) (bool, error) {
	for i := range len(text) {
		var set byteSet
		for _, f := range p.tops {
			b := g.rules[f.rule][f.alt][f.at].bytes
			for k := range set {
				set[k] |= b[k]
			}
		}
		var only byteSet
		only.add(text[i], text[i])
		if p.done || set != only {
			return false, nil
		}
		next, err := g.step(p, text[i])
		if err != nil || next == nil {
			return false, err
		}
		p = next
	}
	return true, nil
}
