package hub

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// A Card is what a model card tells about a model. Empty fields are left out.
type Card struct {
	Repo      string // the repository the card is for
	BaseModel string // the repository of the base model
	Override  bool   // BaseModel goes before what the old card says
	Tool      string // what the model was made with, "lentil 0.3"
	Data      string // what it was trained on: a dataset's repository, or a description
	Measured  string // what it was measured on and not trained on
	Adapter   bool   // an adapter alone, to be put on the base model
	Settings  []CardRow
	Results   []CardFigure

	kept string // in place of Settings and Results: the text of an older card about them
}

// A CardRow is one line of a card's table.
type CardRow struct{ Name, Value string }

// A CardFigure is what was measured, of the base model and after training; empty where it was not.
type CardFigure struct{ Name, Base, Tuned string }

// cardMark opens the text of a card that Lentil wrote and may write again.
const cardMark = "<!-- Written by lentil. Take this line out and the text is yours: it will be kept. -->"

// Update returns README.md for an upload. It keeps the metadata of old, which may be empty, and what a person wrote,
// and puts the card in the place of what a tool wrote. Where the card says nothing of a training, it keeps what an
// older card of ours says.
func (c Card) Update(old []byte) []byte {
	meta, body := splitCard(string(old))
	c.keep(body)
	if base := metaValue(meta, "base_model"); base != "" && !c.Override {
		c.BaseModel = base
	} else if c.BaseModel != "" && meta != "" && base != c.BaseModel {
		if c.Override {
			meta = baseModelKey.ReplaceAllString(meta, "")
		}
		if !strings.Contains("\n"+meta, "\nbase_model:") {
			meta += "base_model: " + yamlText(c.BaseModel) + "\n"
		}
	}
	if meta == "" {
		meta = "library_name: mlx\npipeline_tag: text-generation\ntags:\n- mlx\n- lentil\n"
		if c.BaseModel != "" {
			meta += "base_model: " + yamlText(c.BaseModel) + "\n"
		}
	}
	if !isGenerated(body) {
		return []byte("---\n" + meta + "---\n" + body)
	}
	return []byte("---\n" + meta + "---\n\n" + c.text())
}

// baseModelKey is base_model in the metadata, with its value on further lines.
var baseModelKey = regexp.MustCompile(`(?m)^base_model:[^\n]*\n(?:[ \t-][^\n]*\n)*`)

var trainedOn = regexp.MustCompile(`(?m)^This model is .*?\btrained on (.*?)(?:, measured on (.*?))?(?:, made with .*)?\.$`)

// keep takes over what an older card tells of a training, if this one has nothing to tell.
func (c *Card) keep(body string) {
	if c.Data != "" || len(c.Settings)+len(c.Results) > 0 || !strings.HasPrefix(strings.TrimSpace(body), cardMark) {
		return
	}
	if m := trainedOn.FindStringSubmatch(body); m != nil {
		c.Data, c.Measured = m[1], m[2]
	}
	if from, to := strings.Index(body, "\n## "), strings.LastIndex(body, useTitle); 0 <= from && from < to {
		c.kept = body[from:to]
	}
}

// text is the part of the card that people read.
func (c Card) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n# %s\n", cardMark, c.Repo)
	var origin []string
	if c.BaseModel != "" {
		origin = append(origin, fmt.Sprintf("from [%s](https://huggingface.co/%[1]s)", c.BaseModel))
	}
	if c.Data != "" {
		origin = append(origin, "trained on "+c.Data)
		if c.Measured != "" {
			origin = append(origin, "measured on "+c.Measured)
		}
	}
	if c.Tool != "" {
		origin = append(origin, "made with "+c.Tool)
	}
	if len(origin) > 0 {
		fmt.Fprintf(&b, "\nThis model is %s.\n", strings.Join(origin, ", "))
	}
	b.WriteString(c.kept)
	b.WriteString(c.measured())
	var settings [][]string
	for _, r := range c.Settings {
		settings = append(settings, []string{r.Name, r.Value})
	}
	b.WriteString(table("Training", []string{"", ""}, settings))
	b.WriteString(c.use())
	return b.String()
}

