package quant

import "encoding/binary"

// affineRow decodes one row: len(dst) weights packed in src, with the scales
// and biases of its groups. Every sum is w = float32(scale*q) + bias.
func affineRow(dst []float32, src, scales, biases []byte, f Format) {
	const chunk = 64 // groups whose scales are widened at once, on the stack
	var sbuf, bbuf [chunk]float32
	size := f.DType.Size()
	groupBytes := f.Group / 8 * f.Bits
	for groups := len(dst) / f.Group; groups > 0; {
		n := min(groups, chunk)
		Floats(sbuf[:n], scales, f.DType)
		Floats(bbuf[:n], biases, f.DType)
		for g := range n {
			affineGroup(dst[g*f.Group:(g+1)*f.Group], src[g*groupBytes:(g+1)*groupBytes], sbuf[g], bbuf[g], f.Bits)
		}
		groups -= n
		scales, biases = scales[n*size:], biases[n*size:]
		dst, src = dst[n*f.Group:], src[n*groupBytes:]
	}
}

// affineGroup decodes one group. Narrow widths look up the few possible values, wide
// ones compute them.
func affineGroup(dst []float32, src []byte, scale, bias float32, bits int) {
	switch bits {
	case 2:
		group2(dst, src, scale, bias)
	case 3:
		group3(dst, src, scale, bias)
	case 4:
		group4(dst, src, scale, bias)
	case 5:
		group5(dst, src, scale, bias)
	case 6:
		group6(dst, src, scale, bias)
	case 8:
		for i, q := range src[:len(dst)] {
			dst[i] = float32(scale*float32(q)) + bias
		}
	}
}

// levels fills table with the values of q = 0, 1, 2, ...
func levels(table []float32, scale, bias float32) {
	for q := range table {
		table[q] = float32(scale*float32(q)) + bias
	}
}

func group2(dst []float32, src []byte, scale, bias float32) {
	var table [4]float32
	levels(table[:], scale, bias)
	for i, b := range src {
		d := (*[4]float32)(dst[4*i:])
		d[0] = table[b&3]
		d[1] = table[b>>2&3]
		d[2] = table[b>>4&3]
		d[3] = table[b>>6]
	}
}

// group3 reads eight weights from three bytes.
func group3(dst []float32, src []byte, scale, bias float32) {
	var table [8]float32
	levels(table[:], scale, bias)
	for ; len(src) >= 3; src, dst = src[3:], dst[8:] {
		v := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
		d := (*[8]float32)(dst)
		for i := range d {
			d[i] = table[v&7]
			v >>= 3
		}
	}
}

func group4(dst []float32, src []byte, scale, bias float32) {
	var table [16]float32
	levels(table[:], scale, bias)
	for ; len(src) >= 4; src, dst = src[4:], dst[8:] {
		v := binary.LittleEndian.Uint32(src)
		d := (*[8]float32)(dst)
		d[0] = table[v&15]
		d[1] = table[v>>4&15]
		d[2] = table[v>>8&15]
		d[3] = table[v>>12&15]
		d[4] = table[v>>16&15]
		d[5] = table[v>>20&15]
		d[6] = table[v>>24&15]
		d[7] = table[v>>28]
	}
}

// group5 reads eight weights from five bytes.
func group5(dst []float32, src []byte, scale, bias float32) {
	for ; len(src) >= 5; src, dst = src[5:], dst[8:] {
		v := uint64(binary.LittleEndian.Uint32(src)) | uint64(src[4])<<32
		d := (*[8]float32)(dst)
		for i := range d {
			d[i] = float32(scale*float32(uint32(v)&31)) + bias
			v >>= 5
		}
	}
}

// group6 reads four weights from three bytes.
func group6(dst []float32, src []byte, scale, bias float32) {
	for ; len(src) >= 3; src, dst = src[3:], dst[4:] {
		v := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
		d := (*[4]float32)(dst)
		d[0] = float32(scale*float32(v&63)) + bias
		d[1] = float32(scale*float32(v>>6&63)) + bias
		d[2] = float32(scale*float32(v>>12&63)) + bias
		d[3] = float32(scale*float32(v>>18)) + bias
	}
}
