package tokenizer

import (
	"strconv"
	"strings"
)

// Bytes gives what each token adds to a text that goes before it. These bytes need not be whole characters. begins tells
// whether a token adds the same at the very beginning of a text, where some decoders drop a space.
func (t *Tokenizer) Bytes() (bytes [][]byte, begins []bool) {
	byteLevel, fallback := false, false
	for _, stage := range t.decoder {
		switch stage(nil, nil).(type) {
		case *byteLevelSink:
			byteLevel = true
		case *byteFallbackSink:
			fallback = true
		}
	}
	n := t.VocabSize()
	bytes, begins = make([][]byte, n), make([]bool, n)
	anchor := t.anchor()
	for id := range int32(n) {
		piece := t.def.pieces[id]
		begins[id] = true
		switch {
		case !t.def.known(id):
		case t.IsSpecial(id):
			bytes[id] = []byte(piece)
		case byteLevel:
			bytes[id] = appendFromByteLevel(nil, piece)
		case fallback && isByte(piece):
			b, _ := strconv.ParseUint(piece[3:5], 16, 8)
			bytes[id] = []byte{byte(b)}
		default:
			alone, err := t.Decode([]int32{id}, false)
			behind, err2 := t.Decode([]int32{anchor, id}, false)
			before, err3 := t.Decode([]int32{anchor}, false)
			rest, ok := strings.CutPrefix(behind, before)
			if err == nil && err2 == nil && err3 == nil && ok {
				bytes[id], begins[id] = []byte(rest), rest == alone
			}
		}
	}
	return bytes, begins
}

// isByte tells the tokens <0x00> to <0xFF>.
func isByte(piece string) bool {
	if len(piece) != 6 || !strings.HasPrefix(piece, "<0x") || piece[5] != '>' {
		return false
	}
	_, err := strconv.ParseUint(piece[3:5], 16, 8)
	return err == nil
}

// anchor is a token that is a plain letter, or else the first that is no special one.
func (t *Tokenizer) anchor() int32 {
	for _, s := range []string{"a", "e", "A"} {
		if id, ok := t.ID(s); ok {
			return id
		}
	}
	for id := range int32(t.VocabSize()) {
		if t.def.known(id) && !t.IsSpecial(id) {
			return id
		}
	}
	return 0
}
