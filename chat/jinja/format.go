package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// fieldSpec is one conversion: of the % operator, or a replacement field of str.format.
type fieldSpec struct {
	fill      string
	align     byte // < > ^ = or 0
	sign      byte // + - blank or 0
	alt, zero bool
	comma     byte // , or _ between thousands, or 0
	width     int64
	prec      int64 // -1 when not given
	verb      byte  // 0 when not given
}

// percentFormat is text % value.
func (st *state) percentFormat(like Value, format string, arg Value) (Value, error) {
	var list []Value
	dict, isDict := arg.(*Dict)
	if t, ok := arg.(*tuple); ok {
		list = t.items
	} else {
		list = []Value{arg}
	}
	var b strings.Builder
	used := 0
	for i := 0; i < len(format); {
		if b.Len() > maxTextBytes {
			return nil, errTextTooLong()
		}
		j := strings.IndexByte(format[i:], '%')
		if j < 0 {
			b.WriteString(format[i:])
			break
		}
		b.WriteString(format[i : i+j])
		i += j + 1
		if i < len(format) && format[i] == '%' {
			b.WriteByte('%')
			i++
			continue
		}
		key, spec, n, err := parsePercent(format[i:])
		if err != nil {
			return nil, err
		}
		i += n
		var v Value
		switch {
		case key != nil && !isDict:
			return nil, typeErrorf("format requires a mapping")
		case key != nil:
			var ok bool
			if v, ok = dict.Get(*key); !ok {
				return nil, valueErrorf("the format names the key '%s', which the mapping lacks", *key)
			}
		case used >= len(list):
			return nil, typeErrorf("not enough arguments for format string")
		default:
			v = list[used]
			used++
		}
		if err := st.writeField(&b, like, spec, v); err != nil {
			return nil, err
		}
	}
	if used < len(list) && !subscriptable(arg) { // what has subscripts passes for a mapping, which may go unused
		return nil, typeErrorf("not all arguments converted during string formatting")
	}
	return likeText(like, b.String()), st.alloc(b.Len())
}

func subscriptable(v Value) bool {
	switch v.(type) {
	case *Dict, *List, *intRange, *undefined:
		return true
	}
	return false
}

func (st *state) writeField(b *strings.Builder, like Value, spec fieldSpec, v Value) error {
	s, err := st.formatPercent(spec, v)
	if err != nil {
		return err
	}
	_, safe := like.(markup)
	if _, isSafe := v.(markup); safe && !isSafe {
		s = escapeHTML(s)
	}
	b.WriteString(s)
	return nil
}

func parsePercent(s string) (key *string, spec fieldSpec, n int, err error) {
	spec = fieldSpec{fill: " ", align: '>', prec: -1}
	if strings.HasPrefix(s, "(") {
		end := strings.IndexByte(s, ')')
		if end < 0 {
			return nil, spec, 0, valueErrorf("incomplete format key")
		}
		k := s[1:end]
		key, n = &k, end+1
	}
	for ; n < len(s) && strings.IndexByte("-+ #0", s[n]) >= 0; n++ {
		switch s[n] {
		case '-':
			spec.align = '<'
		case '+':
			spec.sign = '+'
		case ' ':
			if spec.sign == 0 {
				spec.sign = ' '
			}
		case '#':
			spec.alt = true
		case '0':
			spec.zero = true
		}
	}
	n += readInt(s[n:], &spec.width)
	if n < len(s) && s[n] == '.' {
		spec.prec = 0
		n += 1 + readInt(s[n+1:], &spec.prec)
	}
	for n < len(s) && strings.IndexByte("hlL", s[n]) >= 0 {
		n++
	}
	if n >= len(s) {
		return nil, spec, 0, valueErrorf("incomplete format")
	}
	spec.verb = s[n]
	return key, spec, n + 1, nil
}

// readInt reads leading digits, capped so that it cannot overflow.
func readInt(s string, v *int64) int {
	n := 0
	for ; n < len(s) && s[n] >= '0' && s[n] <= '9'; n++ {
		*v = min(*v*10+int64(s[n]-'0'), maxTextBytes)
	}
	return n
}

