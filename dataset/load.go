package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
)

// Options name the keys under which rows keep their parts, where they are not the usual ones.
type Options struct {
	PromptFeature     string // default "prompt"
	CompletionFeature string // default "completion"
	ChatFeature       string // default "messages"
	TextFeature       string // default "text"

	// Preference takes the rows for pairs of a chosen and a rejected answer.
	Preference bool
	// CompatMLX takes a validation set by the name "valid" only, as mlx-lm does.
	CompatMLX bool
}

func (o *Options) setDefaults() {
	for key, name := range map[*string]string{
		&o.PromptFeature: "prompt", &o.CompletionFeature: "completion", &o.ChatFeature: "messages", &o.TextFeature: "text",
	} {
		if *key == "" {
			*key = name
		}
	}
}

// columns are the keys of a row that are looked at, in a file with these. Those that only other tools use are left out
// where they are not needed: they may be of any type.
func (o *Options) columns(have []string) []string {
	has := func(name string) bool { return slices.Contains(have, name) }
	if o.Preference {
		return []string{o.PromptFeature, chosenKey, rejectedKey, "tools", systemKey}
	}
	usual := []string{o.PromptFeature, o.CompletionFeature, o.ChatFeature, o.TextFeature, "tools"}
	if has(o.PromptFeature) && has(o.CompletionFeature) || has(o.ChatFeature) || has(o.TextFeature) {
		return usual
	}
	return append(usual, conversationsKey, systemKey, instructionKey, inputKey, outputKey, historyKey, chosenKey, rejectedKey)
}

// Splits are the three parts of a dataset; a part without rows is empty, never nil.
type Splits struct{ Train, Valid, Test *Split }

// Split is one part of a dataset. Its rows stay where they are and are decoded on demand.
type Split struct {
	Name   string   // train, valid or test
	Files  []string // that it was read from; none when none was found
	Format Format   // of the first row, and of all where all are from one dataset
	sought string   // what was looked for, if nothing was found
	parts  []part
	vain   []int // pairs of which Row's error is nothingToPrefer, in order
}

// A part is a run of rows of one file.
type part struct {
	src      source
	from, to int // rows of the file
	start    int // row of the split that the first of them is
	opt      *Options
	format   Format
	keys     []int // number of keys of each row
}

// maxRows bounds the rows of a split: a little is kept of each, and a small file can claim any number of equal rows.
const maxRows = 1 << 23

// splitFiles are the file names of each split in a local folder, by preference.
var splitFiles = map[string][]string{
	"train": {"train.jsonl"},
	"valid": {"valid.jsonl", "validation.jsonl", "val.jsonl"},
	"test":  {"test.jsonl"},
}

// Load reads the splits of a local dataset: train.jsonl, valid.jsonl and test.jsonl of a folder, where a missing
// file gives an empty split; without any of them, files that [FindLayout] finds by their names, in the folder itself and
// in those folders of it that are named data or after a split; or a single file, which is the training set. The error names every row that is wrong by file and line, up to a handful.
func Load(path string, opt Options) (*Splits, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Of("data %q: no such folder or file", path).Try("Give a folder that holds %s, or the ORG/NAME of a dataset on the hub", expectedFiles)
	}
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if !info.IsDir() {
		if kindOf(path) == unknownKind {
			return nil, fmt.Errorf("data %q: expected a folder or a file of the kind %s", path, kindNames)
		}
		return LoadLayout(filepath.Dir(path), Layout{{"train", []string{filepath.Base(path)}}}, opt)
	}
	if layout := plainLayout(path, opt); len(layout) > 0 {
		return LoadParts([]Part{{Dir: path, Layout: layout, Train: "train", Valid: "valid", Test: "test", Optional: true, Options: opt, ownKeys: true}})
	}
	names, err := namesIn(path, splitFolder.MatchString)
	if err != nil {
		return nil, err
	}
	layout, err := FindLayout(names, Config{}, false)
	if err != nil {
		return nil, fmt.Errorf("data %q: %w", path, err)
	}
	return LoadLayout(path, layout, opt)
}

const expectedFiles = "train.jsonl (to train), valid.jsonl (to validate, optional) and test.jsonl (to test), one JSON object per line"

// HasPlainFiles tells whether a folder has files as mlx-lm reads them: train.jsonl, valid.jsonl or test.jsonl.
func HasPlainFiles(dir string) bool { return len(plainLayout(dir, Options{})) > 0 }

// plainLayout finds the files that mlx-lm reads.
func plainLayout(dir string, opt Options) Layout {
	var l Layout
	for _, split := range []string{"train", "valid", "test"} {
		for i, name := range splitFiles[split] {
			if i > 0 && opt.CompatMLX {
				break
			}
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				l = append(l, SplitFiles{split, []string{name}})
				break
			}
		}
	}
	return l
}

// maxNames bounds the files of a local dataset, as someone may give their home folder.
const maxNames = 100_000

