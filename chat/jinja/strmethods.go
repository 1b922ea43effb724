package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

type stringMethod func(st *state, s string, a args) (Value, error)

// stringMethods are Python's str methods that a template may call.
var stringMethods map[string]stringMethod

func init() { // an initialiser would be a cycle through the evaluator
	stringMethods = map[string]stringMethod{
		"upper":      plain("upper", upper),
		"lower":      plain("lower", strings.ToLower),
		"casefold":   plain("casefold", strings.ToLower),
		"capitalize": plain("capitalize", capitalize),
		"title":      plain("title", pyTitle),
		"swapcase":   plain("swapcase", swapCase),

		"strip":        stripper("strip", true, true),
		"lstrip":       stripper("lstrip", true, false),
		"rstrip":       stripper("rstrip", false, true),
		"removeprefix": cutter("removeprefix", strings.TrimPrefix),
		"removesuffix": cutter("removesuffix", strings.TrimSuffix),

		"startswith": affix("startswith", strings.HasPrefix),
		"endswith":   affix("endswith", strings.HasSuffix),
		"find":       finder("find", false, false),
		"rfind":      finder("rfind", true, false),
		"index":      finder("index", false, true),
		"rindex":     finder("rindex", true, true),
		"count":      strCount,
		"replace":    strReplace,

		"split":      splitter("split", false),
		"rsplit":     splitter("rsplit", true),
		"splitlines": strSplitLines,
		"partition":  partitioner("partition", strings.Index),
		"rpartition": partitioner("rpartition", strings.LastIndex),
		"join":       strJoin,

		"center": aligner("center", 'c'),
		"ljust":  aligner("ljust", '<'),
		"rjust":  aligner("rjust", '>'),
		"zfill":  strZfill,
		"format": func(st *state, s string, a args) (Value, error) { return st.braceFormat(s, a) },

		"isdigit":   all("isdigit", unicode.IsDigit),
		"isdecimal": all("isdecimal", unicode.IsDigit),
		"isnumeric": all("isnumeric", unicode.IsNumber),
		"isalpha":   all("isalpha", unicode.IsLetter),
		"isalnum":   all("isalnum", func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isspace":   all("isspace", IsSpace),
		"isupper":   cased("isupper", unicode.IsUpper, unicode.IsLower),
		"islower":   cased("islower", unicode.IsLower, unicode.IsUpper),
	}
}

// markupMethod runs a str method on safe text: the result is safe again, and what it takes in is escaped.
func markupMethod(st *state, name string, m stringMethod, s markup, a args) (Value, error) {
	switch name {
	case "replace":
		if len(a.pos) > 1 {
			a.pos = slices.Clone(a.pos)
			a.pos[1] = escaped(a.pos[1])
		}
	case "join":
		if len(a.pos) == 1 {
			items, err := st.iterate(a.pos[0])
			if err != nil {
				return nil, err
			}
			safe := make([]Value, len(items))
			for i, item := range items {
				safe[i] = escaped(item)
			}
			a.pos = []Value{NewList(safe...)}
		}
	}
	v, err := m(st, string(s), a)
	switch v := v.(type) {
	case string:
		return markup(v), err
	case *List:
		markSafe(v.Items)
	case *tuple:
		markSafe(v.items)
	}
	return v, err
}

func markSafe(items []Value) {
	for i, item := range items {
		if s, ok := item.(string); ok {
			items[i] = markup(s)
		}
	}
}

func escaped(v Value) Value {
	if s, ok := v.(string); ok {
		return markup(escapeHTML(s))
	}
	return v
}

func plain(name string, f func(string) string) stringMethod {
	return func(st *state, s string, a args) (Value, error) {
		if err := st.alloc(2 * len(s)); err != nil {
			return nil, err
		}
		return f(s), a.none(name)
	}
}

func all(name string, is func(rune) bool) stringMethod {
	return func(_ *state, s string, a args) (Value, error) {
		for _, r := range s {
			if !is(r) {
				return false, a.none(name)
			}
		}
		return s != "", nil
	}
}

// cased is true when a letter of the wanted case occurs and none of the other.
func cased(name string, want, other func(rune) bool) stringMethod {
	return func(_ *state, s string, a args) (Value, error) {
		return strings.ContainsFunc(s, want) && !strings.ContainsFunc(s, other), a.none(name)
	}
}

// upperLong are the letters whose upper case is longer than one letter.
var upperLong = strings.NewReplacer("ß", "SS", "ﬀ", "FF", "ﬁ", "FI", "ﬂ", "FL", "ﬃ", "FFI", "ﬄ", "FFL", "ﬅ", "ST", "ﬆ", "ST", "ŉ", "ʼN")

func upper(s string) string { return strings.ToUpper(upperLong.Replace(s)) }

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:n]) + strings.ToLower(s[n:])
}

