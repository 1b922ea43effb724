package quant

import (
	"encoding/binary"
	"math"
)

// searches are the parts of encoding K blocks that take the time. The plain ones are
// the definition; others give the same bits on every input that Encode lets through.
type searches struct {
	name string
	// grids finds a grid for each of the eight groups of a super-block.
	grids func(found *grids, x *[256]float32, s *gridSearch)
	// signed finds a scale for each of the sixteen groups.
	signed func(found *signedScales, x *[256]float32)
	// integers rounds (x+offset)/scale to a level from low on, and subtracts low. Each
	// scale and offset serves 16 weights.
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

// levelOf is level of a quotient. Dividing by nearly nothing gives one that is no number
// or beyond an int64: it counts as low.
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

// fit searches for the grid nearest to x by the weighted sum of squares. Large weights
// count for more, small ones are not forgotten. No product is fused with a sum, so that
// all machines write the same.
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

// gridSums sets q to the integers of a trial and returns the weighted sums of q, q² and
// x·q.
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

// gridDistance is the weighted sum of squares of how far scale*q + low is from x. It may
// stop at any number of enough or more.
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
//
//	bytes    0  2     4                       16        (48)
//	Q4_K     d  dmin  8 scales and 8 minima             128 bytes of nibbles
//	Q5_K     d  dmin  8 scales and 8 minima   32 bytes  128 bytes of nibbles
//	                                          of fifth bits
func (s *searches) encodeK(b BlockType, block []byte, x *[256]float32) bool {
	search := searchQ4K
	if b == BlockQ5K {
		search = searchQ5K
	}
	levels := search.spans[0]
	var found grids
	s.grids(&found, x, search)
	var scale, offset [16]float32
	if !found.put(block, &scale, &offset) {
		return false
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
	low := block[headK:]
	if b == BlockQ5K {
		putFifthBits(low, &q)
		low = low[32:]
	}
	putNibbles(low, &q)
	return true
}

const (
	headK  = 16 // bytes of a Q4_K or Q5_K super-block before its integers
	sixTop = 63 // largest scale or minimum of 6 bits
)

// put writes the head of a super-block: d, dmin, scales and minima. scale and offset
// become what these give, for each half of a group. It is false when d or dmin is too
// large.
func (g *grids) put(block []byte, scale, offset *[16]float32) bool {
	var topScale, topMin float32
	for j := range 8 {
		topScale, topMin = max(topScale, g.scale[j]), max(topMin, -g.low[j])
	}
	d, dmin := topScale/sixTop, topMin/sixTop
	if !fits(d, F16) || !fits(dmin, F16) {
		return false
	}
	le := binary.LittleEndian
	le.PutUint16(block, F32ToF16(d))
	le.PutUint16(block[2:], F32ToF16(dmin))
	d, dmin = F16ToF32(F32ToF16(d)), F16ToF32(F32ToF16(dmin)) // as they are stored
	perScale, perMin := float32(0), float32(0)
	if topScale > 0 {
		perScale = sixTop / topScale
	}
	if topMin > 0 {
		perMin = sixTop / topMin
	}
	packed := block[4:headK]
	clear(packed)
	for j := range 8 {
		sc, mn := uint8(levelOf(perScale*g.scale[j], 0, sixTop)), uint8(levelOf(perMin*-g.low[j], 0, sixTop))
		putScaleAndMin(packed, j, sc, mn)
		scale[2*j], offset[2*j] = d*float32(sc), dmin*float32(mn)
		scale[2*j+1], offset[2*j+1] = scale[2*j], offset[2*j]
	}
	return true
}

// putScaleAndMin is the inverse of scaleAndMin, on bytes that are 0 at first.
func putScaleAndMin(packed []byte, j int, sc, mn uint8) {
	if j < 4 {
		packed[j], packed[j+4] = packed[j]|sc, packed[j+4]|mn
		return
	}
	// The low 4 bits go here, the high 2 above the entries of j-4.
	packed[j+4] = sc&15 | mn&15<<4
	packed[j-4] |= sc >> 4 << 6
	packed[j] |= mn >> 4 << 6
}

// putFifthBits writes the fifth bits of the integers: those of group j are bits j.
func putFifthBits(high []byte, q *[256]uint8) {
	const lowest = 0x0101010101010101 // bit of each byte
	le := binary.LittleEndian
	for i := 0; i < 32; i += 8 {
		var word uint64
		for j := range 8 {
			word |= le.Uint64(q[32*j+i:]) >> 4 & lowest << j
		}
		le.PutUint64(high[i:], word)
	}
}

// putNibbles writes the low nibbles of the integers. A run of 32 bytes serves two
// groups: low nibbles, then high ones.
func putNibbles(low []byte, q *[256]uint8) {
	const nibbles = 0x0f0f0f0f0f0f0f0f
	le := binary.LittleEndian
	for at := 0; at < 128; at += 8 {
		first := q[at/32*64+at%32:]
		le.PutUint64(low[at:], le.Uint64(first)&nibbles|le.Uint64(first[32:])&nibbles<<4)
	}
}

func integersPlain(q *[256]uint8, x *[256]float32, scale, offset *[16]float32, low, high float32) {
	for i, v := range x {
		q[i] = uint8(levelOf((v+offset[i/16])/scale[i/16], low, high) - low)
	}
}

// zeroQ6K is the integer that stands for zero.
const zeroQ6K = 32

// inversesQ6K are the numbers that the search tries for the weight of largest magnitude,
// before they are rounded and limited to integers of the type.
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

// tiny is the magnitude below which a weight counts as nothing.
const tiny = 1e-15

// fitSigned searches for the scale nearest to x; large weights count by their square. It
// tries 19 scales around the one that gives the value of largest magnitude the lowest
// integer. No product is fused with a sum, as in gridSearch.fit.
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
	putSixBits(block, &q)
	return true
}

// putSixBits writes the integers of Q6_K: of each half, 64 bytes with the low nibbles of
// its quarters 0 and 1, and above them those of 2 and 3; then 32 bytes of bit pairs.
func putSixBits(block []byte, q *[256]uint8) {
	le := binary.LittleEndian
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
}
