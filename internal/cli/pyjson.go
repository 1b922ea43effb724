package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
)

// A dict is a JSON object that keeps the order of its members, as Python's does.
type dict []member

type member struct {
	key   string
	value any // nil, bool, int, int64, uint64, float64, string, []any or dict
}

// get gives the value of key, and whether it is there.
func (d dict) get(key string) (any, bool) {
	for _, m := range d {
		if m.key == key {
			return m.value, true
		}
	}
	return nil, false
}

// set replaces the value of key or adds it at the end.
func (d *dict) set(key string, value any) {
	for i, m := range *d {
		if m.key == key {
			(*d)[i].value = value
			return
		}
	}
	*d = append(*d, member{key, value})
}

// pythonJSON writes a value as Python's json.dump(value, indent=4) does: floats as repr writes them
// (1e-05, 20.0), everything beyond ASCII escaped, no newline at the end.
func pythonJSON(value any) string {
	var b strings.Builder
	writePython(&b, value, "\n")
	return b.String()
}

// writePython writes value; newline is the line break with the current indentation.
func writePython(b *strings.Builder, value any, newline string) {
	inner := newline + "    "
	switch v := value.(type) {
	case dict:
		if len(v) == 0 {
			b.WriteString("{}")
			return
		}
		for i, m := range v {
			b.WriteString([]string{"{", ","}[min(i, 1)] + inner)
			writePythonString(b, m.key)
			b.WriteString(": ")
			writePython(b, m.value, inner)
		}
		b.WriteString(newline + "}")
	case []any:
		if len(v) == 0 {
			b.WriteString("[]")
			return
		}
		for i, item := range v {
			b.WriteString([]string{"[", ","}[min(i, 1)] + inner)
			writePython(b, item, inner)
		}
		b.WriteString(newline + "]")
	case string:
		writePythonString(b, v)
	case float64:
		b.WriteString(pythonFloat(v))
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case nil:
		b.WriteString("null")
	default:
		fmt.Fprint(b, v)
	}
}

// pythonFloat writes a number as Python's repr: the shortest digits that read back, with an exponent
// below 1e-4 and from 1e16 on.
func pythonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

func writePythonString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < 0x20 || r > 0x7e && r <= 0xffff:
			if r == 0x7f {
				b.WriteRune(r) // Python leaves DEL as it is
				continue
			}
			fmt.Fprintf(b, `\u%04x`, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
