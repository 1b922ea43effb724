// Package smallfile reads files that have their place in memory as a whole, and refuses
// those that are larger than they have a reason to be.
package smallfile

import (
	"bytes"
	"io"
	"os"

	"github.com/lentil-lm/lentil/fault"
)

// Read reads a regular file of at most most bytes. Anything else is refused: a link to a
// device, say, would never end.
func Read(path string, most int64) ([]byte, error) { return read(path, most, true) }

// ReadAny is Read for a path that the user gave, which may be that of a pipe.
func ReadAny(path string, most int64) ([]byte, error) { return read(path, most, false) }

func read(path string, most int64, regular bool) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case regular && !info.Mode().IsRegular():
		return nil, fault.Of("%s is not a regular file", path)
	case info.Size() > most:
		return nil, fault.Of("%s: %d bytes, expected at most %d", path, info.Size(), most)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var data bytes.Buffer
	data.Grow(int(info.Size()) + bytes.MinRead) // and the end is found without another copy
	if _, err := data.ReadFrom(io.LimitReader(file, most+1)); err != nil {
		return nil, err
	}
	if int64(data.Len()) > most {
		return nil, fault.Of("%s: more than the %d bytes that are expected at most", path, most)
	}
	return data.Bytes(), nil
}
