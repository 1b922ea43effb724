// Mixtures of experts (see compute/experts.go): routing, and products of pairs of a token and an expert with that expert's
// matrix. Pairs are sorted by expert first, in order; a tile is up to `size` pairs of one expert.
#include "linear_dense.cuh"
#include "plain.cuh"
#include "weights.cuh"

namespace {
// rank_key orders numbers as Route does: larger ones first, of equal ones the first, NaN last.
__device__ __forceinline__ unsigned long long rank_key(float v, int i) {
    uint32_t u = v != v ? 0 : v == 0 ? 0x80000000u : __float_as_uint(v);
    if (v == v && v != 0) u = u & 0x80000000u ? ~u : u | 0x80000000u;
    return (unsigned long long)u << 32 | (0xFFFFFFFFu - (uint32_t)i);
}

// route: one token a warp.
template <class T> __device__ __forceinline__ void route(int *ids, float *scores, const T *logits, int tokens, int E, int K, int normalize) {
    const int t = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (t >= tokens) return;
    logits += (int64_t)t * E, ids += (int64_t)t * K, scores += (int64_t)t * K;
    unsigned long long last = ~0ull;
    float largest = 0, sum = 0;
    for (int k = 0; k < K; k++) {
        unsigned long long best = 0;
        for (int e = lane; e < E; e += 32) {
            unsigned long long v = rank_key(widen(logits[e]), e);
            if (v < last && v > best) best = v;
        }
#pragma unroll
        for (int m = 16; m; m >>= 1) {
            unsigned long long v = __shfl_xor_sync(~0u, best, m);
            if (v > best) best = v;
        }
        last = best;
        int e = (int)(0xFFFFFFFFu - (uint32_t)best);
        float v = widen(logits[e]);
        if (k == 0) largest = v;
        v = expf(v - largest);
        sum += v;
        if (lane == 0) ids[k] = e, scores[k] = v;
    }
    if (!normalize) {
        sum = 0;
        for (int e = lane; e < E; e += 32) sum += expf(widen(logits[e]) - largest);
        sum = warp_sum(sum);
    }
    if (lane == 0) for (int k = 0; k < K; k++) scores[k] /= sum;
}

// route_grad: one token a warp.
template <class T> __device__ __forceinline__ void route_grad(uint32_t *bad, T *dl, const T *logits, const int *ids, const float *ds, int tokens, int E, int K, int normalize) {
    const int t = blockIdx.x * 8 + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    if (t >= tokens) return;
    logits += (int64_t)t * E, dl += (int64_t)t * E, ids += (int64_t)t * K, ds += (int64_t)t * K;
    for (int k = 0; k < K; k++) if (ids[k] < 0 || ids[k] >= E) {
        if (lane == 0) *bad = 1;
        return;
    }
    float largest = widen(logits[ids[0]]), sum = 0, mean = 0;
    for (int k = 0; k < K; k++) {
        float p = expf(widen(logits[ids[k]]) - largest);
        sum += p, mean += p * ds[k];
    }
    if (!normalize) {
        sum = 0;
        for (int e = lane; e < E; e += 32) sum += expf(widen(logits[e]) - largest);
        sum = warp_sum(sum);
    }
    mean /= sum;
    for (int e = lane; e < E; e += 32) {
        float p = expf(widen(logits[e]) - largest), d = 0;
        bool picked = false;
        for (int k = 0; k < K; k++) if (ids[k] == e) picked = true, d += ds[k];
        float v = picked || !normalize ? p * (-mean / sum) : 0;
        round_to(dl + e, picked ? v + p / sum * d : v);
    }
}

template <class T> __device__ __forceinline__ void combine(T *out, const T *y, const float *scores, int K, int d) {
    int64_t t = blockIdx.x;
    for (int c = threadIdx.x; c < d; c += blockDim.x) {
        float s = 0;
        for (int k = 0; k < K; k++) s += scores[t * K + k] * widen(y[(t * K + k) * d + c]);
        round_to(out + t * d + c, s);
    }
}

// combine_grad: one pair a warp. dy may be y.
template <class T> __device__ __forceinline__ void combine_grad(T *dy, float *ds, const T *dout, const T *y, const float *scores, int64_t pairs, int K, int d) {
    const int64_t p = (int64_t)blockIdx.x * 8 + (threadIdx.x >> 5);
    if (p >= pairs) return;
    dout += p / K * d, y += p * d, dy += p * d;
    float s = 0, w = scores[p];
    for (int c = threadIdx.x & 31; c < d; c += 32) s += widen(dout[c]) * widen(y[c]);
    s = warp_sum(s);
    for (int c = threadIdx.x & 31; c < d; c += 32) round_to(dy + c, w * widen(dout[c]));
    if ((threadIdx.x & 31) == 0) ds[p] = s;
}
}  // namespace

