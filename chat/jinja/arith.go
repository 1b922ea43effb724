package jinja

import (
	"math"
	"math/big"
	"math/bits"
	"strings"
)

func errIntRange() error {
	return valueErrorf("the result of integer arithmetic does not fit into 64 bits")
}

func sign(op string, x Value) (Value, error) {
	if u, ok := x.(*undefined); ok {
		return nil, u.fail()
	}
	n, ok := asNumber(x)
	switch {
	case !ok:
		return nil, typeErrorf("bad operand type for unary %s: '%s'", op, typeName(x))
	case n.isFloat && op == "-":
		return -n.f, nil
	case n.isFloat:
		return n.f, nil
	case op == "+":
		return n.i, nil
	case n.i == math.MinInt64:
		return nil, errIntRange()
	}
	return -n.i, nil
}

// binary applies an arithmetic operator with Python's rules.
func (st *state) binary(op string, l, r Value) (Value, error) {
	if err := st.touch(l, r); err != nil {
		return nil, err
	}
	if s, ok := text(l); ok && op == "%" {
		return st.percentFormat(l, s, r)
	}
	for _, v := range []Value{l, r} {
		if u, ok := v.(*undefined); ok {
			return nil, u.fail()
		}
	}
	x, okX := asNumber(l)
	y, okY := asNumber(r)
	if okX && okY {
		if isBig(l) && !isFloat(r) || isBig(r) && !isFloat(l) {
			return nil, errIntRange()
		}
		if x.isFloat || y.isFloat {
			return floatOp(op, x.float(), y.float())
		}
		return intOp(op, x.i, y.i)
	}
	switch op {
	case "+":
		return st.add(l, r)
	case "*":
		if n, ok := asInt(r); ok {
			return st.repeat(l, n)
		}
		if n, ok := asInt(l); ok {
			return st.repeat(r, n)
		}
	}
	return nil, typeErrorf("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(l), typeName(r))
}

func (st *state) add(l, r Value) (Value, error) {
	if s, ok := text(l); ok {
		t, ok := text(r)
		if !ok {
			return nil, typeErrorf("can only concatenate str (not \"%s\") to str", typeName(r))
		}
		if err := st.alloc(len(s) + len(t)); err != nil {
			return nil, err
		}
		_, safeL := l.(markup)
		_, safeR := r.(markup)
		switch {
		case safeL && !safeR:
			return markup(s + escapeHTML(t)), nil
		case safeR && !safeL:
			return markup(escapeHTML(s) + t), nil
		case safeL:
			return markup(s + t), nil
		}
		return s + t, nil
	}
	switch l := l.(type) {
	case *List:
		r, ok := r.(*List)
		if !ok {
			break
		}
		items, err := st.join(l.Items, r.Items)
		return NewList(items...), err
	case *tuple:
		r, ok := r.(*tuple)
		if !ok {
			break
		}
		items, err := st.join(l.items, r.items)
		return newTuple(items...), err
	}
	return nil, typeErrorf("unsupported operand type(s) for +: '%s' and '%s'", typeName(l), typeName(r))
}

func (st *state) join(a, b []Value) ([]Value, error) {
	if err := st.alloc(16 * (len(a) + len(b))); err != nil {
		return nil, err
	}
	return append(append(make([]Value, 0, len(a)+len(b)), a...), b...), nil
}

// repeat is x * n for sequences.
func (st *state) repeat(x Value, n int64) (Value, error) {
	n = max(n, 0)
	size := 0
	s, isText := text(x)
	items, isTuple := []Value(nil), false
	switch x := x.(type) {
	case string, markup:
		size = len(s)
	case *List:
		items = x.Items
		size = 16 * len(items)
	case *tuple:
		items, isTuple = x.items, true
		size = 16 * len(items)
	default:
		return nil, typeErrorf("can't multiply sequence by non-int: '%s' and 'int'", typeName(x))
	}
	if size > 0 && n > int64(maxTextBytes/size) {
		return nil, errTextTooLong()
	}
	if size == 0 {
		n = 0
	}
	if err := st.alloc(size * int(n)); err != nil {
		return nil, err
	}
	if isText {
		return likeText(x, strings.Repeat(s, int(n))), nil
	}
	out := make([]Value, 0, len(items)*int(n))
	for range n {
		out = append(out, items...)
	}
	if isTuple {
		return newTuple(out...), nil
	}
	return NewList(out...), nil
}

func intOp(op string, a, b int64) (Value, error) {
	if b == 0 && (op == "/" || op == "//" || op == "%") {
		return nil, valueErrorf("division by zero")
	}
	switch op {
	case "+":
		c := a + b
		if (c > a) != (b > 0) && b != 0 {
			return nil, errIntRange()
		}
		return c, nil
	case "-":
		c := a - b
		if (c < a) != (b > 0) && b != 0 {
			return nil, errIntRange()
		}
		return c, nil
	case "*":
		return mulInt(a, b)
	case "/":
		return float64(a) / float64(b), nil
	case "//":
		if a == math.MinInt64 && b == -1 {
			return nil, errIntRange()
		}
		q := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			q--
		}
		return q, nil
	case "%":
		if b == -1 {
			return int64(0), nil
		}
		m := a % b
		if m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		return m, nil
	}
	return powInt(a, b)
}

