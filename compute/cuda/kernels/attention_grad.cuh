// The gradient of attention without an offset: probabilities are computed again from lse. One pass over keys makes dq, one
// over queries dk and dv, so that nothing is added up in an order that changes.
#include "attention.cuh"

// row_dots: delta [T, H] = sum of dy times y along each head, one warp each.
template <class T> __device__ __forceinline__ void row_dots(float *delta, const T *y, const T *dy, int64_t n, int dim) {
    int64_t i = (int64_t)blockIdx.x * 8 + (threadIdx.x >> 5);
    if (i >= n) return;
    float s = 0;
    for (int c = threadIdx.x & 31; c < dim; c += 32) s += widen(y[i * dim + c]) * widen(dy[i * dim + c]);
    s = warp_sum(s);
    if ((threadIdx.x & 31) == 0) delta[i] = s;
}
#define K_ROW_DOTS(s, T) \
    extern "C" __global__ void row_dots_##s(float *delta, const T *y, const T *dy, int64_t n, int dim) { row_dots(delta, y, dy, n, dim); }
EACH_TYPE(K_ROW_DOTS)

namespace {
// through is d(capped score)/d(score), without the scale.
__device__ __forceinline__ float through(const Heads &o, float s) {
    if (o.cap <= 0) return 1;
    float r = s / o.cap;
    return 1 - r * r;
}

// any_dq: one query of one head a block of 8 warps.
template <class T> __device__ __forceinline__ void any_dq(T *dq, const T *q, const T *k, const T *v, const T *dy, const float *lse, const float *delta, const int *starts, const Heads &o) {
    __shared__ float parts[8][256];
    const int t = blockIdx.x, h = blockIdx.y, lane = threadIdx.x & 31, w = threadIdx.x >> 5, d = o.dim;
    const int64_t row = (int64_t)t * o.heads + h, width = (int64_t)o.kv * d;
    k += (int64_t)(h / (o.heads / o.kv)) * d, v += (int64_t)(h / (o.heads / o.kv)) * d;
    float qv[8], g[8], acc[8] = {}, l = lse[row], dl = delta[row];
#pragma unroll
    for (int i = 0; i < 8; i++) {
        bool in = lane + 32 * i < d;
        qv[i] = in ? widen(q[row * d + lane + 32 * i]) : 0, g[i] = in ? widen(dy[row * d + lane + 32 * i]) : 0;
    }
    for (int j = first_key(o, starts, t) + w; j <= t; j += 8) {
        float s = 0, p = 0, kv[8];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            bool in = lane + 32 * i < d;
            kv[i] = in ? widen(k[j * width + lane + 32 * i]) : 0;
            s += qv[i] * kv[i];
            p += in ? g[i] * widen(v[j * width + lane + 32 * i]) : 0;
        }
        s = capped(o, warp_sum(s));
        float ds = expf(s - l) * (warp_sum(p) - dl) * through(o, s) * o.scale;
#pragma unroll
        for (int i = 0; i < 8; i++) acc[i] += ds * kv[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) parts[w][lane + 32 * i] = acc[i];
    __syncthreads();
    for (int c = threadIdx.x; c < d; c += 256) {
        float s = 0;
        for (int i = 0; i < 8; i++) s += parts[i][c];
        round_to(dq + row * d + c, s);
    }
}

// any_dkv: one key of one key head a block of 8 warps, which share its queries.
template <class T> __device__ __forceinline__ void any_dkv(T *dk, T *dv, const T *q, const T *k, const T *v, const T *dy, const float *lse, const float *delta, const int *starts, const int *ends, const Heads &o) {
    __shared__ float parts[2][8][256];
    const int j = blockIdx.x, kvh = blockIdx.y, lane = threadIdx.x & 31, w = threadIdx.x >> 5, d = o.dim, group = o.heads / o.kv;
    const int64_t at = ((int64_t)j * o.kv + kvh) * d;
    float kv[8], vv[8], ak[8] = {}, av[8] = {};
#pragma unroll
    for (int i = 0; i < 8; i++) {
        bool in = lane + 32 * i < d;
        kv[i] = in ? widen(k[at + lane + 32 * i]) : 0, vv[i] = in ? widen(v[at + lane + 32 * i]) : 0;
    }
    int end = ends[j];
    if (o.window) end = min(end, j + o.window);
    for (int x = w; x < (end - j) * group; x += 8) {
        int64_t row = (int64_t)(j + x / group) * o.heads + kvh * group + x % group;
        float s = 0, p = 0, qv[8], g[8];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            bool in = lane + 32 * i < d;
            qv[i] = in ? widen(q[row * d + lane + 32 * i]) : 0, g[i] = in ? widen(dy[row * d + lane + 32 * i]) : 0;
            s += qv[i] * kv[i];
            p += g[i] * vv[i];
        }
        s = capped(o, warp_sum(s));
        float prob = expf(s - lse[row]), ds = prob * (warp_sum(p) - delta[row]) * through(o, s) * o.scale;
#pragma unroll
        for (int i = 0; i < 8; i++) ak[i] += ds * qv[i], av[i] += prob * g[i];
    }
#pragma unroll
    for (int i = 0; i < 8; i++) parts[0][w][lane + 32 * i] = ak[i], parts[1][w][lane + 32 * i] = av[i];
    __syncthreads();
    for (int c = threadIdx.x; c < d; c += 256) {
        float s = 0, u = 0;
        for (int i = 0; i < 8; i++) s += parts[0][i][c], u += parts[1][i][c];
        round_to(dk + at + c, s);
        round_to(dv + at + c, u);
    }
}

