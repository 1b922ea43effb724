package score

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// A Kind says what a question is to show. Scores are told for each kind by itself.
type Kind string

// The kinds of questions.
const (
	Trained      Kind = "trained"      // a fact of the training data, in other words
	Unseen       Kind = "unseen"       // a fact of the books that no row of the training data tells
	Unanswerable Kind = "unanswerable" // the books do not tell: right is to say so
	General      Kind = "general"      // has nothing to do with the books, and should not be forgotten
	Profile      Kind = "profile"      // someone's rules, in System, are to be kept
)

// Kinds are the kinds in the order in which they are told.
var Kinds = []Kind{Trained, Unseen, Unanswerable, Profile, General}

// A Question is one line of a question file.
type Question struct {
	ID       string `json:"id,omitempty"`
	Question string `json:"question"`
	// Answer is what a good answer could say. Without Facts, the figures in it that the question does not have are
	// the facts; if it has none, the words of the answer are compared with its own.
	Answer string `json:"answer,omitempty"`
	Facts  []Fact `json:"facts,omitempty"` // all have to be in a right answer
	// Never are terms that a right answer does not have, or only after a "not" or "without".
	Never []string `json:"never,omitempty"`
	Kind  Kind     `json:"kind,omitempty"`
	// Choices makes it a question of multiple choice: the model's is the one that it finds likeliest.
	Choices []string `json:"choices,omitempty"`
	Correct int      `json:"correct,omitempty"` // index into Choices
	System  string   `json:"system,omitempty"`  // the system message
	Profile string   `json:"profile,omitempty"` // id of the profile that a right answer keeps; whoever asks has it
	Page    string   `json:"page,omitempty"`    // where the answer stands
	Passage string   `json:"passage,omitempty"` // the text there, which comes with the question

	form *Form // of a published layout
}

// A Fact is what has to be in an answer: a figure, or a term. In a file it may be a text, which is a figure if it
// begins with a number or a bound such as "less than 5 g".
type Fact struct {
	Figure    string   `json:"figure,omitempty"`    // "9 g", "3-5 mg", "74 °C"
	Tolerance string   `json:"tolerance,omitempty"` // "5 %" or "0.5 g"; without, as exact as it is written
	Term      string   `json:"term,omitempty"`
	Synonyms  []string `json:"synonyms,omitempty"`
}

// UnmarshalJSON reads a fact, or a text in place of one.
func (f *Fact) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*f = factOf(text)
		return nil
	}
	type plain Fact
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(f))
}

func factOf(text string) Fact {
	if q := quantities(text); len(q) == 1 && q[0].from == 0 {
		return Fact{Figure: text}
	}
	return Fact{Term: text}
}

func (f Fact) String() string { return f.Figure + f.Term }

