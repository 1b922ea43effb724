// Attention of single queries of several sequences, whose heads share keys and values in groups (decoding in a batch).
#include "attention.cuh"

namespace {
// grouped: the query heads of one head of keys, at most 8, are rows of one product, so that keys and values are read once for
// all. A block of 4 warps has one sequence (blockIdx.z), one head of keys and one part of the keys, in tiles of 64 of which
// a warp takes 16. What a part gives goes to parts [rows, heads, limit, DP + 2]: sums, their largest score, and the sum of
// probabilities; the last block of a sequence's head joins them in their order. counts are zeros before and after.
template <int DP> __device__ __forceinline__ void grouped(uint32_t *bad, bf16 *y, float *parts, uint32_t *counts, const bf16 *q, const int *spans, int limit, const Caches &keys, const Caches &values, Heads o) {
    SHARED_ARRAY(uint8_t, smem, 128);
    __shared__ float tops[4][8], totals[4][8];
    __shared__ bool last;
    constexpr int Tile = 64 * DP * 2, Wide = DP + 8;
    overlap_start();
    const int z = blockIdx.z, cut = blockIdx.x, cuts = cuts_of(keys.room[z], limit);
    if (cut >= cuts) return;
    const int from = of_span(o, spans + 4 * z, keys.room[z], bad), lane = threadIdx.x & 31, warp = threadIdx.x >> 5, r = lane >> 2, c = lane & 3;
    const int group = o.heads / o.kv, h0 = blockIdx.y * group;
    const int64_t width = (int64_t)o.kv * o.dim;
    const bf16 *k = (const bf16 *)keys.at[z] + blockIdx.y * o.dim, *v = (const bf16 *)values.at[z] + blockIdx.y * o.dim;
    const uint32_t s0 = smem32(smem);
    float *sums = (float *)smem;  // [4, 8, Wide]
    for (int t = 0; t < o.T; t++) {
        int lo = first_key(o, nullptr, t), hi = o.offset + t + 1;
        const int share = ((hi - lo + cuts - 1) / cuts + 63) / 64 * 64;
        lo += cut * share, hi = min(hi, lo + share);
        const int tiles = max(0, (hi - lo + 63) / 64);
        auto load = [&](int i) {
            if (i < tiles) load_tile<DP>(s0 + (i & 1) * 2 * Tile, k, width, lo + 64 * i, hi, o.dim), load_tile<DP>(s0 + (i & 1) * 2 * Tile + Tile, v, width, lo + 64 * i, hi, o.dim);
            cp_commit();
        };
        load(0), load(1);
        const bf16 *qr = q + ((int64_t)(from + t) * o.heads + h0 + r) * o.dim + 2 * c;
        uint32_t qf[DP / 16][2];  // rows beyond the group are zeros
#pragma unroll
        for (int i = 0; i < DP / 16; i++)
#pragma unroll
            for (int e = 0; e < 2; e++) qf[i][e] = r < group && 16 * i + 8 * e + 2 * c < o.dim ? *(const uint32_t *)(qr + 16 * i + 8 * e) : 0;
        float acc[DP / 8][4] = {}, top = -INFINITY, sum = 0;
        for (int i = 0; i < tiles; i++) {
            cp_wait<1>();
            __syncthreads();
            const uint32_t ks = s0 + (i & 1) * 2 * Tile, vs = ks + Tile;
            float s[2][4] = {}, most = -INFINITY;
#pragma unroll
            for (int d = 0; d < DP / 16; d++) {
                const uint32_t a[4] = {qf[d][0], 0, qf[d][1], 0};
                uint32_t b[4];
                cols16<DP>(b, ks, 16 * warp, d);
                mma(s[0], a, b[0], b[1]);
                mma(s[1], a, b[2], b[3]);
            }
            const int key = lo + 64 * i + 16 * warp + 2 * c;  // of s[0][0]
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    s[n][e] = key + 8 * n + e < hi ? capped(o, s[n][e]) : -INFINITY;
                    most = fmaxf(most, s[n][e]);
                }
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
            const float next = fmaxf(top, most), base = next == -INFINITY ? 0 : next, keep = __expf(top - base);
            top = next, sum *= keep;
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) s[n][e] = __expf(s[n][e] - base), sum += s[n][e];
#pragma unroll
            for (int j = 0; j < DP / 8; j++) acc[j][0] *= keep, acc[j][1] *= keep;
            const uint32_t p[4] = {pack2(s[0][0], s[0][1]), 0, pack2(s[1][0], s[1][1]), 0};
#pragma unroll
            for (int d = 0; d < DP / 16; d++) {
                uint32_t b[4];
                down16<DP>(b, vs, 16 * warp, d);
                mma(acc[2 * d], p, b[0], b[1]);
                mma(acc[2 * d + 1], p, b[2], b[3]);
            }
            __syncthreads();
            load(i + 2);
        }
        cp_wait<0>();
        __syncthreads();
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        if (c == 0) tops[warp][r] = top, totals[warp][r] = sum;
#pragma unroll
        for (int j = 0; j < DP / 8; j++) *(float2 *)(sums + (warp * 8 + r) * Wide + 8 * j + 2 * c) = make_float2(acc[j][0], acc[j][1]);
        __syncthreads();
        for (int p = threadIdx.x; p < group * DP; p += 128) {
            const int h = p / DP, d = p % DP;
            float most = tops[0][h], total = 0, s = 0;
#pragma unroll
            for (int w = 1; w < 4; w++) most = fmaxf(most, tops[w][h]);
            const float base = most == -INFINITY ? 0 : most;  // of a part without keys
#pragma unroll
            for (int w = 0; w < 4; w++) {
                const float f = __expf(tops[w][h] - base);
                total += totals[w][h] * f, s += sums[(w * 8 + h) * Wide + d] * f;
            }
            const int64_t row = (int64_t)(from + t) * o.heads + h0 + h;
            if (cuts == 1) {
                if (d < o.dim) round_to(y + row * o.dim + d, s / total);
                continue;
            }
            float *part = parts + (row * limit + cut) * (DP + 2);
            part[d] = s;
            if (d == 0) part[DP] = most, part[DP + 1] = total;
        }
        __syncthreads();
    }
    if (cuts == 1) return;
    __threadfence();
    __syncthreads();
    uint32_t *count = counts + z * gridDim.y + blockIdx.y;
    if (threadIdx.x == 0) last = atomicAdd(count, 1) == cuts - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    for (int p = threadIdx.x; p < o.T * group * DP; p += 128) {
        const int d = p % DP;
        const int64_t row = (int64_t)(from + p / DP / group) * o.heads + h0 + p / DP % group;
        const float *part = parts + row * limit * (DP + 2);
        float most = -INFINITY, total = 0, s = 0;
        for (int i = 0; i < cuts; i++) most = fmaxf(most, __ldcg(part + i * (DP + 2) + DP));
#pragma unroll 4
        for (int i = 0; i < cuts; i++) {
            const float f = __expf(__ldcg(part + i * (DP + 2) + DP) - most);
            total += __ldcg(part + i * (DP + 2) + DP + 1) * f, s += __ldcg(part + i * (DP + 2) + d) * f;
        }
        if (d < o.dim) round_to(y + row * o.dim + d, s / total);
    }
    if (threadIdx.x == 0) *count = 0;
}
}  // namespace

#define K_GROUPED(DP) \
    extern "C" __global__ void __launch_bounds__(128, 3) grouped_##DP(uint32_t *bad, bf16 *y, float *parts, uint32_t *counts, const bf16 *q, const int *spans, int limit, Caches keys, Caches values, Heads o) { grouped<DP>(bad, y, parts, counts, q, spans, limit, keys, values, o); }
K_GROUPED(64) K_GROUPED(128)
