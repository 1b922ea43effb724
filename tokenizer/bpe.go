package tokenizer

import (
	"math"
	"strings"
	"unicode/utf8"
)

// bpe is a byte-pair-encoding model. A word starts as its characters; then, again and
// again, the pair of neighbours that comes first in the list of merges is joined.
type bpe struct {
	def    *definition
	merges *mergeTable

	byteLevel bool // words are plain text, to be read as byte-level characters
	byteIDs   [256]int32
	byteTexts [256]int32 // ids of "<0x00>" ... "<0xFF>"; noID without byte fallback
	unk       int32

	// Words of SentencePiece-style models are whole paragraphs. They can be cut before a
	// "▁", and the parts cached, unless a merge reaches across. glue holds the characters
	// that some merge joins to a "▁" on their right.
	cuts bool
	glue map[rune]bool
}

const noID = -1

const noRank = math.MaxInt32

const metaspace = "▁"

// newBPE makes the model of def; byteLevel is that of preTokenizer.
func newBPE(def *definition, byteLevel bool) *bpe {
	m := &bpe{def: def, merges: def.merges, byteLevel: byteLevel, unk: noID}
	if id, ok := def.ids[def.unk]; ok && def.unk != "" {
		m.unk = id
	}
	for b := range 256 {
		m.byteIDs[b], m.byteTexts[b] = noID, noID
		if id, ok := def.ids[byteChars[b]]; ok {
			m.byteIDs[b] = id
		}
	}
	if def.byteFallback {
		for b := range 256 {
			if id, ok := def.ids[byteText(byte(b))]; ok {
				m.byteTexts[b] = id
			}
		}
	}
	m.findCuts()
	return m
}

// byteText is the token that stands for a byte in SentencePiece vocabularies.
func byteText(b byte) string {
	const hex = "0123456789ABCDEF"
	return "<0x" + hex[b>>4:b>>4+1] + hex[b&15:b&15+1] + ">"
}

// findCuts sets cuts and glue. Words can be cut only if every character of the text is a
// symbol of its own at first: then the last character of a token's text says what the
// token can be joined to. Merges of byte tokens or of the unknown token would break that.
func (m *bpe) findCuts() {
	def := m.def
	if _, ok := def.ids[metaspace]; !ok || m.byteLevel || def.ignoreMerges || def.affixes() {
		return
	}
	odd := make([]bool, len(def.pieces))
	missing := false // bytes without a token
	for _, id := range m.byteTexts {
		if id == noID {
			missing = true
		} else {
			odd[id] = true
		}
	}
	if m.unk != noID {
		odd[m.unk] = true
	} else if missing { // some characters leave no symbol
		return
	}
	m.glue = map[rune]bool{}
	for p := range m.merges.all() {
		if odd[p.left] || odd[p.right] {
			return
		}
		if strings.HasPrefix(def.pieces[p.right], metaspace) {
			r, _ := utf8.DecodeLastRuneInString(def.pieces[p.left])
			m.glue[r] = true
		}
	}
	m.cuts = true
}

// encode appends the ids of a word to e.out.
func (m *bpe) encode(e *encoder, text string) {
	if !m.cuts {
		m.encodeCached(e, text)
		return
	}
	for start := 0; start < len(text); {
		end := m.nextCut(text, start)
		m.encodeCached(e, text[start:end])
		start = end
	}
}

// nextCut returns the first place after start where text may be cut.
func (m *bpe) nextCut(text string, start int) int {
	_, first := utf8.DecodeRuneInString(text[start:])
	for at := start + first; ; {
		i := strings.Index(text[at:], metaspace)
		if i < 0 {
			return len(text)
		}
		at += i
		if r, _ := utf8.DecodeLastRuneInString(text[start:at]); !m.glue[r] {
			return at
		}
		at += len(metaspace)
	}
}

const (
	maxCachedWord  = 64      // bytes; longer words are rarely seen twice
	maxCachedWords = 1 << 15 // a few MB
)

// encoder is the working memory of one Encode call.
type encoder struct {
	out          []int32
	words, spare []word

	cache    map[string][2]int32 // word -> range in cacheIDs
	cacheIDs []int32

	symbols []symbol
	queue   mergeQueue
}

func newEncoder() *encoder { return &encoder{cache: map[string][2]int32{}} }

func (m *bpe) encodeCached(e *encoder, text string) {
	if len(text) > maxCachedWord {
		m.encodeWord(e, text)
		return
	}
	if at, ok := e.cache[text]; ok {
		e.out = append(e.out, e.cacheIDs[at[0]:at[1]]...)
		return
	}
	start := len(e.out)
	m.encodeWord(e, text)
	if len(e.cache) >= maxCachedWords {
		clear(e.cache)
		e.cacheIDs = e.cacheIDs[:0]
	}
	from := int32(len(e.cacheIDs))
	e.cacheIDs = append(e.cacheIDs, e.out[start:]...)
	e.cache[strings.Clone(text)] = [2]int32{from, int32(len(e.cacheIDs))}
}

