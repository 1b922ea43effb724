package mlxc

import (
	"fmt"
	"unsafe"

	"github.com/lentil-lm/lentil/internal/cstring"
)

// A Graph adds nodes on a stream; nothing is computed before Eval. Its methods run on the library's thread. The first
// error sticks, and all that follows does nothing: Close tells it.
//
// Arrays that methods return live until Close, unless they are taken with Keep.
type Graph struct {
	lib   *Library
	s     Stream
	temps []Array
	err   error
	res   *Array      // where the library writes a result
	all   [16]uintptr // arguments of a call
}

// NewGraph begins a graph.
func (l *Library) NewGraph(s Stream) *Graph { return &Graph{lib: l, s: s, res: new(Array)} }

// Close frees what was not kept and returns the first error. The graph can be used again.
func (g *Graph) Close() error {
	for _, a := range g.temps {
		g.lib.Free(a)
	}
	err := g.err
	g.temps, g.err = g.temps[:0], nil
	return err
}

// Fail keeps an error.
func (g *Graph) Fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

// Failed tells whether there was an error.
func (g *Graph) Failed() bool { return g.err != nil }

// Keep returns a handle of a's array that lives on after Close: a itself where a method just gave it.
func (g *Graph) Keep(a Array) Array {
	if g.err != nil {
		return 0
	}
	if last := len(g.temps) - 1; last >= 0 && g.temps[last] == a {
		g.temps = g.temps[:last]
		return a
	}
	*g.res = 0
	g.Fail(g.lib.do(arraySet, uintptr(unsafe.Pointer(g.res)), uintptr(a)))
	if *g.res != 0 {
		g.lib.live++
		g.lib.types.note(*g.res, g.lib.types.of(a))
	}
	return *g.res
}

// Free gives a kept handle back.
func (l *Library) Free(a Array) {
	if a != 0 {
		l.live--
		l.types.forget(a)
		l.call(arrayFree, uintptr(a))
	}
}

// node calls a function whose first argument is the place of its result, and whose last is the stream.
//
//go:uintptrescapes
func (g *Graph) node(f function, args ...uintptr) Array {
	if g.err != nil {
		return 0
	}
	*g.res = 0
	n := copy(g.all[1:], args)
	g.all[0], g.all[n+1] = uintptr(unsafe.Pointer(g.res)), uintptr(g.s)
	return g.result(f, int32(g.lib.call(f, g.all[:n+2]...)))
}

// alike is node for functions whose result is of the type of all their arrays, where that is one.
//
//go:uintptrescapes
func (g *Graph) alike(arrays []Array, f function, args ...uintptr) Array {
	t := g.lib.types.of(arrays[0])
	for _, a := range arrays[1:] {
		if g.lib.types.of(a) != t {
			t = unknown
		}
	}
	y := g.node(f, args...)
	g.lib.types.note(y, t)
	return y
}

// unary is node of one array, of whose type the result is if these are floats.
func (g *Graph) unary(f function, a Array) Array {
	y := g.node(f, uintptr(a))
	if t := g.lib.types.of(a); t >= F16 {
		g.lib.types.note(y, t)
	}
	return y
}

// binary is unary of two arrays.
func (g *Graph) binary(f function, a, b Array) Array {
	y := g.node(f, uintptr(a), uintptr(b))
	if t := g.lib.types.of(a); t >= F16 && t == g.lib.types.of(b) {
		g.lib.types.note(y, t)
	}
	return y
}

// typesOf remembers the types of arrays made lately, so that none is cast to the type that it has.
type typesOf [256]struct {
	a Array
	t Type
}

const unknown = Type(255)

// place is where a's type is, if it is here. Handles are addresses, a multiple of 16 apart.
func (m *typesOf) place(a Array) int { return int(a>>4) % len(m) }

// of is a's type, or unknown.
func (m *typesOf) of(a Array) Type {
	if e := m[m.place(a)]; e.a == a {
		return e.t
	}
	return unknown
}

func (m *typesOf) note(a Array, t Type) {
	if a != 0 && t != unknown {
		m[m.place(a)].a, m[m.place(a)].t = a, t
	}
}

// forget is for a handle that is given back: its address may become another one's.
func (m *typesOf) forget(a Array) {
	if e := &m[m.place(a)]; e.a == a {
		e.a = 0
	}
}

