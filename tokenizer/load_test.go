package tokenizer

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bpeJSON is a tokenizer.json with the parts given, which may be empty.
func bpeJSON(parts string) string {
	return `{"version": "1.0",` + parts + `
 "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}`
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	model := func(model string) map[string]string {
		return map[string]string{"tokenizer.json": `{"model": ` + model + `}`}
	}
	with := func(parts string) map[string]string { return map[string]string{"tokenizer.json": bpeJSON(parts)} }
	beside := func(name, text string) map[string]string {
		return map[string]string{"tokenizer.json": bpeJSON(""), name: text}
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no file":          {map[string]string{}, "has no tokenizer.json"},
		"sentencepiece":    {map[string]string{"tokenizer.model": "x"}, "tokenizer.model but no tokenizer.json"},
		"empty":            {map[string]string{"tokenizer.json": ""}, "line 1, byte 0: found the end of the file, want '{'"},
		"cut off":          {map[string]string{"tokenizer.json": "{\"model\": {\n\"vocab\": {\"a\": 0"}, "line 2"},
		"trailing":         {map[string]string{"tokenizer.json": bpeJSON("") + "x"}, "after the end"},
		"not UTF-8":        {map[string]string{"tokenizer.json": "{\"\xff\": 1}"}, "not valid UTF-8"},
		"no model":         {map[string]string{"tokenizer.json": "{}"}, `"model" is missing`},
		"model type":       {model(`{"type": "Unigram", "vocab": []}`), `model.type: model "Unigram" is not supported; supported are BPE`},
		"no vocab":         {model(`{"type": "BPE"}`), `model: "vocab" is missing`},
		"id":               {model(`{"type": "BPE", "vocab": {"a": -1}}`), `model.vocab."a": `},
		"id fraction":      {model(`{"type": "BPE", "vocab": {"a": 1.5}}`), "model.vocab: "},
		"id size":          {model(`{"type": "BPE", "vocab": {"a": 99999999999999999999}}`), `model.vocab."a"`},
		"merge unknown":    {model(`{"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}`), `model.merges[0]: token "b" is not in the vocabulary`},
		"merge result":     {model(`{"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}`), `model.merges[0]: token "ab" is not in the vocabulary`},
		"merge shape":      {model(`{"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}`), `model.merges[0]: found "a"`},
		"merge array":      {model(`{"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}`), `model.merges[0]: found 1 strings`},
		"setting":          {model(`{"type": "BPE", "vocab": {}, "fuse_unk": 3}`), `model.fuse_unk: found a number, want bool`},
		"normalizer":       {with(`"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Precompiled"}]},`), `normalizer.normalizers[1].type: normalizer "Precompiled" is not supported`},
		"normalizer type":  {with(`"normalizer": "NFC",`), `normalizer: found a string`},
		"pattern":          {with(`"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"},`), `pre_tokenizer.pattern: regular expression "(a"`},
		"no pattern":       {with(`"pre_tokenizer": {"type": "Split", "behavior": "Isolated"},`), `pre_tokenizer.pattern: want`},
		"behavior":         {with(`"pre_tokenizer": {"type": "Split", "pattern": {"String": "a"}, "behavior": "Odd"},`), `pre_tokenizer.behavior: found "Odd"`},
		"decoder":          {with(`"decoder": {"type": "WordPiece"},`), `decoder.type: decoder "WordPiece" is not supported`},
		"strip":            {with(`"decoder": {"type": "Strip", "content": "", "start": 1, "stop": 0},`), `decoder.content: found ""`},
		"post":             {with(`"post_processor": {"type": "BertProcessing"},`), `post_processor.type: post-processor "BertProcessing"`},
		"template id":      {with(`"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}], "special_tokens": {"x": {"ids": [7]}}},`), `post_processor: token id 7 is not in the vocabulary of 3`},
		"template name":    {with(`"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}]},`), `post_processor.single[0]: special token "x"`},
		"added id":         {with(`"added_tokens": [{"id": 1, "content": "<s>"}],`), `added_tokens[0]: "<s>" has id 1, which already stands for "b"`},
		"added size":       {with(`"added_tokens": [{"id": 2000000000, "content": "<s>"}],`), `added_tokens[0].id: 2000000000`},
		"added empty":      {with(`"added_tokens": [{"id": 3, "content": ""}],`), `added_tokens[0].content: empty`},
		"config syntax":    {beside("tokenizer_config.json", "{\n\n!"), "tokenizer_config.json:3:1: "},
		"config type":      {beside("tokenizer_config.json", `{"bos_token": 3}`), "tokenizer_config.json: bos_token: found a number"},
		"config extra":     {beside("tokenizer_config.json", `{"extra_special_tokens": ["<x>", 3]}`), "tokenizer_config.json: extra_special_tokens[1]: found a number"},
		"config names":     {beside("tokenizer_config.json", `{"extra_special_tokens": {"image_token": []}}`), "tokenizer_config.json: extra_special_tokens.image_token: found a array"},
		"config decoder":   {beside("tokenizer_config.json", `{"added_tokens_decoder": {"x": {"content": "y"}}}`), `key "x" is no token id`},
		"config template":  {beside("tokenizer_config.json", `{"chat_template": 3}`), "tokenizer_config.json: chat_template: found a number"},
		"special map":      {beside("special_tokens_map.json", `{"eos_token": 3}`), "special_tokens_map.json: eos_token"},
		"added tokens map": {beside("added_tokens.json", `{"<x>": "y"}`), `added_tokens.json: "<x>"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Load(writeFiles(t, c.files))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error for a folder that does not exist")
	}
}

// TestConfig checks which file decides what.
func TestConfig(t *testing.T) {
	t.Parallel()
	const special = `{"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false, "rstrip": true}, "pad_token": null}`
	for name, c := range map[string]struct {
		files              map[string]string
		template, forTools string
	}{
		"string":      {map[string]string{"tokenizer_config.json": `{"chat_template": "plain"}`}, "plain", "plain"},
		"named":       {map[string]string{"tokenizer_config.json": `{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}`}, "plain", "tools"},
		"jinja wins":  {map[string]string{"tokenizer_config.json": `{"chat_template": "plain"}`, "chat_template.jinja": "file"}, "file", "file"},
		"jinja tools": {map[string]string{"chat_template.jinja": "file", "additional_chat_templates/tool_use.jinja": "tools"}, "file", "tools"},
		"json":        {map[string]string{"chat_template.json": `{"chat_template": "other"}`}, "other", "other"},
		"none":        {map[string]string{"tokenizer_config.json": `{"chat_template": null}`}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"tokenizer.json": bpeJSON(""), "special_tokens_map.json": special}
			for name, text := range c.files {
				files[name] = text
			}
			dir := writeFiles(t, files)
			tok, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			for withTools, want := range map[bool]string{false: c.template, true: c.forTools} {
				if got, ok := tok.ChatTemplate(withTools); got != want || ok != (want != "") {
					t.Errorf("ChatTemplate(%t) = %q, %t, want %q", withTools, got, ok, want)
				}
			}
			// The tokens of special_tokens_map.json are new ones here.
			bos, _ := tok.BOS()
			eos, ok := tok.EOS()
			if !ok || bos != 3 || eos != 4 || !tok.IsSpecial(eos) || tok.Piece(eos) != "</s>" {
				t.Errorf("BOS %d, EOS %d, %t", bos, eos, ok)
			}
			if _, ok := tok.PAD(); ok {
				t.Error("there is a PAD")
			}
			if got, want := encode(t, tok, "ab</s>  a", false), []int32{2, 4, 0}; !slices.Equal(got, want) {
				t.Errorf("Encode = %v, want %v (</s> strips on its right)", got, want)
			}

			out := filepath.Join(t.TempDir(), "out")
			if err := tok.Save(out); err != nil {
				t.Fatal(err)
			}
			for name, text := range files {
				if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != text {
					t.Errorf("saved %s: %q, %v", name, got, err)
				}
			}
			if err := tok.Save(dir); err != nil { // onto itself: nothing is lost
				t.Error(err)
			}
			if _, err := Load(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTokenizerConfigWins: where tokenizer_config.json lists the added tokens, the older files do not count.
func TestTokenizerConfigWins(t *testing.T) {
	t.Parallel()
	tok, err := Load(writeFiles(t, map[string]string{
		"tokenizer.json": bpeJSON(""),
		"tokenizer_config.json": `{"eos_token": "<e>", "bos_token": "<b>", "add_bos_token": true, "add_eos_token": true, "image_token": "<i>",
			"added_tokens_decoder": {"9": {"content": "<e>", "special": true}, "10": {"content": "<think>"}, "11": {"content": "</think>"}}}`,
		"special_tokens_map.json": `{"eos_token": "b", "pad_token": "ab"}`,
		"added_tokens.json":       `{"<more>": 11, "<think>": 12}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"eos_token": "<e>", "bos_token": "<b>", "image_token": "<i>"}
	if got := tok.SpecialTokens(); !maps.Equal(got, want) {
		t.Errorf("SpecialTokens() = %v, want %v", got, want)
	}
	// No post-processor in tokenizer.json: add_bos_token and add_eos_token do not count, as in transformers 5.
	// Ids go on after those of the vocabulary, whatever the files say.
	if got, want := encode(t, tok, "<b>ab<e><think></think><i>", true), []int32{6, 2, 3, 4, 5, 7}; !slices.Equal(got, want) {
		t.Errorf("Encode = %v, want %v", got, want)
	}
	if !tok.HasThinking() {
		t.Error("<think> and </think> are there, but HasThinking() is false")
	}
	if id, ok := tok.ID("</think>"); !ok || tok.IsSpecial(id) {
		t.Errorf("</think> is %d, %t", id, ok)
	}
	if id, ok := tok.ID("<more>"); ok {
		t.Errorf("<more> is %d", id)
	}
}

// TestOlderFilesWin: without that list, special_tokens_map.json wins over tokenizer_config.json.
func TestOlderFilesWin(t *testing.T) {
	t.Parallel()
	tok, err := Load(writeFiles(t, map[string]string{
		"tokenizer.json":          bpeJSON(""),
		"tokenizer_config.json":   `{"eos_token": "<e>", "bos_token": "<b>", "additional_special_tokens": ["<m>"]}`,
		"special_tokens_map.json": `{"eos_token": "b", "bos_token": null, "additional_special_tokens": ["<n>"]}`,
		"added_tokens.json":       `{"</think>": 11, "<think>": 12}`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.SpecialTokens(), map[string]string{"eos_token": "b"}; !maps.Equal(got, want) {
		t.Errorf("SpecialTokens() = %v, want %v", got, want)
	}
	if got, want := encode(t, tok, "</think><think><m>ab", false), []int32{3, 4, 5, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("Encode = %v, want %v", got, want)
	}
	if tok.IsSpecial(3) || !tok.IsSpecial(5) || !tok.IsSpecial(1) {
		t.Errorf("special: </think> %t, <m> %t, b %t", tok.IsSpecial(3), tok.IsSpecial(5), tok.IsSpecial(1))
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(bpeJSON("")), []byte(`{"eos_token": "b"}`))
	f.Add([]byte(bpeJSON(`"normalizer": {"type": "Replace", "pattern": {"Regex": "a*"}, "content": "b"},
 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits"}, {"type": "ByteLevel"}]},
 "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": "a", "start": 1, "stop": 1}]},
 "added_tokens": [{"id": 3, "content": " ", "lstrip": true, "rstrip": true}],`)), []byte(`{"chat_template": []}`))
	f.Add([]byte(`{"model": {"type": "BPE", "vocab": {"\u0061": 0, "<0x0A>": 1, "▁": 2}, "merges": [["a", "a"]], "unk_token": "a", "byte_fallback": true}}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, file, config []byte) {
		tok, err := Load(writeFiles(t, map[string]string{"tokenizer.json": string(file), "tokenizer_config.json": string(config)}))
		if err != nil {
			return
		}
		ids := encode(t, tok, "ab a  1é\n▁</s>\xff", true)
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Fatalf("id %d of %d", id, tok.VocabSize())
			}
		}
		if got, want := streamed(tok, ids), decode(t, tok, ids, false); got != want {
			t.Errorf("streamed %q, decoded %q", got, want)
		}
		if !json.Valid(tok.def.appendJSON(nil)) || !json.Valid(tok.appendConfig(nil)) {
			t.Error("Save would not write valid JSON")
		}
	})
}
