package tokenizer

import (
	"encoding/json"
	"fmt"
)

// definition is what a tokenizer.json says, whatever it was read from.
type definition struct {
	// Parts as JSON; nil or null if absent.
	normalizer, preTokenizer, postProcessor, decoder json.RawMessage

	added  []addedToken
	pieces []string         // vocabulary and added tokens by id; "" where there is none
	ids    map[string]int32 // the inverse
	merges *mergeTable      // never nil once built
	scores []float32        // by id, of SentencePiece vocabularies that come with scores instead of merges; else nil

	unk            string // "" for none
	prefix, suffix string // continuing_subword_prefix, end_of_word_suffix
	byteFallback   bool
	fuseUnk        bool
	ignoreMerges   bool // a word that is a token is not built from merges
}

// maxID bounds token ids, so that a hostile file cannot ask for a huge table.
const maxID = 1<<22 - 1

// affixes tells that characters within a word are written in a way of their own.
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

// addTokens adds tokens, or gives the flags of tokens already there. A token
// whose text is in the vocabulary keeps its id there.
func (d *definition) addTokens(tokens []addedToken) error {
	if err := checkAdded(tokens); err != nil {
		return err
	}
	have := make(map[string]int, len(d.added))
	for i, token := range d.added {
		have[token.Content] = i
	}
	for i, token := range tokens {
		if id, ok := d.ids[token.Content]; ok {
			token.ID = id
		} else if int(token.ID) < len(d.pieces) && d.known(token.ID) {
			return at(fmt.Sprintf("[%d]", i), fmt.Errorf("%q has id %d, which already stands for %q",
				clip(token.Content), token.ID, clip(d.pieces[token.ID])))
		} else {
			d.addPiece(token.Content, token.ID)
		}
		if j, ok := have[token.Content]; ok {
			d.added[j] = token
			continue
		}
		have[token.Content] = len(d.added)
		d.added = append(d.added, token)
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
	t.added = newAddedTokens(d.added, t.norm, len(d.pieces))
	t.encoders.New = func() any { return newEncoder() }
	return t, nil
}
