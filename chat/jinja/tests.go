package jinja

import (
	"strings"
	"unicode"
)

type testFunc func(st *state, x Value, a args) (bool, error)

// tests are the functions behind the is operator.
var tests map[string]testFunc

func init() { // an initialiser would be a cycle through the evaluator
	tests = map[string]testFunc{
		"defined":   kindTest("defined", func(x Value) bool { return !isUndefined(x) }),
		"undefined": kindTest("undefined", isUndefined),
		"none":      kindTest("none", func(x Value) bool { return x == nil }),
		"true":      kindTest("true", func(x Value) bool { return x == true }),
		"false":     kindTest("false", func(x Value) bool { return x == false }),
		"boolean":   kindTest("boolean", func(x Value) bool { _, ok := x.(bool); return ok }),
		"integer":   kindTest("integer", func(x Value) bool { return typeName(x) == "int" }),
		"float":     kindTest("float", func(x Value) bool { return typeName(x) == "float" }),
		"number":    kindTest("number", func(x Value) bool { _, ok := asNumber(x); return ok }),
		"string":    kindTest("string", func(x Value) bool { _, ok := text(x); return ok }),
		"mapping":   kindTest("mapping", func(x Value) bool { _, ok := x.(*Dict); return ok }),
		"sequence":  kindTest("sequence", isSequence),
		"iterable":  kindTest("iterable", isIterable),
		"callable":  kindTest("callable", isCallable),
		"escaped":   kindTest("escaped", func(x Value) bool { _, ok := x.(markup); return ok }),
		"lower":     caseTest("lower", unicode.IsLower, unicode.IsUpper),
		"upper":     caseTest("upper", unicode.IsUpper, unicode.IsLower),

		"odd":         remainderTest("odd", 2, 1),
		"even":        remainderTest("even", 2, 0),
		"divisibleby": testDivisible,

		"in":     func(st *state, x Value, a args) (bool, error) { return testIn(st, x, a) },
		"sameas": testSame,
		"filter": func(_ *state, x Value, a args) (bool, error) {
			s, _ := text(x)
			return filters[s] != nil, a.none("filter")
		},
		"test": func(_ *state, x Value, a args) (bool, error) { s, _ := text(x); return tests[s] != nil, a.none("test") },
	}
	for _, alias := range []struct{ op, names string }{
		{"==", "== eq equalto"}, {"!=", "!= ne"}, {"<", "< lt lessthan"}, {"<=", "<= le"}, {">", "> gt greaterthan"}, {">=", ">= ge"},
	} {
		for _, name := range strings.Fields(alias.names) {
			tests[name] = compareTest(name, alias.op)
		}
	}
}

func kindTest(name string, is func(Value) bool) testFunc {
	return func(_ *state, x Value, a args) (bool, error) { return is(x), a.none(name) }
}

func isUndefined(x Value) bool { _, ok := x.(*undefined); return ok }

// isSequence is true for what has a length and subscripts, mappings and undefined values included.
func isSequence(x Value) bool {
	if _, ok := x.(*dictView); ok {
		return false
	}
	_, ok := length(x)
	return ok
}

func isIterable(x Value) bool {
	switch x.(type) {
	case *generator, *dictView, *loopContext:
		return true
	}
	return isSequence(x)
}

func isCallable(x Value) bool {
	switch x.(type) {
	case *builtin, *macro, *joiner, *undefined, *loopContext:
		return true
	}
	return false
}

func caseTest(name string, want, other func(rune) bool) testFunc {
	has := cased(name, want, other)
	return func(st *state, x Value, a args) (bool, error) {
		s, err := st.str(x)
		if err != nil {
			return false, err
		}
		v, err := has(st, s, a)
		return truthy(v), err
	}
}

func remainderTest(name string, divisor, rest int64) testFunc {
	return func(st *state, x Value, a args) (bool, error) {
		v, err := st.binary("%", x, divisor)
		if err != nil {
			return false, err
		}
		eq, err := st.equal(v, rest)
		if err != nil {
			return false, err
		}
		return eq, a.none(name)
	}
}

func testDivisible(st *state, x Value, a args) (bool, error) {
	p, err := a.bind("divisibleby", "num")
	if err != nil {
		return false, err
	}
	v, err := st.binary("%", x, p[0])
	if err != nil {
		return false, err
	}
	return st.equal(v, int64(0))
}

func testIn(st *state, x Value, a args) (bool, error) {
	p, err := a.bind("in", "seq")
	if err != nil {
		return false, err
	}
	return st.contains(p[0], x)
}

func testSame(_ *state, x Value, a args) (bool, error) {
	p, err := a.bind("sameas", "other")
	if err != nil {
		return false, err
	}
	return sameObject(x, p[0]), nil
}

func compareTest(name, op string) testFunc {
	return func(st *state, x Value, a args) (bool, error) {
		p, err := a.bind(name, "other")
		if err != nil {
			return false, err
		}
		return st.holds(op, x, p[0])
	}
}