// splitFolder fits the names of folders that rows of a folder without train.jsonl are looked for in. Others are not the
// dataset's: someone may give a folder of all that they have.
var splitFolder = func() *regexp.Regexp {
	var words []string
	for _, s := range splitWords {
		words = append(words, s.Files...)
	}
	return regexp.MustCompile(`\A(?:data|(?:.*` + separator + `)?(?:` + strings.Join(words, "|") + `)(?:` + separator + `.*)?)\z`)
}()

// Names lists the files below a folder, slash-separated, without hidden ones.
func Names(dir string) ([]string, error) { return namesIn(dir, func(string) bool { return true }) }

// namesIn is Names that goes into folders of some names only.
func namesIn(dir string, into func(name string) bool) ([]string, error) {
	var names []string
	root, err := filepath.EvalSymlinks(dir) // a walk does not follow its root
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != root && e.IsDir() && (strings.HasPrefix(e.Name(), ".") || !into(e.Name())):
			return fs.SkipDir
		case e.IsDir():
			return nil
		case len(names) == maxNames:
			return fmt.Errorf("%s has more than %d files: this is no dataset", dir, maxNames)
		}
		rel, err := filepath.Rel(root, path)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return names, nil
}

// LoadLayout reads the splits train, valid (or validation, unless mlx-lm is copied) and test of a dataset in dir.
func LoadLayout(dir string, l Layout, opt Options) (*Splits, error) {
	return LoadParts([]Part{{Dir: dir, Layout: l, Train: "train", Valid: l.Valid(opt.CompatMLX), Test: "test", Optional: true, Options: opt}})
}

// Valid gives the name of the validation split: valid, or one of its other names unless mlx-lm is copied.
func (l Layout) Valid(compatMLX bool) string {
	if !compatMLX {
		for _, name := range []string{"valid", "validation", "val", "dev"} {
			if _, ok := l.Files(name); ok {
				return name
			}
		}
	}
	return "valid"
}

// A Part is one of several datasets that are taken together.
type Part struct {
	Name   string // for errors, such as "org/name"
	Dir    string // local folder
	Layout Layout
	// Rows of each split, such as "train", "train[:1000]" or "train[-10%:]"; empty: none.
	Train, Valid, Test string
	Optional           bool // a split that is not there is empty, instead of an error
	Options

	ownKeys bool // rows have keys of their own; otherwise all have the keys of all, as in a table
}

// LoadParts reads parts of datasets, one after the other.
func LoadParts(parts []Part) (*Splits, error) {
	s := &Splits{&Split{Name: "train"}, &Split{Name: "valid"}, &Split{Name: "test"}}
	for _, p := range parts {
		p.setDefaults()
		l := loader{&p, map[string]source{}}
		for i, rows := range []string{p.Train, p.Valid, p.Test} { // in order: the first mistake is told
			if err := l.add([]*Split{s.Train, s.Valid, s.Test}[i], rows); err != nil {
				if p.Name != "" {
					err = fmt.Errorf("%s: %w", p.Name, err)
				}
				return nil, err
			}
		}
	}
	return s, nil
}

// A loader opens the files of one part, each once.
type loader struct {
	*Part
	open map[string]source
}

// add appends the rows of the slices in text to a split.
func (l *loader) add(split *Split, text string) error {
	if text == "" {
		split.sought = "nothing: no rows were asked for"
		return nil
	}
	slices, err := parseSlices(text)
	if err != nil {
		return err
	}
	first := len(split.parts)
	for _, s := range slices {
		if err := l.addSlice(split, s); err != nil {
			return err
		}
	}
	return split.check(split.parts[first:], l.ownKeys)
}

func (l *loader) addSlice(split *Split, s rowSlice) error {
	files, ok := l.Layout.Files(s.split)
	if !ok {
		if l.Optional {
			split.sought = l.sought(split.Name, s.split)
			return nil
		}
		has := strings.Join(l.Layout.names(), ", ")
		if has == "" {
			has = "none"
		}
		return fault.Of("there is no split %s; there is %s", s.split, has).Try("Name the rows with train_split, valid_split and test_split, such as train[:90%%]")
	}
	var sources []source
	total := 0
	for _, name := range files {
		path := filepath.Join(l.Dir, filepath.FromSlash(name))
		src, err := l.source(path)
		if err != nil {
			return err
		}
		sources = append(sources, src)
		total += src.len()
		split.Files = appendNew(split.Files, path)
	}
	from, to, err := s.bounds(total)
	if err != nil {
		return err
	}
	if to-from > maxRows {
		return fault.Of("%s has %d rows; at most %d can be used", s.split, to-from, maxRows).
			Try("Take a part of them in a YAML config: hf_dataset: {path: ..., train_split: \"%s[:100000]\"}", s.split)
	}
	for _, src := range sources {
		n := src.len()
		if lo, hi := max(from, 0), min(to, n); lo < hi {
			split.parts = append(split.parts, part{src: src, from: lo, to: hi, start: split.Len(), opt: &l.Options})
		}
		from, to = from-n, to-n
	}
	return nil
}

func (l *loader) source(path string) (source, error) {
	if src, ok := l.open[path]; ok {
		return src, nil
	}
	src, err := openSource(path, &l.Options)
	if err == nil {
		l.open[path] = src
	}
	return src, err
}

