package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type filterFunc func(st *state, x Value, a args) (Value, error)

// filters are the functions behind the | operator: those of Jinja2 that make sense in a chat template.
var filters map[string]filterFunc

func init() { // an initialiser would be a cycle: map and select reach the evaluator
	filters = map[string]filterFunc{
		"abs":         filterAbs,
		"attr":        filterAttr,
		"batch":       filterBatch,
		"capitalize":  textFilter("capitalize", capitalize),
		"center":      filterCenter,
		"count":       filterLength,
		"d":           filterDefault,
		"default":     filterDefault,
		"dictsort":    filterDictSort,
		"e":           filterEscape,
		"escape":      filterEscape,
		"first":       filterFirst,
		"float":       filterFloat,
		"forceescape": filterForceEscape,
		"format":      filterFormat,
		"groupby":     filterGroupBy,
		"indent":      filterIndent,
		"int":         filterInt,
		"items":       filterItems,
		"join":        filterJoin,
		"last":        filterLast,
		"length":      filterLength,
		"list":        filterList,
		"lower":       textFilter("lower", strings.ToLower),
		"map":         filterMap,
		"max":         extremeFilter("max", 1),
		"min":         extremeFilter("min", -1),
		"reject":      selectFilter("reject", false, false),
		"rejectattr":  selectFilter("rejectattr", true, false),
		"replace":     filterReplace,
		"reverse":     filterReverse,
		"round":       filterRound,
		"safe":        filterSafe,
		"select":      selectFilter("select", false, true),
		"selectattr":  selectFilter("selectattr", true, true),
		"slice":       filterSlice,
		"sort":        filterSort,
		"string":      textFilter("string", func(s string) string { return s }),
		"sum":         filterSum,
		"title":       textFilter("title", jinjaTitle),
		"tojson":      filterToJSON,
		"trim":        filterTrim,
		"truncate":    filterTruncate,
		"unique":      filterUnique,
		"upper":       textFilter("upper", upper),
		"urlencode":   filterURLEncode,
		"wordcount":   filterWordCount,
	}
}

// str gives str(x) and its cost is charged.
func (st *state) str(x Value) (string, error) {
	s, err := toStr(x)
	if err != nil {
		return "", err
	}
	return s, st.alloc(len(s))
}

func textFilter(name string, f func(string) string) filterFunc {
	return func(st *state, x Value, a args) (Value, error) {
		s, err := st.str(x)
		if err != nil {
			return nil, err
		}
		return likeText(x, f(s)), a.none(name)
	}
}

