package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// FromGGUF makes the tokenizer that the metadata of a GGUF file describes, in
// keys that begin with "tokenizer." (see
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Two kinds are
// read: "gpt2", byte-level BPE with merges, and "llama", SentencePiece with
// scores. Values have their natural Go types: string, bool, integers, floats,
// and slices of these.
func FromGGUF(metadata map[string]any) (*Tokenizer, error) {
	t, err := fromGGUF(ggufKeys(metadata))
	if err != nil {
		return nil, fmt.Errorf("tokenizer: GGUF metadata: %w", err)
	}
	return t, nil
}

func fromGGUF(m ggufKeys) (*Tokenizer, error) {
	model, err := value[string](m, "tokenizer.ggml.model")
	if err != nil {
		return nil, err
	}
	d := &definition{ids: map[string]int32{}}
	if err := d.readGGUFTokens(m); err != nil {
		return nil, err
	}
	c, err := readGGUFConfig(m, d)
	if err != nil {
		return nil, err
	}
	switch model {
	case "gpt2":
		err = d.readGGUFByteLevel(m, &c)
	case "llama":
		err = d.readGGUFSentencePiece(m, &c)
	case "":
		err = fmt.Errorf("tokenizer.ggml.model is missing; the file holds no tokenizer")
	default:
		err = fmt.Errorf(`tokenizer.ggml.model: %q is not supported; supported are "gpt2", "llama"`, clip(model))
	}
	if err != nil {
		return nil, err
	}
	return d.build(c)
}

// ggufKeys is the metadata of a GGUF file.
type ggufKeys map[string]any

// value returns the value of a key, the zero value if there is none.
func value[T any](m ggufKeys, key string) (zero T, err error) {
	raw, ok := m[key]
	if !ok {
		return zero, nil
	}
	v, ok := raw.(T)
	if !ok {
		return zero, fmt.Errorf("%s is a %T, want a %T", key, raw, zero)
	}
	return v, nil
}

// flag returns the value of a boolean key, or other if there is none.
func (m ggufKeys) flag(key string, other bool) (bool, error) {
	if _, ok := m[key]; !ok {
		return other, nil
	}
	return value[bool](m, key)
}

// integer reads any integer type that fits.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int8:
		return int64(v), true
	case uint8:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case int:
		return int64(v), true
	}
	return 0, false
}

// Token types of GGUF.
const (
	ggufUnknown     = 2
	ggufControl     = 3
	ggufUserDefined = 4
)

// readGGUFTokens reads the vocabulary. Control tokens become special added
// tokens, user-defined ones plain added tokens.
func (d *definition) readGGUFTokens(m ggufKeys) error {
	const key = "tokenizer.ggml.tokens"
	tokens, err := value[[]string](m, key)
	if err != nil {
		return err
	}
	if len(tokens) == 0 || len(tokens) > maxID {
		return fmt.Errorf("%s: found %d tokens, want 1 to %d", key, len(tokens), maxID)
	}
	types, err := m.tokenTypes(len(tokens))
	if err != nil {
		return err
	}
	for i, piece := range tokens {
		if piece == "" {
			piece = fmt.Sprintf("[EMPTY_%d]", i)
		}
		if !utf8.ValidString(piece) {
			return fmt.Errorf("%s[%d]: %q is not valid UTF-8", key, i, clip(piece))
		}
		first, twice := d.ids[piece]
		d.addPiece(piece, int32(i))
		if twice { // text keeps its first id; the other one can still be decoded
			d.ids[piece] = first
			continue
		}
		if types == nil {
			continue
		}
		if kind := types[i]; kind == ggufControl || kind == ggufUserDefined || kind == ggufUnknown {
			d.added = append(d.added, addedToken{ID: int32(i), Content: piece, Special: kind != ggufUserDefined})
		}
	}
	return nil
}

// tokenTypes reads the types of n tokens; nil if the file does not give them.
func (m ggufKeys) tokenTypes(n int) (types []int32, err error) {
	const key = "tokenizer.ggml.token_type"
	switch v := m[key].(type) {
	case nil:
		return nil, nil
	case []int32:
		types = v
	case []uint32: // as mlx-lm writes them
		for _, x := range v {
			types = append(types, int32(x))
		}
	default:
		return nil, fmt.Errorf("%s is a %T, want a []int32", key, v)
	}
	if types != nil && len(types) != n {
		return nil, fmt.Errorf("%s has %d entries, but there are %d tokens", key, len(types), n)
	}
	return types, nil
}

// ggufRoleNames gives the name in GGUF of tokens with a role.
var ggufRoleNames = map[string]string{
	"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding",
	"sep_token": "seperator", // sic
	"cls_token": "cls", "mask_token": "mask",
}