func (st *state) formatPercent(spec fieldSpec, v Value) (string, error) {
	if spec.zero && spec.align == '>' {
		spec.fill, spec.align = "0", '='
	}
	switch spec.verb {
	case 's', 'r', 'a':
		s, err := toStr(v)
		if spec.verb != 's' {
			s, err = toRepr(v)
		}
		if err != nil {
			return "", err
		}
		if err := st.alloc(len(s)); err != nil {
			return "", err
		}
		if spec.align == '=' {
			spec.fill, spec.align = " ", '>'
		}
		return st.padText(spec, truncate(s, spec.prec))
	case 'c':
		if n, ok := asInt(v); ok {
			return st.padText(spec, string(rune(n)))
		}
		if s, ok := text(v); ok && utf8.RuneCountInString(s) == 1 {
			return st.padText(spec, s)
		}
		return "", typeErrorf("%%c requires int or char")
	case 'd', 'i', 'u':
		f, isFloat := v.(float64)
		if isFloat {
			if math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) >= 1<<63 {
				return "", valueErrorf("cannot convert float %s to integer", floatRepr(f))
			}
			v = int64(f)
		}
		spec.verb = 'd'
	}
	if _, ok := asNumber(v); !ok {
		return "", typeErrorf("%%%c format: a number is required, not %s", spec.verb, typeName(v))
	}
	if strings.IndexByte("doxXeEfFgG", spec.verb) < 0 {
		return "", valueErrorf("unsupported format character '%c'", spec.verb)
	}
	if _, ok := v.(float64); ok && strings.IndexByte("oxX", spec.verb) >= 0 {
		return "", typeErrorf("%%%c format: an integer is required, not float", spec.verb)
	}
	return st.formatNumber(spec, v)
}

func truncate(s string, prec int64) string {
	if prec < 0 {
		return s
	}
	for i := range s {
		if prec == 0 {
			return s[:i]
		}
		prec--
	}
	return s
}

func (st *state) padText(spec fieldSpec, s string) (string, error) {
	return st.pad(s, spec.width, spec.fill, spec.align)
}

// maxPrecision bounds the decimals of a formatted float; a float64 has no more than this to show.
const maxPrecision = 1100

// formatNumber formats an int or float; with align '=' the padding goes between sign and digits.
func (st *state) formatNumber(spec fieldSpec, v Value) (string, error) {
	if spec.prec > maxPrecision {
		return "", valueErrorf("precision %d is too large", spec.prec)
	}
	var digits string
	negative := false
	if _, isFloat := v.(float64); isFloat || strings.IndexByte("eEfFgG%", spec.verb) >= 0 && spec.verb != 0 {
		n, _ := asNumber(v)
		f := n.float()
		negative = math.Signbit(f) && !math.IsNaN(f)
		digits = floatDigits(spec, math.Abs(f))
	} else {
		digits, negative = intDigits(spec, v)
	}
	if spec.comma != 0 {
		digits = groupThousands(digits, spec.comma)
	}
	signText := ""
	switch {
	case negative:
		signText = "-"
	case spec.sign == '+' || spec.sign == ' ':
		signText = string(spec.sign)
	}
	if spec.alt && strings.IndexByte("xXob", spec.verb) >= 0 && spec.verb != 0 {
		signText += "0" + string(spec.verb)
	}
	if spec.align == '=' {
		body, err := st.pad(digits, spec.width-int64(len(signText)), spec.fill, '>')
		return signText + body, err
	}
	return st.padText(spec, signText+digits)
}

func intDigits(spec fieldSpec, v Value) (digits string, negative bool) {
	n, ok := v.(*big.Int)
	if !ok {
		i, _ := asInt(v)
		n = big.NewInt(i)
	}
	base := map[byte]int{'x': 16, 'X': 16, 'o': 8, 'b': 2}[spec.verb]
	if base == 0 {
		base = 10
	}
	digits = new(big.Int).Abs(n).Text(base)
	if spec.verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	if missing := spec.prec - int64(len(digits)); missing > 0 {
		digits = strings.Repeat("0", int(missing)) + digits
	}
	return digits, n.Sign() < 0
}

