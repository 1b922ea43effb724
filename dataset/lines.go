package dataset

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
)

// inPlaceBytes is the size from which on a file's rows are read where they lie. Smaller files are kept in memory, where nobody
// changes them.
const inPlaceBytes = 64 << 20

// inPlace tells whether the rows of a file can stay in it: it is plain JSON lines, and large.
func inPlace(path string, info fs.FileInfo) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson":
		return info.Mode().IsRegular() && info.Size() >= inPlaceBytes
	}
	return false
}

// maxPlaced bounds the rows of a file: some of them, maxRows at most, may be taken.
const maxPlaced = 8 * maxRows

// A placedSource is rows that stay in their file of JSON lines: sixteen bytes of each are in memory.
type placedSource struct {
	file *os.File // open for as long as the source is used
	rows []placed
}

type placed struct {
	at     int64
	size   int32 // maxLineBytes at most
	number int32 // of the line, from 1
}

// openLines finds the rows of a file, which it keeps open.
func openLines(f *os.File) (*placedSource, error) {
	s := &placedSource{file: f}
	rows := &rowReader{Reader: f}
	err := eachLine(f.Name(), bufio.NewReaderSize(rows, readAhead), rows, func(number int, at int64, data []byte) error {
		if len(s.rows) >= maxPlaced {
			return fault.Of("%s: there are more than %d rows", f.Name(), maxPlaced).Try("Take some of them, or split the file.")
		}
		s.rows = append(s.rows, placed{at, int32(len(data)), int32(number)})
		return nil
	})
	if err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func (s *placedSource) len() int                 { return len(s.rows) }
func (s *placedSource) keys(row *jinja.Dict) int { return row.Len() }

func (s *placedSource) where(i int) string {
	return fmt.Sprintf("%s:%d", s.file.Name(), s.rows[i].number)
}

func (s *placedSource) text(i int) ([]byte, error) {
	data := make([]byte, s.rows[i].size)
	if _, err := s.file.ReadAt(data, s.rows[i].at); errors.Is(err, io.EOF) {
		return nil, &brokenFile{fault.Of("%s has become shorter since it was opened", s.file.Name()).Try("Leave it as it is while it is read.")}
	} else if err != nil {
		return nil, &brokenFile{err}
	}
	return data, nil
}

func (s *placedSource) row(i int) (*jinja.Dict, error) {
	data, err := s.text(i)
	if err != nil {
		return nil, err
	}
	return parseRow(data)
}
