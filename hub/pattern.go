package hub

import (
	"regexp"
	"slices"
	"strings"
)

// ModelPatterns are the files that a model needs: what mlx-lm downloads.
var ModelPatterns = []string{
	"*.json", "model*.safetensors", "*.py", "tokenizer.model", "*.tiktoken", "tiktoken.model", "*.txt", "*.jsonl", "*.jinja",
}

// TokenizerPatterns are those of them that a tokenizer needs.
var TokenizerPatterns = slices.DeleteFunc(slices.Clone(ModelPatterns), func(p string) bool { return p == "model*.safetensors" })

// Exactly gives the pattern that fits one name only.
func Exactly(name string) string {
	return strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]").Replace(name)
}

// A filter chooses files of a repository by name.
type filter struct{ include, exclude []*regexp.Regexp }

// newFilter takes shell patterns as Python's fnmatch knows them: '*' also matches slashes, and a pattern that
// ends in a slash means all that is below. No include patterns include everything.
func newFilter(include, exclude []string) filter {
	compile := func(patterns []string) []*regexp.Regexp {
		var out []*regexp.Regexp
		for _, p := range patterns {
			out = append(out, globPattern(p))
		}
		return out
	}
	return filter{compile(include), compile(exclude)}
}

func (f filter) match(name string) bool {
	any := func(patterns []*regexp.Regexp) bool {
		for _, p := range patterns {
			if p.MatchString(name) {
				return true
			}
		}
		return false
	}
	return (len(f.include) == 0 || any(f.include)) && !any(f.exclude)
}

// globPattern translates a shell pattern. A bracket that is never closed stands for itself.
func globPattern(pattern string) *regexp.Regexp {
	pattern = strings.ReplaceAll(pattern, `\`, "/")
	if strings.HasSuffix(pattern, "/") {
		pattern += "*"
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		case '[':
			end := classEnd(pattern, i)
			if end < 0 {
				b.WriteString(`\[`)
				break
			}
			b.WriteString(class(pattern[i+1 : end]))
			i = end
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	b.WriteString(`\z`)
	re, err := regexp.Compile(b.String())
	if err != nil { // a range such as [z-a], or broken UTF-8: matches nothing, as in Python
		return regexp.MustCompile(`\A\z.`)
	}
	return re
}

// classEnd finds the bracket that closes the one at start; the first character inside may be a bracket itself.
func classEnd(pattern string, start int) int {
	i := start + 1
	if i < len(pattern) && pattern[i] == '!' {
		i++
	}
	if i < len(pattern) {
		i++
	}
	if i > len(pattern) {
		return -1
	}
	if n := strings.IndexByte(pattern[i:], ']'); n >= 0 {
		return i + n
	}
	return -1
}

// class translates the inside of a bracket.
func class(inside string) string {
	negate := ""
	if rest, ok := strings.CutPrefix(inside, "!"); ok {
		negate, inside = "^", rest
	}
	escape := strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `^`, `\^`)
	return "[" + negate + escape.Replace(inside) + "]"
}
