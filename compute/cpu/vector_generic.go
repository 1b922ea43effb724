package cpu

import (
	"math"

	"github.com/lentil-lm/lentil/quant"
)

// The vector kernels in plain Go. All slices of a call have the length of the first.

// dotGeneric is Σ a·b.
func dotGeneric(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// addScaledGeneric is y = a + alpha·b.
func addScaledGeneric(y, a []float32, alpha float32, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] = a[i] + alpha*b[i]
	}
}

// scaleGeneric is y = alpha·x.
func scaleGeneric(y []float32, alpha float32, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] = alpha * x[i]
	}
}

// scaleMulGeneric is y = alpha·x·w.
func scaleMulGeneric(y []float32, alpha float32, x, w []float32) {
	x, w = x[:len(y)], w[:len(y)]
	for i := range y {
		y[i] = x[i] * alpha * w[i]
	}
}

// dot3Generic is Σ a·b·c.
func dot3Generic(a, b, c []float32) float32 {
	b, c = b[:len(a)], c[:len(a)]
	var s0, s1 float32
	i := 0
	for ; i+2 <= len(a); i += 2 {
		s0 += a[i] * b[i] * c[i]
		s1 += a[i+1] * b[i+1] * c[i+1]
	}
	if i < len(a) {
		s0 += a[i] * b[i] * c[i]
	}
	return s0 + s1
}

// mulAddGeneric is y += alpha·a·b.
func mulAddGeneric(y []float32, alpha float32, a, b []float32) {
	a, b = a[:len(y)], b[:len(y)]
	for i := range y {
		y[i] += alpha * a[i] * b[i]
	}
}

// normGradGeneric is y (+)= inv·(dy·w - mean·x), the inner loop of RMSNormGrad
// with mean = inv²·Σ dy·w·x / D.
func normGradGeneric(y, dy, w, x []float32, inv, mean float32, add bool) {
	dy, w, x = dy[:len(y)], w[:len(y)], x[:len(y)]
	for i := range y {
		g := inv * (dy[i]*w[i] - mean*x[i])
		if add {
			g += y[i]
		}
		y[i] = g
	}
}

// maxGeneric is the largest value of x, -Inf for none.
func maxGeneric(x []float32) float32 {
	top := float32(math.Inf(-1))
	for _, v := range x {
		if v > top {
			top = v
		}
	}
	return top
}

// expSumGeneric is y = alpha·exp(x - shift); it returns the sum of y. y may be x.
func expSumGeneric(y, x []float32, shift, alpha float32) float32 {
	x = x[:len(y)]
	var sum float32
	for i, v := range x {
		e := alpha * exp(v-shift)
		y[i] = e
		sum += e
	}
	return sum
}

// swigluGeneric is y = gate·sigmoid(gate)·up.
func swigluGeneric(y, gate, up []float32) {
	gate, up = gate[:len(y)], up[:len(y)]
	for i, g := range gate {
		y[i] = g * sigmoid(g) * up[i]
	}
}

// swigluGradGeneric is the gradient of swiglu; outputs may be gate and up.
func swigluGradGeneric(dgate, dup, gate, up, dy []float32) {
	dup, gate, up, dy = dup[:len(dgate)], gate[:len(dgate)], up[:len(dgate)], dy[:len(dgate)]
	for i, g := range gate {
		s, u, d := sigmoid(g), up[i], dy[i]
		dgate[i], dup[i] = d*u*s*(1+g*(1-s)), d*g*s
	}
}

// rotateGeneric turns the pairs (a, b) by angles: y = (a·c - b·s, a·s + b·c).
// ya and yb may be a and b.
func rotateGeneric(ya, yb, a, b, c, s []float32) {
	yb, a, b, c, s = yb[:len(ya)], a[:len(ya)], b[:len(ya)], c[:len(ya)], s[:len(ya)]
	for i := range ya {
		u, v := a[i], b[i]
		ya[i], yb[i] = u*c[i]-v*s[i], u*s[i]+v*c[i]
	}
}

// adamStep holds the numbers of one Adam update, see compute.Adam.
type adamStep struct {
	lr, root, eps, keep float32
	beta1, rest1        float32 // β1, 1-β1
	beta2, rest2        float32
}

// adamGeneric is compute.Adam's loop.
func adamGeneric(p2, m2, v2, p, g, m, v []float32, o *adamStep) {
	m2, v2, p, g, m, v = m2[:len(p2)], v2[:len(p2)], p[:len(p2)], g[:len(p2)], m[:len(p2)], v[:len(p2)]
	for i, gi := range g {
		mi := o.beta1*m[i] + o.rest1*gi
		vi := o.beta2*v[i] + o.rest2*(gi*gi)
		m2[i], v2[i] = mi, vi
		p2[i] = p[i]*o.keep - o.lr*mi/(float32(math.Sqrt(float64(vi)))*o.root+o.eps)
	}
}

func narrowF16Generic(dst []byte, src []float32) { quant.PutFloats(dst, src, quant.F16) }

func narrowBF16Generic(dst []byte, src []float32) { quant.PutFloats(dst, src, quant.BF16) }

// sigmoid is 1/(1+e^-x). It takes the exponential of -|x| alone, which cannot overflow.
func sigmoid(x float32) float32 {
	if x >= 0 {
		return 1 / (1 + exp(-x))
	}
	e := exp(x)
	return e / (1 + e)
}

// The exponential is 2^n·e^r with n the nearest integer to x/ln 2, and e^r by a
// polynomial of degree 6 on |r| <= ln 2 / 2 (coefficients of the Cephes library, S.
// Moshier). It is within 2 units in the last place of the true value. Below expLow the
// result is 0, above expHigh that of expHigh.
const (
	expLow  = -87.33654
	expHigh = 88.37626
	log2e   = 1.44269504088896341
	ln2High = 0.693359375
	ln2Low  = -2.12194440e-4
	expC2   = 5.0000001201e-1
	expC3   = 1.6666665459e-1
	expC4   = 4.1665795894e-2
	expC5   = 8.3334519073e-3
	expC6   = 1.3981999507e-3
	expC7   = 1.9875691500e-4
)

func exp(x float32) float32 {
	switch {
	case x < expLow:
		return 0
	case x > expHigh:
		x = expHigh
	case x != x:
		return x
	}
	const shifter = 3 << 22 // adding it rounds to an integer
	n := (x*log2e + shifter) - shifter
	r := x - n*ln2High - n*ln2Low
	p := float32(expC7)
	p = p*r + expC6
	p = p*r + expC5
	p = p*r + expC4
	p = p*r + expC3
	p = p*r + expC2
	return (p*r*r + r + 1) * math.Float32frombits(uint32(int32(n)+127)<<23)
}
