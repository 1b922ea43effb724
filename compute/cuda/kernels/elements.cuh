// Element by element, and rows of a matrix: 8 values a thread.
#pragma once
#include "common.cuh"

namespace {
__device__ __forceinline__ int64_t first8() { return 8 * ((int64_t)blockIdx.x * blockDim.x + threadIdx.x); }

template <class Y, class A, class B> __device__ __forceinline__ void add(Y *y, const A *a, const B *b, float alpha, int64_t n) {
    overlap_start();
    int64_t i = first8();
    if (i >= n) return;
    float u[8], v[8];
    get8(u, a, i, n);
    get8(v, b, i, n);
#pragma unroll
    for (int k = 0; k < 8; k++) u[k] += alpha * v[k];
    put8(y, u, i, n);
}

template <class T> __device__ __forceinline__ void scale(T *y, const T *x, float alpha, int64_t n) {
    int64_t i = first8();
    if (i >= n) return;
    float v[8];
    get8(v, x, i, n);
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] *= alpha;
    put8(y, v, i, n);
}

template <class T> __device__ __forceinline__ void fill(T *y, float value, int64_t n) {
    int64_t i = first8();
    if (i >= n) return;
    float v[8];
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = value;
    put8(y, v, i, n);
}

__device__ __forceinline__ float sigmoid(float x) { return reciprocal(1 + exp2_fast(-1.44269504f * x)); }

// gate_up makes silu(g) u of u; gate_back of g and of the result's gradient d those of g and of u.
__device__ __forceinline__ void gate_up(const float (&g)[8], float (&u)[8]) {
#pragma unroll
    for (int k = 0; k < 8; k++) u[k] *= g[k] * sigmoid(g[k]);
}
__device__ __forceinline__ void gate_back(float (&g)[8], const float (&u)[8], float (&d)[8]) {
#pragma unroll
    for (int k = 0; k < 8; k++) {
        float s = sigmoid(g[k]), dk = d[k];
        d[k] = dk * g[k] * s;
        g[k] = dk * u[k] * s * (1 + g[k] * (1 - s));
    }
}

template <class T> __device__ __forceinline__ void swiglu(T *y, const T *gate, const T *up, int64_t n) {
    overlap_start();
    int64_t i = first8();
    if (i >= n) return;
    float g[8], u[8];
    get8(g, gate, i, n);
    get8(u, up, i, n);
    gate_up(g, u);
    put8(y, u, i, n);
}

template <class T> __device__ __forceinline__ void swiglu_grad(T *dgate, T *dup, const T *gate, const T *up, const T *dy, int64_t n) {
    overlap_start();
    int64_t i = first8();
    if (i >= n) return;
    float g[8], u[8], d[8];
    get8(g, gate, i, n);
    get8(u, up, i, n);
    get8(d, dy, i, n);
    gate_back(g, u, d);
    put8(dgate, g, i, n);
    put8(dup, d, i, n);
}

// cast rounds n elements to another type; addresses need not be aligned beyond the element.
template <class Y, class X> __device__ __forceinline__ void cast(Y *y, const X *x, int64_t n) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x) round_to(y + i, widen(x[i]));
}
}  // namespace

#define EACH_TYPE(M) M(f, float) M(b, bf16)
#define K_ELEMENTS(s, T)                                                                                                                            \
    extern "C" __global__ void add_##s(T *y, const T *a, const T *b, float alpha, int64_t n) { add(y, a, b, alpha, n); }                            \
    extern "C" __global__ void scale_##s(T *y, const T *x, float alpha, int64_t n) { scale(y, x, alpha, n); }                                       \
    extern "C" __global__ void fill_##s(T *y, float value, int64_t n) { fill(y, value, n); }                                                        \
    extern "C" __global__ void swiglu_##s(T *y, const T *gate, const T *up, int64_t n) { swiglu(y, gate, up, n); }                                  \
    extern "C" __global__ void swiglu_grad_##s(T *dgate, T *dup, const T *gate, const T *up, const T *dy, int64_t n) {                              \
        swiglu_grad(dgate, dup, gate, up, dy, n);                                                                                                   \
    }