func isBig(v Value) bool { _, ok := v.(*big.Int); return ok }

func isFloat(v Value) bool { _, ok := v.(float64); return ok }

func mulInt(a, b int64) (Value, error) {
	hi, lo := bits.Mul64(absInt(a), absInt(b))
	negative := (a < 0) != (b < 0)
	switch {
	case hi == 0 && lo <= math.MaxInt64 && negative:
		return -int64(lo), nil
	case hi == 0 && lo <= math.MaxInt64:
		return int64(lo), nil
	case hi == 0 && lo == 1<<63 && negative:
		return int64(math.MinInt64), nil
	}
	return nil, errIntRange()
}

func absInt(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

func powInt(a, b int64) (Value, error) {
	if b < 0 {
		if a == 0 {
			return nil, valueErrorf("0.0 cannot be raised to a negative power")
		}
		return math.Pow(float64(a), float64(b)), nil
	}
	result := Value(int64(1))
	if a == 0 || a == 1 || a == -1 { // any exponent: only its parity matters
		if b > 0 && (a >= 0 || b%2 == 1) {
			return a, nil
		}
		return result, nil
	}
	if b > 63 {
		return nil, errIntRange()
	}
	for range b {
		var err error
		if result, err = mulInt(result.(int64), a); err != nil {
			return nil, err
		}
	}
	return result, nil
}

func floatOp(op string, a, b float64) (Value, error) {
	if b == 0 && (op == "/" || op == "//" || op == "%") {
		return nil, valueErrorf("float division by zero")
	}
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "/":
		return a / b, nil
	case "//":
		q, _ := floatDivMod(a, b)
		return q, nil
	case "%":
		_, m := floatDivMod(a, b)
		return m, nil
	}
	f := math.Pow(a, b)
	switch {
	case a == 0 && b < 0:
		return nil, valueErrorf("0.0 cannot be raised to a negative power")
	case math.IsNaN(f) && !math.IsNaN(a) && !math.IsNaN(b):
		return nil, valueErrorf("a negative number cannot be raised to a fractional power here")
	case math.IsInf(f, 0) && !math.IsInf(a, 0) && !math.IsInf(b, 0):
		return nil, valueErrorf("numerical result out of range")
	}
	return f, nil
}

// floatDivMod is Python's divmod: the quotient rounds down and the remainder has the sign of b.
func floatDivMod(a, b float64) (q, m float64) {
	m = math.Mod(a, b)
	q = (a - m) / b
	if m != 0 && (b < 0) != (m < 0) {
		m += b
		q--
	} else if m == 0 {
		m = math.Copysign(0, b)
	}
	if q != 0 {
		down := math.Floor(q)
		if q-down > 0.5 {
			down++
		}
		return down, m
	}
	return math.Copysign(0, a/b), m
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

func escapeHTML(s string) string { return htmlEscaper.Replace(s) }
