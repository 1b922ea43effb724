package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// datasetFiles are extensions of files that hold rows and not a text.
var datasetFiles = []string{".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet"}

// maxText is the longest text file that is read, in bytes.
const maxText = 1 << 30

// textFile reads a file that is a text; ok is false for what holds rows, or is none.
func textFile(path string) (text string, ok bool, err error) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || slices.Contains(datasetFiles, strings.ToLower(filepath.Ext(path))) {
		return "", false, nil
	}
	text, err = readText(path)
	return text, err == nil, err
}

func readText(path string) (string, error) {
	data, err := smallfile.ReadAny(path, maxText)
	if err != nil {
		return "", err
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	if !utf8.ValidString(text) {
		return "", fault.Of("%s is no UTF-8 text", path).Try("Give a text file, saved as UTF-8.")
	}
	return text, nil
}
