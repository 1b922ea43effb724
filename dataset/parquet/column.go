package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// A column reads the values of one leaf in a row group, page by page.
type column struct {
	node *node
	src  io.ReaderAt
	chunk
	at   int64 // offset of the next page
	seen int64 // values of the pages so far

	pages *int64 // bytes that all columns beside this one have open, and it itself
	held  int64  // those of the page

	dictionary []raw
	left       int64 // values left of the page
	rep, def   *hybrid
	values     decoder

	ahead bool // head is read, but not taken
	head  value
	err   error // the first one; nothing is read after it
}

// A value is what a column has for a place in a row; above the column's definition level it is null, or a list or
// group that is not there.
type value struct {
	rep, def int
	raw      raw
}

// peek gives the next value; false at the end of the column.
func (c *column) peek() (value, bool, error) {
	if c.ahead {
		return c.head, true, nil
	}
	for c.left == 0 && c.err == nil {
		if c.seen >= c.chunk.values {
			return value{}, false, nil
		}
		c.err = c.page()
	}
	if c.err == nil {
		c.left--
		c.head, c.err = c.read()
	}
	if c.err != nil {
		return value{}, false, c.explain(c.err)
	}
	c.ahead = true
	return c.head, true, nil
}

// take gives the next value, which has to be there.
func (c *column) take() (value, error) {
	v, ok, err := c.peek()
	if err == nil && !ok {
		err = c.explain(errors.New("it ends before the others do"))
	}
	c.ahead = false
	return v, err
}

func (c *column) explain(err error) error { return fmt.Errorf("column %q: %w", c.node.name, err) }

func (c *column) read() (v value, err error) {
	v.def = c.node.def
	if c.rep != nil {
		level, err := c.rep.next()
		if err != nil {
			return v, err
		}
		v.rep = int(level.bits)
	}
	if c.def != nil {
		level, err := c.def.next()
		if err != nil {
			return v, err
		}
		v.def = int(level.bits)
	}
	if v.rep > c.node.rep || v.def > c.node.def {
		return v, fmt.Errorf("a page has the levels %d and %d, at most %d and %d are possible", v.rep, v.def, c.node.rep, c.node.def)
	}
	if v.def == c.node.def {
		v.raw, err = c.values.next()
	}
	return v, err
}

// page opens the next page with values.
func (c *column) page() error {
	for {
		if c.at >= c.end {
			return fmt.Errorf("it has %d values, its description says %d", c.seen, c.chunk.values)
		}
		h, at, err := readHeader(c.src, c.at, c.end)
		if err != nil {
			return err
		}
		c.at = at + h.packed
		if h.kind == pageIndex {
			continue
		}
		if h.kind == pageDictionary {
			if err := c.readDictionary(h, at); err != nil {
				return err
			}
			continue
		}
		if h.kind != pageData && h.kind != pageDataV2 {
			return fmt.Errorf("a page is of the unknown kind %d", h.kind)
		}
		if h.values > c.chunk.values-c.seen {
			return fmt.Errorf("a page has %d values, the description of the column says that there are %d more", h.values, c.chunk.values-c.seen)
		}
		if h.values == 0 {
			continue
		}
		if err := c.hold(h.size - c.held); err != nil {
			return err
		}
		c.left, c.seen, c.held = h.values, c.seen+h.values, h.size
		return c.open(h, at)
	}
}

// hold counts n more bytes of pages.
func (c *column) hold(n int64) error {
	if *c.pages += n; *c.pages > maxPages {
		return fmt.Errorf("its page and those of other columns have more than %d MiB together", maxPages>>20)
	}
	return nil
}

func (c *column) contents(h pageHeader, at int64) ([]byte, error) {
	data := make([]byte, h.packed)
	return data, readAt(c.src, data, at)
}

// readDictionary reads the page of values that data pages refer to.
func (c *column) readDictionary(h pageHeader, at int64) error {
	if c.dictionary != nil {
		return errors.New("it has two dictionaries")
	}
	if err := c.hold(h.size + min(h.values, maxDictionary)*rawSize); err != nil {
		return err
	}
	data, err := c.contents(h, at)
	if err != nil {
		return err
	}
	if data, err = unpack(c.codec, data, h.size); err != nil {
		return err
	}
	if h.values > 8*int64(len(data)) || h.values > maxDictionary { // a boolean takes a bit
		return fmt.Errorf("a dictionary of %d bytes says that it has %d values", len(data), h.values)
	}
	if h.encoding != encodingPlain && h.encoding != encodingPlainDictionary {
		return fmt.Errorf("a dictionary is in the encoding %d, expected %d", h.encoding, encodingPlain)
	}
	values, err := c.node.decoder(encodingPlain, data, h.values)
	if err != nil {
		return err
	}
	c.dictionary = []raw{}
	for range h.values {
		v, err := values.next()
		if err != nil {
			return err
		}
		c.dictionary = append(c.dictionary, v)
	}
	return nil
}

// open readies the levels and values of a data page.
func (c *column) open(h pageHeader, at int64) error {
	data, err := c.contents(h, at)
	if err != nil {
		return err
	}
	if h.kind == pageDataV2 {
		data, err = c.openV2(h, data)
	} else {
		data, err = c.openV1(h, data)
	}
	if err != nil {
		return err
	}
	if h.encoding == encodingDictionary || h.encoding == encodingPlainDictionary {
		c.values, err = newIndices(data, c.dictionary)
	} else {
		c.values, err = c.node.decoder(h.encoding, data, h.values)
	}
	return err
}

// openV1 takes the levels off a page in which everything is packed together. Each has its length in front.
func (c *column) openV1(h pageHeader, data []byte) ([]byte, error) {
	data, err := unpack(c.codec, data, h.size)
	if err != nil {
		return nil, err
	}
	levels := [2]*hybrid{}
	for i, most := range []int{c.node.rep, c.node.def} {
		if most == 0 {
			continue
		}
		if h.levels[i] != encodingRLE {
			return nil, fmt.Errorf("levels in the encoding %d are not supported", h.levels[i])
		}
		if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
			return nil, errShort
		}
		size := int(binary.LittleEndian.Uint32(data))
		levels[i] = newLevels(data[4:4+size], most)
		data = data[4+size:]
	}
	c.rep, c.def = levels[0], levels[1]
	return data, nil
}

// openV2 takes the levels off a page of which only the values are packed.
func (c *column) openV2(h pageHeader, data []byte) ([]byte, error) {
	levels := [2]*hybrid{}
	for i, most := range []int{c.node.rep, c.node.def} {
		if most > 0 {
			levels[i] = newLevels(data[:h.levelBytes[i]], most)
		}
		data = data[h.levelBytes[i]:]
	}
	c.rep, c.def = levels[0], levels[1]
	if h.plain {
		return data, nil
	}
	size := h.size - h.levelBytes[0] - h.levelBytes[1]
	if size == 0 && len(data) == 0 { // all values are null
		return nil, nil
	}
	return unpack(c.codec, data, size)
}

func newLevels(data []byte, most int) *hybrid {
	return &hybrid{data: data, width: bits.Len(uint(most))}
}