// result takes what a function wrote.
func (g *Graph) result(f function, status int32) Array {
	if err := g.lib.check(f, status); err != nil {
		g.Fail(err)
		return 0
	}
	if *g.res == 0 {
		g.Fail(fmt.Errorf("mlx_%s gave no array", names[f]))
		return 0
	}
	g.lib.live++
	g.temps = append(g.temps, *g.res)
	return *g.res
}

// New copies host bytes into an array. No dimension makes a scalar.
func (g *Graph) New(data []byte, t Type, shape ...int) Array {
	if g.err != nil {
		return 0
	}
	dims := ints(shape)
	if len(data) == 0 {
		return g.Zeros(t, shape...)
	}
	a := Array(g.lib.call(arrayNewData, uintptr(unsafe.Pointer(&data[0])), uintptr(unsafe.Pointer(&dims[0])), uintptr(len(shape)), uintptr(t)))
	if a == 0 {
		g.Fail(g.lib.check(arrayNewData, 1))
		return 0
	}
	g.lib.live++
	g.lib.types.note(a, t)
	g.temps = append(g.temps, a)
	return a
}

// Float is a scalar F32.
func (g *Graph) Float(v float32) Array {
	return g.New(unsafe.Slice((*byte)(unsafe.Pointer(&v)), 4), F32)
}

// Int is a scalar I32.
func (g *Graph) Int(v int) Array {
	n := int32(v)
	return g.New(unsafe.Slice((*byte)(unsafe.Pointer(&n)), 4), I32)
}

// ints are extents as C takes them, with one entry at least, so that there is an address.
func ints(v []int) []int32 {
	out := make([]int32, max(len(v), 1))
	for i, n := range v {
		out[i] = int32(n)
	}
	return out
}

// Start queues the computation of arrays and of all that they need.
func (g *Graph) Start(arrays []Array) {
	if g.err != nil || len(arrays) == 0 {
		return
	}
	v := g.lib.call(vectorNewData, uintptr(unsafe.Pointer(&arrays[0])), uintptr(len(arrays)))
	g.Fail(g.lib.do(asyncEval, v))
	g.lib.call(vectorFree, v)
}

// Bytes is the size of an array's content.
func (g *Graph) Bytes(a Array) int { return int(g.lib.call(arrayBytes, uintptr(a))) }

// Read waits for a and copies it out. What was queued behind a is not waited for, unless its elements must be put in order.
func (g *Graph) Read(a Array, dst []byte) {
	if len(dst) == 0 {
		return
	}
	for range 2 {
		if g.err == nil {
			g.Fail(g.lib.do(arrayEval, uintptr(a)))
		}
		if g.err != nil || g.isOrdered(a) {
			break
		}
		a = g.Contiguous(a)
	}
	if g.err != nil {
		return
	}
	if n := int(g.lib.call(arrayBytes, uintptr(a))); n != len(dst) {
		g.Fail(fmt.Errorf("MLX: an array of %d bytes is read into %d", n, len(dst)))
		return
	}
	copy(dst, unsafe.Slice(pointer(g.lib.call(arrayData, uintptr(a))), len(dst)))
}

// isOrdered reports whether a's elements lie in the order of their indices.
func (g *Graph) isOrdered(a Array) bool {
	n := int(g.lib.call(arrayDims, uintptr(a)))
	if n == 0 {
		return true
	}
	shape := unsafe.Slice((*int32)(unsafe.Pointer(pointer(g.lib.call(arrayShape, uintptr(a))))), n)
	strides := unsafe.Slice((*uint64)(unsafe.Pointer(pointer(g.lib.call(arrayStrides, uintptr(a))))), n)
	next := uint64(1)
	for i := n - 1; i >= 0; i-- {
		if shape[i] != 1 && strides[i] != next {
			return false
		}
		next *= uint64(shape[i])
	}
	return true
}

// Elementwise ops of two arrays, whose shapes are broadcast.

