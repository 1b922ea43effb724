package tokenizer

import (
	"container/heap"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// TrainOptions says what tokenizer Train makes.
type TrainOptions struct {
	// VocabSize is the number of ids wanted, with special tokens and the 256 bytes. There
	// are fewer if no pair of the text is left that occurs twice.
	VocabSize int

	// SpecialTokens get the ids 0, 1, ... in this order. Training skips them in the text.
	SpecialTokens []string

	// Pattern is the regular expression that divides text into words; no token
	// reaches across words. Empty: that of Qwen 2 (letters with what leads
	// them, single digits, runs of symbols, white space).
	Pattern string

	// Special tokens with a role, each one of SpecialTokens or empty.
	BOS, EOS, PAD, UNK string

	AddBOS       bool   // put BOS in front when encoding with special tokens
	ChatTemplate string // Jinja; empty for none
}

// minPairCount is how often a pair must occur to become a token.
const minPairCount = 2

// Train makes a byte-level BPE tokenizer from texts. It starts from the 256 bytes and joins
// the most frequent pair of neighbours, again and again; of equally frequent pairs it
// takes the one with the lowest ids. The result depends on nothing but texts and options.
func Train(texts iter.Seq[string], opt TrainOptions) (*Tokenizer, error) {
	d, c, err := opt.definition()
	if err != nil {
		return nil, fmt.Errorf("tokenizer: train: %w", err)
	}
	t, err := d.build(c) // so far, each byte is a token
	if err != nil {
		return nil, fmt.Errorf("tokenizer: train: %w", err)
	}
	counts, err := t.countWords(texts)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: train: %w", err)
	}
	tr := newTrainer(d, counts)
	for len(d.pieces) < opt.VocabSize {
		p, ok := tr.best()
		if !ok {
			break
		}
		tr.join(p)
	}
	return d.build(c)
}

// definition returns the tokenizer before training: special tokens and bytes.
func (opt *TrainOptions) definition() (*definition, config, error) {
	c := config{special: map[string]string{}, templates: map[string]string{}}
	if least := len(opt.SpecialTokens) + 256; opt.VocabSize < least || opt.VocabSize > maxID {
		return nil, c, fmt.Errorf("VocabSize is %d, want %d (special tokens and bytes) to %d", opt.VocabSize, least, maxID)
	}
	d := &definition{
		ids:          map[string]int32{},
		merges:       newMergeTable(0),
		preTokenizer: splitThenBytes(opt.Pattern),
		decoder:      byteLevelDecoder,
	}
	if opt.Pattern == "" {
		d.preTokenizer = splitThenBytes(patternQwen2)
	}
	for i, text := range opt.SpecialTokens {
		if _, twice := d.ids[text]; twice || text == "" {
			return nil, c, fmt.Errorf("SpecialTokens[%d] is %q; want different texts, none empty", i, text)
		}
		if len([]rune(text)) == 1 {
			return nil, c, fmt.Errorf("SpecialTokens[%d] is %q; want more than one character", i, text)
		}
		d.addPiece(text, int32(i))
		d.added = append(d.added, addedToken{ID: int32(i), Content: text, Special: true})
	}
	for _, role := range []struct{ key, text string }{
		{"bos_token", opt.BOS}, {"eos_token", opt.EOS}, {"pad_token", opt.PAD}, {"unk_token", opt.UNK},
	} {
		if role.text == "" {
			continue
		}
		if !slices.Contains(opt.SpecialTokens, role.text) {
			return nil, c, fmt.Errorf("%s is %q, which is not one of SpecialTokens", role.key, role.text)
		}
		c.special[role.key] = role.text
	}
	if opt.AddBOS {
		if opt.BOS == "" {
			return nil, c, errors.New("AddBOS is set but BOS is empty")
		}
		d.postProcessor = aroundTemplate(d.ids, opt.BOS, "")
	}
	if opt.ChatTemplate != "" {
		c.templates["default"] = opt.ChatTemplate
	}
	for _, char := range byteChars {
		d.addPiece(char, int32(len(d.pieces)))
	}
	return d, c, nil
}

// countWords counts the words of all texts.
func (t *Tokenizer) countWords(texts iter.Seq[string]) (_ map[string]int, err error) {
	counts := map[string]int{}
	var words, spare []word
	for text := range texts {
		t.added.raw.cut(validUTF8(text), func(part string, _ int, id int32) {
			if id >= 0 || err != nil {
				return
			}
			words = append(words[:0], word{text: part})
			for _, step := range t.split.steps {
				if spare, err = step(spare[:0], words); err != nil {
					return
				}
				words, spare = spare, words
			}
			for _, w := range words {
				if _, known := counts[w.text]; known {
					counts[w.text]++
				} else {
					counts[strings.Clone(w.text)] = 1
				}
			}
		})
	}
	return counts, err
}

