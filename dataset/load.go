package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/chat"
)

// Options name the keys under which rows keep their parts, where they are not the usual ones.
type Options struct {
	PromptFeature     string // default "prompt"
	CompletionFeature string // default "completion"
	ChatFeature       string // default "messages"
	TextFeature       string // default "text"
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

// Splits are the three parts of a dataset; a part without a file is empty, never nil.
type Splits struct {
	Dir                string
	Train, Valid, Test *Split
}

// Split is one part of a dataset. Its rows are kept as the file's lines and decoded on demand.
type Split struct {
	Name   string // train, valid or test
	Path   string // file it was read from; empty when none was found
	Format Format // of every row
	opt    Options
	sought []string // files that were looked for
	lines  []line
}

type line struct {
	number int // 1-based, in the file
	data   []byte
	keys   int // number of keys of the JSON object
}

// maxLineBytes bounds one row.
const maxLineBytes = 64 << 20

// splitFiles are the file names of each split, by preference.
var splitFiles = map[string][]string{
	"train": {"train.jsonl"},
	"valid": {"valid.jsonl", "validation.jsonl", "val.jsonl"},
	"test":  {"test.jsonl"},
}

// Load reads the splits of a dataset folder. A missing file gives an empty split. The error names every row that is
// wrong by file and line, up to a handful.
func Load(dir string, opt Options) (*Splits, error) {
	opt.setDefaults()
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data %q: no such folder\nDownloading datasets by id is not supported yet; give a local folder that holds %s", dir, expectedFiles)
	}
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("data %q is a file\nGive the folder that holds %s", dir, expectedFiles)
	}
	s := &Splits{Dir: dir}
	for name, split := range map[string]**Split{"train": &s.Train, "valid": &s.Valid, "test": &s.Test} {
		*split = &Split{Name: name, opt: opt}
	}
	for _, split := range []*Split{s.Train, s.Valid, s.Test} {
		if err := split.find(dir); err != nil {
			return nil, err
		}
	}
	return s, nil
}

const expectedFiles = "train.jsonl (to train), valid.jsonl (to validate, optional) and test.jsonl (to test), one JSON object per line"

func (s *Split) find(dir string) error {
	for _, name := range splitFiles[s.Name] {
		path := filepath.Join(dir, name)
		s.sought = append(s.sought, path)
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("data: %w", err)
		}
		s.Path = path
		err = s.read(f)
		return errors.Join(err, f.Close())
	}
	return nil
}

// Len returns the number of rows.
func (s *Split) Len() int { return len(s.lines) }

// Where names row i by file and line.
func (s *Split) Where(i int) string { return fmt.Sprintf("%s:%d", s.Path, s.lines[i].number) }

// CheckTrain returns an error when there is nothing to train on.
func (s *Splits) CheckTrain() error {
	return s.Train.check("Training set not found or empty. Must provide training set for fine-tuning.")
}

// CheckTest returns an error when there is nothing to test on.
func (s *Splits) CheckTest() error {
	return s.Test.check("Test set not found or empty. Must provide test set for evaluation.")
}

// ValidWarning tells that there is no validation set, or is empty.
func (s *Splits) ValidWarning() string {
	if err := s.Valid.check("Warning: Validation set not found or empty. Training will proceed without validation."); err != nil {
		return err.Error()
	}
	return ""
}

func (s *Split) check(msg string) error {
	if s.Len() > 0 {
		return nil
	}
	if s.Path != "" {
		return fmt.Errorf("%s\n%s has no rows; each line must be a JSON object", msg, s.Path)
	}
	hint := ""
	if found, _ := filepath.Glob(filepath.Join(filepath.Dir(s.sought[0]), "*.json*")); len(found) > 0 {
		for i := range found {
			found[i] = filepath.Base(found[i])
		}
		hint = "; the folder has " + strings.Join(found, ", ")
	}
	return fmt.Errorf("%s\nLooked for %s%s", msg, strings.Join(s.sought, ", "), hint)
}

// maxReported is how many wrong rows an error lists.
const maxReported = 5

// read takes the rows of a file. Blank lines are skipped.
func (s *Split) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, 1<<20)
	var faults []error
	wrong := 0
	for number := 1; ; number++ {
		data, err := readLine(in)
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s:%d: %w", s.Path, number, err)
		}
		last := err == io.EOF
		if number == 1 {
			if data, err = checkStart(data); err != nil {
				return fmt.Errorf("%s: %w", s.Path, err)
			}
		}
		if data = bytes.TrimSpace(data); len(data) > 0 {
			if err := s.add(number, data); err != nil {
				if len(s.lines) == 0 { // nothing to compare the others with
					return err
				}
				if wrong++; wrong <= maxReported {
					faults = append(faults, err)
				}
			}
		}
		if last {
			break
		}
	}
	if wrong > maxReported {
		faults = append(faults, fmt.Errorf("%s: %d more rows are wrong", s.Path, wrong-maxReported))
	}
	return errors.Join(faults...)
}

// readLine returns the next line in memory of its own, without its end; io.EOF comes with the last one.
func readLine(in *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := in.ReadSlice('\n')
		whole = append(whole, part...)
		if len(whole) > maxLineBytes {
			return nil, fmt.Errorf("the line is longer than %d MiB; is this a JSONL file?", maxLineBytes>>20)
		}
		if err != bufio.ErrBufferFull {
			return whole, err
		}
	}
}

// checkStart drops a byte order mark and refuses what cannot be JSONL.
func checkStart(data []byte) ([]byte, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return nil, errors.New("the file is UTF-16; save it as UTF-8")
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		return nil, errors.New("the file is compressed; unpack it with gunzip")
	}
	return data, nil
}

// add checks a row and keeps its line. The first row decides the format.
func (s *Split) add(number int, data []byte) error {
	where := fmt.Sprintf("%s:%d", s.Path, number)
	d, err := parseRow(data)
	if err != nil {
		if len(s.lines) == 0 && data[0] == '[' {
			return fmt.Errorf("%s: the file starts like one JSON array; expected one JSON object per line (jq -c '.[]' converts it)", where)
		}
		return fmt.Errorf("%s: %w", where, err)
	}
	if len(s.lines) == 0 {
		if s.Format, err = s.opt.detect(d); err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	if _, err := s.opt.row(s.Format, d); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	s.lines = append(s.lines, line{number, data, d.Len()})
	return nil
}

func parseRow(data []byte) (*chat.Dict, error) {
	v, err := chat.ParseJSON(data)
	if err != nil {
		var e *chat.JSONError
		if errors.As(err, &e) {
			return nil, fmt.Errorf("invalid JSON at column %d: %s", e.Column, e.Msg)
		}
		return nil, err
	}
	d, ok := v.(*chat.Dict)
	if !ok {
		return nil, fmt.Errorf("expected a JSON object, found %.40q", data)
	}
	return d, nil
}
