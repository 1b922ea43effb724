package quant

import (
	"encoding/binary"
	"math"
)

// searches are the parts of encoding K blocks that take the time. The plain ones
// are their definition: others give the same bits, on every input that Encode lets
// through.
type searches struct {
	name string
	// grids finds a grid for each of the eight groups of a super-block.
	grids func(found *grids, x *[256]float32, s *gridSearch)
	// signed finds a scale for each of the sixteen groups.
	signed func(found *signedScales, x *[256]float32)
	// integers rounds (x+offset)/scale to a level, and takes low off; each scale
	// and offset serves 16 weights.
	integers func(q *[256]uint8, x *[256]float32, scale, offset *[16]float32, low, high float32)
}

var plainSearches = &searches{"plain", gridsPlain, signedPlain, integersPlain}

// level rounds to a whole number from low to high, ties to even.
func level(f, low, high float32) float32 {
	if f < low {
		f = low
	}
	if f > high {
		f = high
	}
	const toWhole = 3 << 22                      // the float32 numbers around it are the whole ones
	return float32(float32(f)+toWhole) - toWhole // f rounded first, whatever product it is
}

// levelOf is level of a quotient. One that is no number or beyond an int64, from
// dividing by nearly nothing, counts as low.
func levelOf(f, low, high float32) float32 {
	if !(f < 1<<63) {
		return low
	}
	return level(f, low, high)
}

// gridSearch tries a grid from the smallest weight of a group (or 0) to the
// largest, and others whose number of levels is stretched.
type gridSearch struct {
	spans []float32 // steps from end to end: first the type's highest integer, then the stretched ones
}

func newGridSearch(levels, from, by float32, steps int) *gridSearch {
	s := &gridSearch{[]float32{levels}}
	for step := range steps + 1 {
		stretch := from + float32(by*float32(step))
		s.spans = append(s.spans, stretch+levels)
	}
	return s
}

var searchQ4K, searchQ5K = newGridSearch(15, -1, 0.1, 20), newGridSearch(31, -0.5, 0.1, 15)

// grids tell, for each group of 32, that the weights x are near scale*q + low
// with the integers q that inverse*(x-base) rounds to.
type grids struct{ scale, low, base, inverse [8]float32 }

func gridsPlain(found *grids, x *[256]float32, s *gridSearch) {
	for j := range 8 {
		found.scale[j], found.low[j], found.base[j], found.inverse[j] = s.fit((*[32]float32)(x[32*j:]))
	}
}

// fit searches for the grid nearest to x by the weighted sum of squares. Large
// weights count for more, small ones are not forgotten. Products are rounded
// one by one, never fused with a sum, so that all machines write the same.
func (s *gridSearch) fit(x *[32]float32) (scale, low, base, inverse float32) {
	var squares float32
	for _, v := range x {
		squares += float32(v * v)
	}
	typical := float32(math.Sqrt(float64(squares / 32)))
	var weight [32]float32
	low, high := x[0], x[0]
	var sumW, sumX float32
	for i, v := range x {
		low, high = min(low, v), max(high, v)
		weight[i] = typical + abs(v)
		sumW += weight[i]
		sumX += float32(weight[i] * v)
	}
	base = min(low, 0)
	low = base
	if high == base {
		return 0, low, base, 0
	}
	levels := s.spans[0]
	scale = (high - low) / levels
	best := float32(math.Inf(1))
	for try, span := range s.spans {
		trial := span / (high - base)
		if trial > math.MaxFloat32 { // all is next to nothing
			trial = 0
		}
		var q [32]float32
		sumQ, sumQQ, sumXQ := gridSums(&q, x, &weight, base, trial, levels)
		newScale, newLow := scale, low
		if try > 0 { // least squares for these integers
			det := float32(sumW*sumQQ) - float32(sumQ*sumQ)
			if !(det > 0) {
				continue
			}
			newScale = (float32(sumW*sumXQ) - float32(sumX*sumQ)) / det
			newLow = (float32(sumQQ*sumX) - float32(sumQ*sumXQ)) / det
			if newLow > 0 {
				newScale, newLow = sumXQ/sumQQ, 0
			}
		}
		distance := gridDistance(&q, x, &weight, newScale, newLow, best)
		if distance < best {
			best, scale, low, inverse = distance, newScale, newLow, trial
		}
	}
	return scale, low, base, inverse
}

