// Package demo carries what `lentil demo` runs on: a nutrition handbook written for the project, a
// dataset of questions and answers made from it, and five questions in new words.
//
// The dataset comes from the tables in demo/facts (go run ./demo/gen writes it); the base model is
// trained on what demo/corpus writes, which holds none of the dataset's facts.
package demo

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
)

//go:embed data handbook model lora.yaml questions.json
var files embed.FS

// Question is asked of the base model and of the tuned one. It is about a trained fact, in words
// that are in no row of the dataset.
type Question struct {
	ID       string   `json:"id"` // of the fact in demo/facts: "protein/cooked-lentils"
	Topic    string   `json:"topic"`
	Question string   `json:"question"`
	Accept   []string `json:"right"` // an answer that holds any of these is right
}

// Questions gives the demo's questions.
func Questions() []Question {
	data, err := files.ReadFile("questions.json")
	if err != nil {
		panic(err) // embedded above, cannot be missing
	}
	var list []Question
	if err := json.Unmarshal(data, &list); err != nil {
		panic(fmt.Sprintf("demo: questions.json: %v", err)) // TestQuestions reads it
	}
	return list
}

// Right says whether an answer holds one of the accepted strings, in any case, as whole words:
// "9 g" is in "9 g of protein", not in "19 g", "0.9 g" or "9 goats".
func (q Question) Right(answer string) bool {
	answer = strings.ToLower(answer)
	for _, want := range q.Accept {
		if holds(answer, strings.ToLower(want)) {
			return true
		}
	}
	return false
}

// holds looks for want in text where neither neighbour continues a word or a number.
func holds(text, want string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], want)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(want)
		before, after := text[:start], text[end:]
		if !endsInWord(before) && !startsWithWord(after) {
			return true
		}
		from = start + 1
	}
}

// endsInWord is true for "1", "x" and also "0.", whose number would go on.
func endsInWord(s string) bool {
	n := len(s)
	return n > 0 && (isWord(s[n-1]) || n > 1 && (s[n-1] == '.' || s[n-1] == ',') && isDigit(s[n-2]))
}

func startsWithWord(s string) bool {
	return s != "" && (isWord(s[0]) || len(s) > 1 && (s[0] == '.' || s[0] == ',') && isDigit(s[1]))
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'z' || c >= 0x80 }

// Handbook gives the text of all chapters, one behind the other.
func Handbook() string {
	chapters, err := fs.Glob(files, "handbook/*.md")
	if err != nil {
		panic(err) // the pattern is a good one
	}
	var text strings.Builder
	for _, name := range chapters {
		chapter, err := files.ReadFile(name)
		if err != nil {
			panic(err) // embedded above, cannot be missing
		}
		text.Write(chapter)
		text.WriteByte('\n')
	}
	return text.String()
}

// Write lays the demo's files out under dir: data/ (train, valid, test .jsonl), unseen/test.jsonl, questions.jsonl, held.jsonl, model/,
// handbook/, books/ (the handbook as EPUB and PDF) and lora.yaml. Files of the same names that Write did not put there, or that were changed since, are
// refused, unless overwrite is set.
func Write(dir string, overwrite bool) error {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fault.Given("dir", dir, "this is a file, expected a folder").Try("Give another name.")
	}
	if _, err := atomicfile.Settle(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("demo: %w", err)
	}
	all, err := layout()
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	record := atomicfile.ReadRecord(dir)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch there, err := hasFile(dir, name, all[name]); {
		case err != nil:
			return fmt.Errorf("demo: %w", err)
		case there == same:
			delete(all, name)
		case there == other && !overwrite && !record.Has(name):
			return fault.At("dir", "%s is there already, and not as the demo has it", filepath.Join(dir, filepath.FromSlash(name))).
				Try("Give another folder, or %v to replace the file.", fault.Setting("overwrite"))
		}
	}
	if len(all) == 0 {
		return nil
	}
	set, err := atomicfile.Begin(dir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer set.Discard()
	for name, data := range all {
		if err := set.Write(name, data); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	set.Record()
	return set.Commit()
}

// layout is the content of each file under its name below the demo's folder.
func layout() (all map[string][]byte, err error) {
	all = map[string][]byte{}
	for _, root := range []string{"data", "handbook", "model", "lora.yaml"} {
		err = fs.WalkDir(files, root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			data, err := files.ReadFile(path)
			switch path {
			case "data/unseen.jsonl": // a set of its own, which --test finds by that name
				path = "unseen/test.jsonl"
			case "data/questions.jsonl", "data/held.jsonl": // no rows to learn
				path = strings.TrimPrefix(path, "data/")
			}
			all[path] = data
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if all[EPUBName], err = EPUB(); err != nil {
		return nil, err
	}
	all[PDFName], err = PDF()
	return all, err
}

// What may lie under a name: nothing, the file that is to be there, or another one.
const (
	none = iota
	same
	other
)

// hasFile tells what lies under a name below dir.
func hasFile(dir, name string, data []byte) (int, error) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none, nil
	case err != nil:
		return none, err
	case !info.Mode().IsRegular() || info.Size() != int64(len(data)):
		return other, nil
	}
	is, err := os.ReadFile(path)
	if bytes.Equal(is, data) {
		return same, err
	}
	return other, err
}
