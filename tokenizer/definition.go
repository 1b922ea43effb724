package tokenizer

import (
	"encoding/json"
	"fmt"
)

// definition is what a tokenizer.json says, whatever it was read from.
type definition struct {
	// Parts as JSON; nil or null if absent.
	normalizer, preTokenizer, postProcessor, decoder json.RawMessage

	added   []addedToken
	listed  []addedToken     // added as tokenizer.json lists it, with the ids that it gives
	vocab   int              // number of tokens without the added ones
	special map[string]bool  // texts that were once added as special tokens: they remain so
	pieces  []string         // vocabulary and added tokens by id; "" where there is none
	ids     map[string]int32 // the inverse
	merges  *mergeTable      // never nil once built
	scores  []float32        // by id, of SentencePiece vocabularies that come with scores instead of merges; else nil

	unk            string // "" for none
	prefix, suffix string // continuing_subword_prefix, end_of_word_suffix
	byteFallback   bool
	fuseUnk        bool
	ignoreMerges   bool // a word that is a token is not built from merges
}

// maxID bounds token ids, so that a hostile file cannot ask for a huge table.
const maxID = 1<<22 - 1

// affixes says that the vocabulary has a notation of its own for characters within a word.
func (d *definition) affixes() bool { return d.prefix != "" || d.suffix != "" }

// known tells whether the id, which must be within pieces, has a token.
func (d *definition) known(id int32) bool { return d.pieces[id] != "" }

// addPiece puts a token into the vocabulary under id, which is 0..maxID.
func (d *definition) addPiece(piece string, id int32) {
	for int(id) >= len(d.pieces) {
		d.pieces = append(d.pieces, "")
	}
	d.pieces[id] = piece
	d.ids[piece] = id
}

// addTokens adds tokens, or changes the flags of known ones, as the tokenizers library
// does. A token with a known text keeps its id. Any other gets the next free id, whatever
// id its file gives it: the number of tokens in the vocabulary, or one more than the
// largest id of an added token if that is no less. If the vocabulary has gaps, this may be
// another token's id.
func (d *definition) addTokens(tokens []addedToken) error {
	next := int32(d.vocab)
	at := make(map[int32]int, len(d.added)) // index in d.added by id
	for i, token := range d.added {
		at[token.ID] = i
		next = max(next, token.ID+1)
	}
	for _, token := range tokens {
		if token.Content == "" {
			continue
		}
		id, known := d.ids[token.Content]
		if !known {
			id = next
			next++
		}
		if id > maxID {
			return fmt.Errorf("%q is one token too many: ids go up to %d", clip(token.Content), maxID)
		}
		if token.Special && d.special == nil {
			d.special = map[string]bool{}
		}
		if token.Special {
			d.special[token.Content] = true
		}
		token.ID, token.Special = id, d.special[token.Content]
		d.addPiece(token.Content, id)
		i, taken := at[id]
		if !taken {
			at[id] = len(d.added)
			d.added = append(d.added, token)
			continue
		}
		d.added[i] = token
	}
	return nil
}

// build makes the tokenizer of a definition and its configuration.
func (d *definition) build(c config) (*Tokenizer, error) {
	if d.merges == nil {
		d.merges = newMergeTable(0)
	}
	t := &Tokenizer{def: *d, config: c}
	var err error
	if t.norm, err = newNormalizer(d.normalizer); err != nil {
		return nil, at("normalizer", err)
	}
	if t.split, err = newPreTokenizer(d.preTokenizer, !d.affixes()); err != nil {
		return nil, at("pre_tokenizer", err)
	}
	if t.decoder, err = newDecoder(d.decoder); err != nil {
		return nil, at("decoder", err)
	}
	if t.template, err = t.newTemplate(d.postProcessor); err != nil {
		return nil, at("post_processor", err)
	}
	t.model = newBPE(&t.def, t.split.byteLevel)
	if t.added, err = newAddedTokens(d.added, t.norm, len(d.pieces)); err != nil {
		return nil, at("added_tokens", err)
	}
	t.encoders.New = func() any { return newEncoder() }
	return t, nil
}
