package weights

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/lentil-lm/lentil/quant"
)

// Entry is a tensor to be written, whose bytes are asked for when their turn
// comes, so that a model larger than memory can stream through.
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

// WriteSafetensors writes a file whole or not at all: it goes by another name
// until it is complete and on disk. Tensors lie in the given order. A nil
// metadata becomes "__metadata__":null, as MLX writes it.
func WriteSafetensors(path string, tensors []Tensor, metadata map[string]string) error {
	entries := make([]Entry, len(tensors))
	for i, t := range tensors {
		entries[i] = Entry{t.Name, t.DType, t.Shape, func() ([]byte, error) { return t.Data, nil }}
	}
	return WriteEntries(path, entries, metadata)
}

// WriteEntries is WriteSafetensors for tensors that need not be in memory together.
func WriteEntries(path string, entries []Entry, metadata map[string]string) error {
	return writeAside(path, func(a *aside) error { return a.safetensors(entries, metadata) })
}

// WriteFile writes a settings file, such as config.json, whole or not at all.
func WriteFile(path string, data []byte) error {
	return writeAside(path, func(a *aside) error {
		_, err := a.Write(data)
		return err
	})
}

// writeAside gives path what write writes, once that is complete and on disk.
func writeAside(path string, write func(a *aside) error) error {
	a, err := createAside(path)
	if err != nil {
		return writeError(path, err)
	}
	defer a.discard()
	if err := write(a); err != nil {
		return writeError(path, err)
	}
	return writeError(path, a.commit())
}

// aside is a file under a temporary name in the folder of its final one.
type aside struct {
	*os.File
	path string
	done bool // synced and closed
}

func createAside(path string) (*aside, error) {
	name := fmt.Sprintf(".%s.%08x.tmp", filepath.Base(path), rand.Uint32())
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return &aside{File: f, path: path}, nil
}

// finish brings the content to the disk and closes the file.
func (a *aside) finish() error {
	if a.done {
		return nil
	}
	a.done = true
	return errors.Join(a.Sync(), a.Close())
}

// commit gives the file its final name.
func (a *aside) commit() error {
	if err := a.finish(); err != nil {
		return err
	}
	if err := os.Rename(a.Name(), a.path); err != nil {
		return err
	}
	// Make the rename itself durable, where folders can be synced.
	if dir, err := os.Open(filepath.Dir(a.path)); err == nil {
		dir.Sync()
		dir.Close()
	}
	return nil
}

// discard removes the file unless it was committed.
func (a *aside) discard() {
	if !a.done {
		a.Close()
	}
	os.Remove(a.Name())
}

// safetensors writes header and tensors.
func (a *aside) safetensors(entries []Entry, metadata map[string]string) error {
	header, err := safetensorsHeader(entries, metadata)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(a, 1<<20)
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(header)))
	if _, err := w.Write(length[:]); err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, e := range entries {
		if err := writeEntry(w, e); err != nil {
			return err
		}
	}
	return w.Flush()
}

func writeEntry(w io.Writer, e Entry) error {
	data, err := e.Bytes()
	if err != nil {
		return fmt.Errorf("tensor %q: %w", e.Name, err)
	}
	size, err := e.size()
	if err != nil {
		return err
	}
	if int64(len(data)) != size {
		return fmt.Errorf("tensor %q: %v %v takes %d bytes, got %d", e.Name, e.DType, e.Shape, size, len(data))
	}
	_, err = w.Write(data)
	return err
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

// writeError says what a failed write means for the user.
func writeError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%s: the disk is full; nothing was left half-written; free some space or choose another folder: %w", path, cause(err))
	}
	return fmt.Errorf("writing %s: %w", path, cause(err))
}

// ModelOptions are the settings of [WriteModel]. The zero value is MLX's.
type ModelOptions struct {
	// MaxShardBytes limits the tensors of one file, 5 GiB if 0. A tensor
	// larger than that has a file to itself.
	MaxShardBytes int64
	// Parameters goes into the index as the number of weights. If 0 the
	// elements of all tensors are counted, which is wrong for packed ones.
	Parameters int64
}

// WriteModel writes the weights of a model folder as mlx-lm does: one file
// model.safetensors or numbered shards, filled in the given order, and
// model.safetensors.index.json. Files get their final names when all are
// complete. The folder is made if need be; weights of another save in it that
// would be mixed up with these are an error.
func WriteModel(dir string, entries []Entry, opt ModelOptions) error {
	if opt.MaxShardBytes <= 0 {
		opt.MaxShardBytes = 5 << 30
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	shards, err := splitShards(entries, opt.MaxShardBytes)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	names := shardNames(len(shards))
	if err := checkLeftovers(dir, names); err != nil {
		return err
	}
	index, err := modelIndex(shards, names, opt.Parameters)
	if err != nil {
		return err
	}
	var files []*aside
	defer func() {
		for _, a := range files {
			a.discard()
		}
	}()
	add := func(name string, write func(a *aside) error) error {
		path := filepath.Join(dir, name)
		a, err := createAside(path)
		if err != nil {
			return writeError(path, err)
		}
		files = append(files, a)
		if err := write(a); err != nil {
			return writeError(path, err)
		}
		return writeError(path, a.finish())
	}
	for i, shard := range shards {
		err := add(names[i], func(a *aside) error { return a.safetensors(shard, map[string]string{"format": "mlx"}) })
		if err != nil {
			return err
		}
	}
	err = add(indexName, func(a *aside) error { _, err := a.Write(index); return err })
	if err != nil {
		return err
	}
	for _, a := range files {
		if err := a.commit(); err != nil {
			return writeError(a.path, err)
		}
	}
	return nil
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
