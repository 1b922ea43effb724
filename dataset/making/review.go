package making

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// DecisionsName is the file of what a reviewer decided, beside the rows. It only grows; the last line on a row counts.
// Rows that are made anew are changed by it as well.
const DecisionsName = "review.jsonl"

// An Action is what a reviewer does with a row.
type Action string

// The actions.
const (
	Accept Action = "accept"
	Edit   Action = "edit"
	Reject Action = "reject"
	Reset  Action = "reset" // as if nothing had been decided
)

// A Decision is on one row, which its hash names.
type Decision struct {
	Hash     string `json:"hash"`
	Action   Action `json:"action"`
	Question string `json:"question,omitempty"` // of an edit
	Answer   string `json:"answer,omitempty"`
}

func (d *Decision) check() error {
	switch {
	case len(d.Hash) != 2*sha256.Size:
		return fault.Of("the hash of a row is %q", d.Hash)
	case !slices.Contains([]Action{Accept, Edit, Reject, Reset}, d.Action):
		return fault.Of("the action is %q, expected accept, edit, reject or reset", d.Action)
	case d.Action == Edit && (strings.TrimSpace(d.Question) == "" || strings.TrimSpace(d.Answer) == ""):
		return fault.Of("an edited row has a question and an answer")
	case len(d.Question)+len(d.Answer) > 4*maxAnswer:
		return fault.Of("an edited row has %d bytes, expected at most %d", len(d.Question)+len(d.Answer), 4*maxAnswer)
	}
	return nil
}

// maxDecisions bounds the file of decisions.
const maxDecisions = 256 << 20

// readDecisions reads what was decided in a folder: the last decision on each row.
func readDecisions(dir string) (map[string]Decision, error) {
	path := filepath.Join(dir, DecisionsName)
	data, err := smallfile.Read(path, maxDecisions)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string]Decision{}
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		if !bytes.HasSuffix(line, []byte("\n")) { // cut short by a kill
			break
		}
		var d Decision
		err := json.Unmarshal(line, &d)
		if err == nil {
			err = d.check()
		}
		if err != nil {
			return nil, fault.Of("%s:%d: %w", path, i+1, err)
		}
		if d.Action == Reset {
			delete(out, d.Hash)
		} else {
			out[d.Hash] = d
		}
	}
	return out, nil
}

// appendDecision writes one down, behind the last whole line.
func appendDecision(dir string, d Decision) error {
	if err := d.check(); err != nil {
		return err
	}
	line, err := json.Marshal(d)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, DecisionsName)
	data, err := smallfile.Read(path, maxDecisions)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer file.Close()
	end := int64(bytes.LastIndexByte(data, '\n') + 1)
	if err := file.Truncate(end); err != nil {
		return err
	}
	if _, err := file.WriteAt(append(line, '\n'), end); err != nil {
		return err
	}
	return file.Sync()
}

// decide applies a decision to a row; keep says whether it stays.
func decide(row dataset.Row, as dataset.Format, d Decision) (line string, keep bool, err error) {
	if d.Action == Reject {
		return "", false, nil
	}
	if d.Action == Edit {
		row = edited(row, d)
	}
	line, err = dataset.FormatRow(row, as)
	return line, true, err
}

// edited is a row with another first question and first answer.
func edited(row dataset.Row, d Decision) dataset.Row {
	put := func(messages []chat.Value, role, text string) []chat.Value {
		messages = slices.Clone(messages)
		for i, v := range messages {
			m, ok := v.(*chat.Dict)
			if !ok {
				continue
			}
			if is, _ := m.Get("role"); is == role {
				m = m.Clone()
				m.Set("content", text)
				messages[i] = m
				break
			}
		}
		return messages
	}
	switch {
	case row.Format == dataset.Text:
		row.Text = d.Answer
	case row.Format == dataset.Preference && len(row.Messages) == 0:
		row.Text, row.ChosenText = d.Question, d.Answer
	case row.Format == dataset.Preference:
		row.Messages, row.Chosen = put(row.Messages, "user", d.Question), put(row.Chosen, "assistant", d.Answer)
	default:
		row.Messages = put(put(row.Messages, "user", d.Question), "assistant", d.Answer)
	}
	return row
}

func hashOf(line string) string {
	sum := sha256.Sum256([]byte(line))
	return hex.EncodeToString(sum[:])
}

// A Review is a dataset's folder that someone goes through.
type Review struct {
	dir     string
	format  dataset.Format
	rows    []Reviewed
	mu      sync.Mutex
	decided map[string]Decision
	books   map[string]*book.Document    // nil for one that cannot be opened
	found   map[string][sha256.Size]byte // of the files, as they were read
}

