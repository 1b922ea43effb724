// The gradient of attention on Hopper, as attention_grad.cuh has it, by wgmma. One launch has two kinds of blocks: those of 128
// keys make dk and dv, over the queries of all heads of a key head; those of 128 queries make dq. Long ones come first.
// Each has two tiles of 128 rows that stay, and pairs of tiles of 64 rows that come one after another.
#pragma once
#include "attention_wg.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
namespace {
namespace wg {
// query_sums makes for each query what the gradient needs of it: lse in units of exp2, and the sum of dy times y along the head.
// They lie in pieces of 64 queries of one segment [heads, pieces, 2, 64]; what is behind the segment's end has no probability.
// A thread asks for all it has of y and dy at once.
template <int D> __device__ __forceinline__ void query_sums(float *sums, const bf16 *y, const bf16 *dy, const float *lse, const int *tiles, int pieces, int heads) {
    overlap_start();
    int4 tile;
    if (!own_tile(tile, tiles, blockIdx.y)) return;
    const int h = blockIdx.x, t0 = tile.x, end = tile.y, rows = min(128, (end - t0 + 63) / 64 * 64);
    constexpr int Lanes = D / 8, Step = 256 / Lanes, N = 128 / Step;
    const int first = threadIdx.x / Lanes, c = threadIdx.x % Lanes * 8;
    sums += ((int64_t)h * pieces + tile.w) * 128;
    uint4 a[N], b[N];
    float l[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int64_t row = (int64_t)min(t0 + first + i * Step, end - 1) * heads + h;
        a[i] = *(const uint4 *)(y + row * D + c), b[i] = *(const uint4 *)(dy + row * D + c);
        l[i] = c == 0 ? lse[row] * Log2E : 0;
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int r = first + i * Step;
        const bool there = t0 + r < end;
        float u[8], v[8], s = 0;
        widen8(u, a[i]), widen8(v, b[i]);
#pragma unroll
        for (int e = 0; e < 8; e++) s += u[e] * v[e];
#pragma unroll
        for (int m = Lanes / 2; m; m >>= 1) s += __shfl_xor_sync(~0u, s, m);
        if (c == 0 && r < rows) {
            float *to = sums + r / 64 * 128 + r % 64;
            to[0] = there ? l[i] : INFINITY, to[64] = there ? s : 0;
        }
    }
}

constexpr int Pairs = 4;  // of tiles under way
// Room is the shared memory of the gradient.
template <int D> struct Room {
    static constexpr int Half = 64 * D * 2, Pair = 2 * Half, Streams = 4 * Half, Sums = Streams + Pairs * Pair, Bars = Sums + Pairs * 512;
    uint32_t at;
    __device__ uint32_t tile(int pair, int i) const { return at + Streams + pair * Pair + i * Half; }
    __device__ uint32_t sums(int pair) const { return at + Sums + pair * 512; }
    __device__ uint32_t staying() const { return at + Bars; }
    __device__ uint32_t own() const { return at + Bars + 8; }
    __device__ uint32_t full(int pair) const { return at + Bars + 16 + 8 * pair; }
    __device__ uint32_t empty(int pair) const { return at + Bars + 16 + 8 * Pairs + 8 * pair; }
};

// stay brings two tiles of 128 rows.
template <int D> __device__ __forceinline__ void stay(const Room<D> &room, const TensorMap *a, const TensorMap *b, int col, int row) {
    bar_expect(room.staying(), 2 * Room<D>::Pair);
#pragma unroll
    for (int r = 0; r < 2; r++)
#pragma unroll
        for (int c = 0; c < D / 64; c++) {
            copy_tile(room.at + c * 16384 + r * 8192, a, col + 64 * c, row + 64 * r, room.staying());
            copy_tile(room.at + Room<D>::Pair + c * 16384 + r * 8192, b, col + 64 * c, row + 64 * r, room.staying());
        }
}

// bring brings the next pair of tiles, of which `have` rows exist, with the sums of its queries if there are any. A warp calls it.
// Of rows that do not exist all numbers are zero, so that products with them are.
template <int D> __device__ __forceinline__ void bring(const Room<D> &room, uint8_t *smem, int x, const TensorMap *a, const TensorMap *b, int col, int row, int have, const float *sums, int &cleared) {
    const int pair = x % Pairs;
    bar_wait(room.empty(pair), x / Pairs & 1 ^ 1);
    const bool part = have < 64, first = (threadIdx.x & 31) == 0;
    const uint32_t bar = part ? room.own() : room.full(pair);
    if (first) {
        bar_expect(bar, Room<D>::Pair + (sums ? 512 : 0));
        copy_rows<64, D>(room.tile(pair, 0), a, col, row, bar);
        copy_rows<64, D>(room.tile(pair, 1), b, col, row, bar);
        if (sums) copy_bytes(room.sums(pair), sums, 512, bar);
    }
    if (!part) return;
    bar_wait(room.own(), cleared & 1);
    cleared++;
    clear_rows<64, D>(smem + (room.tile(pair, 0) - room.at), have);
    clear_rows<64, D>(smem + (room.tile(pair, 1) - room.at), have);
    fence_proxy_async();
    __syncwarp();
    if (first) bar_arrive(room.full(pair));
}

// hide makes scores that the mask forbids impossible. Rows are keys and columns queries where KEYS says so.
template <bool KEYS> __device__ __forceinline__ void hide(float (&s)[32], const Heads &o, int row0, int col0) {
    const int g = row0 + ((threadIdx.x & 31) >> 2), c = col0 + 2 * (threadIdx.x & 3);
#pragma unroll
    for (int e = 0; e < 32; e++) {
        int row = g + 8 * (e >> 1 & 1), col = c + 8 * (e >> 2) + (e & 1), key = KEYS ? row : col, t = KEYS ? col : row;
        if (key > t || o.window && key + o.window <= t) s[e] = -INFINITY;
    }
}

// chances makes probabilities of 32 scores, and with CAP, of what is put to use of them, what a soft cap lets through of a
// gradient. less gives what is taken from two neighbouring scores, times log2 e, before.
template <bool CAP, class Less> __device__ __forceinline__ void chances(float (&s)[32], uint32_t (*a)[4], float f, float cap, Less less) {
#pragma unroll
    for (int i = 0; i < 16; i++) {
        const float c0 = s[2 * i], c1 = s[2 * i + 1];
        const float2 l = less(i);
        s[2 * i] = exp2_fast(c0 * f - l.x), s[2 * i + 1] = exp2_fast(c1 * f - l.y);
        if (a) a[i / 4][i % 4] = pack2(s[2 * i], s[2 * i + 1]);
        if (CAP) {
            float r0 = __fdividef(fmaxf(c0, -cap), cap), r1 = __fdividef(fmaxf(c1, -cap), cap);
            s[2 * i] *= 1 - r0 * r0, s[2 * i + 1] *= 1 - r1 * r1;
        }
    }
}

// back_keys: dk and dv of 64 keys a warpgroup.
template <int D> __device__ __forceinline__ void back_keys(const Room<D> &room, uint8_t *smem, bf16 *dk, bf16 *dv, int k0, int end, int q0, int blocks, int n, const Heads &o) {
    const int half = (threadIdx.x >> 7) - 1, w = (threadIdx.x >> 5) & 3, lane = threadIdx.x & 31, own0 = k0 + 64 * half;
    const float f = o.cap > 0 ? Log2E : o.scale * Log2E;
    const uint32_t ks = room.at + half * 8192, vs = ks + Room<D>::Pair;
    float ak[D / 2], av[D / 2], s[32], p[32];
    uint32_t a[4][4], b[4][4];
    bar_wait(room.staying(), 0);
    for (int x = 0, u = 0; x < n; x++) {
        const int pair = x % Pairs, t0 = q0 + 64 * u;
        if (++u == blocks) u = 0;
        bar_wait(room.full(pair), x / Pairs & 1);
        if (t0 + 63 < own0) {  // the first tile of a head, of which no query sees keys of the second warpgroup
            wgmma_wait<0>();
            if (lane == 0 && x > 0) bar_arrive(room.empty((x - 1) % Pairs));
            continue;
        }
        wgmma_fence();
        dots<128, D, 64>(s, ks, room.tile(pair, 0));
        wgmma_commit();
        dots<128, D, 64>(p, vs, room.tile(pair, 1));
        wgmma_commit();
        wgmma_wait<1>();  // the scores are there, and what the earlier pair was read for is done
        if (lane == 0 && x > 0) bar_arrive(room.empty((x - 1) % Pairs));
        const float2 *two = (const float2 *)(smem + (room.sums(pair) - room.at)) + (lane & 3);  // of two neighbouring queries
        auto lse = [&](int i) { return two[i / 2 * 4]; };
        if (o.cap > 0) cap_scores(o, s);
        if (own0 + 63 > t0 || o.window && own0 + o.window <= t0 + 63) hide<true>(s, o, own0 + 16 * w, t0);
        if (o.cap > 0) chances<true>(s, a, f, o.cap, lse); else chances<false>(s, a, f, 0, lse);
        wgmma_fence();
        sums<64, D>(av, a, room.tile(pair, 1), x - half);
        wgmma_commit();
        wgmma_wait<1>();
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float2 q = two[32 + 4 * i];
#pragma unroll
            for (int e = 0; e < 4; e++) s[4 * i + e] *= p[4 * i + e] - (e & 1 ? q.y : q.x);
        }
        pack<64>(b, s);
        wgmma_fence();
        sums<64, D>(ak, b, room.tile(pair, 0), x - half);
        wgmma_commit();
        wgmma_wait<1>();
    }
    wgmma_wait<0>();
    const int64_t width = (int64_t)o.kv * D;
    put_rows<D>(dk + own0 * width, width, end - own0, ak, o.scale, o.scale, smem + half * 8192, 1 + half);
    put_rows<D>(dv + own0 * width, width, end - own0, av, 1, 1, smem + Room<D>::Pair + half * 8192, 1 + half);
}

// held_dots is dots of 64 rows that registers hold.
template <int D> __device__ __forceinline__ void held_dots(float (&s)[32], const uint32_t (&rows)[D / 16][4], uint32_t cols) {
#pragma unroll
    for (int k = 0; k < D / 16; k++) wgmma_rs(s, rows[k], rows_desc(cols + k / 4 * 8192) + 2 * (k % 4), k > 0);
}

// back_queries: dq of 64 queries a warpgroup.
template <int D> __device__ __forceinline__ void back_queries(const Room<D> &room, uint8_t *smem, bf16 *dq, const float *sum, int t0, int end, int key0, int n, const Heads &o) {
    const int half = (threadIdx.x >> 7) - 1, w = (threadIdx.x >> 5) & 3, lane = threadIdx.x & 31, own0 = t0 + 64 * half;
    const float f = o.cap > 0 ? Log2E : o.scale * Log2E;
    float acc[D / 2], s[32], p[32];
    uint32_t a[4][4];
    float2 own[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const int r = 64 * half + 16 * w + (lane >> 2) + 8 * i;
        own[i] = t0 + r < end ? make_float2(sum[r + 64 * half], sum[r + 64 * half + 64]) : make_float2(INFINITY, 0);
    }
    bar_wait(room.staying(), 0);
    // NVRTC 12.9 gives registers of held rows to the operand of dq where heads are of 64: those rows stay in shared memory.
    constexpr bool Held = D == 128;
    const uint32_t qs = room.at + half * 8192, gs = qs + Room<D>::Pair;
    uint32_t q[D / 16][4], g[D / 16][4];
#pragma unroll
    for (int k = 0; Held && k < D / 16; k++) rows16<64>(q[k], qs + k / 4 * 16384, 16 * w, k % 4), rows16<64>(g[k], gs + k / 4 * 16384, 16 * w, k % 4);
    n = min(n, (own0 - key0) / 64 + 1);  // of the last keys the other warpgroup's queries alone see some
    for (int x = 0; x < n; x++, key0 += 64) {
        const int pair = x % Pairs;
        bar_wait(room.full(pair), x / Pairs & 1);
        wgmma_fence();
        if constexpr (Held) held_dots<D>(s, q, room.tile(pair, 0));
        else dots<128, D, 64>(s, qs, room.tile(pair, 0));
        wgmma_commit();
        if constexpr (Held) held_dots<D>(p, g, room.tile(pair, 1));
        else dots<128, D, 64>(p, gs, room.tile(pair, 1));
        wgmma_commit();
        wgmma_wait<1>();
        if (lane == 0 && x > 0) bar_arrive(room.empty((x - 1) % Pairs));
        if (o.cap > 0) cap_scores(o, s);
        if (key0 + 63 > own0 || o.window && key0 + o.window <= own0 + 63) hide<false>(s, o, own0 + 16 * w, key0);
        auto lse = [&](int i) { return make_float2(own[i & 1].x, own[i & 1].x); };
        if (o.cap > 0) chances<true>(s, nullptr, f, o.cap, lse); else chances<false>(s, nullptr, f, 0, lse);
        wgmma_wait<0>();
#pragma unroll
        for (int e = 0; e < 32; e++) s[e] *= p[e] - own[e >> 1 & 1].y;
        pack<64>(a, s);
        wgmma_fence();
        sums<64, D>(acc, a, room.tile(pair, 0), x);
        wgmma_commit();
    }
    wgmma_wait<0>();
    const int64_t width = (int64_t)o.heads * D;
    put_rows<D>(dq + own0 * width, width, end - own0, acc, o.scale, o.scale, smem + half * 8192, 1 + half);
}

template <int D>
__device__ __forceinline__ void backward(const TensorMap *qm, const TensorMap *km, const TensorMap *vm, const TensorMap *gm, bf16 *dq, bf16 *dk, bf16 *dv, const float *sum, const int *tiles, int most, int pieces, const Heads &o) {
    SHARED_ARRAY(uint8_t, smem, 1024);
    overlap_start();
    const Room<D> room = {smem32(smem)};
    const int group = o.heads / o.kv, b = blockIdx.x - most * o.kv;  // the first blocks are those of keys
    const bool keys = b < 0;
    const int at = keys ? blockIdx.x / o.kv : b / o.heads, h = keys ? blockIdx.x % o.kv : b % o.heads;
    int4 tile;
    if (!own_tile(tile, tiles, at)) return;
    // Tiles come by what queries see, most first. For keys it is the other way round, within the same segment.
    const int end = tile.y, start = tile.z, all = (end - start + 127) / 128, number = (tile.x - start) / 128;
    const int i = keys ? all - 1 - number : number, row0 = start + 128 * i, piece = tile.w - 2 * number, last = min(row0 + 127, end - 1);
    sum += (int64_t)(keys ? h * group : h) * pieces * 128 + piece * 128;
    int from, blocks;  // tiles of 64 queries, or of keys, from that one of the segment on
    if (keys) {
        const int to = o.window ? min(end, last + o.window) : end;
        from = 2 * i, blocks = (to - start + 63) / 64 - from;
    } else {
        from = o.window ? max(0, row0 + 1 - o.window - start) / 64 : 0, blocks = (last - start) / 64 + 1 - from;
    }
    const int n = keys ? blocks * group : blocks, first = start + 64 * from;
    if (threadIdx.x == 0) {
        bar_init(room.staying(), 1);
        bar_init(room.own(), 1);
        for (int s = 0; s < Pairs; s++) bar_init(room.full(s), 1), bar_init(room.empty(s), 8);
        bar_init_fence();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        fewer_registers<24>();
        if (threadIdx.x >= 32) return;
        if (threadIdx.x == 0) stay(room, keys ? km : qm, keys ? vm : gm, h * D, row0);
        int cleared = 0;
        for (int x = 0, u = 0, head = h * group; x < n; x++) {
            const int row = first + 64 * u;
            if (keys) {
                bring(room, smem, x, qm, gm, head * D, row, end - row, sum + ((int64_t)(head - h * group) * pieces + from + u) * 128, cleared);
                if (++u == blocks) u = 0, head++;
            } else {
                bring(room, smem, x, km, vm, h / group * D, row, end - row, (const float *)nullptr, cleared);
                u++;
            }
        }
        return;
    }
    more_registers<240>();
    if (keys) back_keys(room, smem, dk + h * D, dv + h * D, row0, end, first, blocks, n, o);
    else back_queries(room, smem, dq + h * D, sum + 256 * i, row0, end, first, n, o);
}
}  // namespace wg
}  // namespace

#define K_FLASH_WG_GRAD(D)                                                                                                                              \
    extern "C" __global__ void __launch_bounds__(256, 4) query_sums_##D(float *sums, const bf16 *y, const bf16 *dy, const float *lse, const int *tiles, int pieces, int heads) { \
        wg::query_sums<D>(sums, y, dy, lse, tiles, pieces, heads);                                                                                      \
    }                                                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(384, 1)                                                                                                \
    flash_wg_grad_##D(const __grid_constant__ TensorMap qm, const __grid_constant__ TensorMap km, const __grid_constant__ TensorMap vm,                 \
                      const __grid_constant__ TensorMap gm, bf16 *dq, bf16 *dk, bf16 *dv, const float *sums, const int *tiles, int most, int pieces, Heads o) { \
        wg::backward<D>(&qm, &km, &vm, &gm, dq, dk, dv, sums, tiles, most, pieces, o);                                                                  \
    }
K_FLASH_WG_GRAD(64)
K_FLASH_WG_GRAD(128)
#endif
