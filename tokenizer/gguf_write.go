package tokenizer

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Token types of GGUF beside those that reading looks at.
const (
	ggufNormal = 1
	ggufUnused = 5
	ggufByte   = 6
)

// GGUF returns the tokenizer as metadata of a GGUF file: the inverse of
// FromGGUF, in the keys and types that llama.cpp reads. The vocabulary is
// filled up with unused tokens to rows entries, the rows of the model's
// embedding, because llama.cpp wants as many.
//
// tokenizer.ggml.pre decides what llama.cpp does with text. So GGUF tries the known values:
// it is an error if none of them encodes as t does.
func (t *Tokenizer) GGUF(rows int) (map[string]any, error) {
	m, err := t.gguf(rows)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: for GGUF: %w", err)
	}
	return m, nil
}

func (t *Tokenizer) gguf(rows int) (map[string]any, error) {
	d := &t.def
	if rows < len(d.pieces) {
		return nil, fmt.Errorf("%d tokens, but the embedding has only %d rows", len(d.pieces), rows)
	}
	if d.affixes() {
		return nil, fmt.Errorf("continuing_subword_prefix and end_of_word_suffix have no counterpart")
	}
	tokens, types := t.ggufTokens(rows)
	m := map[string]any{
		"tokenizer.ggml.tokens":     tokens,
		"tokenizer.ggml.token_type": types,
	}
	if err := t.ggufRoles(m); err != nil {
		return nil, err
	}
	if t.split.byteLevel {
		m["tokenizer.ggml.model"] = "gpt2"
		merges := d.orderedMerges()
		list := make([]string, len(merges))
		for i, p := range merges {
			list[i] = d.pieces[p.left] + " " + d.pieces[p.right]
		}
		m["tokenizer.ggml.merges"] = list
		return m, t.choosePre(m)
	}
	m["tokenizer.ggml.model"] = "llama"
	m["tokenizer.ggml.pre"] = "default"
	m["tokenizer.ggml.scores"] = d.ggufScores(rows)
	return m, t.choosePrefix(m)
}

// ggufTokens returns the vocabulary with the type of each token.
func (t *Tokenizer) ggufTokens(rows int) (tokens []string, types []int32) {
	tokens, types = make([]string, rows), make([]int32, rows)
	copy(tokens, t.def.pieces)
	for id, piece := range tokens {
		types[id] = ggufNormal
		if piece == "" {
			tokens[id], types[id] = fmt.Sprintf("[PAD%d]", id), ggufUnused
		} else if _, ok := parseByteText(piece); ok && t.def.byteFallback {
			types[id] = ggufByte
		}
	}
	for _, token := range t.def.added {
		switch {
		case token.Content == t.def.unk:
			types[token.ID] = ggufUnknown
		case token.Special:
			types[token.ID] = ggufControl
		default:
			types[token.ID] = ggufUserDefined
		}
	}
	return tokens, types
}

// ggufRoles adds the ids of tokens with a role, what encoding puts around a
// text, and the chat templates.
func (t *Tokenizer) ggufRoles(m map[string]any) error {
	for role, name := range ggufRoleNames {
		if id, ok := t.role(role); ok {
			m["tokenizer.ggml."+name+"_token_id"] = uint32(id)
		}
	}
	bare, err := t.Encode("a", false)
	if err != nil {
		return err
	}
	around, err := t.Encode("a", true)
	if err != nil {
		return err
	}
	bos, hasBOS := t.BOS()
	eos, hasEOS := t.EOS()
	more := len(around) > len(bare)
	m["tokenizer.ggml.add_bos_token"] = more && hasBOS && around[0] == bos
	m["tokenizer.ggml.add_eos_token"] = more && hasEOS && around[len(around)-1] == eos
	var named []string
	for _, name := range slices.Sorted(maps.Keys(t.config.templates)) {
		if name == "default" {
			m["tokenizer.chat_template"] = t.config.templates[name]
			continue
		}
		m["tokenizer.chat_template."+name] = t.config.templates[name]
		named = append(named, name)
	}
	if named != nil {
		m["tokenizer.chat_templates"] = named
	}
	return nil
}

// ggufScores returns a score for each token. In a vocabulary that came with merges it is
// the negative rank of the token's first merge: the merge that goes first has the highest
// score.
func (d *definition) ggufScores(rows int) []float32 {
	scores := make([]float32, rows)
	if d.scores != nil {
		copy(scores, d.scores)
		return scores
	}
	last := -float32(d.merges.len())
	first := map[int32]int32{}
	for _, m := range d.merges.all() {
		if rank, ok := first[m.id]; !ok || m.rank < rank {
			first[m.id] = m.rank
		}
	}
	for id := range scores {
		scores[id] = last
		if rank, ok := first[int32(id)]; ok {
			scores[id] = -float32(rank)
		}
	}
	return scores
}