#define K_ROUTE(s, T)                                                                                                                                                              \
    extern "C" __global__ void __launch_bounds__(256) route_##s(int *ids, float *scores, const T *logits, int tokens, int E, int K, int normalize) { route(ids, scores, logits, tokens, E, K, normalize); } \
    extern "C" __global__ void __launch_bounds__(256) route_grad_##s(uint32_t *bad, T *dl, const T *logits, const int *ids, const float *ds, int tokens, int E, int K, int normalize) { route_grad(bad, dl, logits, ids, ds, tokens, E, K, normalize); } \
    extern "C" __global__ void combine_##s(T *out, const T *y, const float *scores, int K, int d) { combine(out, y, scores, K, d); }                                              \
    extern "C" __global__ void __launch_bounds__(256) combine_grad_##s(T *dy, float *ds, const T *dout, const T *y, const float *scores, int64_t pairs, int K, int d) { combine_grad(dy, ds, dout, y, scores, pairs, K, d); }
EACH_TYPE(K_ROUTE)

// expert_sort: one expert a block. order [pairs] gets its pairs, from starts[e] to starts[e+1].
extern "C" __global__ void __launch_bounds__(256) expert_sort(uint32_t *bad, int *order, int *starts, const int *ids, int pairs, int E) {
    __shared__ int counts[8], before[8];
    const int e = blockIdx.x, lane = threadIdx.x & 31, w = threadIdx.x >> 5;
    int smaller = 0;
    for (int i = threadIdx.x; i < pairs; i += 256) {
        smaller += ids[i] < e;
        if (ids[i] < 0 || ids[i] >= E) *bad = 1;
    }
#pragma unroll
    for (int m = 16; m; m >>= 1) smaller += __shfl_xor_sync(~0u, smaller, m);
    if (lane == 0) before[w] = smaller;
    __syncthreads();
    int next = 0;
    for (int i = 0; i < 8; i++) next += before[i];
    if (threadIdx.x == 0) starts[e] = next;
    for (int i0 = 0; i0 < pairs; i0 += 256) {
        int i = i0 + threadIdx.x;
        bool own = i < pairs && ids[i] == e;
        unsigned who = __ballot_sync(~0u, own);
        __syncthreads();
        if (lane == 0) counts[w] = __popc(who);
        __syncthreads();
        int at = next;
        for (int k = 0; k < w; k++) at += counts[k];
        if (own) order[at + __popc(who & ((1u << lane) - 1))] = i;
        for (int k = 0; k < 8; k++) next += counts[k];
    }
    if (e == E - 1 && threadIdx.x == 0) starts[E] = next;
}

// expert_tiles: how many tiles there are, and from the fourth number on, for each its expert, its first place in order and the end.
extern "C" __global__ void expert_tiles(int *tiles, const int *starts, int E, int size) {
    int n = 0;
    for (int e = 0; e < E; e++)
        for (int i = starts[e]; i < starts[e + 1]; i += size, n++) {
            int *t = tiles + 4 + 4 * n;
            t[0] = e, t[1] = i, t[2] = min(i + size, starts[e + 1]);
        }
    tiles[0] = n;
}

