package generate

import (
	"fmt"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// savedLayer is one layer's cache as it lies in a file.
type savedLayer struct {
	keys, values savedTensors
	offset       int // tokens seen
	rotating     bool
	keep, size   int // of a rotating cache: first tokens that stay, and slots of its ring
	at           int // of a rotating cache: slot after the newest token
	bits, group  int // of a quantized cache
}

// savedTensors are the keys or values of a layer: one tensor of floats
// [1, KVHeads, slots, HeadDim], or packed integers U32 [1, KVHeads, slots,
// HeadDim·bits/32], scales and biases [1, KVHeads, slots, HeadDim/group].
type savedTensors []weights.Tensor

// slots is how many tokens there is room for.
func (s savedTensors) slots() int { return s[0].Shape[2] }

// tensors finds keys or values in the file and checks what holds for every cache.
func (p *PromptCache) tensors(name string, quantized bool) (all savedTensors, err error) {
	names := []string{name}
	if quantized {
		names = []string{name + ".0", name + ".1", name + ".2"}
	}
	for i, name := range names {
		x, ok := p.file.Tensor(name)
		if !ok {
			return nil, fmt.Errorf("tensor %q is missing", name)
		}
		four := len(x.Shape) == 4 && x.Shape[0] == 1
		switch packed := quantized && i == 0; {
		case packed && !(four && x.DType == quant.U32):
			return nil, fmt.Errorf("tensor %q is %v %v, expected U32 [1, heads, tokens, packed values]", name, x.DType, x.Shape)
		case !packed && !(four && x.DType.IsWeight()):
			return nil, fmt.Errorf("tensor %q is %v %v, expected floats [1, heads, tokens, values]: an empty cache, or one of several prompts", name, x.DType, x.Shape)
		case len(x.Data) == 0: // then nothing would bound the other sizes
			return nil, fmt.Errorf("tensor %q is %v: it holds nothing", name, x.Shape)
		}
		all = append(all, x)
	}
	return all, nil
}

// order lists the slots of a layer in the order of their tokens, and how many of
// them hold the sequence's first.
func (l *savedLayer) order() (slots []int, first int) {
	add := func(from, to int) {
		for ; from < to; from++ {
			slots = append(slots, from)
		}
	}
	n := l.keys.slots()
	switch {
	case !l.rotating:
		add(0, l.offset)
	case l.at < n && l.at < l.offset: // the ring begins behind the newest
		add(0, l.keep)
		add(max(l.at, l.keep), n)
		add(l.keep, l.at)
	default:
		add(0, l.at)
	}
	if len(slots) < l.offset {
		first = l.keep
	}
	return slots, first
}

// checkPacked checks that the tensors of a quantized layer belong together.
func (l *savedLayer) checkPacked() error {
	if err := (quant.Format{Kind: quant.Affine, DType: quant.F32, Bits: l.bits, Group: l.group}).Check(); err != nil {
		return err
	}
	for _, r := range []savedTensors{l.keys, l.values} {
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

// matrix gathers keys or values of a layer, slot by slot, as [tokens, Heads·HeadDim],
// floats and scales of type to.
func (l *savedLayer) matrix(s savedTensors, slots []int, kv nn.KVShape, to quant.DType) (m *quant.Matrix, err error) {
	m = &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: to}, Rows: len(slots), Cols: kv.Cols()}
	if l.bits == 0 {
		if s[0].Shape[1] != kv.Heads || s[0].Shape[3] != kv.HeadDim {
			return nil, fault.At("model", "tensor %q is %v, the model has %d heads of %d values", s[0].Name, s[0].Shape, kv.Heads, kv.HeadDim).
				Try("Give the model that the cache was made with.")
		}
		m.Data, err = gather(s[0], slots, to)
		return m, err
	}
	if s[1].Shape[1] != kv.Heads || s[1].Shape[3]*l.group != kv.HeadDim {
		return nil, fault.At("model", "tensor %q has scales for %d heads of %d values, the model has %d of %d", s[1].Name, s[1].Shape[1], s[1].Shape[3]*l.group, kv.Heads, kv.HeadDim).
			Try("Give the model that the cache was made with.")
	}
	m.Format = quant.Format{Kind: quant.Affine, DType: to, Bits: l.bits, Group: l.group}
	for i, part := range []*[]byte{&m.Data, &m.Scales, &m.Biases} {
		t := to
		if i == 0 {
			t = quant.U32
		}
		if *part, err = gather(s[i], slots, t); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// halfMax is the largest float16.
const halfMax = 65504

// gather turns slots of x [1, heads, n, width] into [tokens, heads·width]: floats of type
// to, or packed integers as they are.
func gather(x weights.Tensor, slots []int, to quant.DType) ([]byte, error) {
	heads, width := x.Shape[1], x.Shape[3]
	head, piece := x.Shape[2]*width*x.DType.Size(), width*x.DType.Size()
	out := make([]byte, len(slots)*heads*width*to.Size())
	values := make([]float32, width)
	for token, slot := range slots {
		for h := range heads {
			src, dst := x.Data[h*head+slot*piece:][:piece], out[(token*heads+h)*width*to.Size():]
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
