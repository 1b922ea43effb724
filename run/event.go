package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/fault"
)

// An Event is one thing that happened in a run: one of the structs of this file, passed by value.
// Events are flat, so that a line of the log can be read with any JSON tool.
type Event interface {
	// kind is the value of "event" in the log, or "" for an event that is only shown.
	kind() string
}

// A Reporter hears the events of a run as they happen. Implementations are safe for
// use by several goroutines and return quickly.
type Reporter interface {
	Report(Event)
}

// Start opens a run, once the model is loaded and before the first step.
type Start struct {
	Title           string `json:"title"` // "model · lora · 16 layers · rank 8"
	Model           string `json:"model"`
	AdapterPath     string `json:"adapter_path"`
	FirstIteration  int    `json:"first_iteration"` // 1, or where a resumed run goes on
	Iterations      int    `json:"iterations"`
	TrainableParams int64  `json:"trainable_params"`
	TotalParams     int64  `json:"total_params"`
	Earlier         []int  `json:"earlier_iterations"` // of each run that trained the weights before this one
}

// Plan tells what a run will need, before it starts.
type Plan struct {
	Parts          []PlanPart   `json:"parts"`
	TotalBytes     int64        `json:"total_bytes"`
	AvailableBytes int64        `json:"available_bytes"` // 0 if unknown
	FLOPsPerStep   float64      `json:"flops_per_step"`
	SecondsPerStep float64      `json:"seconds_per_step"` // 0 if unknown
	Iterations     int          `json:"iterations"`
	Fits           bool         `json:"fits"`
	DiskBytes      int64        `json:"disk_bytes"`      // that its files take, at most at once
	FreeDiskBytes  int64        `json:"free_disk_bytes"` // 0 if unknown
	Remedies       []fault.Note `json:"remedies"`        // settings that would lower the need, most useful first
	Watch          string       `json:"watch,omitempty"` // a command that shows the load and power of the GPU meanwhile
}

// PlanPart is one line of a plan: what the memory is for.
type PlanPart struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Step is one finished iteration. It moves the live view and is not logged.
type Step struct {
	Iteration int
	Loss      float64
	Tokens    int
}

// Progress is how far a part of the job has come, such as a validation pass. It is not logged.
type Progress struct {
	Task        string // "Calculating loss"
	Done, Total int    // Total 0: unknown
}

// TrainReport sums up the iterations since the last report; keys as in mlx-lm's callbacks.
type TrainReport struct {
	Iteration           int     `json:"iteration"`
	TrainLoss           float64 `json:"train_loss"`
	LearningRate        float64 `json:"learning_rate"`
	IterationsPerSecond float64 `json:"iterations_per_second"`
	TokensPerSecond     float64 `json:"tokens_per_second"`
	TrainedTokens       int64   `json:"trained_tokens"`
	PeakMemory          float64 `json:"peak_memory"` // GB, 1e9 bytes
	Figures             Figures `json:"figures"`
}

// Validation is the loss over the validation set, measured before the update of Iteration.
type Validation struct {
	Iteration int     `json:"iteration"`
	Loss      float64 `json:"val_loss"`
	Seconds   float64 `json:"val_time"`
	Figures   Figures `json:"figures"`
}

// Saved tells that weights were written. Checkpoint is the numbered copy, empty for the last save of a run.
type Saved struct {
	Iteration  int    `json:"iteration"`
	Path       string `json:"path"`
	Checkpoint string `json:"checkpoint"`
}

// BestSaved tells that the weights before the update of Iteration were written, whose validation is the best so far.
// Where questions are asked, those with the most right answers are the best, and there is no loss.
type BestSaved struct {
	Iteration int     `json:"iteration"`
	Loss      float64 `json:"val_loss"`
	Right     int     `json:"right_answers,omitempty"`
	Questions int     `json:"questions,omitempty"` // 0: the loss tells
	Path      string  `json:"path"`
}

// TestReport is the loss over the test set.
type TestReport struct {
	Loss       float64 `json:"test_loss"`
	Perplexity float64 `json:"test_ppl"`
	Tokens     int64   `json:"tokens"`
	Figures    Figures `json:"figures"`
}

// Data is what a split of the data holds, in tokens of the model.
type Data struct {
	Split      string `json:"split"`
	Rows       int    `json:"rows"`
	Tokens     int    `json:"tokens"`
	LossTokens int    `json:"loss_tokens"` // that are to be predicted: the others are masked, or cut off
	Median     int    `json:"median"`      // of the lengths of rows
	P95        int    `json:"p95"`
	Longest    int    `json:"longest"`
	Cut        int    `json:"cut"`       // rows that are longer than the limit
	BinWidth   int    `json:"bin_width"` // of Bins, in tokens
	Bins       []int  `json:"bins"`      // rows of 1 to BinWidth tokens, and so on
}

