package run

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/internal/spoil"
)

// wholeLog is a log with one event of each kind.
func wholeLog(t testing.TB) []byte {
	t.Helper()
	var log []byte
	for _, e := range everyEvent {
		line, err := encode(time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC), e)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, line...)
	}
	return log
}

// TestSpoiledLog cuts and changes run.jsonl and run.json.
func TestSpoiledLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, LogName)
	spoil.Each(t, wholeLog(t), spoil.Limit{Places: 100, Bytes: 8 << 20}, func(t *testing.T, spoiled []byte) {
		if err := os.WriteFile(path, spoiled, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadLog(path); err != nil && !strings.Contains(err.Error(), path+":") {
			t.Errorf("error %q does not name file and line", err)
		}
		log, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(path); !bytes.HasPrefix(spoiled, data) || len(data) > 0 && data[len(data)-1] != '\n' {
			t.Errorf("opening left %d of %d bytes, not whole lines of what was there", len(data), len(spoiled))
		}
	})
	manifest := []byte(`{"version": "1", "command": ["lentil"], "started": "2026-11-23T04:00:00Z", "data": [{"path": "a", "bytes": 3, "sha256": "00"}], "settings": {"a": 1}}`)
	spoil.Each(t, manifest, spoil.Limit{Bytes: 1 << 20}, func(t *testing.T, spoiled []byte) {
		if err := os.WriteFile(filepath.Join(dir, ManifestName), spoiled, 0o644); err != nil {
			t.Fatal(err)
		}
		ReadManifest(dir)
	})
}

// FuzzReadLog reads foreign logs and draws them.
func FuzzReadLog(f *testing.F) {
	f.Add(wholeLog(f))
	f.Add([]byte(`{"time":"2026-11-23T04:00:00Z","event":"of a later version","x":1}` + "\n\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, LogName)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		records, err := ReadLog(path)
		if err != nil {
			return
		}
		if whole := bytes.Count(text, []byte("\n")); len(records) != whole {
			t.Errorf("%d records of %d lines", len(records), whole)
		}
	})
}
