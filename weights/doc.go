// Package weights reads and writes the files that hold a model's weights, and
// gives them out by their Hugging Face names.
//
// [Open] takes a folder of safetensors files (as published by transformers, or
// quantized by MLX) or one GGUF file, and returns a [Source]. Both look alike
// from outside: names such as "model.layers.0.self_attn.q_proj.weight", a
// config.json, and matrices in the formats of package quant.
//
// # What is copied
//
// Files are memory-mapped, and tensors point into the mapping: nothing is read
// before it is used, and memory pressure costs no swap. Three things are made
// anew, on the first request, and kept until Close:
//
//   - GGUF tensors of type Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and Q5_K, which become
//     the equal affine form;
//   - the query and key projections of GGUF files of the llama family, because
//     their rows are in another order (see [GGUF]);
//   - everything, on systems without memory mapping.
//
// Stacks of experts are made anew for each request, and not kept, in a folder that has
// a tensor for each expert.
//
// All data given out is read-only and valid until Close. It may start at any
// address: the formats do not align numbers to their size. A file must not be
// cut short while it is open.
package weights
