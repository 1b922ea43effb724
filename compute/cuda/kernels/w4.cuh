// The packed form of a 4-bit affine weight W [N, K] with groups that are multiples of 64: blocks of 64 rows by 64 columns, 2304 bytes
// each (4.5 bits a weight), block (n/64, k/64) at ((n/64)*KB + k/64)*2304. Rows and columns are filled up to multiples
// of 128 with zeros, KB is the filled-up K over 64.
//
// A block is 2048 bytes of numbers and 256 of scales, laid so that a lane of mma and wgmma finds what it needs for W as an
// operand (forward) and for W transposed (gradient of the input) in reads of 8 and 16 bytes without bank conflicts.
//
// Word (row, half h, c): columns 32h + 8j + 2c in nibble j, + 1 in nibble j + 4, j = 0..3. So (w>>4j)&0x000F000F is a
// pair of neighbours in a row, and the low halves of the words of two rows give pairs of neighbours in a column.
//
// A unit is the words of rows 16s+r and 16s+r+8, r = 4*r2 + 2*r1 + r0, at unit number
// ((s*2 + h)*2 + r0)*16 + 8*(r2^r0) + 4*r1 + c.
//
// Scales: for rows 16s + 2p, +1 and 16s + 8 + 2p, +1 sixteen bytes at 2048 + 64s + 16p: {s, s'}, {b, b'}, then the same
// of rows + 8.
#pragma once
#include "common.cuh"

constexpr int BlockBytes = 2304;

// What follows products in their launch: nothing, a sum, or silu(the first) * the second.
enum Behind { Nothing, Added, Gated };

// pairs turns nibbles (j, j+4) of a word into two bf16 numbers s*(q - z) + b. zero is -128-z, twice: z is 0 where scale
// and bias are bf16 to begin with, and 8 where they are rounded to it, as the bias is small then.
__device__ __forceinline__ uint32_t pairs(uint32_t w, int j, __nv_bfloat162 s, __nv_bfloat162 b, uint32_t zero) {
    uint32_t t = and_or(w >> (4 * j), 0x43004300u);  // 128 + q, exact
    __nv_bfloat162 q = __hadd2(*(__nv_bfloat162 *)&t, *(__nv_bfloat162 *)&zero);
    q = __hfma2(q, s, b);
    return *(uint32_t *)&q;
}

// unit is where rows 16s+r and 16s+r+8 have half h, piece c.
__device__ __forceinline__ int unit(int s, int h, int r, int c) {
    return ((s * 2 + h) * 2 + (r & 1)) * 16 + (((r >> 2) ^ r) & 1) * 8 + ((r >> 1) & 1) * 4 + c;
}

// pick gives one of two bf16 numbers, twice.
__device__ __forceinline__ __nv_bfloat162 pick(uint32_t v, int odd) {
    uint32_t t = __byte_perm(v, 0, odd ? 0x3232 : 0x1010);
    return *(__nv_bfloat162 *)&t;
}

// rows_frag is a lane's A operand for rows 16w .. 16w+15 of a block by its 64 columns, in 4 steps of 16.
__device__ __forceinline__ void rows_frag(uint32_t (&a)[4][4], uint2 q0, uint2 q1, uint4 v, int odd, uint32_t zero) {
    __nv_bfloat162 s0 = pick(v.x, odd), b0 = pick(v.y, odd), s1 = pick(v.z, odd), b1 = pick(v.w, odd);
#pragma unroll
    for (int s = 0; s < 4; s++) {
        uint2 q = s < 2 ? q0 : q1;
        int j = 2 * (s & 1);
        a[s][0] = pairs(q.x, j, s0, b0, zero);
        a[s][1] = pairs(q.y, j, s1, b1, zero);
        a[s][2] = pairs(q.x, j + 1, s0, b0, zero);
        a[s][3] = pairs(q.y, j + 1, s1, b1, zero);
    }
}
