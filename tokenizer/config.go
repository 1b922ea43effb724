package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
	"strconv"

	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// config is what the files around tokenizer.json say.
type config struct {
	special        map[string]string // "bos_token" -> "<s>"
	addBOS, addEOS bool
	templates      map[string]string // chat templates by name; "default" is the usual one
}

// standardTokens are the special tokens that have a role, by their key in
// tokenizer_config.json.
var standardTokens = []string{
	"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
}

// BOS returns the id of the beginning-of-sequence token, if there is one.
func (t *Tokenizer) BOS() (int32, bool) { return t.role("bos_token") }

// EOS returns the id of the end-of-sequence token that tokenizer_config.json
// names, if there is one. The ids that end generation are the model's affair
// and may be others.
func (t *Tokenizer) EOS() (int32, bool) { return t.role("eos_token") }

// PAD returns the id of the padding token, if there is one.
func (t *Tokenizer) PAD() (int32, bool) { return t.role("pad_token") }

// UNK returns the id of the unknown token, if there is one.
func (t *Tokenizer) UNK() (int32, bool) { return t.role("unk_token") }

func (t *Tokenizer) role(key string) (int32, bool) {
	piece, ok := t.config.special[key]
	if !ok {
		return 0, false
	}
	return t.ID(piece)
}

// SpecialTokens returns the texts of the tokens with a role, keyed as in
// tokenizer_config.json ("bos_token"), as chat templates see them.
func (t *Tokenizer) SpecialTokens() map[string]string {
	all := make(map[string]string, len(t.config.special))
	for key, text := range t.config.special {
		all[key] = text
	}
	return all
}

// ChatTemplate returns the source of the chat template (Jinja). withTools asks
// for the template for conversations with tools, where there is one apart.
func (t *Tokenizer) ChatTemplate(withTools bool) (string, bool) {
	if withTools {
		if source, ok := t.config.templates["tool_use"]; ok {
			return source, true
		}
	}
	source, ok := t.config.templates["default"]
	return source, ok
}

// tokenText is a token written as its text, or as an object with "content";
// or null.
type tokenText struct {
	text   string
	object *addedToken
}

func (t *tokenText) UnmarshalJSON(data []byte) error {
	switch {
	case string(data) == "null":
		return nil
	case data[0] == '"':
		return json.Unmarshal(data, &t.text)
	}
	t.object = new(addedToken)
	err := json.Unmarshal(data, t.object)
	t.text = t.object.Content
	return err
}

// readConfig reads the files around tokenizer.json in dir and adds the tokens
// they name to d. All of them may be missing.
func readConfig(dir string, d *definition) (config, error) {
	c := config{special: map[string]string{}, templates: map[string]string{}}
	// Tokens that are given an id come before those that get a free one.
	err := readJSON(dir, "added_tokens.json", func(fields map[string]json.RawMessage) error {
		return readAddedTokens(fields, d)
	})
	if err == nil {
		err = readJSON(dir, "tokenizer_config.json", func(fields map[string]json.RawMessage) error {
			return c.readTokenizerConfig(fields, d)
		})
	}
	if err == nil {
		err = readJSON(dir, "special_tokens_map.json", func(fields map[string]json.RawMessage) error {
			return c.readTokens(fields, d)
		})
	}
	if err == nil {
		err = c.readTemplateFiles(dir)
	}
	return c, err
}

// maxConfigFile bounds the small files; tokenizer_config.json is known to
// reach a few MB.
const maxConfigFile = 64 << 20

