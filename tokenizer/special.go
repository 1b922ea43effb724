package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// standardTokens are the keys in tokenizer_config.json of the special tokens that have a
// role, in the order in which transformers adds these.
var standardTokens = []string{
	"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
}

// Keys of lists of special tokens. Only in an object do extra tokens have names.
const (
	additionalKey = "additional_special_tokens"
	extraKey      = "extra_special_tokens"
)

// A source is a file that names tokens.
type source bool

const (
	ofConfig source = false // tokenizer_config.json
	ofMap    source = true  // special_tokens_map.json, where objects are special tokens, whether or not they say so
)

// namedToken is a token as a file names it: by its text, as an object, or null.
type namedToken struct {
	addedToken // Content is "" for null
	of         source
	null       bool
	asObject   bool
}

// parseToken reads a token. As in transformers, a text is a special token, and an object
// that does not say is normalized unless it is special.
func parseToken(raw json.RawMessage, of source) (namedToken, error) {
	t := namedToken{of: of}
	switch {
	case string(raw) == "null":
		t.null = true
		return t, nil
	case raw[0] == '"':
		t.Special = true
		return t, jsonError(json.Unmarshal(raw, &t.Content))
	}
	t.asObject = true
	said := struct {
		*addedToken
		Normalized *bool `json:"normalized"`
	}{addedToken: &t.addedToken}
	if err := json.Unmarshal(raw, &said); err != nil {
		return t, jsonError(err)
	}
	t.Special = t.Special || of == ofMap
	t.Normalized = !t.Special
	if said.Normalized != nil {
		t.Normalized = *said.Normalized
	}
	return t, nil
}

// tokenList are tokens by key, in the order in which the keys came first.
type tokenList struct {
	keys  []string
	byKey map[string]namedToken
}

func (l *tokenList) set(key string, token namedToken) {
	if _, known := l.byKey[key]; !known {
		l.keys = append(l.keys, key)
	}
	if l.byKey == nil {
		l.byKey = map[string]namedToken{}
	}
	l.byKey[key] = token
}

func (l *tokenList) read(key string, raw json.RawMessage, of source) error {
	token, err := parseToken(raw, of)
	if err == nil {
		l.set(key, token)
	}
	return err
}

// namedTokens collects the tokens that the files around tokenizer.json name.
// Which file wins, and which new token gets which id, is as in transformers 5.
type namedTokens struct {
	roles  tokenList // standardTokens
	others tokenList // other *_token keys
	// firm are other keys that win over those of others: *_token texts of
	// tokenizer_config.json and the names in an extra_special_tokens object.
	firm       tokenList
	extra      []namedToken // extra_special_tokens as a list
	additional []namedToken // additional_special_tokens, which count where there are no extra ones
	hasExtra   bool
	complete   bool                 // tokenizer_config.json lists the added tokens; older files do not count
	added      map[int32]addedToken // by the id that the files give
	byText     map[string]addedToken
}

func newNamedTokens() *namedTokens {
	n := &namedTokens{added: map[int32]addedToken{}, byText: map[string]addedToken{}}
	for _, key := range standardTokens {
		n.roles.set(key, namedToken{null: true})
	}
	return n
}

// readConfig reads tokenizer_config.json.
func (n *namedTokens) readConfig(fields object) error {
	if err := n.read(fields, ofConfig); err != nil {
		return err
	}
	// additional_special_tokens are the older name of extra ones that are not there.
	if _, older := fields.values[additionalKey]; older && len(n.extra) == 0 && !hasMembers(fields.values[extraKey]) {
		n.extra, n.additional, n.hasExtra = n.additional, nil, true
	}
	return nil
}

// readMap reads special_tokens_map.json.
func (n *namedTokens) readMap(fields object) error { return n.read(fields, ofMap) }

