package quant

import (
	"encoding/binary"
	"math"
)

// nearest rounds to a whole number, ties to even.
func nearest(f float32) int { return int(math.RoundToEven(float64(f))) }

func clamp(q, lo, hi int) int { return min(max(q, lo), hi) }

// encodeK quantizes a super-block of Q4_K or Q5_K: eight groups of 32 weights
// d*scale*q - dmin*minimum, with scales and minima of 6 bits.
func (b BlockType) encodeK(block []byte, x *[256]float32) bool {
	levels, search := 15, gridSearch{-1, 0.1, 20}
	if b == BlockQ5K {
		levels, search = 31, gridSearch{-0.5, 0.1, 15}
	}
	var q [256]uint8
	var scales, minima [8]float32
	var topScale, topMin float32
	for j := range 8 {
		group := x[32*j : 32*j+32]
		// Large weights count for more, small ones are not forgotten.
		var squares float32
		for _, v := range group {
			squares += v * v
		}
		typical := float32(math.Sqrt(float64(squares / 32)))
		var weight [32]float32
		for i, v := range group {
			weight[i] = typical + abs(v)
		}
		scales[j], minima[j] = search.fit(q[32*j:32*j+32], group, weight[:], levels)
		topScale, topMin = max(topScale, scales[j]), max(topMin, minima[j])
	}
	d, dmin := topScale/63, topMin/63
	if !fits(d, F16) || !fits(dmin, F16) {
		return false
	}
	le := binary.LittleEndian
	le.PutUint16(block, F32ToF16(d))
	le.PutUint16(block[2:], F32ToF16(dmin))
	packed := block[4:16]
	clear(packed)
	perScale, perMin := float32(0), float32(0)
	if topScale > 0 {
		perScale = 63 / topScale
	}
	if topMin > 0 {
		perMin = 63 / topMin
	}
	for j := range 8 {
		sc, mn := uint8(clamp(nearest(perScale*scales[j]), 0, 63)), uint8(clamp(nearest(perMin*minima[j]), 0, 63))
		if j < 4 {
			packed[j], packed[j+4] = packed[j]|sc, packed[j+4]|mn
		} else { // low 4 bits here, the high 2 above the entries of j-4
			packed[j+4] = sc&15 | mn&15<<4
			packed[j-4] |= sc >> 4 << 6
			packed[j] |= mn >> 4 << 6
		}
	}
	// The integers once more, for the scales as they were stored.
	d, dmin = F16ToF32(F32ToF16(d)), F16ToF32(F32ToF16(dmin))
	for j := range 8 {
		sc, mn := scaleAndMin(packed, j)
		scale, offset := d*float32(sc), dmin*float32(mn)
		if scale == 0 {
			continue
		}
		for i, v := range x[32*j : 32*j+32] {
			q[32*j+i] = uint8(clamp(nearest((v+offset)/scale), 0, levels))
		}
	}
	low := block[16:144]
	if b == BlockQ5K {
		high := block[16:48]
		low = block[48:176]
		clear(high)
		for at, v := range q {
			high[at%32] |= v >> 4 << (at / 32)
		}
	}
	for at := range low { // a run of 32 bytes serves two groups
		first := at/32*64 + at%32
		low[at] = q[first]&15 | q[first+32]&15<<4
	}
	return true
}

// gridSearch tries steps+1 more grids beside the one from minimum to maximum,
// whose number of levels is stretched by from, from+by, ...
type gridSearch struct {
	from, by float32
	steps    int
}

