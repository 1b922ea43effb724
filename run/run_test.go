package run

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/fault"
)

// everyEvent has one filled-in event of each logged kind.
var everyEvent = []Event{
	Start{Title: "tiny · lora", Model: "m", AdapterPath: "adapters", FirstIteration: 1, Iterations: 20, TrainableParams: 3e6, TotalParams: 9e6, Earlier: []int{100, 20}},
	Plan{Parts: []PlanPart{{"weights", 10}}, TotalBytes: 10, AvailableBytes: 20, FLOPsPerStep: 3, SecondsPerStep: .5, Iterations: 20, Fits: true, Remedies: []fault.Note{fault.Say("%s", "batch_size 1")}},
	Validation{1, 2.936, 5.265, nil},
	Validation{Iteration: 2, Loss: .69, Figures: Figures{{"rewards/margins", .25}, {"rewards/accuracies", 1}}},
	TrainReport{10, 2.662, 1e-5, .49, 161.374, 3290, 9.707, Figures{{"logps/chosen", -3}}},
	Saved{100, "a/adapters.safetensors", "a/0000100_adapters.safetensors"},
	Saved{Iteration: 120, Path: "a/adapters.safetensors"},
	TestReport{1.5, 4.4817, 900, nil},
	Message{fault.Say("%s", "Loading datasets")},
	Warning{fault.Say("%s", "a <tag> & a \"quote\"")},
	End{Interrupted, 120, 12.5, ""},
}

func TestLogRoundTrip(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), LogName)
	log, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 4, 5, 6, 7, time.UTC)
	log.now = func() time.Time { return now }
	for _, e := range everyEvent {
		log.Report(e)
	}
	log.Report(Step{1, 2, 3})
	log.Report(Progress{"x", 1, 2})
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	records, err := ReadLog(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != len(everyEvent) {
		t.Fatalf("%d records, want %d", len(records), len(everyEvent))
	}
	for i, rec := range records {
		if !rec.Time.Equal(now) || rec.Kind != everyEvent[i].kind() || !reflect.DeepEqual(rec.Event, everyEvent[i]) {
			t.Errorf("record %d: %+v, want %+v", i, rec, everyEvent[i])
		}
	}
}

func TestLogKeepsNaN(t *testing.T) {
	t.Parallel()
	line, err := encode(time.Now(), Validation{3, math.NaN(), 1, nil})
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(line) {
		t.Fatalf("not JSON: %s", line)
	}
	rec, err := decode(line)
	if err != nil {
		t.Fatal(err)
	}
	if v := rec.Event.(Validation); !math.IsNaN(v.Loss) || v.Seconds != 1 || v.Iteration != 3 {
		t.Errorf("got %+v", v)
	}
}

// TestFullDisk: a log that cannot grow for a while loses these events and no others, and says so.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), LogName)
	log, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	write := log.write
	for i := range 6 {
		log.write = func(line []byte) (int, error) {
			switch i {
			case 1, 4: // room for a part of it
				n, _ := write(line[:len(line)/2])
				return n, syscall.ENOSPC
			case 2:
				return 0, syscall.ENOSPC
			}
			return write(line)
		}
		log.Report(Message{fault.Say("%d", i)})
	}
	if err := log.Close(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "3 events") {
		t.Errorf("at the end: %v", err)
	}
	records, err := ReadLog(path)
	var texts []string
	for _, r := range records {
		texts = append(texts, r.Event.(Message).Text.String())
	}
	if got := strings.Join(texts, " "); err != nil || got != "0 3 5" {
		t.Errorf("the log has %q, %v", got, err)
	}
}

func TestTornLine(t *testing.T) {
	t.Parallel()
	whole := `{"time":"2026-11-23T04:00:00Z","event":"message","text":"one"}` + "\n"
	for _, tail := range []string{"", `{"time":"2026-`, strings.Repeat("x", 10_000), "{"} {
		path := filepath.Join(t.TempDir(), LogName)
		if err := os.WriteFile(path, []byte(whole+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		if records, err := ReadLog(path); err != nil || len(records) != 1 {
			t.Fatalf("tail %.20q: %d records, %v", tail, len(records), err)
		}
		log, err := openLog(path)
		if err != nil {
			t.Fatal(err)
		}
		log.Report(Message{fault.Say("%s", "two")})
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		records, err := ReadLog(path)
		if err != nil || len(records) != 2 || !reflect.DeepEqual(records[1].Event, Message{fault.Say("%s", "two")}) {
			t.Errorf("tail %.20q: after going on: %+v, %v", tail, records, err)
		}
	}
}

func TestReadLogErrors(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), LogName)
	text := `{"time":"2026-11-23T04:00:00Z","event":"of a later version","x":1}` + "\nnonsense\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := ReadLog(path)
	if err == nil || !strings.Contains(err.Error(), LogName+":2:") {
		t.Errorf("error %v does not name line 2", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range everyEvent {
		line, err := encode(time.Now(), e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		rec, err := decode(line)
		if err != nil || rec.Event == nil {
			return
		}
		again, err := encode(rec.Time, rec.Event)
		if err != nil {
			return // a year that RFC 3339 cannot write
		}
		if _, err := decode(again); err != nil && rec.Time.Year() < 10000 {
			t.Errorf("%s does not read back: %v", again, err)
		}
	})
}

func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenFolder(dir)
	var held *LockedError
	if !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Fatalf("second open: %v, want a LockedError with pid %d", err, os.Getpid())
	}
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
	folder, err = OpenFolder(dir)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestManifest(t *testing.T) {
	t.Parallel()
	folder, err := OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	want := Manifest{Version: "v1", Command: []string{"lentil", "lora", "--hf-token", "hf_abc"}, Model: "m",
		Data: []DataFile{{"d", 3, "ab", []string{"train"}}}, Settings: map[string]any{"iters": 10.0}, Started: time.Unix(5, 0).UTC()}
	if err := folder.WriteManifest(want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadManifest(folder.dir)
	if err != nil {
		t.Fatal(err)
	}
	want.Command = []string{"lentil", "lora", "--hf-token", "***"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	left, err := filepath.Glob(folder.Path(".*.tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left: %v %v", left, err)
	}
}

func TestHashFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := HashFile(path)
	// SHA-256 of "abc" from FIPS 180-2, appendix B.1.
	want := DataFile{Path: path, Bytes: 3, SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	in := []string{"lentil", "--token", "abc", "--max-tokens", "400", "--api-key=k", "--extra-eos-token", "<|end|>", "hf_x", "--model=https://user:pw@host/m", "--hf_token", "--train", "sk-1"}
	want := []string{"lentil", "--token", "***", "--max-tokens", "400", "--api-key=***", "--extra-eos-token", "<|end|>", "***", "--model=https://***@host/m", "--hf_token", "***", "***"}
	if got := Redact(in); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		Bytes(0): "0 B", Bytes(999): "999 B", Bytes(1500): "1.50 kB", Bytes(999_600_000): "1.00 GB", Bytes(12_345_678): "12.3 MB",
		Duration(400 * time.Millisecond): "0.4s", Duration(12 * time.Second): "12s", Duration(185 * time.Second): "3m 05s",
		Duration(8040 * time.Second): "2h 14m", Duration(76 * time.Hour): "3d 4h", Duration(-1): "0s",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
