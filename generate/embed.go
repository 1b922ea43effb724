package generate

import (
	"context"
	"errors"
	"math"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/tensor"
)

// Embed gives a vector [hidden] for a text: the mean of what the model has for each token before its head, of length 1.
// A model that was not trained for it compares texts, but coarsely.
func Embed(ctx context.Context, m *model.Model, tokens []int32) ([]float32, error) {
	if len(tokens) == 0 {
		return nil, errors.New("the text has no tokens")
	}
	if err := m.CheckTokens(tokens); err != nil {
		return nil, err
	}
	if most := m.Config.MaxPositionEmbeddings; most > 0 && len(tokens) > most {
		return nil, fault.Of("the text has %d tokens, the model takes %d (max_position_embeddings)", len(tokens), most).Try("Shorten it.")
	}
	t := tensor.NewTape(m.Device())
	t.Reset(false)
	t.Stop = ctx.Err
	var rows []float32 // [T, hidden]
	t.Scope(func() *tensor.Tensor {
		x, pass := m.Begin(t, model.Sequence(tokens, 0), nil)
		rows = t.Read(m.Final(t, m.Layers(t, x, pass, 0, len(m.Blocks), false)))
		return nil
	})
	if err := t.Err(); err != nil {
		return nil, err
	}
	width := len(rows) / len(tokens)
	sum, length := make([]float64, width), 0.0
	for i, v := range rows {
		sum[i%width] += float64(v)
	}
	for _, v := range sum {
		length += v * v
	}
	out := make([]float32, width)
	if length = math.Sqrt(length); !(length > 0 && !math.IsInf(length, 0)) {
		return nil, errors.New("the model's output is not a finite number: the weights are not usable")
	}
	for i, v := range sum {
		out[i] = float32(v / length)
	}
	return out, nil
}
