package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Encodings of values.
const (
	encodingPlain           = 0
	encodingPlainDictionary = 2 // older name of the next
	encodingRLE             = 3
	encodingDelta           = 5
	encodingDeltaLength     = 6
	encodingDeltaBytes      = 7
	encodingDictionary      = 8
	encodingSplit           = 9
)

var errShort = errors.New("a page has less data than values")

// A raw is one value as its physical type has it: bits of booleans, integers and floats, or bytes.
type raw struct {
	bits  uint64
	bytes []byte
}

const rawSize = 32 // bytes that a raw takes

// A decoder gives the values of a page one after the other.
type decoder interface{ next() (raw, error) }

// width is the number of bytes of a physical type whose values are all as long; 0 for others.
func (n *node) width() int {
	switch n.physical {
	case int32Type, float:
		return 4
	case int64Type, double:
		return 8
	case int96:
		return 12
	case fixed:
		return n.length
	}
	return 0
}

// decoder makes the decoder of a page's values, of which there are at most so many. Those of dictionaries are not
// for here.
func (n *node) decoder(encoding int64, data []byte, values int64) (decoder, error) {
	switch {
	case encoding == encodingPlain && n.physical == boolean:
		return &packedBits{data: data}, nil
	case encoding == encodingPlain:
		return &plain{data, n.width()}, nil
	case encoding == encodingRLE && n.physical == boolean:
		if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
			return nil, errShort
		}
		return &hybrid{data: data[4:], width: 1}, nil
	case encoding == encodingDelta && (n.physical == int32Type || n.physical == int64Type):
		return newDelta(data, values)
	case encoding == encodingDeltaLength && n.physical == byteArray:
		lengths, err := newDelta(data, values)
		if err != nil {
			return nil, err
		}
		rest, err := lengths.end()
		return &deltaLength{lengths, rest}, err
	case encoding == encodingDeltaBytes && (n.physical == byteArray || n.physical == fixed):
		return newDeltaBytes(data, values)
	case encoding == encodingSplit && n.width() > 0 && n.physical != int96:
		return &split{data: data, width: n.width(), count: len(data) / n.width()}, nil
	}
	return nil, fmt.Errorf("encoding %d is not supported for values of type %d", encoding, n.physical)
}

// plain is the encoding in which values follow each other; byte arrays have their length in front.
type plain struct {
	data  []byte
	width int // 0: byte arrays
}

func (p *plain) next() (raw, error) {
	n := p.width
	if n == 0 {
		if len(p.data) < 4 {
			return raw{}, errShort
		}
		length := binary.LittleEndian.Uint32(p.data)
		p.data = p.data[4:]
		if uint64(length) > uint64(len(p.data)) {
			return raw{}, errShort
		}
		n = int(length)
	}
	if n > len(p.data) {
		return raw{}, errShort
	}
	v := p.data[:n:n]
	p.data = p.data[n:]
	return fromBytes(v, p.width), nil
}

// fromBytes takes little-endian numbers of 4 and 8 bytes out of their bytes.
func fromBytes(v []byte, width int) raw {
	switch width {
	case 4:
		return raw{uint64(binary.LittleEndian.Uint32(v)), v}
	case 8:
		return raw{binary.LittleEndian.Uint64(v), v}
	}
	return raw{0, v}
}

// packedBits are booleans, eight in a byte, the lowest bit first.
type packedBits struct {
	data []byte
	at   int
}

func (p *packedBits) next() (raw, error) {
	if p.at>>3 >= len(p.data) {
		return raw{}, errShort
	}
	bit := p.data[p.at>>3] >> (p.at & 7) & 1
	p.at++
	return raw{bits: uint64(bit)}, nil
}

// hybrid is run lengths mixed with packed bits: levels, dictionary indices, booleans.
type hybrid struct {
	data  []byte
	width int // bits of a value, at most 32

	left   uint64 // values left of the run
	packed bool
	value  uint64 // of a run of equal values
	bits   []byte // of a run of packed values
	at     int    // bit
}

