// Products of bf16 activations with the few columns of low-rank updates, several in a launch: x A and dy Bᵀ, which sum over a
// row of activations (narrow_mma), and the gradients of A and B, which sum over all rows (tall_mma).
//
// A block asks for 64 KiB of activations at once, straight to registers, before it uses any of them: nothing else would keep
// the memory busy for so short a time. All products of the same activations are made of that one read. The few columns are
// float32, taken as two numbers of bf16 each.
#include "common.cuh"

namespace {
// A Thin is one product of a launch. Those of the same x lie side by side and have the same `first`.
struct Thin {
    float *c;        // narrow: [rows, few]; tall: [few, many], or [many, few] where turned
    const bf16 *x;   // [rows, many]
    const float *s;  // narrow: [many, few], or [few, many] where turned; tall: [rows, few]
    float *parts;    // c for each part of the sum, where there is more than one
    int few, many;
    int first, flags;  // the first of the units that the products of x are made in, see thin_first; Turned and Adding
    float alpha;
};
constexpr int MostThin = 6, Turned = 1, Adding = 2;
struct ThinList { Thin p[MostThin]; };

// thin_first is the first of the n products that unit u is of.
__device__ __forceinline__ int thin_first(const ThinList &list, int n, int u) {
    int first = 0;
    for (int i = 1; i < n; i++) if (list.p[i].first <= u && list.p[i].first != list.p[first].first) first = i;
    return first;
}

__device__ __forceinline__ void thin_put(const Thin &p, int64_t i, float v) { p.c[i] = p.alpha * v + (p.flags & Adding ? p.c[i] : 0); }

// thin_last tells the last of the blocks that count together; all of them have written their parts then.
__device__ __forceinline__ bool thin_last(uint32_t *count, int blocks) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(count, 1) == blocks - 1;
        if (last) *count = 0;
    }
    __syncthreads();
    __threadfence();
    return last;
}

// thin_sum adds up the parts of element i of c, in order.
__device__ __forceinline__ float thin_sum(const Thin &p, int64_t i, int parts, int64_t size) {
    float v = 0;
#pragma unroll 8
    for (int k = 0; k < parts; k++) v += __ldcg(p.parts + k * size + i);
    return v;
}

// halves splits a float pair into bf16 pairs: their sum has the float's precision, nearly.
__device__ __forceinline__ void halves(float a, float b, uint32_t &hi, uint32_t &lo) {
    hi = pack2(a, b);
    lo = pack2(a - low(hi), b - high(hi));
}

// narrow_columns reads columns n0 to n0+7 of s: this lane's share of 64 numbers from k0 on, 8 neighbours of each 32.
__device__ __forceinline__ void narrow_columns(float (&f)[2][8], const Thin &p, int n0, int k0) {
    const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3, n = n0 + g;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int k = k0 + 32 * h + 8 * q;
#pragma unroll
        for (int i = 0; i < 8; i++) f[h][i] = 0;
        if (n >= p.few || k >= p.many) continue;
        if (p.flags & Turned) {
            get8(f[h], p.s + (int64_t)n * p.many, k, p.many);
        } else {
#pragma unroll
            for (int i = 0; i < 8; i++) f[h][i] = __ldg(p.s + (int64_t)(k + i) * p.few + n);
        }
    }
}

