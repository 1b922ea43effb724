// Attention of a single query (decoding one sequence), and what comes before it: rotations, and new keys and values for caches.
#pragma once
#include "attention.cuh"

namespace {
// put2 writes two neighbours of 16 bits as Y.
__device__ __forceinline__ void put2(bf16 *p, uint32_t v) { *(uint32_t *)p = v; }
template <class Y> __device__ __forceinline__ void put2(Y *p, uint32_t v) { round_to(p, low(v)), round_to(p + 1, high(v)); }

// turn_store turns the queries and keys of a token t in place and writes keys and values into the caches of the span that
// the token is of: as rope and store_rows do. It takes one head of keys (own of heads) and the heads of queries that share it.
template <class Y, class C> __device__ __forceinline__ void turn_store(uint32_t *bad, bf16 *q, bf16 *k, const bf16 *v, const float *cos, const float *sin, int group, int head, const int *spans, int n, const C &keys, const C &values, int t, int own, int heads) {
    const int half = head / 2, pairs = half / 2;
    const int64_t width = (int64_t)heads * head;
    own *= head;
    uint4 span = make_uint4(0, 0, 0, 0);  // each lane looks at one
    if ((threadIdx.x & 31) < n) span = ((const uint4 *)spans)[threadIdx.x & 31];
    const uint32_t found = __ballot_sync(~0u, t >= (int)span.x && t < (int)span.y);
    auto store = [&](const C &caches, int at, uint32_t two) {
        for (uint32_t left = found; left; left &= left - 1) {
            const int z = __ffs(left) - 1;
            const uint4 s = ((const uint4 *)spans)[z];
            const int64_t row = (int64_t)(int)s.z + t - (int)s.x;
            if (row < 0 || row >= caches.room[z]) *bad = 1; else put2((Y *)caches.at[z] + row * width + own + at, two);
        }
    };
    for (int p = threadIdx.x; p < (group + 1) * pairs + half; p += blockDim.x) {
        const int h = p / pairs, i = 2 * (p % pairs);
        if (h > group) {
            const int at = 2 * (p - (group + 1) * pairs);
            store(values, at, *(const uint32_t *)(v + t * width + own + at));
            continue;
        }
        bf16 *x = h < group ? q + t * width * group + own * group + h * head : k + t * width + own;
        const uint32_t a = *(const uint32_t *)(x + i), b = *(const uint32_t *)(x + half + i);
        const float2 cs = *(const float2 *)(cos + (int64_t)t * half + i), sn = *(const float2 *)(sin + (int64_t)t * half + i);
        const uint32_t ta = pack2(low(a) * cs.x - low(b) * sn.x, high(a) * cs.y - high(b) * sn.y), tb = pack2(low(a) * sn.x + low(b) * cs.x, high(a) * sn.y + high(b) * cs.y);
        *(uint32_t *)(x + i) = ta, *(uint32_t *)(x + half + i) = tb;
        if (h == group) store(keys, i, ta), store(keys, half + i, tb);
    }
}

// keys_of is the part `cut` of the keys that a query sees, from lo on and before hi.
__device__ __forceinline__ void keys_of(const Heads &o, int cut, int cuts, int &lo, int &hi) {
    lo = first_key(o, nullptr, 0), hi = o.offset + 1;
    const int share = (hi - lo + cuts - 1) / cuts;
    lo += cut * share, hi = min(hi, lo + share);
}

// single: one query of one sequence. 256 threads have one of `cuts` parts of the keys and up to G of the heads that share them:
// their piece, of all heads. DP/8 lanes take a key and its value, some keys at a time; held is shared memory for their sums,
// [256 / (DP/8), G, DP]. What a part gives goes to parts [heads, cuts, DP + 2]: sums, their largest score, and the sum of
// probabilities; those that come last join a piece's parts in their order. counts are zeros before and after. What a head
// gets does not depend on G. A block has one or two Teams of 256 threads.
template <int DP, int G, int Teams> __device__ __forceinline__ void single(uint32_t *bad, bf16 *y, float *parts, uint32_t *counts, const bf16 *q, const int *span, const bf16 *k, const bf16 *v, int room, Heads o, int cut, int cuts, int piece, float *held) {
    constexpr int L = DP / 8, Keys = 256 / L, Each = 4, Early = 16, Outs = (G * DP + 255) / 256;
    __shared__ float topsOf[Teams][G][32], totalsOf[Teams][G][32], mostOf[Teams][G], totalOf[Teams][G];
    __shared__ bool lastOf[Teams];
    const int thread = threadIdx.x & 255, team = Teams > 1 ? threadIdx.x >> 8 : 0;
    auto tops = topsOf[team], totals = totalsOf[team];
    auto most = mostOf[team], total = totalOf[team];
    bool &last = lastOf[team];
    auto sums = (float(*)[G][DP])held;
    const int lane = thread & 31, warp = thread >> 5, own = thread / L, d0 = thread % L * 8;
    const int group = o.heads / o.kv, pieces = (group + G - 1) / G, h0 = piece / pieces * group + piece % pieces * G, heads = min(G, group - piece % pieces * G);
    const int64_t width = (int64_t)o.kv * o.dim;
    k += piece / pieces * o.dim + d0, v += piece / pieces * o.dim + d0;
    float qv[G][8] = {}, acc[G][8] = {}, top[G], sum[G];
#pragma unroll
    for (int g = 0; g < G; g++) {
        if (g < heads && d0 < o.dim) load8(qv[g], q + (h0 + g) * o.dim + d0);
        top[g] = -INFINITY, sum[g] = 0;
    }
    of_span(o, span, room, bad);
    if (o.T < 1) return;
    int lo, hi;
    keys_of(o, cut, cuts, lo, hi);
    for (int j0 = lo; j0 < hi; j0 += Each * Keys) {
        uint4 kk[Each], vv[Each];
        float s[Each][G];
#pragma unroll
        for (int u = 0; u < Each; u++) {
            const int j = j0 + own + Keys * u;
            kk[u] = vv[u] = make_uint4(0, 0, 0, 0);
            if (j < hi && d0 < o.dim) kk[u] = *(const uint4 *)(k + j * width), vv[u] = *(const uint4 *)(v + j * width);
        }
#pragma unroll
        for (int u = 0; u < Each; u++) {
            const float x[8] = {low(kk[u].x), high(kk[u].x), low(kk[u].y), high(kk[u].y), low(kk[u].z), high(kk[u].z), low(kk[u].w), high(kk[u].w)};
#pragma unroll
            for (int g = 0; g < G; g++) {
                s[u][g] = 0;
#pragma unroll
                for (int i = 0; i < 8; i++) s[u][g] += x[i] * qv[g][i];
            }
        }
#pragma unroll
        for (int m = L / 2; m; m >>= 1)
#pragma unroll
            for (int u = 0; u < Each; u++)
#pragma unroll
                for (int g = 0; g < G; g++) s[u][g] += __shfl_xor_sync(~0u, s[u][g], m);
#pragma unroll
        for (int g = 0; g < G; g++) {
            float next = top[g];
#pragma unroll
            for (int u = 0; u < Each; u++) {
                s[u][g] = j0 + own + Keys * u < hi ? capped(o, s[u][g]) : -INFINITY;
                next = fmaxf(next, s[u][g]);
            }
            const float base = next == -INFINITY ? 0 : next, keep = expf(top[g] - base);
            top[g] = next, sum[g] *= keep;
#pragma unroll
            for (int i = 0; i < 8; i++) acc[g][i] *= keep;
#pragma unroll
            for (int u = 0; u < Each; u++) s[u][g] = expf(s[u][g] - base), sum[g] += s[u][g];
        }
#pragma unroll
        for (int u = 0; u < Each; u++) {
            const float x[8] = {low(vv[u].x), high(vv[u].x), low(vv[u].y), high(vv[u].y), low(vv[u].z), high(vv[u].z), low(vv[u].w), high(vv[u].w)};
#pragma unroll
            for (int g = 0; g < G; g++)
#pragma unroll
                for (int i = 0; i < 8; i++) acc[g][i] += s[u][g] * x[i];
        }
    }
#pragma unroll
    for (int g = 0; g < G; g++) {
        if (d0 == 0) tops[g][own] = top[g], totals[g][own] = sum[g];
#pragma unroll
        for (int i = 0; i < 8; i += 4) *(float4 *)&sums[own][g][d0 + i] = make_float4(acc[g][i], acc[g][i + 1], acc[g][i + 2], acc[g][i + 3]);
    }
    // weigh makes factors of the largest scores of n parts of head `warp`, and the head's sum of probabilities.
    auto weigh = [&](float t, float s) {
        const float m = warp_max(t), f = expf(t - (m == -INFINITY ? 0 : m));
        s = warp_sum(s * f);
        tops[warp][lane] = f;
        if (lane == 0) most[warp] = m, total[warp] = s;
    };
    group_sync(1 + team, 256);
    if (warp < heads) weigh(lane < Keys ? tops[warp][lane] : -INFINITY, lane < Keys ? totals[warp][lane] : 0);
    group_sync(1 + team, 256);
    for (int p = thread; p < heads * DP; p += 256) {
        const int g = p / DP, d = p % DP;
        float s = 0;
#pragma unroll
        for (int i = 0; i < Keys; i++) s += tops[g][i] * sums[i][g][d];
        float *part = parts + ((int64_t)(h0 + g) * cuts + cut) * (DP + 2);
        if (cuts > 1) part[d] = s; else if (d < o.dim) round_to(y + (h0 + g) * o.dim + d, s / total[g]);
        if (cuts > 1 && d == 0) part[DP] = most[g], part[DP + 1] = total[g];
    }
    if (cuts == 1) return;
    __threadfence();
    group_sync(1 + team, 256);
    if (thread == 0) last = atomicAdd(counts + piece, 1) == cuts - 1;
    group_sync(1 + team, 256);
    if (!last) return;
    __threadfence();
    float early[Outs][Early];  // of the first parts, asked for with what weighs them
#pragma unroll
    for (int u = 0; u < Outs; u++) {
        const int p = thread + 256 * u, g = p / DP;
        const float *part = parts + (int64_t)(h0 + g) * cuts * (DP + 2) + p % DP;
#pragma unroll
        for (int i = 0; i < Early; i++) early[u][i] = g < heads && i < cuts ? __ldcg(part + i * (DP + 2)) : 0;
    }
    if (warp < heads) {
        const float *part = parts + ((int64_t)(h0 + warp) * cuts + lane) * (DP + 2) + DP;
        weigh(lane < cuts ? __ldcg(part) : -INFINITY, lane < cuts ? __ldcg(part + 1) : 0);
    }
    group_sync(1 + team, 256);
#pragma unroll
    for (int u = 0; u < Outs; u++) {
        const int p = thread + 256 * u, g = p / DP, d = p % DP;
        if (g >= heads) break;
        const float *part = parts + (int64_t)(h0 + g) * cuts * (DP + 2) + d;
        float s = 0;
#pragma unroll
        for (int i = 0; i < Early; i++) if (i < cuts) s += tops[g][i] * early[u][i];
        for (int i = Early; i < cuts; i++) s += tops[g][i] * __ldcg(part + i * (DP + 2));
        if (d < o.dim) round_to(y + (h0 + g) * o.dim + d, s / total[g]);
    }
    if (thread == 0) counts[piece] = 0;
}
}  // namespace