EACH_TYPE(K_ELEMENTS)
extern "C" __global__ void add_float_b(bf16 *y, const bf16 *a, const float *b, float alpha, int64_t n) { add(y, a, b, alpha, n); }

#define K_CAST(s, Y, X) \
    extern "C" __global__ void cast_##s(Y *y, const X *x, int64_t n) { cast(y, x, n); }
K_CAST(ff, float, float) K_CAST(fh, float, __half) K_CAST(fb, float, bf16)
K_CAST(hf, __half, float) K_CAST(hh, __half, __half) K_CAST(hb, __half, bf16)
K_CAST(bf, bf16, float) K_CAST(bh, bf16, __half) K_CAST(bb, bf16, bf16)

// gather copies rows of `words` units of 2 bytes. An index beyond limit sets *bad.
extern "C" __global__ void gather(uint32_t *bad, unsigned short *y, const unsigned short *x, const int *rows, int words, int limit) {
    int64_t r = rows[blockIdx.x];
    if (r < 0 || r >= limit) {
        if (threadIdx.x == 0) *bad = 1;
        return;
    }
    y += (int64_t)blockIdx.x * words, x += r * words;
    if (words % 8 == 0) {
        for (int i = threadIdx.x; i < words / 8; i += blockDim.x) ((uint4 *)y)[i] = ((const uint4 *)x)[i];
        return;
    }
    for (int i = threadIdx.x; i < words; i += blockDim.x) y[i] = x[i];
}

// scatter makes one row of the result: the sum, in order, of the rows of dy that are meant for it. 256 threads.
template <class T> __device__ __forceinline__ void scatter(uint32_t *bad, T *dx, const T *dy, const int *rows, int n, int d, int limit) {
    constexpr int Most = 1024;  // that are kept at hand; more are looked up again for each column
    __shared__ int part[256], list[Most], count;
    if (threadIdx.x == 0) count = 0;
    for (int i0 = 0; i0 < n; i0 += 256) {
        int i = i0 + threadIdx.x, r = i < n ? rows[i] : -1;
        if (i < n && (r < 0 || r >= limit)) *bad = 1;
        part[threadIdx.x] = r;
        if (__syncthreads_or(r == (int)blockIdx.x) && threadIdx.x == 0)
            for (int k = 0; k < 256; k++) if (part[k] == blockIdx.x) {
                if (count < Most) list[count] = i0 + k;
                count++;
            }
        __syncthreads();
    }
    __syncthreads();
    for (int c = threadIdx.x; c < d; c += 256) {
        float s = 0;
        if (count <= Most) {
            for (int k = 0; k < count; k++) s += widen(dy[(int64_t)list[k] * d + c]);
        } else {
            for (int i = 0; i < n; i++) if (rows[i] == blockIdx.x) s += widen(dy[(int64_t)i * d + c]);
        }
        round_to(dx + (int64_t)blockIdx.x * d + c, s);
    }
}
#define K_SCATTER(s, T) \
    extern "C" __global__ void __launch_bounds__(256) scatter_##s(uint32_t *bad, T *dx, const T *dy, const int *rows, int n, int d, int limit) { scatter(bad, dx, dy, rows, n, d, limit); }
EACH_TYPE(K_SCATTER)

