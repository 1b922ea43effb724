// Products without a stored weight: the two narrow ones of low-rank updates and their gradients for all types and sizes (see
// lowrank.cuh for what is usual), and a general one.
#include "plain.cuh"

namespace {
// pair reads two neighbours, the second only where it exists.
template <class T> __device__ __forceinline__ float2 pair(const T *p, int i, int n) {
    return make_float2(i < n ? widen(p[i]) : 0, i + 1 < n ? widen(p[i + 1]) : 0);
}

// narrow: c [M, N] = alpha a [M, K] b (+ c), N small, b [K, N] or, with bt, [N, K]. A block makes 8 rows by 8 columns,
// its 256 threads share K.
template <class A, class C> __device__ __forceinline__ void narrow(C *c, const A *a, const float *b, int M, int N, int K, float alpha, int bt, int accumulate) {
    int m0 = blockIdx.x * 8, n0 = blockIdx.y * 8;
    float acc[8][8] = {};
    bool even = (K & 1) == 0;
    for (int k = 2 * threadIdx.x; k < K; k += 512) {
        float b0[8], b1[8];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            bool ok = n0 + j < N;
            b0[j] = ok ? __ldg(b + (bt ? (int64_t)(n0 + j) * K + k : (int64_t)k * N + n0 + j)) : 0;
            b1[j] = ok && k + 1 < K ? __ldg(b + (bt ? (int64_t)(n0 + j) * K + k + 1 : (int64_t)(k + 1) * N + n0 + j)) : 0;
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (m0 + i >= M) break;
            float2 v;
            const A *row = a + (int64_t)(m0 + i) * K;
            if (sizeof(A) == 2 && even) {
                uint32_t q = *(const uint32_t *)(row + k);
                v = make_float2(low(q), high(q));
            } else {
                v = pair(row, k, K);
            }
#pragma unroll
            for (int j = 0; j < 8; j++) acc[i][j] += v.x * b0[j] + v.y * b1[j];
        }
    }
    __shared__ float part[8][64];
    int lane = threadIdx.x & 31, w = threadIdx.x >> 5;
#pragma unroll
    for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) {
            float s = warp_sum(acc[i][j]);
            if (lane == 0) part[w][8 * i + j] = s;
        }
    __syncthreads();
    int i = threadIdx.x >> 3, j = threadIdx.x & 7;
    if (threadIdx.x >= 64 || m0 + i >= M || n0 + j >= N) return;
    float s = 0;
    for (int k = 0; k < 8; k++) s += part[k][threadIdx.x];
    s *= alpha;
    C *p = c + (int64_t)(m0 + i) * N + n0 + j;
    round_to(p, accumulate ? s + widen(*p) : s);
}

// tall: the sum over T rows of z[t][r] x[t][w], z [T, R] with R small and x [T, W], as c [R, W] or, with wide, [W, R].
// A block makes 8 rows of z by 64 columns of x, its 32 warps share T.
template <class X> __device__ __forceinline__ void tall(float *c, const float *z, const X *x, int T, int R, int W, float alpha, int wide, int accumulate) {
    __shared__ float part[32][64];
    int lane = threadIdx.x & 31, w = threadIdx.x >> 5;
    int r0 = blockIdx.y * 8, w0 = blockIdx.x * 64 + 2 * lane;
    float acc[8][2] = {};
    bool even = (W & 1) == 0;
#pragma unroll 4
    for (int t = w; t < T; t += 32) {
        float2 v = make_float2(0, 0);
        const X *row = x + (int64_t)t * W;
        if (sizeof(X) == 2 && even) {
            if (w0 < W) {
                uint32_t q = *(const uint32_t *)(row + w0);
                v = make_float2(low(q), high(q));
            }
        } else {
            v = pair(row, w0, W);
        }
#pragma unroll
        for (int r = 0; r < 8; r++) {
            float u = r0 + r < R ? __ldg(z + (int64_t)t * R + r0 + r) : 0;
            acc[r][0] += u * v.x;
            acc[r][1] += u * v.y;
        }
    }
#pragma unroll
    for (int r = 0; r < 8; r++) {
        __syncthreads();
        part[w][2 * lane] = acc[r][0];
        part[w][2 * lane + 1] = acc[r][1];
        __syncthreads();
        int col = blockIdx.x * 64 + threadIdx.x;
        if (threadIdx.x >= 64 || col >= W || r0 + r >= R) continue;
        float s = 0;
        for (int k = 0; k < 32; k++) s += part[k][threadIdx.x];
        float *p = wide ? c + (int64_t)col * R + r0 + r : c + (int64_t)(r0 + r) * W + col;
        *p = alpha * s + (accumulate ? *p : 0);
    }
}

