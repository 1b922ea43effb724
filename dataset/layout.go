package dataset

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
)

// A Layout says which files of a dataset hold which split.
type Layout []SplitFiles

// SplitFiles are the files of one split, or patterns of their names: slash-separated paths in the dataset's folder.
type SplitFiles struct {
	Split string
	Files []string
}

// A Config is an entry of "configs" in the card (README.md) of a dataset on the Hugging Face hub: one of several
// datasets that share a repository.
type Config struct {
	Name    string
	Default bool
	Dir     string // folder of the files; empty: all
	Files   Layout // patterns; empty: by the names of the files
}

// Files gives the files of a split.
func (l Layout) Files(split string) ([]string, bool) {
	for _, s := range l {
		if s.Split == split {
			return s.Files, true
		}
	}
	return nil, false
}

// names gives the names of the splits.
func (l Layout) names() []string {
	names := make([]string, len(l))
	for i, s := range l {
		names[i] = s.Split
	}
	return names
}

// ChooseConfig gives the configuration of a name, or the default one for an empty name. A dataset without any has
// the zero Config.
func ChooseConfig(configs []Config, name string) (Config, error) {
	var names []string
	for _, c := range configs {
		names = append(names, c.Name)
	}
	list := strings.Join(names, ", ")
	if name != "" {
		if i := slices.Index(names, name); i >= 0 {
			return configs[i], nil
		}
		if len(names) == 0 {
			list = "none"
		}
		return Config{}, fmt.Errorf("there is no configuration %q; there is %s", name, list)
	}
	switch {
	case len(configs) == 0:
		return Config{}, nil
	case len(configs) == 1:
		return configs[0], nil
	}
	if i := slices.IndexFunc(configs, func(c Config) bool { return c.Default }); i >= 0 {
		return configs[i], nil
	}
	if i := slices.Index(names, "default"); i >= 0 {
		return configs[i], nil
	}
	return Config{}, fault.Of("there are %d configurations and none is the default: %s", len(names), list).Try("Choose one in a YAML config: hf_dataset: {path: ..., config: {name: %s}}", names[0])
}

// The names that stand for splits in names of files and folders, as in datasets' data_files.py.
var splitWords = []SplitFiles{
	{"train", []string{"train", "training"}},
	{"validation", []string{"validation", "valid", "dev", "val"}},
	{"test", []string{"test", "testing", "eval", "evaluation"}},
}

// ignored are files that no pattern means unless it names them.
var ignored = []string{"README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dummy_data.zip", "dataset_dict.json"}

const (
	shards    = "[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*"
	separator = "[-._ 0-9]"
)

var shardPattern = regexp.MustCompile(`^data/(\w+(?:\.\w+)*)-[0-9]{5}-of-[0-9]{5}[^/]*\.[^/]*$`)

// FindLayout finds the split files among the names of a dataset's files, in the order and by the patterns of the
// Python package datasets: those of the configuration; else data/SPLIT-00000-of-00001.*; else folders named after
// splits; else files named so; else, if all is true, everything is the training set. Splits are kept under the
// names they have there: valid.jsonl in a folder is "validation". It is no error to find nothing.
func FindLayout(names []string, c Config, all bool) (Layout, error) {
	below := strings.Trim(path.Clean(c.Dir), "/") + "/"
	if below == "./" || below == "/" {
		below = "" // the whole dataset
	}
	var inside []string
	for _, name := range slices.Sorted(slices.Values(names)) {
		if rest, ok := strings.CutPrefix(name, below); ok {
			inside = append(inside, rest)
		}
	}
	found := c.Files.resolve(inside)
	if len(c.Files) == 0 {
		found = byName(inside, all)
	} else if len(found) < len(c.Files) {
		for _, s := range c.Files {
			if _, ok := found.Files(s.Split); !ok {
				return nil, fmt.Errorf("the card says that the split %s is in %s, and there is no such file", s.Split, strings.Join(s.Files, ", "))
			}
		}
	}
	found, err := found.oneKind()
	for _, s := range found {
		for i := range s.Files {
			s.Files[i] = below + s.Files[i]
		}
	}
	return found, err
}

