package making

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/dataset/near"
	"github.com/lentil-lm/lentil/eval/score"
)

// A Report tells what became of the books.
type Report struct {
	Format  Format       `json:"format"`
	Books   []BookReport `json:"books"`
	Unread  []string     `json:"unread,omitempty"`  // files that could not be read
	Copies  []Copy       `json:"copies,omitempty"`  // books that stand in another one
	Foreign []string     `json:"foreign,omitempty"` // books in another language than English: no questions without a model
	Licence int          `json:"licence,omitempty"` // blocks outside of the text of the books themselves

	Passages  int            `json:"passages"`
	Units     int            `json:"units"` // of the split
	Facts     int            `json:"facts"`
	Rows      map[string]int `json:"rows"` // by split
	Texts     map[string]int `json:"texts"`
	Kinds     map[Kind]int   `json:"kinds"`
	Questions map[string]int `json:"questions"` // distinct ones in rows ("rows"), and those for measuring by kind
	Tokens    int            `json:"tokens"`    // of the rows for training
	Median    int            `json:"median"`    // tokens of a row
	P95       int            `json:"p95"`
	Longest   int            `json:"longest"`
	Mixed     float64        `json:"mixed,omitempty"` // share of the tokens that other datasets have

	Grounded  int            `json:"grounded"`                  // rows whose quote stands on the page
	Near      int            `json:"near"`                      // rows that tell nearly the same as another
	Meaning   int            `json:"near_by_meaning,omitempty"` // of these, by vectors alone
	Moved     int            `json:"moved"`                     // facts that were put beside their like on the other side of the split
	Leak      float64        `json:"leak"`                      // share of the rows of valid and test that training has, or nearly
	TextLeak  float64        `json:"text_leak"`                 // share of the runs of eight words of test passages that training passages have
	Personal  int            `json:"personal"`                  // addresses and numbers of persons
	Dropped   map[string]int `json:"dropped"`                   // facts, by reason
	Reviewed  map[Action]int `json:"reviewed,omitempty"`        // rows, by what a review decided: rejected ones are not in Rows
	WithFacts int            `json:"passages_with_rows"`
	Calls     int            `json:"calls,omitempty"` // of the model
	Spent     int            `json:"-"`               // tokens of its prompts and answers, in this process
	Plan      *Plan          `json:"plan,omitempty"`  // where nothing was asked
}

// A BookReport tells which pages of a book gave rows.
type BookReport struct {
	Path    string   `json:"path"`
	Title   string   `json:"title,omitempty"`
	Words   int      `json:"words"`
	Kept    float64  `json:"kept"` // share of the words that passages have
	Places  int      `json:"places"`
	Without []string `json:"without"` // pages, or headings, without a row of questions
}

// place is the page of a passage, or the headings above it.
func (p *Passage) spot() string {
	if p.Page != "" {
		return "page " + p.Page
	}
	if len(p.Path) > 0 {
		return strings.Join(p.Path[max(0, len(p.Path)-2):], " > ")
	}
	return fmt.Sprintf("block %d", p.From+1)
}

func (m *maker) fillReport(made *Made) {
	r := &m.report
	r.Format, r.Passages, r.Dropped = m.opt.Format, len(m.passages), m.dropped
	r.Rows, r.Texts, r.Kinds, r.Questions = map[string]int{}, map[string]int{}, map[Kind]int{}, map[string]int{}
	asked, answered := map[string]bool{}, map[*Passage]bool{}
	var lengths []int
	mixed := 0
	for i := range made.Rows {
		row := &made.Rows[i]
		r.Rows[row.Split]++
		r.Kinds[row.Kind]++
		lengths = append(lengths, row.tokens)
		if row.Split == "train" {
			r.Tokens += row.tokens
		}
		if row.mixed != nil {
			mixed += row.tokens
			continue
		}
		asked[key(row.Question)] = true
		if row.Kind != Unknown {
			answered[row.passage] = true
			if row.grounded() {
				r.Grounded++
			}
		}
		if row.Near != "" {
			r.Near++
		}
		if row.ByMeaning {
			r.Meaning++
		}
	}
	if r.Tokens > 0 {
		r.Mixed = float64(mixed) / float64(r.Tokens)
	}
	r.Questions["rows"] = len(asked)
	for _, q := range made.Questions {
		r.Questions[string(q.Kind)]++
	}
	for split, texts := range made.Texts {
		r.Texts[split] = len(texts)
	}
	slices.Sort(lengths)
	if n := len(lengths); n > 0 {
		r.Median, r.P95, r.Longest = lengths[n/2], lengths[(n-1)*95/100], lengths[n-1]
	}
	r.WithFacts = len(answered)
	m.leaks(made)
	m.books(answered)
}