// flash_dq: 64 queries of one head a block of 4 warps.
template <int DP> __device__ __forceinline__ void flash_dq(bf16 *dq, const bf16 *q, const bf16 *k, const bf16 *v, const bf16 *dy, const float *lse, const float *delta, const int *starts, const Heads &o) {
    SHARED_ARRAY(uint8_t, smem, 128);
    constexpr int Tile = 64 * DP * 2;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int t0 = (gridDim.x - 1 - blockIdx.x) * 64, h = blockIdx.y, kv = h / (o.heads / o.kv);
    const int64_t qw = (int64_t)o.heads * o.dim, kw = (int64_t)o.kv * o.dim;
    const uint32_t qs = smem32(smem), gs = qs + Tile, ks = gs + Tile, vs = ks + 2 * Tile;
    q += (int64_t)h * o.dim, dq += (int64_t)h * o.dim, dy += (int64_t)h * o.dim, k += (int64_t)kv * o.dim, v += (int64_t)kv * o.dim;
    const int last = min(t0 + 63, o.T - 1), j0 = first_key(o, starts, t0) / 64, j1 = last / 64;
    load_tile<DP>(qs, q, qw, t0, o.T, o.dim);
    load_tile<DP>(gs, dy, qw, t0, o.T, o.dim);
    load_tile<DP>(ks, k, kw, j0 * 64, o.T, o.dim);
    load_tile<DP>(vs, v, kw, j0 * 64, o.T, o.dim);
    cp_commit();
    int t[2], lo[2];
    float l[2], dl[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        t[i] = t0 + warp * 16 + (lane >> 2) + 8 * i;
        bool in = t[i] < o.T;
        lo[i] = in ? first_key(o, starts, t[i]) : 1 << 30;
        l[i] = in ? lse[(int64_t)t[i] * o.heads + h] : 0, dl[i] = in ? delta[(int64_t)t[i] * o.heads + h] : 0;
    }
    float acc[DP / 8][4] = {};
#pragma unroll 1
    for (int j = j0, b = 0; j <= j1; j++, b ^= 1) {
        cp_wait<0>();
        __syncthreads();
        if (j < j1) {
            load_tile<DP>(ks + (b ^ 1) * Tile, k, kw, (j + 1) * 64, o.T, o.dim);
            load_tile<DP>(vs + (b ^ 1) * Tile, v, kw, (j + 1) * 64, o.T, o.dim);
            cp_commit();
        }
        float s[8][4], p[8][4];
        dots<DP>(s, qs, warp * 16, ks + b * Tile);
        dots<DP>(p, gs, warp * 16, vs + b * Tile);
        cap_all(o, s);
        const float per = o.cap > 0 ? 1 / o.cap : 0;
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int key = j * 64 + 8 * n + 2 * (lane & 3) + (e & 1), i = e >> 1;
                float c = s[n][e], r = c * per;  // 1 - r*r is what the cap lets through
                s[n][e] = key >= lo[i] && key <= t[i] ? __expf(c - l[i]) * (p[n][e] - dl[i]) * (1 - r * r) : 0;
            }
        sums<DP>(acc, s, ks + b * Tile);
    }
    put_tile<DP>(dq, qw, t0 + warp * 16, o.T, o.dim, acc, o.scale, o.scale);
}

