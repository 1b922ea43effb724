package making

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/lentil-lm/lentil/eval/score"
)

// Reasons why a row that a model wrote is not taken.
const (
	noQuestion = "no question, or no answer"
	meta       = "speaks of the text instead of its subject"
	noQuote    = "the quote is not on the page"
	noFigure   = "a figure is not on the page"
	otherUnit  = "a figure has another unit on the page"
	copies     = "copies too much"
	claims     = "answers what the books do not tell"
	unsure     = "the judge does not find it on the page"
	breaks     = "breaks a rule of the user's"
	answerable = "the judge finds the answer on the page"
)

// metaRE fits questions and answers that only make sense to who has the page before them.
var metaRE = regexp.MustCompile(`(?i)\b(?:(?:this|the|above|given|provided|following) (?:text|passage|excerpt|paragraph|article|section|snippet|document)s?|according to the (?:text|passage|author)|the author (?:says|states|mentions|writes)|mentioned (?:above|here)|in the (?:text|passage|excerpt))\b`)

// normal is a text for searching a quote: letters and digits in lower case, with one way of writing quotes and dashes.
func normal(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("½¼¾⅓⅔%/", r) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

// quoteSupport is the share of the words of an answer that a sentence has to have, to stand for a quote that was not given.
const quoteSupport = 0.6

// findQuote gives the quote as the page has it. Without one that is there, the sentence that has most of the answer's words.
func findQuote(d *draft, page string) (string, bool) {
	if q := normal(d.Quote); len(q) >= 8 {
		for _, s := range sentences(page) { // a sentence as it stands is the better quote
			if normal(s) == q {
				return s, true
			}
		}
		if strings.Contains(normal(page), q) {
			return oneLine(d.Quote), true
		}
	}
	best, most := "", 0.0
	words := score.Words(d.Answer)
	lines := strings.Split(page, "\n")
	for _, line := range append(lines, sentences(page)...) {
		if share := support(words, line); share > most || share == most && len(line) < len(best) {
			best, most = line, share
		}
	}
	return oneLine(best), most >= quoteSupport && best != ""
}

// support is the share of words, without those of grammar, that a text has.
func support(words []string, text string) float64 {
	have := score.Words(text)
	n, in := 0, 0
	for _, w := range words {
		if common[w] {
			continue
		}
		n++
		if slices.Contains(have, w) {
			in++
		}
	}
	if n == 0 {
		return 0
	}
	return float64(in) / float64(n)
}

// borderline is the support by the page below which a judge is asked.
const borderline = 0.5

// refuse says why a draft is not taken, "" if it is; doubt says that a judge should see it. It sets the quote.
func (w *writer) refuse(d *draft, page string) (reason string, doubt bool) {
	d.Question, d.Answer = strings.TrimSpace(d.Question), strings.TrimSpace(d.Answer)
	if wordCount(d.Question) < 3 || d.Answer == "" || len(d.Answer) > maxAnswer || len(d.Question) > maxAnswer {
		return noQuestion, false
	}
	if metaRE.MatchString(d.Question + " " + d.Answer + " " + d.FollowQuestion + " " + d.FollowAnswer) {
		return meta, false
	}
	whole := d.Answer + " " + d.FollowAnswer
	if d.Kind == "unanswerable" {
		q := score.Question{Question: d.Question, Kind: score.Unanswerable}
		if !q.Mark(d.Answer, page).Right {
			return claims, false
		}
		d.Quote = ""
		return "", true
	}
	quote, ok := findQuote(d, page)
	if !ok {
		return noQuote, false
	}
	d.Quote = quote
	if reason := figuresFit(whole, page+"\n"+w.short.expand(page), d.Question+" "+d.FollowQuestion); reason != "" {
		return reason, false
	}
	if w.opt.MaxCopy > 0 && copied(d.Answer, page) > w.opt.MaxCopy {
		return copies, false
	}
	return "", support(score.Words(whole), page+"\n"+w.short.expand(page)) < borderline
}

// maxAnswer bounds a question or an answer, in bytes.
const maxAnswer = 8000

// figuresFit looks for every figure of an answer on the page, with its unit, or in the question.
func figuresFit(answer, page, question string) string {
	there := append(figuresOf(page), figuresOf(question)...)
	for _, f := range figuresOf(answer) {
		if f.step {
			continue
		}
		same := func(o numbered) bool { return o.value == f.value }
		if !slices.ContainsFunc(there, same) {
			return noFigure
		}
		if f.unit != "" && !slices.ContainsFunc(there, func(o numbered) bool { return same(o) && (o.unit == "" || o.unit == f.unit) }) {
			return otherUnit
		}
	}
	return ""
}

// A numbered is a number of a text with its unit.
type numbered struct {
	value float64
	unit  string
	step  bool // it numbers a line
}

var lineNumber = regexp.MustCompile(`(?m)^\s*\d{1,2}[.)] `)

func figuresOf(text string) (out []numbered) {
	steps := lineNumber.FindAllStringIndex(text, -1)
	for _, f := range figures(text) {
		whole := text[f.from:f.to]
		for _, at := range numberRE.FindAllStringIndex(whole, -1) {
			v, ok := numberOf(whole[at[0]:at[1]])
			if !ok {
				continue
			}
			isStep := slices.ContainsFunc(steps, func(s []int) bool { return s[0] <= f.from && f.from < s[1] })
			out = append(out, numbered{v, f.unit, isStep})
		}
	}
	return out
}