func (g *Graph) Add(a, b Array) Array          { return g.binary(add, a, b) }
func (g *Graph) Subtract(a, b Array) Array     { return g.binary(subtract, a, b) }
func (g *Graph) Multiply(a, b Array) Array     { return g.binary(multiply, a, b) }
func (g *Graph) Divide(a, b Array) Array       { return g.binary(divide, a, b) }
func (g *Graph) Maximum(a, b Array) Array      { return g.binary(maximum, a, b) }
func (g *Graph) Minimum(a, b Array) Array      { return g.binary(minimum, a, b) }
func (g *Graph) Greater(a, b Array) Array      { return g.node(greater, uintptr(a), uintptr(b)) }
func (g *Graph) ShiftLeft(a, b Array) Array    { return g.node(shiftLeft, uintptr(a), uintptr(b)) }
func (g *Graph) ShiftRight(a, b Array) Array   { return g.node(shiftRight, uintptr(a), uintptr(b)) }
func (g *Graph) And(a, b Array) Array          { return g.node(bitwiseAnd, uintptr(a), uintptr(b)) }
func (g *Graph) Equal(a, b Array) Array        { return g.node(equal, uintptr(a), uintptr(b)) }
func (g *Graph) GreaterEqual(a, b Array) Array { return g.node(greaterEqual, uintptr(a), uintptr(b)) }

// Where is a where cond is true, else b.
func (g *Graph) Where(cond, a, b Array) Array {
	return g.node(where, uintptr(cond), uintptr(a), uintptr(b))
}

// Elementwise ops of one array.

func (g *Graph) Negative(a Array) Array { return g.unary(negative, a) }
func (g *Graph) Square(a Array) Array   { return g.unary(square, a) }
func (g *Graph) Sqrt(a Array) Array     { return g.unary(sqrt, a) }
func (g *Graph) Rsqrt(a Array) Array    { return g.unary(rsqrt, a) }
func (g *Graph) Exp(a Array) Array      { return g.unary(exp, a) }
func (g *Graph) Expm1(a Array) Array    { return g.unary(expm1, a) }
func (g *Graph) Log(a Array) Array      { return g.unary(log, a) }
func (g *Graph) Log1p(a Array) Array    { return g.unary(log1p, a) }
func (g *Graph) Tanh(a Array) Array     { return g.unary(tanh, a) }
func (g *Graph) Sigmoid(a Array) Array  { return g.unary(sigmoid, a) }
func (g *Graph) Cos(a Array) Array      { return g.unary(cosine, a) }
func (g *Graph) Sin(a Array) Array      { return g.unary(sine, a) }
func (g *Graph) IsFinite(a Array) Array { return g.node(isFinite, uintptr(a)) }

// Round rounds to whole numbers, ties to even.
func (g *Graph) Round(a Array) Array { return g.node(round, uintptr(a), 0) }

// As is a in another type, or a itself where that is its type.
func (g *Graph) As(a Array, t Type) Array {
	if g.lib.types.of(a) == t {
		return a
	}
	y := g.node(astype, uintptr(a), uintptr(t))
	g.lib.types.note(y, t)
	return y
}

// Reductions over one axis, negative from the last on, which stays with an extent of 1 where keep is set.

func (g *Graph) Sum(a Array, axis int, keep bool) Array { return g.axis(sumAxis, a, axis, keep) }
func (g *Graph) All(a Array, axis int, keep bool) Array { return g.axis(allAxis, a, axis, keep) }
func (g *Graph) Max(a Array, axis int, keep bool) Array { return g.axis(maxAxis, a, axis, keep) }
func (g *Graph) Min(a Array, axis int, keep bool) Array { return g.axis(minAxis, a, axis, keep) }
func (g *Graph) LogSumExp(a Array, axis int, keep bool) Array {
	return g.axis(logSumExpAxis, a, axis, keep)
}
func (g *Graph) ArgMax(a Array, axis int, keep bool) Array { return g.axis(argMaxAxis, a, axis, keep) }
func (g *Graph) ArgMin(a Array, axis int, keep bool) Array { return g.axis(argMinAxis, a, axis, keep) }

func (g *Graph) axis(f function, a Array, axis int, keep bool) Array {
	return g.node(f, uintptr(a), number(axis), flag(keep))
}

// Softmax is exp(a) over its sum along an axis. Sums are float32, whatever the type.
func (g *Graph) Softmax(a Array, axis int) Array {
	const precise = 1
	return g.alike([]Array{a}, softmaxAxis, uintptr(a), number(axis), precise)
}

// CumSum are the sums up to each element along an axis.
func (g *Graph) CumSum(a Array, axis int) Array {
	const reverse, inclusive = 0, 1
	if g.lib.minor < 7 {
		return g.node(cumSumAxis, uintptr(a), number(axis), reverse, inclusive)
	}
	return g.node(cumSumAxis, uintptr(a), number(axis), reverse, inclusive, 0) // of its own type
}

