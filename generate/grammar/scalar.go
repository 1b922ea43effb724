package grammar

import (
	"math"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/fault"
)

// formats are patterns of formats that are kept to. Each takes fewer texts than the format may, never more.
var formats = map[string]string{
	"date":      datePattern,
	"time":      timePattern,
	"date-time": datePattern + "T" + timePattern,
	"uuid":      "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
	"ipv4":      `((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`,
	"email":     `[a-z0-9]{1,32}([._-][a-z0-9]{1,32}){0,3}@[a-z0-9]{1,32}([.-][a-z0-9]{1,32}){0,3}\.[a-z]{2,10}`,
}

const (
	datePattern = `[12]\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))`
	timePattern = `([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)`
)

// texts are the strings that a schema takes.
func texts(at string, s *chat.Dict) (node, error) {
	least, err := count(at, s, "minLength", 0)
	if err != nil {
		return nil, err
	}
	most, err := count(at, s, "maxLength", -1)
	if err != nil {
		return nil, err
	}
	pattern, limited := "", least > 0 || most >= 0
	if v, ok := s.Get("pattern"); ok {
		if pattern, ok = v.(string); !ok || limited {
			return nil, bad(at, "pattern: expected a string, and no minLength or maxLength beside it")
		}
	} else if f, _ := s.Get("format"); f != nil && !limited {
		if name, ok := f.(string); ok && formats[name] != "" {
			pattern = "^(" + formats[name] + ")$"
		}
	}
	if pattern != "" {
		n, err := patternNode(pattern)
		if err != nil {
			return nil, bad(at, "pattern %q: %v", pattern, err)
		}
		return seq{literal(`"`), n, literal(`"`)}, nil
	}
	if most >= 0 && most < least {
		return nil, bad(at, "maxLength %d is less than minLength %d", most, least)
	}
	return seq{literal(`"`), repeat{ref(ruleChar), least, most}, literal(`"`)}, nil
}

// patternNode is the strings, as JSON writes them, that a regular expression finds itself in.
func patternNode(pattern string) (node, error) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	anything := repeat{ref(ruleChar), 0, -1}
	out := seq{anything}
	if len(parts) > 0 && (parts[0].Op == syntax.OpBeginText || parts[0].Op == syntax.OpBeginLine) {
		out, parts = seq{}, parts[1:]
	}
	var end seq
	if n := len(parts); n > 0 && (parts[n-1].Op == syntax.OpEndText || parts[n-1].Op == syntax.OpEndLine) {
		parts = parts[:n-1]
	} else {
		end = seq{anything}
	}
	for _, p := range parts {
		n, err := regexNode(p)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return append(out, end...), nil
}

func regexNode(re *syntax.Regexp) (node, error) {
	list := func() ([]node, error) {
		var out []node
		for _, sub := range re.Sub {
			n, err := regexNode(sub)
			if err != nil {
				return nil, err
			}
			out = append(out, n)
		}
		return out, nil
	}
	times := func(least, most int) (node, error) {
		n, err := regexNode(re.Sub[0])
		return repeat{n, least, most}, err
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		return literal(""), nil
	case syntax.OpLiteral:
		var out seq
		for _, r := range re.Rune {
			ranges := class{{r, r}}
			if re.Flags&syntax.FoldCase != 0 {
				for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
					ranges = append(ranges, runeRange{f, f})
				}
			}
			out = append(out, jsonClass(ranges))
		}
		return out, nil
	case syntax.OpCharClass:
		var ranges class
		for i := 0; i+1 < len(re.Rune); i += 2 {
			ranges = append(ranges, runeRange{re.Rune[i], re.Rune[i+1]})
		}
		return jsonClass(ranges), nil
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return jsonClass(class{{0x20, unicode.MaxRune}}), nil
	case syntax.OpCapture:
		return regexNode(re.Sub[0])
	case syntax.OpStar:
		return times(0, -1)
	case syntax.OpPlus:
		return times(1, -1)
	case syntax.OpQuest:
		return times(0, 1)
	case syntax.OpRepeat:
		return times(re.Min, re.Max)
	case syntax.OpConcat:
		out, err := list()
		return seq(out), err
	case syntax.OpAlternate:
		out, err := list()
		return alt(out), err
	}
	return nil, fault.Of("%v is not supported within it", re)
}