// Key names what a model is asked, not how its answer is scored: an answer is good for as long as this stays.
func (q *Question) Key() string {
	text, err := json.Marshal([]any{q.System, q.Question, q.Choices, q.Passage})
	if err != nil {
		return "" // strings always have a form in JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// maxQuestions bounds a file of questions, in bytes.
const maxQuestions = 256 << 20

// maxLine bounds one question, whose prompt has to fit into a model.
const maxLine = 1 << 20

// Read reads a file of questions: JSON lines, or one JSON list, in Lentil's form, as rows of messages or of prompt and
// completion, or in the layout of a published set (see layouts). setting is what the user gave the path as.
func Read(setting fault.Setting, path string) ([]Question, error) {
	data, err := smallfile.ReadAny(path, maxQuestions)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Given(setting, path, "there is no such file").Try(`Write one question a line: {"question": "...", "answer": "...", "facts": ["9 g"]}`)
	}
	if err != nil {
		return nil, fault.At(setting, "%w", err)
	}
	out, err := Parse(path, data)
	switch {
	case err != nil:
		return nil, fault.At(setting, "%w", err)
	case len(out) == 0:
		return nil, fault.Given(setting, path, "it has no questions").Try(`Write one a line: {"question": "...", "answer": "...", "facts": ["9 g"]}`)
	}
	return out, nil
}

// Parse reads the content of a file of questions; path is for messages.
func Parse(path string, data []byte) (out []Question, err error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if list := bytes.TrimSpace(data); len(list) > 0 && list[0] == '[' {
		var rows []json.RawMessage
		if err := json.Unmarshal(data, &rows); err != nil {
			return nil, jsonpos.Error(path, data, err)
		}
		for i, row := range rows {
			q, err := readOne(row)
			if err != nil {
				return nil, fmt.Errorf("%s: entry %d: %w", path, i+1, err)
			}
			out = append(out, q)
		}
		return out, nil
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		q, err := readOne(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		out = append(out, q)
	}
	return out, nil
}

// readOne reads one question in whichever layout it has, and checks it.
func readOne(line []byte) (Question, error) {
	if len(line) > maxLine {
		return Question{}, fault.Of("a question of %d bytes, expected at most %d", len(line), maxLine)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(line, &keys); err != nil {
		return Question{}, fault.Of("%w", err)
	}
	for _, l := range layouts {
		if has := func(key string) bool { _, ok := keys[key]; return ok }; slices.ContainsFunc(l.keys, func(k string) bool { return !has(k) }) {
			continue
		}
		q, ok, err := l.read(line)
		if err != nil {
			return q, fault.Of("%w", err)
		}
		if ok {
			return q, q.check()
		}
	}
	return Question{}, fault.Of("no question was found in it; it has %s", strings.Join(sorted(keys), ", ")).
		Try(`A line is {"question": "...", "answer": "...", "facts": ["9 g"], "kind": "trained"}, a row of messages, or one of a published set.`)
}

func sorted(keys map[string]json.RawMessage) []string {
	var out []string
	for k := range keys {
		out = append(out, `"`+k+`"`)
	}
	slices.Sort(out)
	return out[:min(len(out), 12)]
}

// check refuses a question that nothing could be right for.
func (q *Question) check() error {
	if q.Kind == "" {
		q.Kind = Trained
	}
	switch {
	case strings.TrimSpace(q.Question) == "":
		return fault.Of(`"question" is empty`)
	case !slices.Contains(Kinds, q.Kind):
		return fault.Of(`"kind" is %q, expected trained, unseen, unanswerable, profile or general`, q.Kind)
	case len(q.Choices) == 1:
		return fault.Of(`"choices" has one entry, expected two or more`)
	case len(q.Choices) > 0 && (q.Correct < 0 || q.Correct >= len(q.Choices)):
		return fault.Of(`"correct" is %d, expected an index of "choices", 0 to %d`, q.Correct, len(q.Choices)-1)
	case len(q.Choices) == 0 && q.Answer == "" && len(q.Facts) == 0 && len(q.Never) == 0 && q.Profile == "" && q.Kind != Unanswerable:
		return fault.Of("nothing says what a right answer is").Try(`Add "answer", "facts", "never" or "choices", or "kind": "unanswerable".`)
	}
	for i, c := range q.Choices {
		if strings.TrimSpace(c) == "" {
			return fault.Of(`entry %d of "choices" is empty`, i+1)
		}
	}
	for i, f := range q.Facts {
		if err := f.check(); err != nil {
			return fault.Of("fact %d: %w", i+1, err)
		}
	}
	return nil
}

func (f Fact) check() error {
	if (f.Figure == "") == (strings.TrimSpace(f.Term) == "") {
		return fault.Of(`a fact has "figure" or "term"`)
	}
	if f.Figure == "" {
		return nil
	}
	if n := len(quantities(f.Figure)); n != 1 {
		return fault.Of("%q is no figure: a number and its unit are expected, such as 9 g", f.Figure)
	}
	if f.Tolerance != "" {
		if t := quantities(f.Tolerance); len(t) != 1 || t[0].lo < 0 || t[0].lo != t[0].hi {
			return fault.Of(`"tolerance" is %q, expected a share such as 5 %%, or an amount such as 0.5 g`, f.Tolerance)
		}
		by, of := quantities(f.Tolerance)[0], quantities(f.Figure)[0]
		switch share := by.unit.dim == "share" && of.unit.dim != "share"; {
		case share && by.hi >= 100:
			return fault.Of(`"tolerance" is %q, which 0 is within: expected less than 100 %%`, f.Tolerance)
		case !share && by.unit.dim != "" && by.unit.dim != of.unit.dim:
			return fault.Of(`"tolerance" is %q, expected a share such as 5 %%, or an amount in a unit that %s has`, f.Tolerance, f.Figure)
		}
	}
	return nil
}

// Name is the question's id, or its first words.
func (q *Question) Name() string {
	if q.ID != "" {
		return q.ID
	}
	const most = 60
	if r := []rune(q.Question); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return q.Question
}

// SetName is what a set of questions is called: its file without folder and ending.
func SetName(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// Reference is what would be right, in a few words.
func (q *Question) Reference() string {
	switch {
	case len(q.Choices) > 0:
		return q.Choices[q.Correct]
	case q.Answer != "":
		return q.Answer
	case len(q.Facts) > 0:
		var parts []string
		for _, f := range q.Facts {
			parts = append(parts, f.String())
		}
		return strings.Join(parts, ", ")
	case len(q.Never) > 0:
		return "nothing with " + strings.Join(q.Never, ", ")
	}
	return "to say that it is not known"
}