// measured is the table of results, with columns for what there is.
func (c Card) measured() string {
	head, columns := []string{""}, []func(CardFigure) string{func(f CardFigure) string { return f.Name }}
	add := func(title string, figure func(CardFigure) string) {
		for _, f := range c.Results {
			if figure(f) != "" {
				head, columns = append(head, title), append(columns, figure)
				return
			}
		}
	}
	add("base model", func(f CardFigure) string { return f.Base })
	add("this model", func(f CardFigure) string { return f.Tuned })
	var rows [][]string
	for _, f := range c.Results {
		var row []string
		for _, column := range columns {
			row = append(row, column(f))
		}
		rows = append(rows, row)
	}
	return table("Measured", head, rows)
}

// table is a section with a Markdown table, "" without rows.
func table(title string, head []string, rows [][]string) string {
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	cell := strings.NewReplacer("|", `\|`, "\r", " ", "\n", " ")
	line := func(cells []string) {
		for _, text := range cells {
			fmt.Fprintf(&b, "| %s ", cell.Replace(text))
		}
		b.WriteString("|\n")
	}
	fmt.Fprintf(&b, "\n## %s\n\n", title)
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

const useTitle = "\n## Use\n"

// use tells how to ask the model.
func (c Card) use() string {
	command := "chat --model " + c.Repo
	before := ""
	if c.Adapter {
		base := c.BaseModel
		if base == "" {
			base = "BASE_MODEL"
		}
		command = fmt.Sprintf("chat --model %s --adapter-path adapter", base)
		before = fmt.Sprintf("lentil download %s --local-dir adapter\n", c.Repo)
	}
	return fmt.Sprintf(useTitle+"\n```bash\n%slentil %s\n```\n\nor, with mlx-lm:\n\n```bash\nmlx_lm.%[2]s\n```\n", before, command)
}

// lineEnd is the end of a line as any editor writes it, or several over each other.
var lineEnd = regexp.MustCompile(`\r*\n`)

// splitCard parts the metadata between two lines of "---" from the text after it.
func splitCard(text string) (meta, body string) {
	text = lineEnd.ReplaceAllString(strings.TrimPrefix(text, "\ufeff"), "\n")
	rest, ok := strings.CutPrefix(text, "---\n")
	if !ok {
		return "", text
	}
	if strings.HasPrefix(rest, "---\n") {
		return "", rest[len("---\n"):]
	}
	end := strings.Index(rest, "\n---\n")
	if end < 0 {
		if meta, ok := strings.CutSuffix(rest, "\n---"); ok {
			return meta + "\n", ""
		}
		return "", text
	}
	return rest[:end+1], rest[end+len("\n---\n"):]
}

// isGenerated tells text that a tool wrote, ours or mlx-lm's, from a person's.
func isGenerated(body string) bool {
	body = strings.TrimSpace(body)
	return body == "" || strings.HasPrefix(body, cardMark) ||
		strings.HasPrefix(body, "# ") && strings.Contains(body, "\n## Use with mlx\n") && strings.HasSuffix(body, "```")
}

// metaValue reads a plain value, or the only item of a list, from the metadata's YAML.
func metaValue(meta, key string) string {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(key) + `:[ \t]*(?:\n[ \t]*-[ \t]+)?([^\n]*)$`).FindStringSubmatch(meta)
	if m == nil {
		return ""
	}
	return strings.Trim(strings.TrimSpace(m[1]), `[]"' `)
}

var plainYAML = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_./-]*$`)

// yamlText writes a string as YAML.
func yamlText(s string) string {
	if plainYAML.MatchString(s) {
		return s
	}
	text, _ := json.Marshal(s) // a string: cannot fail. JSON's strings are YAML's too.
	return string(text)
}