// trainer holds the words as they stand after the merges so far.
type trainer struct {
	def   *definition
	words []trainWord
	pairs map[pair]*pairUse
	queue pairQueue
}

type trainWord struct {
	ids   []int32
	count int
}

// pairUse says how often a pair occurs, and in which words. The list may name
// a word twice, or one that has lost the pair since.
type pairUse struct {
	count int
	words []int32
}

func newTrainer(d *definition, counts map[string]int) *trainer {
	tr := &trainer{def: d, pairs: map[pair]*pairUse{}}
	texts := make([]string, 0, len(counts))
	for text := range counts {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	for i, text := range texts {
		w := trainWord{ids: make([]int32, len(text)), count: counts[text]}
		for j := range len(text) {
			w.ids[j] = d.ids[byteChars[text[j]]]
		}
		tr.words = append(tr.words, w)
		for j := 1; j < len(w.ids); j++ {
			tr.count(pair{w.ids[j-1], w.ids[j]}, w.count, int32(i))
		}
	}
	for p, use := range tr.pairs {
		tr.queue = append(tr.queue, pairCount{p, use.count})
	}
	heap.Init(&tr.queue)
	return tr
}

// count adds n occurrences of a pair in a word.
func (tr *trainer) count(p pair, n int, word int32) {
	use := tr.pairs[p]
	if use == nil {
		use = &pairUse{}
		tr.pairs[p] = use
	}
	use.count += n
	if len(use.words) == 0 || use.words[len(use.words)-1] != word {
		use.words = append(use.words, word)
	}
}

// best returns the most frequent pair. Counts in the queue may be too high, but never too
// low: a pair is queued again when its count grows.
func (tr *trainer) best() (pair, bool) {
	for len(tr.queue) > 0 {
		top := tr.queue[0]
		count := tr.pairs[top.pair].count
		switch {
		case count == top.count && count >= minPairCount:
			return top.pair, true
		case count >= minPairCount && count < top.count:
			tr.queue[0].count = count
			heap.Fix(&tr.queue, 0)
		default: // too rare, or queued again with its larger count
			heap.Pop(&tr.queue)
		}
	}
	return pair{}, false
}

// join makes a token of a pair and puts it into all words. If another pair has made a token
// of the same text, the pair becomes that token.
func (tr *trainer) join(p pair) {
	d := tr.def
	piece := d.pieces[p.left] + d.pieces[p.right]
	id, known := d.ids[piece]
	if !known {
		id = int32(len(d.pieces))
		d.addPiece(piece, id)
	}
	if int(id) < len(d.added) { // the byte-level spelling of a special token
		tr.pairs[p].count = 0
		return
	}
	d.merges.set(p, merge{rank: int32(d.merges.len()), id: id})

	grown := map[pair]bool{}
	for _, w := range tr.pairs[p].words {
		tr.joinIn(w, p, id, grown)
	}
	for q := range grown {
		heap.Push(&tr.queue, pairCount{q, tr.pairs[q].count})
	}
	tr.pairs[p].words = nil
}

// joinIn replaces the pair by id in one word, and notes the pairs that have become more
// frequent.
func (tr *trainer) joinIn(index int32, p pair, id int32, grown map[pair]bool) {
	w := &tr.words[index]
	old := w.ids
	joined := old[:0:0]
	for i := 0; i < len(old); i++ {
		if i+1 < len(old) && old[i] == p.left && old[i+1] == p.right {
			joined = append(joined, id)
			i++
		} else {
			joined = append(joined, old[i])
		}
	}
	if len(joined) == len(old) {
		return
	}
	for i := 1; i < len(old); i++ {
		tr.pairs[pair{old[i-1], old[i]}].count -= w.count
	}
	for i := 1; i < len(joined); i++ {
		q := pair{joined[i-1], joined[i]}
		if q.left == id || q.right == id {
			tr.count(q, w.count, index)
			grown[q] = true
		} else {
			tr.pairs[q].count += w.count // listed under this word already
		}
	}
	w.ids = joined
}

// pairQueue is a heap of pairs, most frequent first.
type pairQueue []pairCount

type pairCount struct {
	pair  pair
	count int
}

func (q pairQueue) Len() int { return len(q) }
func (q pairQueue) Less(i, j int) bool {
	a, b := q[i], q[j]
	if a.count != b.count {
		return a.count > b.count
	}
	if a.pair.left != b.pair.left {
		return a.pair.left < b.pair.left
	}
	return a.pair.right < b.pair.right
}
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *pairQueue) Push(x any)   { *q = append(*q, x.(pairCount)) }
func (q *pairQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}