// choosePre sets tokenizer.ggml.pre to the first rule that encodes as t does.
// Rules that say the same as t's own parts are tried first.
func (t *Tokenizer) choosePre(m map[string]any) error {
	rules := slices.Clone(splitRules)
	slices.SortStableFunc(rules, func(a, b splitRule) int { return t.unlike(a) - t.unlike(b) })
	for _, rule := range rules {
		m["tokenizer.ggml.pre"] = strings.Fields(rule.names)[0]
		ok, err := t.encodesAs(m)
		if ok || err != nil {
			return err
		}
	}
	return fmt.Errorf("none of llama.cpp's ways to split text into words gives this tokenizer's tokens; " +
		"share the model as a folder of safetensors instead")
}

// unlike counts the settings in which a rule differs from t.
func (t *Tokenizer) unlike(rule splitRule) (n int) {
	if !slices.Equal(splitSteps(rule.split), splitSteps(t.def.preTokenizer)) {
		n++
	}
	if rule.ignoreMerges != t.def.ignoreMerges {
		n++
	}
	if (rule.normalizer != nil) != (t.norm != nil) {
		n++
	}
	return n
}

// splitSteps lists the patterns and kinds of step of a pre-tokenizer.
func splitSteps(raw json.RawMessage) []string {
	var part struct {
		Type    string            `json:"type"`
		Steps   []json.RawMessage `json:"pretokenizers"`
		Pattern struct {
			Regex string
		} `json:"pattern"`
		UseRegex *bool `json:"use_regex"`
	}
	if json.Unmarshal(raw, &part) != nil {
		return nil
	}
	if part.Type != "Sequence" {
		return []string{fmt.Sprint(part.Type, part.Pattern.Regex, part.UseRegex == nil || *part.UseRegex)}
	}
	var all []string
	for _, step := range part.Steps {
		all = append(all, splitSteps(step)...)
	}
	return all
}

// choosePrefix finds out whether a space goes in front of a text. It tries what t itself
// does first: with a small vocabulary the probes may not tell the two apart.
func (t *Tokenizer) choosePrefix(m map[string]any) error {
	own := false
	if t.norm != nil {
		x, err := t.norm("x")
		if err != nil {
			return err
		}
		own = strings.HasPrefix(x, "▁")
	}
	for _, prefix := range []bool{own, !own} {
		m["tokenizer.ggml.add_space_prefix"] = prefix
		ok, err := t.encodesAs(m)
		if ok || err != nil {
			return err
		}
	}
	return fmt.Errorf("llama.cpp's SentencePiece rules do not give this tokenizer's tokens; " +
		"share the model as a folder of safetensors instead")
}

// encodesAs tells whether the tokenizer of the metadata encodes as t does.
func (t *Tokenizer) encodesAs(m map[string]any) (bool, error) {
	other, err := fromGGUF(m)
	if err != nil {
		return false, err
	}
	for _, text := range probes {
		want, err := t.Encode(text, false)
		if err != nil {
			return false, err
		}
		got, err := other.Encode(text, false)
		if err != nil || !slices.Equal(got, want) {
			return false, err
		}
	}
	return true, nil
}

// probes are texts in which the ways of splitting differ: digits in runs,
// contractions in both cases, punctuation beside letters and spaces, line
// breaks, marks and scripts of several kinds. All are in Unicode's normal form
// C, which llama.cpp does not establish.
var probes = []string{
	"Hello world, it's 3 o'clock; I'LL take 12 or 1234567 of them (at $5.99 each)!",
	"  two spaces,\n\nblank lines \t and\ttabs\r\n   end  ",
	"func main() { x := a[i] != 0xFF && b->c; } // CamelCaseWords snake_case_words",
	"Äpfel und Öl: Größe 10²; naïve café, l'été, d'accord",
	"Привет, мир! 你好，世界。 こんにちは ３４５ नमस्ते สวัสดี 🙂🙃 👩‍👩‍👧",
	"..., !!! ??? --- === <<>> ^^^ ~~~ ||| +++ $$$ 1+1=2 a/b\\c 'quoted' \"double\"",
	"WE'RE we've HE'D don't DON'T 100% 007 v1.2.3 2024-01-31 ½ ⅷ ٣٤٥",
}
