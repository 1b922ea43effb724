package tokenizer

import (
	"fmt"
	"os"
	"path/filepath"
)

// Load reads the tokenizer of a model folder: tokenizer.json, and, if they exist,
// tokenizer_config.json, special_tokens_map.json, added_tokens.json and
// chat_template.jinja. Errors name the file and the place in it.
func Load(dir string) (*Tokenizer, error) {
	path := filepath.Join(dir, "tokenizer.json")
	data, err := readFile(dir, "tokenizer.json", maxTokenizerFile)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if data == nil {
		return nil, missingFile(dir)
	}
	d, err := parseTokenizer(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	c, err := readConfig(dir, d)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := d.build(c)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	t.dir = dir
	return t, nil
}

// missingFile explains why dir has no tokenizer that can be read.
func missingFile(dir string) error {
	if info, err := os.Stat(dir); err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	} else if !info.IsDir() {
		return fmt.Errorf("tokenizer: %s is a file, want a model folder", dir)
	}
	for _, name := range []string{"tokenizer.model", "tekken.json", "vocab.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("tokenizer: %s has %s but no tokenizer.json; make one with "+
				"transformers: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)", dir, name)
		}
	}
	return fmt.Errorf("tokenizer: %s has no tokenizer.json; is it a model folder?", dir)
}
