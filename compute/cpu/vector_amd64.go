//go:build !purego

package cpu

import "math"

// expConst holds the numbers of exp, each eight times.
//
//lint:ignore U1000 macros_amd64.h names them
var expConst = func() (t [16][8]float32) {
	for i, v := range [...]float32{expLow, expHigh, log2e, ln2High, ln2Low, expC2, expC3, expC4, expC5, expC6, expC7, 1,
		math.Float32frombits(127), float32(math.Copysign(0, -1)), emptyTop, math.Float32frombits(1)} {
		for j := range t[i] {
			t[i][j] = v
		}
	}
	return t
}()

// The functions below are those of vector_generic.go of the same name, for n > 0
// values, a multiple of 8. Each is one loop over i < n, as beside it.

// s += a[i] * b[i]
//
//go:noescape
func dotAVX2(a, b *float32, n int) float32

// s += a[i] * b[i] * c[i]
//
//go:noescape
func dot3AVX2(a, b, c *float32, n int) float32

// top = max(top, x[i])
//
//go:noescape
func maxAVX2(x *float32, n int) float32

// y[i] = a[i] + alpha*b[i]
//
//go:noescape
func addScaledAVX2(y, a *float32, alpha float32, b *float32, n int)

// y[i] = alpha * x[i]
//
//go:noescape
func scaleAVX2(y *float32, alpha float32, x *float32, n int)

// y[i] = alpha * x[i] * w[i]
//
//go:noescape
func scaleMulAVX2(y *float32, alpha float32, x, w *float32, n int)

// y[i] += alpha * a[i] * b[i]
//
//go:noescape
func mulAddAVX2(y *float32, alpha float32, a, b *float32, n int)

// y[i] (+)= inv * (dy[i]*w[i] - mean*x[i])
//
//go:noescape
func normGradAVX2(y, dy, w, x *float32, inv, mean float32, n int, add bool)

// y[i] = alpha * exp(x[i]-shift); s += y[i]
//
//go:noescape
func expSumAVX2(y, x *float32, shift, alpha float32, n int) float32

// y[i] = gate[i] * sigmoid(gate[i]) * up[i]
//
//go:noescape
func swigluAVX2(y, gate, up *float32, n int)

// s := sigmoid(gate[i])
// dgate[i] = dy[i] * up[i] * s * (1 + gate[i]*(1-s))
// dup[i] = dy[i] * gate[i] * s
//
//go:noescape
func swigluGradAVX2(dgate, dup, gate, up, dy *float32, n int)

// ya[i], yb[i] = a[i]*c[i] - b[i]*s[i], a[i]*s[i] + b[i]*c[i]
//
//go:noescape
func rotateAVX2(ya, yb, a, b, c, s *float32, n int)

// m2[i] = beta1*m[i] + rest1*dp[i]
// v2[i] = beta2*v[i] + rest2*dp[i]*dp[i]
// p2[i] = p[i]*keep - lr*m2[i]/(sqrt(v2[i])*root+eps)
//
//go:noescape
func adamAVX2(p2, m2, v2, p, dp, m, v *float32, n int, o *adamStep)

// dst[i] = float16(src[i]), rounded to nearest with ties to even
//
//go:noescape
func narrowF16AVX2(dst *byte, src *float32, n int)

// dst[i] = bfloat16(src[i]), likewise
//
//go:noescape
func narrowBF16AVX2(dst *byte, src *float32, n int)

// The three below are those of attention.go and attention_grad.go of the same name,
// for n > 0 rows of w lanes, a multiple of 16:
//
//	for i := range w {
//		for j := range n {
//			top[i] = max(top[i], s[j*w+i]*scale) // where lane i sees key j
//		}
//		keep[i] = exp(old top[i] - top[i])
//		sum[i] *= keep[i]
//		for j := range n {
//			s[j*w+i] = exp(s[j*w+i]*scale - top[i]) // 0 where it does not
//			sum[i] += s[j*w+i]
//		}
//	}
//
//go:noescape
func softmaxLanesAVX2(s *float32, n, w int, scale float32, st *lanes)

// s[j*w+i] = exp(s[j*w+i]*scale - top[i])
// dp[j*w+i] = s[j*w+i] * (dp[j*w+i] - keep[i])
//
//go:noescape
func gradLanesAVX2(s, dp *float32, n, w int, scale float32, st *lanes)

// x[j*w+i] *= keep[i]
//
//go:noescape
func scaleLanesAVX2(x *float32, n, w int, keep *[maxLanes]float32)

