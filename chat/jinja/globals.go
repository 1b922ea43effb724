package jinja

import (
	"fmt"
	"strings"
	"time"
)

// globals are the functions every template can call.
var globals map[string]Value

func init() { // an initialiser would be a cycle: the functions reach the evaluator, which reads globals
	globals = map[string]Value{
		"range":           &builtin{name: "range", fn: makeRange},
		"dict":            &builtin{name: "dict", fn: makeDict},
		"namespace":       &builtin{name: "namespace", fn: makeNamespace},
		"cycler":          &builtin{name: "cycler", fn: makeCycler},
		"joiner":          &builtin{name: "joiner", fn: makeJoiner},
		"raise_exception": &builtin{name: "raise_exception", fn: raiseException},
		"strftime_now":    &builtin{name: "strftime_now", fn: strftimeNow},
	}
}

func makeRange(_ *state, a args) (Value, error) {
	p, err := a.bind("range", "start", "stop?", "step?")
	if err != nil {
		return nil, err
	}
	start, err := p.int("range", 0, 0)
	if err != nil {
		return nil, err
	}
	stop, err := p.int("range", 1, 0)
	if err != nil {
		return nil, err
	}
	step, err := p.int("range", 2, 1)
	if err != nil {
		return nil, err
	}
	if len(a.pos) == 1 {
		start, stop = 0, start
	}
	if step == 0 {
		return nil, valueErrorf("range() arg 3 must not be zero")
	}
	lo, hi := start, stop
	if step < 0 {
		lo, hi = stop, start
	}
	r := &intRange{start: start, stop: stop, step: step}
	if lo < hi {
		count := (uint64(hi-lo)-1)/absInt(step) + 1 // the difference of two int64 fits into a uint64
		if count > maxRange {
			return nil, valueErrorf("range of %d elements; the sandbox allows %d", count, maxRange)
		}
		r.len = int64(count)
	}
	return r, nil
}

func makeDict(st *state, a args) (Value, error) {
	if len(a.pos) > 1 {
		return nil, typeErrorf("dict expected at most 1 argument, got %d", len(a.pos))
	}
	d := NewDict()
	if len(a.pos) == 1 {
		if src, ok := a.pos[0].(*Dict); ok {
			if err := st.alloc(64 * src.Len()); err != nil {
				return nil, err
			}
			d = src.Clone()
		} else if err := dictOfPairs(st, d, a.pos[0]); err != nil {
			return nil, err
		}
	}
	for i, name := range a.names {
		d.Set(name, a.vals[i])
	}
	return d, nil
}

func dictOfPairs(st *state, d *Dict, v Value) error {
	items, err := st.iterate(v)
	if err != nil {
		return err
	}
	if err := st.alloc(64 * len(items)); err != nil {
		return err
	}
	for i, item := range items {
		pair, err := st.iterate(item)
		if err != nil {
			return typeErrorf("cannot convert dictionary update sequence element #%d to a sequence", i)
		}
		if len(pair) != 2 {
			return valueErrorf("dictionary update sequence element #%d has length %d; 2 is required", i, len(pair))
		}
		if err := d.store(pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}

func makeNamespace(st *state, a args) (Value, error) {
	d, err := makeDict(st, a)
	if err != nil {
		return nil, err
	}
	return &namespace{d.(*Dict)}, nil
}

func raiseException(_ *state, a args) (Value, error) {
	p, err := a.bind("raise_exception", "message")
	if err != nil {
		return nil, err
	}
	msg, err := toStr(p[0])
	if err != nil {
		return nil, err
	}
	return nil, errorf(raisedError, "%s", msg)
}

// maxTimeFormat bounds a strftime format, for its directives expand.
const maxTimeFormat = 4096

func strftimeNow(st *state, a args) (Value, error) {
	p, err := a.bind("strftime_now", "format")
	if err != nil {
		return nil, err
	}
	format, err := p.text("strftime_now", 0, "")
	if err != nil {
		return nil, err
	}
	if len(format) > maxTimeFormat {
		return nil, valueErrorf("strftime_now() format of %d bytes; at most %d are read", len(format), maxTimeFormat)
	}
	return strftime(st.now, format), nil
}

// strftime formats t as C's strftime does in the C locale; "-" after the percent sign drops leading zeros.
// An unknown directive stays as it is.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		bare := format[i] == '-' && i+1 < len(format)
		if bare {
			i++
		}
		s, ok := strftimeField(t, format[i])
		switch {
		case !ok && bare:
			s = "%-" + format[i:i+1]
		case !ok:
			s = "%" + format[i:i+1]
		case bare:
			if s = strings.TrimLeft(s, "0 "); s == "" {
				s = "0"
			}
		}
		b.WriteString(s)
	}
	return b.String()
}

