package dataset

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/klauspost/compress/zstd"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
)

// A source is the rows of one file.
type source interface {
	len() int
	row(i int) (*jinja.Dict, error) // the error does not say where
	where(i int) string
	keys(row *jinja.Dict) int // keys of the row in the file, if all are not in row
}

// jsonRows is a source whose rows are JSON texts.
type jsonRows interface {
	source
	text(i int) ([]byte, error)
}

// A brokenFile is an error after which the rest of a file cannot be read. It names the file.
type brokenFile struct{ error }

func (b *brokenFile) Unwrap() error { return b.error }

// at puts the place of a row in front of an error about it.
func at(src source, row int, err error) error {
	var broken *brokenFile
	if errors.As(err, &broken) {
		return err
	}
	return fmt.Errorf("%s: %w", src.where(row), err)
}

// kind is how a file keeps its rows.
type kind uint8

const (
	unknownKind kind = iota
	jsonKind
	csvKind
	parquetKind
)

const kindNames = ".parquet, .jsonl, .json or .csv"

// kindOf tells the kind of a file by its name, compressed or not.
func kindOf(name string) kind {
	name = strings.ToLower(name)
	plain := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	switch filepath.Ext(plain) {
	case ".parquet":
		if plain == name {
			return parquetKind
		}
	case ".jsonl", ".ndjson", ".json":
		return jsonKind
	case ".csv", ".tsv":
		return csvKind
	}
	return unknownKind
}

// openSource opens a file of any kind. Of Parquet files only the columns that are looked at will be read.
func openSource(path string, o *Options) (source, error) {
	if kindOf(path) == parquetKind {
		return openParquet(path, o)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("data: %w", err)
	}
	if inPlace(path, info) {
		return openLines(f)
	}
	defer f.Close()
	in, err := unpacked(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &lineSource{path: path, budget: newBudget(info.Size())}
	switch kindOf(path) {
	case jsonKind:
		err = s.readJSON(in)
	case csvKind:
		err = s.readCSV(in)
	default:
		err = fmt.Errorf("%s: expected %s, by the name of the file", path, kindNames)
	}
	return s, err
}

// maxUnpacked bounds the text in a compressed file.
const maxUnpacked = 4 << 30

// unpacked gives what is in a file, which is compressed if its name says so.
func unpacked(f *os.File) (io.Reader, error) {
	var in io.Reader = f
	switch strings.ToLower(filepath.Ext(f.Name())) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, err
		}
		in = &bounded{z, maxUnpacked}
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return nil, err
		}
		in = &bounded{z, maxUnpacked}
	}
	return in, nil
}

// bounded is a reader that fails after left bytes.
type bounded struct {
	io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("unpacked the file has more than %d bytes; unpack it and split it", int64(maxUnpacked))
	}
	return n, err
}

// A budget bounds what the rows of a file take in memory by the size of the file: a small one may stand for any
// number of them.
type budget struct{ size, left int64 }

const (
	leastBudget = 128 << 20
	mostGrowth  = 64 // times the size of the file: text rarely shrinks to less by compression
	rowCost     = 64 // bytes beside those of the row's text
)

func newBudget(size int64) budget {
	return budget{size, leastBudget + mostGrowth*min(size, math.MaxInt64/(2*mostGrowth))}
}

// take counts a row of n bytes.
func (b *budget) take(n int) error {
	if b.left -= int64(n) + rowCost; b.left < 0 {
		return fault.Of("the rows take more than %d MiB, which is out of proportion to the %d bytes of the file", (leastBudget+mostGrowth*b.size)>>20, b.size).
			Try("Write them as plain JSON lines, if they are what you want to train on.")
	}
	return nil
}

// A rowReader reads ahead a little, and fails in the middle of a row that is too long or of too many cells.
type rowReader struct {
	io.Reader
	comma         byte // that parts cells; 0 for none
	bytes, commas int  // left of the row
}

// maxCells bounds the commas of a row, those in quotes among them: a cell costs 40 bytes before it is known to be one.
const maxCells = 4 << 20