// A Reviewed row is one with its place, and what was decided.
type Reviewed struct {
	Provenance
	Question string    `json:"question"`
	Answer   string    `json:"answer"`
	Decision *Decision `json:"decision,omitempty"`

	row dataset.Row
}

// OpenReview opens the dataset in a folder that Made.Write wrote, in whatever format.
func OpenReview(dir string) (*Review, error) {
	r := &Review{dir: dir, books: map[string]*book.Document{}}
	data, err := smallfile.Read(filepath.Join(dir, ProvenanceName), 8*maxDecisions)
	if err != nil {
		return nil, fault.Of("%w", err).Try("Give the folder of a dataset that was made of books: lentil dataset make")
	}
	splits, err := dataset.Load(dir, dataset.Options{})
	if err != nil {
		var pairs error
		if splits, pairs = dataset.Load(dir, dataset.Options{Preference: true}); pairs != nil {
			return nil, fault.Mark(err)
		}
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if len(bytes.TrimSpace(data)) == 0 { // all rows were rejected
		lines = nil
	}
	told := map[string]int{}
	for i, line := range lines {
		var row Reviewed
		if err := json.Unmarshal(line, &row.Provenance); err != nil {
			return nil, fault.Of("%s:%d: %w", filepath.Join(dir, ProvenanceName), i+1, err)
		}
		split := map[string]*dataset.Split{"train": splits.Train, "valid": splits.Valid, "test": splits.Test}[row.Split]
		if split == nil || row.Row < 1 || row.Row > split.Len() {
			return nil, fault.Of("%s:%d: row %d of %q is not there", filepath.Join(dir, ProvenanceName), i+1, row.Row, row.Split).Try("Make the dataset again: its files do not belong together.")
		}
		if row.row, err = split.Row(row.Row - 1); err != nil {
			return nil, err
		}
		told[row.Split]++
		r.format = split.Format
		row.Question, row.Answer = ends(row.row)
		r.rows = append(r.rows, row)
	}
	for name, split := range map[string]*dataset.Split{"train": splits.Train, "valid": splits.Valid, "test": splits.Test} {
		switch n := split.Len(); {
		case n == told[name]:
		case split.Format == dataset.Text && len(told) == 0:
			return nil, fault.Of("the rows of %s are texts of the books, which there is nothing to review in", dir).Try("Make rows of questions and answers, in another layout than text.")
		default:
			return nil, fault.Of("%s has %d rows, and %s tells of %d of them", filepath.Join(dir, name+".jsonl"), n, ProvenanceName, told[name]).Try("Keep rows of your own in a file of their own, which lentil dataset make takes with %v, and make the dataset again.", fault.Setting("mix"))
		}
	}
	if r.found, err = r.contents(); err != nil {
		return nil, err
	}
	r.decided, err = readDecisions(dir)
	if r.decided == nil {
		r.decided = map[string]Decision{}
	}
	return r, err
}

// ends are the first question and the first answer of a row.
func ends(row dataset.Row) (question, answer string) {
	messages := append(slices.Clone(row.Messages), row.Chosen...)
	for _, v := range messages {
		m, ok := v.(*chat.Dict)
		if !ok {
			continue
		}
		switch role, _ := m.Get("role"); {
		case role == "user" && question == "":
			question = contentOf(m)
		case role == "assistant" && answer == "":
			answer = contentOf(m)
		}
	}
	if row.Format == dataset.Text {
		return "", row.Text
	}
	return question, answer
}

// Len is how many rows there are.
func (r *Review) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rows)
}

// Row gives a row with what was decided. It is empty where a Write meanwhile left fewer rows.
func (r *Review) Row(i int) Reviewed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at(i)
}

func (r *Review) at(i int) Reviewed {
	if i >= len(r.rows) {
		return Reviewed{}
	}
	row := r.rows[i]
	if d, ok := r.decided[row.Hash]; ok {
		row.Decision = &d
	}
	return row
}

// Counts are how many rows were decided on in each way.
func (r *Review) Counts() map[Action]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[Action]int{}
	for i := range r.rows {
		if d := r.at(i).Decision; d != nil {
			out[d.Action]++
		}
	}
	return out
}

// around is how many bytes of the book are shown before and behind the block of a row.
const around = 1500

