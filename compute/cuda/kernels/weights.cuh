// Stored weights: packing of 4-bit ones, and rows of any widened to bf16 or float, for products without a kernel for the
// format and for embeddings.
#pragma once
#include "w4.cuh"

// pack_w4 makes the packed form of MLX's: words of 8 nibbles along a row, scales and biases [N, K/group]. A block of 256
// threads a block of weights. zero is what is taken from the numbers before they are scaled (see pairs).
extern "C" __global__ void __launch_bounds__(256) pack_w4(uint8_t *out, const uint32_t *data, const void *scales, const void *biases, int type, int N, int K, int group, float zero) {
    int kb = blockIdx.x, nb = blockIdx.y;
    uint8_t *blk = out + ((int64_t)nb * gridDim.x + kb) * BlockBytes;
    for (int p = threadIdx.x; p < 512; p += 256) {
        int row = p >> 3, h = (p >> 2) & 1, c = p & 3, n = nb * 64 + row, s = row >> 4, hi = (row >> 3) & 1, r = row & 7;
        uint32_t w = 0;
        if (n < N) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                int word = kb * 8 + 4 * h + j;
                if (8 * word >= K) break;
                uint32_t v = data[(int64_t)n * (K / 8) + word] >> (8 * c);
                w |= (v & 15) << (4 * j) | ((v >> 4) & 15) << (4 * j + 16);
            }
        }
        ((uint32_t *)blk)[unit(s, h, r, c) * 2 + hi] = w;
    }
    if (threadIdx.x >= 64) return;
    int row = threadIdx.x, n = nb * 64 + row, s = row >> 4, hi = (row >> 3) & 1, r = row & 7;
    bool ok = n < N && kb * 64 < K;
    int64_t g = (int64_t)n * (K / group) + kb * 64 / group;
    bf16 *to = (bf16 *)(blk + 2048 + 64 * s + 16 * (r >> 1) + 8 * hi) + (r & 1);
    float scale = ok ? at(scales, type, g) : 0, bias = ok ? at(biases, type, g) : 0;
    to[0] = __float2bfloat16_rn(scale);
    to[2] = __float2bfloat16_rn(fmaf(zero, scale, bias));
}

