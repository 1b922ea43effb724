// Products with packed 4-bit weights for up to 64 tokens (many sequences that are answered at once), on every card.
#pragma once
#include "elements.cuh"
#include "tiles.cuh"
#include "w4.cuh"

namespace {
// Many names up to four matrices that the same tokens are multiplied with, and how many parts the sum of each is cut into.
// Blocks come matrix by matrix, in each 128 rows after 128, of these part after part. Of each it has an update,
// y += scale * u v, u [T, rank] and v [rank, N].
struct Many {
    void *y[4];
    const uint8_t *w[4];
    const void *bias[4];
    const float *u[4], *v[4];
    int rows[4], biasType[4], split[4], rank[4];
    float scale[4];
    bf16 *behind;        // what follows in the same launch, [T, N]
    const bf16 *addend;  // of Added
};

// put_one writes one result of a matrix, with the bias, and the sum behind it; the update is what u v gives. It returns what y holds.
template <Behind B, class Y> __device__ __forceinline__ float put_one(const Many &m, int which, int t, int n, float f, float update) {
    const int64_t at_y = (int64_t)t * m.rows[which] + n;
    if (m.bias[which]) f += at(m.bias[which], m.biasType[which], n);
    if (m.rank[which] > 0) f = fmaf(m.scale[which], update, f);
    Y y;
    round_to(&y, f);
    ((Y *)m.y[which])[at_y] = y;
    f = widen(y);
    if (B == Added) round_to(m.behind + at_y, widen(m.addend[at_y]) + f);
    return f;
}

// many: y [T, N] = x [T, K] Wᵀ (+ bias), T at most 8*NT. A block makes 128 rows of W over a part of K, 128 columns a step:
// four packed blocks and the tokens' columns are copied to shared memory, some steps ahead. Of its 8 warps, four share the
// rows and two the columns of a step. The parts of a sum go to `parts` [blocks, T, 128]; the last block of the rows to come
// there adds them up in their order (of Gated, the last of both matrices). counts are zeros before and after. The order of a
// sum does not depend on T.
template <int NT, Behind B, class Y> __device__ __forceinline__ void many_w4(const bf16 *x, int T, int K, int KB, uint32_t zero, float *parts, uint32_t *counts, const Many &m) {
    SHARED_ARRAY(uint8_t, smem, 128);
    __shared__ bool last;
    constexpr int Tokens = 8 * NT, Weights = 4 * BlockBytes, Stage = Weights + Tokens * 256, Stages = NT == 2 ? 7 : NT == 4 ? 5 : 3, Wide = 132;
    launch_dependents();
    int which = 0, block = blockIdx.x;
    for (int n; block >= (n = (m.rows[which] + 127) / 128 * m.split[which]); which++) block -= n;
    const int split = m.split[which], group = block / split, part = block % split, from = KB / 2 * part / split, to = KB / 2 * (part + 1) / split;
    const uint8_t *w = m.w[which] + (int64_t)group * 2 * KB * BlockBytes;
    const uint32_t s0 = smem32(smem);
    auto loadWeights = [&](int i) {
        for (int p = threadIdx.x; p < Weights / 16; p += 256) {
            int lower = p >= Weights / 32, q = lower ? p - Weights / 32 : p;
            cp16(s0 + (i - from) % Stages * Stage + p * 16, w + ((int64_t)lower * KB + 2 * i) * BlockBytes + q * 16, true);
        }
    };
    auto loadTokens = [&](int i) {
#pragma unroll
        for (int j = 0; j < Tokens / 16; j++) {
            int p = threadIdx.x + 256 * j, r = p >> 4, c = p & 15, k = i * 128 + c * 8;
            bool ok = r < T && k < K;
            cp16(s0 + (i - from) % Stages * Stage + Weights + (c >> 3) * Tokens * 128 + r * 128 + (((c & 7) ^ (r & 7)) << 4), ok ? x + (int64_t)r * K + k : x, ok);
        }
    };
    for (int i = from; i < min(to, from + Stages - 1); i++) loadWeights(i);
    wait_for_earlier();
#pragma unroll
    for (int i = 0; i < Stages - 1; i++) {
        if (from + i < to) loadTokens(from + i);
        cp_commit();
    }
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, r = lane >> 2, c = lane & 3, half = warp >> 2, rows = warp & 3;
    float acc[2][NT][4] = {};
    for (int i = from; i < to; i++) {
        cp_wait<Stages - 2>();
        __syncthreads();
        if (i + Stages - 1 < to) loadWeights(i + Stages - 1), loadTokens(i + Stages - 1);
        cp_commit();
        const uint8_t *blk = smem + (i - from) % Stages * Stage + (rows >> 1) * 2 * BlockBytes + half * BlockBytes;
        const uint32_t tokens = s0 + (i - from) % Stages * Stage + Weights + half * Tokens * 128;
        uint32_t a[2][4][4];
#pragma unroll
        for (int j = 0; j < 2; j++) {
            int s16 = 2 * (rows & 1) + j;
            rows_frag(a[j], ((const uint2 *)blk)[unit(s16, 0, r, c)], ((const uint2 *)blk)[unit(s16, 1, r, c)], *(const uint4 *)(blk + 2048 + 64 * s16 + 16 * (r >> 1)), r & 1, zero);
        }
#pragma unroll
        for (int s = 0; s < 4; s++)
#pragma unroll
            for (int t = 0; t < NT; t += 2) {
                uint32_t b[4];
                cols16<64>(b, tokens, 8 * t, s);
#pragma unroll
                for (int j = 0; j < 2; j++) mma(acc[j][t], a[j][s], b[0], b[1]), mma(acc[j][t + 1], a[j][s], b[2], b[3]);
            }
    }
    cp_wait<0>();
    __syncthreads();
    float *sums = (float *)smem;  // [Tokens, Wide]
#pragma unroll
    for (int h = 1; h >= 0; h--) {
        if (half == h) {
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int t = 0; t < NT; t++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        float *s = sums + (8 * t + 2 * c + (e & 1)) * Wide + 32 * rows + 16 * j + r + 8 * (e >> 1);
                        *s = h ? acc[j][t][e] : acc[j][t][e] + *s;
                    }
        }
        __syncthreads();
    }
    const int N = m.rows[which], q = 4 * (threadIdx.x & 31), n = group * 128 + q;  // a thread has four rows
    auto put = [&](int i, int t, float4 &v) {  // of matrix i; v becomes what y holds
        const int rank = m.rank[i];
        float *f = (float *)&v, update[4] = {};
#pragma unroll 1
        for (int l = 0; l < rank; l++) {
            const float u = m.u[i][t * rank + l];
#pragma unroll
            for (int e = 0; e < 4; e++) if (n + e < N) update[e] = fmaf(u, m.v[i][(int64_t)l * N + n + e], update[e]);
        }
#pragma unroll
        for (int e = 0; e < 4; e++) if (n + e < N) f[e] = put_one<B, Y>(m, i, t, n + e, f[e], update[e]);
    };
#pragma unroll 1
    for (int t = threadIdx.x >> 5; t < T; t += 8) {
        float4 v = *(const float4 *)(sums + t * Wide + q);
        if (B != Gated && split == 1) put(which, t, v); else *(float4 *)(parts + ((int64_t)blockIdx.x * T + t) * 128 + q) = v;
    }
    if (B != Gated && split == 1) return;
    __threadfence();
    __syncthreads();
    const int first = B == Gated ? group * split : blockIdx.x - part;
    if (threadIdx.x == 0) last = atomicAdd(counts + first, 1) == (B == Gated ? 2 * split : split) - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    auto joined = [&](int from, int t) {
        float4 v = make_float4(0, 0, 0, 0);
#pragma unroll 4
        for (int i = 0; i < split; i++) {
            float4 p = __ldcg((const float4 *)(parts + ((int64_t)(from + i) * T + t) * 128 + q));
            v.x += p.x, v.y += p.y, v.z += p.z, v.w += p.w;
        }
        return v;
    };
#pragma unroll 1
    for (int t = threadIdx.x >> 5; t < T; t += 8) {
        float4 v = joined(first, t);
        put(B == Gated ? 0 : which, t, v);
        if (B != Gated) continue;
        float4 u = joined(first + gridDim.x / 2, t);
        put(1, t, u);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float g = ((float *)&v)[e];
            if (n + e < N) round_to(m.behind + (int64_t)t * N + n + e, ((float *)&u)[e] * (g * sigmoid(g)));
        }
    }
    if (threadIdx.x == 0) counts[first] = 0;
}
}  // namespace

#define K_MANY(NT, name, B, s, Y) \
    extern "C" __global__ void __launch_bounds__(256, 2) name##_w4_##NT##_##s(const bf16 *x, int T, int K, int KB, uint32_t zero, float *parts, uint32_t *counts, Many m) { many_w4<NT, B, Y>(x, T, K, KB, zero, parts, counts, m); }
K_MANY(2, many, Nothing, b, bf16) K_MANY(4, many, Nothing, b, bf16) K_MANY(8, many, Nothing, b, bf16)
K_MANY(2, many, Nothing, f, float) K_MANY(4, many, Nothing, f, float) K_MANY(8, many, Nothing, f, float)
K_MANY(2, many_added, Added, b, bf16) K_MANY(4, many_added, Added, b, bf16) K_MANY(8, many_added, Added, b, bf16)
K_MANY(2, many_gated, Gated, b, bf16) K_MANY(4, many_gated, Gated, b, bf16) K_MANY(8, many_gated, Gated, b, bf16)
