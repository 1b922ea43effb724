package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/lentil-lm/lentil/quant"
)

// maxHeader caps the JSON header of a safetensors file, as other readers do.
const maxHeader = 100_000_000

// Safetensors is one opened file. Format: 8 bytes of little-endian header
// length, a JSON header that gives type, shape and place of each tensor, the
// tensors' bytes.
type Safetensors struct {
	path     string
	mapping  *mapping
	tensors  map[string]Tensor
	metadata map[string]string
}

// OpenSafetensors maps a file and checks its header: sizes, bounds, overlaps.
func OpenSafetensors(path string) (*Safetensors, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	s := &Safetensors{path: path, mapping: m}
	if s.tensors, s.metadata, err = parseSafetensors(m.data); err != nil {
		m.close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// Names returns the names of all tensors, sorted.
func (s *Safetensors) Names() []string { return slices.Sorted(maps.Keys(s.tensors)) }

// Tensor returns a tensor whose data lies in the mapped file.
func (s *Safetensors) Tensor(name string) (Tensor, bool) {
	t, ok := s.tensors[name]
	return t, ok
}

// Metadata returns the header's "__metadata__", nil when absent or null.
func (s *Safetensors) Metadata() map[string]string { return s.metadata }

// Path returns the file's path.
func (s *Safetensors) Path() string { return s.path }

// Close unmaps the file. Its tensors may not be used afterwards.
func (s *Safetensors) Close() error { return s.mapping.close() }

// parseSafetensors reads the header of a whole file.
func parseSafetensors(file []byte) (map[string]Tensor, map[string]string, error) {
	if bytes.HasPrefix(file, []byte("version https://git-lfs")) {
		return nil, nil, errors.New("this is a Git LFS pointer, not the weights themselves; fetch them with: git lfs pull")
	}
	if len(file) < 8 {
		return nil, nil, fmt.Errorf("%d bytes are too few for a safetensors file", len(file))
	}
	size := binary.LittleEndian.Uint64(file)
	if size > maxHeader {
		return nil, nil, fmt.Errorf("a header of %d bytes, over the limit of %d: not a safetensors file", size, maxHeader)
	}
	if size > uint64(len(file)-8) {
		return nil, nil, fmt.Errorf("the header takes %d bytes but the file ends after %d; download it again", size, len(file)-8)
	}
	h := headerParser{
		Decoder: json.NewDecoder(bytes.NewReader(file[8 : 8+size])),
		data:    file[8+size:],
		tensors: map[string]Tensor{},
	}
	if err := h.object(); err != nil {
		return nil, nil, err
	}
	if err := checkOverlaps(h.spans); err != nil {
		return nil, nil, err
	}
	return h.tensors, h.metadata, nil
}

// headerParser decodes the header member by member: a map would hide a name that comes
// twice.
type headerParser struct {
	*json.Decoder
	data     []byte // what follows the header
	tensors  map[string]Tensor
	spans    []span
	metadata map[string]string
}

func (h *headerParser) object() error {
	if t, err := h.Token(); err != nil || t != json.Delim('{') {
		return errors.New("the header is not a JSON object: not a safetensors file")
	}
	for h.More() {
		key, err := h.Token()
		if err != nil {
			return fmt.Errorf("header at byte %d: %w", h.InputOffset(), err)
		}
		name := key.(string) // the decoder allows nothing else here
		if name == "__metadata__" {
			if err := h.Decode(&h.metadata); err != nil {
				return fmt.Errorf("__metadata__: expected strings by name: %w", err)
			}
			continue
		}
		if _, twice := h.tensors[name]; twice {
			return fmt.Errorf("tensor %q is in the header twice", name)
		}
		if err := h.tensor(name); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
	}
	if _, err := h.Token(); err != nil {
		return fmt.Errorf("header at byte %d: %w", h.InputOffset(), err)
	}
	if _, err := h.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the header goes on after the JSON object")
	}
	return nil
}

func (h *headerParser) tensor(name string) error {
	var entry struct {
		DType   *string `json:"dtype"`
		Shape   *[]int  `json:"shape"`
		Offsets []int   `json:"data_offsets"`
	}
	if err := h.Decode(&entry); err != nil {
		return err
	}
	if entry.DType == nil || entry.Shape == nil || len(entry.Offsets) != 2 {
		return errors.New("expected dtype, shape and two data_offsets")
	}
	dtype, err := quant.ParseDType(*entry.DType)
	if err != nil {
		return err
	}
	n, ok := elements(*entry.Shape, dtype.Size())
	if !ok {
		return fmt.Errorf("shape %v is not possible", *entry.Shape)
	}
	from, to := entry.Offsets[0], entry.Offsets[1]
	if from < 0 || to < from {
		return fmt.Errorf("data_offsets %v are not a range", entry.Offsets)
	}
	if to-from != n*dtype.Size() {
		return fmt.Errorf("%v %v takes %d bytes, but data_offsets %v give it %d",
			dtype, *entry.Shape, n*dtype.Size(), entry.Offsets, to-from)
	}
	if to > len(h.data) {
		return fmt.Errorf("%d bytes past the end of the file, which is cut short; download it again", to-len(h.data))
	}
	h.tensors[name] = Tensor{name, dtype, *entry.Shape, h.data[from:to:to]}
	h.spans = append(h.spans, span{name, from, to - from})
	return nil
}

// span is the place of a tensor's bytes in a file.
type span struct {
	name         string
	offset, size int
}

// checkOverlaps reports two tensors that share bytes.
func checkOverlaps(spans []span) error {
	slices.SortFunc(spans, func(a, b span) int { return a.offset - b.offset })
	var last span // the one that reaches farthest so far
	for _, s := range spans {
		if s.size == 0 {
			continue
		}
		if last.size > 0 && s.offset < last.offset+last.size {
			return fmt.Errorf("tensors %q and %q share bytes", last.name, s.name)
		}
		last = s
	}
	return nil
}
