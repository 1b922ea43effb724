// RMSNorm, its gradient, and rotations.
#pragma once
#include "elements.cuh"

namespace {
// One row of d values by N threads: a warp of a block of 8 rows, or a block.
template <int N> __device__ __forceinline__ int64_t own_row() { return N == 32 ? (int64_t)blockIdx.x * 8 + (threadIdx.x >> 5) : blockIdx.x; }
template <int N> __device__ __forceinline__ int own_lane() { return N == 32 ? threadIdx.x & 31 : threadIdx.x; }

// each8 calls f(first, values) for this thread's share of a row: 8 at a time where rows lie at multiples of 16 bytes.
template <class T, class F> __device__ __forceinline__ void each8(const T *x, int d, int lane, int threads, F f) {
    float v[8];
    if (d % 8 == 0) {
        for (int i = lane * 8; i < d; i += threads * 8) {
            get8(v, x, i, d);
            f(i, v, 8);
        }
        return;
    }
    for (int i = lane; i < d; i += threads) {
        v[0] = widen(x[i]);
        f(i, v, 1);
    }
}

template <int N, class T> __device__ __forceinline__ float rstd(const T *x, int d, float eps) {
    float s = 0;
    each8(x, d, own_lane<N>(), N, [&](int, float (&v)[8], int n) {
#pragma unroll
        for (int k = 0; k < 8; k++) if (k < n) s += v[k] * v[k];
    });
    return rsqrtf(row_sum<N>(s) / d + eps);
}

template <int N, class T> __device__ __forceinline__ void rmsnorm(T *y, const T *x, const void *w, int wt, int64_t rows, int d, float eps) {
    overlap_start();
    int64_t r = own_row<N>();
    if (r >= rows) return;
    x += r * d, y += r * d;
    float inv = rstd<N>(x, d, eps);
    each8(x, d, own_lane<N>(), N, [&](int i, float (&v)[8], int n) {
        float wv[8];
        if (n == 8) get8(wv, w, wt, i, d); else wv[0] = at(w, wt, i);
#pragma unroll
        for (int k = 0; k < 8; k++) if (k < n) v[k] *= inv * wv[k];
        if (n == 8) put8(y, v, i, d); else round_to(y + i, v[0]);
    });
}

template <int N, class T> __device__ __forceinline__ void rmsnorm_grad(T *dx, const T *x, const void *w, int wt, const T *dy, int64_t rows, int d, float eps, int accumulate) {
    overlap_start();
    int64_t r = own_row<N>();
    if (r >= rows) return;
    x += r * d, dy += r * d, dx += r * d;
    float inv = rstd<N>(x, d, eps), s = 0;
    each8(x, d, own_lane<N>(), N, [&](int i, float (&v)[8], int n) {
        float g[8], wv[8];
        if (n == 8) get8(g, dy, i, d), get8(wv, w, wt, i, d); else g[0] = widen(dy[i]), wv[0] = at(w, wt, i);
#pragma unroll
        for (int k = 0; k < 8; k++) if (k < n) s += g[k] * wv[k] * v[k];
    });
    float mean = row_sum<N>(s) * inv / d;
    each8(x, d, own_lane<N>(), N, [&](int i, float (&v)[8], int n) {
        float g[8], wv[8], old[8];
        if (n == 8) get8(g, dy, i, d), get8(wv, w, wt, i, d); else g[0] = widen(dy[i]), wv[0] = at(w, wt, i);
        if (accumulate) { if (n == 8) get8(old, dx, i, d); else old[0] = widen(dx[i]); }
#pragma unroll
        for (int k = 0; k < 8; k++) if (k < n) {
            g[k] = inv * (g[k] * wv[k] - v[k] * inv * mean);
            if (accumulate) g[k] += old[k];
        }
        if (n == 8) put8(dx, g, i, d); else round_to(dx + i, g[0]);
    });
}
}  // namespace

#define K_NORM(s, T)                                                                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) rmsnorm_warp_##s(T *y, const T *x, const void *w, int wt, int64_t rows, int d, float eps) { rmsnorm<32>(y, x, w, wt, rows, d, eps); } \
    extern "C" __global__ void __launch_bounds__(256) rmsnorm_block_##s(T *y, const T *x, const void *w, int wt, int64_t rows, int d, float eps) { rmsnorm<256>(y, x, w, wt, rows, d, eps); } \
    extern "C" __global__ void __launch_bounds__(256) rmsnorm_grad_warp_##s(T *dx, const T *x, const void *w, int wt, const T *dy, int64_t rows, int d, float eps, int acc) { rmsnorm_grad<32>(dx, x, w, wt, dy, rows, d, eps, acc); } \
    extern "C" __global__ void __launch_bounds__(256) rmsnorm_grad_block_##s(T *dx, const T *x, const void *w, int wt, const T *dy, int64_t rows, int d, float eps, int acc) { rmsnorm_grad<256>(dx, x, w, wt, dy, rows, d, eps, acc); }
EACH_TYPE(K_NORM)