func (n *namedTokens) read(fields object, of source) error {
	for _, key := range fields.keys {
		raw := fields.values[key]
		var err error
		switch _, standard := n.roles.byKey[key]; {
		case standard:
			err = n.roles.read(key, raw, of)
		case strings.HasSuffix(key, "_token"):
			if list := n.listOf(raw, of); list != nil {
				err = list.read(key, raw, of)
			}
		case key == extraKey:
			err = n.readExtra(raw, of)
		case key == additionalKey:
			n.additional, err = parseTokens(raw, of)
		case key == "added_tokens_decoder" && of == ofConfig:
			err = n.readDecoder(raw)
		}
		if err != nil {
			return at(key, err)
		}
	}
	return nil
}

// listOf is the list to which the value of a *_token key without a standard role belongs,
// or nil if the value is no token, as that of add_bos_token.
func (n *namedTokens) listOf(raw json.RawMessage, of source) *tokenList {
	switch {
	case raw[0] == '"' && of == ofConfig:
		return &n.firm
	case raw[0] == '"', raw[0] == '{' && (of == ofMap || isTyped(raw)), raw[0] == 'n' && of == ofMap:
		return &n.others
	}
	return nil
}

// hasMembers tells whether raw is an object that is not empty.
func hasMembers(raw json.RawMessage) bool {
	o, err := parseObject(raw)
	return err == nil && len(o.keys) > 0
}

// isTyped tells whether raw is a token that transformers wrote as an object.
func isTyped(raw json.RawMessage) bool {
	var object struct {
		Type string `json:"__type"`
	}
	return raw[0] == '{' && json.Unmarshal(raw, &object) == nil && object.Type == "AddedToken"
}

// readExtra reads extra_special_tokens: a list, or an object with names of tokens for chat
// templates. An object or null replaces a list that was read before.
func (n *namedTokens) readExtra(raw json.RawMessage, of source) error {
	n.hasExtra = raw[0] != '{'
	if n.hasExtra {
		tokens, err := parseTokens(raw, of)
		if tokens == nil {
			n.extra = nil
		}
		n.extra = append(n.extra, tokens...)
		return err
	}
	n.extra = nil
	names, err := parseObject(raw)
	if err != nil {
		return err
	}
	for _, key := range names.keys {
		if err := n.firm.read(key, names.values[key], of); err != nil {
			return at(key, err)
		}
	}
	return nil
}

// parseTokens reads a list of tokens, or null.
func parseTokens(raw json.RawMessage, of source) ([]namedToken, error) {
	var list []json.RawMessage
	if present, err := unmarshalPart(raw, &list); !present || err != nil {
		return nil, err
	}
	tokens := make([]namedToken, len(list))
	for i := range list {
		var err error
		if tokens[i], err = parseToken(list[i], of); err != nil {
			return nil, at(fmt.Sprintf("[%d]", i), err)
		}
	}
	return tokens, nil
}

// readDecoder reads added_tokens_decoder: tokens by id.
func (n *namedTokens) readDecoder(raw json.RawMessage) error {
	if string(raw) == "null" {
		return nil
	}
	tokens, err := parseObject(raw)
	if err != nil {
		return jsonError(err)
	}
	n.complete = true
	for _, key := range tokens.keys {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return fmt.Errorf("key %q is no token id", clip(key))
		}
		token, err := parseToken(tokens.values[key], ofConfig)
		if err != nil {
			return at(key, err)
		}
		n.give(int32(id), token.addedToken)
	}
	return nil
}

// give adds a token that a file gives an id. A later token takes an id away, but
// the flags of the earlier one still count where it has a role.
func (n *namedTokens) give(id int32, token addedToken) {
	n.added[id], n.byText[token.Content] = token, token
}

// readOldFiles reads special_tokens_map.json and added_tokens.json, which
// transformers 4 wrote. The former wins over tokenizer_config.json.
func (n *namedTokens) readOldFiles(dir string, d *definition) error {
	if err := readJSON(dir, "special_tokens_map.json", n.readMap); err != nil {
		return err
	}
	if err := readJSON(dir, "added_tokens.json", n.readAdded); err != nil {
		return err
	}
	for _, token := range d.listed {
		n.give(token.ID, token)
	}
	return nil
}

