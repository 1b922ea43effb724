// Attention of single queries of several sequences, whose heads share keys and values in groups (decoding in a batch).
#include "attention.cuh"

namespace {
// load_rows starts the copy of 16 rows of a head of dim values, of which rows below `rows` exist, as load_tile lays them; a warp.
template <int DP> __device__ __forceinline__ void load_rows(uint32_t dst, const bf16 *src, int64_t width, int row0, int rows, int dim) {
    constexpr int C = DP / 8;
#pragma unroll
    for (int i = 0; i < 16 * C / 32; i++) {
        const int p = (threadIdx.x & 31) + 32 * i, r = p / C, c = p % C;
        const bool ok = row0 + r < rows && c * 8 < dim;
        cp16(dst + r * DP * 2 + ((c ^ (r & 7)) << 4), ok ? src + (int64_t)(row0 + r) * width + c * 8 : src, ok);
    }
}

// grouped: the query heads of one head of keys, at most 8, are rows of one product, so that keys and values are read once for
// all. A block of 4 warps has one sequence (blockIdx.z), one head of keys and `own` of the parts of the keys, in tiles of 64 of which
// a warp takes 16: it brings those itself, two tiles ahead, through the ends of parts. What a part gives are sums, their largest score,
// and the sum of probabilities. A block with all parts of a sequence joins them; else they go to parts [rows, heads, limit, DP + 2], and the
// last block of a sequence's head joins them, in the same order. counts are zeros before and after.
template <int DP> __device__ __forceinline__ void grouped(uint32_t *bad, bf16 *y, float *parts, uint32_t *counts, const bf16 *q, const int *spans, int limit, int own, const Caches &keys, const Caches &values, Heads o) {
    SHARED_ARRAY(uint8_t, smem, 128);
    __shared__ float tops[4][8], totals[4][8];
    __shared__ bool last;
    constexpr int Rows = 16 * DP * 2, Wide = DP + 8;
    overlap_start();
    const int z = blockIdx.z, cuts = cuts_of(keys.room[z], limit), c0 = blockIdx.x * own, c1 = min(c0 + own, cuts);
    if (c0 >= cuts) return;
    const int from = of_span(o, spans + 4 * z, keys.room[z], bad), lane = threadIdx.x & 31, warp = threadIdx.x >> 5, r = lane >> 2, c = lane & 3;
    const int group = o.heads / o.kv, h0 = blockIdx.y * group;
    const int64_t width = (int64_t)o.kv * o.dim;
    const bf16 *k = (const bf16 *)keys.at[z] + blockIdx.y * o.dim, *v = (const bf16 *)values.at[z] + blockIdx.y * o.dim;
    const uint32_t ring = smem32(smem) + warp * 4 * Rows;
    float *sums = (float *)(smem + 4 * 4 * Rows), *held = sums + 4 * 8 * Wide;  // [4, 8, Wide], and with all parts [own, group, DP + 2]
    const bool whole = c1 - c0 == cuts;
    // join makes the result of a row from its parts, which read(part, at) gives.
    auto join = [&](int64_t row, int d, auto read) {
        float most = -INFINITY, total = 0, s = 0;
#pragma unroll 4
        for (int i = 0; i < cuts; i++) most = fmaxf(most, read(i, DP));
#pragma unroll 4
        for (int i = 0; i < cuts; i++) {
            const float f = __expf(read(i, DP) - most);
            total += read(i, DP + 1) * f, s += read(i, d) * f;
        }
        if (d < o.dim) round_to(y + row * o.dim + d, s / total);
    };
    for (int t = 0; t < o.T; t++) {
        const int lo = first_key(o, nullptr, t), hi = o.offset + t + 1, each = ((hi - lo + cuts - 1) / cuts + 63) / 64;  // tiles of a part
        const int begin = lo + c0 * each * 64, end = min(hi, lo + c1 * each * 64), tiles = max(0, (end - begin + 63) / 64);
        auto load = [&](int i) {
            const uint32_t to = ring + (i & 1) * 2 * Rows;
            const int row0 = begin + 64 * i + 16 * warp;
            if (i < tiles) load_rows<DP>(to, k, width, row0, end, o.dim), load_rows<DP>(to + Rows, v, width, row0, end, o.dim);
            cp_commit();
        };
        load(0), load(1);
        const bf16 *qr = q + ((int64_t)(from + t) * o.heads + h0 + r) * o.dim + 2 * c;
        uint32_t qf[DP / 16][2];  // rows beyond the group are zeros
#pragma unroll
        for (int i = 0; i < DP / 16; i++)
#pragma unroll
            for (int e = 0; e < 2; e++) qf[i][e] = r < group && 16 * i + 8 * e + 2 * c < o.dim ? *(const uint32_t *)(qr + 16 * i + 8 * e) : 0;
        for (int cut = c0, i = 0; cut < c1; cut++) {
            float acc[DP / 8][4] = {}, top = -INFINITY, sum = 0;
            for (const int stop = min(tiles, (cut + 1 - c0) * each); i < stop; i++) {
                cp_wait<1>();
                __syncwarp();
                const uint32_t ks = ring + (i & 1) * 2 * Rows, vs = ks + Rows;
                float s[2][4] = {}, most = -INFINITY;
#pragma unroll
                for (int d = 0; d < DP / 16; d++) {
                    const uint32_t a[4] = {qf[d][0], 0, qf[d][1], 0};
                    uint32_t b[4];
                    cols16<DP>(b, ks, 0, d);
                    mma(s[0], a, b[0], b[1]);
                    mma(s[1], a, b[2], b[3]);
                }
                const int key = begin + 64 * i + 16 * warp + 2 * c;  // of s[0][0]
#pragma unroll
                for (int n = 0; n < 2; n++)
#pragma unroll
                    for (int e = 0; e < 2; e++) {
                        s[n][e] = key + 8 * n + e < end ? capped(o, s[n][e]) : -INFINITY;
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
                    down16<DP>(b, vs, 0, d);
                    mma(acc[2 * d], p, b[0], b[1]);
                    mma(acc[2 * d + 1], p, b[2], b[3]);
                }
                __syncwarp();
                load(i + 2);
            }
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
                float *part = whole ? held + (cut * group + h) * (DP + 2) : parts + (row * limit + cut) * (DP + 2);
                part[d] = s;
                if (d == 0) part[DP] = most, part[DP + 1] = total;
            }
            __syncthreads();
        }
        cp_wait<0>();
        if (!whole || cuts == 1) continue;
        for (int p = threadIdx.x; p < group * DP; p += 128) {
            const int h = p / DP;
            join((int64_t)(from + t) * o.heads + h0 + h, p % DP, [&](int i, int at) { return held[(i * group + h) * (DP + 2) + at]; });
        }
        __syncthreads();
    }
    if (whole) return;
    __threadfence();
    __syncthreads();
    uint32_t *count = counts + z * gridDim.y + blockIdx.y;
    if (threadIdx.x == 0) last = atomicAdd(count, 1) == (cuts + own - 1) / own - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    for (int p = threadIdx.x; p < o.T * group * DP; p += 128) {
        const int64_t row = (int64_t)(from + p / DP / group) * o.heads + h0 + p / DP % group;
        const float *part = parts + row * limit * (DP + 2);
        join(row, p % DP, [&](int i, int at) { return __ldcg(part + i * (DP + 2) + at); });
    }
    if (threadIdx.x == 0) *count = 0;
}
}  // namespace

#define K_GROUPED(DP) \
    extern "C" __global__ void __launch_bounds__(128, 2) grouped_##DP(uint32_t *bad, bf16 *y, float *parts, uint32_t *counts, const bf16 *q, const int *spans, int limit, int own, Caches keys, Caches values, Heads o) { grouped<DP>(bad, y, parts, counts, q, spans, limit, own, keys, values, o); }
K_GROUPED(64) K_GROUPED(128)
