package cuda

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// BenchmarkProductsAlone times the products with weights of a training step of the Ministral-8B shape over 2048 tokens, and
// nothing else: what they allow.
func BenchmarkProductsAlone(b *testing.B) {
	d := card(b, "")
	const tokens, blocks, hidden, inner, keys, vocab = 2048, 36, 4096, 12288, 1024, 131072
	r := rand.New(rand.NewPCG(3, 4))
	numbers := make([]float32, 1<<16)
	for i := range numbers {
		numbers[i] = float32(r.NormFloat64())
	}
	some := make([]byte, 2*len(numbers))
	quant.PutFloats(some, numbers, compute.BF16)
	matrices := func(widths ...int) map[int]compute.Buffer { // [tokens, width] each, of numbers that keep the card as busy as others
		m := map[int]compute.Buffer{}
		for _, w := range widths {
			y, err := d.Alloc(compute.Shape{tokens, w}, compute.BF16)
			if err != nil {
				b.Fatal(err)
			}
			if err := d.Write(y, bytes.Repeat(some, tokens*w/len(numbers))); err != nil {
				b.Fatal(err)
			}
			m[w] = y
		}
		return m
	}
	x, dx := matrices(hidden, inner), matrices(hidden, inner)
	y, dy := matrices(hidden, inner, keys, vocab), matrices(hidden, inner, keys, vocab)
	var forward, back []func() error
	for _, s := range [][2]int{{hidden, hidden}, {keys, hidden}, {keys, hidden}, {hidden, hidden}, {inner, hidden}, {inner, hidden}, {hidden, inner}, {vocab, hidden}} {
		w, err := d.ImportWeight(weight4(s[0], s[1]))
		if err != nil {
			b.Fatal(err)
		}
		weight := compute.WeightOf(w.(*buffer).weight)
		forward = append(forward, func() error {
			return d.Run(compute.Linear{Weight: weight, Exact: true, To: compute.BF16}, []compute.Buffer{y[s[0]]}, []compute.Buffer{x[s[1]], w})
		})
		back = append(back, func() error {
			return d.Run(compute.LinearGradInput{Weight: weight, To: compute.BF16}, []compute.Buffer{dx[s[1]]}, []compute.Buffer{dy[s[0]], w})
		})
	}
	last := len(forward) - 1 // the head
	for _, trained := range []int{16, blocks} {
		b.Run(fmt.Sprintf("%d of %d layers", trained, blocks), func(b *testing.B) {
			step := func() {
				run := func(list []func() error) {
					for _, f := range list {
						if err := f(); err != nil {
							b.Fatal(err)
						}
					}
				}
				for range blocks {
					run(forward[:last])
				}
				run(forward[last:])
				run(back[last:])
				for range trained {
					run(back[:last])
				}
				if err := d.Sync(); err != nil {
					b.Fatal(err)
				}
			}
			step() // the driver loads a kernel when it is first used
			b.ResetTimer()
			for b.Loop() {
				step()
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(tokens*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
