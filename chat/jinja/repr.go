package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// maxNesting bounds recursion through nested data, far below what would trouble the stack and above any real conversation.
const maxNesting = 400

func errTooDeep() error {
	return errorf(limitError, "maximum recursion depth exceeded (data nested more than %d levels)", maxNesting)
}

// toStr is Python's str(v).
func toStr(v Value) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case markup:
		return string(v), nil
	case *undefined:
		return "", nil
	}
	return toRepr(v)
}

// toRepr is Python's repr(v).
func toRepr(v Value) (string, error) {
	var b strings.Builder
	err := writeRepr(&b, v, 0)
	return b.String(), err
}

func writeRepr(b *strings.Builder, v Value, depth int) error {
	if depth > maxNesting {
		return errTooDeep()
	}
	if b.Len() > maxTextBytes {
		return errTextTooLong()
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		b.WriteString(v.String())
	case float64:
		b.WriteString(floatRepr(v))
	case string:
		writeQuoted(b, v)
	case markup:
		b.WriteString("Markup(")
		writeQuoted(b, string(v))
		b.WriteByte(')')
	case *List:
		return writeReprItems(b, v.Items, "[", "]", depth)
	case *tuple:
		if len(v.items) == 1 {
			return writeReprItems(b, v.items, "(", ",)", depth)
		}
		return writeReprItems(b, v.items, "(", ")", depth)
	case *Dict:
		return writeReprDict(b, v, depth)
	case *intRange:
		fmt.Fprintf(b, "range(%d, %d", v.start, v.stop)
		if v.step != 1 {
			fmt.Fprintf(b, ", %d", v.step)
		}
		b.WriteByte(')')
	case *dictView:
		return writeReprView(b, v, depth)
	case *namespace:
		b.WriteString("<Namespace ")
		if err := writeReprDict(b, v.attrs, depth); err != nil {
			return err
		}
		b.WriteByte('>')
	case *undefined:
		b.WriteString("Undefined")
	case *macro:
		b.WriteString("<Macro ")
		writeQuoted(b, v.name)
		b.WriteByte('>')
	case *loopContext:
		fmt.Fprintf(b, "<LoopContext %d/%d>", v.i+1, len(v.items))
	default:
		b.WriteString("<" + typeName(v) + " object>")
	}
	return nil
}

func writeReprItems(b *strings.Builder, items []Value, open, closing string, depth int) error {
	b.WriteString(open)
	for i, item := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := writeRepr(b, item, depth+1); err != nil {
			return err
		}
	}
	b.WriteString(closing)
	return nil
}

func writeReprDict(b *strings.Builder, d *Dict, depth int) error {
	b.WriteByte('{')
	for i, k := range d.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := writeRepr(b, k, depth+1); err != nil {
			return err
		}
		b.WriteString(": ")
		if err := writeRepr(b, d.vals[i], depth+1); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeReprView(b *strings.Builder, v *dictView, depth int) error {
	items := v.dict.keys
	switch v.kind {
	case "values":
		items = v.dict.vals
	case "items":
		items = make([]Value, v.dict.Len())
		for i := range items {
			items[i] = newTuple(v.dict.keys[i], v.dict.vals[i])
		}
	}
	return writeReprItems(b, items, "dict_"+v.kind+"([", "])", depth)
}

// floatRepr is the shortest text that reads back as f, in Python's layout: 1.0, 1e-05, 1e+16, inf, nan.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:])
	if exp < -4 || exp >= 16 {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.ContainsRune(s, '.') {
		s += ".0"
	}
	return s
}

// writeQuoted writes a Python string literal of s: single quotes unless only double ones avoid escapes.
func writeQuoted(b *strings.Builder, s string) {
	quote := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		quote = '"'
	}
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteRune(quote)
}