func (m *bpe) encodeWord(e *encoder, text string) {
	if m.def.ignoreMerges {
		whole := text
		if m.byteLevel {
			whole = toByteLevel(text)
		}
		if id, ok := m.def.ids[whole]; ok {
			e.out = append(e.out, id)
			return
		}
	}
	e.symbols = e.symbols[:0]
	if m.byteLevel {
		m.byteSymbols(e, text)
	} else {
		m.charSymbols(e, text)
	}
	m.mergeAll(e)
	for i := int32(0); i >= 0 && int(i) < len(e.symbols); i = e.symbols[i].next {
		e.out = append(e.out, e.symbols[i].id)
	}
}

// symbol is a token of a word on its way through the merges. The symbols of a
// word form a linked list through their indices.
type symbol struct {
	id         int32
	prev, next int32 // -1 at the ends
	merged     merge // what this symbol and the next would become; noRank: nothing
	gone       bool  // joined to the symbol before it
}

func (e *encoder) push(id int32) {
	n := int32(len(e.symbols))
	e.symbols = append(e.symbols, symbol{id: id, prev: n - 1, next: n + 1})
}

func (m *bpe) byteSymbols(e *encoder, text string) {
	unknown := false
	for i := range len(text) {
		if id := m.byteIDs[text[i]]; id != noID {
			e.push(id)
			unknown = false
		} else {
			unknown = m.pushUnknown(e, byteChars[text[i]], unknown)
		}
	}
}

func (m *bpe) charSymbols(e *encoder, text string) {
	affixes := m.def.affixes()
	unknown := false
	for i := 0; i < len(text); {
		_, n := utf8.DecodeRuneInString(text[i:])
		char := text[i : i+n]
		if affixes {
			if i > 0 {
				char = m.def.prefix + char
			}
			if i+n == len(text) {
				char += m.def.suffix
			}
		}
		if id, ok := m.def.ids[char]; ok {
			e.push(id)
			unknown = false
		} else {
			unknown = m.pushUnknown(e, char, unknown)
		}
		i += n
	}
}

// pushUnknown pushes what stands for a character that the vocabulary lacks: its bytes,
// else the unknown token, else nothing. after says that the unknown token has just been
// pushed; the result says so for the next character.
func (m *bpe) pushUnknown(e *encoder, char string, after bool) bool {
	if m.def.byteFallback {
		all := true
		for i := range len(char) {
			all = all && m.byteTexts[char[i]] != noID
		}
		if all {
			for i := range len(char) {
				e.push(m.byteTexts[char[i]])
			}
			return false
		}
	}
	if m.unk == noID {
		return after
	}
	if !after || !m.def.fuseUnk {
		e.push(m.unk)
	}
	return true
}

// mergeAll joins the symbols of a word until no merge applies.
func (m *bpe) mergeAll(e *encoder) {
	s := e.symbols
	if len(s) == 0 {
		return
	}
	s[len(s)-1].next = -1
	e.queue = e.queue[:0]
	for i := range s {
		m.propose(e, int32(i))
	}
	for len(e.queue) > 0 {
		rank, i := e.queue.pop()
		if s[i].gone || s[i].merged.rank != rank {
			continue // this pair has changed since
		}
		right := s[i].next
		s[i].id = s[i].merged.id
		s[i].next = s[right].next
		s[right].gone = true
		if s[i].next >= 0 {
			s[s[i].next].prev = i
		}
		m.propose(e, i)
		if s[i].prev >= 0 {
			m.propose(e, s[i].prev)
		}
	}
}

// propose looks up what symbol i and its next would become, and queues it.
func (m *bpe) propose(e *encoder, i int32) {
	s := &e.symbols[i]
	s.merged.rank = noRank
	if s.next < 0 {
		return
	}
	if found, ok := m.merges.get(pair{s.id, e.symbols[s.next].id}); ok {
		s.merged = found
		e.queue.push(found.rank, i)
	}
}

// mergeQueue is a binary heap of proposed merges, with the lowest rank first, and the
// leftmost of equal ranks. An entry is rank<<32 | index of the left symbol.
type mergeQueue []uint64

func (q *mergeQueue) push(rank, index int32) {
	h := append(*q, uint64(rank)<<32|uint64(index))
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up] <= h[i] {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
	*q = h
}

func (q *mergeQueue) pop() (rank, index int32) {
	h := *q
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if down+1 < last && h[down+1] < h[down] {
			down++
		}
		if h[i] <= h[down] {
			break
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
	*q = h
	return int32(top >> 32), int32(uint32(top))
}
