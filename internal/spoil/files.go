package spoil

import (
	"encoding/binary"
	"os"
	"testing"
)

// ReadFile reads a file that has to be there.
func ReadFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// WriteFile writes a file, over the one that is there.
func WriteFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// SafetensorsHeader is the part of a safetensors file that says what the rest is.
func SafetensorsHeader(file []byte) []byte { return file[:8+binary.LittleEndian.Uint64(file)] }
