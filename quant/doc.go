// Package quant holds the number formats that model weights are stored in, as
// plain-Go definitions: half-precision floats, MLX's affine integers of 2 to 8
// bits, the microscaling floats mxfp4, nvfp4 and mxfp8, and the block formats of
// GGUF files.
//
// A weight matrix is a [Matrix]: the bytes as they lie in the file (often a memory
// mapping) and the [Format] that says how to read them. Nothing here copies weights
// unless a function says so. [Matrix.Row] defines what a stored weight means; faster
// kernels elsewhere are tested against it.
//
// # Affine layout
//
// A row of Cols weights is one little-endian stream of bits: weight j takes the
// bits [j*Bits, (j+1)*Bits), least significant first. Each run of Group weights
// in a row has one scale and one bias, and
//
//	w[j] = scale[j/Group]*q[j] + bias[j/Group]
//
// with both operations rounded to float32. The layout is MLX's (mx.quantize),
// where the same bytes are seen as little-endian uint32 words.
package quant