// books fills in what each book gave.
func (m *maker) books(answered map[*Passage]bool) {
	var list []BookReport
	spots := map[string]bool{} // of the book, with whether it has a row
	var order []string
	var last *Passage
	flush := func() {
		if last == nil {
			return
		}
		b := &list[len(list)-1]
		b.Places = len(order)
		for _, s := range order {
			if !spots[s] {
				b.Without = append(b.Without, s)
			}
		}
		b.Kept = float64(b.Words) / float64(max(m.bookWords[last.Book], 1))
		clear(spots)
		order = nil
	}
	for _, p := range m.passages {
		if last == nil || p.Book != last.Book {
			flush()
			list = append(list, BookReport{Path: p.Book, Title: p.Title, Without: []string{}})
		}
		last = p
		list[len(list)-1].Words += wordCount(p.Text)
		s := p.spot()
		if _, ok := spots[s]; !ok {
			order = append(order, s)
		}
		spots[s] = spots[s] || answered[p]
	}
	flush()
	m.report.Books = list
}

// leaks measures what of the rows and passages for testing training has, too.
func (m *maker) leaks(made *Made) {
	var x near.Index
	exact := map[string]bool{}
	for _, r := range made.Rows {
		if r.Split == "train" && r.mixed == nil {
			x.Add(near.Of(r.Question + " " + r.Answer))
			exact[key(r.Question)] = true
		}
	}
	held, leaked := 0, 0
	for _, r := range made.Rows {
		if r.Split == "train" || r.mixed != nil {
			continue
		}
		held++
		if at, _ := x.Find(near.Of(r.Question + " " + r.Answer)); at >= 0 || exact[key(r.Question)] {
			leaked++
		}
	}
	if held > 0 {
		m.report.Leak = float64(leaked) / float64(held)
	}
	const run = 8
	runs := map[string]bool{}
	each := func(p *Passage, f func(string)) {
		words := near.Words(p.Text)
		for i := 0; i+run <= len(words); i++ {
			f(strings.Join(words[i:i+run], " "))
		}
	}
	for _, p := range m.passages {
		if p.split == "train" {
			each(p, func(s string) { runs[s] = true })
		}
	}
	all, in := 0, 0
	for _, p := range m.passages {
		if p.split == "test" {
			each(p, func(s string) {
				if all++; runs[s] {
					in++
				}
			})
		}
	}
	if all > 0 {
		m.report.TextLeak = float64(in) / float64(all)
	}
}

// without names the first places that have no row.
func (b *BookReport) without() string {
	const named = 5
	switch n := len(b.Without); {
	case n == 0:
		return ""
	case n > named:
		return fmt.Sprintf("; none: %s and %d more", strings.Join(b.Without[:named], ", "), n-named)
	}
	return "; none: " + strings.Join(b.Without, ", ")
}

// String sums the report up.
func (r *Report) String() string {
	var b strings.Builder
	for _, book := range r.Books {
		fmt.Fprintf(&b, "%s: %d words, %d of %d places with rows%s\n", book.Path, book.Words, book.Places-len(book.Without), book.Places, book.without())
	}
	if r.Format == Texts || r.Rows["train"]+r.Rows["valid"]+r.Rows["test"] == 0 {
		fmt.Fprintf(&b, "%d passages; rows of text: %d train, %d valid, %d test\n", r.Passages, r.Texts["train"], r.Texts["valid"], r.Texts["test"])
		fmt.Fprintf(&b, "Leak: %.1f %% of the runs of 8 words of valid and test stand in train\n", 100*r.TextLeak)
		b.WriteString(r.rest())
		return b.String()
	}
	fmt.Fprintf(&b, "%d facts in %d passages; rows: %d train, %d valid, %d test; %d distinct questions; rows of text: %d\n", r.Facts, r.Passages, r.Rows["train"], r.Rows["valid"], r.Rows["test"], r.Questions["rows"], r.Texts["train"]+r.Texts["valid"]+r.Texts["test"])
	var kinds []string
	for _, k := range sortedKeys(r.Kinds) {
		kinds = append(kinds, fmt.Sprintf("%d %s", r.Kinds[k], k))
	}
	fmt.Fprintf(&b, "Kinds: %s\n", strings.Join(kinds, ", "))
	fmt.Fprintf(&b, "Tokens of a row: median %d, 95 %% up to %d, longest %d; %d in all for training\n", r.Median, r.P95, r.Longest, r.Tokens)
	fmt.Fprintf(&b, "Leak: %.1f %% of the rows of valid and test stand in train, or nearly; %.1f %% of the runs of 8 words of their passages\n", 100*r.Leak, 100*r.TextLeak)
	if r.Near > 0 {
		fmt.Fprintf(&b, "Nearly the same as another row: %d, %d of them by their vectors alone\n", r.Near, r.Meaning)
	}
	b.WriteString(r.rest())
	return b.String()
}

