// Package parquet reads rows out of Apache Parquet files, as the datasets of the Hugging Face hub come in.
//
// It follows the format's specification (https://github.com/apache/parquet-format). Read are flat and nested
// columns (structs, lists, maps), data pages of version 1 and 2, all encodings that writers use by default or on
// demand (plain, dictionary, run-length, the three deltas, split bytes), and pages that are stored plain or packed
// with snappy, gzip, zstd or LZ4. Encrypted files, Brotli and LZO are refused by name.
//
// Files come from strangers. Every length in one is checked against the bytes that are there before anything is
// allocated, pages are unpacked into buffers of a bounded size, and a row may not grow beyond 64 MiB. Only
// the pages that are being read are in memory, one of each column.
package parquet
