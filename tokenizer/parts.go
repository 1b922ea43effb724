package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Parts of a tokenizer.json for tokenizers that are made, not read.

var byteLevelDecoder = json.RawMessage(
	`{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}`)

// byteLevelPart is the pre-tokenizer that follows a Split.
const byteLevelPart = `{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}`

// byteLevelGPT2 is the pre-tokenizer of GPT-2, which brings its own pattern.
const byteLevelGPT2 = `{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}`

// splitPart splits at the matches of a regular expression.
func splitPart(pattern string) string {
	return fmt.Sprintf(`{"type": "Split", "pattern": {"Regex": %s}, "behavior": "Isolated", "invert": false}`, quoteJSON(pattern))
}

func sequence(kind, key string, parts ...string) json.RawMessage {
	list := strings.Join(parts, ", ")
	return json.RawMessage(fmt.Sprintf(`{"type": %q, %q: [%s]}`, kind, key, list))
}

// splitThenBytes is the pre-tokenizer of byte-level models with their own patterns.
func splitThenBytes(patterns ...string) json.RawMessage {
	var parts []string
	for _, pattern := range patterns {
		parts = append(parts, splitPart(pattern))
	}
	return sequence("Sequence", "pretokenizers", append(parts, byteLevelPart)...)
}

// aroundTemplate is the post-processor that puts bos in front of the text and eos behind
// it. Either may be empty; there is no post-processor if both are.
func aroundTemplate(ids map[string]int32, bos, eos string) json.RawMessage {
	if bos == "" && eos == "" {
		return nil
	}
	around := func(name string, typeID int) []string {
		var parts []string
		special := func(text string) {
			if text != "" {
				parts = append(parts, fmt.Sprintf(`{"SpecialToken": {"id": %s, "type_id": %d}}`, quoteJSON(text), typeID))
			}
		}
		special(bos)
		parts = append(parts, fmt.Sprintf(`{"Sequence": {"id": %q, "type_id": %d}}`, name, typeID))
		special(eos)
		return parts
	}
	var tokens []string
	for _, text := range []string{bos, eos} {
		if text != "" && (len(tokens) == 0 || text != bos) {
			quoted := quoteJSON(text)
			tokens = append(tokens, fmt.Sprintf(`%s: {"id": %s, "ids": [%d], "tokens": [%s]}`, quoted, quoted, ids[text], quoted))
		}
	}
	first, second := around("A", 0), around("B", 1)
	return json.RawMessage(fmt.Sprintf(`{"type": "TemplateProcessing", "single": [%s], "pair": [%s], "special_tokens": {%s}}`,
		strings.Join(first, ", "), strings.Join(append(first, second...), ", "), strings.Join(tokens, ", ")))
}

// quoteJSON writes s as a JSON string, leaving <, > and & as they are.
func quoteJSON(s string) string { return string(appendJSONString(nil, s)) }
