package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// goisms are words of Go and of the system that no user should have to know.
var goisms = regexp.MustCompile(`strconv|invalid syntax|invalid argument|syscall|<nil>|%!|\bstat |\bopen /|\bopen \S+:|\bmkdir |lookup|no such file or directory|not a directory|is a directory|dial tcp|goroutine|cannot unmarshal|json: cannot|EOF\b|interface \{\}|\bfloat64\b|\bint64\b`)

// TestWrongInput: whatever a newcomer gets wrong is told in words, with what is right instead, and exits with 2.
func TestWrongInput(t *testing.T) {
	model := filepath.Join("..", "..", "demo", "model")
	if _, err := os.Stat(model); err != nil {
		t.Fatal(err)
	}
	model, _ = filepath.Abs(model)
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"file.txt": "hello", "empty.gguf": "", "bad.gguf": "GGUFxxxx", "bad.yaml": "a: [1\nb: {", "types.yaml": "model: x\nbatch_size: lots\n", "deep.yaml": "lora_parameters: {rank: many}\n",
		"list.yaml": "- a\n- b\n", "data/train.jsonl": `{"text":"hello world"}` + "\n", "data/valid.jsonl": `{"text":"hello world"}` + "\n", "broken/train.jsonl": "{\"text\": \"a\"\n",
		"noconfig/a.gguf": "x", "badconfig/config.json": "{", "badconfig/tokenizer.json": "{", "badadapter/adapter_config.json": "[]", "emptydir/.keep": "",
	} {
		os.MkdirAll(filepath.Dir(name), 0o755)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(wrongInput), "\n") {
		args := strings.Fields(strings.ReplaceAll(line, "MODEL", model))
		for i, arg := range args {
			args[i] = strings.ReplaceAll(arg, "EMPTY", "")
		}
		code, _, text := lentil(t, "", args...)
		switch {
		case code != ExitUsage:
			t.Errorf("%s: exit %d\n%s", line, code, text)
		case goisms.MatchString(text):
			t.Errorf("%s: %q speaks Go\n%s", line, goisms.FindString(text), text)
		case strings.Count(text, "\n") < 2 && !strings.Contains(text, "expected"):
			t.Errorf("%s: there is no remedy\n%s", line, text)
		}
	}
}

// TestHelpWidth: the help fits into its width, but for commands, on the shell or in a chat.
func TestHelpWidth(t *testing.T) {
	t.Parallel()
	for _, c := range commands(Streams{}) {
		help, _, _ := strings.Cut(mustRun(t, "", c.Name(), "--help"), "Exit status")
		about, flags, _ := strings.Cut(help, "\nUsage:")
		_, flags, _ = strings.Cut(flags, "\n\n")
		for _, line := range strings.Split(about+flags, "\n") {
			if utf8.RuneCountInString(line) > helpWidth && !strings.HasPrefix(line, "  lentil ") && !strings.HasPrefix(line, "  /") {
				t.Errorf("%s: %q", c.Name(), line)
			}
		}
	}
}

