package making

import (
	"encoding/json"
	"regexp"
	"strings"
)

// A draft is a row as a model wrote it.
type draft struct {
	Kind     Written `json:"kind"`
	Question string  `json:"question"`
	Other    string  `json:"other_wording"`
	Answer   string  `json:"answer"`
	Quote    string  `json:"quote"`

	FollowQuestion string `json:"follow_question"`
	FollowAnswer   string `json:"follow_answer"`
}

// maxDrafts bounds the rows of one reply.
const maxDrafts = 64

// parseDrafts takes the rows out of a reply: JSON, as it was asked for, with whatever stands around it and however it
// ends; or lines that begin with "Question:" and "Answer:".
func parseDrafts(text string) (out []draft) {
	if _, after, ok := strings.Cut(text, "</think>"); ok {
		text = after
	}
	for at := 0; at < len(text) && len(out) < maxDrafts; {
		open := strings.IndexByte(text[at:], '{')
		if open < 0 {
			break
		}
		at += open
		end := objectEnd(text[at:])
		if end < 0 { // cut off, or the object around the rows
			end = 1
		}
		var d draft
		if piece := text[at : at+end]; end > 1 && json.Unmarshal([]byte(tidyJSON(piece)), &d) == nil && d.Question != "" {
			out = append(out, d)
			at += end
			continue
		}
		at++
	}
	if len(out) == 0 {
		out = plainDrafts(text)
	}
	return out
}

// objectEnd is the length of the JSON object that s begins with; -1 if it has no end.
func objectEnd(s string) int {
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

var (
	trailingComma = regexp.MustCompile(`,\s*([}\]])`)
	plainTurn     = regexp.MustCompile(`(?im)^[ \t]*(?:\*\*)?(?:\d+[.)] ?)?(q|question|a|answer|quote)(?:uestion)? ?\d*(?:\*\*)? ?:(?:\*\*)?[ \t]*`)
)

// tidyJSON mends what models write that is no JSON: line breaks in texts, commas before an end.
func tidyJSON(s string) string {
	if json.Valid([]byte(s)) {
		return s
	}
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quoted && c == '\\' && i+1 < len(s):
			b.WriteByte(c)
			i++
			c = s[i]
		case c == '"':
			quoted = !quoted
		case quoted && c == '\n':
			b.WriteString(`\n`)
			continue
		case quoted && c == '\t':
			b.WriteString(`\t`)
			continue
		}
		b.WriteByte(c)
	}
	return trailingComma.ReplaceAllString(b.String(), "$1")
}

// plainDrafts reads "Q: ... A: ..." as small models write it.
func plainDrafts(text string) (out []draft) {
	marks := plainTurn.FindAllStringSubmatchIndex(text, 3*maxDrafts)
	for i, m := range marks {
		end := len(text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		said := strings.TrimSpace(text[m[1]:end])
		switch strings.ToLower(text[m[2]:m[3]])[0] {
		case 'q':
			if strings.EqualFold(text[m[2]:m[3]], "quote") {
				if len(out) > 0 {
					out[len(out)-1].Quote = strings.Trim(said, `"“”`)
				}
				continue
			}
			out = append(out, draft{Question: said})
		case 'a':
			if len(out) > 0 && out[len(out)-1].Answer == "" {
				out[len(out)-1].Answer = said
			}
		}
	}
	return out
}