// jinjaTitle upper-cases the first letter of each word, words being divided by blanks, hyphens and opening brackets.
func jinjaTitle(s string) string {
	var b strings.Builder
	start := true
	for _, r := range s {
		was := start
		start = IsSpace(r) || strings.ContainsRune("-({[<", r)
		if was {
			b.WriteString(upper(string(r)))
		} else {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

func filterAbs(_ *state, x Value, a args) (Value, error) {
	if b, ok := x.(*big.Int); ok {
		return new(big.Int).Abs(b), a.none("abs")
	}
	n, ok := asNumber(x)
	switch {
	case !ok:
		return nil, typeErrorf("bad operand type for abs(): '%s'", typeName(x))
	case n.isFloat:
		return math.Abs(n.f), a.none("abs")
	case n.i < 0:
		return sign("-", n.i)
	}
	return n.i, a.none("abs")
}

func filterAttr(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("attr", "name")
	if err != nil {
		return nil, err
	}
	name, err := p.text("attr", 0, "")
	if err != nil {
		return nil, err
	}
	if u, ok := x.(*undefined); ok {
		return nil, u.fail()
	}
	if v, ok := attribute(x, name); ok {
		return v, nil
	}
	return missingAttr(x, name), nil
}

func filterCenter(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("center", "width?")
	if err != nil {
		return nil, err
	}
	width, err := p.int("center", 0, 80)
	if err != nil {
		return nil, err
	}
	s, err := st.str(x)
	if err != nil {
		return nil, err
	}
	s, err = st.pad(s, width, " ", 'c')
	return likeText(x, s), err
}

func filterDefault(_ *state, x Value, a args) (Value, error) {
	p, err := a.bind("default", "default_value?", "boolean?")
	if err != nil {
		return nil, err
	}
	_, missing := x.(*undefined)
	if missing || truthy(p.or(1, false)) && !truthy(x) {
		return p.or(0, ""), nil
	}
	return x, nil
}

func filterEscape(st *state, x Value, a args) (Value, error) {
	if m, ok := x.(markup); ok {
		return m, a.none("escape")
	}
	return filterForceEscape(st, x, a)
}

func filterForceEscape(st *state, x Value, a args) (Value, error) {
	s, err := st.str(x)
	if err != nil {
		return nil, err
	}
	return markup(escapeHTML(s)), a.none("escape")
}

func filterSafe(st *state, x Value, a args) (Value, error) {
	s, err := st.str(x)
	return markup(s), err
}

func filterFloat(_ *state, x Value, a args) (Value, error) {
	p, err := a.bind("float", "default?")
	if err != nil {
		return nil, err
	}
	if u, ok := x.(*undefined); ok {
		return nil, u.fail()
	}
	if n, ok := asNumber(x); ok {
		return n.float(), nil
	}
	if s, ok := text(x); ok {
		if f, ok := parseFloat(s); ok {
			return f, nil
		}
	}
	return p.or(0, 0.0), nil
}

// parseFloat is Python's float(s).
func parseFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, IsSpace)
	if strings.ContainsAny(s, "xXpP") { // Go's hexadecimal floats
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		f, err = strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	}
	return f, err == nil || math.IsInf(f, 0)
}

func filterInt(_ *state, x Value, a args) (Value, error) {
	p, err := a.bind("int", "default?", "base?")
	if err != nil {
		return nil, err
	}
	if u, ok := x.(*undefined); ok {
		return nil, u.fail()
	}
	base, err := p.int("int", 1, 10)
	if err != nil {
		return nil, err
	}
	f, ok := 0.0, false
	switch v := x.(type) {
	case bool:
		n, _ := asInt(v)
		return n, nil
	case int64:
		return v, nil
	case float64:
		f, ok = v, true
	case string, markup:
		s, _ := text(v)
		s = strings.TrimPrefix(strings.TrimFunc(s, IsSpace), "+")
		if base >= 0 && base <= 36 && base != 1 {
			digits := strings.ReplaceAll(s, "_", "")
			for prefix, b := range map[string]int64{"0x": 16, "0o": 8, "0b": 2} {
				if b == base && len(digits) > 2 && strings.EqualFold(digits[:2], prefix) {
					digits = digits[2:]
				}
			}
			if n, err := strconv.ParseInt(digits, int(base), 64); err == nil {
				return n, nil
			}
		}
		f, ok = parseFloat(s)
	}
	if !ok || math.IsNaN(f) || math.Abs(f) >= 1<<63 {
		return p.or(0, int64(0)), nil
	}
	return int64(f), nil
}

func filterFormat(st *state, x Value, a args) (Value, error) {
	if len(a.pos) > 0 && len(a.names) > 0 {
		return nil, valueErrorf("format cannot take positional and keyword arguments at the same time")
	}
	s, err := st.str(x)
	if err != nil {
		return nil, err
	}
	if len(a.names) > 0 {
		return st.percentFormat(likeText(x, s), s, a.dict())
	}
	return st.percentFormat(likeText(x, s), s, newTuple(a.pos...))
}

func filterIndent(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("indent", "width?", "first?", "blank?")
	if err != nil {
		return nil, err
	}
	if u, ok := x.(*undefined); ok {
		return nil, u.fail()
	}
	s, ok := text(x)
	if !ok {
		return nil, typeErrorf("indent expects a str, not %s", typeName(x))
	}
	pad, isText := text(p.or(0, int64(4)))
	if !isText {
		n, err := p.int("indent", 0, 4)
		if err != nil {
			return nil, err
		}
		if pad, err = st.pad("", n, " ", '>'); err != nil {
			return nil, err
		}
	}
	lines, err := st.splitLines(s+"\n", false)
	if err != nil {
		return nil, err
	}
	if len(pad) > 0 && len(lines) > maxTextBytes/len(pad) {
		return nil, errTextTooLong()
	}
	blank := truthy(p.or(2, false))
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == 0 && truthy(p.or(1, false)) || i > 0 && (blank || line != "") {
			b.WriteString(pad)
		}
		b.WriteString(line)
	}
	return likeText(x, b.String()), st.alloc(b.Len())
}

func filterReplace(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("replace", "old", "new", "count?")
	if err != nil {
		return nil, err
	}
	var s [3]string
	for i, v := range []Value{x, p[0], p[1]} {
		if s[i], err = st.str(v); err != nil {
			return nil, err
		}
	}
	count := int64(-1)
	if p.or(2, nil) != nil {
		if count, err = p.int("replace", 2, -1); err != nil {
			return nil, err
		}
	}
	return st.replace(s[0], s[1], s[2], count)
}

