package parquet

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/chat/jinja"
)

const (
	// maxRowBytes bounds the text of one row.
	maxRowBytes = 64 << 20
	maxRowItems = 1 << 20 // values of one row, those in lists and structs among them
	itemCost    = 64      // bytes of a value beside its text
)

var errRow = fmt.Errorf("a row has more than %d MiB of text or more than %d values", maxRowBytes>>20, maxRowItems)

// Rows reads rows in the order of the file. It is for one goroutine.
type Rows struct {
	file    *File
	fields  []*node
	group   int   // that is being read
	left    int64 // rows left of it
	at      int64 // number of the next row
	columns []*column
	pages   int64 // bytes of the pages and dictionaries that the columns have open
	bytes   int   // text of the row being read
	items   int
}

// Rows gives a reader that begins with the first row. Of the top-level columns those named are read; none names
// all. A name that the file does not have is ignored.
func (f *File) Rows(columns ...string) *Rows {
	r := &Rows{file: f, group: -1}
	for _, field := range f.root.children {
		if len(columns) == 0 || slices.Contains(columns, field.name) {
			r.fields = append(r.fields, field)
		}
	}
	return r
}

// Next gives the next row, its columns in the file's order; nil after the last one. Null is nil, numbers are int64
// and float64, lists and structs chat's; a map is a list of lists of two, as pyarrow gives it. Damaged files give
// an error, never a panic.
func (r *Rows) Next() (*jinja.Dict, error) {
	for r.left == 0 {
		if r.group+1 >= len(r.file.groups) {
			return nil, r.finish()
		}
		if err := r.finish(); err != nil {
			return nil, err
		}
		r.open(r.group + 1)
	}
	r.left--
	r.at++
	r.bytes, r.items = 0, 0
	row := jinja.NewDict()
	for _, field := range r.fields {
		v, err := r.build(field)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", r.at, err)
		}
		row.Set(field.name, v)
	}
	return row, r.wholeRow()
}

// Size is about how many bytes of memory the row that Next gave last takes.
func (r *Rows) Size() int { return r.bytes + r.items*itemCost }

// SkipTo makes Next go on with the row of a number, counted from 0, whether or not there is such a row.
func (r *Rows) SkipTo(row int64) error {
	if row < r.at {
		r.group, r.left, r.at, r.columns = -1, 0, 0, nil
	}
	for r.at < row {
		if skip := min(row-r.at, r.left); r.left > 0 {
			if err := r.skip(skip); err != nil {
				return err
			}
			continue
		}
		if r.group+1 >= len(r.file.groups) {
			return nil
		}
		if next := r.file.groups[r.group+1].rows; next <= row-r.at { // a whole group
			r.group, r.columns = r.group+1, nil
			r.at += next
			continue
		}
		r.open(r.group + 1)
	}
	return nil
}

// skip reads over rows of the group.
func (r *Rows) skip(rows int64) error {
	for _, c := range r.columns {
		for range rows {
			if _, err := c.take(); err != nil {
				return err
			}
			for {
				v, ok, err := c.peek()
				if err != nil {
					return err
				}
				if !ok || v.rep == 0 {
					break
				}
				c.ahead = false
			}
		}
	}
	r.left -= rows
	r.at += rows
	return nil
}

// open begins with a row group.
func (r *Rows) open(i int) {
	g := &r.file.groups[i]
	r.group, r.left, r.pages = i, g.rows, 0
	r.columns = make([]*column, len(r.file.leaves))
	for _, field := range r.fields {
		r.openLeaves(field, g)
	}
	r.columns = slices.DeleteFunc(r.columns, func(c *column) bool { return c == nil })
}

func (r *Rows) openLeaves(n *node, g *group) {
	if n.leaf >= 0 {
		c := g.chunks[n.leaf]
		r.columns[n.leaf] = &column{node: n, src: r.file.src, chunk: c, at: c.start, pages: &r.pages}
	}
	for _, child := range n.children {
		r.openLeaves(child, g)
	}
}

// finish fails if a column of the group has more values than its rows need.
func (r *Rows) finish() error {
	for _, c := range r.columns {
		if _, ok, err := c.peek(); err != nil {
			return err
		} else if ok {
			return c.explain(errors.New("it has more values than rows"))
		}
	}
	return nil
}

// wholeRow fails if a column goes on with the row when the others are through.
func (r *Rows) wholeRow() error {
	for _, c := range r.columns {
		v, ok, err := c.peek()
		if err == nil && ok && v.rep != 0 {
			err = c.explain(errors.New("its lists are longer than those beside them"))
		}
		if err != nil {
			return fmt.Errorf("row %d: %w", r.at, err)
		}
	}
	return nil
}

// column finds the column of the first leaf of a node.
func (r *Rows) column(n *node) *column {
	for n.leaf < 0 {
		n = n.children[0]
	}
	// Columns are in the order of their leaves.
	i, _ := slices.BinarySearchFunc(r.columns, n.leaf, func(c *column, leaf int) int { return c.node.leaf - leaf })
	return r.columns[i]
}

// build takes what the columns have for a node: by repetition and definition levels, as Google's Dremel paper
// describes it (Melnik et al., 2010).
func (r *Rows) build(n *node) (jinja.Value, error) {
	if r.items++; r.items > maxRowItems {
		return nil, errRow
	}
	if n.repeated {
		return r.buildList(n, n)
	}
	if there, err := r.there(n); err != nil || !there {
		return nil, err
	}
	switch {
	case n.list != nil:
		return r.buildList(n.children[0], n.list)
	case n.isMap:
		return r.buildMap(n.children[0])
	case n.leaf >= 0:
		return r.leaf(n)
	}
	return r.buildDict(n)
}