namespace {
// Pairs tells where a tile's rows come from and go to. in and out divide a pair's number: 1 for a row of its own, K for the token's.
struct Pairs {
    const int *order, *tiles;
    int in, out;
};

// expert_product: C rows of pairs [.., N] = A rows [.., K] times the expert's matrix, element (l, n) at e*size + l*bl + n*bn. 64 pairs by 64 columns a block.
template <class C, class A> __device__ __forceinline__ void expert_product(C *c, const A *a, const float *b, Pairs p, int N, int K, int64_t size, int64_t bl, int64_t bn, int accumulate) {
    __shared__ int rows[64];
    if ((int)blockIdx.y >= p.tiles[0]) return;
    const int *tile = p.tiles + 4 + 4 * blockIdx.y;
    const int count = tile[2] - tile[1], n0 = blockIdx.x * 64;
    b += tile[0] * size;
    if (threadIdx.x < count) rows[threadIdx.x] = p.order[tile[1] + threadIdx.x];
    __syncthreads();
    float acc[4][4] = {};
    product64(acc, 0, K, [&](Slab &as, Slab &bs, int k0, int i) {
        int m = i >> 4, l = i & 15;
        as[l][m] = m < count && k0 + l < K ? widen(a[(int64_t)(rows[m] / p.in) * K + k0 + l]) : 0;
        int n = bn == 1 ? i & 63 : i >> 4;
        l = bn == 1 ? i >> 6 : i & 15;
        bs[l][n] = n0 + n < N && k0 + l < K ? b[(k0 + l) * bl + (n0 + n) * bn] : 0;
    });
    each64(acc, [&](float v, int m, int n) {
        if (m >= count || n0 + n >= N) return;
        C *to = c + (int64_t)(rows[m] / p.out) * N + n0 + n;
        round_to(to, v + (accumulate ? widen(*to) : 0));
    });
}

// expert_weight: dw [E*R, C] (+)= alpha dyᵀ x over the pairs of each expert (blockIdx.z). 64 by 64 a block.
template <class A, class B> __device__ __forceinline__ void expert_weight(float *dw, const A *dy, const B *x, const int *order, const int *starts, int in, int R, int N, float alpha, int accumulate) {
    const int e = blockIdx.z, r0 = blockIdx.y * 64, n0 = blockIdx.x * 64;
    float acc[4][4] = {};
    product64(acc, starts[e], starts[e + 1], [&](Slab &as, Slab &bs, int k0, int i) {
        int m = i & 63, l = i >> 6;
        bool in_range = k0 + l < starts[e + 1];  // read again rather than kept: it takes 48 registers, not 63
        int64_t pair = in_range ? order[k0 + l] : 0;
        as[l][m] = in_range && r0 + m < R ? widen(dy[pair * R + r0 + m]) : 0;
        bs[l][m] = in_range && n0 + m < N ? widen(x[pair / in * N + n0 + m]) : 0;
    });
    each64(acc, [&](float v, int m, int n) {
        m += r0, n += n0;
        if (m >= R || n >= N) return;
        float *to = dw + ((int64_t)e * R + m) * N + n;
        *to = alpha * v + (accumulate ? *to : 0);
    });
}

// sum_pairs adds up the K rows of each token, in order.
template <class Y> __device__ __forceinline__ void sum_pairs(Y *y, const float *x, int K, int d, int accumulate) {
    int64_t t = blockIdx.x;
    for (int c = threadIdx.x; c < d; c += blockDim.x) {
        float s = accumulate ? widen(y[t * d + c]) : 0;
        for (int k = 0; k < K; k++) s += x[(t * K + k) * d + c];
        round_to(y + t * d + c, s);
    }
}
}  // namespace

#define K_EXPERT_PRODUCT(s, C, A) \
    extern "C" __global__ void __launch_bounds__(256) expert_product_##s(C *c, const A *a, const float *b, Pairs p, int N, int K, int64_t size, int64_t bl, int64_t bn, int acc) { expert_product(c, a, b, p, N, K, size, bl, bn, acc); }
K_EXPERT_PRODUCT(ff, float, float) K_EXPERT_PRODUCT(fb, float, bf16) K_EXPERT_PRODUCT(bf, bf16, float) K_EXPERT_PRODUCT(bb, bf16, bf16)
#define K_EXPERT_WEIGHT(s, A, B) \
    extern "C" __global__ void __launch_bounds__(256) expert_weight_##s(float *dw, const A *dy, const B *x, const int *order, const int *starts, int in, int R, int N, float alpha, int acc) { expert_weight(dw, dy, x, order, starts, in, R, N, alpha, acc); }
K_EXPERT_WEIGHT(ff, float, float) K_EXPERT_WEIGHT(fb, float, bf16) K_EXPERT_WEIGHT(bf, bf16, float) K_EXPERT_WEIGHT(bb, bf16, bf16)
#define K_SUM_PAIRS(s, Y) \
    extern "C" __global__ void sum_pairs_##s(Y *y, const float *x, int K, int d, int acc) { sum_pairs(y, x, K, d, acc); }
EACH_TYPE(K_SUM_PAIRS)

