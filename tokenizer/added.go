package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is matched in the text itself, before the model.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only between non-word characters
	LStrip     bool   `json:"lstrip"`      // swallows white space on its left
	RStrip     bool   `json:"rstrip"`      // swallows white space on its right
	Normalized bool   `json:"normalized"`  // matched in the normalized text
	Special    bool   `json:"special"`
}

// addedTokens finds the added tokens of a tokenizer in a text.
type addedTokens struct {
	raw        matcher // matched in the text as it is
	normalized matcher // matched after normalization
	special    []bool  // by id
}

func newAddedTokens(tokens []addedToken, norm normalizer, vocabSize int) (addedTokens, error) {
	a := addedTokens{special: make([]bool, vocabSize)}
	for _, token := range tokens {
		if token.Special {
			a.special[token.ID] = true
		}
		content := token.Content
		if !token.Normalized {
			a.raw.add(content, token)
			continue
		}
		if norm != nil {
			var err error
			if content, err = norm(content); err != nil {
				return a, err
			}
		}
		a.normalized.add(content, token)
	}
	return a, nil
}

// matcher is a trie over the bytes of added tokens. Node 0 is the root.
type matcher struct {
	nodes  []trieNode
	first  [256]bool // bytes that some token starts with
	tokens []addedToken
}

type trieNode struct {
	bytes string  // labels of the edges to next
	next  []int32 // parallel to bytes
	token int32   // index+1 in tokens of the token ending here; 0 if none
}

func (m *matcher) add(content string, token addedToken) {
	if content == "" {
		return
	}
	if len(m.nodes) == 0 {
		m.nodes = make([]trieNode, 1)
	}
	m.first[content[0]] = true
	at := int32(0)
	for i := range len(content) {
		next := m.step(at, content[i])
		if next == 0 {
			next = int32(len(m.nodes))
			m.nodes = append(m.nodes, trieNode{})
			m.nodes[at].bytes += content[i : i+1]
			m.nodes[at].next = append(m.nodes[at].next, next)
		}
		at = next
	}
	m.tokens = append(m.tokens, token)
	m.nodes[at].token = int32(len(m.tokens))
}

// step follows the edge labelled b from node at; 0 means there is none.
func (m *matcher) step(at int32, b byte) int32 {
	node := &m.nodes[at]
	if i := strings.IndexByte(node.bytes, b); i >= 0 {
		return node.next[i]
	}
	return 0
}

// longest returns the longest token that text starts with, and its length.
func (m *matcher) longest(text string) (token *addedToken, length int) {
	at := int32(0)
	for i := range len(text) {
		if at = m.step(at, text[i]); at == 0 {
			break
		}
		if k := m.nodes[at].token; k > 0 {
			token, length = &m.tokens[k-1], i+1
		}
	}
	return token, length
}

// cut divides text at the added tokens in it and yields the parts in order, each with its
// byte offset. id is the added token's, or -1 for text between them. Text between them is
// never empty.
func (m *matcher) cut(text string, yield func(part string, at int, id int32)) {
	done := 0 // text before this offset has been yielded
	if len(m.nodes) > 0 {
		for i := 0; i < len(text); {
			if !m.first[text[i]] {
				i++
				continue
			}
			token, length := m.longest(text[i:])
			if token == nil {
				i++
				continue
			}
			start, stop := i, i+length
			i = stop
			if token.SingleWord && (endsWithWord(text[:start]) || startsWithWord(text[stop:])) {
				continue
			}
			if token.LStrip {
				start = max(done, len(strings.TrimRightFunc(text[:start], unicode.IsSpace)))
			}
			if token.RStrip {
				stop = len(text) - len(strings.TrimLeftFunc(text[stop:], unicode.IsSpace))
			}
			if done < start {
				yield(text[done:start], done, -1)
			}
			yield("", start, token.ID)
			done = stop
		}
	}
	if done < len(text) {
		yield(text[done:], done, -1)
	}
}

func endsWithWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWordChar(r)
}

func startsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWordChar(r)
}

// isWordChar is \w of Unicode's regular expressions (UTS #18, annex C).
func isWordChar(r rune) bool {
	return unicode.IsLetter(r) || unicode.In(r, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc,
		unicode.Other_Alphabetic, unicode.Other_Lowercase, unicode.Other_Uppercase, unicode.Join_Control)
}

// checkAdded validates ids and contents of added tokens of a tokenizer.json.
func (d *definition) checkAdded(tokens []addedToken) error {
	for i, token := range tokens {
		place := fmt.Sprintf("[%d]", i)
		if token.Content == "" {
			return at(place+".content", errors.New("empty string; an added token needs a text"))
		}
		if token.ID < 0 || token.ID > maxID {
			return at(place+".id", fmt.Errorf("%d (%q) is outside 0..%d", token.ID, clip(token.Content), maxID))
		}
		if _, known := d.ids[token.Content]; !known && int(token.ID) < len(d.pieces) && d.known(token.ID) {
			return at(place, fmt.Errorf("%q has id %d, which already stands for %q",
				clip(token.Content), token.ID, clip(d.pieces[token.ID])))
		}
	}
	return nil
}
