// The ops of DoRA (see compute/dora.go), and low-rank updates of rows.
#pragma once
#include "elements.cuh"
#include "weights.cuh"

namespace {
// block_sum adds up over the 256 threads of a block, in float64 and in a fixed order. All threads get it.
__device__ __forceinline__ double block_sum(double v) {
    __shared__ double all[256];
    __syncthreads();
    all[threadIdx.x] = v;
    for (int m = 128; m; m >>= 1) {
        __syncthreads();
        if (threadIdx.x < m) all[threadIdx.x] += all[threadIdx.x + m];
    }
    __syncthreads();
    return all[0];
}
}  // namespace

// row_squares: y [N] of the squares of a weight's rows, one row a block.
extern "C" __global__ void __launch_bounds__(256) row_squares_w4(float *y, const uint8_t *w, int K, int KB, float zero) {
    double s = 0;
    row_w4(w, blockIdx.x, K, KB, zero, [&](int, float v) { s += (double)v * v; });
    s = block_sum(s);
    if (threadIdx.x == 0) y[blockIdx.x] = (float)s;
}
extern "C" __global__ void __launch_bounds__(256) row_squares_raw(float *y, const uint8_t *data, const void *scales, const void *biases, int kind, int type, int bits, int group, int K) {
    Raw w = {data, scales, biases, kind, type, bits, group, K};
    double s = 0;
    for (int k = threadIdx.x; k < K; k += 256) {
        double v = weight_at(w, blockIdx.x, k);
        s += v * v;
    }
    s = block_sum(s);
    if (threadIdx.x == 0) y[blockIdx.x] = (float)s;
}

// updated_norm: one column of b and c [rank, N] a thread.
extern "C" __global__ void updated_norm(float *y, const float *squares, const float *b, const float *c, int N, int rank, float scale) {
    int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= N) return;
    float s = squares[n];
    for (int k = 0; k < rank; k++) s += 2 * scale * b[(int64_t)k * N + n] * c[(int64_t)k * N + n];
    y[n] = sqrtf(s < 0 ? 0 : s);
}

namespace {
__device__ __forceinline__ float gain(float m, float norm) { return norm == 0 ? 0 : m / norm; }

template <class T> __device__ __forceinline__ void magnitude(T *y, const T *x, const float *m, const float *norm, const void *bias, int biasType, int N, int64_t n) {
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int c = i % N;
    round_to(y + i, widen(x[i]) * gain(m[c], norm[c]) + (bias ? at(bias, biasType, c) : 0));
}

// magnitude_grad: 32 columns a block of 32 by 8 threads. dx may be dy.
template <class T> __device__ __forceinline__ void magnitude_grad(T *dx, float *dm, const T *x, const float *m, const float *norm, const T *dy, int rows, int N) {
    __shared__ float part[8][32];
    int lane = threadIdx.x & 31, w = threadIdx.x >> 5, c = blockIdx.x * 32 + lane;
    float s = 0, g = c < N ? gain(m[c], norm[c]) : 0;
    if (c < N) for (int t = w; t < rows; t += 8) {
        float d = widen(dy[(int64_t)t * N + c]);
        s += d * widen(x[(int64_t)t * N + c]);
        round_to(dx + (int64_t)t * N + c, d * g);
    }
    part[w][lane] = s;
    __syncthreads();
    if (w || c >= N) return;
    s = 0;
    for (int i = 0; i < 8; i++) s += part[i][lane];
    dm[c] += gain(s, norm[c]);
}

// low_rank_rows: y[t] += scale (x[t] A) B for rows t of [rows[0], rows[1]), one row a block. A [in, r], B [r, out], r at most 1024.
template <class Y, class X> __device__ __forceinline__ void low_rank_rows(uint32_t *bad, Y *y, const X *x, const float *a, const float *b, const int *rows, int T, int in, int rank, int out, float scale) {
    __shared__ float part[8][8], z[1024];
    const int t = blockIdx.x, lane = threadIdx.x & 31, w = threadIdx.x >> 5;
    if ((rows[0] < 0 || rows[1] > T) && threadIdx.x == 0) *bad = 1;
    if (t < rows[0] || t >= rows[1]) return;
    x += (int64_t)t * in, y += (int64_t)t * out;
    for (int j0 = 0; j0 < rank; j0 += 8) {
        float acc[8] = {};
        for (int k = threadIdx.x; k < in; k += 256) {
            float v = widen(x[k]);
#pragma unroll
            for (int e = 0; e < 8; e++) if (j0 + e < rank) acc[e] += v * a[(int64_t)k * rank + j0 + e];
        }
        __syncthreads();
#pragma unroll
        for (int e = 0; e < 8; e++) {
            float s = warp_sum(acc[e]);
            if (lane == 0) part[w][e] = s;
        }
        __syncthreads();
        if (threadIdx.x < 8 && j0 + threadIdx.x < rank) {
            float s = 0;
            for (int i = 0; i < 8; i++) s += part[i][threadIdx.x];
            z[j0 + threadIdx.x] = s;
        }
    }
    __syncthreads();
    for (int n = threadIdx.x; n < out; n += 256) {
        float s = 0;
        for (int j = 0; j < rank; j++) s += z[j] * b[(int64_t)j * out + n];
        round_to(y + n, widen(y[n]) + scale * s);
    }
}
}  // namespace

#define K_MAGNITUDE(s, T)                                                                                                                                                         \
    extern "C" __global__ void magnitude_##s(T *y, const T *x, const float *m, const float *norm, const void *bias, int biasType, int N, int64_t n) { magnitude(y, x, m, norm, bias, biasType, N, n); } \
    extern "C" __global__ void __launch_bounds__(256) magnitude_grad_##s(T *dx, float *dm, const T *x, const float *m, const float *norm, const T *dy, int rows, int N) { magnitude_grad(dx, dm, x, m, norm, dy, rows, N); }
EACH_TYPE(K_MAGNITUDE)
#define K_LOW_RANK_ROWS(s, Y, X) \
    extern "C" __global__ void __launch_bounds__(256) low_rank_rows_##s(uint32_t *bad, Y *y, const X *x, const float *a, const float *b, const int *rows, int T, int in, int rank, int out, float scale) { low_rank_rows(bad, y, x, a, b, rows, T, in, rank, out, scale); }
K_LOW_RANK_ROWS(ff, float, float) K_LOW_RANK_ROWS(fb, float, bf16) K_LOW_RANK_ROWS(bf, bf16, float) K_LOW_RANK_ROWS(bb, bf16, bf16)