// narrow_unit: c [M, few] = alpha x s (+ c). A block makes 64 rows, for one of the units of 512 numbers that a row of x is cut
// into; a warp sums over 64 of them. gridDim.y is the units of all x. The order of a row's sum depends on `many` alone.
__device__ __forceinline__ void narrow_unit(const ThinList &list, int n, int M, uint32_t *counts) {
    __shared__ float part[8][64 * 8];
    overlap_start();
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3, m0 = blockIdx.x * 64;
    const int first = thin_first(list, n, blockIdx.y), unit = blockIdx.y - list.p[first].first, K = list.p[first].many;
    const int units = (K + 511) / 512, k0 = unit * 512 + warp * 64;
    float f[2][8];
    narrow_columns(f, list.p[first], 0, k0);
    uint4 x[4][2][2];  // of 16 rows each: 32 numbers each: rows g and g + 8
#pragma unroll
    for (int t = 0; t < 4; t++)
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                int k = k0 + 32 * h + 8 * q;
                x[t][h][e] = k < K ? *(const uint4 *)(list.p[first].x + (int64_t)min(m0 + 16 * t + 8 * e + g, M - 1) * K + k) : make_uint4(0, 0, 0, 0);
            }
    int i = first, n0 = 0;
    while (true) {
        const Thin &p = list.p[i];
        float acc[4][4] = {};
#pragma unroll
        for (int h = 0; h < 2; h++) {
            uint32_t hi[4], lo[4];
#pragma unroll
            for (int k = 0; k < 4; k++) halves(f[h][2 * k], f[h][2 * k + 1], hi[k], lo[k]);
#pragma unroll
            for (int t = 0; t < 4; t++) {
                const uint4 a = x[t][h][0], b = x[t][h][1];
                const uint32_t left[4] = {a.x, b.x, a.y, b.y}, right[4] = {a.z, b.z, a.w, b.w};
                mma(acc[t], left, hi[0], hi[1]);
                mma(acc[t], right, hi[2], hi[3]);
                mma(acc[t], left, lo[0], lo[1]);
                mma(acc[t], right, lo[2], lo[3]);
            }
        }
#pragma unroll
        for (int t = 0; t < 4; t++)
#pragma unroll
            for (int e = 0; e < 2; e++) *(float2 *)&part[warp][(16 * t + 8 * e + g) * 8 + 2 * q] = make_float2(acc[t][2 * e], acc[t][2 * e + 1]);
        const int column = n0;
        n0 += 8;
        if (n0 >= p.few) n0 = 0, i++;
        const bool more = i < n && list.p[i].first == list.p[first].first;
        if (more) narrow_columns(f, list.p[i], n0, k0);
        __syncthreads();
#pragma unroll
        for (int e = threadIdx.x; e < 512; e += 256) {
            int row = m0 + e / 8, col = column + e % 8;
            if (row >= M || col >= p.few) continue;
            float v = 0;
#pragma unroll
            for (int w = 0; w < 8; w++) v += part[w][e];
            int64_t at = (int64_t)row * p.few + col;
            if (units == 1) thin_put(p, at, v); else p.parts[(int64_t)unit * M * p.few + at] = v;
        }
        if (!more) break;
        __syncthreads();
    }
    if (units == 1 || !thin_last(counts + first * gridDim.x + blockIdx.x, units)) return;
    for (i = first; i < n && list.p[i].first == list.p[first].first; i++) {
        const Thin &p = list.p[i];
        int64_t from = (int64_t)m0 * p.few, size = (int64_t)M * p.few;
        for (int e = threadIdx.x; e < min(64, M - m0) * p.few; e += 256) thin_put(p, from + e, thin_sum(p, from + e, units, size));
    }
}

