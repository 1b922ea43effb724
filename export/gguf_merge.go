package export

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// collectAdapters finds what has to be added to the matrices of the source.
func (g *ggufExport) collectAdapters() error {
	if g.options.Model == nil {
		return nil
	}
	g.adapters = map[string]*nn.LoRA{}
	for _, l := range g.options.Model.Adapted() {
		lora, ok := l.Adapter.(*nn.LoRA)
		if !ok {
			return fmt.Errorf("%s: this adapter cannot be fused", l.Name)
		}
		g.adapters[l.Name] = lora
	}
	return nil
}

// matrix returns the weights of a module without its adapter.
func (g *ggufExport) matrix(module string) (*quant.Matrix, error) {
	if m := g.options.Model; m != nil {
		if held, ok := m.Matrix(module); ok {
			return held.Host(m.Device())
		}
	}
	return g.src.Matrix(module)
}

// outline is matrix, perhaps without the data.
func (g *ggufExport) outline(module string) (*quant.Matrix, error) {
	if g.options.Model != nil {
		return g.matrix(module)
	}
	return g.src.Outline(module)
}

// merged returns the weights of a module with its adapter, which makes them dense
// float32 numbers: they are rounded once, to the type of the file.
func (g *ggufExport) merged(module string) (*quant.Matrix, error) {
	base, err := g.matrix(module)
	if err != nil || g.adapters[module] == nil {
		return base, err
	}
	w := base.Floats() // [out, in]
	if _, err := adapt(g.options.Model.Device(), w, g.adapters[module]); err != nil {
		return nil, err
	}
	return &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: quant.F32}, Rows: base.Rows, Cols: base.Cols, Data: compute.FloatBytes(w)}, nil
}

// encode stores the weights of a module with its adapter. Blocks that have
// the type already are copied.
func (g *ggufExport) encode(module string, kind weights.GGUFType) ([]byte, error) {
	if file, ok := g.src.(*weights.GGUF); ok && kind.DType == 0 && !g.changed(module) {
		if b, data, ok := file.Blocks(module); ok && b == kind.Block {
			return data, nil
		}
	}
	m, err := g.merged(module)
	if err != nil {
		return nil, err
	}
	return encodeMatrix(m, kind)
}

// changed tells that the weights of a module are not those of the source.
func (g *ggufExport) changed(module string) bool {
	if g.options.Model == nil {
		return false
	}
	held, ok := g.options.Model.Matrix(module)
	if !ok {
		return false
	}
	was, err := g.src.Matrix(module)
	if err != nil || g.adapters[module] != nil {
		return true
	}
	is, err := held.Host(g.options.Model.Device())
	return err != nil || is != was
}

// vector returns a norm or bias as it is, or as full fine-tuning left it.
func (g *ggufExport) vector(t weights.Tensor) ([]float32, error) {
	if m := g.options.Model; m != nil {
		if v, ok := m.Vector(t.Name); ok {
			return tensor.ReadFloats(m.Device(), v)
		}
	}
	values := make([]float32, t.Shape[0])
	quant.Floats(values, t.Data, t.DType)
	return values, nil
}
