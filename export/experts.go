package export

import (
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// apart writes the stacks of a model without quantized matrices as a tensor for
// each expert, which transformers, llama.cpp's converter and mlx-lm read. A
// quantized model keeps its stacks, as MLX has them.
func apart(entries []weights.Entry) []weights.Entry {
	for _, e := range entries {
		if strings.HasSuffix(e.Name, ".scales") {
			return entries
		}
	}
	var out []weights.Entry
	for _, e := range entries {
		if _, ok := weights.ExpertTensor(e.Name, 0); !ok || len(e.Shape) != 3 {
			out = append(out, e)
			continue
		}
		var all []byte // of the stack, from its first expert to its last
		experts := e.Shape[0]
		for i := range experts {
			name, _ := weights.ExpertTensor(e.Name, i)
			out = append(out, weights.Entry{Name: name, DType: e.DType, Shape: e.Shape[1:], Bytes: func() ([]byte, error) {
				if all == nil {
					var err error
					if all, err = e.Bytes(); err != nil {
						return nil, err
					}
				}
				data := all[i*len(all)/experts : (i+1)*len(all)/experts]
				if i == experts-1 {
					all = nil
				}
				return data, nil
			}})
		}
	}
	return out
}

// expertUpdates are the updates scale·B A of a stack, [experts·out, in].
func expertUpdates(dev compute.Device, l *nn.LoRA) ([]float32, error) {
	a, err := tensor.ReadFloats(dev, l.A) // [experts·r, in]
	if err != nil {
		return nil, err
	}
	b, err := tensor.ReadFloats(dev, l.B) // [experts·out, r]
	if err != nil {
		return nil, err
	}
	rank, in, out := l.Rank(), l.A.Cols(), l.B.Rows()/l.Experts
	all := make([]float32, 0, l.B.Rows()*in)
	for i := range l.Experts {
		one, err := expertUpdate(dev, l.Scale, b[i*out*rank:(i+1)*out*rank], a[i*rank*in:(i+1)*rank*in], rank)
		if err != nil {
			return nil, err
		}
		all = append(all, one...)
	}
	return all, nil
}

// expertUpdate is scale·B A [out, in] of one expert.
func expertUpdate(dev compute.Device, scale float32, b, a []float32, rank int) ([]float32, error) {
	out, in := len(b)/rank, len(a)/rank
	left, err := tensor.NewFloats(dev, compute.Shape{out, rank}, b)
	if err != nil {
		return nil, err
	}
	defer left.Free()
	right, err := tensor.NewFloats(dev, compute.Shape{rank, in}, a)
	if err != nil {
		return nil, err
	}
	defer right.Free()
	return product(dev, compute.MatMul{Alpha: scale}, compute.Shape{out, in}, left, right)
}