// avx2Vectors hands whole vectors to the assembly and the rest to plain Go.
var avx2Vectors = vectors{
	dot: func(a, b []float32) (s float32) {
		b = b[:len(a)]
		n := len(a) &^ 7
		if n > 0 {
			s = dotAVX2(&a[0], &b[0], n)
		}
		if n < len(a) {
			s += dotGeneric(a[n:], b[n:])
		}
		return s
	},
	dot3: func(a, b, c []float32) (s float32) {
		b, c = b[:len(a)], c[:len(a)]
		n := len(a) &^ 7
		if n > 0 {
			s = dot3AVX2(&a[0], &b[0], &c[0], n)
		}
		return s + dot3Generic(a[n:], b[n:], c[n:])
	},
	max: func(x []float32) float32 {
		n := len(x) &^ 7
		top := maxGeneric(x[n:])
		if n > 0 {
			top = max(top, maxAVX2(&x[0], n))
		}
		return top
	},
	addScaled: func(y, a []float32, alpha float32, b []float32) {
		a, b = a[:len(y)], b[:len(y)]
		n := len(y) &^ 7
		if n > 0 {
			addScaledAVX2(&y[0], &a[0], alpha, &b[0], n)
		}
		if n < len(y) { // by the same instructions, so that no value depends on where it lies
			var p, q, rest [8]float32
			copy(p[:], a[n:])
			copy(q[:], b[n:])
			addScaledAVX2(&rest[0], &p[0], alpha, &q[0], len(rest))
			copy(y[n:], rest[:])
		}
	},
	scale: func(y []float32, alpha float32, x []float32) {
		x = x[:len(y)]
		n := len(y) &^ 7
		if n > 0 {
			scaleAVX2(&y[0], alpha, &x[0], n)
		}
		scaleGeneric(y[n:], alpha, x[n:])
	},
	scaleMul: func(y []float32, alpha float32, x, w []float32) {
		x, w = x[:len(y)], w[:len(y)]
		n := len(y) &^ 7
		if n > 0 {
			scaleMulAVX2(&y[0], alpha, &x[0], &w[0], n)
		}
		scaleMulGeneric(y[n:], alpha, x[n:], w[n:])
	},
	mulAdd: func(y []float32, alpha float32, a, b []float32) {
		a, b = a[:len(y)], b[:len(y)]
		n := len(y) &^ 7
		if n > 0 {
			mulAddAVX2(&y[0], alpha, &a[0], &b[0], n)
		}
		mulAddGeneric(y[n:], alpha, a[n:], b[n:])
	},
	normGrad: func(y, dy, w, x []float32, inv, mean float32, add bool) {
		dy, w, x = dy[:len(y)], w[:len(y)], x[:len(y)]
		n := len(y) &^ 7
		if n > 0 {
			normGradAVX2(&y[0], &dy[0], &w[0], &x[0], inv, mean, n, add)
		}
		normGradGeneric(y[n:], dy[n:], w[n:], x[n:], inv, mean, add)
	},
	expSum: func(y, x []float32, shift, alpha float32) (s float32) {
		x = x[:len(y)]
		n := len(y) &^ 7
		if n > 0 {
			s = expSumAVX2(&y[0], &x[0], shift, alpha, n)
		}
		return s + expSumGeneric(y[n:], x[n:], shift, alpha)
	},
	swiglu: func(y, gate, up []float32) {
		gate, up = gate[:len(y)], up[:len(y)]
		n := len(y) &^ 7
		if n > 0 {
			swigluAVX2(&y[0], &gate[0], &up[0], n)
		}
		if n < len(y) { // by the same instructions, so that no value depends on where it lies
			var g, u, rest [8]float32
			copy(g[:], gate[n:])
			copy(u[:], up[n:])
			swigluAVX2(&rest[0], &g[0], &u[0], len(rest))
			copy(y[n:], rest[:])
		}
	},
	swigluGrad: func(dgate, dup, gate, up, dy []float32) {
		dup, gate, up, dy = dup[:len(dgate)], gate[:len(dgate)], up[:len(dgate)], dy[:len(dgate)]
		n := len(dy) &^ 7
		if n > 0 {
			swigluGradAVX2(&dgate[0], &dup[0], &gate[0], &up[0], &dy[0], n)
		}
		swigluGradGeneric(dgate[n:], dup[n:], gate[n:], up[n:], dy[n:])
	},
	rotate: func(ya, yb, a, b, c, s []float32) {
		yb, a, b, c, s = yb[:len(ya)], a[:len(ya)], b[:len(ya)], c[:len(ya)], s[:len(ya)]
		n := len(ya) &^ 7
		if n > 0 {
			rotateAVX2(&ya[0], &yb[0], &a[0], &b[0], &c[0], &s[0], n)
		}
		rotateGeneric(ya[n:], yb[n:], a[n:], b[n:], c[n:], s[n:])
	},
	adam: func(p2, m2, v2, p, g, m, v []float32, o *adamStep) {
		k := len(p2)
		m2, v2, p, g, m, v = m2[:k], v2[:k], p[:k], g[:k], m[:k], v[:k]
		n := k &^ 7
		if n > 0 {
			adamAVX2(&p2[0], &m2[0], &v2[0], &p[0], &g[0], &m[0], &v[0], n, o)
		}
		adamGeneric(p2[n:], m2[n:], v2[n:], p[n:], g[n:], m[n:], v[n:], o)
	},
}

func narrowBF16Vector(dst []byte, src []float32) {
	n := len(src) &^ 7
	if n > 0 {
		narrowBF16AVX2(&dst[0], &src[0], n)
	}
	narrowBF16Generic(dst[2*n:], src[n:])
}

func narrowF16F16C(dst []byte, src []float32) {
	n := len(src) &^ 7
	if n > 0 {
		narrowF16AVX2(&dst[0], &src[0], n)
	}
	narrowF16Generic(dst[2*n:], src[n:])
}

var avx2Lanes = laneKernels{
	softmaxLanes: func(s []float32, n, w int, scale float32, st *lanes) { softmaxLanesAVX2(&s[0], n, w, scale, st) },
	gradLanes: func(s, dp []float32, n, w int, scale float32, st *lanes) {
		gradLanesAVX2(&s[0], &dp[0], n, w, scale, st)
	},
	scaleLanes: func(x []float32, n, w int, keep *[maxLanes]float32) {
		for _, f := range keep[:w] {
			if f != 1 {
				scaleLanesAVX2(&x[0], n, w, keep)
				return
			}
		}
	},
}
