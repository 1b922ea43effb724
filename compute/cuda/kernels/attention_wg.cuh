// Attention of heads of 64 and 128 on Hopper (sm_90a): a block of three warpgroups. One warp of the first brings tiles by the
// tensor copy engine, the other two warpgroups multiply 64 rows each by wgmma. The meaning is that of flash (attention.cuh).
#pragma once
#include "attention.cuh"
#include "hopper.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

namespace {
namespace wg {
constexpr float Log2E = 1.4426950408889634f, Ln2 = 0.6931471805599453f;

// A tile is ROWS rows of a head in panels of 64 columns: rows of 128 bytes, swizzled. copy_rows brings one.
template <int ROWS, int D> __device__ __forceinline__ void copy_rows(uint32_t dst, const TensorMap *m, int col, int row, uint32_t bar) {
#pragma unroll
    for (int c = 0; c < D / 64; c++) copy_tile(dst + c * ROWS * 128, m, col + 64 * c, row, bar);
}

// clear_rows makes the rows of a tile from `have` on zero, by one warp: they belong to another segment, or to nobody.
template <int ROWS, int D> __device__ __forceinline__ void clear_rows(uint8_t *tile, int have) {
#pragma unroll
    for (int c = 0; c < D / 64; c++)
        for (int i = have * 8 + (threadIdx.x & 31); i < ROWS * 8; i += 32) *(uint4 *)(tile + c * ROWS * 128 + 16 * i) = make_uint4(0, 0, 0, 0);
}

// dots starts s [64, N] = 64 rows of a tile of A rows, by all N rows of another.
template <int A, int D, int N> __device__ __forceinline__ void dots(float (&s)[N / 2], uint32_t rows, uint32_t cols) {
#pragma unroll
    for (int k = 0; k < D / 16; k++) wgmma_ss(s, rows_desc(rows + k / 4 * A * 128) + 2 * (k % 4), rows_desc(cols + k / 4 * N * 128) + 2 * (k % 4), k > 0);
}

// sums starts acc [64, D] += p [64, N] by the N rows of a tile.
template <int N, int D> __device__ __forceinline__ void sums(float (&acc)[D / 2], const uint32_t (&p)[N / 16][4], uint32_t tile, int accumulate = 1) {
#pragma unroll
    for (int k = 0; k < N / 16; k++) wgmma_rs<true>(acc, p[k], columns_desc(tile, N * 128) + 128 * k, accumulate | k);
}

// pack makes the first operand of what a product left.
template <int N> __device__ __forceinline__ void pack(uint32_t (&p)[N / 16][4], const float (&s)[N / 2]) {
#pragma unroll
    for (int i = 0; i < N / 4; i++) p[i / 4][i % 4] = pack2(s[2 * i], s[2 * i + 1]);
}

// cap_scores is what a soft cap makes of scores, tanh(x) = 1 - 2/(exp(2x) + 1).
template <int N> __device__ __forceinline__ void cap_scores(const Heads &o, float (&s)[N]) {
    const float f = 2 * o.scale / o.cap * Log2E;
#pragma unroll
    for (int i = 0; i < N; i++) s[i] = o.cap - __fdividef(2 * o.cap, exp2_fast(s[i] * f) + 1);
}

// put_rows writes 64 rows of a head, times two factors for rows r and r + 8, those below `have`. They go by way of 64 rows of a
// tile of 128 in shared memory, which this warpgroup alone has read.
template <int D> __device__ __forceinline__ void put_rows(bf16 *y, int64_t width, int have, const float (&acc)[D / 2], float f0, float f1, uint8_t *room, int id) {
    const int tid = threadIdx.x & 127, lane = tid & 31, r = 16 * (tid >> 5) + (lane >> 2);
    auto at = [&](int row, int chunk) { return room + (chunk >> 3) * 16384 + row * 128 + (((chunk & 7) ^ (row & 7)) << 4); };
    group_sync(id, 128);  // all have read what lies there
#pragma unroll
    for (int i = 0; i < D / 8; i++) {
        *(uint32_t *)(at(r, i) + 4 * (lane & 3)) = pack2(acc[4 * i] * f0, acc[4 * i + 1] * f0);
        *(uint32_t *)(at(r + 8, i) + 4 * (lane & 3)) = pack2(acc[4 * i + 2] * f1, acc[4 * i + 3] * f1);
    }
    group_sync(id, 128);
#pragma unroll 4
    for (int p = tid; p < 64 * D / 8; p += 128) {
        int row = p / (D / 8), chunk = p % (D / 8);
        if (row < have) *(uint4 *)(y + row * width + chunk * 8) = *(const uint4 *)at(row, chunk);
    }
}

// online takes 128 more scores of 64 queries into the softmax: s becomes probabilities, keep the factors of earlier sums.
__device__ __forceinline__ void online(float (&s)[64], float (&top)[2], float (&sum)[2], float (&keep)[2], float f) {
    float most[2][2] = {{-INFINITY, -INFINITY}, {-INFINITY, -INFINITY}}, more[2][2] = {};
#pragma unroll
    for (int i = 0; i < 64; i++) most[i >> 1 & 1][i & 1] = fmaxf(most[i >> 1 & 1][i & 1], s[i]);
    float base[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float m = fmaxf(most[i][0], most[i][1]);
        m = fmaxf(m, __shfl_xor_sync(~0u, m, 1));
        m = fmaxf(m, __shfl_xor_sync(~0u, m, 2));
        m = fmaxf(m, top[i]);
        base[i] = m == -INFINITY ? 0 : m * f;
        keep[i] = exp2_fast(top[i] * f - base[i]);
        top[i] = m;
    }
#pragma unroll
    for (int i = 0; i < 64; i++) {
        s[i] = exp2_fast(s[i] * f - base[i >> 1 & 1]);
        more[i >> 1 & 1][i & 1] += s[i];
    }
#pragma unroll
    for (int i = 0; i < 2; i++) sum[i] = sum[i] * keep[i] + (more[i][0] + more[i][1]);
}

// forward: 128 queries of one head a block, keys 128 at a time. The scores of the next keys are made while the values are
// added up.
template <int D>
__device__ __forceinline__ void forward(uint32_t *bad, const TensorMap *qm, const TensorMap *km, const TensorMap *vm, bf16 *y, float *lse, const int *tiles, const int *span, int room, Heads o) {
    SHARED_ARRAY(uint8_t, smem, 1024);
    constexpr int Tile = 128 * D * 2;
    overlap_start();
    const int from = of_span(o, span, room, bad), h = blockIdx.x, group = threadIdx.x >> 7, tid = threadIdx.x & 127, lane = tid & 31;
    int t0 = (gridDim.y - 1 - blockIdx.y) * 128, end = o.T, start = 0;
    if (tiles) {
        int4 tile;
        if (!own_tile(tile, tiles, blockIdx.y)) return;
        t0 = tile.x, end = tile.y, start = tile.z;
    }
    if (t0 >= end) return;
    auto first = [&](int t) { return o.window ? max(start, o.offset + t + 1 - o.window) : start; };
    const int last = min(t0 + 127, end - 1), j0 = (first(t0) - start) / 128, n = (o.offset + last - start) / 128 + 1 - j0;
    const uint32_t qs = smem32(smem), ks = qs + Tile, vs = ks + 2 * Tile, bars = vs + 2 * Tile;
    const uint32_t fullQ = bars, own = bars + 8, fullK = bars + 16, fullV = bars + 32, emptyK = bars + 48, emptyV = bars + 64;
    if (threadIdx.x == 0) {
        bar_init(fullQ, 1);
        bar_init(own, 1);
        for (int s = 0; s < 2; s++) {
            bar_init(fullK + 8 * s, 1), bar_init(fullV + 8 * s, 1);
            bar_init(emptyK + 8 * s, 8), bar_init(emptyV + 8 * s, 8);  // one arrival a multiplying warp
        }
        bar_init_fence();
    }
    __syncthreads();
    if (group == 0) {
        fewer_registers<24>();
        if (tid >= 32) return;
        const int col = h / (o.heads / o.kv) * D;
        if (lane == 0) {
            bar_expect(fullQ, Tile);
            copy_rows<128, D>(qs, qm, h * D, from + t0, fullQ);
        }
        for (int i = 0; i < n; i++) {
            const int key0 = start + (j0 + i) * 128, s = i & 1, phase = i >> 1 & 1, have = o.offset + end - key0;
            bar_wait(emptyK + 8 * s, phase ^ 1);
            if (lane == 0) {
                bar_expect(fullK + 8 * s, Tile);
                copy_rows<128, D>(ks + s * Tile, km, col, key0, fullK + 8 * s);
            }
            bar_wait(emptyV + 8 * s, phase ^ 1);
            const uint32_t bar = have < 128 ? own : fullV + 8 * s;
            if (lane == 0) {
                bar_expect(bar, Tile);
                copy_rows<128, D>(vs + s * Tile, vm, col, key0, bar);
            }
            if (have < 128) {  // the last tile: values that no query sees must not be NaN
                bar_wait(own, 0);
                clear_rows<128, D>(smem + 3 * Tile + s * Tile, have);
                fence_proxy_async();
                __syncwarp();
                if (lane == 0) bar_arrive(fullV + 8 * s);
            }
        }
        return;
    }
    more_registers<240>();
    // A thread has row g of the warp's queries, and the eighth one behind.
    const int half = group - 1, g = 16 * (tid >> 5) + (lane >> 2), first0 = t0 + 64 * half;
    const float f = o.cap > 0 ? Log2E : o.scale * Log2E;
    const uint32_t rows = qs + half * 8192;
    float acc[D / 2] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {}, keep[2], s[64];
    uint32_t p[8][4];
    auto soften = [&](int i) {
        const int key0 = start + (j0 + i) * 128;
        if (o.cap > 0) cap_scores(o, s);
        if (key0 + 127 > o.offset + first0 || o.window && key0 < first(first0 + 63)) {  // some keys are hidden from some queries
#pragma unroll
            for (int e = 0; e < 64; e++) {
                int key = key0 + 8 * (e >> 2) + 2 * (lane & 3) + (e & 1), t = first0 + g + 8 * (e >> 1 & 1);
                if (key < first(t) || key > o.offset + t) s[e] = -INFINITY;
            }
        }
        online(s, top, sum, keep, f);
    };
    auto release = [&](uint32_t bar) { if (lane == 0) bar_arrive(bar); };
    bar_wait(fullQ, 0);
    bar_wait(fullK, 0);
    wgmma_fence();
    dots<128, D, 128>(s, rows, ks);
    wgmma_commit();
    wgmma_wait<0>();
    release(emptyK);
    soften(0);
    pack<128>(p, s);
    bar_wait(fullV, 0);
    for (int i = 1; i < n; i++) {
        const int b = i & 1, a = b ^ 1;
        bar_wait(fullK + 8 * b, i >> 1 & 1);
            wgmma_fence();
        dots<128, D, 128>(s, rows, ks + b * Tile);
        wgmma_commit();
        sums<128, D>(acc, p, vs + a * Tile);
        wgmma_commit();
            wgmma_wait<1>();
        release(emptyK + 8 * b);
        soften(i);
        bar_wait(fullV + 8 * b, i >> 1 & 1);  // here, its branch keeps the assembler from moving the softmax behind the next line
        wgmma_wait<0>();
        release(emptyV + 8 * a);
#pragma unroll
        for (int e = 0; e < D / 2; e++) acc[e] *= keep[e >> 1 & 1];
        pack<128>(p, s);
    }
    wgmma_fence();
    sums<128, D>(acc, p, vs + ((n - 1) & 1) * Tile);
    wgmma_commit();
    wgmma_wait<0>();
#pragma unroll
    for (int i = 0; i < 2; i++) {
        sum[i] += __shfl_xor_sync(~0u, sum[i], 1);
        sum[i] += __shfl_xor_sync(~0u, sum[i], 2);
        int t = first0 + g + 8 * i;
        if (lse && (lane & 3) == 0 && t < end) lse[(int64_t)t * o.heads + h] = top[i] * (f * Ln2) + logf(sum[i]);
    }
    const int64_t width = (int64_t)o.heads * D;
    put_rows<D>(y + (from + first0) * width + h * D, width, end - first0, acc, 1 / sum[0], 1 / sum[1], smem + half * 8192, 1 + half);
}
}  // namespace wg
}  // namespace

#define K_FLASH_WG(D)                                                                                                                                    \
    extern "C" __global__ void __launch_bounds__(384, 1)                                                                                                 \
    flash_wg_##D(uint32_t *bad, const __grid_constant__ TensorMap qm, const __grid_constant__ TensorMap km, const __grid_constant__ TensorMap vm,        \
                 bf16 *y, float *lse, const int *tiles, const int *span, int room, Heads o) {                                                            \
        wg::forward<D>(bad, &qm, &km, &vm, y, lse, tiles, span, room, o);                                                                                \
    }
K_FLASH_WG(64)
K_FLASH_WG(128)
#endif
