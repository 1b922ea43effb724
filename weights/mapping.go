package weights

import (
	"fmt"
	"math"
	"os"
)

// mapping is the content of a file, mapped into memory where the system can.
type mapping struct {
	data    []byte
	release func() error
}

// mapFile maps a file. An empty file cannot be mapped and is an error: no format here
// allows it.
func mapFile(path string) (*mapping, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path) // opening a pipe would wait
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case info.Size() == 0:
		return nil, fmt.Errorf("%s is empty; download it again", path)
	case info.Size() > math.MaxInt:
		return nil, fmt.Errorf("%s: %d bytes are too many for this system's address space", path, info.Size())
	}
	data, release, err := mapOpened(f, int(info.Size()))
	if err != nil {
		return nil, fmt.Errorf("%s: mapping %d bytes: %w", path, info.Size(), err)
	}
	return &mapping{data, release}, nil
}

// close unmaps the file. It may be called again.
func (m *mapping) close() error {
	if m.release == nil {
		return nil
	}
	release := m.release
	m.data, m.release = nil, nil
	return release()
}
