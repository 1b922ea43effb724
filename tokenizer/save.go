package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/internal/atomicfile"
)

// files are the names of a tokenizer's files in a model folder.
var files = []string{
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"vocab.json", "merges.txt", "tokenizer.model", templateFile, templateJSON,
	filepath.Join(namedTemplatesDir, "tool_use.jinja"),
}

// Files lists the names that Save writes or removes, relative to the folder.
func Files() []string { return slices.Clone(files) }

// Save writes the tokenizer's files into dir as transformers and mlx-lm read them, and
// makes the folder if need be. It copies a tokenizer that was loaded byte for byte from
// its folder, with files that this package does not read (vocab.json, merges.txt,
// tokenizer.model). It writes any other as tokenizer.json and tokenizer_config.json.
// Tokenizer files of dir are replaced, or removed if the tokenizer has no such file: an
// old chat_template.jinja would win over the new template. Each file is complete under its
// name, or not there.
func (t *Tokenizer) Save(dir string) error {
	if err := t.save(dir); err != nil {
		return fmt.Errorf("tokenizer: save to %s: %w", dir, err)
	}
	return nil
}

func (t *Tokenizer) save(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if t.dir == "" {
		contents := map[string][]byte{
			"tokenizer.json":        t.def.appendJSON(nil),
			"tokenizer_config.json": t.appendConfig(nil),
		}
		for _, name := range files {
			if err := replaceFile(dir, name, contents[name]); err != nil {
				return err
			}
		}
		return nil
	}
	if same, err := sameFolder(t.dir, dir); same || err != nil {
		return err
	}
	for _, name := range files {
		data, err := readFile(t.dir, name, maxTokenizerFile)
		if err != nil {
			return err
		}
		if data == nil && name == "tokenizer.json" {
			return fmt.Errorf("%s: %w", filepath.Join(t.dir, name), fs.ErrNotExist)
		}
		if err := replaceFile(dir, name, data); err != nil {
			return err
		}
	}
	return nil
}

func sameFolder(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	y, err := os.Stat(b)
	if err != nil {
		return false, err
	}
	return os.SameFile(x, y), nil
}