// readFile reads dir/name; nil if it does not exist.
func readFile(dir, name string, most int64) ([]byte, error) {
	data, err := smallfile.Read(filepath.Join(dir, name), most)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// readJSON hands the members of the object in dir/name to read, if the file exists.
func readJSON(dir, name string, read func(map[string]json.RawMessage) error) error {
	data, err := readFile(dir, name, maxConfigFile)
	if data == nil || err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return jsonpos.Error(path, data, jsonError(err))
	}
	if err := read(fields); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (c *config) readTokenizerConfig(fields map[string]json.RawMessage, d *definition) error {
	for key, to := range map[string]*bool{"add_bos_token": &c.addBOS, "add_eos_token": &c.addEOS} {
		if _, err := unmarshalPart(fields[key], to); err != nil {
			return at(key, err)
		}
	}
	if err := c.readTemplates(fields["chat_template"]); err != nil {
		return at("chat_template", err)
	}
	var decoder map[string]addedToken
	if _, err := unmarshalPart(fields["added_tokens_decoder"], &decoder); err != nil {
		return at("added_tokens_decoder", err)
	}
	tokens := make([]addedToken, 0, len(decoder))
	for key, token := range decoder {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return at("added_tokens_decoder", fmt.Errorf("key %q is no token id", clip(key)))
		}
		token.ID = int32(id)
		tokens = append(tokens, token)
	}
	sort.Slice(tokens, func(i, j int) bool { return tokens[i].ID < tokens[j].ID })
	if err := d.addTokens(tokens); err != nil {
		return at("added_tokens_decoder", err)
	}
	return c.readTokens(fields, d)
}

// readTokens reads the tokens with a role that are not known yet. One that is
// no added token becomes a special one, as in transformers.
func (c *config) readTokens(fields map[string]json.RawMessage, d *definition) error {
	for _, key := range standardTokens {
		if _, known := c.special[key]; known {
			continue
		}
		var token tokenText
		if _, err := unmarshalPart(fields[key], &token); err != nil {
			return at(key, err)
		}
		if token.text == "" {
			continue
		}
		c.special[key] = token.text
		if err := d.addSpecial(token); err != nil {
			return at(key, err)
		}
	}
	return nil
}

// addSpecial makes sure that a token is an added token.
func (d *definition) addSpecial(token tokenText) error {
	for _, have := range d.added {
		if have.Content == token.text {
			return nil
		}
	}
	added := addedToken{Content: token.text}
	if token.object != nil {
		added = *token.object
	}
	added.ID, added.Special = int32(len(d.pieces)), true
	return d.addTokens([]addedToken{added})
}

// readAddedTokens reads added_tokens.json, an older place for tokens that are
// not in the vocabulary.
func readAddedTokens(fields map[string]json.RawMessage, d *definition) error {
	var tokens []addedToken
	for text, raw := range fields {
		if _, known := d.ids[text]; known {
			continue
		}
		var id int32
		if _, err := unmarshalPart(raw, &id); err != nil {
			return at(strconv.Quote(clip(text)), err)
		}
		tokens = append(tokens, addedToken{ID: id, Content: text})
	}
	sort.Slice(tokens, func(i, j int) bool { return tokens[i].ID < tokens[j].ID })
	return d.addTokens(tokens)
}

// readTemplates reads chat_template: a string, or a list of named ones.
func (c *config) readTemplates(raw json.RawMessage) error {
	if len(raw) > 0 && raw[0] == '[' {
		var named []struct {
			Name     string `json:"name"`
			Template string `json:"template"`
		}
		if _, err := unmarshalPart(raw, &named); err != nil {
			return err
		}
		for _, n := range named {
			c.templates[n.Name] = n.Template
		}
		return nil
	}
	var source string
	present, err := unmarshalPart(raw, &source)
	if present && err == nil {
		c.templates["default"] = source
	}
	return err
}

// Files that hold chat templates, which win over tokenizer_config.json.
const (
	templateFile      = "chat_template.jinja"
	templateJSON      = "chat_template.json" // written by processors of older models
	namedTemplatesDir = "additional_chat_templates"
)

func (c *config) readTemplateFiles(dir string) error {
	if _, ok := c.templates["default"]; !ok {
		err := readJSON(dir, templateJSON, func(fields map[string]json.RawMessage) error {
			return at("chat_template", c.readTemplates(fields["chat_template"]))
		})
		if err != nil {
			return err
		}
	}
	source, err := readFile(dir, templateFile, maxConfigFile)
	if err != nil {
		return err
	}
	if source != nil {
		// Template files replace those in tokenizer_config.json altogether.
		c.templates = map[string]string{"default": string(source)}
	}
	source, err = readFile(dir, filepath.Join(namedTemplatesDir, "tool_use.jinja"), maxConfigFile)
	if source != nil {
		c.templates["tool_use"] = string(source)
	}
	return err
}