// readGGUFConfig reads the roles of tokens and the chat templates.
func readGGUFConfig(m ggufKeys, d *definition) (config, error) {
	c := config{special: map[string]string{}, templates: map[string]string{}}
	for role, name := range ggufRoleNames {
		key := "tokenizer.ggml." + name + "_token_id"
		raw, ok := m[key]
		if !ok {
			continue
		}
		id, ok := integer(raw)
		if !ok {
			return c, fmt.Errorf("%s is a %T, want an integer", key, raw)
		}
		if uint32(id) == math.MaxUint32 { // llama.cpp's "none"
			continue
		}
		if id < 0 || id >= int64(len(d.pieces)) {
			return c, fmt.Errorf("%s is %d, but there are %d tokens", key, id, len(d.pieces))
		}
		c.special[role] = d.pieces[id]
		if err := d.addSpecial(d.pieces[id]); err != nil {
			return c, at(key, err)
		}
	}
	slices.SortFunc(d.added, func(a, b addedToken) int { return cmp.Compare(a.ID, b.ID) })

	const templateKey = "tokenizer.chat_template"
	for key := range m {
		name, ok := strings.CutPrefix(key, templateKey)
		if !ok || name != "" && name[0] != '.' {
			continue
		}
		source, err := value[string](m, key)
		if err != nil {
			return c, err
		}
		if name = strings.TrimPrefix(name, "."); name == "" {
			name = "default"
		}
		c.templates[name] = source
	}
	return c, nil
}

// addSpecial makes sure that a token of the vocabulary is an added token.
func (d *definition) addSpecial(text string) error {
	for _, have := range d.added {
		if have.Content == text {
			return nil
		}
	}
	return d.addTokens([]addedToken{{Content: text, Special: true}})
}

// splitRule is how llama.cpp splits text for one value of tokenizer.ggml.pre.
type splitRule struct {
	names        string // separated by spaces
	split        json.RawMessage
	normalizer   json.RawMessage
	ignoreMerges bool
	addBOS       bool // unless tokenizer.ggml.add_bos_token says otherwise
}

var normalizeNFC = json.RawMessage(`{"type": "NFC"}`)

// splitRules gives what the tokenizer.json of these models said, for the names that
// llama.cpp's converter gave it.
var splitRules = []splitRule{
	{names: "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2",
		split: splitThenBytes(patternLlama3), ignoreMerges: true, addBOS: true},
	{names: "smaug-bpe dbrx glm4 chatglm-bpe", split: splitThenBytes(patternLlama3)},
	{names: "qwen2", split: splitThenBytes(patternQwen2), normalizer: normalizeNFC},
	{names: "qwen35", split: splitThenBytes(patternQwen35), normalizer: normalizeNFC},
	{names: "deepseek-r1-qwen megrez stablelm2 hunyuan solar-open grok-2", split: splitThenBytes(patternQwen2)},
	{names: "tekken", split: splitThenBytes(patternTekken), ignoreMerges: true, addBOS: true},
	{names: "gpt-4o llama4 kanana2 minimax-m2", split: splitThenBytes(patternO200K)},
	{names: "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
		split: sequence("Sequence", "pretokenizers", `{"type": "Digits", "individual_digits": true}`, byteLevelGPT2)},
	{names: "gpt-2 phi-2 olmo mpt jais exaone4 trillion granite-docling gigachat mellum a.x-4.0",
		split: json.RawMessage(byteLevelGPT2)},
	{names: "default", split: splitThenBytes(`[\p{P}\$\+<=>\^~\|]+`, patternGPT2, `\p{N}+`, `[0-9][0-9][0-9]`)},
}

func findSplitRule(pre string) (splitRule, error) {
	if pre == "" {
		pre = "default"
	}
	var all []string
	for _, rule := range splitRules {
		names := strings.Fields(rule.names)
		if slices.Contains(names, pre) {
			return rule, nil
		}
		all = append(all, names...)
	}
	return splitRule{}, fmt.Errorf("tokenizer.ggml.pre: %q is not supported; supported are %s. "+
		"Use the model's original folder with its tokenizer.json instead", clip(pre), strings.Join(all, ", "))
}

func (d *definition) readGGUFByteLevel(m ggufKeys, c *config) error {
	pre, err := value[string](m, "tokenizer.ggml.pre")
	if err != nil {
		return err
	}
	rule, err := findSplitRule(pre)
	if err != nil {
		return err
	}
	d.preTokenizer, d.normalizer, d.ignoreMerges = rule.split, rule.normalizer, rule.ignoreMerges
	d.decoder = byteLevelDecoder

	const key = "tokenizer.ggml.merges"
	merges, err := value[[]string](m, key)
	if err != nil {
		return err
	}
	if len(merges) == 0 {
		return fmt.Errorf("%s is missing; a byte-level vocabulary cannot be used without", key)
	}
	d.merges = newMergeTable(len(merges))
	for i, text := range merges {
		left, right, found := strings.Cut(text, " ")
		if !found {
			return fmt.Errorf("%s[%d]: found %q, want two tokens with one space between", key, i, clip(text))
		}
		p := pair{}
		if p.left, err = d.mergePart([]byte(left)); err == nil {
			p.right, err = d.mergePart([]byte(right))
		}
		if err == nil {
			err = d.addMerge(p, []byte(left+right), i)
		}
		if err != nil {
			return fmt.Errorf("%s[%d]: %w", key, i, err)
		}
	}
	return d.setGGUFTemplate(m, c, rule.addBOS)
}