// Passage is the book around a row, as far as it can still be opened: what stands before the row's block, the block, and
// what follows.
func (r *Review) Passage(i int) (before, block, after string) {
	row := r.Row(i)
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.books[row.Source]
	if !ok {
		d, _ = book.Open(row.Source) // without it the quote is shown
		r.books[row.Source] = d
	}
	if d == nil {
		return "", row.Quote, ""
	}
	text := d.Text()
	at, _ := slices.BinarySearchFunc(d.Blocks, row.Offset, func(b book.Block, offset int) int { return b.Offset - offset })
	if at >= len(d.Blocks) || d.Blocks[at].Offset != row.Offset {
		return "", row.Quote, ""
	}
	b := &d.Blocks[at]
	end := b.Offset + len(b.Text)
	from, to := max(0, b.Offset-around), min(len(text), end+around)
	return strings.ToValidUTF8(text[from:b.Offset], ""), b.Text, strings.ToValidUTF8(text[end:to], "")
}

// Decide keeps a decision, at once on the disk.
func (r *Review) Decide(d Decision) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.rows, func(row Reviewed) bool { return row.Hash == d.Hash }) {
		return fault.Of("there is no such row")
	}
	if err := appendDecision(r.dir, d); err != nil {
		return err
	}
	if d.Action == Reset {
		delete(r.decided, d.Hash)
	} else {
		r.decided[d.Hash] = d
	}
	return nil
}

// Write writes the rows as they were decided on: without those that were rejected, the others as they were edited. The
// review goes on with what is written. Files that others changed since the review began are left as they are.
func (r *Review) Write() (kept int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := r.contents()
	if err != nil {
		return 0, err
	}
	for name, hash := range r.found {
		if now[name] != hash {
			return 0, fault.Of("%s was changed since the review began", filepath.Join(r.dir, name)).Try("Nothing was written. Start the review again: what was decided is kept in %s.", DecisionsName)
		}
	}
	if kept, err = r.write(); err != nil {
		return 0, err
	}
	fresh, err := OpenReview(r.dir)
	if err != nil {
		return 0, err
	}
	r.rows, r.decided, r.found = fresh.rows, fresh.decided, fresh.found
	return kept, nil
}

// contents are the hashes of the files that a Write replaces.
func (r *Review) contents() (map[string][sha256.Size]byte, error) {
	out := map[string][sha256.Size]byte{}
	for _, name := range []string{"train.jsonl", "valid.jsonl", "test.jsonl", ProvenanceName} {
		hash := sha256.New()
		file, err := os.Open(filepath.Join(r.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(hash, file)
		file.Close()
		if err != nil {
			return nil, err
		}
		out[name] = [sha256.Size]byte(hash.Sum(nil))
	}
	return out, nil
}

func (r *Review) write() (kept int, err error) {
	set, err := atomicfile.Begin(r.dir)
	if err != nil {
		return 0, err
	}
	defer set.Discard()
	set.Record()
	lines := map[string][]string{}
	var from []Provenance
	var again []Decision // an edited row is another one, and has been looked at
	for i := range r.rows {
		row := r.at(i)
		d := Decision{Action: Accept}
		if row.Decision != nil {
			d = *row.Decision
		}
		line, keep, err := decide(row.row, r.format, d)
		if err != nil {
			return 0, err
		}
		if !keep {
			continue
		}
		lines[row.Split] = append(lines[row.Split], line)
		p := row.Provenance
		p.Row, p.Hash = len(lines[row.Split]), hashOf(line)
		from = append(from, p)
		if d.Action == Edit {
			again = append(again, Decision{Hash: p.Hash, Action: Accept})
		}
	}
	for _, split := range splitNames {
		if err := writeLines(set, split+".jsonl", lines[split]); err != nil {
			return 0, err
		}
	}
	if err := writeJSON(set, ProvenanceName, from); err != nil {
		return 0, err
	}
	if err := set.Commit(); err != nil {
		return 0, err
	}
	for _, d := range again {
		if err := appendDecision(r.dir, d); err != nil {
			return 0, err
		}
	}
	return len(from), nil
}

// reviewed changes lines by the decisions of an earlier review, and counts these.
func reviewed(rows []dataset.Row, as dataset.Format, lines []string, from []Provenance, decided map[string]Decision, count map[Action]int) ([]string, []Provenance, error) {
	var outLines []string
	var out []Provenance
	for i, line := range lines {
		if d, ok := decided[hashOf(line)]; ok {
			changed, keep, err := decide(rows[i], as, d)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", DecisionsName, err)
			}
			count[d.Action]++
			if !keep {
				continue
			}
			line = changed
		}
		p := from[i]
		p.Row, p.Hash = len(outLines)+1, hashOf(line)
		outLines, out = append(outLines, line), append(out, p)
	}
	return outLines, out, nil
}