// Asked is how questions were answered in the middle of a run, measured after Iteration.
type Asked struct {
	Iteration int      `json:"iteration"`
	Questions int      `json:"questions"`
	Of        int      `json:"of,omitempty"` // questions that there are, if not all of them are asked
	Right     int      `json:"right"`
	Seconds   float64  `json:"seconds"`
	Samples   []Sample `json:"samples"`
}

// A Sample is one answer that was given on the way.
type Sample struct {
	Question string `json:"question"`
	Answer   string `json:"answer"`
	Right    bool   `json:"right"`
}

// Fused tells how much of the update was left when the adapter of a run was fused.
type Fused struct {
	Path          string  `json:"path"`
	Survival      float64 `json:"fuse_survival"`
	Worst         string  `json:"worst_matrix"`
	WorstSurvival float64 `json:"worst_survival"`
}

// Message is a plain line, such as "Loading datasets".
type Message struct {
	Text fault.Note `json:"text"`
}

// Warning is something the user should know but that does not stop the run.
type Warning struct {
	Text fault.Note `json:"text"`
}

// How a run ended.
const (
	Done        = "done"
	Interrupted = "interrupted"
	Failed      = "failed"
)

// End closes a run.
type End struct {
	Outcome   string  `json:"outcome"` // Done, Interrupted or Failed
	Iteration int     `json:"iteration"`
	Seconds   float64 `json:"seconds"`
	Error     string  `json:"error"`
}

func (Start) kind() string       { return "start" }
func (Plan) kind() string        { return "plan" }
func (Step) kind() string        { return "" }
func (Progress) kind() string    { return "" }
func (TrainReport) kind() string { return "train" }
func (Validation) kind() string  { return "validation" }
func (Saved) kind() string       { return "save" }
func (BestSaved) kind() string   { return "best" }
func (TestReport) kind() string  { return "test" }
func (Message) kind() string     { return "message" }
func (Warning) kind() string     { return "warning" }
func (End) kind() string         { return "end" }
func (Data) kind() string        { return "data" }
func (Asked) kind() string       { return "asked" }
func (Fused) kind() string       { return "fused" }

// logged lists the events that a log may hold, by kind.
var logged = func() map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for _, e := range []Event{Start{}, Plan{}, TrainReport{}, Validation{}, Saved{}, BestSaved{}, TestReport{}, Message{}, Warning{}, End{}, Data{}, Asked{}, Fused{}} {
		types[e.kind()] = reflect.TypeOf(e)
	}
	return types
}()

// A Record is one line of an event log.
type Record struct {
	Time  time.Time
	Kind  string
	Event Event // nil if this version does not know the kind
}

// encode gives one line of the log, newline included. A loss may be NaN or infinite, which JSON has no
// word for: such a number is written as null and decode gives NaN back.
func encode(now time.Time, e Event) ([]byte, error) {
	var line bytes.Buffer
	fmt.Fprintf(&line, `{"time":%q,"event":%q`, now.UTC().Format(time.RFC3339Nano), e.kind())
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		value := v.Field(i).Interface()
		if f, ok := value.(Figures); ok && len(f) == 0 {
			continue
		}
		if f, ok := value.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			value = nil
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		fmt.Fprintf(&line, ",%q:%s", name, text)
	}
	line.WriteString("}\n")
	return line.Bytes(), nil
}

// decode reads one line of the log.
func decode(line []byte) (Record, error) {
	var head struct {
		Time time.Time `json:"time"`
		Kind string    `json:"event"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return Record{}, err
	}
	rec := Record{Time: head.Time, Kind: head.Kind}
	typ, ok := logged[head.Kind]
	if !ok {
		return rec, nil
	}
	event := reflect.New(typ)
	for i := range typ.NumField() {
		if typ.Field(i).Type.Kind() == reflect.Float64 {
			event.Elem().Field(i).SetFloat(math.NaN())
		}
	}
	if err := json.Unmarshal(line, event.Interface()); err != nil {
		return Record{}, err
	}
	rec.Event = event.Elem().Interface().(Event)
	return rec, nil
}

// Multi hands every event to each of the reporters in turn; nil ones are left out.
func Multi(reporters ...Reporter) Reporter {
	var all multi
	for _, r := range reporters {
		if r != nil {
			all = append(all, r)
		}
	}
	return all
}

type multi []Reporter

func (m multi) Report(e Event) {
	for _, r := range m {
		r.Report(e)
	}
}