// number is an int argument of C.
func number(n int) uintptr { return uintptr(uint32(int32(n))) }

func flag(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}

// Reshape gives a another shape; one extent may be -1.
func (g *Graph) Reshape(a Array, shape ...int) Array {
	dims := ints(shape)
	return g.alike([]Array{a}, reshape, uintptr(a), uintptr(unsafe.Pointer(&dims[0])), uintptr(len(shape)))
}

// BroadcastTo repeats a along extents of 1.
func (g *Graph) BroadcastTo(a Array, shape ...int) Array {
	dims := ints(shape)
	return g.alike([]Array{a}, broadcastTo, uintptr(a), uintptr(unsafe.Pointer(&dims[0])), uintptr(len(shape)))
}

// Contiguous is a with its elements in the order of their indices.
func (g *Graph) Contiguous(a Array) Array { return g.alike([]Array{a}, contiguous, uintptr(a), 0) }

// Transpose puts the axes in another order.
func (g *Graph) Transpose(a Array, axes ...int) Array {
	dims := ints(axes)
	return g.alike([]Array{a}, transposeAxes, uintptr(a), uintptr(unsafe.Pointer(&dims[0])), uintptr(len(axes)))
}

// Zeros is an array of zeros.
func (g *Graph) Zeros(t Type, shape ...int) Array {
	dims := ints(shape)
	a := g.node(zeros, uintptr(unsafe.Pointer(&dims[0])), uintptr(len(shape)), uintptr(t))
	g.lib.types.note(a, t)
	return a
}

// Slice is a[start:stop:step] along every axis.
func (g *Graph) Slice(a Array, start, stop, step []int) Array {
	from, to, by, n := ints(start), ints(stop), ints(step), uintptr(len(start))
	return g.alike([]Array{a}, slice, uintptr(a), uintptr(unsafe.Pointer(&from[0])), n, uintptr(unsafe.Pointer(&to[0])), n, uintptr(unsafe.Pointer(&by[0])), n)
}

// Update is a with b in the place of a[start:stop].
func (g *Graph) Update(a, b Array, start, stop []int) Array {
	from, to, by, n := ints(start), ints(stop), ints(ones(len(start))), uintptr(len(start))
	return g.alike([]Array{a, b}, sliceUpdate, uintptr(a), uintptr(b), uintptr(unsafe.Pointer(&from[0])), n, uintptr(unsafe.Pointer(&to[0])), n, uintptr(unsafe.Pointer(&by[0])), n)
}

func ones(n int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = 1
	}
	return v
}

// Rows is rows [from, to) of a matrix of n columns.
func (g *Graph) Rows(a Array, from, to, n int) Array {
	return g.Slice(a, []int{from, 0}, []int{to, n}, []int{1, 1})
}

// Concatenate joins arrays along an axis.
func (g *Graph) Concatenate(axis int, arrays ...Array) Array {
	if g.err != nil {
		return 0
	}
	v := g.lib.call(vectorNewData, uintptr(unsafe.Pointer(&arrays[0])), uintptr(len(arrays)))
	defer g.lib.call(vectorFree, v)
	return g.alike(arrays, concatenateAxis, v, number(axis))
}

// Take picks along an axis.
func (g *Graph) Take(a, indices Array, axis int) Array {
	return g.node(takeAxis, uintptr(a), uintptr(indices), number(axis))
}

// TakeAlong picks one element for each index along an axis.
func (g *Graph) TakeAlong(a, indices Array, axis int) Array {
	return g.node(takeAlongAxis, uintptr(a), uintptr(indices), number(axis))
}

// ScatterAdd adds values to those elements of a that indices tell along an axis.
func (g *Graph) ScatterAdd(a, indices, values Array, axis int) Array {
	return g.node(scatterAddAxis, uintptr(a), uintptr(indices), uintptr(values), number(axis))
}

// MatMul is the product of the last two axes.
func (g *Graph) MatMul(a, b Array) Array { return g.binary(matmul, a, b) }

// Quantized is a matrix in MLX's own layout. Biases is 0 where the mode has none.
type Quantized struct {
	Packed, Scales, Biases Array
	Group, Bits            int
	Mode                   string // "affine", "mxfp4" and so on
}