func (d *definition) readGGUFSentencePiece(m ggufKeys, c *config) error {
	const key = "tokenizer.ggml.scores"
	scores, err := value[[]float32](m, key)
	if err != nil {
		return err
	}
	if len(scores) != len(d.pieces) {
		return fmt.Errorf("%s has %d entries, but there are %d tokens", key, len(scores), len(d.pieces))
	}
	for i, score := range scores {
		if score != score {
			return fmt.Errorf("%s[%d] is not a number", key, i)
		}
	}
	prefix, err := m.flag("tokenizer.ggml.add_space_prefix", true)
	if err != nil {
		return err
	}
	d.scores = scores
	d.unk, d.byteFallback, d.fuseUnk = c.special["unk_token"], true, true

	const replace = `{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}`
	decoders := []string{
		`{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}`, `{"type": "ByteFallback"}`, `{"type": "Fuse"}`,
	}
	if prefix {
		d.normalizer = sequence("Sequence", "normalizers", `{"type": "Prepend", "prepend": "▁"}`, replace)
		decoders = append(decoders, `{"type": "Strip", "content": " ", "start": 1, "stop": 0}`)
	} else {
		d.normalizer = json.RawMessage(replace)
	}
	d.decoder = sequence("Sequence", "decoders", decoders...)
	d.rankByScore()
	return d.setGGUFTemplate(m, c, true)
}

// setGGUFTemplate sets what encoding adds: BOS in front, EOS behind.
func (d *definition) setGGUFTemplate(m ggufKeys, c *config, addBOS bool) error {
	addBOS, err := m.flag("tokenizer.ggml.add_bos_token", addBOS)
	if err != nil {
		return err
	}
	addEOS, err := m.flag("tokenizer.ggml.add_eos_token", false)
	if err != nil {
		return err
	}
	var bos, eos string
	if addBOS {
		bos = c.special["bos_token"]
	}
	if addEOS {
		eos = c.special["eos_token"]
	}
	d.postProcessor = aroundTemplate(d.ids, bos, eos)
	return nil
}

// rankByScore sets the merges of a SentencePiece vocabulary: two tokens may be joined if
// their texts together are a token, and the result with the best score goes first. Equal
// scores are equal ranks: then the leftmost goes first.
func (d *definition) rankByScore() {
	pairs := d.scoreMerges()
	d.merges = newMergeTable(len(pairs))
	rank, last := int32(-1), float32(0)
	for _, p := range pairs {
		id := d.ids[d.pieces[p.left]+d.pieces[p.right]]
		if score := d.scores[id]; rank < 0 || score != last {
			rank++
			last = score
		}
		d.merges.set(p, merge{rank, id})
	}
}

// scoreMerges lists the merges of a SentencePiece vocabulary in the order of the
// tokenizer.json that transformers' converter writes: by falling score, then by falling
// lengths of the two parts.
func (d *definition) scoreMerges() []pair {
	type candidate struct {
		pair
		score             float32
		lenLeft, lenRight int
	}
	whole := make([]bool, len(d.pieces)) // never part of a merge: special and byte tokens
	for _, token := range d.added {
		whole[token.ID] = whole[token.ID] || token.Special
	}
	for id, piece := range d.pieces {
		if _, ok := parseByteText(piece); ok {
			whole[id] = true
		}
	}
	var all []candidate
	for id, piece := range d.pieces {
		if whole[id] || d.ids[piece] != int32(id) {
			continue
		}
		from := len(all)
		n, length := 0, utf8.RuneCountInString(piece)
		for cut := range piece {
			if n++; cut == 0 {
				continue
			}
			left, ok1 := d.ids[piece[:cut]]
			right, ok2 := d.ids[piece[cut:]]
			if ok1 && ok2 && !whole[left] && !whole[right] {
				all = append(all, candidate{pair{left, right}, d.scores[id], n - 1, length - n + 1})
			}
		}
		slices.SortFunc(all[from:], func(a, b candidate) int {
			return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right))
		})
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.lenLeft, a.lenLeft), cmp.Compare(b.lenRight, a.lenRight))
	})
	pairs := make([]pair, len(all))
	for i, c := range all {
		pairs[i] = c.pair
	}
	return pairs
}