// next begins with a row of at most so many bytes.
func (r *rowReader) next(most int) { r.bytes, r.commas = most+readAhead, maxCells }

// readAhead is how much is read at once.
const readAhead = 1 << 20

func (r *rowReader) Read(p []byte) (int, error) {
	// As much as fits: the JSON decoder looks at all that it has of a blank once more for each piece that it gets.
	n, err := io.ReadFull(r.Reader, p[:min(len(p), readAhead)])
	if err == io.ErrUnexpectedEOF {
		err = nil // comes again as io.EOF
	}
	if r.bytes -= n; r.bytes < 0 {
		return 0, errLongRow
	}
	if r.comma != 0 {
		if r.commas -= bytes.Count(p[:n], []byte{r.comma}); r.commas < 0 {
			return 0, fmt.Errorf("the row has more than %d cells", maxCells)
		}
	}
	return n, err
}

var errLongRow = fmt.Errorf("the row is longer than %d MiB", maxLineBytes>>20)

// A lineSource is rows kept as JSON texts and decoded on demand.
type lineSource struct {
	path    string
	counted bool // the numbers are those of rows, not lines
	lines   []line
	budget  budget
}

// take keeps a row.
func (s *lineSource) take(number int, data []byte) error {
	s.lines = append(s.lines, line{number, data})
	if err := s.budget.take(len(data)); err != nil {
		return fmt.Errorf("%s: %w", s.where(len(s.lines)-1), err)
	}
	return nil
}

type line struct {
	number int // 1-based, in the file
	data   []byte
}

func (s *lineSource) len() int                       { return len(s.lines) }
func (s *lineSource) text(i int) ([]byte, error)     { return s.lines[i].data, nil }
func (s *lineSource) row(i int) (*jinja.Dict, error) { return parseRow(s.lines[i].data) }
func (s *lineSource) keys(row *jinja.Dict) int       { return row.Len() }

func (s *lineSource) where(i int) string {
	if s.counted {
		return fmt.Sprintf("%s: row %d", s.path, s.lines[i].number)
	}
	return fmt.Sprintf("%s:%d", s.path, s.lines[i].number)
}

// maxLineBytes bounds one row.
const maxLineBytes = 64 << 20

// readJSON takes the lines of a JSONL file. Blank lines are skipped. A file .json may be one array instead.
func (s *lineSource) readJSON(file io.Reader) error {
	rows := &rowReader{Reader: file}
	rows.next(maxLineBytes)
	in := bufio.NewReaderSize(rows, readAhead)
	if strings.Contains(strings.ToLower(filepath.Base(s.path)), ".json") && !strings.Contains(strings.ToLower(s.path), ".jsonl") && startsArray(in) {
		return s.readArray(in, rows)
	}
	return eachLine(s.path, in, rows, func(number int, _ int64, data []byte) error { return s.take(number, data) })
}

// eachLine gives the lines of a JSONL file that are not blank, with their numbers and where they begin.
func eachLine(path string, in *bufio.Reader, rows *rowReader, take func(number int, at int64, data []byte) error) error {
	at := int64(0)
	for number := 1; ; number++ {
		rows.next(2 * maxLineBytes) // readLine says it better
		whole, err := readLine(in)
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
		last, data := err == io.EOF, whole
		if number == 1 {
			if data, err = checkStart(data); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		text := bytes.TrimSpace(data)
		if len(text) > 0 {
			before := len(whole) - len(bytes.TrimLeftFunc(data, unicode.IsSpace))
			if err := take(number, at+int64(before), text); err != nil {
				return err
			}
		}
		if at += int64(len(whole)); last {
			return nil
		}
	}
}

func startsArray(in *bufio.Reader) bool {
	head, _ := in.Peek(512) // less is as good
	return bytes.HasPrefix(bytes.TrimLeft(head, "\xef\xbb\xbf \t\r\n"), []byte("["))
}

// readArray takes the elements of one JSON array.
func (s *lineSource) readArray(in *bufio.Reader, rows *rowReader) error {
	s.counted = true
	if head, _ := in.Peek(3); string(head) == "\xef\xbb\xbf" {
		in.Discard(3)
	}
	dec := json.NewDecoder(in)
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	for dec.More() {
		var data json.RawMessage
		rows.next(maxLineBytes)
		if err := dec.Decode(&data); err != nil {
			return fmt.Errorf("%s: row %d: %w", s.path, len(s.lines)+1, err)
		}
		if err := s.take(len(s.lines)+1, data); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: after row %d: the list is not closed: the file is cut off", s.path, len(s.lines))
		}
		return fmt.Errorf("%s: after row %d: %w", s.path, len(s.lines), err)
	}
	return nil
}

