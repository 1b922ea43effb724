package weights

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/quant"
)

// Entry is a tensor to be written. Its bytes are asked for when their turn comes, so that
// a model larger than memory can stream through.
type Entry struct {
	Name  string
	DType quant.DType
	Shape []int
	// Bytes returns the data: little-endian, product of Shape times DType.Size().
	Bytes func() ([]byte, error)
}

func (e *Entry) size() (int64, error) {
	n, ok := elements(e.Shape, max(e.DType.Size(), 1))
	if !ok || e.DType.Size() == 0 {
		return 0, fmt.Errorf("tensor %q: %v %v cannot be written", e.Name, e.DType, e.Shape)
	}
	return int64(n) * int64(e.DType.Size()), nil
}

// WriteSafetensors writes a file whole or not at all: the file has another name until it
// is complete and on disk. Tensors have the given order. A nil metadata becomes
// "__metadata__":null, as MLX writes it.
func WriteSafetensors(path string, tensors []Tensor, metadata map[string]string) error {
	entries := make([]Entry, len(tensors))
	for i, t := range tensors {
		entries[i] = Entry{t.Name, t.DType, t.Shape, func() ([]byte, error) { return t.Data, nil }}
	}
	return WriteEntries(path, entries, metadata)
}

// WriteEntries is WriteSafetensors for tensors that need not be in memory together.
func WriteEntries(path string, entries []Entry, metadata map[string]string) error {
	header, err := safetensorsHeader(entries, metadata)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return atomicfile.Stream(path, func(w io.Writer) error { return writeSafetensors(w, path, header, entries) })
}

// writeSafetensors writes header and tensors; path is for errors that are not the disk's.
func writeSafetensors(w io.Writer, path string, header []byte, entries []Entry) error {
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(header)))
	if _, err := w.Write(length[:]); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, e := range entries {
		data, err := e.content()
		if err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return nil
}

// content asks for the data and checks their size.
func (e *Entry) content() ([]byte, error) {
	size, err := e.size()
	if err != nil {
		return nil, err
	}
	return contentOf(e.Name, e.DType, e.Shape, size, e.Bytes)
}

func contentOf(name string, kind fmt.Stringer, shape []int, size int64, bytes func() ([]byte, error)) ([]byte, error) {
	data, err := bytes()
	if err != nil {
		return nil, fmt.Errorf("tensor %q: %w", name, err)
	}
	if int64(len(data)) != size {
		return nil, fmt.Errorf("tensor %q: %v %v takes %d bytes, got %d", name, kind, shape, size, len(data))
	}
	return data, nil
}

// safetensorsHeader returns the JSON header, names sorted, padded with spaces
// so that the data starts at a multiple of 8 bytes.
func safetensorsHeader(entries []Entry, metadata map[string]string) ([]byte, error) {
	type place struct {
		Offsets [2]int64 `json:"data_offsets"`
		DType   string   `json:"dtype"`
		Shape   []int    `json:"shape"`
	}
	header := map[string]any{"__metadata__": metadata}
	var at int64
	for _, e := range entries {
		if _, twice := header[e.Name]; twice {
			return nil, fmt.Errorf("tensor name %q is taken", e.Name)
		}
		size, err := e.size()
		if err != nil {
			return nil, err
		}
		shape := e.Shape
		if shape == nil {
			shape = []int{} // a scalar
		}
		header[e.Name] = place{[2]int64{at, at + size}, e.DType.String(), shape}
		at += size
	}
	text, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	if len(text) > maxHeader {
		return nil, fmt.Errorf("a header of %d bytes is over the format's limit of %d", len(text), maxHeader)
	}
	return text, nil
}

// ModelOptions are the settings of [WriteModel]. The zero value is MLX's.
type ModelOptions struct {
	// MaxShardBytes limits the tensors of one file. 0 is 5 GiB. A larger tensor has a
	// file to itself.
	MaxShardBytes int64
	// Parameters goes into the index as the number of weights. 0 counts the elements of
	// all tensors, which is wrong for packed ones.
	Parameters int64
}

// WriteModel writes the weights of a model folder as mlx-lm does: one file
// model.safetensors or numbered shards, filled in the given order, and
// model.safetensors.index.json. Files get their final names together, when all are
// complete. WriteModel makes the folder if need be. Weights of another save in the folder
// that would be mixed up with these are an error.
func WriteModel(dir string, entries []Entry, opt ModelOptions) error {
	if opt.MaxShardBytes <= 0 {
		opt.MaxShardBytes = 5 << 30
	}
	shards, err := splitShards(entries, opt.MaxShardBytes)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	names := shardNames(len(shards))
	index, err := modelIndex(shards, names, opt.Parameters)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	set, err := atomicfile.Begin(dir)
	if err != nil {
		return err
	}
	defer set.Discard()
	if err := checkLeftovers(dir, names); err != nil {
		return err
	}
	for i, shard := range shards {
		path := filepath.Join(dir, names[i])
		header, err := safetensorsHeader(shard, map[string]string{"format": "mlx"})
		if err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
		err = set.Stream(names[i], func(w io.Writer) error { return writeSafetensors(w, path, header, shard) })
		if err != nil {
			return err
		}
	}
	if err := set.Write(indexName, index); err != nil {
		return err
	}
	return set.Commit()
}

// splitShards fills shards greedily in order.
func splitShards(entries []Entry, most int64) ([][]Entry, error) {
	if len(entries) == 0 {
		return nil, errors.New("a model without tensors")
	}
	var shards [][]Entry
	var filled int64
	start := 0
	for i := range entries {
		size, err := entries[i].size()
		if err != nil {
			return nil, err
		}
		if i > start && size > most-filled {
			shards = append(shards, entries[start:i])
			start, filled = i, 0
		}
		filled += size
	}
	return append(shards, entries[start:]), nil
}

func shardNames(n int) []string {
	if n == 1 {
		return []string{"model.safetensors"}
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n)
	}
	return names
}

// checkLeftovers reports weights that a reader would merge with the new ones.
func checkLeftovers(dir string, names []string) error {
	found, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range found {
		name := f.Name()
		if strings.HasPrefix(name, "model") && strings.HasSuffix(name, ".safetensors") && !slices.Contains(names, name) {
			return fmt.Errorf("%s holds %s of another save, which would be read together with the new %s; remove it or choose another folder",
				dir, name, names[0])
		}
	}
	return nil
}

// modelIndex returns model.safetensors.index.json.
func modelIndex(shards [][]Entry, names []string, parameters int64) ([]byte, error) {
	var index struct {
		Metadata struct {
			TotalSize       int64 `json:"total_size"`
			TotalParameters int64 `json:"total_parameters"`
		} `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}
	index.WeightMap = map[string]string{}
	var elementsInAll int64
	for i, shard := range shards {
		for _, e := range shard {
			if _, twice := index.WeightMap[e.Name]; twice {
				return nil, fmt.Errorf("tensor name %q comes twice", e.Name)
			}
			index.WeightMap[e.Name] = names[i]
			size, err := e.size()
			if err != nil {
				return nil, err
			}
			index.Metadata.TotalSize += size
			elementsInAll += size / int64(e.DType.Size())
		}
	}
	index.Metadata.TotalParameters = parameters
	if parameters == 0 {
		index.Metadata.TotalParameters = elementsInAll
	}
	return json.MarshalIndent(index, "", "    ")
}
