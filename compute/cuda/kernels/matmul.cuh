// Products without a stored weight: the two narrow ones of low-rank updates and their gradients, and a general one.
#include "tiles.cuh"

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

// halves splits a float pair into bf16 pairs: their sum has the float's precision, nearly.
__device__ __forceinline__ void halves(float a, float b, uint32_t &hi, uint32_t &lo) {
    hi = pack2(a, b);
    lo = pack2(a - low(hi), b - high(hi));
}

// narrow_mma is narrow for bf16 rows with K a multiple of 8: 16 rows by 8*NT columns a block, b in two parts of bf16. A lane
// takes 8 neighbours of the sum at once, for a and b alike.
template <int NT, class C> __device__ __forceinline__ void narrow_mma(C *c, const bf16 *a, const float *b, int M, int N, int K, float alpha, int bt, int accumulate) {
    constexpr int Warps = 16;
    __shared__ float part[Warps][16 * 8 * NT];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3, m0 = blockIdx.x * 16, n0 = blockIdx.y * 8 * NT;
    const bf16 *a0 = a + (int64_t)min(m0 + g, M - 1) * K, *a1 = a + (int64_t)min(m0 + g + 8, M - 1) * K;
    float acc[NT][4] = {};
#pragma unroll 2
    for (int k0 = warp * 32; k0 < K; k0 += 32 * Warps) {
        int k = k0 + 8 * q;
        bool in = k < K;
        uint4 x = in ? *(const uint4 *)(a0 + k) : make_uint4(0, 0, 0, 0), z = in ? *(const uint4 *)(a1 + k) : make_uint4(0, 0, 0, 0);
#pragma unroll
        for (int t = 0; t < NT; t++) {
            int n = n0 + 8 * t + g;
            float f[8] = {};
            if (in && n < N) {
                if (bt) {
                    get8(f, b + (int64_t)n * K, k, K);
                } else {
#pragma unroll
                    for (int i = 0; i < 8; i++) f[i] = __ldg(b + (int64_t)(k + i) * N + n);
                }
            }
            uint32_t hi[4], lo[4];
#pragma unroll
            for (int i = 0; i < 4; i++) halves(f[2 * i], f[2 * i + 1], hi[i], lo[i]);
            uint32_t first[4] = {x.x, z.x, x.y, z.y}, second[4] = {x.z, z.z, x.w, z.w};
            mma(acc[t], first, hi[0], hi[1]);
            mma(acc[t], second, hi[2], hi[3]);
            mma(acc[t], first, lo[0], lo[1]);
            mma(acc[t], second, lo[2], lo[3]);
        }
    }
#pragma unroll
    for (int t = 0; t < NT; t++)
#pragma unroll
        for (int e = 0; e < 4; e++) part[warp][(g + 8 * (e >> 1)) * 8 * NT + 8 * t + 2 * q + (e & 1)] = acc[t][e];
    __syncthreads();
    for (int p = threadIdx.x; p < 16 * 8 * NT; p += 32 * Warps) {
        int m = m0 + p / (8 * NT), n = n0 + p % (8 * NT);
        if (m >= M || n >= N) continue;
        float s = 0;
#pragma unroll
        for (int i = 0; i < Warps; i++) s += part[i][p];
        C *to = c + (int64_t)m * N + n;
        round_to(to, alpha * s + (accumulate ? widen(*to) : 0));
    }
}

// tall_mma is tall for bf16 columns with W a multiple of 8: 64 columns a block of 4 warps, rows in gridDim.z parts, the last
// of which adds up what all have left in `parts` [parts, 8*gridDim.y, W]. counts are zeros before and after.
__device__ __forceinline__ void tall_mma(float *c, const float *z, const bf16 *x, int T, int R, int W, float alpha, int wide, int accumulate, float *parts, uint32_t *counts) {
    constexpr int Stages = 4, Tile = 64 * 64 * 2;
    __shared__ __align__(128) uint8_t smem[Stages * Tile];
    __shared__ bool last;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3, w0 = blockIdx.x * 64, r0 = blockIdx.y * 8;
    const int tiles = (T + 63) / 64, from = tiles * blockIdx.z / gridDim.z, to = tiles * (blockIdx.z + 1) / gridDim.z;
    const uint32_t s0 = smem32(smem);
    float acc[8][4] = {};
#pragma unroll
    for (int s = 0; s < Stages - 1; s++) {
        if (from + s < to) load_tile<64>(s0 + s * Tile, x + w0, W, (from + s) * 64, T, W - w0);
        cp_commit();
    }
    for (int i = from; i < to; i++) {
        float f[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int t = i * 64 + warp * 16 + 2 * q + (e & 1) + 8 * (e >> 1);
            f[e] = t < T && r0 + g < R ? __ldg(z + (int64_t)t * R + r0 + g) : 0;
        }
        uint32_t a[4];
        halves(f[0], f[1], a[0], a[1]);
        halves(f[2], f[3], a[2], a[3]);
        cp_wait<Stages - 2>();
        __syncthreads();
        int s = i - from;
        if (i + Stages - 1 < to) load_tile<64>(s0 + (s + Stages - 1) % Stages * Tile, x + w0, W, (i + Stages - 1) * 64, T, W - w0);
        cp_commit();
#pragma unroll
        for (int d = 0; d < 4; d++) {
            uint32_t b[4];
            down16<64>(b, s0 + s % Stages * Tile, warp * 16, d);
            mma(acc[2 * d], a, b[0], b[1]);
            mma(acc[2 * d + 1], a, b[2], b[3]);
        }
    }
    cp_wait<0>();
    __syncthreads();
    float *sums = (float *)smem;  // [4, 8, 64]
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) sums[(warp * 8 + g) * 64 + 8 * j + 2 * q + e] = acc[j][e] + acc[j][e + 2];
    __syncthreads();
    const int64_t plane = (int64_t)8 * gridDim.y * W;
    auto put = [&](int r, int w, float v) {
        float *p = wide ? c + (int64_t)w * R + r : c + (int64_t)r * W + w;
        *p = alpha * v + (accumulate ? *p : 0);
    };
    for (int p = threadIdx.x; p < 512; p += 128) {
        int r = r0 + p / 64, w = w0 + p % 64;
        if (w >= W || r >= R) continue;
        float v = sums[p] + sums[512 + p] + sums[1024 + p] + sums[1536 + p];
        if (gridDim.z == 1) put(r, w, v); else parts[blockIdx.z * plane + (int64_t)r * W + w] = v;
    }
    if (gridDim.z == 1) return;
    __threadfence();
    __syncthreads();
    uint32_t *count = counts + blockIdx.y * gridDim.x + blockIdx.x;
    if (threadIdx.x == 0) last = atomicAdd(count, 1) == gridDim.z - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    for (int p = threadIdx.x; p < 512; p += 128) {
        int r = r0 + p / 64, w = w0 + p % 64;
        if (w >= W || r >= R) continue;
        float v = 0;
        for (int i = 0; i < gridDim.z; i++) v += __ldcg(parts + i * plane + (int64_t)r * W + w);
        put(r, w, v);
    }
    if (threadIdx.x == 0) *count = 0;
}

