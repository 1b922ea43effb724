package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
)

// A fingerprint is made of the start of each file and of parts all over it, so that it takes
// no longer for a large model. Training changes nearly all bytes of what it changes.
const (
	printStart = 64 << 10
	printParts = 512 // of a file
	printPart  = 4 << 10
)

// sample hashes parts of a file.
func sample(hash io.Writer, data []byte) {
	fmt.Fprintln(hash, len(data))
	if len(data) <= printStart+printParts*printPart {
		hash.Write(data)
		return
	}
	hash.Write(data[:printStart])
	for i := range printParts {
		at := printStart + (len(data)-printStart-printPart)/(printParts-1)*i
		hash.Write(data[at : at+printPart])
	}
}

func (f *folder) Fingerprint() string {
	hash := sha256.New()
	hash.Write(f.config)
	for _, s := range f.files {
		names := slices.Sorted(maps.Keys(s.tensors))
		for _, name := range names {
			fmt.Fprintln(hash, name, s.tensors[name].DType, s.tensors[name].Shape)
		}
		sample(hash, s.mapping.data)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// Fingerprint tells the file from others: see [Source].
func (g *GGUF) Fingerprint() string {
	hash := sha256.New()
	hash.Write(g.config)
	for _, name := range slices.Sorted(maps.Keys(g.tensors)) {
		t := g.tensors[name]
		fmt.Fprintln(hash, name, t.kind, t.shape)
	}
	sample(hash, g.mapping.data)
	return hex.EncodeToString(hash.Sum(nil))
}
