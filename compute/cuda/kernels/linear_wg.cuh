// Products with packed 4-bit weights on Hopper (sm_90a), for many tokens: y [T, N] = x [T, K] Wᵀ (+ bias + u v), and with
// BACK the gradient of the input, dx [T, K] = dy [T, N] W (+ u vᵀ), from the same blocks. A launch makes up to three of them:
// forward those of one x, each with its own y; back those that add up to one dx, as one sum over all of them.
//
// The product is made transposed: weights are the A operand, widened from 4 bits straight into registers; tokens are the B
// operand, brought to shared memory by the tensor copy engine. A tile is 128 rows of weights by 256 tokens; two warpgroups
// multiply (64 rows each), and one brings data: its first thread all but u, which its other warps write. The grid is
// persistent. The low-rank part of the sum comes behind two steps of the rest, which hide that its v is read: its float32 numbers are
// two of bf16 each, so that nothing is lost.
#include "hopper.cuh"
#include "w4.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
constexpr int WgParts = 3;

// One product. Its extent is the one that it has for itself: N. The update's u is [T, rank], v [rank, N] or with BACK [K, rank].
struct WgPart {
    const uint8_t *w;
    const float *u, *v;
    const void *bias;
    void *y;
    int extent, rank, biasType;
    float scale;
};

// What a launch makes: see wgArgs in wgmma.go. K is the same for all. Block (row block i, reduced block k) of the transposed
// product lies at i*si + k*sk blocks. Tiles go through bands of so many tiles of tokens, and in a band through all rows, so
// that what is read at one time fits the cache. With bit i of copied y[i] describes result i, for the copy engine to write.
struct WgArgs {
    TensorMap x[WgParts], y[WgParts];
    WgPart part[WgParts];
    int parts, T, K, si, sk, band, accumulate;
    uint32_t zero;
    int copied;
};