// sought says what a split without rows was looked for under.
func (l *loader) sought(split, name string) string {
	if names := l.Layout.names(); len(names) > 0 && !l.ownKeys {
		where := l.Name
		if where == "" {
			where = l.Dir
		}
		return fmt.Sprintf("the split %s in %s, which has %s", name, where, strings.Join(names, ", "))
	}
	var paths []string
	for i, name := range splitFiles[split] {
		if i == 0 || !l.CompatMLX {
			paths = append(paths, filepath.Join(l.Dir, name))
		}
	}
	text := strings.Join(paths, ", ")
	found, _ := filepath.Glob(filepath.Join(l.Dir, "*.*")) // the pattern is well-formed
	found = slices.DeleteFunc(found, func(path string) bool { return kindOf(path) == unknownKind })
	if len(found) > 0 {
		for i := range found {
			found[i] = filepath.Base(found[i])
		}
		text += "; the folder has " + strings.Join(found, ", ")
	}
	return text
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// Len returns the number of rows.
func (s *Split) Len() int {
	if len(s.parts) == 0 {
		return 0
	}
	last := &s.parts[len(s.parts)-1]
	return last.start + last.to - last.from
}

// find gives the part that row i is in, and its number in the part's file.
func (s *Split) find(i int) (*part, int) {
	at := sort.Search(len(s.parts), func(k int) bool { return s.parts[k].start > i }) - 1
	p := &s.parts[at]
	return p, p.from + i - p.start
}

// Where names row i by file and line.
func (s *Split) Where(i int) string {
	p, row := s.find(i)
	return p.src.where(row)
}

// keys gives the number of keys of row i.
func (s *Split) keys(i int) int {
	p, row := s.find(i)
	return p.keys[row-p.from]
}

// source says what the split was read from, for errors about all of it.
func (s *Split) source() string { return strings.Join(s.Files, ", ") }

// CheckTrain returns an error when there is nothing to train on.
func (s *Splits) CheckTrain() error {
	return s.Train.missing("Training set not found or empty. Must provide training set for fine-tuning.")
}

// CheckTest returns an error when there is nothing to test on.
func (s *Splits) CheckTest() error {
	return s.Test.missing("Test set not found or empty. Must provide test set for evaluation.")
}

// ValidWarning tells that there is no validation set, or is empty.
func (s *Splits) ValidWarning() string {
	if err := s.Valid.missing("Warning: Validation set not found or empty. Training will proceed without validation."); err != nil {
		return err.Error()
	}
	return ""
}

func (s *Split) missing(msg string) error {
	switch {
	case s.Len() > 0:
		return nil
	case len(s.Files) > 0:
		return fault.Of("%s", msg).Try("%s has no rows; each line must be a JSON object", s.source())
	}
	return fault.Of("%s", msg).Try("Looked for %s", s.sought)
}

// maxReported is how many wrong rows an error lists.
const maxReported = 5

// check looks at all rows of the parts, which make up one dataset: the first row decides the format.
func (s *Split) check(parts []part, ownKeys bool) error {
	var faults []error
	wrong := 0
	all := map[string]bool{} // keys
	for k := range parts {
		p := &parts[k]
		p.keys = make([]int, 0, p.to-p.from)
		p.format = parts[0].format
		for i := p.from; i < p.to; i++ {
			row, err := p.checkRow(i)
			if err == nil && !ownKeys {
				for _, key := range row.Keys() {
					all[key] = true
				}
			}
			p.keys = append(p.keys, p.src.keys(row))
			if s.Format == 0 {
				s.Format = p.format
			}
			if err == nil {
				continue
			}
			if errors.As(err, new(nothingToPrefer)) {
				s.vain = append(s.vain, p.start+i-p.from)
				continue
			}
			err = at(p.src, i, err)
			var broken *brokenFile
			if k == 0 && i == p.from || errors.As(err, &broken) { // nothing to compare others with, or no others
				return err
			}
			if wrong++; wrong <= maxReported {
				faults = append(faults, err)
			}
		}
	}
	if wrong > maxReported {
		faults = append(faults, fmt.Errorf("%s: %d more rows are wrong", s.source(), wrong-maxReported))
	}
	for k := range parts {
		if _, lines := parts[k].src.(jsonRows); lines && !ownKeys {
			for i := range parts[k].keys {
				parts[k].keys[i] = len(all)
			}
		}
	}
	return errors.Join(faults...)
}

// checkRow decodes a row. The first of a dataset decides the format.
func (p *part) checkRow(i int) (*jinja.Dict, error) {
	d, err := p.src.row(i)
	if err != nil {
		lines, ok := p.src.(jsonRows)
		if !ok || p.format != 0 {
			return jinja.NewDict(), err
		}
		if text, failed := lines.text(i); failed == nil && text[0] == '[' {
			err = errors.New("the file starts like one JSON array; expected one JSON object per line (jq -c '.[]' converts it)")
		}
		return jinja.NewDict(), err
	}
	if p.format == 0 {
		if p.format, err = p.opt.detect(d); err != nil {
			return d, err
		}
	}
	_, err = p.opt.row(p.format, d)
	return d, err
}