namespace {
// Rows of bf16 of up to 2048 C values, a multiple of 8, by blocks of 256 that keep them in registers: all is asked for at once
// and read once. Sums are in the order of rmsnorm and rmsnorm_grad.
template <int C, class F> __device__ __forceinline__ void each_held(int d, F f) {
#pragma unroll
    for (int c = 0; c < C; c++) {
        int i = (c * 256 + threadIdx.x) * 8;
        if (i < d) f(c, i);
    }
}

// norm_held is rmsnorm of x, or with a of x = a + alpha b, which is written too.
template <int C, bool ADD> __device__ __forceinline__ void norm_held(bf16 *y, bf16 *x, const bf16 *a, const bf16 *b, float alpha, const void *w, int wt, int d, float eps) {
    overlap_start();
    const int64_t row = (int64_t)blockIdx.x * d;
    uint4 v[C], u[C];
    each_held<C>(d, [&](int c, int i) {
        v[c] = *(const uint4 *)((ADD ? a : x) + row + i);
        if (ADD) u[c] = *(const uint4 *)(b + row + i);
    });
    float s = 0;
    each_held<C>(d, [&](int c, int i) {
        float f[8], g[8];
        widen8(f, v[c]);
        if (ADD) {
            widen8(g, u[c]);
#pragma unroll
            for (int k = 0; k < 8; k++) f[k] += alpha * g[k];
            v[c] = round8(f);
            *(uint4 *)(x + row + i) = v[c];
            widen8(f, v[c]);
        }
#pragma unroll
        for (int k = 0; k < 8; k++) s += f[k] * f[k];
    });
    const float inv = rsqrtf(row_sum<256>(s) / d + eps);
    each_held<C>(d, [&](int c, int i) {
        float f[8], wv[8];
        widen8(f, v[c]);
        get8(wv, w, wt, i, d);
#pragma unroll
        for (int k = 0; k < 8; k++) f[k] *= inv * wv[k];
        *(uint4 *)(y + row + i) = round8(f);
    });
}

template <int C> __device__ __forceinline__ void norm_grad_held(bf16 *dx, const bf16 *x, const void *w, int wt, const bf16 *dy, int d, float eps, int accumulate) {
    overlap_start();
    const int64_t row = (int64_t)blockIdx.x * d;
    uint4 v[C], g[C], old[C];
    each_held<C>(d, [&](int c, int i) {
        v[c] = *(const uint4 *)(x + row + i), g[c] = *(const uint4 *)(dy + row + i);
        if (accumulate) old[c] = *(const uint4 *)(dx + row + i);
    });
    float squares = 0, products = 0;
    each_held<C>(d, [&](int c, int i) {
        float f[8], h[8], wv[8];
        widen8(f, v[c]), widen8(h, g[c]);
        get8(wv, w, wt, i, d);
#pragma unroll
        for (int k = 0; k < 8; k++) squares += f[k] * f[k], products += h[k] * wv[k] * f[k];
    });
    __shared__ float part[2][8];
    squares = warp_sum(squares), products = warp_sum(products);
    if ((threadIdx.x & 31) == 0) part[0][threadIdx.x >> 5] = squares, part[1][threadIdx.x >> 5] = products;
    __syncthreads();
    squares = 0, products = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) squares += part[0][i], products += part[1][i];
    const float inv = rsqrtf(squares / d + eps), mean = products * inv / d;
    each_held<C>(d, [&](int c, int i) {
        float f[8], h[8], wv[8];
        widen8(f, v[c]), widen8(h, g[c]);
        get8(wv, w, wt, i, d);
#pragma unroll
        for (int k = 0; k < 8; k++) h[k] = inv * (h[k] * wv[k] - f[k] * inv * mean);
        if (accumulate) {
            widen8(f, old[c]);
#pragma unroll
            for (int k = 0; k < 8; k++) h[k] += f[k];
        }
        *(uint4 *)(dx + row + i) = round8(h);
    });
}
}  // namespace

#define K_NORM_HELD(C)                                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256) rmsnorm_held_##C(bf16 *y, bf16 *x, const void *w, int wt, int d, float eps) {                            \
        norm_held<C, false>(y, x, x, x, 0, w, wt, d, eps);                                                                                                      \
    }                                                                                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) rmsnorm_added_##C(bf16 *y, bf16 *x, const bf16 *a, const bf16 *b, float alpha, const void *w, int wt, int d, float eps) { \
        norm_held<C, true>(y, x, a, b, alpha, w, wt, d, eps);                                                                                                   \
    }                                                                                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) rmsnorm_grad_held_##C(bf16 *dx, const bf16 *x, const void *w, int wt, const bf16 *dy, int d, float eps, int acc) { \
        norm_grad_held<C>(dx, x, w, wt, dy, d, eps, acc);                                                                                                       \
    }
K_NORM_HELD(1) K_NORM_HELD(2) K_NORM_HELD(4)