namespace {
namespace hopper_linear {
constexpr int BR = 128, BK = 64, Stages = 4, WBytes = 2 * BlockBytes, Writers = 96;
constexpr int Before = 2;  // steps of a tile before its updates

__device__ __forceinline__ void frag_fwd(uint32_t (&a)[4][4], const uint8_t *blk, int tid, uint32_t zero) {
    int lane = tid & 31, w = tid >> 5, r = lane >> 2;
    rows_frag(a, ((const uint2 *)blk)[unit(w, 0, r, lane & 3)], ((const uint2 *)blk)[unit(w, 1, r, lane & 3)], *(const uint4 *)(blk + 2048 + 64 * w + 16 * (r >> 1)), r & 1, zero);
}

// frag_back is the A operand for 64 columns of W (as rows) by 64 rows (reduced). A warp widens its 16 columns of 16 rows as
// they lie, two neighbours of a row in a register, and transposes 8 by 8: its scales are those of two rows then, which four
// lanes read together.
__device__ __forceinline__ void frag_back(uint32_t (&a)[4][4], const uint8_t *blk, int tid, uint32_t zero) {
    int lane = tid & 31, w = tid >> 5, g = lane >> 2, j = 2 * (w & 1), odd = g & 1;
#pragma unroll
    for (int s = 0; s < 4; s++) {
        uint2 q = ((const uint2 *)blk)[unit(s, w >> 1, g, lane & 3)];
        uint4 v = *(const uint4 *)(blk + 2048 + 64 * s + 16 * (g >> 1));
        __nv_bfloat162 s0 = pick(v.x, odd), b0 = pick(v.y, odd), s1 = pick(v.z, odd), b1 = pick(v.w, odd);
        a[s][0] = transposed(pairs(q.x, j, s0, b0, zero));
        a[s][1] = transposed(pairs(q.x, j + 1, s0, b0, zero));
        a[s][2] = transposed(pairs(q.y, j, s1, b1, zero));
        a[s][3] = transposed(pairs(q.y, j + 1, s1, b1, zero));
    }
}

// The update's columns come in chunks of 8: of 8 columns of u hi, lo, hi, by hi, hi, lo of v, and then of the next 8, filled up
// with zeros. Chunks are multiplied by fours, a stage has two of these.
__device__ __forceinline__ int update_fours(int rank) { return (3 * ((rank + 7) / 8) + 3) / 4; }
__device__ __forceinline__ int update_stages(int rank) { return (update_fours(rank) + 1) / 2; }
__device__ __forceinline__ float piece(float x, bool second) {
    float hi = widen(__float2bfloat16_rn(x));
    return second ? x - hi : hi;
}

// four reads numbers i to i+3 of a row of n, i a multiple of 4, and zeros beyond; rows lie one after another.
__device__ __forceinline__ float4 four(const float *row, int i, int n) {
    if (n % 4 == 0) return i < n ? *(const float4 *)(row + i) : make_float4(0, 0, 0, 0);
    return make_float4(i < n ? row[i] : 0, i + 1 < n ? row[i + 1] : 0, i + 2 < n ? row[i + 2] : 0, i + 3 < n ? row[i + 3] : 0);
}

// Columns are 8 columns of u, of a thread's tokens among the BT of a tile: thread, thread + Writers and so on.
template <int BT> struct Columns {
    static constexpr int Rows = (BT + Writers - 1) / Writers;
    float4 f[Rows][2];
    __device__ __forceinline__ void read(const WgPart &p, int at, int t0, int T, int thread) {
#pragma unroll
        for (int i = 0; i < Rows; i++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int r = thread + i * Writers;
                f[i][h] = r < BT && t0 + r < T ? four(p.u + (int64_t)(t0 + r) * p.rank, at + 4 * h, p.rank) : make_float4(0, 0, 0, 0);
            }
    }
    // write puts them at chunk c of a stage, as the copy engine would: 16 bytes of a row at their number xor the row's.
    __device__ __forceinline__ void write(uint8_t *to, int c, bool lo, int thread) const {
#pragma unroll
        for (int i = 0; i < Rows; i++) {
            int r = thread + i * Writers;
            if (r >= BT) continue;
            const float4 &a = f[i][0], &b = f[i][1];
            *(uint4 *)(to + r * 128 + ((c ^ (r & 7)) << 4)) = make_uint4(pack2(piece(a.x, lo), piece(a.y, lo)), pack2(piece(a.z, lo), piece(a.w, lo)),
                                                                         pack2(piece(b.x, lo), piece(b.y, lo)), pack2(piece(b.z, lo), piece(b.w, lo)));
        }
    }
};

// Rows are what a thread reads of v for four chunks of the update: rows r and r + 8 by 8 columns and the next 8.
template <bool BACK> struct Rows {
    float f[2][2][2];
    __device__ __forceinline__ void read(const WgPart &p, int R, int r, int n, int lane) {
        const int64_t si = BACK ? p.rank : 1, sl = BACK ? 1 : R;
#pragma unroll
        for (int g = 0; g < 2; g++)
#pragma unroll
            for (int h = 0; h < 2; h++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const int l = 8 * (4 * n / 3 + g) + 2 * (lane & 3) + e;
                    f[g][h][e] = l < p.rank && r + 8 * h < R ? __ldg(p.v + (r + 8 * h) * si + l * sl) : 0;
                }
    }
    // fragment is the A operand of the chunks from 4n on.
    __device__ __forceinline__ void fragment(uint32_t (&a)[2][4], float scale, int n) const {
#pragma unroll
        for (int q = 0; q < 4; q++) {
            const int chunk = 4 * n + q, g = chunk / 3 - 4 * n / 3;
            const bool lo = chunk % 3 == 2;
#pragma unroll
            for (int h = 0; h < 2; h++)
                a[q >> 1][2 * (q & 1) + h] = pack2(piece(scale * (g ? f[1][h][0] : f[0][h][0]), lo), piece(scale * (g ? f[1][h][1] : f[0][h][1]), lo));
        }
    }
};

// A tile of the result: tokens from t0, rows from block `block` of product `part`; the sum is over products from `from` to `to`.
struct Tile { int t0, block, part, from, to; };
// Four chunks of the update of a product.
struct Four { int part, n; };

template <bool BACK, int BT> struct Launch {
    const WgArgs &p;
    int tt, blocks;  // tiles along tokens and rows
    __device__ __forceinline__ Launch(const WgArgs &p) : p(p), tt((p.T + BT - 1) / BT), blocks(0) {
        for (int i = 0; i < (BACK ? 1 : p.parts); i++) blocks += (width(i) + BR - 1) / BR;
    }
    __device__ __forceinline__ int width(int part) const { return BACK ? p.K : p.part[part].extent; }
    __device__ __forceinline__ int steps(int part) const { return ((BACK ? p.part[part].extent : p.K) + 127) / 128 * 2; }
    __device__ __forceinline__ int tiles() const { return tt * blocks; }
    __device__ __forceinline__ Tile tile(int t) const {
        int each = p.band * blocks, first = t / each * p.band, have = min(p.band, tt - first), part = 0;
        t %= each;
        int block = t / have, t0 = (first + t % have) * BT;
        if constexpr (BACK) return {t0, block, 0, 0, p.parts};
        else {
            for (int n; block >= (n = (width(part) + BR - 1) / BR); part++) block -= n;
            return {t0, block, part, part, part + 1};
        }
    }
    // first and next are the fours of a tile in their order; behind the last one, part is that behind the tile's.
    __device__ __forceinline__ Four first(const Tile &tile) const { return next(tile, {tile.from, -1}); }
    __device__ __forceinline__ Four next(const Tile &tile, Four f) const {
        for (f.n++; f.part < tile.to && f.n >= update_fours(p.part[f.part].rank); f.part++) f.n = 0;
        return f;
    }
};

// Where a launch keeps things in shared memory: stages of tokens and of weights, the outgoing tile, and barriers. A stage is
// full, or empty, or waits for a part of u (asked).
template <int BT> struct Room {
    static constexpr int XBytes = BT * BK * 2, OffW = Stages * XBytes, OffOut = OffW + Stages * WBytes, OffBar = OffOut + 2 * BT * 128;
    uint8_t *at;
    uint32_t s0;
    __device__ __forceinline__ uint32_t full(int stage) const { return s0 + OffBar + 8 * stage; }
    __device__ __forceinline__ uint32_t empty(int stage) const { return full(Stages + stage); }
    __device__ __forceinline__ uint32_t asked(int stage) const { return full(2 * Stages + stage); }
};

// bring is the first thread's work.
template <bool BACK, int BT> __device__ __forceinline__ void bring(const Launch<BACK, BT> &launch, const Room<BT> &room) {
    const WgArgs &p = launch.p;
    int stage = 0, phase = 0;
    auto next = [&] { if (++stage == Stages) stage = 0, phase ^= 1; };
    auto steps = [&](const Tile &tile, int i, int from, int to) {
        const uint8_t *rows = p.part[i].w + (int64_t)tile.block * 2 * p.si * BlockBytes;
        for (int k = from; k < to; k++, next()) {
            bar_wait(room.empty(stage), phase ^ 1);
            uint32_t bar = room.full(stage), ws = room.s0 + room.OffW + stage * WBytes;
            bar_expect(bar, room.XBytes + WBytes);
            copy_tile(room.s0 + stage * room.XBytes, &p.x[BACK ? i : 0], k * BK, tile.t0, bar);
            const uint8_t *w = rows + (int64_t)k * p.sk * BlockBytes;
            if constexpr (BACK) copy_bytes(ws, w, WBytes, bar);  // neighbours
            else {
                copy_bytes(ws, w, BlockBytes, bar);
                copy_bytes(ws + BlockBytes, w + (int64_t)p.si * BlockBytes, BlockBytes, bar);
            }
        }
    };
    for (int t = blockIdx.x; t < launch.tiles(); t += gridDim.x) {
        const Tile tile = launch.tile(t);
        steps(tile, tile.from, 0, Before);
        for (int i = tile.from; i < tile.to; i++)
            for (int l = 0; l < update_stages(p.part[i].rank); l++, next()) {
                bar_wait(room.empty(stage), phase ^ 1);
                bar_arrive(room.asked(stage));
            }
        for (int i = tile.from; i < tile.to; i++) steps(tile, i, i == tile.from ? Before : 0, launch.steps(i));
    }
}

// write_updates is the work of the other warps beside it.
template <bool BACK, int BT> __device__ __forceinline__ void write_updates(const Launch<BACK, BT> &launch, const Room<BT> &room, int thread) {
    const WgArgs &p = launch.p;
    int stage = 0;
    uint32_t phases = 0;  // a bit for each stage
    for (int t = blockIdx.x; t < launch.tiles(); t += gridDim.x) {
        const Tile tile = launch.tile(t);
        stage = (stage + Before) % Stages;
        for (int i = tile.from; i < tile.to; i++) {
            const int chunks = 4 * update_fours(p.part[i].rank);
            Columns<BT> u;
            if (chunks > 0) u.read(p.part[i], 0, tile.t0, p.T, thread);  // of the first product while the tile before is made
            for (int c = 0; c < chunks; c++) {
                if (c % 8 == 0) {
                    bar_wait(room.asked(stage), phases >> stage & 1);
                    phases ^= 1u << stage;
                }
                u.write(room.at + stage * room.XBytes, c % 8, c % 3 == 1, thread);
                if (c % 3 == 2) u.read(p.part[i], c / 3 * 8 + 8, tile.t0, p.T, thread);
                if (c % 8 < 7 && c + 1 < chunks) continue;
                fence_proxy_async();
                group_sync(3, Writers);
                if (thread == 0) bar_arrive(room.full(stage));
                stage = (stage + 1) % Stages;
            }
        }
        stage -= Before;
        for (int i = tile.from; i < tile.to; i++) stage += launch.steps(i);
    }
}

__device__ __forceinline__ void put_row(bf16 *y, const float (&v)[8], int have) {
    if (have == 8 && ((uintptr_t)y & 15) == 0) {
        put8(y, v, 0, 8);
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++) if (k < have) round_to(y + k, v[k]);
}
__device__ __forceinline__ void get_row(float (&v)[8], const bf16 *y, int have) {
    if (have == 8 && ((uintptr_t)y & 15) == 0) return get8(v, y, 0, 8);
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = k < have ? widen(y[k]) : 0;
}
__device__ __forceinline__ void put_row(bf16 *y, uint4 v, int have) {
    if (have == 8 && ((uintptr_t)y & 15) == 0) {
        *(uint4 *)y = v;
        return;
    }
    uint32_t q[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int k = 0; k < 8; k++) if (k < have) round_to(y + k, k & 1 ? high(q[k >> 1]) : low(q[k >> 1]));
}

// What a warpgroup writes: 64 rows from r0 of R by tokens from t0, as [T, R]. d holds rows 16w + lane/4 and + 8 by tokens
// 8i + 2(lane%4) and + 1.
struct Place { int T, R, t0, r0, tid, barrier; };

// store writes the tile through shared memory, so that rows of 64 leave together. With a map the copy engine writes them
// while the next tile is made.
template <int BT> __device__ __forceinline__ void store(bf16 *y, const TensorMap *map, const float (&d)[BT / 2], float b0, float b1, uint8_t *out, const Place &o) {
    const int lane = o.tid & 31, w = o.tid >> 5;
    if (o.tid == 0) bulk_wait_read();  // the tile before has left
    group_sync(o.barrier, 128);
#pragma unroll
    for (int i = 0; i < BT / 8; i += 2) {
        uint32_t q[4];
#pragma unroll
        for (int m = 0; m < 4; m++) {
            const float *f = d + 4 * (i + (m >> 1)) + 2 * (m & 1);
            float b = m & 1 ? b1 : b0;
            q[m] = pack2(f[0] + b, f[1] + b);
        }
        int tok = 8 * (i + (lane >> 4)) + (lane & 7), chunk = 2 * w + ((lane >> 3) & 1);
        stmatrix_trans(smem32(out) + tok * 128 + ((chunk ^ (tok & 7)) << 4), q);
    }
    if (map) fence_proxy_async();
    group_sync(o.barrier, 128);
    if (map) {
        if (o.tid != 0) return;
        store_tile(map, o.r0, o.t0, smem32(out));
        return bulk_commit();
    }
#pragma unroll 4
    for (int p = o.tid; p < BT * 8; p += 128) {
        int tok = p >> 3, chunk = p & 7, n = o.r0 + chunk * 8;
        if (o.t0 + tok >= o.T || n >= o.R) continue;
        put_row(y + (int64_t)(o.t0 + tok) * o.R + n, *(const uint4 *)(out + tok * 128 + ((chunk ^ (tok & 7)) << 4)), min(8, o.R - n));
    }
}

// store_added adds what is there before it rounds: half of the tokens at a time, in float.
template <int BT> __device__ __forceinline__ void store_added(bf16 *y, const float (&d)[BT / 2], uint8_t *out, const Place &o) {
    const int lane = o.tid & 31, w = o.tid >> 5, g = lane >> 2;
    for (int h = 0; h < 2; h++) {
        group_sync(o.barrier, 128);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int tok = 2 * (lane & 3) + (e & 1), chunk = 4 * w + 2 * (e >> 1) + (g >> 2);
            uint8_t *to = out + tok * 256 + ((chunk ^ tok) << 4) + 4 * (g & 3);
#pragma unroll
            for (int i = 0; i < BT / 16; i++) *(float *)(to + i * 8 * 256) = h ? d[4 * (i + BT / 16) + e] : d[4 * i + e];
        }
        group_sync(o.barrier, 128);
#pragma unroll 2
        for (int p = o.tid; p < BT * 4; p += 128) {
            int tok = p >> 3, c = p & 7, t = o.t0 + h * (BT / 2) + tok, n = o.r0 + c * 8, have = min(8, o.R - n);
            if (t >= o.T || n >= o.R) continue;
            bf16 *to = y + (int64_t)t * o.R + n;
            float old[8];
            get_row(old, to, have);
            float4 a = *(const float4 *)(out + tok * 256 + (((2 * c) ^ (tok & 7)) << 4)), b = *(const float4 *)(out + tok * 256 + (((2 * c + 1) ^ (tok & 7)) << 4));
            old[0] += a.x, old[1] += a.y, old[2] += a.z, old[3] += a.w, old[4] += b.x, old[5] += b.y, old[6] += b.z, old[7] += b.w;
            put_row(to, old, have);
        }
    }
}

// store_floats is for logits: 8 neighbours go straight to memory, whole sectors of 32 bytes.
template <int BT> __device__ __forceinline__ void store_floats(float *y, const float (&d)[BT / 2], float b0, float b1, const Place &o) {
    const int lane = o.tid & 31, w = o.tid >> 5;
#pragma unroll
    for (int i = 0; i < BT / 8; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int tok = o.t0 + 8 * i + 2 * (lane & 3) + (e & 1), r = o.r0 + 16 * w + (lane >> 2) + 8 * (e >> 1);
            if (tok < o.T && r < o.R) y[(int64_t)tok * o.R + r] = d[4 * i + e] + (e >> 1 ? b1 : b0);
        }
}

// multiply is the work of a warpgroup that multiplies: half is 0 or 1.
template <bool BACK, int BT, class Y> __device__ __forceinline__ void multiply(const Launch<BACK, BT> &launch, const Room<BT> &room, int half, int tid) {
    const WgArgs &p = launch.p;
    const int lane = tid & 31, w = tid >> 5;
    uint8_t *out = room.at + room.OffOut + half * BT * 128;
    float d[BT / 2];
    uint32_t a[2][4][4], v[2][2][4];
    int stage = 0, phase = 0;
    for (int t = blockIdx.x; t < launch.tiles(); t += gridDim.x) {
        const Tile tile = launch.tile(t);
        const WgPart &part = p.part[tile.part];
        const Place place{p.T, launch.width(tile.part), tile.t0, tile.block * BR + half * 64, tid, 1 + half};
        const int r = place.r0 + 16 * w + (lane >> 2);
        int prev = -1;  // the stage that what was begun last reads and nothing else will; -1 for none
        auto begun = [&](bool whole) {
            wgmma_commit();
            wgmma_wait<1>();
            if (lane == 0 && prev >= 0) bar_arrive(room.empty(prev));
            prev = whole ? stage : -1;
            if (whole && ++stage == Stages) stage = 0, phase ^= 1;
        };
        auto two_steps = [&](bool first) {
#pragma unroll
            for (int u = 0; u < 2; u++) {
                bar_wait(room.full(stage), phase);
                const uint8_t *blk = room.at + room.OffW + stage * WBytes + half * BlockBytes;
                if (BACK) frag_back(a[u], blk, tid, p.zero); else frag_fwd(a[u], blk, tid, p.zero);
                uint64_t b = rows_desc(room.s0 + stage * room.XBytes);
                wgmma_fence();
#pragma unroll
                for (int s = 0; s < 4; s++) wgmma_rs(d, a[u][s], b + 2 * s, !first | u | s);
                begun(true);
            }
        };
        Four four = launch.first(tile);
        Rows<BACK> rows;
        if (four.part < tile.to) rows.read(p.part[four.part], place.R, r, four.n, lane);
        two_steps(true);
        while (four.part < tile.to) {
#pragma unroll
            for (int u = 0; u < 2; u++) {
                if (four.part >= tile.to) break;
                rows.fragment(v[u], p.part[four.part].scale, four.n);
                if (four.n % 2 == 0) bar_wait(room.full(stage), phase);
                uint64_t b = rows_desc(room.s0 + stage * room.XBytes) + 4 * (four.n % 2);
                wgmma_fence();
                wgmma_rs(d, v[u][0], b, 1);
                wgmma_rs(d, v[u][1], b + 2, 1);
                four = launch.next(tile, four);
                begun(four.n % 2 == 0);
                if (four.part < tile.to) rows.read(p.part[four.part], place.R, r, four.n, lane);
            }
        }
        for (int i = tile.from; i < tile.to; i++)
            for (int k = i == tile.from ? Before : 0; k < launch.steps(i); k += 2) two_steps(false);
        wgmma_wait<0>();
        if (lane == 0) bar_arrive(room.empty(prev));
        float b0 = 0, b1 = 0;  // of rows r and r + 8: added on the way out, as the accumulators are wgmma's own
        if (!BACK && part.bias) {
            if (r < place.R) b0 = at(part.bias, part.biasType, r);
            if (r + 8 < place.R) b1 = at(part.bias, part.biasType, r + 8);
        }
        if constexpr (sizeof(Y) == 4) store_floats<BT>((float *)part.y, d, b0, b1, place);
        else if (BACK && p.accumulate) store_added<BT>((bf16 *)part.y, d, out, place);
        else store<BT>((bf16 *)part.y, p.copied >> tile.part & 1 ? &p.y[tile.part] : nullptr, d, b0, b1, out, place);
    }
    if (tid == 0) bulk_wait_read();
}

// products is the kernel. BT is 256 tokens, or 128 where tiles of 256 would leave cores of the card without work.
template <bool BACK, int BT, class Y> __device__ __forceinline__ void products(const WgArgs &p) {
    SHARED_ARRAY(uint8_t, smem, 1024);
    const Room<BT> room{smem, smem32(smem)};
    const Launch<BACK, BT> launch(p);
    if (threadIdx.x == 0) {
        for (int s = 0; s < Stages; s++) {
            bar_init(room.full(s), 1);
            bar_init(room.empty(s), 8);  // one arrival a multiplying warp
            bar_init(room.asked(s), 1);
        }
        bar_init_fence();
    }
    __syncthreads();
    const int group = threadIdx.x >> 7, tid = threadIdx.x & 127;
    if (group == 0) {
        fewer_registers<56>();
        if (tid == 0) bring(launch, room);
        if (tid >= 32) write_updates(launch, room, tid - 32);
    } else {
        more_registers<224>();
        multiply<BACK, BT, Y>(launch, room, group - 1, tid);
    }
}
}  // namespace hopper_linear
}  // namespace

#define K_WG(name, BACK, BT, Y) \
    extern "C" __global__ void __launch_bounds__(384, 1) name(const __grid_constant__ WgArgs p) { hopper_linear::products<BACK, BT, Y>(p); }
K_WG(wg_b, false, 256, bf16)
K_WG(wg_f, false, 256, float)
K_WG(wg_grad_b, true, 256, bf16)
K_WG(wg_128_b, false, 128, bf16)
K_WG(wg_128_f, false, 128, float)
K_WG(wg_128_grad_b, true, 128, bf16)
#endif