// expert_rows writes the matrices of the experts that have pairs as Y [E*rows, K]: a row a block.
#define K_EXPERT_ROWS(s, Y)                                                                                                                                                                  \
    extern "C" __global__ void expert_rows_w4_##s(Y *y, const uint8_t *w, const int *starts, int rows, int K, int KB, float zero) {                                                         \
        int64_t n = blockIdx.x, e = n / rows;                                                                                                                                                \
        if (starts[e] == starts[e + 1]) return;                                                                                                                                              \
        row_w4(w, n, K, KB, zero, [&](int k, float v) { round_to(y + n * K + k, v); });                                                                                                     \
    }                                                                                                                                                                                       \
    extern "C" __global__ void expert_rows_raw_##s(Y *y, const uint8_t *data, const void *scales, const void *biases, const int *starts, int rows, int kind, int type, int bits, int group, int K) { \
        int64_t n = blockIdx.x, e = n / rows;                                                                                                                                                \
        if (starts[e] == starts[e + 1]) return;                                                                                                                                              \
        Raw w = {data, scales, biases, kind, type, bits, group, K};                                                                                                                          \
        for (int k = threadIdx.x; k < K; k += blockDim.x) round_to(y + n * K + k, weight_at(w, n, k));                                                                                      \
    }
EACH_TYPE(K_EXPERT_ROWS)

// expert_few: for few pairs, one number of the result a warp: the row of the expert's matrix that it takes is read where it lies.
#define K_EXPERT_FEW(s, Y)                                                                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(32) expert_few_w4_##s(uint32_t *bad, Y *y, const void *x, int type, const uint8_t *w, const int *ids, int in, int E, int rows, int K, int KB, float zero) { \
        int64_t p = blockIdx.y, e = ids[p];                                                                                                                                                  \
        if (e < 0 || e >= E) {                                                                                                                                                               \
            *bad = 1;                                                                                                                                                                        \
            return;                                                                                                                                                                          \
        }                                                                                                                                                                                    \
        float s_ = 0;                                                                                                                                                                        \
        row_w4(w, e * rows + blockIdx.x, K, KB, zero, [&](int k, float v) { s_ += v * at(x, type, p / in * K + k); });                                                                       \
        s_ = warp_sum(s_);                                                                                                                                                                   \
        if (threadIdx.x == 0) round_to(y + p * rows + blockIdx.x, s_);                                                                                                                       \
    }                                                                                                                                                                                       \
    extern "C" __global__ void __launch_bounds__(32) expert_few_raw_##s(uint32_t *bad, Y *y, const void *x, int type, const uint8_t *data, const void *scales, const void *biases, const int *ids, int in, int E, int rows, \
                                                                       int kind, int wtype, int bits, int group, int K) {                                                                    \
        int64_t p = blockIdx.y, e = ids[p];                                                                                                                                                  \
        if (e < 0 || e >= E) {                                                                                                                                                               \
            *bad = 1;                                                                                                                                                                        \
            return;                                                                                                                                                                          \
        }                                                                                                                                                                                    \
        Raw w = {data, scales, biases, kind, wtype, bits, group, K};                                                                                                                         \
        float s_ = 0;                                                                                                                                                                        \
        for (int k = threadIdx.x; k < K; k += 32) s_ += weight_at(w, e * rows + blockIdx.x, k) * at(x, type, p / in * K + k);                                                                \
        s_ = warp_sum(s_);                                                                                                                                                                   \
        if (threadIdx.x == 0) round_to(y + p * rows + blockIdx.x, s_);                                                                                                                       \
    }
EACH_TYPE(K_EXPERT_FEW)

namespace {
// Grouped, by mma: the rows of a tile are pairs of one expert (see dense::product).
template <bool BACK, class Y> __device__ __forceinline__ void expert_mma(Y *y, const bf16 *x, const bf16 *w, Pairs p, int R, int D) {
    if ((int)blockIdx.x >= p.tiles[0]) return;
    const int *tile = p.tiles + 4 + 4 * blockIdx.x;
    dense::product<BACK>(y, x, w + (int64_t)tile[0] * R * D, (const bf16 *)nullptr, (const bf16 *)nullptr, nullptr, 0, tile[2] - tile[1], R, D, 0, 0,
                         dense::Picked{p.order + tile[1], p.in, p.out});
}
}  // namespace
#define K_EXPERT_MMA(name, BACK, Y) \
    extern "C" __global__ void __launch_bounds__(256, 2) name(Y *y, const bf16 *x, const bf16 *w, Pairs p, int R, int D) { expert_mma<BACK>(y, x, w, p, R, D); }
K_EXPERT_MMA(expert_mma_b, false, bf16) K_EXPERT_MMA(expert_mma_f, false, float)
K_EXPERT_MMA(expert_mma_grad_b, true, bf16) K_EXPERT_MMA(expert_mma_grad_f, true, float)