func filterRound(_ *state, x Value, a args) (Value, error) {
	p, err := a.bind("round", "precision?", "method?")
	if err != nil {
		return nil, err
	}
	prec, err := p.int("round", 0, 0)
	if err != nil {
		return nil, err
	}
	method, err := p.text("round", 1, "common")
	if err != nil {
		return nil, err
	}
	n, ok := asNumber(x)
	if !ok {
		return nil, typeErrorf("type %s doesn't define __round__ method", typeName(x))
	}
	if prec < -400 || prec > 400 {
		return x, nil
	}
	shift := math.Pow(10, float64(prec))
	switch method {
	case "common":
		if !n.isFloat && prec >= 0 {
			return n.i, nil
		}
		if !n.isFloat {
			return int64(math.RoundToEven(float64(n.i)*shift) / shift), nil
		}
		if prec < 0 {
			return math.RoundToEven(n.f*shift) / shift, nil
		}
		f, _ := strconv.ParseFloat(strconv.FormatFloat(n.f, 'f', int(prec), 64), 64) // exact decimal, ties to even
		return f, nil
	case "ceil":
		return math.Ceil(n.float()*shift) / shift, nil
	case "floor":
		return math.Floor(n.float()*shift) / shift, nil
	}
	return nil, valueErrorf("round: method must be common, ceil or floor")
}

func filterToJSON(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("tojson", "ensure_ascii?", "indent?", "separators?", "sort_keys?")
	if err != nil {
		return nil, err
	}
	style := defaultJSON
	style.ascii = truthy(p.or(0, false))
	style.sortKeys = truthy(p.or(3, false))
	switch indent := p.or(1, nil).(type) {
	case nil:
	case string:
		style.multiline, style.indent = true, indent
	default:
		n, err := p.int("tojson", 1, 0)
		if err != nil {
			return nil, err
		}
		style.multiline, style.indent = true, strings.Repeat(" ", int(max(0, min(n, 64))))
	}
	if style.multiline {
		style.itemSep = ","
	}
	if seps := p.or(2, nil); seps != nil {
		pair, err := st.iterate(seps)
		if err != nil || len(pair) != 2 {
			return nil, typeErrorf("tojson: separators must be a pair of strings")
		}
		item, okItem := text(pair[0])
		key, okKey := text(pair[1])
		if !okItem || !okKey {
			return nil, typeErrorf("tojson: separators must be a pair of strings")
		}
		style.itemSep, style.keySep = item, key
	}
	s, err := style.format(x)
	if err != nil {
		return nil, err
	}
	return s, st.alloc(len(s))
}

func filterTrim(st *state, x Value, a args) (Value, error) {
	s, err := st.str(x)
	if err != nil {
		return nil, err
	}
	v, err := stripper("trim", true, true)(st, s, a)
	if err != nil {
		return nil, err
	}
	return likeText(x, v.(string)), nil
}

func filterTruncate(st *state, x Value, a args) (Value, error) {
	p, err := a.bind("truncate", "length?", "killwords?", "end?", "leeway?")
	if err != nil {
		return nil, err
	}
	limit, err := p.int("truncate", 0, 255)
	if err != nil {
		return nil, err
	}
	end, err := p.text("truncate", 2, "...")
	if err != nil {
		return nil, err
	}
	leeway, err := p.int("truncate", 3, 5)
	if err != nil {
		return nil, err
	}
	size, ok := length(x)
	if !ok {
		return nil, typeErrorf("object of type '%s' has no len()", typeName(x))
	}
	keep := limit - int64(utf8.RuneCountInString(end))
	if keep < 0 || leeway < 0 {
		return nil, valueErrorf("truncate: the length must not be shorter than the end text, nor the leeway negative")
	}
	if int64(size)-leeway <= limit {
		return x, nil // of any type, as long as it is short
	}
	s, ok := text(x)
	if !ok {
		return nil, typeErrorf("truncate expects a str, not %s", typeName(x))
	}
	cut := truncate(s, keep)
	if i := strings.LastIndexByte(cut, ' '); i >= 0 && !truthy(p.or(1, false)) {
		cut = cut[:i]
	}
	return likeText(x, cut+end), nil
}

func filterURLEncode(st *state, x Value, a args) (Value, error) {
	if d, ok := x.(*Dict); ok {
		var parts []string
		for i, k := range d.keys {
			key, err := st.str(k)
			if err != nil {
				return nil, err
			}
			val, err := st.str(d.vals[i])
			if err != nil {
				return nil, err
			}
			parts = append(parts, quoteForm(key)+"="+quoteForm(val))
		}
		return strings.Join(parts, "&"), a.none("urlencode")
	}
	if _, isText := text(x); !isText && isIterable(x) {
		return nil, typeErrorf("urlencode expects a str or a mapping, not %s", typeName(x))
	}
	s, err := st.str(x)
	if err != nil {
		return nil, err
	}
	return quoteURL(s, "/"), a.none("urlencode")
}

func quoteForm(s string) string { return strings.ReplaceAll(quoteURL(s, ""), "%20", "+") }

func quoteURL(s, safe string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c < 0x80 && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)) || strings.IndexByte("_.-~"+safe, c) >= 0) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
		}
	}
	return b.String()
}

func filterWordCount(st *state, x Value, a args) (Value, error) {
	s, err := st.str(x)
	if err != nil {
		return nil, err
	}
	words := strings.FieldsFunc(s, func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
	})
	return int64(len(words)), a.none("wordcount")
}
