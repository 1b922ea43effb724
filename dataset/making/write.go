package making

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
)

// Format is how rows are laid out in the files.
type Format string

// The formats.
const (
	Messages    Format = "messages"
	Completions Format = "completions"
	Texts       Format = "text" // continued pretraining: no questions
	Alpaca      Format = "alpaca"
	ShareGPT    Format = "sharegpt"
	Pairs       Format = "dpo" // a right answer and a wrong one
)

// Formats are all of them.
var Formats = []string{string(Messages), string(Completions), string(Texts), string(Alpaca), string(ShareGPT), string(Pairs)}

var written = map[Format]dataset.Format{
	Messages: dataset.Chat, Completions: dataset.Completions, Alpaca: dataset.Alpaca, ShareGPT: dataset.ShareGPT, Pairs: dataset.Preference,
}

// Names of the files of a dataset beside train.jsonl, valid.jsonl and test.jsonl.
const (
	ProvenanceName = "provenance.jsonl"
	QuestionsName  = "questions.jsonl"
	ReportName     = "report.json"
	PageName       = "report.html"
	TextFolder     = "text" // train.jsonl, valid.jsonl and test.jsonl of texts
)

// Provenance is where a row comes from: a line of provenance.jsonl.
type Provenance struct {
	Split   string   `json:"split"`
	Row     int      `json:"row"` // line of the split's file, from 1
	Kind    Kind     `json:"kind"`
	Source  string   `json:"source"` // file of the book
	Title   string   `json:"title,omitempty"`
	Page    string   `json:"page,omitempty"`
	Chapter string   `json:"chapter,omitempty"`
	Path    []string `json:"path,omitempty"`
	Offset  int      `json:"offset"` // of the block in the text of the book, in bytes
	Prompt  string   `json:"prompt"` // the rule or the prompt that made the row
	Model   string   `json:"model"`
	Quote   string   `json:"quote,omitempty"`
	Near    string   `json:"near,omitempty"`    // a row that tells nearly the same
	NearBy  string   `json:"near_by,omitempty"` // "words" or "meaning": how that was found
	Scores  Scores   `json:"scores"`
	Hash    string   `json:"hash"` // SHA-256 of the line
}

// Scores are what was found of a row.
type Scores struct {
	Grounded bool `json:"grounded"` // the quote stands on the page
	Copied   int  `json:"copied"`   // the longest run of words of the answer that the page has
	Tokens   int  `json:"tokens"`
}

// row is a row as the dataset reads it.
func (r *Row) row(o *Options) dataset.Row {
	if r.mixed != nil {
		return *r.mixed
	}
	var ask []chat.Value
	system := o.System
	if r.Profile != nil {
		system = r.Profile.System(system)
	}
	if system != "" {
		ask = append(ask, chat.NewMessage("system", system))
	}
	ask = append(ask, chat.NewMessage("user", r.Question))
	answer := chat.NewMessage("assistant", r.Answer)
	if o.Format == Pairs {
		return dataset.Row{Format: dataset.Preference, Messages: ask, Chosen: []chat.Value{answer}, Rejected: []chat.Value{chat.NewMessage("assistant", r.Wrong)}}
	}
	ask = append(ask, answer)
	if len(r.More) == 2 && (o.Format == Messages || o.Format == ShareGPT) { // the others have one question and one answer
		ask = append(ask, chat.NewMessage("user", r.More[0]), chat.NewMessage("assistant", r.More[1]))
	}
	return dataset.Row{Format: dataset.Chat, Messages: ask}
}

// lines writes the rows of a split, and where each comes from. It counts what a review decided on them.
func (m *Made) lines(split string, decided map[string]Decision, count map[Action]int) (lines []string, from []Provenance, err error) {
	if m.opt.Format == Texts {
		for _, text := range m.Texts[split] {
			line, err := dataset.FormatRow(dataset.Row{Format: dataset.Text, Text: text}, dataset.Text)
			if err != nil {
				return nil, nil, err
			}
			lines = append(lines, line)
		}
		return lines, nil, nil
	}
	var rows []dataset.Row
	for i := range m.Rows {
		r := &m.Rows[i]
		if r.Split != split {
			continue
		}
		row := r.row(&m.opt)
		line, err := dataset.FormatRow(row, written[m.opt.Format])
		if err != nil {
			if r.mixed != nil {
				return nil, nil, fault.At("mix", "%s: %w", r.By, err).Try("Take the format messages.")
			}
			return nil, nil, err
		}
		rows, lines = append(rows, row), append(lines, line)
		from = append(from, r.provenance(line, len(lines)))
	}
	return reviewed(rows, written[m.opt.Format], lines, from, decided, count)
}