// rest is what the report of rows and that of texts have in common.
func (r *Report) rest() string {
	var b strings.Builder
	if r.Personal > 0 {
		fmt.Fprintf(&b, "Addresses and numbers of persons: %d\n", r.Personal)
	}
	for _, reason := range sortedKeys(r.Dropped) {
		if r.Dropped[reason] > 0 {
			fmt.Fprintf(&b, "Left out: %d (%s)\n", r.Dropped[reason], reason)
		}
	}
	if n := r.Reviewed; len(n) > 0 {
		fmt.Fprintf(&b, "Reviewed: %d accepted, %d edited, %d rejected, which are in no file; kinds and tokens count them\n", n[Accept], n[Edit], n[Reject])
	}
	var questions []string
	for _, k := range score.Kinds {
		if n := r.Questions[string(k)]; n > 0 {
			questions = append(questions, fmt.Sprintf("%d %s", n, k))
		}
	}
	fmt.Fprintf(&b, "Questions for measuring: %s\n", cmp.Or(strings.Join(questions, ", "), "none"))
	return b.String()
}

// maxShown is how many rows the page shows of each kind.
const maxShown = 8

// Page is the report as one HTML file that loads nothing.
func (m *Made) Page() ([]byte, error) {
	type shown struct {
		Kind  Kind
		Count int
		Rows  []Row
	}
	var kinds []shown
	for _, k := range sortedKeys(m.Report.Kinds) {
		s := shown{Kind: k, Count: m.Report.Kinds[k]}
		for _, r := range m.Rows {
			if r.Kind == k && r.mixed == nil && len(s.Rows) < maxShown {
				s.Rows = append(s.Rows, r)
			}
		}
		kinds = append(kinds, s)
	}
	var b bytes.Buffer
	err := page.Execute(&b, map[string]any{"Report": &m.Report, "Kinds": kinds, "Summary": m.Report.String()})
	return b.Bytes(), err
}

// Place says where a row comes from, for people.
func (r Row) Place() string {
	if r.passage == nil {
		return r.By
	}
	return r.passage.place()
}

var page = template.Must(template.New("report").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Dataset report</title>
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #8886;white-space:pre-wrap;overflow-wrap:anywhere}
blockquote{margin:.2rem 0 0;padding-left:.6rem;border-left:3px solid #8886;font-size:.9em}
</style></head><body>
<h1>Dataset report</h1>
<pre>{{.Summary}}</pre>
<h2>Coverage</h2>
{{range .Report.Books}}<h3>{{if .Title}}{{.Title}}{{else}}{{.Path}}{{end}}</h3>
<p>{{.Words}} words, {{.Places}} places; without a row of questions: {{len .Without}}.</p>
{{if .Without}}<details><summary>Places without rows</summary><ul>{{range .Without}}<li>{{.}}</li>{{end}}</ul></details>{{end}}
{{end}}
{{range .Report.Copies}}<p>{{.Path}} is left out: it stands in {{.Of}}.</p>{{end}}
{{range .Report.Unread}}<p>Could not be read: {{.}}</p>{{end}}
<h2>Rows</h2>
{{range .Kinds}}<h3>{{.Kind}}: {{.Count}}</h3>
<table><thead><tr><th scope="col">Question</th><th scope="col">Answer and quote</th><th scope="col">Place</th></tr></thead><tbody>
{{range .Rows}}<tr><td>{{.Question}}</td><td>{{.Answer}}{{if .Quote}}<blockquote>{{.Quote}}</blockquote>{{end}}</td><td>{{.Place}}</td></tr>
{{end}}</tbody></table>
{{end}}
</body></html>
`))
