package eval

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/run"
)

// Fingerprint names the weights at a path without reading all of them: by the names, sizes and times of their files, and the
// content of the small ones beside them, such as the chat template.
func Fingerprint(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	names := []string{path}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return "", err
		}
		names = nil
		for _, e := range entries {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	var parts []string
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		base := filepath.Base(name)
		const small = 64 << 20
		switch ext := filepath.Ext(base); {
		case ext == ".safetensors" || ext == ".gguf":
			parts = append(parts, fmt.Sprint(base, info.Size(), info.ModTime().UnixNano()))
		case (ext == ".json" || ext == ".jinja" || ext == ".model") && info.Size() < small && !strings.HasPrefix(base, "."):
			file, err := run.HashFile(name)
			if err != nil {
				return "", err
			}
			parts = append(parts, base, file.SHA256)
		}
	}
	return key(parts...), nil
}
