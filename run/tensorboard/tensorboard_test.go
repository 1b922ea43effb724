package tensorboard

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// TestChecksum has the check value of CRC-32C, "123456789", in the mask of TFRecords.
func TestChecksum(t *testing.T) {
	t.Parallel()
	crc := uint32(0xe3069283)
	if got, want := checksum([]byte("123456789")), (crc>>15|crc<<17)+0xa282ead8; got != want {
		t.Errorf("%x, want %x", got, want)
	}
}

// TestRecords takes a file apart. That TensorBoard reads it is tested in interop.
func TestRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, Folder))
	if err != nil {
		t.Fatal(err)
	}
	w.now = func() time.Time { return time.Unix(1000, 0) }
	w.Report(run.Start{FirstIteration: 1, Title: "a run"})
	w.Report(run.TrainReport{Iteration: 300, TrainLoss: 1.5, Figures: run.Figures{{Name: "grad_norm", Value: 2}}})
	w.Report(run.Warning{Text: fault.Say("careful")})
	w.Report(run.Step{})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, Folder, "events.out.tfevents.*"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for len(data) > 0 {
		n := binary.LittleEndian.Uint64(data)
		body := data[12 : 12+n]
		if checksum(data[:8]) != binary.LittleEndian.Uint32(data[8:]) || checksum(body) != binary.LittleEndian.Uint32(data[12+n:]) {
			t.Fatal("a checksum is wrong")
		}
		events = append(events, string(body))
		data = data[16+n:]
	}
	if len(events) != 5 || !strings.Contains(events[0], "brain.Event:2") || !strings.Contains(events[2], "a run") || !strings.Contains(events[4], "careful") {
		t.Fatalf("%q", events)
	}
	loss := string(binary.LittleEndian.AppendUint32([]byte{2<<3 | 5}, math.Float32bits(1.5)))
	// Step 300 is the varint ac 02.
	if e := events[3]; !strings.Contains(e, "\x10\xac\x02") || !strings.Contains(e, "train/loss"+loss) || !strings.Contains(e, "train/grad_norm") {
		t.Errorf("%q", e)
	}
}
