package model

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"

	"github.com/lentil-lm/lentil/weights"
)

// EndTokens are the tokens that end an answer: all that generation_config.json in
// the model's folder names, config.json, and the tokenizer. config is the text of
// config.json, or what a GGUF file says in its place; folder may be a file, and tok nil.
func EndTokens(config []byte, folder string, tok interface{ EOS() (int32, bool) }) []int32 {
	// mlx-lm ignores a generation config that is missing or not valid JSON, and so does this.
	generation, _ := weights.ReadFile(filepath.Join(folder, "generation_config.json"))
	var ends []int32
	for _, text := range [][]byte{generation, config} {
		var c struct {
			EOS json.RawMessage `json:"eos_token_id"`
		}
		if json.Unmarshal(text, &c) == nil {
			ends = append(ends, tokenIDs(c.EOS)...)
		}
	}
	if tok != nil {
		if eos, ok := tok.EOS(); ok {
			ends = append(ends, eos)
		}
	}
	var once []int32
	for _, id := range ends {
		if id >= 0 && !slices.Contains(once, id) {
			once = append(once, id)
		}
	}
	return once
}

// tokenIDs reads an eos_token_id field: a number, a list of numbers, or null.
func tokenIDs(raw json.RawMessage) []int32 {
	var one int32
	if json.Unmarshal(raw, &one) == nil && !bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return []int32{one}
	}
	var many []int32
	if json.Unmarshal(raw, &many) == nil {
		return many
	}
	return nil
}
