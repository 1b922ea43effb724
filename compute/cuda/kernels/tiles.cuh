// Tiles of bf16 numbers in shared memory, and operands of mma from them.
#pragma once
#include "common.cuh"

namespace {
// load_tile starts the copy of 64 rows of a head of dim values, of which rows below `rows` exist, to shared memory of rows
// of DP values, swizzled; 128 threads. What does not exist becomes zero.
template <int DP> __device__ __forceinline__ void load_tile(uint32_t dst, const bf16 *src, int64_t width, int row0, int rows, int dim) {
    constexpr int C = DP / 8;
#pragma unroll
    for (int i = 0; i < 64 * C / 128; i++) {
        int p = threadIdx.x + 128 * i, r = p / C, c = p % C;
        bool ok = row0 + r < rows && c * 8 < dim;
        cp16(dst + r * DP * 2 + ((c ^ (r & 7)) << 4), ok ? src + (int64_t)(row0 + r) * width + c * 8 : src, ok);
    }
}

// Operands of a swizzled tile. rows16 is A: 16 rows from r0, values 16s on. cols16 is B whose columns are 16 rows from r0
// on; down16 is B whose columns are 16 values from 16d on, summed over 16 rows from r0 on.
template <int DP> __device__ __forceinline__ void rows16(uint32_t (&a)[4], uint32_t tile, int r0, int s) {
    int lane = threadIdx.x & 31, r = r0 + (lane & 15), c = s * 2 + (lane >> 4);
    ldmatrix(a, tile + r * DP * 2 + ((c ^ (r & 7)) << 4));
}
template <int DP> __device__ __forceinline__ void cols16(uint32_t (&b)[4], uint32_t tile, int r0, int s) {
    int lane = threadIdx.x & 31, r = r0 + (lane & 7) + ((lane >> 4) << 3), c = s * 2 + ((lane >> 3) & 1);
    ldmatrix(b, tile + r * DP * 2 + ((c ^ (r & 7)) << 4));
}
template <int DP> __device__ __forceinline__ void down16(uint32_t (&b)[4], uint32_t tile, int r0, int d) {
    int lane = threadIdx.x & 31, r = r0 + (lane & 15), c = d * 2 + (lane >> 4);
    ldmatrix_trans(b, tile + r * DP * 2 + ((c ^ (r & 7)) << 4));
}
}  // namespace
