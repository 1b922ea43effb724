package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// config is what the files around tokenizer.json say.
type config struct {
	special   map[string]string // "bos_token" -> "<s>"
	templates map[string]string // chat templates by name; "default" is the usual one
}

// BOS returns the id of the beginning-of-sequence token, if there is one.
func (t *Tokenizer) BOS() (int32, bool) { return t.role("bos_token") }

// EOS returns the id of the end-of-sequence token of tokenizer_config.json, if there is
// one. The model's files decide which ids end generation; they may be others.
func (t *Tokenizer) EOS() (int32, bool) { return t.role("eos_token") }

// PAD returns the id of the padding token, if there is one.
func (t *Tokenizer) PAD() (int32, bool) { return t.role("pad_token") }

func (t *Tokenizer) role(key string) (int32, bool) {
	piece, ok := t.config.special[key]
	if !ok {
		return 0, false
	}
	return t.ID(piece)
}

// SpecialTokens returns the texts of the tokens that have a key in the model's files, as
// chat templates see them: tokens with a role ("bos_token"), other *_token keys of
// tokenizer_config.json ("image_token"), and the names in an extra_special_tokens object.
func (t *Tokenizer) SpecialTokens() map[string]string {
	all := make(map[string]string, len(t.config.special))
	for key, text := range t.config.special {
		all[key] = text
	}
	return all
}

// ChatTemplate returns the source of the chat template (Jinja). withTools asks for the
// template for conversations with tools, if it is another one.
func (t *Tokenizer) ChatTemplate(withTools bool) (string, bool) {
	if withTools {
		if source, ok := t.config.templates["tool_use"]; ok {
			return source, true
		}
	}
	source, ok := t.config.templates["default"]
	return source, ok
}

// readConfig reads the files around tokenizer.json in dir and adds their tokens to d. All
// of them may be missing.
func readConfig(dir string, d *definition) (config, error) {
	c := config{special: map[string]string{}, templates: map[string]string{}}
	named := newNamedTokens()
	err := readJSON(dir, "tokenizer_config.json", func(fields object) error {
		if err := c.readTemplates(fields.values["chat_template"]); err != nil {
			return at("chat_template", err)
		}
		return named.readConfig(fields)
	})
	if err == nil && !named.complete {
		err = named.readOldFiles(dir, d)
	}
	if err == nil {
		err = c.readTemplateFiles(dir)
	}
	if err != nil {
		return c, err
	}
	c.special = named.texts()
	if err := d.addTokens(named.toAdd(d)); err != nil {
		return c, fmt.Errorf("%s: the tokens around tokenizer.json: %w", dir, err)
	}
	return c, nil
}

// maxConfigFile bounds the small files. tokenizer_config.json may have a few MB.
const maxConfigFile = 64 << 20

// readFile reads dir/name; nil if it does not exist.
func readFile(dir, name string, most int64) ([]byte, error) {
	data, err := smallfile.Read(filepath.Join(dir, name), most)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// readJSON hands the object in dir/name to read, if the file exists.
func readJSON(dir, name string, read func(object) error) error {
	data, err := readFile(dir, name, maxConfigFile)
	if data == nil || err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	fields, err := parseObject(data)
	if err != nil {
		return jsonpos.Error(path, data, jsonError(err))
	}
	if err := read(fields); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
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
		err := readJSON(dir, templateJSON, func(fields object) error {
			return at("chat_template", c.readTemplates(fields.values["chat_template"]))
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