// wrongInput has a command line in each line. EMPTY is an empty argument, or nothing in one.
const wrongInput = `
dataset read
dataset read nothere.epub
dataset read bad.gguf
dataset read emptydir
generate --model nothere --prompt x
generate --model nothere/ --prompt x
generate --model org/name --prompt x
generate --model EMPTY --prompt x
generate --model file.txt --prompt x
generate --model file.txt/x/y --prompt x
generate --model emptydir --prompt x
generate --model noconfig --prompt x
generate --model badconfig --prompt x
generate --model nothere.gguf --prompt x
generate --model bad.gguf --prompt x
generate --model empty.gguf --prompt x
generate --max-tokens abc
generate --max-tokens EMPTY
generate --max-tokens 1.5
generate --max-tokens 99999999999999999999
generate --temp hot
generate --temp EMPTY
generate --temp 1e999
generate --seed 1.5
generate --max-tokens
generate -m
generate -m x
generate --promt x
generate --prompt x extra
generate -zz
generate --=x
generate --image x
generate --exact=perhaps
generate --model MODEL --adapter-path nothere
generate --model MODEL --adapter-path file.txt
generate --model MODEL --adapter-path emptydir
generate --model MODEL --adapter-path badadapter
generate --model MODEL --draft-model nothere
generate --model MODEL --draft-model file.txt
generate --model MODEL --prompt-cache-file nothere
generate --model MODEL --prompt-cache-file file.txt
generate --model MODEL --prompt-cache-file emptydir
generate --model MODEL --json nodir/x.json
generate --model MODEL --json emptydir
generate --model MODEL --kv-bits 5
generate --model MODEL --kv-bits x
generate --model MODEL --chat-template-config {bad
generate --model MODEL --chat-template-config []
generate --model MODEL --extra-eos-token foo
generate --model MODEL --top-p 3
generate --model MODEL --temp -1
generate --model MODEL --threads -1
chat --model nothere
chat --model file.txt
chat --model MODEL --adapter-path nothere
chat --model MODEL --max-tokens many
cache_prompt --model MODEL --prompt hi
cache_prompt --model MODEL --prompt hi --prompt-cache-file nodir/x
cache_prompt --model MODEL --prompt hi --prompt-cache-file file.txt/x
cache_prompt --model MODEL --prompt hi --prompt-cache-file emptydir
lora
lora --train --batch-size x
lora --train --batch-size EMPTY
lora --train --batch-size -3
lora --train --batch-size 0
lora --train --iters 1e3
lora --train --rank big
lora --train --rank 0
lora --train --dropout 2
lora --train --config nothere.yaml
lora --train --config emptydir
lora --train --config bad.yaml
lora --train --config types.yaml
lora --train --config deep.yaml
lora --train --config list.yaml
lora --train --config file.txt
lora --train --config EMPTY --batch-size EMPTY
lora --train --model nothere
lora --train --model MODEL --data nothere
lora --train --model MODEL --data EMPTY
lora --train --model MODEL --data emptydir
lora --train --model MODEL --data file.txt
lora --train --model MODEL --data file.txt/x
lora --train --model MODEL --data broken
lora --train --model MODEL --data data --adapter-path file.txt
lora --train --model MODEL --data data --adapter-path file.txt/x
lora --train --model MODEL --data data --adapter-path EMPTY
lora --train --model MODEL --data data --resume-adapter-file nothere.safetensors
lora --train --model MODEL --data data --resume-adapter-file emptydir
lora --train --model MODEL --data data --resume-adapter-file file.txt
lora --train --model MODEL --data data --json file.txt/x.json
lora --train --model MODEL --data data --optimizer nadam
lora --train --model MODEL --data data --fine-tune-type qlora
lora --train --model MODEL --data data --compat foo
lora --train --model MODEL --data data --learning-rate 1e
lora --train --model MODEL --data data --learning-rate nan
lora --train --model MODEL --data data --keys nothing.here
test --model MODEL --data data --adapter-path nothere
test --model MODEL --data data --adapter-path file.txt
test --model MODEL --data data
perplexity --model MODEL --data-path nothere
perplexity --model MODEL --data-path emptydir
perplexity --model MODEL --data-path EMPTY
perplexity --model nothere --data-path data
perplexity --model MODEL --data-path data --sequence-length x
fuse --model MODEL --adapter-path nothere
fuse --model MODEL --adapter-path file.txt
fuse --model nothere --adapter-path nothere
fuse --model MODEL --adapter-path badadapter --save-path file.txt
fuse --model MODEL --adapter-path badadapter --save-path file.txt/x
convert
convert --hf-path nothere
convert --hf-path file.txt
convert --hf-path MODEL --mlx-path file.txt
convert --hf-path MODEL --mlx-path file.txt/x
convert --hf-path MODEL --mlx-path out1 -q --q-bits 9
convert --hf-path MODEL --mlx-path out1 -q --q-bits x
convert --hf-path MODEL --mlx-path out1 -q --q-mode foo
convert --hf-path MODEL --mlx-path out1 -q --q-group-size 7
convert --hf-path MODEL --mlx-path out1 --dtype int4
convert --hf-path MODEL --mlx-path out1 -q -d
convert --hf-path MODEL --mlx-path out1 --gguf Q9_X
convert --hf-path MODEL --mlx-path out1 --quant magic
convert --hf-path MODEL --mlx-path out1 --quant auto --calibration nothere
convert --hf-path MODEL --mlx-path out1 --quant auto --target-bpw few
adapters foo
adapters convert
adapters convert nothere out
adapters convert nothere
adapters convert nothere --save-path out2
adapters convert file.txt --save-path out2
adapters info nothere
adapters info file.txt
adapters info badadapter
adapters merge
adapters merge nothere nothere --save-path out3
download
download a/b/c
download a..b/c
download EMPTY
download org/name
download org/name --repo-type thing
download org/name --revision EMPTY --include
upload
upload a
upload --upload-repo a/b/c --path emptydir
upload --upload-repo a/b --path nothere
login --token EMPTY
scan_cache
scan-cache --dir nothere
scan-cache --dir file.txt
scan-cache --dir file.txt/x
cache rm nothere
cache delete
cache delete org/nothere
cache delete org/nothere --dir nothere
manage
manage --delete nothere
doctor x
doctor --threads many
doctor --json emptydir
benchmark --model nothere
benchmark --threads x
benchmark --model MODEL --prompt-tokens x
tokenize --model MODEL
tokenize nothere
tokenize --model nothere x
tokenize --model file.txt x
tokenize --model emptydir x
render
render --model nothere
render --model nothere --messages nothere
render --template nothere --messages nothere
render --template file.txt --messages nothere.json
render --template file.txt --messages file.txt
render --template emptydir --messages file.txt
demo --dir file.txt
demo --dir file.txt/x
demo --json emptydir
demo --iters few
foo
version x
completion foo
completion bash x
help foo
help adapters foo
`