func floatDigits(spec fieldSpec, f float64) string {
	verb, prec := spec.verb, int(spec.prec)
	lower := verb | 0x20
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		s := floatRepr(f)
		if verb >= 'A' && verb <= 'Z' {
			s = strings.ToUpper(s)
		}
		return s
	case verb == 0 && prec < 0:
		return floatRepr(f)
	case verb == 0:
		lower = 'g'
	case verb == '%':
		f *= 100
		lower = 'f'
	}
	if prec < 0 {
		prec = 6
	}
	if lower == 'g' && prec == 0 {
		prec = 1
	}
	s := strconv.FormatFloat(f, lower, prec, 64)
	switch {
	case verb == '%':
		s += "%"
	case verb == 0 && !strings.ContainsAny(s, ".e"):
		s += ".0"
	case verb >= 'A' && verb <= 'Z':
		s = strings.ToUpper(s)
	}
	return s
}

func groupThousands(s string, sep byte) string {
	whole := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if whole < 0 {
		whole = len(s)
	}
	var b strings.Builder
	for i, c := range s {
		if i > 0 && i < whole && (whole-i)%3 == 0 {
			b.WriteByte(sep)
		}
		b.WriteRune(c)
	}
	return b.String()
}

// braceFormat is text.format(*args, **kwargs), without access to attributes that start with an underscore.
func (st *state) braceFormat(format string, a args) (Value, error) {
	auto := 0
	s, err := st.formatFields(format, a, &auto, 0)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (st *state) formatFields(format string, a args, auto *int, depth int) (string, error) {
	if depth > 1 {
		return "", valueErrorf("Max string recursion exceeded")
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '{' && c != '}' {
			b.WriteByte(c)
			continue
		}
		if i+1 < len(format) && format[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		if c == '}' {
			return "", valueErrorf("Single '}' encountered in format string")
		}
		end := closingBrace(format[i+1:])
		if end < 0 {
			return "", valueErrorf("expected '}' before end of string")
		}
		s, err := st.formatField(format[i+1:i+1+end], a, auto, depth)
		if err != nil {
			return "", err
		}
		b.WriteString(s)
		if err := st.alloc(len(s)); err != nil {
			return "", err
		}
		if b.Len() > maxTextBytes {
			return "", errTextTooLong()
		}
		i += end + 1
	}
	return b.String(), st.alloc(b.Len())
}

func closingBrace(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return -1
}

// formatField formats the inside of one pair of braces: name!conversion:spec.
func (st *state) formatField(field string, a args, auto *int, depth int) (string, error) {
	name, spec := field, ""
	conv := byte(0)
	if i := strings.IndexAny(field, "!:"); i >= 0 {
		name, spec = field[:i], field[i:]
		if spec[0] == '!' {
			if len(spec) < 2 || len(spec) > 2 && spec[2] != ':' {
				return "", valueErrorf("expected ':' after conversion specifier")
			}
			conv, spec = spec[1], spec[2:]
		}
		spec = strings.TrimPrefix(spec, ":")
	}
	v, err := st.fieldValue(name, a, auto)
	if err != nil {
		return "", err
	}
	switch conv {
	case 'r', 'a':
		v, err = toRepr(v)
	case 's':
		v, err = toStr(v)
	case 0:
	default:
		return "", valueErrorf("Unknown conversion specifier '%c'", conv)
	}
	if err != nil {
		return "", err
	}
	if s, ok := v.(string); ok {
		if err := st.alloc(len(s)); err != nil {
			return "", err
		}
	}
	if strings.ContainsAny(spec, "{}") {
		if spec, err = st.formatFields(spec, a, auto, depth+1); err != nil {
			return "", err
		}
	}
	return st.formatSpec(v, spec)
}

func (st *state) fieldValue(name string, a args, auto *int) (Value, error) {
	end := strings.IndexAny(name, ".[")
	if end < 0 {
		end = len(name)
	}
	first, path := name[:end], name[end:]
	var v Value
	if first == "" {
		first = strconv.Itoa(*auto)
		*auto++
	}
	if n, err := strconv.Atoi(first); err == nil {
		if n < 0 || n >= len(a.pos) {
			return nil, valueErrorf("Replacement index %d out of range for positional args tuple", n)
		}
		v = a.pos[n]
	} else {
		var ok bool
		if v, ok = a.dict().Get(first); !ok {
			return nil, valueErrorf("the format names '%s', which was not given", first)
		}
	}
	var err error
	for path != "" && err == nil {
		if path[0] == '.' {
			end := strings.IndexAny(path[1:], ".[") + 1
			if end == 0 {
				end = len(path)
			}
			v, err = st.attr(v, path[1:end])
			path = path[end:]
			continue
		}
		end := strings.IndexByte(path, ']')
		if end < 0 {
			return nil, valueErrorf("Missing ']' in format string")
		}
		key := Value(path[1:end])
		if n, convErr := strconv.ParseInt(path[1:end], 10, 64); convErr == nil {
			key = n
		}
		v, err = st.item(v, key)
		path = path[end+1:]
	}
	return v, err
}

// formatSpec is Python's format(v, spec).
func (st *state) formatSpec(v Value, spec string) (string, error) {
	if spec == "" {
		return toStr(v)
	}
	f, err := parseSpec(spec)
	if err != nil {
		return "", err
	}
	s, isText := text(v)
	if isText {
		if f.verb != 0 && f.verb != 's' || f.align == '=' || f.sign != 0 || f.comma != 0 {
			return "", valueErrorf("format specifier '%s' does not suit a str", spec)
		}
		if f.align == 0 {
			f.align = '<'
		}
		return st.padText(f, truncate(s, f.prec))
	}
	if _, ok := asNumber(v); !ok {
		return "", typeErrorf("unsupported format string passed to %s.__format__", typeName(v))
	}
	_, isFloat := v.(float64)
	verbs := "bcdoxXneEfFgG%"
	if isFloat {
		verbs = "eEfFgGn%"
	}
	if f.verb != 0 && strings.IndexByte(verbs, f.verb) < 0 || !isFloat && f.prec >= 0 && (f.verb == 0 || f.verb == 'd') {
		return "", valueErrorf("format specifier '%s' does not suit type '%s'", spec, typeName(v))
	}
	if f.align == 0 {
		f.align = '>'
	}
	switch {
	case f.verb == 'n' && isFloat:
		f.verb = 'g'
	case f.verb == 'n':
		f.verb = 'd'
	case f.verb == 'c':
		n, _ := asInt(v)
		return st.padText(f, string(rune(n)))
	}
	return st.formatNumber(f, v)
}

func parseSpec(spec string) (fieldSpec, error) {
	f := fieldSpec{fill: " ", prec: -1}
	s := spec
	_, size := utf8.DecodeRuneInString(s)
	if len(s) > size && strings.IndexByte("<>^=", s[size]) >= 0 {
		f.fill, f.align, s = s[:size], s[size], s[size+1:]
	} else if strings.IndexByte("<>^=", s[0]) >= 0 {
		f.align, s = s[0], s[1:]
	}
	take := func(set string) byte {
		if s != "" && strings.IndexByte(set, s[0]) >= 0 {
			c := s[0]
			s = s[1:]
			return c
		}
		return 0
	}
	f.sign = take("+- ")
	f.alt = take("#") != 0
	if take("0") != 0 && f.align == 0 {
		f.fill, f.align = "0", '='
	}
	s = s[readInt(s, &f.width):]
	f.comma = take(",_")
	if take(".") != 0 {
		f.prec = 0
		n := readInt(s, &f.prec)
		if n == 0 {
			return f, valueErrorf("Format specifier missing precision")
		}
		s = s[n:]
	}
	f.verb = take("bcdeEfFgGnosxX%")
	if s != "" {
		return f, valueErrorf("Invalid format specifier '%s'", spec)
	}
	return f, nil
}
