package dataset

import (
	"fmt"
	"os"
	"sync"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/dataset/parquet"
)

const (
	maxFileRows = 1 << 31 // a small file can claim any number, and reading over them takes its time

	blockRows  = 256      // rows decoded together
	blockSize  = 16 << 20 // bytes of rows after which fewer have to do: a small file can claim any number of long rows
	blocksKept = 3
)

// A parquetSource is the rows of a Parquet file. They stay in the file: each use reads a block of rows, and the last
// few blocks are kept, as rows are mostly read in order, by a few goroutines at once.
type parquetSource struct {
	path string
	file *parquet.File
	wide int // columns of the file
	want []string

	mu     sync.Mutex
	handle *os.File      // nil while nobody reads
	rows   *parquet.Rows // stands at the row next, which follows the newest block
	next   int
	blocks []block // oldest first

	budget  budget
	counted int // rows before this one are in the budget, or were passed over
}

// A block is rows that follow each other.
type block struct {
	from int
	rows []*jinja.Dict
}

func (b block) has(i int) bool { return i >= b.from && i < b.from+len(b.rows) }

func openParquet(path string, o *Options) (*parquetSource, error) {
	s := &parquetSource{path: path}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if s.file, err = parquet.Open(s, info.Size()); err != nil {
		s.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.close()
	s.budget = newBudget(info.Size())
	columns := s.file.Columns()
	s.wide, s.want = len(columns), o.columns(columns)
	if n := s.file.NumRows(); n > maxFileRows {
		return nil, fmt.Errorf("%s: it says that it has %d rows", path, n)
	}
	return s, nil
}

// ReadAt reads from the file, which is opened for the first use and again after close.
func (s *parquetSource) ReadAt(p []byte, at int64) (int, error) {
	if s.handle == nil {
		var err error
		if s.handle, err = os.Open(s.path); err != nil {
			return 0, err
		}
	}
	return s.handle.ReadAt(p, at)
}

func (s *parquetSource) close() {
	if s.handle != nil {
		s.handle.Close() // was only read
		s.handle = nil
	}
}

func (s *parquetSource) len() int             { return int(s.file.NumRows()) }
func (s *parquetSource) where(i int) string   { return fmt.Sprintf("%s: row %d", s.path, i+1) }
func (s *parquetSource) keys(*jinja.Dict) int { return s.wide }

func (s *parquetSource) row(i int) (*jinja.Dict, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.blocks {
		if b.has(i) {
			return b.rows[i-b.from], nil
		}
	}
	b, err := s.read(i)
	if err != nil {
		s.rows, s.blocks = nil, nil
		s.close()
		return nil, &brokenFile{fmt.Errorf("%s: %w", s.path, err)}
	}
	s.keep(b)
	return b.rows[i-b.from], nil
}

func (s *parquetSource) keep(b block) {
	if len(s.blocks) == blocksKept {
		s.blocks = append(s.blocks[:0], s.blocks[1:]...)
	}
	s.blocks = append(s.blocks, b)
}

// read decodes a block with row i. After the last one the file is closed.
func (s *parquetSource) read(i int) (block, error) {
	if s.rows == nil {
		s.rows, s.next = s.file.Rows(s.want...), 0
	}
	b := block{from: i - i%blockRows}
	to := min(b.from+blockRows, s.len())
	if s.next > b.from && s.next <= i {
		b.from = s.next // the block before was a short one
	}
	if err := s.rows.SkipTo(int64(b.from)); err != nil {
		return b, err
	}
	size := 0
	for s.next = b.from; s.next < to && !(size > blockSize && b.has(i)); s.next++ {
		if size > blockSize {
			s.keep(b) // others read in order too, and may be behind
			b, size = block{from: s.next}, 0
		}
		row, err := s.rows.Next()
		if err == nil && row == nil {
			err = fmt.Errorf("the file has less rows than it says")
		}
		if err != nil {
			return b, err
		}
		b.rows = append(b.rows, row)
		size += s.rows.Size()
		if s.next >= s.counted {
			s.counted = s.next + 1
			if err := s.budget.take(s.rows.Size()); err != nil {
				return b, fmt.Errorf("row %d: %w", s.next+1, err)
			}
		}
	}
	if s.next < s.len() {
		return b, nil
	}
	row, err := s.rows.Next() // looks for values left over
	if err == nil && row != nil {
		err = fmt.Errorf("the file has more rows than it says")
	}
	s.close()
	return b, err
}