// Bounds of the head of a CSV file.
const (
	maxHead    = 1 << 20 // bytes
	maxColumns = 10_000
)

// readCSV takes the records of a CSV file with a head; all values are texts.
func (s *lineSource) readCSV(file io.Reader) error {
	rows := &rowReader{Reader: file, comma: ','}
	tabs := strings.Contains(strings.ToLower(filepath.Base(s.path)), ".tsv")
	if tabs {
		rows.comma = '\t'
	}
	rows.next(maxHead)
	r := csv.NewReader(bufio.NewReaderSize(rows, readAhead))
	r.Comma, r.LazyQuotes = rune(rows.comma), tabs
	head, err := r.Read()
	switch {
	case err == io.EOF:
		return nil
	case errors.Is(err, errLongRow):
		return fmt.Errorf("%s: the head, which names the columns, is longer than %d MiB", s.path, maxHead>>20)
	case err == nil && len(head) > maxColumns:
		return fmt.Errorf("%s: the head names %d columns, at most %d are read", s.path, len(head), maxColumns)
	}
	for err == nil {
		var record []string
		rows.next(maxLineBytes)
		if record, err = r.Read(); err != nil {
			break
		}
		number, _ := r.FieldPos(0)
		data, err := csvRow(head, record)
		if err == nil {
			err = s.take(number, data)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
	}
	if err != io.EOF {
		return fmt.Errorf("%s: after row %d: %w", s.path, len(s.lines), err)
	}
	return nil
}

// csvRow writes a record as JSON.
func csvRow(head, record []string) ([]byte, error) {
	size := 0
	row := jinja.NewDict()
	for i, name := range head {
		size += len(name) + len(record[i])
		row.Set(strings.TrimPrefix(name, "\xef\xbb\xbf"), record[i])
	}
	if size > maxLineBytes {
		return nil, errLongRow
	}
	text, err := jinja.FormatJSON(row)
	return []byte(text), err
}

// readLine returns the next line in memory of its own, without its end; io.EOF comes with the last one.
func readLine(in *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := in.ReadSlice('\n')
		whole = append(whole, part...)
		if len(whole) > maxLineBytes {
			return nil, fmt.Errorf("the line is longer than %d MiB; is this a JSONL file?", maxLineBytes>>20)
		}
		if err != bufio.ErrBufferFull {
			return whole, err
		}
	}
}

// checkStart drops a byte order mark and refuses what cannot be JSONL.
func checkStart(data []byte) ([]byte, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return nil, errors.New("the file is UTF-16; save it as UTF-8")
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		return nil, errors.New("the file is compressed; unpack it with gunzip, or give its name the ending .gz")
	}
	return data, nil
}

func parseRow(data []byte) (*jinja.Dict, error) {
	v, err := jinja.ParseJSON(data)
	if err != nil {
		var e *jinja.JSONError
		if errors.As(err, &e) {
			return nil, fmt.Errorf("invalid JSON at column %d: %s", e.Column, e.Msg)
		}
		return nil, err
	}
	d, ok := v.(*jinja.Dict)
	if !ok {
		return nil, fmt.Errorf("expected a JSON object, found %.40q", data)
	}
	return d, nil
}