// gridSums sets q to the integers of a trial and returns their weighted sums, alone,
// squared and multiplied with x.
func gridSums(q, x, weight *[32]float32, base, inverse, levels float32) (sumQ, sumQQ, sumXQ float32) {
	for i, v := range x {
		f := level(inverse*(v-base), 0, levels)
		q[i] = f
		w := float32(weight[i] * f)
		sumQ += w
		sumQQ += float32(w * f)
		sumXQ += float32(w * v)
	}
	return sumQ, sumQQ, sumXQ
}

// gridDistance is the weighted sum of squares of what scale*q + low is off, or
// any number from enough on.
func gridDistance(q, x, weight *[32]float32, scale, low, enough float32) (distance float32) {
	for at := 0; at < 32 && !(distance >= enough); at += 8 { // it only grows
		for i := at; i < at+8; i++ {
			off := float32(scale*q[i]) + low - x[i]
			distance += float32(weight[i] * float32(off*off))
		}
	}
	return distance
}

// encodeK quantizes a super-block of Q4_K or Q5_K: eight groups of 32 weights
// d*scale*q - dmin*minimum, with scales and minima of 6 bits.
func (s *searches) encodeK(b BlockType, block []byte, x *[256]float32) bool {
	search := searchQ4K
	if b == BlockQ5K {
		search = searchQ5K
	}
	levels := search.spans[0]
	var found grids
	s.grids(&found, x, search)
	var topScale, topMin float32
	for j := range 8 {
		topScale, topMin = max(topScale, found.scale[j]), max(topMin, -found.low[j])
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
	d, dmin = F16ToF32(F32ToF16(d)), F16ToF32(F32ToF16(dmin))
	var scale, offset [16]float32 // as they are stored
	for j := range 8 {
		sc, mn := uint8(levelOf(perScale*found.scale[j], 0, 63)), uint8(levelOf(perMin*-found.low[j], 0, 63))
		if j < 4 {
			packed[j], packed[j+4] = packed[j]|sc, packed[j+4]|mn
		} else { // low 4 bits here, the high 2 above the entries of j-4
			packed[j+4] = sc&15 | mn&15<<4
			packed[j-4] |= sc >> 4 << 6
			packed[j] |= mn >> 4 << 6
		}
		scale[2*j], offset[2*j] = d*float32(sc), dmin*float32(mn)
		scale[2*j+1], offset[2*j+1] = scale[2*j], offset[2*j]
	}
	var q [256]uint8
	s.integers(&q, x, &scale, &offset, 0, levels)
	for j := range 8 {
		if scale[2*j] == 0 { // these mean nothing: they stay as the search had them
			for i, v := range x[32*j : 32*j+32] {
				q[32*j+i] = uint8(level(found.inverse[j]*(v-found.base[j]), 0, levels))
			}
		}
	}
	low := block[16:144]
	if b == BlockQ5K { // the fifth bits of group j are bits j
		high := block[16:48]
		low = block[48:176]
		for i := 0; i < 32; i += 8 {
			var word uint64
			for j := range 8 {
				word |= le.Uint64(q[32*j+i:]) >> 4 & 0x0101010101010101 << j
			}
			le.PutUint64(high[i:], word)
		}
	}
	const nibbles = 0x0f0f0f0f0f0f0f0f
	for at := 0; at < 128; at += 8 { // a run of 32 bytes serves two groups
		first := q[at/32*64+at%32:]
		le.PutUint64(low[at:], le.Uint64(first)&nibbles|le.Uint64(first[32:])&nibbles<<4)
	}
	return true
}

func integersPlain(q *[256]uint8, x *[256]float32, scale, offset *[16]float32, low, high float32) {
	for i, v := range x {
		q[i] = uint8(levelOf((v+offset[i/16])/scale[i/16], low, high) - low)
	}
}

// zeroQ6K is the integer that stands for zero.
const zeroQ6K = 32

// inversesQ6K are the integers that the search gives the weight of largest
// magnitude, not counting the limits of the type.
var inversesQ6K = func() (list []float32) {
	list = append(list, -zeroQ6K)
	for step := -9; step <= 9; step++ {
		if step != 0 {
			list = append(list, -(zeroQ6K + float32(0.1*float32(step))))
		}
	}
	return list
}()

// signedScales tell, for each group of 16, that the weights x are near scale*q
// with the integers q from -32 to 31 that inverse*x rounds to. Where all is next
// to nothing, both are 0.
type signedScales struct{ scale, inverse [16]float32 }

func signedPlain(found *signedScales, x *[256]float32) {
	for j := range 16 {
		found.scale[j], found.inverse[j] = fitSigned((*[16]float32)(x[16*j:]))
	}
}

// tiny is what magnitudes below count as nothing.
const tiny = 1e-15

// fitSigned searches for the scale nearest to x, large weights counting by their
// square. It tries 19 around that which gives the value of largest magnitude the
// lowest integer. Products are rounded one by one, as in gridSearch.fit.
func fitSigned(x *[16]float32) (scale, inverse float32) {
	var extreme float32
	for _, v := range x {
		if abs(v) > abs(extreme) {
			extreme = v
		}
	}
	if abs(extreme) < tiny {
		return 0, 0
	}
	var gain float32 // what the sum of squares falls by
	for try, lowest := range inversesQ6K {
		trial := lowest / extreme
		var sumXQ, sumQQ float32
		for _, v := range x {
			w, f := v*v, level(trial*v, -zeroQ6K, zeroQ6K-1)
			sumXQ += float32(float32(w*v) * f)
			sumQQ += float32(float32(w*f) * f)
		}
		if try == 0 {
			inverse = trial
		}
		if sumQQ > 0 && (try == 0 || float32(sumXQ*sumXQ) > float32(gain*sumQQ)) {
			inverse, scale = trial, sumXQ/sumQQ
			gain = scale * sumXQ
		}
	}
	return scale, inverse
}

// encodeQ6K quantizes a super-block of Q6_K: 16 groups of 16 weights
// d*scale*(q-32), with signed scales of 8 bits.
func (s *searches) encodeQ6K(block []byte, x *[256]float32) bool {
	var found signedScales
	s.signed(&found, x)
	var top float32 // the scale of largest magnitude
	for _, scale := range found.scale {
		if abs(scale) > abs(top) {
			top = scale
		}
	}
	if abs(top) < tiny {
		clear(block)
		return true
	}
	d := top / -128
	if !fits(d, F16) {
		return false
	}
	le := binary.LittleEndian
	le.PutUint16(block[208:], F32ToF16(d))
	d = F16ToF32(F32ToF16(d))
	var scale, offset [16]float32 // as they are stored
	for j, f := range found.scale {
		sc := level(-128/top*f, -128, 127)
		block[192+j] = byte(int8(sc))
		scale[j] = d * sc
	}
	var q [256]uint8
	s.integers(&q, x, &scale, &offset, -zeroQ6K, zeroQ6K-1)
	for j := range 16 {
		if scale[j] != 0 {
			continue
		}
		for i, v := range x[16*j : 16*j+16] { // as the search had them
			q[16*j+i] = 0
			if found.inverse[j] != 0 {
				q[16*j+i] = uint8(level(found.inverse[j]*v, -zeroQ6K, zeroQ6K-1) + zeroQ6K)
			}
		}
	}
	const nibbles, pairs = 0x0f0f0f0f0f0f0f0f, 0x0303030303030303
	for half := range 2 {
		from := q[128*half : 128*half+128]
		low, high := block[64*half:64*half+64], block[128+32*half:160+32*half]
		for i := 0; i < 32; i += 8 {
			q0, q1, q2, q3 := le.Uint64(from[i:]), le.Uint64(from[i+32:]), le.Uint64(from[i+64:]), le.Uint64(from[i+96:])
			le.PutUint64(low[i:], q0&nibbles|q2&nibbles<<4)
			le.PutUint64(low[i+32:], q1&nibbles|q3&nibbles<<4)
			le.PutUint64(high[i:], q0>>4&pairs|q1>>4&pairs<<2|q2>>4&pairs<<4|q3>>4&pairs<<6)
		}
	}
	return true
}