// flash_dkv: 64 keys of one key head a block of 4 warps, over the queries of all its heads.
template <int DP> __device__ __forceinline__ void flash_dkv(bf16 *dk, bf16 *dv, const bf16 *q, const bf16 *k, const bf16 *v, const bf16 *dy, const float *lse, const float *delta, const int *starts, const int *ends, const Heads &o) {
    SHARED_ARRAY(uint8_t, smem, 128);
    __shared__ float ls[2][64], dls[2][64];
    __shared__ int los[2][64];
    constexpr int Tile = 64 * DP * 2;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const int k0 = blockIdx.x * 64, kvh = blockIdx.y, group = o.heads / o.kv;
    const int64_t qw = (int64_t)o.heads * o.dim, kw = (int64_t)o.kv * o.dim;
    const uint32_t ks = smem32(smem), vs = ks + Tile, qs = vs + Tile, gs = qs + 2 * Tile;
    k += (int64_t)kvh * o.dim, v += (int64_t)kvh * o.dim, dk += (int64_t)kvh * o.dim, dv += (int64_t)kvh * o.dim;
    const int lastKey = min(k0 + 63, o.T - 1);
    int end = ends[lastKey];  // queries from k0 to here may see a key of the tile
    if (o.window) end = min(end, lastKey + o.window);
    const int b0 = k0 / 64, blocks = (end + 63) / 64 - b0, n = blocks * group;
    auto load = [&](int x, int b) {
        int64_t h = kvh * group + x / blocks;
        int t0 = (b0 + x % blocks) * 64;
        load_tile<DP>(qs + b * Tile, q + h * o.dim, qw, t0, o.T, o.dim);
        load_tile<DP>(gs + b * Tile, dy + h * o.dim, qw, t0, o.T, o.dim);
        if (threadIdx.x < 64) {
            int t = t0 + threadIdx.x;
            bool in = t < o.T;
            ls[b][threadIdx.x] = in ? lse[(int64_t)t * o.heads + h] : 0, dls[b][threadIdx.x] = in ? delta[(int64_t)t * o.heads + h] : 0;
            los[b][threadIdx.x] = in ? first_key(o, starts, t) : 1 << 30;
        }
    };
    load_tile<DP>(ks, k, kw, k0, o.T, o.dim);
    load_tile<DP>(vs, v, kw, k0, o.T, o.dim);
    load(0, 0);
    cp_commit();
    float ak[DP / 8][4] = {}, av[DP / 8][4] = {};
#pragma unroll 1
    for (int x = 0, b = 0; x < n; x++, b ^= 1) {
        cp_wait<0>();
        __syncthreads();
        if (x + 1 < n) {
            load(x + 1, b ^ 1);
            cp_commit();
        }
        const int t0 = (b0 + x % blocks) * 64;
        float s[8][4], p[8][4];
        dots<DP>(s, ks, warp * 16, qs + b * Tile);
        dots<DP>(p, vs, warp * 16, gs + b * Tile);
        cap_all(o, s);
        const float per = o.cap > 0 ? 1 / o.cap : 0;
#pragma unroll
        for (int m = 0; m < 8; m++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int i = 8 * m + 2 * (lane & 3) + (e & 1), key = k0 + warp * 16 + (lane >> 2) + 8 * (e >> 1);
                float c = s[m][e], r = c * per;
                float prob = key >= los[b][i] && key <= t0 + i ? __expf(c - ls[b][i]) : 0;
                s[m][e] = prob;
                p[m][e] = prob * (p[m][e] - dls[b][i]) * (1 - r * r);
            }
        sums<DP>(av, s, gs + b * Tile);
        sums<DP>(ak, p, qs + b * Tile);
    }
    put_tile<DP>(dk, kw, k0 + warp * 16, o.T, o.dim, ak, o.scale, o.scale);
    put_tile<DP>(dv, kw, k0 + warp * 16, o.T, o.dim, av, 1, 1);
}
}  // namespace

#define K_ANY_GRAD(s, T)                                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256) attention_dq_##s(T *dq, const T *q, const T *k, const T *v, const T *dy, const float *lse, const float *delta, const int *starts, Heads o) { any_dq(dq, q, k, v, dy, lse, delta, starts, o); } \
    extern "C" __global__ void __launch_bounds__(256) attention_dkv_##s(T *dk, T *dv, const T *q, const T *k, const T *v, const T *dy, const float *lse, const float *delta, const int *starts, const int *ends, Heads o) { any_dkv(dk, dv, q, k, v, dy, lse, delta, starts, ends, o); }
EACH_TYPE(K_ANY_GRAD)
#define K_FLASH_GRAD(DP, N)                                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(128, N) flash_dq_##DP(bf16 *dq, const bf16 *q, const bf16 *k, const bf16 *v, const bf16 *dy, const float *lse, const float *delta, const int *starts, Heads o) { flash_dq<DP>(dq, q, k, v, dy, lse, delta, starts, o); } \
    extern "C" __global__ void __launch_bounds__(128, N) flash_dkv_##DP(bf16 *dk, bf16 *dv, const bf16 *q, const bf16 *k, const bf16 *v, const bf16 *dy, const float *lse, const float *delta, const int *starts, const int *ends, Heads o) { flash_dkv<DP>(dk, dv, q, k, v, dy, lse, delta, starts, ends, o); }
K_FLASH_GRAD(64, 2) K_FLASH_GRAD(128, 2)