func byName(names []string, all bool) Layout {
	splits := map[string][]string{}
	for _, name := range names {
		if m := shardPattern.FindStringSubmatch(name); m != nil {
			splits[m[1]] = []string{"data/" + m[1] + "-" + shards}
		}
	}
	var sharded Layout
	for _, split := range slices.Concat([]string{"train", "validation", "test"}, slices.Sorted(maps.Keys(splits))) {
		if patterns, ok := splits[split]; ok {
			sharded = append(sharded, SplitFiles{split, patterns})
			delete(splits, split)
		}
	}
	if found := sharded.resolve(names); len(found) > 0 {
		return found
	}
	for _, patterns := range [][]string{
		{"**/WORD/**", "**/WORD" + separator + "*/**", "**/*" + separator + "WORD/**", "**/*" + separator + "WORD" + separator + "*/**"},
		{"**/WORD" + separator + "*", "**/*" + separator + "WORD" + separator + "*"},
	} {
		var l Layout
		for _, s := range splitWords {
			split := SplitFiles{Split: s.Split}
			for _, word := range s.Files {
				for _, p := range patterns {
					split.Files = append(split.Files, strings.ReplaceAll(p, "WORD", word))
				}
			}
			l = append(l, split)
		}
		if found := l.resolve(names); len(found) > 0 {
			return found
		}
	}
	if all {
		return Layout{{"train", []string{"**"}}}.resolve(names)
	}
	return nil
}

// resolve puts the names of files in place of patterns, and leaves out splits without any.
func (l Layout) resolve(names []string) Layout {
	var out Layout
	for _, s := range l {
		found := SplitFiles{Split: s.Split}
		for _, pattern := range s.Files {
			pattern = strings.TrimPrefix(pattern, "./")
			re := globPattern(pattern)
			for _, name := range names {
				if re.MatchString(name) && meant(pattern, name) && !slices.Contains(found.Files, name) {
					found.Files = append(found.Files, name)
				}
			}
		}
		if len(found.Files) > 0 {
			out = append(out, found)
		}
	}
	return out
}

// meant tells whether a pattern that fits a name means it: what is hidden, or not data, has to be named.
func meant(pattern, name string) bool {
	count := func(text, prefix string) (n int) {
		for part := range strings.SplitSeq(text, "/") {
			if strings.HasPrefix(part, prefix) && strings.Trim(part, ".") != "" {
				n++
			}
		}
		return n
	}
	base := path.Base(name)
	return count(name, ".") == count(pattern, ".") && count(path.Dir(name), "__") == count(path.Dir(pattern), "__") &&
		(!slices.Contains(ignored, base) || path.Base(pattern) == base)
}

// globPattern translates a shell pattern in which * stays within a folder and ** goes through folders.
func globPattern(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case strings.HasPrefix(rest, "**/"):
			b.WriteString(`(?:.+/)?`)
			i += 2
		case strings.HasPrefix(rest, "**"):
			b.WriteString(`.*`)
			i++
		case rest[0] == '*':
			b.WriteString(`[^/]*`)
		case rest[0] == '?':
			b.WriteString(`[^/]`)
		case rest[0] == '[' && strings.IndexByte(rest, ']') > 1:
			end := strings.IndexByte(rest, ']')
			set := rest[1:end]
			b.WriteByte('[')
			if set[0] == '!' {
				b.WriteByte('^')
				set = set[1:]
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`).Replace(set))
			b.WriteByte(']')
			i += end
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
		}
	}
	b.WriteString(`\z`)
	re, err := regexp.Compile(b.String())
	if err != nil { // an empty set, or a range such as [z-a]: fits nothing
		return regexp.MustCompile(`\A\z.`)
	}
	return re
}

// oneKind keeps the files of the kind that most of them are of. Files of kinds that cannot be read are left out,
// unless there are no others.
func (l Layout) oneKind() (Layout, error) {
	count := map[kind]int{}
	var unknown []string
	for _, s := range l {
		for _, name := range s.Files {
			if k := kindOf(name); k != unknownKind {
				count[k]++
			} else {
				unknown = append(unknown, name)
			}
		}
	}
	if len(count) == 0 && len(unknown) > 0 {
		return nil, fmt.Errorf("no file can be read: expected %s, found %q", kindNames, unknown[:min(len(unknown), 5)])
	}
	best := unknownKind
	for _, k := range []kind{parquetKind, jsonKind, csvKind} {
		if count[k] > count[best] {
			best = k
		}
	}
	var out Layout
	for _, s := range l {
		files := slices.DeleteFunc(slices.Clone(s.Files), func(name string) bool { return kindOf(name) != best })
		if len(files) > 0 {
			out = append(out, SplitFiles{s.Split, files})
		}
	}
	return out, nil
}