// fit finds integers q from 0 to levels, a scale and a minimum of at least 0 such
// that scale*q - minimum is near x by the weighted sum of squares.
func (s gridSearch) fit(q []uint8, x, weight []float32, levels int) (scale, minimum float32) {
	lo, hi := x[0], x[0]
	var sumW, sumX float32
	for i, v := range x {
		lo, hi = min(lo, v), max(hi, v)
		sumW += weight[i]
		sumX += float32(weight[i] * v)
	}
	lo = min(lo, 0)
	if hi == lo {
		clear(q)
		return 0, -lo
	}
	distance := func(q []uint8, scale, bias float32) (sum float32) {
		for i, v := range x {
			diff := float32(scale*float32(q[i])) + bias - v
			sum += weight[i] * float32(diff*diff)
		}
		return sum
	}
	base := lo
	round := func(q []uint8, stretch float32) {
		inverse := (stretch + float32(levels)) / (hi - base)
		for i, v := range x {
			q[i] = uint8(clamp(nearest(inverse*(v-base)), 0, levels))
		}
	}
	round(q, 0)
	scale = (hi - lo) / float32(levels)
	best := distance(q, scale, lo)
	trial := make([]uint8, len(q))
	for step := range s.steps + 1 {
		round(trial, s.from+s.by*float32(step))
		var sumQ, sumQQ, sumXQ float32
		for i, v := range trial {
			w, f := weight[i], float32(v)
			sumQ += w * f
			sumQQ += w * f * f
			sumXQ += w * f * x[i]
		}
		det := float32(sumW*sumQQ) - float32(sumQ*sumQ)
		if !(det > 0) {
			continue
		}
		// Least squares for these integers.
		newScale := (float32(sumW*sumXQ) - float32(sumX*sumQ)) / det
		newLo := (float32(sumQQ*sumX) - float32(sumQ*sumXQ)) / det
		if newLo > 0 {
			newScale, newLo = sumXQ/sumQQ, 0
		}
		if d := distance(trial, newScale, newLo); d < best {
			best, scale, lo = d, newScale, newLo
			copy(q, trial)
		}
	}
	return scale, -lo
}

// encodeQ6K quantizes a super-block of Q6_K: 16 groups of 16 weights
// d*scale*(q-32), with signed scales of 8 bits.
func encodeQ6K(block []byte, x *[256]float32) bool {
	const tiny = 1e-15
	var q [256]uint8
	var scales [16]float32
	var top float32 // the scale of largest magnitude
	for j := range scales {
		scales[j] = fitSigned(q[16*j:16*j+16], x[16*j:16*j+16])
		if abs(scales[j]) > abs(top) {
			top = scales[j]
		}
	}
	clear(block)
	if abs(top) < tiny {
		return true
	}
	d := top / -128
	if !fits(d, F16) {
		return false
	}
	binary.LittleEndian.PutUint16(block[208:], F32ToF16(d))
	stored := F16ToF32(F32ToF16(d))
	for j, s := range scales {
		sc := clamp(nearest(-128/top*s), -128, 127)
		block[192+j] = byte(int8(sc))
		scale := stored * float32(sc)
		if scale == 0 {
			continue
		}
		for i, v := range x[16*j : 16*j+16] {
			q[16*j+i] = uint8(clamp(nearest(v/scale), -32, 31) + 32)
		}
	}
	for half := range 2 {
		from := q[128*half:]
		low, high := block[64*half:64*half+64], block[128+32*half:160+32*half]
		for i := range 32 {
			q0, q1, q2, q3 := from[i], from[i+32], from[i+64], from[i+96]
			low[i] = q0&15 | q2&15<<4
			low[i+32] = q1&15 | q3&15<<4
			high[i] = q0>>4 | q1>>4<<2 | q2>>4<<4 | q3>>4<<6
		}
	}
	return true
}

// fitSigned finds a scale and integers q from 0 to 63 such that scale*(q-32) is
// near x, large weights counting by their square. It tries 19 scales around
// that which gives the value of largest magnitude the integer 0.
func fitSigned(q []uint8, x []float32) float32 {
	const tiny, zero = 1e-15, 32
	var extreme float32
	for _, v := range x {
		if abs(v) > abs(extreme) {
			extreme = v
		}
	}
	if abs(extreme) < tiny {
		clear(q)
		return 0
	}
	sums := func(inverse float32) (sumXQ, sumQQ float32) {
		for _, v := range x {
			w, f := v*v, float32(clamp(nearest(inverse*v), -zero, zero-1))
			sumXQ += w * v * f
			sumQQ += w * f * f
		}
		return sumXQ, sumQQ
	}
	best := float32(-zero) / extreme
	sumXQ, sumQQ := sums(best)
	var scale float32
	if sumQQ > 0 {
		scale = sumXQ / sumQQ
	}
	gain := scale * sumXQ // what the sum of squares falls by
	for step := -9; step <= 9; step++ {
		if step == 0 {
			continue
		}
		inverse := -(zero + 0.1*float32(step)) / extreme
		sumXQ, sumQQ := sums(inverse)
		if sumQQ > 0 && sumXQ*sumXQ > gain*sumQQ {
			best, scale = inverse, sumXQ/sumQQ
			gain = scale * sumXQ
		}
	}
	for i, v := range x {
		q[i] = uint8(clamp(nearest(best*v), -zero, zero-1) + zero)
	}
	return scale
}
