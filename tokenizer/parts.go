package tokenizer

import (
	"encoding/json"
	"fmt"
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
	list := ""
	for i, part := range parts {
		if i > 0 {
			list += ", "
		}
		list += part
	}
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

// bosTemplate is the post-processor that puts a token in front.
func bosTemplate(text string, id int32) json.RawMessage {
	bos := quoteJSON(text)
	part := func(sequence string, typeID int) string {
		return fmt.Sprintf(`{"SpecialToken": {"id": %s, "type_id": %d}}, {"Sequence": {"id": "%s", "type_id": %d}}`,
			bos, typeID, sequence, typeID)
	}
	return json.RawMessage(fmt.Sprintf(`{"type": "TemplateProcessing", "single": [%s], "pair": [%s, %s], `+
		`"special_tokens": {%s: {"id": %s, "ids": [%d], "tokens": [%s]}}}`,
		part("A", 0), part("A", 0), part("B", 1), bos, bos, id, bos))
}

// quoteJSON writes s as a JSON string, leaving <, > and & as they are.
func quoteJSON(s string) string { return string(appendJSONString(nil, s)) }
