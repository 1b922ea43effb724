package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// loadTokenizer reads the tokenizer of a model folder or GGUF file.
func loadTokenizer(path string) (*tokenizer.Tokenizer, error) {
	if path == "" {
		return nil, usage("--model is missing\nGive the folder of a model, or a .gguf file.")
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, noModel("--model", path, err)
	}
	if !info.IsDir() {
		return ggufTokenizer(path)
	}
	tok, err := tokenizer.Load(path)
	if err != nil {
		return nil, inputError(err)
	}
	return tok, nil
}

// noModel explains that there is nothing at the path of a --model or another flag.
func noModel(flag, path string, err error) error {
	if !errors.Is(err, os.ErrNotExist) {
		return usage("%s: %w", flag, err)
	}
	return usage("%s %s: there is no such folder or file\nGive a folder with config.json, tokenizer.json and .safetensors files, a .gguf file, or a repository ORG/NAME.", flag, path)
}

// looksLikeRepo tells an ORG/NAME on the hub from a path.
func looksLikeRepo(path string) bool {
	return strings.Count(path, "/") == 1 && !strings.HasPrefix(path, ".") && !strings.HasPrefix(path, "/") &&
		!strings.HasSuffix(path, "/") && filepath.Ext(path) != ".gguf" && filepath.Ext(path) != ".safetensors"
}

// inputError marks an error about a file of the user's as a mistake of theirs: exit code 2.
func inputError(err error) error { return fault.Mark(err) }

// jsonError puts file and line in front of an error from encoding/json.
func jsonError(path string, text []byte, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &typ):
		offset = typ.Offset
	}
	if offset < 0 || offset > int64(len(text)) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%s:%d: %w", path, 1+bytes.Count(text[:offset], []byte("\n")), err)
}

// ggufTokenizer makes a tokenizer from the metadata of a GGUF file.
func ggufTokenizer(path string) (*tokenizer.Tokenizer, error) {
	file, err := weights.OpenGGUF(path)
	if err != nil {
		return nil, inputError(err)
	}
	defer file.Close()
	tok, err := tokenizer.FromGGUF(file.Metadata())
	if err != nil {
		return nil, usage("%s: %w", path, err)
	}
	return tok, nil
}
