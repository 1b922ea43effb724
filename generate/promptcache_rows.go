package generate

import (
	"fmt"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// storedRows are the keys or values of a layer as they lie in a prompt cache file: one
// tensor of floats [1, KVHeads, rows, HeadDim], or packed integers U32
// [1, KVHeads, rows, HeadDim·bits/32], scales and biases [1, KVHeads, rows,
// HeadDim/group].
type storedRows []weights.Tensor

// rows finds keys or values in the file and checks what holds for every cache.
func (p *PromptCache) rows(name string, quantized bool) (storedRows, error) {
	names := []string{name}
	if quantized {
		names = []string{name + ".0", name + ".1", name + ".2"}
	}
	var all storedRows
	for i, name := range names {
		x, ok := p.file.Tensor(name)
		if !ok {
			return nil, fmt.Errorf("tensor %q is missing", name)
		}
		if quantized && i == 0 {
			if len(x.Shape) != 4 || x.Shape[0] != 1 || x.DType != quant.U32 {
				return nil, fmt.Errorf("tensor %q is %v %v, expected U32 [1, heads, tokens, packed values]", name, x.DType, x.Shape)
			}
		} else if len(x.Shape) != 4 || x.Shape[0] != 1 || x.DType != quant.F32 && x.DType != quant.F16 && x.DType != quant.BF16 {
			return nil, fmt.Errorf("tensor %q is %v %v, expected floats [1, heads, tokens, values]: an empty cache, or one of several prompts", name, x.DType, x.Shape)
		}
		if len(x.Data) == 0 { // then nothing would bound the other sizes
			return nil, fmt.Errorf("tensor %q is %v: it holds nothing", name, x.Shape)
		}
		all = append(all, x)
	}
	return all, nil
}

// count is how many rows there are for each head.
func (r storedRows) count() int { return r[0].Shape[2] }

// checkPacked checks that the tensors of a quantized layer belong together.
func (l *storedLayer) checkPacked() error {
	if err := (quant.Format{Kind: quant.Affine, DType: quant.F32, Bits: l.bits, Group: l.group}).Check(); err != nil {
		return err
	}
	for _, r := range []storedRows{l.keys, l.values} {
		data, scales, biases := r[0], r[1], r[2]
		heads, n, groups := scales.Shape[1], scales.Shape[2], scales.Shape[3]
		if data.Shape[1] != heads || data.Shape[2] != n || data.Shape[3] != groups*(l.group/32)*l.bits {
			return fmt.Errorf("tensor %q is %v, but %d bits and scales %v in groups of %d make %v", data.Name, data.Shape, l.bits, scales.Shape, l.group,
				[]int{1, heads, n, groups * (l.group / 32) * l.bits})
		}
		if b := biases.Shape; b[1] != heads || b[2] != n || b[3] != groups || biases.DType != scales.DType {
			return fmt.Errorf("tensor %q is %v %v, the scales are %v %v", biases.Name, biases.DType, b, scales.DType, scales.Shape)
		}
	}
	return nil
}

// matrix gathers rows of a layer as [rows, Heads·HeadDim], floats and scales of type to.
func (l *storedLayer) matrix(r storedRows, rows []int, kv nn.KVShape, to quant.DType) (m *quant.Matrix, err error) {
	m = &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: to}, Rows: len(rows), Cols: kv.Cols()}
	if l.bits == 0 {
		if r[0].Shape[1] != kv.Heads || r[0].Shape[3] != kv.HeadDim {
			return nil, fault.At("model", "tensor %q is %v, the model has %d heads of %d values", r[0].Name, r[0].Shape, kv.Heads, kv.HeadDim).
				Try("Give the model that the cache was made with.")
		}
		m.Data, err = gather(r[0], rows, to)
		return m, err
	}
	if r[1].Shape[1] != kv.Heads || r[1].Shape[3]*l.group != kv.HeadDim {
		return nil, fault.At("model", "tensor %q has scales for %d heads of %d values, the model has %d of %d", r[1].Name, r[1].Shape[1], r[1].Shape[3]*l.group, kv.Heads, kv.HeadDim).
			Try("Give the model that the cache was made with.")
	}
	m.Format = quant.Format{Kind: quant.Affine, DType: to, Bits: l.bits, Group: l.group}
	for i, part := range []*[]byte{&m.Data, &m.Scales, &m.Biases} {
		t := to
		if i == 0 {
			t = quant.U32
		}
		if *part, err = gather(r[i], rows, t); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// gather turns rows of x [1, heads, n, width] into [rows, heads·width]: floats of type
// to, or packed integers as they are.
func gather(x weights.Tensor, rows []int, to quant.DType) ([]byte, error) {
	heads, width := x.Shape[1], x.Shape[3]
	head, piece := x.Shape[2]*width*x.DType.Size(), width*x.DType.Size()
	out := make([]byte, len(rows)*heads*width*to.Size())
	values := make([]float32, width)
	for r, row := range rows {
		for h := range heads {
			src, dst := x.Data[h*head+row*piece:][:piece], out[(r*heads+h)*width*to.Size():]
			if to == quant.U32 {
				copy(dst, src)
				continue
			}
			quant.Floats(values, src, x.DType)
			for _, v := range values {
				if to == quant.F16 && !(v >= -halfMax && v <= halfMax) {
					return nil, fault.Of("tensor %q holds %g, which a float16 cannot", x.Name, v).Try("Give %v.", fault.Setting("exact"))
				}
			}
			quant.PutFloats(dst, values, to)
		}
	}
	return out, nil
}

// entries are the tensors of keys or values of a layer that is written; shape is
// [1, KVHeads, rows, HeadDim], bytes gives the content of one of them.
func (l *storedLayer) entries(name string, shape []int, t quant.DType, bytes func(piece int) ([]byte, error)) (all []weights.Entry) {
	add := func(piece int, name string, t quant.DType, width int) {
		all = append(all, weights.Entry{Name: name, DType: t, Shape: []int{shape[0], shape[1], shape[2], width}, Bytes: func() ([]byte, error) {
			return bytes(piece)
		}})
	}
	dim := shape[3]
	if l.bits == 0 {
		add(0, name, t, dim)
		return all
	}
	add(0, name+".0", quant.U32, dim/32*l.bits)
	add(1, name+".1", t, dim/l.group)
	add(2, name+".2", t, dim/l.group)
	return all
}

// reader gives the keys (part 0) or values of layers, [n, KVHeads·HeadDim]. It keeps the
// last layer read: Save asks for each several times in a row.
func (s *Session) reader() func(layer, part int, floats bool) (*quant.Matrix, error) {
	last, parts := -1, [2]*quant.Matrix{}
	return func(layer, part int, floats bool) (*quant.Matrix, error) {
		if layer != last {
			var state nn.LayerState
			var err error
			if state, err = s.cache.State(layer); err != nil {
				return nil, err
			}
			last, parts = layer, [2]*quant.Matrix{state.Keys, state.Values}
		}
		if m := parts[part]; !floats || m.Format.Kind == quant.Dense {
			return m, nil
		}
		return dense(parts[part], s.cache.DType()), nil
	}
}

// dense is a quantized matrix as floats: mlx-lm has no quantized cache of a window.
func dense(m *quant.Matrix, t quant.DType) *quant.Matrix {
	values := m.Floats()
	out := &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: t}, Rows: m.Rows, Cols: m.Cols, Data: make([]byte, len(values)*t.Size())}
	quant.PutFloats(out.Data, values, t)
	return out
}

// byHead turns the newest rows of data [n, heads·width] into [1, heads, rows, width];
// shape begins with 1, heads and rows.
func byHead(data []byte, n int, shape []int) []byte {
	heads, rows := shape[1], shape[2]
	row := len(data) / n
	piece := row / heads
	data = data[(n-rows)*row:]
	out := make([]byte, len(data))
	for r := range rows {
		for h := range heads {
			copy(out[(h*rows+r)*piece:(h*rows+r+1)*piece], data[r*row+h*piece:])
		}
	}
	return out
}