// readAdded reads added_tokens.json: ids by text. Tokens that another file names are
// special, but transformers overlooks objects of tokenizer_config.json.
func (n *namedTokens) readAdded(fields object) error {
	special := map[string]bool{}
	note := func(token namedToken) {
		special[token.Content] = special[token.Content] || !token.asObject || token.of != ofConfig
	}
	for _, key := range standardTokens {
		note(n.roles.byKey[key])
	}
	for _, token := range n.extra {
		note(token)
	}
	for _, text := range fields.keys {
		var id int32
		if err := jsonError(json.Unmarshal(fields.values[text], &id)); err != nil {
			return at(strconv.Quote(clip(text)), err)
		}
		n.give(id, addedToken{Content: text, Normalized: !special[text], Special: special[text]})
	}
	return nil
}

// all are the tokens that have a key, in transformers' order.
func (n *namedTokens) all() tokenList {
	var all tokenList
	for _, key := range n.roles.keys {
		token := n.roles.byKey[key]
		if given, ok := n.byText[token.Content]; ok && !token.null {
			token.addedToken, token.asObject = given, true
		}
		all.set(key, token)
	}
	for _, list := range []tokenList{n.others, n.firm} {
		for _, key := range list.keys {
			if token := list.byKey[key]; !token.null {
				all.set(key, token)
			}
		}
	}
	return all
}

// texts are the texts of tokens that have a key.
func (n *namedTokens) texts() map[string]string {
	texts := map[string]string{}
	for key, token := range n.all().byKey {
		if !token.null {
			texts[key] = token.Content
		}
	}
	return texts
}

// toAdd lists the tokens to be added to d: first tokens to which the files give an id, in
// the order of ids, then tokens that have only a key or are in a list. A token that has a
// key is special.
func (n *namedTokens) toAdd(d *definition) []addedToken {
	var tokens []addedToken
	known := map[string]bool{}
	for _, token := range d.added {
		known[token.Content] = true
	}
	for _, id := range slices.Sorted(maps.Keys(n.added)) {
		tokens = append(tokens, n.added[id])
		known[n.added[id].Content] = true
	}
	all := n.all()
	var unknown []namedToken
	seen := map[namedToken]bool{}
	offer := func(token namedToken) {
		token.of = ofConfig // the same token may stand in both files
		if !token.null && !known[token.Content] && !seen[token] {
			seen[token] = true
			unknown = append(unknown, token)
		}
	}
	hasKey := map[string]bool{}
	for _, key := range all.keys {
		offer(all.byKey[key])
		hasKey[all.byKey[key].Content] = true
	}
	extra := n.extra
	if !n.hasExtra {
		extra = n.additional
	}
	for _, token := range extra {
		offer(token)
	}
	for _, token := range unknown {
		tokens = append(tokens, token.addedToken)
	}
	for i := range tokens {
		tokens[i].Special = tokens[i].Special || hasKey[tokens[i].Content]
	}
	return tokens
}

// object is a JSON object whose keys have kept their order.
type object struct {
	keys   []string
	values map[string]json.RawMessage
}

// parseObject reads an object. As in Python, the last value of a key counts.
func parseObject(data []byte) (object, error) {
	var o object
	if err := json.Unmarshal(data, &o.values); err != nil {
		return o, err
	}
	if o.values == nil {
		return o, errors.New("found null, want an object")
	}
	r, seen := &jsonReader{data: data}, map[string]bool{}
	err := r.object(func(key []byte) error {
		if _, known := o.values[string(key)]; known && !seen[string(key)] {
			seen[string(key)] = true
			o.keys = append(o.keys, string(key))
		}
		_, err := r.skip()
		return err
	})
	return o, err
}
