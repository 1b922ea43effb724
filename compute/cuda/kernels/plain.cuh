// Tiles of products by plain arithmetic, for what mma does not take: 64 by 64 numbers a block of 256 threads.
#pragma once
#include "common.cuh"

namespace {
// Slab is 16 rows of 64 numbers, a row wider so that its columns, too, lie in different banks.
using Slab = float[16][65];

// product64: acc [64, 64] += a [64, from..to] b [from..to, 64]. fill(as, bs, k0, p) puts number p of 1024 of a's columns and of
// b's rows k0 to k0 + 15 into as and bs, zero where there is none: p is theirs to share out as memory lies.
template <class F> __device__ __forceinline__ void product64(float (&acc)[4][4], int from, int to, F fill) {
    __shared__ Slab as, bs;
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
#pragma unroll 1
    for (int k0 = from; k0 < to; k0 += 16) {
        for (int p = threadIdx.x; p < 1024; p += 256) fill(as, bs, k0, p);
        __syncthreads();
#pragma unroll
        for (int l = 0; l < 16; l++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) acc[i][j] += as[l][ty + 16 * i] * bs[l][tx + 16 * j];
        __syncthreads();
    }
}

// each64 gives f each of the thread's elements, with the row and the column in the tile.
template <class F> __device__ __forceinline__ void each64(float (&acc)[4][4], F f) {
    const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) f(acc[i][j], ty + 16 * i, tx + 16 * j);
}
}  // namespace