// there tells whether a node is not null. Of one that is, the columns are read over.
func (r *Rows) there(n *node) (bool, error) {
	v, ok, err := r.column(n).peek()
	if err != nil {
		return false, err
	}
	if ok && v.def >= n.def {
		return true, nil
	}
	return false, r.pass(n)
}

// pass takes one value of each column below a node.
func (r *Rows) pass(n *node) error {
	if n.leaf >= 0 {
		_, err := r.column(n).take()
		return err
	}
	for _, child := range n.children {
		if err := r.pass(child); err != nil {
			return err
		}
	}
	return nil
}

// repeats calls element for each repetition of a node, which may be none.
func (r *Rows) repeats(repeated *node, element func() error) error {
	if there, err := r.there(repeated); err != nil || !there {
		return err
	}
	for {
		if r.items++; r.items > maxRowItems {
			return errRow
		}
		if err := element(); err != nil {
			return err
		}
		v, ok, err := r.column(repeated).peek()
		if err != nil || !ok || v.rep < repeated.rep {
			return err
		}
	}
}

// buildList makes a list of the elements of a repeated node, which are the node itself or its only child.
func (r *Rows) buildList(repeated, element *node) (jinja.Value, error) {
	list := jinja.NewList()
	err := r.repeats(repeated, func() error {
		var v jinja.Value
		var err error
		switch {
		case element != repeated:
			v, err = r.build(element)
		case element.leaf >= 0:
			v, err = r.leaf(element)
		default:
			v, err = r.buildDict(element)
		}
		list.Items = append(list.Items, v)
		return err
	})
	return list, err
}

func (r *Rows) buildMap(repeated *node) (jinja.Value, error) {
	list := jinja.NewList()
	err := r.repeats(repeated, func() error {
		key, err := r.build(repeated.children[0])
		if err != nil {
			return err
		}
		v, err := r.build(repeated.children[1])
		list.Items = append(list.Items, jinja.NewList(key, v))
		return err
	})
	return list, err
}

func (r *Rows) buildDict(n *node) (jinja.Value, error) {
	d := jinja.NewDict()
	for _, child := range n.children {
		v, err := r.build(child)
		if err != nil {
			return nil, err
		}
		d.Set(child.name, v)
	}
	return d, nil
}

// leaf takes a value that is there.
func (r *Rows) leaf(n *node) (jinja.Value, error) {
	c := r.column(n)
	v, err := c.take()
	if err != nil {
		return nil, err
	}
	if v.def < n.def {
		return nil, c.explain(errors.New("it is null where the list around it says that there is a value"))
	}
	if r.bytes += len(v.raw.bytes); r.bytes > maxRowBytes {
		return nil, errRow
	}
	out, err := n.value(v.raw)
	if err != nil {
		return nil, c.explain(err)
	}
	return out, nil
}

// value gives what a raw value stands for.
func (n *node) value(v raw) (jinja.Value, error) {
	switch n.physical {
	case boolean:
		return v.bits == 1, nil
	case int32Type, int64Type:
		return n.integer(v)
	case float:
		return float64(math.Float32frombits(uint32(v.bits))), nil
	case double:
		return math.Float64frombits(v.bits), nil
	case byteArray:
		if n.meaning != asString && n.meaning != asStored {
			break
		}
		if !utf8.Valid(v.bytes) {
			return nil, errors.New("a value is not UTF-8 text")
		}
		return string(v.bytes), nil
	case fixed:
		if n.meaning == asFloat16 && n.length == 2 {
			return float16(uint16(v.bytes[0]) | uint16(v.bytes[1])<<8), nil
		}
	}
	return nil, errors.New("its type (a decimal, a time of day, a UUID or the like) is not supported; leave the column out or make it text")
}

func (n *node) integer(v raw) (jinja.Value, error) {
	i := int64(v.bits)
	if n.physical == int32Type {
		i = int64(int32(v.bits))
	}
	switch n.meaning {
	case asUnsigned:
		if n.physical == int32Type {
			return int64(uint32(v.bits)), nil
		}
		if i < 0 {
			return nil, errors.New("the value " + strconv.FormatUint(v.bits, 10) + " is too large")
		}
	case asDate:
		return time.Unix(0, 0).UTC().AddDate(0, 0, int(i)).Format(time.DateOnly), nil
	case asMillis:
		return timestamp(time.UnixMilli(i)), nil
	case asMicros:
		return timestamp(time.UnixMicro(i)), nil
	case asNanos:
		return timestamp(time.Unix(0, i)), nil
	case asOther:
		return nil, errors.New("its type (a decimal, a time of day or the like) is not supported; leave the column out or make it text")
	}
	return i, nil
}

// timestamp is the text that Python's str gives of a datetime.
func timestamp(t time.Time) string {
	text := t.UTC().Format("2006-01-02 15:04:05.000000")
	return strings.TrimSuffix(text, ".000000")
}

// float16 is a number of IEEE 754's half precision.
func float16(b uint16) float64 {
	exponent, fraction := int(b>>10&31), float64(b&1023)
	v := math.Ldexp(1024+fraction, exponent-25)
	switch {
	case exponent == 0:
		v = math.Ldexp(fraction, -24)
	case exponent == 31 && fraction == 0:
		v = math.Inf(1)
	case exponent == 31:
		v = math.NaN()
	}
	if b>>15 == 1 {
		v = -v
	}
	return v
}