// pyTitle is str.title: a letter after a non-letter becomes upper case, every other one lower case.
func pyTitle(s string) string {
	inWord := false
	return strings.Map(func(r rune) rune {
		start := !inWord
		inWord = unicode.IsLetter(r)
		if start {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, s)
}

func stripper(name string, left, right bool) stringMethod {
	return func(st *state, s string, a args) (Value, error) {
		p, err := a.bind(name, "chars?")
		if err != nil {
			return nil, err
		}
		cut := IsSpace
		if v := p.or(0, nil); v != nil {
			chars, err := p.text(name, 0, "")
			if err != nil {
				return nil, err
			}
			cut = func(r rune) bool { return strings.ContainsRune(chars, r) }
		}
		if left {
			s = strings.TrimLeftFunc(s, cut)
		}
		if right {
			s = strings.TrimRightFunc(s, cut)
		}
		return s, nil
	}
}

func cutter(name string, cut func(s, affix string) string) stringMethod {
	return func(_ *state, s string, a args) (Value, error) {
		p, err := a.bind(name, "affix")
		if err != nil {
			return nil, err
		}
		t, err := p.text(name, 0, "")
		return cut(s, t), err
	}
}

func affix(name string, has func(s, affix string) bool) stringMethod {
	return func(st *state, s string, a args) (Value, error) {
		p, err := a.bind(name, "affix", "start?", "end?")
		if err != nil {
			return nil, err
		}
		s, _, ok, err := st.window(name, s, p, 1)
		if err != nil || !ok {
			return false, err
		}
		choices := []Value{p[0]}
		if t, ok := p[0].(*tuple); ok {
			choices = t.items
		}
		for _, c := range choices {
			t, ok := text(c)
			if !ok {
				return nil, typeErrorf("%s first arg must be str or a tuple of str, not %s", name, typeName(c))
			}
			if has(s, t) {
				return true, nil
			}
		}
		return false, nil
	}
}

// window cuts s to the optional character bounds p[at] and p[at+1]; skipped counts the characters before it.
// It is false when the window starts beyond the end, where not even the empty string is found.
func (st *state) window(name, s string, p params, at int) (cut string, skipped int, ok bool, err error) {
	if p.or(at, nil) == nil && p.or(at+1, nil) == nil {
		return s, 0, true, nil
	}
	if err := st.alloc(5 * len(s)); err != nil {
		return "", 0, false, err
	}
	runes := []rune(s)
	n := int64(len(runes))
	bounds := [2]int64{0, n}
	for i := range bounds {
		if p.or(at+i, nil) == nil {
			continue
		}
		v, err := p.int(name, at+i, 0)
		if err != nil {
			return "", 0, false, err
		}
		if v < 0 {
			v = max(0, v+n)
		}
		bounds[i] = v
	}
	if bounds[0] > n || bounds[0] > bounds[1] {
		return "", 0, false, nil
	}
	return string(runes[bounds[0]:min(bounds[1], n)]), int(bounds[0]), true, nil
}

func finder(name string, last, must bool) stringMethod {
	return func(st *state, s string, a args) (Value, error) {
		p, err := a.bind(name, "sub", "start?", "end?")
		if err != nil {
			return nil, err
		}
		sub, err := p.text(name, 0, "")
		if err != nil {
			return nil, err
		}
		cut, skipped, ok, err := st.window(name, s, p, 1)
		if err != nil {
			return nil, err
		}
		i := -1
		if ok && last {
			i = strings.LastIndex(cut, sub)
		} else if ok {
			i = strings.Index(cut, sub)
		}
		if i < 0 {
			if must {
				return nil, valueErrorf("substring not found")
			}
			return int64(-1), nil
		}
		return int64(skipped + utf8.RuneCountInString(cut[:i])), nil
	}
}

func strCount(st *state, s string, a args) (Value, error) {
	p, err := a.bind("count", "sub", "start?", "end?")
	if err != nil {
		return nil, err
	}
	sub, err := p.text("count", 0, "")
	if err != nil {
		return nil, err
	}
	cut, _, ok, err := st.window("count", s, p, 1)
	if err != nil || !ok {
		return int64(0), err
	}
	return int64(strings.Count(cut, sub)), nil
}

func strReplace(st *state, s string, a args) (Value, error) {
	p, err := a.bind("replace", "old", "new", "count?")
	if err != nil {
		return nil, err
	}
	old, err := p.text("replace", 0, "")
	if err != nil {
		return nil, err
	}
	repl, err := p.text("replace", 1, "")
	if err != nil {
		return nil, err
	}
	count, err := p.int("replace", 2, -1)
	if err != nil {
		return nil, err
	}
	return st.replace(s, old, repl, count)
}

func (st *state) replace(s, old, repl string, count int64) (Value, error) {
	hits := strings.Count(s, old)
	if count >= 0 && int64(hits) > count {
		hits = int(count)
	}
	if grow := len(repl) - len(old); grow > 0 && hits > maxTextBytes/grow {
		return nil, errTextTooLong()
	}
	if err := st.alloc(len(s) + hits*max(0, len(repl)-len(old))); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, repl, hits), nil
}

func splitter(name string, fromRight bool) stringMethod {
	return func(st *state, s string, a args) (Value, error) {
		p, err := a.bind(name, "sep?", "maxsplit?")
		if err != nil {
			return nil, err
		}
		limit, err := p.int(name, 1, -1)
		if err != nil {
			return nil, err
		}
		var parts []string
		if p.or(0, nil) == nil {
			if err := st.alloc(partBytes * countWords(s)); err != nil {
				return nil, err
			}
			parts = splitSpace(s, limit, fromRight)
		} else {
			sep, err := p.text(name, 0, "")
			if err != nil {
				return nil, err
			}
			if sep == "" {
				return nil, valueErrorf("empty separator")
			}
			if err := st.alloc(partBytes * (strings.Count(s, sep) + 1)); err != nil {
				return nil, err
			}
			parts = splitSep(s, sep, limit, fromRight)
		}
		return stringList(parts), nil
	}
}

func countWords(s string) int {
	n := 0
	inWord := false
	for _, r := range s {
		space := IsSpace(r)
		if !space && !inWord {
			n++
		}
		inWord = !space
	}
	return n
}

func stringList(parts []string) *List {
	items := make([]Value, len(parts))
	for i, part := range parts {
		items[i] = part
	}
	return NewList(items...)
}

func splitSep(s, sep string, limit int64, fromRight bool) []string {
	if limit < 0 || limit >= int64(len(s)) {
		return strings.Split(s, sep)
	}
	if !fromRight {
		return strings.SplitN(s, sep, int(limit)+1)
	}
	var parts []string
	for range limit {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts = append(parts, s[i+len(sep):])
		s = s[:i]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return parts
}

// splitSpace splits at runs of blanks, at most limit times, without empty parts.
func splitSpace(s string, limit int64, fromRight bool) []string {
	if limit < 0 || limit >= int64(len(s)) {
		return strings.FieldsFunc(s, IsSpace)
	}
	var parts []string
	if !fromRight {
		for s = strings.TrimLeftFunc(s, IsSpace); s != ""; s = strings.TrimLeftFunc(s, IsSpace) {
			i := strings.IndexFunc(s, IsSpace)
			if i < 0 || int64(len(parts)) == limit {
				return append(parts, s)
			}
			parts = append(parts, s[:i])
			s = s[i:]
		}
		return parts
	}
	for s = strings.TrimRightFunc(s, IsSpace); s != ""; s = strings.TrimRightFunc(s, IsSpace) {
		i := strings.LastIndexFunc(s, IsSpace)
		if i < 0 || int64(len(parts)) == limit {
			parts = append(parts, s)
			break
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		parts = append(parts, s[i+n:])
		s = s[:i]
	}
	slices.Reverse(parts)
	return parts
}

func strSplitLines(st *state, s string, a args) (Value, error) {
	p, err := a.bind("splitlines", "keepends?")
	if err != nil {
		return nil, err
	}
	lines, err := st.splitLines(s, truthy(p.or(0, false)))
	return stringList(lines), err
}

// splitLines is str.splitlines: every kind of line break counts, and a break at the end makes no empty last line.
func (st *state) splitLines(s string, keep bool) ([]string, error) {
	breaks := 0
	for _, r := range s {
		if isLineBreak(r) {
			breaks++
		}
	}
	if err := st.alloc(partBytes * (breaks + 1)); err != nil {
		return nil, err
	}
	var lines []string
	for s != "" {
		i := strings.IndexFunc(s, isLineBreak)
		if i < 0 {
			return append(lines, s), nil
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		if keep {
			lines = append(lines, s[:i+n])
		} else {
			lines = append(lines, s[:i])
		}
		s = s[i+n:]
	}
	return lines, nil
}

func isLineBreak(r rune) bool {
	return r >= '\n' && r <= '\r' || r >= 0x1c && r <= 0x1e || r == 0x85 || r == 0x2028 || r == 0x2029
}

func partitioner(name string, index func(s, sep string) int) stringMethod {
	return func(_ *state, s string, a args) (Value, error) {
		p, err := a.bind(name, "sep")
		if err != nil {
			return nil, err
		}
		sep, err := p.text(name, 0, "")
		if err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, valueErrorf("empty separator")
		}
		i := index(s, sep)
		switch {
		case i >= 0:
			return newTuple(s[:i], sep, s[i+len(sep):]), nil
		case name == "partition":
			return newTuple(s, "", ""), nil
		}
		return newTuple("", "", s), nil
	}
}

func strJoin(st *state, s string, a args) (Value, error) {
	p, err := a.bind("join", "iterable")
	if err != nil {
		return nil, err
	}
	items, err := st.iterate(p[0])
	if err != nil {
		return nil, err
	}
	for i, item := range items {
		if _, ok := text(item); !ok {
			return nil, typeErrorf("sequence item %d: expected str instance, %s found", i, typeName(item))
		}
	}
	return st.joinText(items, s)
}

// joinText joins str(item) of every item.
func (st *state) joinText(items []Value, sep string) (Value, error) {
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			b.WriteString(sep)
		}
		s, err := toStr(item)
		if err != nil {
			return nil, err
		}
		if err := st.alloc(len(s) + len(sep)); err != nil {
			return nil, err
		}
		b.WriteString(s)
		if b.Len() > maxTextBytes {
			return nil, errTextTooLong()
		}
	}
	return b.String(), nil
}

func aligner(name string, align byte) stringMethod {
	return func(st *state, s string, a args) (Value, error) {
		p, err := a.bind(name, "width", "fill?")
		if err != nil {
			return nil, err
		}
		width, err := p.int(name, 0, 0)
		if err != nil {
			return nil, err
		}
		fill, err := p.text(name, 1, " ")
		if err != nil {
			return nil, err
		}
		if utf8.RuneCountInString(fill) != 1 {
			return nil, typeErrorf("the fill character must be exactly one character long")
		}
		return st.pad(s, width, fill, align)
	}
}

// pad widens s to width characters. align is < > or ^, or c for str.center, which puts an odd blank elsewhere.
func (st *state) pad(s string, width int64, fill string, align byte) (string, error) {
	n := width - int64(utf8.RuneCountInString(s))
	if n <= 0 {
		return s, nil
	}
	if n > maxTextBytes/4 {
		return "", errTextTooLong()
	}
	if err := st.alloc(len(s) + int(n)*len(fill)); err != nil {
		return "", err
	}
	left := int(n)
	switch align {
	case '<':
		left = 0
	case '^':
		left = int(n) / 2
	case 'c':
		left = int(n)/2 + int(n&width&1)
	}
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, int(n)-left), nil
}

func strZfill(st *state, s string, a args) (Value, error) {
	p, err := a.bind("zfill", "width")
	if err != nil {
		return nil, err
	}
	width, err := p.int("zfill", 0, 0)
	if err != nil {
		return nil, err
	}
	signLen := 0
	if signAt(s, 0) != 0 {
		signLen = 1
	}
	digits, err := st.pad(s[signLen:], width-int64(signLen), "0", '>')
	return s[:signLen] + digits, err
}