func (h *hybrid) next() (raw, error) {
	for h.left == 0 {
		if err := h.run(); err != nil {
			return raw{}, err
		}
	}
	h.left--
	if !h.packed {
		return raw{bits: h.value}, nil
	}
	v, ok := bitsAt(h.bits, h.at, h.width)
	if !ok {
		return raw{}, errShort
	}
	h.at += h.width
	return raw{bits: v}, nil
}

// bitsAt reads width bits, at most 64, the lowest first, from a bit on.
func bitsAt(data []byte, at, width int) (uint64, bool) {
	if at+width > 8*len(data) {
		return 0, false
	}
	var v uint64
	for got := 0; got < width; {
		bit := (at + got) & 7
		n := min(8-bit, width-got)
		v |= uint64(data[(at+got)>>3]>>bit&(1<<n-1)) << got
		got += n
	}
	return v, true
}

// run reads the head of the next run.
func (h *hybrid) run() error {
	head, n := binary.Uvarint(h.data)
	if n <= 0 {
		return errShort
	}
	h.data = h.data[n:]
	h.packed, h.left = head&1 == 1, head>>1
	if h.packed {
		size := uint64(len(h.data)) // writers may leave the end of the last group out
		if h.width > 0 && h.left < size/uint64(h.width) {
			size = h.left * uint64(h.width)
		}
		if h.left > math.MaxInt64/8 {
			return errShort
		}
		h.left *= 8
		if h.width == 0 {
			size = 0
		}
		h.bits, h.at = h.data[:size], 0
		h.data = h.data[size:]
		return nil
	}
	size := (h.width + 7) / 8
	if size > len(h.data) {
		return errShort
	}
	h.value = 0
	for i := range size {
		h.value |= uint64(h.data[i]) << (8 * i)
	}
	h.data = h.data[size:]
	return nil
}

// indices are those of a dictionary's values.
type indices struct {
	hybrid
	dictionary []raw
}

func newIndices(data []byte, dictionary []raw) (*indices, error) {
	if len(data) == 0 {
		return &indices{dictionary: dictionary}, nil // all values are null
	}
	if data[0] > 32 {
		return nil, fmt.Errorf("a page has dictionary indices of %d bits", data[0])
	}
	return &indices{hybrid{data: data[1:], width: int(data[0])}, dictionary}, nil
}

func (d *indices) next() (raw, error) {
	i, err := d.hybrid.next()
	if err != nil {
		return raw{}, err
	}
	if i.bits >= uint64(len(d.dictionary)) {
		return raw{}, fmt.Errorf("a page has the value %d of a dictionary of %d", i.bits, len(d.dictionary))
	}
	return d.dictionary[i.bits], nil
}

// delta is integers by their differences, packed in blocks of miniblocks.
type delta struct {
	data       []byte
	value      uint64
	left       uint64 // values still to come
	first      bool
	perMini    int // values of a miniblock
	minis      int // miniblocks of a block
	widths     []byte
	min        uint64
	mini, used int // miniblock being read, and how many of its values are read
}

func newDelta(data []byte, most int64) (*delta, error) {
	d := &delta{data: data, first: true}
	block, err := d.uvarint()
	minis, err2 := d.uvarint()
	count, err3 := d.uvarint()
	value, err4 := d.uvarint()
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return nil, errShort
	}
	if block == 0 || block > 1<<20 || minis == 0 || minis > block || block%minis != 0 || block/minis%8 != 0 {
		return nil, fmt.Errorf("a page has blocks of %d values in %d parts", block, minis)
	}
	if count > uint64(most) {
		return nil, fmt.Errorf("a page of %d values says that %d are in its data", most, count)
	}
	d.perMini, d.minis = int(block/minis), int(minis)
	d.left, d.value = count, unzigzag(value)
	d.mini = d.minis
	return d, nil
}

func unzigzag(v uint64) uint64 { return v>>1 ^ -(v & 1) }