// replaceFile puts data under dir/name in one step; nil removes the file.
func replaceFile(dir, name string, data []byte) error {
	path := filepath.Join(dir, name)
	if data == nil {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(path, data)
}

// appendJSON writes the definition as a tokenizer.json.
func (d *definition) appendJSON(b []byte) []byte {
	b = append(b, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": ["...)
	added := slices.Clone(d.added)
	sort.Slice(added, func(i, j int) bool { return added[i].ID < added[j].ID })
	for i, token := range added {
		b = appendItem(b, i, "    ")
		b = appendJSON(b, token)
	}
	b = append(b, "\n  ],"...)
	for _, part := range []struct {
		key string
		raw json.RawMessage
	}{
		{"normalizer", d.normalizer}, {"pre_tokenizer", d.preTokenizer},
		{"post_processor", d.postProcessor}, {"decoder", d.decoder},
	} {
		raw := part.raw
		if raw == nil {
			raw = json.RawMessage("null")
		}
		b = append(fmt.Appendf(b, "\n  %q: ", part.key), raw...)
		b = append(b, ',')
	}
	return append(d.appendModel(append(b, "\n  \"model\": "...)), "\n}\n"...)
}

func (d *definition) appendModel(b []byte) []byte {
	optional := func(s string) string {
		if s == "" {
			return "null"
		}
		return quoteJSON(s)
	}
	b = append(b, "{\n    \"type\": \"BPE\",\n    \"dropout\": null,"...)
	b = fmt.Appendf(b, "\n    \"unk_token\": %s,", optional(d.unk))
	b = fmt.Appendf(b, "\n    \"continuing_subword_prefix\": %s,", optional(d.prefix))
	b = fmt.Appendf(b, "\n    \"end_of_word_suffix\": %s,", optional(d.suffix))
	b = fmt.Appendf(b, "\n    \"fuse_unk\": %t,\n    \"byte_fallback\": %t,\n    \"ignore_merges\": %t,", d.fuseUnk, d.byteFallback, d.ignoreMerges)
	b = append(b, "\n    \"vocab\": {"...)
	n := 0
	for id, piece := range d.pieces {
		if piece != "" && d.ids[piece] == int32(id) {
			b = appendItem(b, n, "      ")
			b = fmt.Appendf(appendJSONString(b, piece), ": %d", id)
			n++
		}
	}
	b = append(b, "\n    },\n    \"merges\": ["...)
	pairs := d.orderedMerges()
	arrays := slices.ContainsFunc(pairs, func(p pair) bool {
		return strings.Contains(d.pieces[p.left]+d.pieces[p.right], " ")
	})
	for i, p := range pairs {
		b = appendItem(b, i, "      ")
		if arrays { // a piece has a space: "a b" would not say where; older readers know that form only
			b = appendJSONString(append(b, '['), d.pieces[p.left])
			b = appendJSONString(append(b, ", "...), d.pieces[p.right])
			b = append(b, ']')
		} else {
			b = appendJSONString(b, d.pieces[p.left]+" "+d.pieces[p.right])
		}
	}
	return append(b, "\n    ]\n  }"...)
}

// orderedMerges lists the merges as tokenizer.json does, first things first.
func (d *definition) orderedMerges() []pair {
	if d.scores != nil {
		return d.scoreMerges()
	}
	type ranked struct {
		rank int32
		pair pair
	}
	all := make([]ranked, 0, d.merges.len())
	for p, m := range d.merges.all() {
		all = append(all, ranked{m.rank, p})
	}
	slices.SortFunc(all, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	pairs := make([]pair, len(all))
	for i, r := range all {
		pairs[i] = r.pair
	}
	return pairs
}

// appendConfig writes tokenizer_config.json.
func (t *Tokenizer) appendConfig(b []byte) []byte {
	fields := map[string]any{
		"clean_up_tokenization_spaces": false,
		// Without this, transformers also makes token_type_ids, which language models refuse.
		"model_input_names": []string{"input_ids", "attention_mask"},
		"tokenizer_class":   "PreTrainedTokenizerFast",
	}
	for key, text := range t.config.special {
		fields[key] = text
	}
	decoder := map[string]addedTokenFlags{}
	for _, token := range t.def.added {
		decoder[fmt.Sprint(token.ID)] = addedTokenFlags{token.Content, token.LStrip, token.Normalized, token.RStrip, token.SingleWord, token.Special}
	}
	fields["added_tokens_decoder"] = decoder
	if template, only := t.config.templates["default"]; only && len(t.config.templates) == 1 {
		fields["chat_template"] = template
	} else if len(t.config.templates) > 0 {
		var named []map[string]string
		for name, template := range t.config.templates {
			named = append(named, map[string]string{"name": name, "template": template})
		}
		slices.SortFunc(named, func(a, b map[string]string) int { return strings.Compare(a["name"], b["name"]) })
		fields["chat_template"] = named
	}
	return append(appendIndented(b, fields), '\n')
}

// addedTokenFlags is an added token as tokenizer_config.json has it.
type addedTokenFlags struct {
	Content    string `json:"content"`
	LStrip     bool   `json:"lstrip"`
	Normalized bool   `json:"normalized"`
	RStrip     bool   `json:"rstrip"`
	SingleWord bool   `json:"single_word"`
	Special    bool   `json:"special"`
}

func appendItem(b []byte, i int, indent string) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return append(append(b, '\n'), indent...)
}

// appendJSON writes a value of this package's own types, which cannot fail.
func appendJSON(b []byte, v any) []byte { return append(b, encodeJSON(v, "")...) }

func appendIndented(b []byte, v any) []byte { return append(b, encodeJSON(v, "  ")...) }

func encodeJSON(v any, indent string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		panic(err) // only for types that JSON cannot express
	}
	return bytes.TrimRight(buf.Bytes(), "\n")
}

// appendJSONString writes s as a JSON string.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