namespace {
// row_w4 calls f(column, value) for a row of a 4-bit packed weight, in float.
template <class F> __device__ __forceinline__ void row_w4(const uint8_t *w, int64_t n, int K, int KB, float zero, F f) {
    int row = n & 63, s = row >> 4, hi = (row >> 3) & 1, r = row & 7;
    for (int k = threadIdx.x * 2; k < K; k += blockDim.x * 2) {
        const uint8_t *blk = w + ((n >> 6) * KB + (k >> 6)) * BlockBytes;
        int col = k & 63, h = col >> 5, j = (col >> 3) & 3, c = (col >> 1) & 3;
        const bf16 *sc = (const bf16 *)(blk + 2048 + 64 * s + 16 * (r >> 1) + 8 * hi) + (r & 1);
        float scale = widen(sc[0]), bias = widen(sc[2]);
        uint32_t v = ((const uint32_t *)blk)[unit(s, h, r, c) * 2 + hi] >> (4 * j);
        f(k, fmaf(scale, (v & 15) - zero, bias));
        if (k + 1 < K) f(k + 1, fmaf(scale, ((v >> 16) & 15) - zero, bias));
    }
}

__device__ __forceinline__ float e2m1(uint32_t q) {
    float m = (q & 7) < 2 ? 0.5f * (q & 7) : ldexpf(1 + 0.5f * (q & 1), ((q >> 1) & 3) - 1);
    return q & 8 ? -m : m;
}
__device__ __forceinline__ float e4m3(uint32_t b) {
    int e = (b >> 3) & 15;
    float m = (b & 127) == 127 ? __uint_as_float(0x7FC00000) : e ? ldexpf(1 + 0.125f * (b & 7), e - 7) : ldexpf(b & 7, -9);
    return b & 128 ? -m : m;
}

// Kinds of stored weights, the same in Go.
enum Kind { Dense = 0, Affine = 1, Q4K = 2, Q6K = 3, MXFP4 = 4, NVFP4 = 5, MXFP8 = 6 };

__device__ __forceinline__ float half_at(const uint8_t *p) { return __half2float(__ushort_as_half(p[0] | p[1] << 8)); }

// q4k and q6k give weight i of a super-block of 256: see quant/blocks.go.
__device__ __forceinline__ float q4k(const uint8_t *b, int i) {
    int j = i >> 5, sc, mn;
    const uint8_t *s = b + 4;
    if (j < 4) {
        sc = s[j] & 63, mn = s[j + 4] & 63;
    } else {
        sc = (s[j + 4] & 15) | s[j - 4] >> 6 << 4, mn = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
    int q = b[16 + (j >> 1) * 32 + (i & 31)] >> (4 * (j & 1)) & 15;
    return half_at(b) * sc * q - half_at(b + 2) * mn;
}
__device__ __forceinline__ float q6k(const uint8_t *b, int i) {
    int h = i >> 7, k = (i >> 5) & 3, l = i & 31;
    int q = (b[64 * h + 32 * (k & 1) + l] >> (4 * (k >> 1)) & 15 | (b[128 + 32 * h + l] >> (2 * k) & 3) << 4) - 32;
    return half_at(b + 208) * (signed char)b[192 + 8 * h + 2 * k + l / 16] * q;
}

struct Raw {
    const uint8_t *data;
    const void *scales, *biases;
    int kind, type, bits, group, K;
};

__device__ __forceinline__ float weight_at(const Raw &w, int64_t n, int k) {
    if (w.kind == Dense) return at(w.data, w.type, n * w.K + k);
    if (w.kind == Q4K) return q4k(w.data + (n * (w.K / 256) + k / 256) * 144, k & 255);
    if (w.kind == Q6K) return q6k(w.data + (n * (w.K / 256) + k / 256) * 210, k & 255);
    const uint8_t *row = w.data + n * (w.K / 8) * w.bits;
    int bit = k * w.bits;
    uint32_t q = row[bit >> 3];
    if ((bit & 7) + w.bits > 8) q |= row[(bit >> 3) + 1] << 8;
    q = (q >> (bit & 7)) & ((1u << w.bits) - 1);
    int64_t g = n * (w.K / w.group) + k / w.group;
    if (w.kind == Affine) return at(w.scales, w.type, g) * q + at(w.biases, w.type, g);
    uint32_t s = ((const uint8_t *)w.scales)[g];
    if (w.kind == NVFP4) return e2m1(q) * e4m3(s);
    return (w.kind == MXFP8 ? e4m3(q) : e2m1(q)) * ldexpf(1, (int)s - 127);
}
}  // namespace

// rows_w4 and rows_raw write rows of a weight as Y [rows, K]: those that ids name, or blockIdx.x from row `first` on. A
// negative id gives zeros, one beyond N sets *bad.
#define K_ROWS(s, Y)                                                                                                                                           \
    extern "C" __global__ void rows_w4_##s(uint32_t *bad, Y *y, const uint8_t *w, const int *ids, int first, int N, int K, int KB, float zero) {               \
        launch_dependents();                                                                                                                                   \
        wait_for_earlier();                                                                                                                                    \
        int64_t n = ids ? ids[blockIdx.x] : first + (int)blockIdx.x;                                                                                           \
        y += (int64_t)blockIdx.x * K;                                                                                                                          \
        if (n < 0 || n >= N) {                                                                                                                                 \
            if (n >= 0 && threadIdx.x == 0) *bad = 1;                                                                                                          \
            for (int k = threadIdx.x; k < K; k += blockDim.x) round_to(y + k, 0);                                                                              \
            return;                                                                                                                                            \
        }                                                                                                                                                      \
        row_w4(w, n, K, KB, zero, [&](int k, float v) { round_to(y + k, v); });                                                                                      \
    }                                                                                                                                                          \
    extern "C" __global__ void rows_raw_##s(uint32_t *bad, Y *y, const uint8_t *data, const void *scales, const void *biases, const int *ids, int first,       \
                                            int kind, int type, int bits, int group, int N, int K) {                                                           \
        int64_t n = ids ? ids[blockIdx.x] : first + (int)blockIdx.x;                                                                                           \
        y += (int64_t)blockIdx.x * K;                                                                                                                          \
        if (n < 0 || n >= N) {                                                                                                                                 \
            if (n >= 0 && threadIdx.x == 0) *bad = 1;                                                                                                          \
            for (int k = threadIdx.x; k < K; k += blockDim.x) round_to(y + k, 0);                                                                              \
            return;                                                                                                                                            \
        }                                                                                                                                                      \
        Raw w = {data, scales, biases, kind, type, bits, group, K};                                                                                            \
        for (int k = threadIdx.x; k < K; k += blockDim.x) round_to(y + k, weight_at(w, n, k));                                                                 \
    }
EACH_TYPE(K_ROWS)

// update_operands makes the two matrices of a low-rank update ready for the products: u [T, rank] and v, element (n, l) at
// n*si + l*sj for the n-th of `width` results, times alpha, as bf16 ou [T, cols] and ov [rows, cols] with zeros beyond.
// Each number is two of bf16, so that nothing is lost: columns are hi, lo, hi of u and hi, hi, lo of v. 8 columns a thread.
extern "C" __global__ void __launch_bounds__(256) update_operands(bf16 *ou, bf16 *ov, const float *u, const float *v, int T, int rows, int width, int rank, int cols, int64_t si, int64_t sj, float alpha) {
    int64_t p = (int64_t)blockIdx.x * 256 + threadIdx.x, row = p / (cols / 8);
    if (row >= T + rows) return;
    int c0 = p % (cols / 8) * 8;
    bool left = row < T;
    if (!left) row -= T;
    float f[8];
#pragma unroll
    for (int k = 0; k < 8; k++) {
        int part = (c0 + k) / rank, l = (c0 + k) % rank;
        f[k] = 0;
        if (part > 2 || (!left && row >= width)) continue;
        float x = left ? u[row * rank + l] : alpha * v[row * si + l * sj], hi = widen(__float2bfloat16_rn(x));
        f[k] = part == (left ? 1 : 2) ? x - hi : hi;
    }
    put8(left ? ou : ov, f, row * cols + c0, ((int64_t)T + rows) * cols);
}
