package serve

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/book/search"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/dataset/making"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// Limits on what is read of a dataset.
const (
	mostStarters   = 40
	starterRows    = 2000 // that questions are looked for in
	longestStarter = 110  // characters
	mostLine       = 1 << 20
)

// openBooks makes the shelf, of books or of a dataset, and finds questions to begin with.
func (s *Server) openBooks() error {
	dir, given := s.o.Dataset, s.o.Dataset != ""
	if !given {
		dir = trainedOn(s.o.Models[0].Adapter)
	}
	if dir != "" {
		if err := s.openDataset(dir); err != nil && given {
			return err
		}
	}
	if len(s.o.Books) == 0 {
		return nil
	}
	found, err := search.Open("books", s.o.Books, func(n fault.Note) {
		if s.o.Open.Warn != nil {
			s.o.Open.Warn(n.String())
		}
	})
	if err == nil {
		s.shelf = &shelf{found}
	}
	return err
}

// trainedOn is the folder of the dataset that an adapter was trained on, if it is there; else "".
func trainedOn(adapter string) string {
	if adapter == "" {
		return ""
	}
	m, err := run.ReadManifest(adapter)
	if err != nil {
		return ""
	}
	for _, f := range m.Data {
		if !slices.Contains(f.Splits, "train") {
			continue
		}
		// Paths are those of the folder that training was started in; the data may lie beside the adapter.
		dir := filepath.Dir(f.Path)
		for _, dir := range []string{dir, filepath.Join(filepath.Dir(filepath.Clean(adapter)), filepath.Base(dir))} {
			if info, err := os.Stat(filepath.Join(dir, filepath.Base(f.Path))); err == nil && info.Size() == f.Bytes {
				return dir
			}
		}
	}
	return ""
}

// openDataset takes questions of a dataset, and the places that its rows are from.
func (s *Server) openDataset(dir string) error {
	splits, err := dataset.Load(dir, dataset.Options{})
	if err != nil {
		return fault.At("dataset", "%w", err)
	}
	s.starters = startersOf(splits.Train)
	if len(s.starters) == 0 {
		return fault.Given("dataset", dir, "its rows have no questions to begin a chat with").Try("Give the folder of a dataset with train.jsonl, as lentil dataset make writes it.")
	}
	if len(s.o.Books) > 0 {
		return nil
	}
	found, err := quotes(filepath.Join(dir, making.ProvenanceName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault.At("dataset", "%w", err)
	}
	s.shelf = &shelf{found}
	return nil
}

// startersOf are first questions of rows, from all over the split.
func startersOf(split *dataset.Split) (out []string) {
	n := split.Len()
	step := max(1, n/starterRows)
	var all []string
	for i := 0; i < n; i += step {
		row, err := split.Row(i)
		if err != nil {
			continue
		}
		roles, texts, err := row.Roles()
		at := slices.Index(roles, "user")
		if err != nil || at < 0 {
			continue
		}
		text := strings.TrimSpace(texts[at])
		if strings.HasSuffix(text, "?") && utf8.RuneCountInString(text) <= longestStarter && !strings.Contains(text, "\n") && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	for i := range min(mostStarters, len(all)) {
		out = append(out, all[i*len(all)/min(mostStarters, len(all))])
	}
	return out
}

// quotes is a library of what rows of a dataset quote, with all quotes of one place as one passage.
func quotes(path string) (*search.Library, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	type place struct {
		source string
		offset int
	}
	var order []place
	found := map[place]*search.Passage{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, mostLine)
	for lines.Scan() {
		var p making.Provenance
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return nil, fault.Of("%s: line %d is no provenance: %w", path, len(order)+1, err)
		}
		if strings.TrimSpace(p.Quote) == "" {
			continue
		}
		at := place{p.Source, p.Offset}
		passage := found[at]
		if passage == nil {
			passage = &search.Passage{Book: cmp.Or(p.Title, strings.TrimSuffix(filepath.Base(p.Source), filepath.Ext(p.Source))), Chapter: cmp.Or(strings.Join(p.Path, " › "), p.Chapter), Page: p.Page}
			found[at], order = passage, append(order, at)
		}
		if !strings.Contains(passage.Text, p.Quote) {
			passage.Text = strings.TrimSpace(passage.Text + "\n" + p.Quote)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fault.Of("%s: %w", path, err)
	}
	l := search.New()
	for _, at := range order {
		if err := l.Add(*found[at]); err != nil {
			return nil, err
		}
	}
	return l, nil
}
