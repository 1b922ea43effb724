package parquet

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/lentil-lm/lentil/fault"
)

// Bounds of a page. Writers make pages of about a MiB; some make one page of a row group.
const (
	maxPage       = 256 << 20 // bytes, unpacked
	maxPages      = 512 << 20 // bytes, of all columns together
	maxPageHeader = 1 << 20   // bytes: it can hold the smallest and the largest value of the page
	firstHeader   = 512       // bytes that are tried first
	maxDictionary = 4 << 20   // values
	snappyRatio   = 32        // no more than so many times its size is in snappy's form: 64 bytes take 3
)

// Types of pages.
const (
	pageData       = 0
	pageIndex      = 1
	pageDictionary = 2
	pageDataV2     = 3
)

// A pageHeader is a PageHeader with what all kinds of pages have.
type pageHeader struct {
	kind         int64
	size, packed int64 // bytes, unpacked and in the file
	values       int64 // nulls included
	encoding     int64
	levels       [2]int64 // encodings of the repetition and definition levels, version 1
	levelBytes   [2]int64 // their lengths, version 2
	plain        bool     // version 2: the values are not packed
}

func (r *thrift) pageHeader() pageHeader {
	h := pageHeader{kind: -1, values: -1}
	r.fields(func(id int64, typ byte) bool {
		switch {
		case id == 1 && typ == typeI32:
			h.kind = r.int()
		case id == 2 && typ == typeI32:
			h.size = r.int()
		case id == 3 && typ == typeI32:
			h.packed = r.int()
		case (id == 5 || id == 7 || id == 8) && typ == typeStruct:
			r.fields(func(inner int64, typ byte) bool {
				if id == 8 && inner == 7 {
					h.plain = typ == typeFalse
				}
				return typ == typeI32 && h.set(id, inner, r)
			})
		default:
			return false
		}
		return true
	})
	return h
}

// set reads one number of the header of a data page (5), dictionary page (7) or data page of version 2 (8).
func (h *pageHeader) set(id, inner int64, r *thrift) bool {
	var at *int64
	switch {
	case inner == 1:
		at = &h.values
	case inner == 2 && id != 8, inner == 4 && id == 8:
		at = &h.encoding
	case inner == 3 && id == 5:
		at = &h.levels[1]
	case inner == 4 && id == 5:
		at = &h.levels[0]
	case inner == 5 && id == 8:
		at = &h.levelBytes[1]
	case inner == 6 && id == 8:
		at = &h.levelBytes[0]
	default:
		return false
	}
	*at = r.int()
	return true
}

// readHeader reads the header of the page at an offset, and gives the offset of what follows it.
func readHeader(src io.ReaderAt, at, end int64) (pageHeader, int64, error) {
	for size := int64(firstHeader); ; size *= 4 {
		data := make([]byte, min(size, end-at))
		if err := readAt(src, data, at); err != nil {
			return pageHeader{}, 0, err
		}
		r := &thrift{data: data}
		h := r.pageHeader()
		if r.err == nil {
			return h, at + int64(r.at), h.check(end - at - int64(r.at))
		}
		if !errors.Is(r.err, errThriftShort) || int64(len(data)) == end-at || size >= maxPageHeader {
			return h, 0, fmt.Errorf("the header of a page: %w", r.err)
		}
	}
}

// check refuses sizes that cannot be; left is how many bytes the chunk still has.
func (h *pageHeader) check(left int64) error {
	levels := h.levelBytes[0] + h.levelBytes[1]
	switch {
	case h.packed < 0 || h.packed > left:
		return fmt.Errorf("a page says that it has %d bytes, the column has %d more", h.packed, left)
	case h.size < 0 || h.size > maxPage || h.packed > maxPage:
		return fmt.Errorf("a page has %d bytes, at most %d are read", max(h.size, h.packed), maxPage)
	case h.levelBytes[0] < 0 || h.levelBytes[1] < 0 || levels > min(h.size, h.packed):
		return fmt.Errorf("a page of %d bytes says that %d of them are levels", h.packed, levels)
	case h.values < 0 && h.kind != pageIndex:
		return errors.New("a page does not say how many values it has")
	}
	return nil
}

// codecNames are the codecs of the format by number.
var codecNames = []string{"none", "snappy", "gzip", "LZO", "Brotli", "LZ4 (Hadoop's framing)", "zstd", "LZ4"}

// unpack undoes the compression of data that has size bytes without it.
func unpack(codec int, data []byte, size int64) ([]byte, error) {
	var out []byte
	var err error
	switch codec {
	case 0:
		out = data
	case 1:
		var n int
		if n, err = snappy.DecodedLen(data); err == nil && (int64(n) != size || n > snappyRatio*len(data)) {
			return nil, wrongSize(int64(n), size)
		}
		if err == nil {
			out, err = snappy.Decode(nil, data)
		}
	case 2:
		out, err = gunzip(data, size)
	case 6:
		out, err = unzstd(data, size)
	case 7:
		out, err = unlz4(data, size)
	default:
		name := fmt.Sprint("number ", codec)
		if codec >= 0 && codec < len(codecNames) {
			name = codecNames[codec]
		}
		return nil, fault.Of("the file is compressed with %s, which is not supported", name).Try("Write it anew with snappy, gzip, zstd or LZ4.")
	}
	if err != nil {
		return nil, fmt.Errorf("a page is damaged: %w", err)
	}
	if int64(len(out)) != size {
		return nil, wrongSize(int64(len(out)), size)
	}
	return out, nil
}

func wrongSize(got, want int64) error {
	return fmt.Errorf("a page is damaged: unpacked it has %d bytes, its header says %d", got, want)
}

func gunzip(data []byte, size int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	// One byte more than there should be shows that there are more.
	return io.ReadAll(io.LimitReader(z, size+1))
}

func unzstd(data []byte, size int64) ([]byte, error) {
	// Read as a stream, so that memory is taken for what comes, not for what is announced.
	z, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxPage))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return io.ReadAll(io.LimitReader(z, size+1))
}

// unlz4 unpacks one block of LZ4.
// See https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md.
func unlz4(data []byte, size int64) ([]byte, error) {
	errShort := errors.New("LZ4 block: the data ends too early, or is too long")
	at := 0
	length := func(n int) int { // goes on in further bytes if it is 15
		if n < 15 {
			return n
		}
		for at < len(data) {
			b := data[at]
			at++
			n += int(b)
			if b != 255 {
				break
			}
		}
		return n
	}
	var out []byte
	for at < len(data) {
		token := data[at]
		at++
		literals := length(int(token >> 4))
		if literals > len(data)-at || int64(len(out)+literals) > size {
			return nil, errShort
		}
		out = append(out, data[at:at+literals]...)
		if at += literals; at == len(data) {
			return out, nil // the last sequence has literals only
		}
		if len(data)-at < 2 {
			return nil, errShort
		}
		offset := int(binary.LittleEndian.Uint16(data[at:]))
		at += 2
		match := length(int(token&15)) + 4
		if offset == 0 || offset > len(out) || int64(len(out)+match) > size {
			return nil, errShort
		}
		for range match { // byte by byte: source and target may overlap
			out = append(out, out[len(out)-offset])
		}
	}
	return out, nil
}
