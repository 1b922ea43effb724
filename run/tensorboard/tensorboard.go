// Package tensorboard writes the figures of a run as event files, which TensorBoard and the programs that import its files read.
//
// A file is TFRecords (length, checksum, event, checksum) of messages that event.proto and summary.proto of TensorFlow define;
// the few fields that are needed are written here, field by field.
package tensorboard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lentil-lm/lentil/run"
)

// Folder is the folder of event files in that of a run.
const Folder = "tensorboard"

// A Writer is a run.Reporter that writes events into a file. A write that fails does not stop the run: Close tells of it.
type Writer struct {
	mu   sync.Mutex
	file *os.File
	err  error // the first failed write
	now  func() time.Time
}

// Create makes a new file of events in dir, which it makes if need be.
func Create(dir string) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	now := time.Now()
	for try := 0; ; try++ { // each run has a file of its own, those that go on too
		name := filepath.Join(dir, fmt.Sprintf("events.out.tfevents.%010d.lentil.%d.%d", now.Unix(), os.Getpid(), try))
		file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		w := &Writer{file: file, now: time.Now}
		w.write(0, text(nil, fieldVersion, "brain.Event:2"))
		return w, nil
	}
}

// Report writes the scalars of an event.
func (w *Writer) Report(e run.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := e.(type) {
	case run.Start:
		// A session that starts has TensorBoard drop what an earlier one wrote from this step on.
		w.write(e.FirstIteration, message(nil, fieldSession, number(nil, 1, 1)))
		w.note(e.FirstIteration, "run", e.Title)
	case run.TrainReport:
		w.scalars(e.Iteration, []scalar{
			{"train/loss", e.TrainLoss}, {"train/learning_rate", e.LearningRate}, {"train/iterations_per_second", e.IterationsPerSecond},
			{"train/tokens_per_second", e.TokensPerSecond}, {"train/trained_tokens", float64(e.TrainedTokens)}, {"train/peak_memory_gb", e.PeakMemory},
		}, "train/", e.Figures)
	case run.Validation:
		w.scalars(e.Iteration, []scalar{{"valid/loss", e.Loss}}, "valid/", e.Figures)
	case run.Asked:
		w.scalars(e.Iteration, []scalar{{"questions/right", float64(e.Right) / float64(max(e.Questions, 1))}}, "", nil)
		for i, s := range e.Samples {
			w.note(e.Iteration, fmt.Sprintf("questions/sample_%d", i+1), s.Question+"\n\n"+s.Answer)
		}
	case run.TestReport:
		w.scalars(0, []scalar{{"test/loss", e.Loss}, {"test/perplexity", e.Perplexity}}, "test/", e.Figures)
	case run.Warning:
		w.note(0, "warnings", e.Text.String())
	}
}

// Close brings the file to the disk and returns the first error that a write met.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.err, w.file.Sync(), w.file.Close()); err != nil {
		return fmt.Errorf("events for TensorBoard: %w", err)
	}
	return nil
}

// A scalar is a number with a name.
type scalar struct {
	tag   string
	value float64
}

// Fields of the messages Event, Summary.Value and TensorProto.
const (
	fieldTime    = 1 // of Event
	fieldStep    = 2
	fieldVersion = 3
	fieldSummary = 5
	fieldSession = 7

	fieldTag      = 1 // of Summary.Value
	fieldSimple   = 2
	fieldTensor   = 8
	fieldMetadata = 9
)

func (w *Writer) scalars(step int, list []scalar, prefix string, figures run.Figures) {
	for _, f := range figures {
		list = append(list, scalar{prefix + f.Name, f.Value})
	}
	var summary []byte
	for _, s := range list {
		value := text(nil, fieldTag, s.tag)
		value = binary.LittleEndian.AppendUint32(append(value, fieldSimple<<3|5), math.Float32bits(float32(s.value)))
		summary = message(summary, 1, value)
	}
	w.write(step, message(nil, fieldSummary, summary))
}

// note writes a text, which TensorBoard shows under Text: a tensor of strings for its plugin.
func (w *Writer) note(step int, tag, content string) {
	const stringType = 7 // DT_STRING
	shape := message(nil, 2, number(nil, 1, 1))
	tensor := text(message(number(nil, 1, stringType), 2, shape), 8, content)
	value := text(nil, fieldTag, tag)
	value = message(value, fieldTensor, tensor)
	value = message(value, fieldMetadata, message(nil, 1, text(nil, 1, "text")))
	w.write(step, message(nil, fieldSummary, message(nil, 1, value)))
}

// write appends one event in one write.
func (w *Writer) write(step int, what []byte) {
	if w.err != nil {
		return
	}
	event := binary.LittleEndian.AppendUint64([]byte{fieldTime<<3 | 1}, math.Float64bits(float64(w.now().UnixNano())/1e9))
	event = append(number(event, fieldStep, uint64(step)), what...)
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(event)))
	record := binary.LittleEndian.AppendUint32(length, checksum(length))
	record = binary.LittleEndian.AppendUint32(append(record, event...), checksum(event))
	_, w.err = w.file.Write(record)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the masked CRC of TFRecords.
func checksum(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// number, text and message append a field in the encoding of protocol buffers.
func number(b []byte, field int, v uint64) []byte {
	return binary.AppendUvarint(append(b, byte(field<<3)), v)
}

func text(b []byte, field int, s string) []byte { return message(b, field, []byte(s)) }

func message(b []byte, field int, m []byte) []byte {
	return append(binary.AppendUvarint(append(b, byte(field<<3|2)), uint64(len(m))), m...)
}