func (r *Row) provenance(line string, number int) Provenance {
	v := Provenance{Split: r.Split, Row: number, Kind: r.Kind, Prompt: r.By, Model: r.Model, Quote: r.Quote, Near: r.Near, Hash: hashOf(line)}
	if r.Near != "" {
		v.NearBy = map[bool]string{false: "words", true: "meaning"}[r.ByMeaning]
	}
	v.Scores.Tokens = r.tokens
	if p := r.passage; p != nil {
		b := &p.doc.Blocks[r.block]
		v.Source, v.Title, v.Path, v.Offset = p.Book, p.Title, b.Path, b.Offset
		v.Page, v.Chapter = cmp.Or(b.Page, p.Page), cmp.Or(b.Chapter, p.Chapter)
		if r.Kind != Unknown {
			v.Scores.Grounded = r.grounded()
			v.Scores.Copied = copied(r.Answer, p.Text)
		}
	} else {
		v.Source = r.By
	}
	return v
}

// grounded tells whether the row's quote stands on its page, whatever the white space and the signs.
func (r *Row) grounded() bool {
	quote := normal(r.Quote)
	if quote == "" {
		return false
	}
	return strings.Contains(r.passage.normal(), quote) || r.fact.second != nil && strings.Contains(r.passage.normal()+r.fact.second.normal(), quote)
}

// normal is the passage for searching quotes.
func (p *Passage) normal() string {
	if p.plain == "" {
		p.plain = normal(p.Text)
	}
	return p.plain
}

// maxCopied is how much of a passage is compared, in bytes: few are as long.
const maxCopied = 50_000

// copied is the longest run of words that an answer has in common with a passage.
func copied(answer, passage string) int {
	a, p := strings.Fields(key(answer)), strings.Fields(key(passage[:min(len(passage), maxCopied)]))
	most := 0
	run := make([]int, len(p)+1) // run[j+1]: words in common that end at a[i] and p[j]
	for i := range a {
		for j := len(p) - 1; j >= 0; j-- {
			if a[i] == p[j] {
				run[j+1] = run[j] + 1
				most = max(most, run[j+1])
			} else {
				run[j+1] = 0
			}
		}
	}
	return most
}

// Vacant refuses a folder with files in it that no dataset's are.
func Vacant(dir string) error { return atomicfile.Unowned("out", dir, mayStay) }

// Write puts the dataset into a folder, all of it or nothing. What is there and was not written by an earlier Write is
// refused, unless overwrite.
func (m *Made) Write(dir string, overwrite bool) error {
	if !overwrite {
		if err := Vacant(dir); err != nil {
			return err
		}
	}
	decided, err := readDecisions(dir)
	if err != nil {
		return err
	}
	set, err := atomicfile.Begin(dir)
	if err != nil {
		return err
	}
	defer set.Discard()
	set.Record()
	var from []Provenance
	m.Report.Reviewed = map[Action]int{}
	for _, split := range splitNames {
		lines, of, err := m.lines(split, decided, m.Report.Reviewed)
		if err != nil {
			return err
		}
		if m.opt.Format != Texts {
			m.Report.Rows[split] = len(lines)
		}
		from = append(from, of...)
		if err := writeLines(set, split+".jsonl", lines); err != nil {
			return err
		}
		if m.opt.Format == Texts {
			continue
		}
		var texts []string
		for _, text := range m.Texts[split] {
			line, err := dataset.FormatRow(dataset.Row{Format: dataset.Text, Text: text}, dataset.Text)
			if err != nil {
				return err
			}
			texts = append(texts, line)
		}
		if err := writeLines(set, TextFolder+"/"+split+".jsonl", texts); err != nil {
			return err
		}
	}
	if err := writeJSON(set, ProvenanceName, from); err != nil {
		return err
	}
	if err := writeJSON(set, QuestionsName, m.Questions); err != nil {
		return err
	}
	text, err := json.MarshalIndent(&m.Report, "", "    ")
	if err != nil {
		return err
	}
	if err := set.Write(ReportName, append(text, '\n')); err != nil {
		return err
	}
	page, err := m.Page()
	if err != nil {
		return err
	}
	if err := set.Write(PageName, page); err != nil {
		return err
	}
	return set.Commit()
}

func writeLines(set *atomicfile.Set, name string, lines []string) error {
	return set.Stream(name, func(w io.Writer) error {
		b := bufio.NewWriter(w)
		for _, line := range lines {
			b.WriteString(line)
			b.WriteByte('\n')
		}
		return b.Flush()
	})
}

func writeJSON[T any](set *atomicfile.Set, name string, list []T) error {
	return set.Stream(name, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		for _, v := range list {
			if err := e.Encode(v); err != nil {
				return err
			}
		}
		return nil
	})
}

// contentOf is the text of a message.
func contentOf(v chat.Value) string {
	d, ok := v.(*chat.Dict)
	if !ok {
		return ""
	}
	content, _ := d.Get("content")
	text, _ := content.(string)
	return text
}

// sortedKeys are the keys of a count, the most frequent first.
func sortedKeys[K cmp.Ordered](counts map[K]int) []K {
	keys := make([]K, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b K) int { return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b)) })
	return keys
}