// general: c [M, N] = alpha a b (+ c, + bias of N), element (i, l) of a at i*ai + l*al, (l, j) of b at l*bl + j*bj. A block of 256
// makes 64 by 64.
template <class C, class A, class B> __device__ __forceinline__ void general(C *c, const A *a, const B *b, int M, int N, int K, int64_t ai, int64_t al, int64_t bl, int64_t bj,
                                                                             float alpha, int accumulate, const void *bias, int biasType) {
    const int m0 = blockIdx.y * 64, n0 = blockIdx.x * 64;
    float acc[4][4] = {};
    product64(acc, 0, K, [&](Slab &as, Slab &bs, int k0, int p) {
        int i = al == 1 ? p >> 4 : p & 63, l = al == 1 ? p & 15 : p >> 6;
        as[l][i] = m0 + i < M && k0 + l < K ? widen(a[(m0 + i) * ai + (k0 + l) * al]) : 0;
        int j = bj == 1 ? p & 63 : p >> 4;
        l = bj == 1 ? p >> 6 : p & 15;
        bs[l][j] = n0 + j < N && k0 + l < K ? widen(b[(k0 + l) * bl + (n0 + j) * bj]) : 0;
    });
    auto each = [&](auto f) {
        each64(acc, [&](float &v, int m, int n) {
            m += m0, n += n0;
            if (m < M && n < N) f(v, c + (int64_t)m * N + n, n);
        });
    };
    each([&](float &v, C *, int) { v *= alpha; });
    if (bias) each([&](float &v, C *, int n) { v += at(bias, biasType, n); });
    if (accumulate) each([&](float &v, const C *p, int) { v += widen(*p); });
    each([&](float &v, C *p, int) { round_to(p, v); });
}
}  // namespace

#define K_NARROW(s, A, C) \
    extern "C" __global__ void __launch_bounds__(256) narrow_##s(C *c, const A *a, const float *b, int M, int N, int K, float alpha, int bt, int acc) { narrow(c, a, b, M, N, K, alpha, bt, acc); }
K_NARROW(ff, float, float) K_NARROW(fb, bf16, float) K_NARROW(bf, float, bf16) K_NARROW(bb, bf16, bf16)
#define K_TALL(s, X) \
    extern "C" __global__ void __launch_bounds__(1024) tall_##s(float *c, const float *z, const X *x, int T, int R, int W, float alpha, int wide, int acc) { tall(c, z, x, T, R, W, alpha, wide, acc); }
K_TALL(f, float) K_TALL(b, bf16)
#define K_GENERAL(s, C, A, B)                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(256, 4) general_##s(C *c, const A *a, const B *b, int M, int N, int K, int64_t ai, int64_t al,      \
                                                                  int64_t bl, int64_t bj, float alpha, int acc, const void *bias, int biasType) {    \
        general(c, a, b, M, N, K, ai, al, bl, bj, alpha, acc, bias, biasType);                                                                      \
    }
K_GENERAL(fff, float, float, float) K_GENERAL(ffb, float, float, bf16) K_GENERAL(fbf, float, bf16, float) K_GENERAL(fbb, float, bf16, bf16)
K_GENERAL(bff, bf16, float, float) K_GENERAL(bfb, bf16, float, bf16) K_GENERAL(bbf, bf16, bf16, float) K_GENERAL(bbb, bf16, bf16, bf16)
