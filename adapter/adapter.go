// Package adapter reads, writes, converts, merges and attaches LoRA and DoRA
// adapters, and reads and writes the weights of full fine-tuning. It knows three
// layouts: mlx-lm's folders, those of Hugging Face's PEFT, and llama.cpp's GGUF files.
//
// [New] puts an untrained adapter on a model and [Save] writes what was trained.
// [Load] attaches a saved one, [With] does so on a model that shares the weights of
// another. [Read] gives an [Adapter] apart from any model, to convert or to [Merge].
package adapter

import (
	"slices"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/weights"
)

// Adapter is a LoRA or DoRA in memory, apart from any model. Each layout has a reader
// that makes one and a writer that takes one.
type Adapter struct {
	Layout  string // "mlx-lm", "PEFT" or "llama.cpp"; empty if it is from no file
	Dropout float32
	Base    string   // the model it was trained on, if the files say so
	Updates []Update // sorted by Module

	// Copies are embeddings or heads of the base that PEFT put beside an adapter
	// which changes them. They have to equal the model's.
	Copies []weights.Tensor

	// Overwrite has the Write methods replace an adapter that is there.
	Overwrite bool

	architecture string // llama.cpp's, until FitTo has been called
	held         int    // numbers in the file, without the zeros that were added
	experts      int    // matrices in its stacks, if the file has single experts
	partial      bool   // some experts are missing until FitTo adds them
}

// Update is the low-rank update of one projection: y += Scale·(x A) B, and with
// DoRA the lengths that the rows of the updated weight get. With Experts it is one
// for each matrix of a stack.
type Update struct {
	Module        string // "model.layers.0.self_attn.q_proj"
	Experts       int    // 0 for an ordinary projection
	In, Out, Rank int
	A             []float32 // [In, Rank], or [Experts, In, Rank]
	B             []float32 // [Rank, Out], or [Experts, Rank, Out]
	Scale         float32
	Magnitude     []float32 // [Out]; nil without DoRA
}

// Read reads a LoRA or DoRA from a folder in mlx-lm's or PEFT's layout, or from a GGUF
// file. Some files leave to the model what a writer has to know: see [Adapter.FitTo].
func Read(path string) (*Adapter, error) {
	if err := atomicfile.Finish(path); err != nil {
		return nil, err
	}
	switch {
	case isGGUF(path):
		return readGGUF(path)
	case isPEFT(path):
		return readPEFT(path)
	}
	return readMLX(path)
}

// DoRA tells whether the adapter has magnitudes.
func (a *Adapter) DoRA() bool {
	return slices.ContainsFunc(a.Updates, func(u Update) bool { return u.Magnitude != nil })
}

// Kind is LoRA or DoRA.
func (a *Adapter) Kind() string { return kindOf(a.DoRA()) }

// kindOf names an adapter.
func kindOf(dora bool) string {
	if dora {
		return "DoRA"
	}
	return "LoRA"
}

// FitTo takes from the model's config what the adapter's file does not tell. Adapters
// from GGUF files get the order of rows that everything else has: it depends on the
// number of heads. Adapters from files with single experts get all experts.
func (a *Adapter) FitTo(c *model.Config) error {
	if err := a.addExperts(c); err != nil {
		return err
	}
	return a.splitPairs(c)
}

// ready refuses an adapter whose rows have no order yet.
func (a *Adapter) ready() error {
	if !a.paired() {
		return nil
	}
	return fault.At("model", "the adapter is for llama.cpp's architecture %q, whose rows lie in the order of its heads", a.architecture).Try("Name the base model too.")
}

// Common is the rank and scale that Uniform gives all updates.
func (a *Adapter) Common() (rank int, scale float32) {
	scale = a.Updates[0].Scale
	for _, u := range a.Updates {
		rank = max(rank, u.Rank)
		if u.Scale != scale {
			scale = 1
		}
	}
	return rank, scale
}

// Uniform gives all updates one rank and scale, since files have one field for each.
// Lower ranks get zeros, and other scales go into B: the updates amount to the same.
func (a *Adapter) Uniform() (rank int, scale float32) {
	rank, scale = a.Common()
	for i := range a.Updates {
		u := &a.Updates[i]
		u.widen(rank)
		if u.Scale != scale {
			for j := range u.B {
				u.B[j] *= u.Scale / scale
			}
			u.Scale = scale
		}
	}
	return rank, scale
}

// transposed returns Aᵀ, [Rank, In], and Bᵀ, [Out, Rank]: the layout of PEFT and
// llama.cpp, and of mlx-lm for experts. The matrices of a stack lie one behind the other.
func (u *Update) transposed() (a, b []float32) {
	return transposeEach(u.A, u.In, u.Rank), transposeEach(u.B, u.Rank, u.Out)
}

// Shape is that of the projection, as quant.Matrix.Shape.
func (u *Update) Shape() []int { return u.stacked(u.Out, u.In) }

// stacked is a shape in files: the experts stand in front if there are any.
func (u *Update) stacked(rows, cols int) []int {
	if u.Experts > 0 {
		return []int{u.Experts, rows, cols}
	}
	return []int{rows, cols}
}

// widen adds columns of zeros to A and rows of zeros to B.
func (u *Update) widen(rank int) {
	if rank == u.Rank {
		return
	}
	n := max(u.Experts, 1)
	a, b := make([]float32, n*u.In*rank), make([]float32, n*rank*u.Out)
	for i := range n * u.In {
		copy(a[i*rank:], u.A[i*u.Rank:(i+1)*u.Rank])
	}
	for i := range n {
		copy(b[i*rank*u.Out:], u.B[i*u.Rank*u.Out:(i+1)*u.Rank*u.Out])
	}
	u.A, u.B, u.Rank = a, b, rank
}

// transposeEach transposes matrices [rows, cols] that lie one behind the other.
func transposeEach(x []float32, rows, cols int) []float32 {
	out := make([]float32, len(x))
	for at := 0; at < len(x); at += rows * cols {
		for r := range rows {
			for c := range cols {
				out[at+c*rows+r] = x[at+r*cols+c]
			}
		}
	}
	return out
}