#define K_TURN_STORE(s, Y) \
    extern "C" __global__ void __launch_bounds__(256) turn_store_##s(uint32_t *bad, bf16 *q, bf16 *k, const bf16 *v, const float *cos, const float *sin, int group, int head, const int *spans, int n, Caches keys, Caches values) { \
        overlap_start(); \
        turn_store<Y>(bad, q, k, v, cos, sin, group, head, spans, n, keys, values, blockIdx.x, blockIdx.y, gridDim.y); \
    }
K_TURN_STORE(b, bf16) K_TURN_STORE(h, __half) K_TURN_STORE(f, float)
#define K_SINGLE(DP, G) \
    extern "C" __global__ void __launch_bounds__(256) single_##DP##_##G(uint32_t *bad, bf16 *y, float *parts, uint32_t *counts, const bf16 *q, const int *span, const bf16 *k, const bf16 *v, int room, Heads o) { \
        __shared__ __align__(16) float held[256 / (DP / 8) * G * DP]; \
        overlap_start(); \
        single<DP, G, 1>(bad, y, parts, counts, q, span, k, v, room, o, blockIdx.x, gridDim.x, blockIdx.y, held); \
    }
K_SINGLE(64, 1) K_SINGLE(64, 4) K_SINGLE(128, 1) K_SINGLE(128, 4)