// dropout: word i of n by the generator of compute/random.go (Threefry-2x32) keeps a value, times scale, where it is below limit.
__device__ __forceinline__ uint32_t rotated(uint32_t v, int r) { return v << r | v >> (32 - r); }
__device__ __forceinline__ uint2 threefry(uint32_t k0, uint32_t k1, uint32_t a, uint32_t b) {
    const uint32_t keys[3] = {k0, k1, 0x1BD11BDAu ^ k0 ^ k1};
    const int turns[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    a += k0, b += k1;
#pragma unroll
    for (int i = 0; i < 5; i++) {
#pragma unroll
        for (int r = 0; r < 4; r++) a += b, b = rotated(b, turns[i & 1][r]) ^ a;
        a += keys[(i + 1) % 3], b += keys[(i + 2) % 3] + i + 1;
    }
    return make_uint2(a, b);
}
__device__ __forceinline__ uint32_t random_word(const uint32_t *key, uint32_t i, uint32_t n) {
    uint32_t half = n / 2, odd = n & 1, behind = half + odd;
    if (i < half) return threefry(key[0], key[1], i, behind + i).x;
    if (i < behind) return threefry(key[0], key[1], half, 0).x;
    return threefry(key[0], key[1], i - behind, i).y;
}
template <class T> __device__ __forceinline__ void dropout(T *y, const T *x, const uint32_t *key, int64_t n, float limit, float scale) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    round_to(y + i, (float)random_word(key, i, n) < limit ? widen(x[i]) * scale : 0);
}
#define K_DROPOUT(s, T) \
    extern "C" __global__ void dropout_##s(T *y, const T *x, const uint32_t *key, int64_t n, float limit, float scale) { dropout(y, x, key, n, limit, scale); }
EACH_TYPE(K_DROPOUT)

// embed_grad adds the rows of dy to those of dw that ids name: one token a block, the first of an id adds up all of its tokens.
template <class T> __device__ __forceinline__ void embed_grad(uint32_t *bad, float *dw, const T *dy, const int *ids, int n, int d, int limit) {
    const int t = blockIdx.x, id = ids[t];
    if (id < 0 || id >= limit) {
        if (threadIdx.x == 0) *bad = 1;
        return;
    }
    int seen = 0;
    for (int i = threadIdx.x; i < t; i += 256) seen |= ids[i] == id;
    if (__syncthreads_or(seen)) return;
    __shared__ int part[256];
    for (int c0 = 0; c0 < d; c0 += 256) {
        int c = c0 + threadIdx.x;
        float s = c < d ? dw[(int64_t)id * d + c] : 0;
        for (int i0 = t; i0 < n; i0 += 256) {
            int own = i0 + threadIdx.x < n && ids[i0 + threadIdx.x] == id;
            __syncthreads();
            part[threadIdx.x] = own;
            __syncthreads();
            if (c < d) for (int k = 0; k < min(256, n - i0); k++) if (part[k]) s += widen(dy[(int64_t)(i0 + k) * d + c]);
        }
        if (c < d) dw[(int64_t)id * d + c] = s;
    }
}
#define K_EMBED_GRAD(s, T) \
    extern "C" __global__ void __launch_bounds__(256) embed_grad_##s(uint32_t *bad, float *dw, const T *dy, const int *ids, int n, int d, int limit) { embed_grad(bad, dw, dy, ids, n, d, limit); }
EACH_TYPE(K_EMBED_GRAD)

// sum_rows adds up the rows of x [T, n]: 32 columns a block of 32 by 8 threads.
template <class X> __device__ __forceinline__ void sum_rows(float *y, const X *x, int T, int n, int accumulate) {
    __shared__ float part[8][32];
    int lane = threadIdx.x & 31, w = threadIdx.x >> 5, c = blockIdx.x * 32 + lane;
    float s = 0;
    if (c < n) for (int t = w; t < T; t += 8) s += widen(x[(int64_t)t * n + c]);
    part[w][lane] = s;
    __syncthreads();
    if (w || c >= n) return;
    s = accumulate ? y[c] : 0;
    for (int i = 0; i < 8; i++) s += part[i][lane];
    y[c] = s;
}
#define K_SUM_ROWS(s, T_) \
    extern "C" __global__ void __launch_bounds__(256) sum_rows_##s(float *y, const T_ *x, int T, int n, int accumulate) { sum_rows(y, x, T, n, accumulate); }
EACH_TYPE(K_SUM_ROWS)