// word is word i of a vector, i known when the kernel is compiled.
__device__ __forceinline__ uint32_t word(const uint4 &v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// tall_rows reads rows r0 to r0+7 of sᵀ: this lane's share of 64 rows of s from t0 on. What does not exist is not zero: rows of
// c that are not there, and what x has zeros for.
__device__ __forceinline__ void tall_rows(float (&f)[4][4], const Thin &p, int r0, int t0, int T) {
    const float *column = p.s + min(r0 + ((threadIdx.x & 31) >> 2), p.few - 1);
#pragma unroll
    for (int s = 0; s < 4; s++)
#pragma unroll
        for (int e = 0; e < 4; e++) f[s][e] = __ldg(column + (int64_t)min(t0 + 16 * s + 2 * (threadIdx.x & 3) + (e & 1) + 8 * (e >> 1), T - 1) * p.few);
}

// tall_unit: c = alpha sᵀ x (+ c), a sum over T rows. A block makes a unit of 64 columns, for 512 rows; a warp sums over 64 of
// them. gridDim.x is the units of all x, gridDim.y the parts of the sum.
__device__ __forceinline__ void tall_unit(const ThinList &list, int n, int T, uint32_t *counts) {
    constexpr int Row = 68;  // of the sums in shared memory: 64 and what keeps rows in different banks
    __shared__ float part[8][8 * Row];
    overlap_start();
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
    const int first = thin_first(list, n, blockIdx.x), W = list.p[first].many, w0 = (blockIdx.x - list.p[first].first) * 64;
    const int t0 = blockIdx.y * 512 + warp * 64, parts = gridDim.y;
    float f[4][4];
    tall_rows(f, list.p[first], 0, t0, T);
    uint4 x[4][4];  // of 16 rows each: rows 2q, 2q+1, 2q+8, 2q+9, columns 8g to 8g+7
#pragma unroll
    for (int s = 0; s < 4; s++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int t = t0 + 16 * s + 2 * q + (e & 1) + 8 * (e >> 1), w = w0 + 8 * g;
            x[s][e] = t < T && w < W ? *(const uint4 *)(list.p[first].x + (int64_t)t * W + w) : make_uint4(0, 0, 0, 0);
        }
    int i = first, r0 = 0;
    while (true) {
        const Thin &p = list.p[i];
        uint32_t a[4][4];
#pragma unroll
        for (int s = 0; s < 4; s++) halves(f[s][0], f[s][1], a[s][0], a[s][1]), halves(f[s][2], f[s][3], a[s][2], a[s][3]);
#pragma unroll
        for (int k = 0; k < 8; k += 4) {
            float acc[4][4] = {};  // tile j: columns k+j, k+j+8 and so on; rows of the high parts, then of the low
#pragma unroll
            for (int s = 0; s < 4; s++)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    const uint32_t half = j & 1 ? 0x7632 : 0x5410;
                    mma(acc[j], a[s], __byte_perm(word(x[s][0], (k + j) / 2), word(x[s][1], (k + j) / 2), half),
                        __byte_perm(word(x[s][2], (k + j) / 2), word(x[s][3], (k + j) / 2), half));
                }
#pragma unroll
            for (int e = 0; e < 2; e++)
                *(float4 *)&part[warp][g * Row + 8 * (2 * q + e) + k] =
                    make_float4(acc[0][e] + acc[0][e + 2], acc[1][e] + acc[1][e + 2], acc[2][e] + acc[2][e + 2], acc[3][e] + acc[3][e + 2]);
        }
        const int row = r0, turned = p.flags & Turned;
        r0 += 8;
        if (r0 >= p.few) r0 = 0, i++;
        const bool more = i < n && list.p[i].first == list.p[first].first;
        if (more) tall_rows(f, list.p[i], r0, t0, T);
        __syncthreads();
#pragma unroll
        for (int e = threadIdx.x; e < 512; e += 256) {
            int r = turned ? e % 8 : e / 64, col = turned ? e / 8 : e % 64;
            if (row + r >= p.few || w0 + col >= W) continue;
            float v = 0;
#pragma unroll
            for (int w = 0; w < 8; w++) v += part[w][r * Row + col];
            int64_t at = turned ? (int64_t)(w0 + col) * p.few + row + r : (int64_t)(row + r) * W + w0 + col;
            if (parts == 1) thin_put(p, at, v); else p.parts[(int64_t)blockIdx.y * p.few * W + at] = v;
        }
        if (!more) break;
        __syncthreads();
    }
    if (parts == 1 || !thin_last(counts + blockIdx.x, parts)) return;
    for (i = first; i < n && list.p[i].first == list.p[first].first; i++) {
        const Thin &p = list.p[i];
        const int columns = min(64, W - w0);
        for (int e = threadIdx.x; e < columns * p.few; e += 256) {
            int64_t at = p.flags & Turned ? (int64_t)w0 * p.few + e : (int64_t)(e / columns) * W + w0 + e % columns;
            thin_put(p, at, thin_sum(p, at, parts, (int64_t)p.few * W));
        }
    }
}
}  // namespace

extern "C" __global__ void __launch_bounds__(256, 2) narrow_mma(const __grid_constant__ ThinList list, int n, int M, uint32_t *counts) {
    narrow_unit(list, n, M, counts);
}
extern "C" __global__ void __launch_bounds__(256, 2) tall_mma(const __grid_constant__ ThinList list, int n, int T, uint32_t *counts) {
    tall_unit(list, n, T, counts);
}
