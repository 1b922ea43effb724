package compute

import (
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

func f32(shape ...int) Spec { return Spec{shape, F32} }
func f16(shape ...int) Spec { return Spec{shape, F16} }
func i32(shape ...int) Spec { return Spec{shape, I32} }

// An inferCase is an op, its inputs, and part of the error that Infer must give. Where
// that is empty, out are the outputs.
type inferCase struct {
	name string
	op   Op
	in   []Spec
	err  string
	out  []Spec
}

var (
	denseWeight  = Weight{quant.Format{Kind: quant.Dense, DType: F32}, 3, 64}
	affineWeight = Weight{quant.Format{Kind: quant.Affine, DType: F16, Bits: 4, Group: 32}, 3, 64}
	affineParts  = []Spec{{Shape{3, 8}, U32}, f16(3, 2), f16(3, 2)}
	affineSpec   = Spec{Shape{3, 40}, U8}
	grouped      = Attention{Heads: 4, KVHeads: 2, HeadDim: 8, Scale: 1}
)

func with(first Spec, rest ...Spec) []Spec { return append([]Spec{first}, rest...) }

func inferCases() []inferCase {
	crossEntropy := []Spec{f32(5, 64), i32(5), f32(5), f32(3, 64)}
	attention := []Spec{f32(5, 32), f32(5, 16), f32(5, 16), i32(2)}
	gradient := []Spec{f32(5, 32), f32(5, 16), f32(5, 16), i32(2), f32(5, 32), f32(5, 4), f32(5, 32)}
	swap := func(l []Spec, i int, s Spec) []Spec {
		l = append([]Spec(nil), l...)
		l[i] = s
		return l
	}
	uneven := grouped
	uneven.KVHeads = 3
	wide := Attention{Heads: 4, KVHeads: 2, HeadDim: 32, Scale: 1}
	wider := quant.Format{Kind: quant.Affine, DType: F16, Bits: 4, Group: 64}
	halves := quant.Format{Kind: quant.Dense, DType: F16}
	cached, quantized := CacheAttention{grouped, halves}, CacheAttention{wide, affineWeight.Format}
	caches := []Spec{f32(5, 32), i32(2, 4), f16(9, 16), f16(9, 16), f16(4, 16), f16(4, 16)}
	packed := []Spec{f32(5, 128), i32(1, 4), {Shape{9, 8}, U32}, f16(9, 2), f16(9, 2), {Shape{9, 8}, U32}, f16(9, 2), f16(9, 2)}
	updates, adapters := LowRankRows{Scales: []float32{1, 2}}, []Spec{f32(5, 8), i32(2, 2), f32(8, 3), f32(3, 7), f32(8, 1), f32(1, 7)}
	store := StoreRows{Format: halves, Cols: 8, Rows: []int{9, 4}}
	return []inferCase{
		{"good", Adafactor{Stack: 2, Momentum: true}, []Spec{f32(6, 5), f32(6, 5), f32(2, 3), f32(2, 5), f32(6, 5), f32(2)}, "", []Spec{f32(6, 5), f32(2, 3), f32(2, 5), f32(6, 5)}},
		{"good vector", Adafactor{Stack: 1}, []Spec{f32(6), f32(6), f32(6), f32(2)}, "", []Spec{f32(6), f32(6)}},
		{"nothing", Adafactor{Stack: 1}, nil, "p is missing", nil},
		{"no stack", Adafactor{}, []Spec{f32(6), f32(6), f32(6), f32(2)}, "not a multiple of 0", nil},
		{"uneven stack", Adafactor{Stack: 4}, []Spec{f32(6, 5), f32(6, 5), f32(4, 1), f32(4, 5), f32(2)}, "not a multiple of 4", nil},
		{"three dimensions", Adafactor{Stack: 1}, []Spec{f32(6, 5, 4), f32(6, 5, 4), f32(1, 6), f32(1, 5), f32(2)}, "p has shape", nil},
		{"no first moment", Adafactor{Stack: 1, Momentum: true}, []Spec{f32(6), f32(6), f32(6), f32(2)}, "takes 5 inputs, 4 given", nil},
		{"moments of another shape", Adafactor{Stack: 1}, []Spec{f32(6, 5), f32(6, 5), f32(1, 6), f32(1, 6), f32(2)}, "moment 2 has shape", nil},
		{"good", Reshape{Shape{3, 2}}, []Spec{f32(1, 6)}, "", []Spec{f32(3, 2)}},
		{"other size", Reshape{Shape{3, 2}}, []Spec{f32(7)}, "cannot become", nil},
		{"good", Embed{Weight: denseWeight}, []Spec{i32(5), f32(3, 64)}, "", []Spec{f32(5, 64)}},
		{"good affine", Embed{Weight: affineWeight}, []Spec{i32(5), affineSpec}, "", []Spec{f32(5, 64)}},
		{"float ids", Embed{Weight: denseWeight}, []Spec{f32(5), f32(3, 64)}, "ids has type F32", nil},
		{"weight of another shape", Embed{Weight: denseWeight}, []Spec{i32(5), f32(3, 65)}, "weight is", nil},
		{"scales of another type", Embed{Weight: affineWeight}, []Spec{i32(5), {Shape{3, 48}, U8}}, "weight is U8 [3 48]", nil},
		{"the parts of an affine weight", Embed{Weight: affineWeight}, with(i32(5), affineParts...), "takes 2 inputs, 4 given", nil},
		{"no group", Embed{Weight: Weight{quant.Format{Kind: quant.Affine, DType: F16, Bits: 4}, 3, 64}}, []Spec{i32(5), affineSpec}, "weight:", nil},
		{"row not of whole groups", Embed{Weight: Weight{affineWeight.Format, 3, 48}}, []Spec{i32(5), affineSpec}, "multiple of 32", nil},
		{"row not of whole blocks", Embed{Weight: Weight{quant.Format{Kind: quant.Q4K}, 3, 64}}, []Spec{i32(5), {Shape{3, 36}, U8}}, "multiple of 256", nil},

		{"good", EmbedGrad{7}, []Spec{f32(5, 8), i32(5)}, "", []Spec{f32(7, 8)}},
		{"ids for other rows", EmbedGrad{7}, []Spec{f32(5, 8), i32(6)}, "ids has shape [6], want [5]", nil},
		{"dy of a vector", EmbedGrad{7}, []Spec{f32(5), i32(5)}, "dy has shape", nil},
		{"dy of a scalar", EmbedGrad{7}, []Spec{f32(), i32(5)}, "dy has shape", nil},
		{"dy in float16", EmbedGrad{7}, []Spec{f16(5, 8), i32(5)}, "", []Spec{f32(7, 8)}},
		{"dy in integers", EmbedGrad{7}, []Spec{{Shape{5, 8}, I32}, i32(5)}, "dy has type I32", nil},

		{"good", Linear{Weight: denseWeight, Bias: true}, []Spec{f32(5, 64), f32(3, 64), f16(3)}, "", []Spec{f32(5, 3)}},
		{"x of another width", Linear{Weight: denseWeight}, []Spec{f32(5, 63), f32(3, 64)}, "x has shape [5 63], want [-1 64]", nil},
		{"x in float16", Linear{Weight: denseWeight}, []Spec{f16(5, 64), f32(3, 64)}, "", []Spec{f32(5, 3)}},
		{"to float16", Linear{Weight: denseWeight, To: F16}, []Spec{f32(5, 64), f32(3, 64)}, "", []Spec{f16(5, 3)}},
		{"to integers", Linear{Weight: denseWeight, To: I32}, []Spec{f32(5, 64), f32(3, 64)}, "out has type I32", nil},
		{"u in float16, v too", Linear{Weight: denseWeight, Rank: 2}, []Spec{f16(5, 64), f32(3, 64), f16(5, 2), f16(2, 3)}, "v has type F16", nil},
		{"no bias", Linear{Weight: denseWeight, Bias: true}, []Spec{f32(5, 64), f32(3, 64)}, "takes 3 inputs", nil},
		{"bias not wanted", Linear{Weight: denseWeight}, []Spec{f32(5, 64), f32(3, 64), f32(3)}, "takes 2 inputs", nil},
		{"bias of another length", Linear{Weight: denseWeight, Bias: true}, []Spec{f32(5, 64), f32(3, 64), f32(4)}, "bias has shape", nil},
		{"bias of integers", Linear{Weight: denseWeight, Bias: true}, []Spec{f32(5, 64), f32(3, 64), i32(3)}, "bias has type I32", nil},

		{"good", LinearGradInput{Weight: denseWeight}, []Spec{f32(5, 3), f32(3, 64)}, "", []Spec{f32(5, 64)}},
		{"update", Linear{Weight: denseWeight, Rank: 2}, []Spec{f32(5, 64), f32(3, 64), f32(5, 2), f32(2, 3)}, "", []Spec{f32(5, 3)}},
		{"no update", Linear{Weight: denseWeight, Rank: 2}, []Spec{f32(5, 64), f32(3, 64)}, "takes 4 inputs", nil},
		{"u of another length", Linear{Weight: denseWeight, Rank: 2}, []Spec{f32(5, 64), f32(3, 64), f32(4, 2), f32(2, 3)}, "u has shape", nil},
		{"v transposed", Linear{Weight: denseWeight, Rank: 2}, []Spec{f32(5, 64), f32(3, 64), f32(5, 2), f32(3, 2)}, "v has shape", nil},
		{"update of the gradient", LinearGradInput{Weight: denseWeight, Rank: 2}, []Spec{f32(5, 3), f32(3, 64), f32(5, 2), f32(64, 2)}, "", []Spec{f32(5, 64)}},
		{"v of another rank", LinearGradInput{Weight: denseWeight, Rank: 2}, []Spec{f32(5, 3), f32(3, 64), f32(5, 2), f32(64, 3)}, "v has shape", nil},
		{"dy as wide as x", LinearGradInput{Weight: denseWeight}, []Spec{f32(5, 64), f32(3, 64)}, "dy has shape", nil},

		{"good", MatMul{TransA: true}, []Spec{f32(6, 5), f32(6, 7)}, "", []Spec{f32(5, 7)}},
		{"good", MatMul{TransB: true}, []Spec{f32(5, 6), f32(7, 6)}, "", []Spec{f32(5, 7)}},
		{"inner extents differ", MatMul{}, []Spec{f32(5, 6), f32(7, 6)}, "b has shape [7 6], want [6 6]", nil},
		{"a of a vector", MatMul{}, []Spec{f32(6), f32(6, 7)}, "a has shape", nil},
		{"b in float16", MatMul{}, []Spec{f32(5, 6), f16(6, 7)}, "", []Spec{f32(5, 7)}},
		{"b in integers", MatMul{}, []Spec{f32(5, 6), {Shape{6, 7}, I32}}, "b has type I32", nil},

		{"good", SumRows{}, []Spec{f32(5, 6)}, "", []Spec{f32(6)}},
		{"nothing", SumRows{}, nil, "takes 1 inputs, 0 given", nil},
		{"a vector", SumRows{}, []Spec{f32(6)}, "x has shape", nil},

		{"good, by head", RMSNorm{}, []Spec{f32(5, 24), f16(8)}, "", []Spec{f32(5, 24)}},
		{"row not of whole heads", RMSNorm{}, []Spec{f32(5, 23), f32(8)}, "row of x is 23, not a multiple of 8", nil},
		{"w of a scalar", RMSNorm{}, []Spec{f32(5, 24), f32()}, "w has shape", nil},
		{"w of integers", RMSNorm{}, []Spec{f32(5, 24), i32(8)}, "w has type I32", nil},
		{"w without elements", RMSNorm{}, []Spec{f32(5, 24), f32(0)}, "multiple of 0", nil},

		{"good", RMSNormGrad{Weight: true}, []Spec{f32(5, 24), f16(8), f32(5, 24)}, "", []Spec{f32(5, 24), f32(8)}},
		{"dy of another shape", RMSNormGrad{}, []Spec{f32(5, 24), f32(8), f32(5, 8)}, "dy has shape", nil},
		{"dy in float16", RMSNormGrad{}, []Spec{f32(5, 24), f32(8), f16(5, 24)}, "dy has type", nil},

		{"good", RopeTable{}, []Spec{i32(5), f32(4)}, "", []Spec{f32(5, 4), f32(5, 4)}},
		{"float positions", RopeTable{}, []Spec{f32(5), f32(4)}, "positions has type", nil},
		{"frequencies of a matrix", RopeTable{}, []Spec{i32(5), f32(4, 1)}, "frequencies has shape", nil},

		{"good, a part turned", RoPE{HeadDim: 12}, []Spec{f32(5, 24), f32(5, 4), f32(5, 4)}, "", []Spec{f32(5, 24)}},
		{"row not of whole heads", RoPE{HeadDim: 7}, []Spec{f32(5, 24), f32(5, 3), f32(5, 3)}, "multiple of 7", nil},
		{"x of a vector", RoPE{HeadDim: 12}, []Spec{f32(24), f32(5, 4), f32(5, 4)}, "x has shape", nil},
		{"more angles than a head has pairs", RoPE{HeadDim: 6}, []Spec{f32(5, 24), f32(5, 4), f32(5, 4)}, "cos turns 8 values, a head has 6", nil},
		{"angles of other tokens", RoPE{HeadDim: 12}, []Spec{f32(5, 24), f32(6, 4), f32(6, 4)}, "cos has shape", nil},
		{"sin unlike cos", RoPE{HeadDim: 12}, []Spec{f32(5, 24), f32(5, 4), f32(5, 3)}, "sin has shape", nil},
		{"sin in float16", RoPE{HeadDim: 12}, []Spec{f32(5, 24), f32(5, 4), f16(5, 4)}, "sin has type", nil},

		{"good", grouped, attention, "", []Spec{f32(5, 32), f32(5, 4)}},
		{"heads not in whole groups", uneven, attention, "not a multiple of 3", nil},
		{"k of more tokens", grouped, swap(attention, 1, f32(9, 16)), "k has shape", nil},
		{"v unlike k", grouped, swap(attention, 2, f32(8, 16)), "v has shape", nil},
		{"v of another type", grouped, swap(attention, 2, f16(5, 16)), "v has type", nil},
		{"k of integers", grouped, swap(attention, 1, i32(5, 16)), "k has type", nil},
		{"q of fewer heads", grouped, swap(attention, 0, f32(5, 24)), "q has shape", nil},
		{"no bounds", grouped, swap(attention, 3, i32(1)), "bounds has 1 entries", nil},
		{"no heads", Attention{}, attention, "positive heads", nil},

		{"good", cached, caches, "", []Spec{f32(5, 32)}},
		{"spans of two numbers", cached, swap(caches, 1, i32(2, 2)), "spans has shape", nil},
		{"spans in float32", cached, swap(caches, 1, f32(2, 4)), "spans has type", nil},
		{"a span without a cache", cached, swap(caches, 1, i32(3, 4)), "takes 8 inputs, 6 given", nil},
		{"keys in float32", cached, swap(caches, 2, f32(9, 16)), "k 0: matrix buffer 0", nil},
		{"values of fewer rows", cached, swap(caches, 5, f16(3, 16)), "v 1: matrix buffer 0", nil},
		{"q of fewer heads", cached, swap(caches, 0, f32(5, 24)), "q has shape", nil},
		{"nothing", cached, nil, "spans is missing", nil},
		{"blocks", CacheAttention{grouped, quant.Format{Kind: quant.Q4K}}, caches, "want affine", nil},
		{"good", quantized, packed, "", []Spec{f32(5, 128)}},
		{"group wider than a head", CacheAttention{wide, wider}, packed, "head size is 32, not a multiple of 64", nil},
		{"k for other heads", quantized, swap(packed, 2, Spec{Shape{9, 9}, U32}), "k 0: matrix buffer 0", nil},
		{"v of fewer rows", quantized, swap(packed, 6, f16(8, 2)), "v 0: matrix buffer 1", nil},
		{"k without rows", quantized, swap(packed, 2, f32()), "k 0: weight has shape", nil},
		{"no v", quantized, packed[:5], "takes 8 inputs, 5 given", nil},

		{"good", AttentionGrad{grouped}, gradient, "", gradient[:3]},
		{"lse of the row", AttentionGrad{grouped}, swap(gradient, 5, f32(5)), "lse has shape", nil},
		{"do of another shape", AttentionGrad{grouped}, swap(gradient, 6, f32(4, 32)), "do has shape", nil},

		{"good", SwiGLU{}, []Spec{f32(5, 8), f32(5, 8)}, "", []Spec{f32(5, 8)}},
		{"up of another shape", SwiGLU{}, []Spec{f32(5, 8), f32(8, 5)}, "up has shape", nil},
		{"good", SwiGLUGrad{}, []Spec{f32(5, 8), f32(5, 8), f32(5, 8)}, "", []Spec{f32(5, 8), f32(5, 8)}},
		{"no dy", SwiGLUGrad{}, []Spec{f32(5, 8), f32(5, 8)}, "takes 3 inputs", nil},

		{"good", Add{}, []Spec{f32(5), f32(5)}, "", []Spec{f32(5)}},
		{"b of another shape", Add{}, []Spec{f32(5), f32(5, 1)}, "b has shape", nil},
		{"in float16", Add{}, []Spec{f16(5), f16(5)}, "", []Spec{f16(5)}},
		{"in two types", Add{}, []Spec{f16(5), f32(5)}, "b has type F32", nil},
		{"in integers", Scale{}, []Spec{i32(5)}, "x has type I32", nil},
		{"good", Scale{}, []Spec{f32(5)}, "", []Spec{f32(5)}},
		{"good", ScaleBy{}, []Spec{f32(5), f32(1)}, "", []Spec{f32(5)}},
		{"two numbers", ScaleBy{}, []Spec{f32(5), f32(2)}, "by has shape", nil},
		{"two inputs", Scale{}, []Spec{f32(5), f32(5)}, "takes 1 inputs", nil},
		{"good", Fill{Shape: Shape{2, 3}}, nil, "", []Spec{f32(2, 3)}},
		{"an input", Fill{Shape: Shape{2, 3}}, []Spec{f32(2, 3)}, "takes 0 inputs", nil},

		{"good", CopyRows{Rows: 9, To: F16}, []Spec{f32(5, 8)}, "", []Spec{f16(9, 8)}},
		{"the first rows", CopyRows{Rows: 4, To: F16}, []Spec{f32(5, 8)}, "", []Spec{f16(4, 8)}},
		{"from integers", CopyRows{Rows: 9, To: F32}, []Spec{i32(5, 8)}, "x has type I32", nil},
		{"to integers", CopyRows{Rows: 9, To: I32}, []Spec{f32(5, 8)}, "out has type", nil},
		{"nothing", CopyRows{Rows: 9, To: F16}, nil, "takes 1 inputs", nil},

		{"good, packed", CopyRows{Rows: 9, To: U32}, []Spec{{Shape{5, 8}, U32}}, "", []Spec{{Shape{9, 8}, U32}}},
		{"packed to floats", CopyRows{Rows: 9, To: F16}, []Spec{{Shape{5, 8}, U32}}, "x has type U32", nil},
		{"floats to packed", CopyRows{Rows: 9, To: U32}, []Spec{f32(5, 8)}, "out has type U32", nil},
		{"good", QuantizeRows{affineWeight}, []Spec{f16(3, 64)}, "", affineParts},
		{"fewer rows", QuantizeRows{affineWeight}, []Spec{f16(2, 64)}, "x has shape", nil},
		{"to floats", QuantizeRows{denseWeight}, []Spec{f32(3, 64)}, "stored as f32, want affine", nil},
		{"good", store, []Spec{f32(5, 8), i32(2, 4)}, "", []Spec{f16(9, 8), f16(4, 8)}},
		{"good, packed", StoreRows{affineWeight.Format, 64, []int{3}}, []Spec{f32(5, 64), i32(1, 4)}, "", affineParts},
		{"a cache without a span", store, []Spec{f32(5, 8), i32(1, 4)}, "1 spans for 2 caches", nil},
		{"rows of another width", store, []Spec{f32(5, 9), i32(2, 4)}, "x has shape", nil},
		{"an empty cache", StoreRows{halves, 8, []int{0}}, []Spec{f32(5, 8), i32(1, 4)}, "cache 0: weight has shape", nil},

		{"good", updates, adapters, "", []Spec{f32(5, 7)}},
		{"no update", LowRankRows{}, adapters[:2], "no updates", nil},
		{"matrices of one update", updates, adapters[:4], "takes 6 inputs, 4 given", nil},
		{"rows of one update", updates, swap(adapters, 1, i32(1, 2)), "rows has shape", nil},
		{"A of another width", updates, swap(adapters, 4, f32(7, 1)), "update 1: A has shape", nil},
		{"B of another rank", updates, swap(adapters, 3, f32(2, 7)), "update 0: B has shape", nil},
		{"B of another width", updates, swap(adapters, 5, f32(1, 8)), "update 1: B has shape", nil},

		{"good", GatherRows{}, []Spec{f32(5, 8), i32(3)}, "", []Spec{f32(3, 8)}},
		{"float rows", GatherRows{}, []Spec{f32(5, 8), f32(3)}, "rows has type", nil},
		{"good", ScatterRows{9}, []Spec{f32(3, 8), i32(3)}, "", []Spec{f32(9, 8)}},
		{"rows for another dy", ScatterRows{9}, []Spec{f32(3, 8), i32(4)}, "rows has shape", nil},
		{"dy of a scalar", ScatterRows{9}, []Spec{f32(), i32(4)}, "dy has shape", nil},
		{"dy in float16", ScatterRows{9}, []Spec{f16(3, 8), i32(3)}, "", []Spec{f16(9, 8)}},

		{"good", CrossEntropy{Weight: denseWeight}, crossEntropy, "", []Spec{f32(5)}},
		{"good", CrossEntropy{Weight: denseWeight, Grad: true, GradWeight: true}, crossEntropy, "", []Spec{f32(5), f32(5, 64), f32(3, 64)}},
		{"gradient of the weight alone", CrossEntropy{Weight: denseWeight, GradWeight: true}, crossEntropy, "GradWeight needs Grad", nil},
		{"h of another width", CrossEntropy{Weight: denseWeight}, swap(crossEntropy, 0, f32(5, 3)), "h has shape", nil},
		{"fewer targets", CrossEntropy{Weight: denseWeight}, swap(crossEntropy, 1, i32(4)), "targets has shape", nil},
		{"fewer row weights", CrossEntropy{Weight: denseWeight}, swap(crossEntropy, 2, f32(4)), "rowWeight has shape", nil},
		{"h of a scalar", CrossEntropy{Weight: denseWeight}, swap(crossEntropy, 0, f32()), "h has shape", nil},
		{"another weight", CrossEntropy{Weight: denseWeight}, swap(crossEntropy, 3, f16(3, 64)), "weight is", nil},

		{"good", CrossEntropyLogits{}, []Spec{f32(5, 9), i32(5), f32(5)}, "", []Spec{f32(5), f32(5, 9)}},
		{"float targets", CrossEntropyLogits{}, []Spec{f32(5, 9), f32(5), f32(5)}, "targets has type", nil},
		{"integer row weights", CrossEntropyLogits{}, []Spec{f32(5, 9), i32(5), i32(5)}, "rowWeight has type", nil},

		{"good", Adam{}, []Spec{f32(5), f32(5), f32(5), f32(5), f32(2)}, "", []Spec{f32(5), f32(5), f32(5)}},
		{"v of another shape", Adam{}, []Spec{f32(5), f32(5), f32(5), f32(4), f32(2)}, "v has shape", nil},
		{"good", SGD{}, []Spec{f32(5), f32(5), f32(5), f32(2)}, "", []Spec{f32(5), f32(5)}},
		{"no number of the update", SGD{}, []Spec{f32(5), f32(5), f32(5), f32(1)}, "rate has shape", nil},
		{"good", Descend{}, []Spec{f32(5), f32(5), f32(2)}, "", []Spec{f32(5)}},
		{"no rate", Descend{}, []Spec{f32(5), f32(5)}, "takes 3 inputs", nil},
		{"good", ArgMax{}, []Spec{f32(2, 5)}, "", []Spec{i32(2)}},
		{"no tokens", ArgMax{}, []Spec{f32(2, 0)}, "no token", nil},
		{"one row", Sample{Rows: []Sampling{{}}}, []Spec{f32(2, 5), {Shape{2, 2}, U32}}, "", []Spec{i32(2)}},
		{"settings of other rows", Sample{Rows: []Sampling{{}, {}, {}}}, []Spec{f32(2, 5), {Shape{2, 2}, U32}}, "2 rows of logits, settings of 3", nil},
		{"keys of other rows", Sample{Rows: []Sampling{{}}}, []Spec{f32(2, 5), {Shape{3, 2}, U32}}, "keys has shape", nil},
		{"no u", SGD{}, []Spec{f32(5), f32(5), f32(2)}, "takes 4 inputs", nil},
		{"good", SumSquares{}, []Spec{f32(5, 2, 3)}, "", []Spec{f32(1)}},
		{"nothing", SumSquares{}, nil, "takes 1 inputs", nil},
		{"integers", SumSquares{}, []Spec{i32(5)}, "x has type", nil},
		{"good", ClipFactor{Max: 1}, []Spec{f32(1)}, "", []Spec{f32(1)}},
		{"several sums", ClipFactor{Max: 1}, []Spec{f32(2)}, "squares has shape", nil},

		{"good", RowSquares{affineWeight}, []Spec{affineSpec}, "", []Spec{f32(3)}},
		{"another weight", RowSquares{denseWeight}, []Spec{f16(3, 64)}, "weight is", nil},
		{"nothing", RowSquares{denseWeight}, nil, "takes 1 inputs", nil},
		{"good", UpdatedNorm{}, []Spec{f32(5), f32(2, 5), f32(2, 5)}, "", []Spec{f32(5)}},
		{"b transposed", UpdatedNorm{}, []Spec{f32(5), f32(5, 2), f32(2, 5)}, "b has shape", nil},
		{"c of another rank", UpdatedNorm{}, []Spec{f32(5), f32(2, 5), f32(3, 5)}, "c has shape", nil},
		{"good", Magnitude{}, []Spec{f32(5, 8), f32(8), f32(8)}, "", []Spec{f32(5, 8)}},
		{"good", Magnitude{Bias: true}, []Spec{f32(5, 8), f32(8), f32(8), f16(8)}, "", []Spec{f32(5, 8)}},
		{"no bias", Magnitude{Bias: true}, []Spec{f32(5, 8), f32(8), f32(8)}, "takes 4 inputs", nil},
		{"m of another width", Magnitude{}, []Spec{f32(5, 8), f32(5), f32(8)}, "m has shape", nil},
		{"norm in float16", Magnitude{}, []Spec{f32(5, 8), f32(8), f16(8)}, "norm has type", nil},
		{"good", MagnitudeGrad{}, []Spec{f32(5, 8), f32(8), f32(8), f32(5, 8)}, "", []Spec{f32(5, 8), f32(8)}},
		{"dy of another shape", MagnitudeGrad{}, []Spec{f32(5, 8), f32(8), f32(8), f32(8, 5)}, "dy has shape", nil},

		{"good", Dropout{Rate: 0.5, Row: 1}, []Spec{f32(5), {Shape{2, 2}, U32}}, "", []Spec{f32(5)}},
		{"no such key", Dropout{Rate: 0.5, Row: 2}, []Spec{f32(5), {Shape{2, 2}, U32}}, "key 2 of 2", nil},
		{"no keys", Dropout{Rate: 0.5}, []Spec{f32(5)}, "takes 2 inputs", nil},
		{"rate of 1", Dropout{Rate: 1}, []Spec{f32(5), {Shape{1, 2}, U32}}, "rate is 1", nil},
		{"negative rate", Dropout{Rate: -0.1}, []Spec{f32(5), {Shape{1, 2}, U32}}, "rate is -0.1", nil},
	}
}

func TestInfer(t *testing.T) {
	for _, tt := range append(inferCases(), expertInferCases()...) {
		t.Run(tt.op.Name()+"/"+tt.name, func(t *testing.T) {
			out, err := Infer(tt.op, tt.in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || !strings.HasPrefix(err.Error(), tt.op.Name()+": ") {
					t.Fatalf("error %v, want %q after the op's name", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(tt.op, tt.out, tt.in); err != nil {
				t.Errorf("got %v: %v", out, err)
			}
			if c := tt.op.Cost(tt.in); c.FLOPs < 0 || c.Bytes <= 0 {
				t.Errorf("cost %+v", c)
			}
		})
	}
}

// TestInferNeverPanics hands every op inputs that are missing or of no rank.
func TestInferNeverPanics(t *testing.T) {
	for _, tt := range append(inferCases(), expertInferCases()...) {
		for n := range len(tt.in) + 2 {
			in := make([]Spec, n)
			for i := range in {
				in[i] = Spec{nil, F32}
			}
			tt.op.Infer(in) // an error or not: no panic
		}
	}
}
