package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/lentil-lm/lentil/fault"
)

// Bounds of a file's description, which lies at its end.
const (
	maxFooter = 64 << 20
	maxChunks = 1 << 20 // row groups and their column chunks: writers take 60 bytes of the footer and more for each
)

const magic = "PAR1"

// A File is an open Parquet file. It can be used by several goroutines at once.
type File struct {
	src    io.ReaderAt
	size   int64 // bytes before the footer
	root   *node
	leaves []*node
	groups []group
	rows   int64
}

// A group is a run of rows, stored column by column.
type group struct {
	rows   int64
	chunks []chunk // by leaf
}

// A chunk is one column of a group.
type chunk struct {
	physical   int
	codec      int
	values     int64 // nulls included
	start, end int64 // offsets in the file
}

// Open reads the description at the end of a file of size bytes.
func Open(src io.ReaderAt, size int64) (*File, error) {
	if size < int64(len(magic))+8 {
		return nil, fmt.Errorf("not a Parquet file: it has %d bytes only", size)
	}
	var head, tail [8]byte
	if err := readAt(src, head[:4], 0); err != nil {
		return nil, err
	}
	if err := readAt(src, tail[:], size-8); err != nil {
		return nil, err
	}
	switch {
	case string(tail[4:]) == "PARE":
		return nil, errors.New("the file is encrypted; only plain Parquet files can be read")
	case string(head[:4]) != magic:
		return nil, fmt.Errorf("not a Parquet file: it starts with %q, expected %q", head[:4], magic)
	case string(tail[4:]) != magic:
		return nil, fault.Of("the file ends with %q, expected %q: it is cut off or damaged", tail[4:], magic).Try("Download it again.")
	}
	length := int64(binary.LittleEndian.Uint32(tail[:4]))
	if length > size-12 || length > maxFooter {
		return nil, fmt.Errorf("the file says that its description has %d bytes; the file has %d, and at most %d are read", length, size, maxFooter)
	}
	footer := make([]byte, length)
	f := &File{src: src, size: size - 8 - length}
	if err := readAt(src, footer, f.size); err != nil {
		return nil, err
	}
	return f, f.parse(footer)
}

// readAt reads all of p.
func readAt(src io.ReaderAt, p []byte, at int64) error {
	n, err := src.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// parse reads the FileMetaData.
func (f *File) parse(footer []byte) error {
	r := &thrift{data: footer}
	var elements []element
	encrypted := false
	chunks := 0
	count := func() {
		if chunks++; chunks > maxChunks {
			r.fail(fmt.Errorf("the file has more than %d row groups and column chunks", maxChunks))
		}
	}
	r.fields(func(id int64, typ byte) bool {
		switch {
		case id == 2 && typ == typeList:
			r.list(typeStruct, func() {
				if elements = append(elements, r.schemaElement()); len(elements) > maxColumns {
					r.fail(fmt.Errorf("the schema has more than %d columns", maxColumns))
				}
			})
		case id == 4 && typ == typeList:
			r.list(typeStruct, func() {
				count()
				f.groups = append(f.groups, r.rowGroup(count))
			})
		case id == 8:
			encrypted = true
			return false
		default:
			return false
		}
		return true
	})
	if r.err != nil {
		return r.err
	}
	if encrypted {
		return errors.New("the file is encrypted; only plain Parquet files can be read")
	}
	var err error
	if f.root, f.leaves, err = buildSchema(elements); err != nil {
		return err
	}
	for i := range f.groups {
		if err := f.checkGroup(&f.groups[i]); err != nil {
			return fmt.Errorf("row group %d: %w", i, err)
		}
	}
	return nil
}

// rowGroup reads a RowGroup, and calls count for each column chunk in it.
func (r *thrift) rowGroup(count func()) group {
	var g group
	r.fields(func(id int64, typ byte) bool {
		switch {
		case id == 1 && typ == typeList:
			r.list(typeStruct, func() {
				count()
				g.chunks = append(g.chunks, r.columnChunk())
			})
		case id == 3 && typ == typeI64:
			g.rows = r.int()
		default:
			return false
		}
		return true
	})
	return g
}

func (r *thrift) columnChunk() chunk {
	c := chunk{physical: -1}
	r.fields(func(id int64, typ byte) bool {
		switch {
		case id == 1 && typ == typeBinary:
			if len(r.bytes()) > 0 {
				r.fail(errors.New("a column is in another file, which is not supported"))
			}
		case id == 3 && typ == typeStruct:
			r.columnMetaData(&c)
		case id == 8 || id == 9:
			r.fail(errors.New("a column is encrypted; only plain Parquet files can be read"))
		default:
			return false
		}
		return true
	})
	return c
}

func (r *thrift) columnMetaData(c *chunk) {
	var size, data, dictionary int64
	r.fields(func(id int64, typ byte) bool {
		if typ != typeI32 && typ != typeI64 {
			return false
		}
		v := r.int()
		switch id {
		case 1:
			c.physical = int(v)
		case 4:
			c.codec = int(v)
		case 5:
			c.values = v
		case 7:
			size = v
		case 9:
			data = v
		case 11:
			dictionary = v
		}
		return true
	})
	// Some writers leave the dictionary's offset out or set it to zero, where no page can be.
	c.start = data
	if dictionary > 0 && dictionary < data {
		c.start = dictionary
	}
	if size < 0 || c.start < 0 || c.start > math.MaxInt64-size {
		r.fail(fmt.Errorf("a column chunk is said to have %d bytes at %d", size, c.start))
		return
	}
	c.end = c.start + size
}

func (f *File) checkGroup(g *group) error {
	if len(g.chunks) != len(f.leaves) {
		return fmt.Errorf("it has %d columns, the schema has %d", len(g.chunks), len(f.leaves))
	}
	if g.rows < 0 || g.rows > math.MaxInt64-f.rows {
		return fmt.Errorf("it says that it has %d rows", g.rows)
	}
	f.rows += g.rows
	for i, c := range g.chunks {
		leaf := f.leaves[i]
		switch {
		case c.physical != leaf.physical:
			return fmt.Errorf("column %q: its type is %d, the schema says %d", leaf.name, c.physical, leaf.physical)
		case c.end > f.size:
			return fmt.Errorf("column %q: it ends at byte %d, beyond the %d bytes of data: the file is cut off or damaged", leaf.name, c.end, f.size)
		case c.values < 0:
			return fmt.Errorf("column %q: it says that it has %d values", leaf.name, c.values)
		case leaf.rep == 0 && c.values != g.rows:
			return fmt.Errorf("column %q: it has %d values in %d rows", leaf.name, c.values, g.rows)
		}
	}
	return nil
}

// Columns gives the names of the columns, in the file's order. Nested ones are under the name of their group.
func (f *File) Columns() []string {
	names := make([]string, len(f.root.children))
	for i, c := range f.root.children {
		names[i] = c.name
	}
	return names
}

// NumRows gives the number of rows that the file says it has. Only reading tells whether it is true.
func (f *File) NumRows() int64 { return f.rows }