// jsonClass is a character of some, as a string of JSON has it: quotes, backslashes and control characters escaped.
func jsonClass(ranges class) node {
	var plain class
	var out alt
	for _, r := range ranges {
		for _, c := range []rune{'"', '\\'} {
			if r.lo <= c && c <= r.hi {
				out = append(out, literal(`\`+string(c)))
			}
		}
		for c, name := range map[rune]string{'\n': "n", '\r': "r", '\t': "t"} {
			if r.lo <= c && c <= r.hi {
				out = append(out, literal(`\`+name))
			}
		}
		lo := max(r.lo, 0x20)
		for _, c := range []rune{'"', '\\'} {
			if lo <= c && c <= r.hi {
				if lo < c {
					plain = append(plain, runeRange{lo, c - 1})
				}
				lo = c + 1
			}
		}
		if lo <= r.hi {
			plain = append(plain, runeRange{lo, r.hi})
		}
	}
	if len(out) == 0 {
		return plain
	}
	if len(plain) > 0 {
		out = append(out, plain)
	}
	return out
}

// numbers are those that a schema takes. Between bounds they are written without an exponent. Where a bound is no whole number,
// those between it and the next whole one are left out.
func numbers(at, kind string, s *chat.Dict) (node, error) {
	least, most := math.Inf(-1), math.Inf(1)
	bound := func(key string, to *float64, strict bool, tighter func(a, b float64) float64) error {
		v, ok := s.Get(key)
		if !ok {
			return nil
		}
		f, ok := number(v)
		if _, isBool := v.(bool); !ok || isBool || math.Abs(f) >= 1e15 {
			return bad(at, "%s: found %v, expected a number below 1e15", key, v)
		}
		round := math.Ceil(f)
		if key == "maximum" || key == "exclusiveMaximum" {
			round = math.Floor(f)
		}
		if strict && round == f {
			round += map[bool]float64{true: 1, false: -1}[key == "exclusiveMinimum"]
		}
		*to = tighter(*to, round)
		return nil
	}
	for _, err := range []error{
		bound("minimum", &least, false, math.Max), bound("exclusiveMinimum", &least, true, math.Max),
		bound("maximum", &most, false, math.Min), bound("exclusiveMaximum", &most, true, math.Min),
	} {
		if err != nil {
			return nil, err
		}
	}
	if math.IsInf(least, -1) && math.IsInf(most, 1) {
		if kind == "integer" {
			return integer, nil
		}
		return ref(ruleNumber), nil
	}
	const far = 1e15 - 1
	lo, hi := int64(max(least, -far)), int64(min(most, far))
	if lo > hi {
		return nil, bad(at, "there is no whole number between its bounds, which a number needs here")
	}
	out := integersFrom(lo, hi)
	if kind == "number" {
		if lo < hi && hi > 0 { // n.5 is below n+1
			if from := max(lo, 0); from <= hi-1 {
				out = append(out, seq{natural(from, hi-1), fraction})
			}
		}
		if lo < 0 { // -n.5 is above -(n+1)
			if from, to := max(-hi, 0), -lo-1; from <= to {
				out = append(out, seq{literal("-"), natural(from, to), fraction})
			}
		}
	}
	return out, nil
}

// integersFrom is the whole numbers lo to hi.
func integersFrom(lo, hi int64) (out alt) {
	if hi >= 0 {
		out = append(out, natural(max(lo, 0), hi))
	}
	if lo < 0 {
		out = append(out, seq{literal("-"), natural(max(-hi, 1), -lo)})
	}
	return out
}

// natural is the numbers lo to hi, both 0 or more, without zeros before them.
func natural(lo, hi int64) node {
	var out alt
	for n := len(strconv.FormatInt(lo, 10)); n <= len(strconv.FormatInt(hi, 10)); n++ {
		first, last := int64(math.Pow10(n-1)), int64(math.Pow10(n))-1
		if n == 1 {
			first = 0
		}
		from, to := strconv.FormatInt(max(lo, first), 10), strconv.FormatInt(min(hi, last), 10)
		out = append(out, between(from, to))
	}
	return out
}

// between is the numbers from to to, which have the same number of digits.
func between(from, to string) node {
	if from == "" {
		return literal("")
	}
	if n := len(from); from == strings.Repeat("0", n) && to == strings.Repeat("9", n) {
		return repeat{digit, n, n}
	}
	a, b := from[0], to[0]
	if a == b {
		return seq{literal(from[:1]), between(from[1:], to[1:])}
	}
	n := len(from) - 1
	out := alt{seq{literal(from[:1]), between(from[1:], strings.Repeat("9", n))}, seq{literal(to[:1]), between(strings.Repeat("0", n), to[1:])}}
	if b-a > 1 {
		out = append(out, seq{class{{rune(a + 1), rune(b - 1)}}, repeat{digit, n, n}})
	}
	return out
}
