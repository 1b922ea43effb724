package jinja

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// jsonStyle is the layout of Python's json.dumps.
type jsonStyle struct {
	itemSep, keySep string
	indent          string
	multiline       bool
	ascii           bool
	sortKeys        bool
}

var defaultJSON = jsonStyle{itemSep: ", ", keySep: ": "}

// FormatJSON writes v as Python's json.dumps(v, ensure_ascii=False) does, which is also what tojson gives in a template.
func FormatJSON(v Value) (string, error) { return defaultJSON.format(v) }

// DumpJSON writes v as Python's json.dumps(v, indent=indent) does: what is beyond ASCII is escaped, and each member is
// on a line of its own unless indent is 0.
func DumpJSON(v Value, indent int) (string, error) {
	style := jsonStyle{itemSep: ", ", keySep: ": ", ascii: true}
	if indent > 0 {
		style.itemSep, style.multiline, style.indent = ",", true, strings.Repeat(" ", indent)
	}
	return style.format(v)
}

func (s jsonStyle) format(v Value) (string, error) {
	var b strings.Builder
	err := s.write(&b, v, 0)
	return b.String(), err
}

func (s jsonStyle) write(b *strings.Builder, v Value, depth int) error {
	if depth > maxNesting {
		return errTooDeep()
	}
	if b.Len() > maxTextBytes {
		return errTextTooLong()
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		b.WriteString(v.String())
	case float64:
		b.WriteString(jsonFloat(v))
	case string:
		s.quote(b, v)
	case markup:
		s.quote(b, string(v))
	case *List:
		return s.writeItems(b, v.Items, depth)
	case *tuple:
		return s.writeItems(b, v.items, depth)
	case *Dict:
		return s.writeDict(b, v, depth)
	default:
		return typeErrorf("Object of type %s is not JSON serializable", typeName(v))
	}
	return nil
}

func (s jsonStyle) newline(b *strings.Builder, depth int) {
	if s.multiline {
		b.WriteByte('\n')
		for range depth {
			b.WriteString(s.indent)
		}
	}
}

func (s jsonStyle) writeItems(b *strings.Builder, items []Value, depth int) error {
	b.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			b.WriteString(s.itemSep)
		}
		s.newline(b, depth+1)
		if err := s.write(b, item, depth+1); err != nil {
			return err
		}
	}
	if len(items) > 0 {
		s.newline(b, depth)
	}
	b.WriteByte(']')
	return nil
}

func (s jsonStyle) writeDict(b *strings.Builder, d *Dict, depth int) error {
	order := make([]int, d.Len())
	names := make([]string, d.Len())
	for i, k := range d.keys {
		order[i] = i
		name, err := jsonKey(k)
		if err != nil {
			return err
		}
		names[i] = name
	}
	if s.sortKeys {
		slices.SortStableFunc(order, func(i, j int) int { return strings.Compare(names[i], names[j]) })
	}
	b.WriteByte('{')
	for n, i := range order {
		if n > 0 {
			b.WriteString(s.itemSep)
		}
		s.newline(b, depth+1)
		s.quote(b, names[i])
		b.WriteString(s.keySep)
		if err := s.write(b, d.vals[i], depth+1); err != nil {
			return err
		}
	}
	if len(order) > 0 {
		s.newline(b, depth)
	}
	b.WriteByte('}')
	return nil
}

func jsonKey(k Value) (string, error) {
	switch k := k.(type) {
	case nil:
		return "null", nil
	case string:
		return k, nil
	case markup:
		return string(k), nil
	case bool:
		return strconv.FormatBool(k), nil
	case float64:
		return jsonFloat(k), nil
	case int64, *big.Int:
		return fmt.Sprint(k), nil
	}
	return "", typeErrorf("keys must be str, int, float, bool or None, not %s", typeName(k))
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatRepr(f)
}

func (s jsonStyle) quote(b *strings.Builder, text string) {
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 && strings.ContainsRune("\n\r\t\b\f", r):
			b.WriteByte('\\')
			b.WriteByte("btn_fr"[r-'\b'])
		case r < 0x20:
			fmt.Fprintf(b, `\u%04x`, r)
		case s.ascii && r > 0x7e:
			if hi, lo := utf16.EncodeRune(r); hi != '\uFFFD' {
				fmt.Fprintf(b, `\u%04x\u%04x`, hi, lo)
			} else {
				fmt.Fprintf(b, `\u%04x`, r)
			}
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