// QuantizedMatMul is x Wᵀ, or x W where transpose is not set.
func (g *Graph) QuantizedMatMul(x Array, w Quantized, transpose bool) Array {
	arrays := []Array{x}
	if g.lib.types.of(x) != F32 { // which is the widest
		arrays = append(arrays, w.Scales)
	}
	return g.alike(arrays, quantizedMatmul, uintptr(x), uintptr(w.Packed), uintptr(w.Scales), uintptr(w.Biases), flag(transpose),
		optional(w.Group), optional(w.Bits), uintptr(unsafe.Pointer(cstring.New(w.Mode))))
}

// GatherMatMul is x[lhs] w[rhs] over the first axis of both: of x [N, M, K] and w [E, K, L] it makes [P, M, L].
func (g *Graph) GatherMatMul(x, w, lhs, rhs Array) Array {
	return g.node(gatherMM, uintptr(x), uintptr(w), uintptr(lhs), uintptr(rhs), 0)
}

// GatherQuantizedMatMul is GatherMatMul with a stack of quantized matrices [E, L, K], or [E, K, L] where transpose is not set.
func (g *Graph) GatherQuantizedMatMul(x Array, w Quantized, lhs, rhs Array, transpose bool) Array {
	return g.node(gatherQMM, uintptr(x), uintptr(w.Packed), uintptr(w.Scales), uintptr(w.Biases), uintptr(lhs), uintptr(rhs), flag(transpose),
		optional(w.Group), optional(w.Bits), uintptr(unsafe.Pointer(cstring.New(w.Mode))), 0)
}

// ArgSort is the order that makes rows rise along an axis.
func (g *Graph) ArgSort(a Array, axis int) Array {
	return g.node(argSortAxis, uintptr(a), number(axis))
}

// RandomBits draws n words by a key, U32 [2].
func (g *Graph) RandomBits(key Array, n int) Array {
	const width = 4 // bytes of a word
	dims := ints([]int{n})
	return g.node(randomBits, uintptr(unsafe.Pointer(&dims[0])), 1, width, uintptr(key))
}

// Dequantize is W in a type of floats.
func (g *Graph) Dequantize(w Quantized, t Type) Array {
	return g.node(dequantize, uintptr(w.Packed), uintptr(w.Scales), uintptr(w.Biases),
		optional(w.Group), optional(w.Bits), uintptr(unsafe.Pointer(cstring.New(w.Mode))), 0, optional(int(t)))
}

// optional is an optional int of C: 32 bits of value, and whether there is one.
func optional(v int) uintptr { return uintptr(uint32(int32(v))) | 1<<32 }

// RMSNorm normalizes rows by their root mean square and a weight.
func (g *Graph) RMSNorm(x, w Array, eps float32) Array {
	if g.err != nil {
		return 0
	}
	*g.res = 0
	begun := g.lib.watch.begin()
	status := g.lib.rmsNorm(g.res, x, w, eps, g.s)
	g.lib.watch.end(begun)
	y := g.result(fastRMSNorm, status)
	if t := g.lib.types.of(x); t == F32 || t == g.lib.types.of(w) { // F32 is the widest
		g.lib.types.note(y, t)
	}
	return y
}

// Attention is softmax(scale q kᵀ) v over q [B, heads, T, D] and k, v [B, kvHeads, S, D]. A causal query t sees the keys
// up to S-T+t; else a mask of bools [T, S], unless it is 0, tells which.
func (g *Graph) Attention(q, k, v Array, scale float32, causal bool, mask Array) Array {
	if g.err != nil {
		return 0
	}
	mode := cstring.New("")
	if causal {
		mode = cstring.New("causal")
	}
	*g.res = 0
	status, begun := int32(0), g.lib.watch.begin()
	if g.lib.minor < 7 {
		status = g.lib.attention6(g.res, q, k, v, scale, mode, mask, 0, g.s)
	} else {
		status = g.lib.attention(g.res, q, k, v, scale, mode, mask, 0, false, g.s)
	}
	g.lib.watch.end(begun)
	y := g.result(fastAttention, status)
	if t := g.lib.types.of(q); t == g.lib.types.of(k) && t == g.lib.types.of(v) {
		g.lib.types.note(y, t)
	}
	return y
}