func (d *delta) uvarint() (uint64, error) {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		return 0, errShort
	}
	d.data = d.data[n:]
	return v, nil
}

func (d *delta) next() (raw, error) {
	if d.left == 0 {
		return raw{}, errShort
	}
	d.left--
	if d.first {
		d.first = false
		return raw{bits: d.value}, nil
	}
	if d.mini == d.minis {
		if err := d.block(); err != nil {
			return raw{}, err
		}
	}
	width := int(d.widths[d.mini])
	v, ok := bitsAt(d.data, d.used*width, width)
	if !ok {
		return raw{}, errShort
	}
	d.value += d.min + v
	if d.used++; d.used == d.perMini {
		d.data = d.data[d.perMini*width/8:]
		d.mini, d.used = d.mini+1, 0
	}
	return raw{bits: d.value}, nil
}

func (d *delta) block() error {
	least, err := d.uvarint()
	if err != nil || len(d.data) < d.minis {
		return errShort
	}
	d.min, d.widths = unzigzag(least), d.data[:d.minis]
	d.data = d.data[d.minis:]
	d.mini, d.used = 0, 0
	for _, w := range d.widths {
		if w > 64 {
			return fmt.Errorf("a page has differences of %d bits", w)
		}
	}
	return nil
}

// end gives what follows the integers, which a copy of d reads through. The last miniblock is whole even where
// its values are not all used.
func (d *delta) end() ([]byte, error) {
	c := *d
	for c.left > 0 {
		if _, err := c.next(); err != nil {
			return nil, err
		}
	}
	if c.used > 0 {
		size := c.perMini * int(c.widths[c.mini]) / 8
		if size > len(c.data) {
			return nil, errShort
		}
		c.data = c.data[size:]
	}
	return c.data, nil
}

// deltaLength is byte arrays whose lengths come first, as delta.
type deltaLength struct {
	lengths *delta
	data    []byte
}

func (d *deltaLength) next() (raw, error) {
	n, err := d.lengths.next()
	if err != nil {
		return raw{}, err
	}
	if n.bits > uint64(len(d.data)) {
		return raw{}, errShort
	}
	v := d.data[:n.bits:n.bits]
	d.data = d.data[n.bits:]
	return raw{bytes: v}, nil
}

// deltaBytes is byte arrays that begin like the one before; how far comes first, as delta. Each is good until the
// next is read: a copy for each would take the square of their length.
type deltaBytes struct {
	prefixes *delta
	suffixes *deltaLength
	last     []byte
}

func newDeltaBytes(data []byte, most int64) (*deltaBytes, error) {
	prefixes, err := newDelta(data, most)
	if err != nil {
		return nil, err
	}
	rest, err := prefixes.end()
	if err != nil {
		return nil, err
	}
	lengths, err := newDelta(rest, most)
	if err != nil {
		return nil, err
	}
	rest, err = lengths.end()
	return &deltaBytes{prefixes: prefixes, suffixes: &deltaLength{lengths, rest}}, err
}

func (d *deltaBytes) next() (raw, error) {
	n, err := d.prefixes.next()
	if err != nil {
		return raw{}, err
	}
	suffix, err := d.suffixes.next()
	if err != nil {
		return raw{}, err
	}
	if n.bits > uint64(len(d.last)) {
		return raw{}, errShort
	}
	if int(n.bits)+len(suffix.bytes) > maxRowBytes {
		return raw{}, errRow
	}
	d.last = append(d.last[:n.bits], suffix.bytes...)
	return raw{bytes: d.last}, nil
}

// split is numbers of which the first bytes come first, then the second ones, and so on.
type split struct {
	data         []byte
	width, count int
	at           int
}

func (s *split) next() (raw, error) {
	if s.at >= s.count {
		return raw{}, errShort
	}
	v := make([]byte, s.width)
	for i := range v {
		v[i] = s.data[i*s.count+s.at]
	}
	s.at++
	return fromBytes(v, s.width), nil
}