// rmsnorm_weight: dw [d] += the sum over rows of dy x rstd, 32 columns a block of 32 by 8 threads; rstds [rows] is work memory of rmsnorm_rstd.
template <class T> __device__ __forceinline__ void rmsnorm_weight(float *dw, const T *x, const T *dy, const float *rstds, int64_t rows, int d) {
    __shared__ float part[8][32];
    int lane = threadIdx.x & 31, w = threadIdx.x >> 5, c = blockIdx.x * 32 + lane;
    float s = 0;
    if (c < d) for (int64_t r = w; r < rows; r += 8) s += widen(dy[r * d + c]) * widen(x[r * d + c]) * rstds[r];
    part[w][lane] = s;
    __syncthreads();
    if (w || c >= d) return;
    s = dw[c];
    for (int i = 0; i < 8; i++) s += part[i][lane];
    dw[c] = s;
}
#define K_NORM_WEIGHT(s, T)                                                                                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) rmsnorm_rstd_##s(float *y, const T *x, int64_t rows, int d, float eps) {                                                      \
        int64_t r = own_row<32>();                                                                                                                                                   \
        if (r >= rows) return;                                                                                                                                                       \
        float v = rstd<32>(x + r * d, d, eps);                                                                                                                                       \
        if (own_lane<32>() == 0) y[r] = v;                                                                                                                                           \
    }                                                                                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256) rmsnorm_weight_##s(float *dw, const T *x, const T *dy, const float *rstds, int64_t rows, int d) { rmsnorm_weight(dw, x, dy, rstds, rows, d); }
EACH_TYPE(K_NORM_WEIGHT)

// rope_table: cos, sin [T, half] of position times frequency.
extern "C" __global__ void rope_table(float *c, float *s, const int *positions, const float *freq, int half, int64_t n, float scale) {
    launch_dependents();
    wait_for_earlier();
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float sn, cs;
    sincosf((float)positions[i / half] * freq[i % half], &sn, &cs);
    c[i] = cs * scale, s[i] = sn * scale;
}

// rope turns pairs of each head: one token a block. Where pairs lie half a head apart, two neighbouring pairs a thread.
template <class T> __device__ __forceinline__ void rope(T *y, const T *x, const float *c, const float *s, int width, int head, int half, int traditional, float sign) {
    overlap_start();
    int64_t t = blockIdx.x;
    x += t * width, y += t * width, c += t * half, s += t * half;
    if (sizeof(T) == 2 && !traditional && half % 2 == 0 && head % 2 == 0) {
        for (int p = threadIdx.x; p < width / head * (half / 2); p += blockDim.x) {
            int i = p % (half / 2) * 2, a = p / (half / 2) * head + i, b = a + half;
            uint32_t u = *(const uint32_t *)(x + a), v = *(const uint32_t *)(x + b);
            float2 cs = *(const float2 *)(c + i), sn = *(const float2 *)(s + i);
            sn.x *= sign, sn.y *= sign;
            *(uint32_t *)(y + a) = pack2(turned1(low(u), low(v), cs.x, sn.x), turned1(high(u), high(v), cs.y, sn.y));
            *(uint32_t *)(y + b) = pack2(turned2(low(u), low(v), cs.x, sn.x), turned2(high(u), high(v), cs.y, sn.y));
        }
    } else {
        for (int p = threadIdx.x; p < width / head * half; p += blockDim.x) {
            int h = p / half * head, i = p % half;
            int a = h + (traditional ? 2 * i : i), b = traditional ? a + 1 : a + half;
            float u = widen(x[a]), v = widen(x[b]), sn = sign * s[i];
            round_to(y + a, turned1(u, v, c[i], sn));
            round_to(y + b, turned2(u, v, c[i], sn));
        }
    }
    int rest = head - 2 * half;
    if (x == y || rest == 0) return;
    for (int p = threadIdx.x; p < width / head * rest; p += blockDim.x) {
        int i = p / rest * head + 2 * half + p % rest;
        y[i] = x[i];
    }
}
#define K_ROPE(s_, T) \
    extern "C" __global__ void rope_##s_(T *y, const T *x, const float *c, const float *s, int width, int head, int half, int traditional, float sign) { rope(y, x, c, s, width, head, half, traditional, sign); }
EACH_TYPE(K_ROPE)

// turn turns queries and keys [T, wa] and [T, wb] in place, whole heads of halves that are multiples of 8: one token a block, 8
// neighbouring pairs a thread.
extern "C" __global__ void __launch_bounds__(512) turn(bf16 *a, bf16 *b, const float *c, const float *s, int wa, int wb, int head, float sign) {
    overlap_start();
    const int half = head / 2;
    const int64_t t = blockIdx.x;
    for (int p = threadIdx.x; p < (wa + wb) / 16; p += blockDim.x) {
        const bool left = p < wa / 16;
        const int q = left ? p : p - wa / 16, i = q % (half / 8) * 8;
        bf16 *x = (left ? a + t * wa : b + t * wb) + q / (half / 8) * head + i;
        float u[8], v[8], cs[8], sn[8];
        load8(u, x), load8(v, x + half), load8(cs, c + t * half + i), load8(sn, s + t * half + i);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float sk = sn[k] * sign, first = turned1(u[k], v[k], cs[k], sk);
            v[k] = turned2(u[k], v[k], cs[k], sk);
            u[k] = first;
        }
        *(uint4 *)x = round8(u), *(uint4 *)(x + half) = round8(v);
    }
}