// general: c [M, N] = alpha a b (+ c, + bias of N), element (i, l) of a at i*ai + l*al, (l, j) of b at l*bl + j*bj. A block of 256
// makes 64 by 64.
template <class C, class A, class B> __device__ __forceinline__ void general(C *c, const A *a, const B *b, int M, int N, int K, int64_t ai, int64_t al, int64_t bl, int64_t bj,
                                                                             float alpha, int accumulate, const void *bias, int biasType) {
    __shared__ float as[16][65], bs[16][65];
    int m0 = blockIdx.y * 64, n0 = blockIdx.x * 64, tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
    float acc[4][4] = {};
#pragma unroll 1
    for (int k0 = 0; k0 < K; k0 += 16) {
        for (int p = threadIdx.x; p < 1024; p += 256) {
            int i = al == 1 ? p >> 4 : p & 63, l = al == 1 ? p & 15 : p >> 6;
            as[l][i] = m0 + i < M && k0 + l < K ? widen(a[(m0 + i) * ai + (k0 + l) * al]) : 0;
            int j = bj == 1 ? p & 63 : p >> 4;
            l = bj == 1 ? p >> 6 : p & 15;
            bs[l][j] = n0 + j < N && k0 + l < K ? widen(b[(k0 + l) * bl + (n0 + j) * bj]) : 0;
        }
        __syncthreads();
#pragma unroll
        for (int l = 0; l < 16; l++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) acc[i][j] += as[l][ty + 16 * i] * bs[l][tx + 16 * j];
        __syncthreads();
    }
    auto each = [&](auto f) {
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                int m = m0 + ty + 16 * i, n = n0 + tx + 16 * j;
                if (m < M && n < N) f(acc[i][j], c + (int64_t)m * N + n, n);
            }
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
#define K_NARROW_MMA(NT, s, C) \
    extern "C" __global__ void __launch_bounds__(512) narrow_mma_##NT##_##s(C *c, const bf16 *a, const float *b, int M, int N, int K, float alpha, int bt, int acc) { narrow_mma<NT>(c, a, b, M, N, K, alpha, bt, acc); }
K_NARROW_MMA(1, f, float) K_NARROW_MMA(2, f, float) K_NARROW_MMA(4, f, float)
#define K_TALL(s, X) \
    extern "C" __global__ void __launch_bounds__(1024) tall_##s(float *c, const float *z, const X *x, int T, int R, int W, float alpha, int wide, int acc) { tall(c, z, x, T, R, W, alpha, wide, acc); }
K_TALL(f, float) K_TALL(b, bf16)
extern "C" __global__ void __launch_bounds__(128) tall_mma_b(float *c, const float *z, const bf16 *x, int T, int R, int W, float alpha, int wide, int acc, float *parts, uint32_t *counts) {
    tall_mma(c, z, x, T, R, W, alpha, wide, acc, parts, counts);
}
#define K_GENERAL(s, C, A, B)                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(256) general_##s(C *c, const A *a, const B *b, int M, int N, int K, int64_t ai, int64_t al,         \
                                                                  int64_t bl, int64_t bj, float alpha, int acc, const void *bias, int biasType) {    \
        general(c, a, b, M, N, K, ai, al, bl, bj, alpha, acc, bias, biasType);                                                                      \
    }
K_GENERAL(fff, float, float, float) K_GENERAL(ffb, float, float, bf16) K_GENERAL(fbf, float, bf16, float) K_GENERAL(fbb, float, bf16, bf16)
K_GENERAL(bff, bf16, float, float) K_GENERAL(bfb, bf16, float, bf16) K_GENERAL(bbf, bf16, bf16, float) K_GENERAL(bbb, bf16, bf16, bf16)
