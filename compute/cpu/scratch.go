package cpu

import "unsafe"

// scratch lends work areas to the op that runs. They count as memory in use until they
// are released.
type scratch struct {
	mem    *memory[byte]
	blocks [][]byte
}

// floats lends n float32 of unspecified content.
func (s *scratch) floats(n int) ([]float32, error) {
	b, err := s.bytes(4 * n)
	if err != nil || n == 0 {
		return nil, err
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n), nil
}

// bytes lends n bytes of unspecified content.
func (s *scratch) bytes(n int) ([]byte, error) {
	b, err := s.mem.get(n)
	if err == nil {
		s.blocks = append(s.blocks, b)
	}
	return b, err
}

// release ends all loans.
func (s *scratch) release() { s.releaseFrom(0) }

// releaseFrom ends all loans but the first n.
func (s *scratch) releaseFrom(n int) {
	for _, b := range s.blocks[n:] {
		s.mem.put(b)
	}
	s.blocks = s.blocks[:n]
}