func strftimeField(t time.Time, c byte) (string, bool) {
	if layout, ok := map[byte]string{
		'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006",
		'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'j': "002", 'm': "01", 'M': "04", 'p': "PM", 'S': "05",
		'x': "01/02/06", 'D': "01/02/06", 'X': "15:04:05", 'T': "15:04:05", 'R': "15:04", 'r': "03:04:05 PM",
		'F': "2006-01-02", 'y': "06", 'Y': "2006", 'Z': "MST", 'z': "-0700", 'n': "\n", 't': "\t", '%': "%",
	}[c]; ok {
		return t.Format(layout), true
	}
	year, week := t.ISOWeek()
	weekday := int(t.Weekday())
	switch c {
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100), true
	case 'G':
		return fmt.Sprint(year), true
	case 'V':
		return fmt.Sprintf("%02d", week), true
	case 'k':
		return fmt.Sprintf("%2d", t.Hour()), true
	case 'l':
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1), true
	case 's':
		return fmt.Sprint(t.Unix()), true
	case 'u':
		return fmt.Sprint((weekday+6)%7 + 1), true
	case 'w':
		return fmt.Sprint(weekday), true
	case 'U':
		return fmt.Sprintf("%02d", (t.YearDay()+6-weekday)/7), true
	case 'W':
		return fmt.Sprintf("%02d", (t.YearDay()+6-(weekday+6)%7)/7), true
	}
	return "", false
}

// loopContext is the variable loop of a for loop.
type loopContext struct {
	items   []Value
	i       int
	depth   int
	changed []Value // arguments of the last loop.changed()
	asked   bool
	recurse func(Value) (Value, error) // of a recursive loop
}

func (lc *loopContext) attribute(name string) (Value, bool) {
	n := len(lc.items)
	switch name {
	case "index":
		return int64(lc.i + 1), true
	case "index0":
		return int64(lc.i), true
	case "revindex":
		return int64(n - lc.i), true
	case "revindex0":
		return int64(n - lc.i - 1), true
	case "first":
		return lc.i == 0, true
	case "last":
		return lc.i == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(lc.depth + 1), true
	case "depth0":
		return int64(lc.depth), true
	case "previtem":
		if lc.i == 0 {
			return newUndefined("there is no previous item"), true
		}
		return lc.items[lc.i-1], true
	case "nextitem":
		if lc.i == n-1 {
			return newUndefined("there is no next item"), true
		}
		return lc.items[lc.i+1], true
	case "cycle":
		return &builtin{name: "cycle", fn: func(_ *state, a args) (Value, error) {
			if len(a.pos) == 0 {
				return nil, typeErrorf("no items for cycling given")
			}
			return a.pos[lc.i%len(a.pos)], nil
		}}, true
	case "changed":
		return &builtin{name: "changed", fn: lc.hasChanged}, true
	}
	return nil, false
}

func (lc *loopContext) hasChanged(st *state, a args) (Value, error) {
	same, err := st.equalItems(lc.changed, a.pos, 0)
	if err != nil {
		return nil, err
	}
	changed := !same || !lc.asked
	lc.changed, lc.asked = a.pos, true
	return changed, nil
}

// cycler walks round its items.
type cycler struct {
	items []Value
	i     int
}

func makeCycler(_ *state, a args) (Value, error) {
	if len(a.pos) == 0 {
		return nil, valueErrorf("at least one item has to be provided")
	}
	return &cycler{items: a.pos}, nil
}

func (c *cycler) attribute(name string) (Value, bool) {
	switch name {
	case "current":
		return c.items[c.i], true
	case "next":
		return &builtin{name: "next", fn: func(*state, args) (Value, error) {
			v := c.items[c.i]
			c.i = (c.i + 1) % len(c.items)
			return v, nil
		}}, true
	case "reset":
		return &builtin{name: "reset", fn: func(*state, args) (Value, error) {
			c.i = 0
			return nil, nil
		}}, true
	}
	return nil, false
}

// joiner gives nothing at its first call and its separator ever after.
type joiner struct {
	sep  Value
	used bool
}

func makeJoiner(_ *state, a args) (Value, error) {
	p, err := a.bind("joiner", "sep?")
	if err != nil {
		return nil, err
	}
	return &joiner{sep: p.or(0, ", ")}, nil
}

func (j *joiner) call(a args) (Value, error) {
	if !j.used {
		j.used = true
		return "", a.none("joiner")
	}
	return j.sep, a.none("joiner")
}
