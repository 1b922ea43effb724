// Attention forward. Query t stands at key p = offset + t and sees the keys from max(starts[t], p+1-window) to p.
#pragma once
#include "tiles.cuh"

// segment_ends finds the first key of each query's segment, and where the segment ends.
extern "C" __global__ void segment_ends(int *starts, int *ends, const int *bounds, int n, int T, int offset) {
    int t = blockIdx.x * blockDim.x + threadIdx.x, s = 0;
    if (t >= T) return;
    while (s + 1 < n && bounds[s + 1] <= offset + t) s++;
    starts[t] = bounds[s];
    if (ends) ends[t] = s + 1 < n ? min(bounds[s + 1], offset + T) : offset + T;
}

// segment_tiles cuts each segment of T queries into tiles of `size`: how many there are, at most `most`, and from the fourth
// number on, for each its first query, the end of the segment, its first key, and how many pieces of 64 queries lie before
// it. Tiles that see most keys come first. What a query gets depends on its segment alone, to the bit.
extern "C" __global__ void segment_tiles(int *tiles, const int *bounds, int n, int T, int size, int most) {
    const int p = blockIdx.x * blockDim.x + threadIdx.x;
    if (p >= most) return;
    auto pieces = [&](int s, int size) { return (max(0, min(bounds[s + 1], T) - bounds[s]) + size - 1) / size; };
    int s = 0, i = p, before = 0, place = 0, all = 0;  // the p'th in the order of tokens is tile i of segment s
    for (; s < n && i >= pieces(s, size); s++) i -= pieces(s, size), before += pieces(s, 64);
    for (int k = 0; k < n; k++) {
        const int own = pieces(k, size);
        all += own, place += max(0, own - i - 1) + (k < s && own > i);
    }
    if (p == 0) tiles[0] = all;
    if (s == n) return;
    int *t = tiles + 4 + 4 * place;
    t[0] = bounds[s] + size * i, t[1] = min(bounds[s + 1], T), t[2] = bounds[s], t[3] = before + i * (size / 64);
}

// own_tile is tile `at` of segment_tiles, and false where there is none. It asks for the tile and for how many there are at once; what lies
// behind the last one is anything.
__device__ __forceinline__ bool own_tile(int4 &tile, const int *tiles, int at) {
    tile = *(const int4 *)(tiles + 4 + 4 * at);
    return (at < tiles[0]) & (tile.y > 0);
}

// Caches names the keys, or the values, of up to 32 sequences, and how many rows each has room for.
constexpr int MostCaches = 32;
struct Caches {
    void *at[MostCaches];
    int room[MostCaches];
};

// store_rows writes rows of x into KV caches, as their spans say (see compute.Span): one row of x and one cache a block.
template <class Y, class X> __device__ __forceinline__ void store_rows(uint32_t *bad, const X *x, const int *spans, int cols, Caches caches) {
    overlap_start();
    const int *span = spans + 4 * blockIdx.y;
    int t = blockIdx.x, from = span[0], to = span[1], at = span[2];
    if (t < from || t >= to) return;
    int64_t row = (int64_t)at + t - from;
    if (row < 0 || row >= caches.room[blockIdx.y]) {
        if (threadIdx.x == 0) *bad = 1;
        return;
    }
    Y *y = (Y *)caches.at[blockIdx.y];
    for (int c = threadIdx.x; c < cols; c += blockDim.x) round_to(y + row * cols + c, widen(x[(int64_t)t * cols + c]));
}
#define K_STORE(s, Y, X) \
    extern "C" __global__ void store_rows_##s(uint32_t *bad, const X *x, const int *spans, int cols, Caches caches) { store_rows<Y>(bad, x, spans, cols, caches); }
K_STORE(ff, float, float) K_STORE(fb, float, bf16) K_STORE(hf, __half, float) K_STORE(hb, __half, bf16) K_STORE(bf, bf16, float) K_STORE(bb, bf16, bf16)

namespace {
struct Heads {
    int T, heads, kv, dim, offset, window;
    float scale, cap;
};

// of_span takes the queries of one span for all: it moves o to them and returns the first. Keys beyond the room of the
// cache set *bad and leave no query.
__device__ __forceinline__ int of_span(Heads &o, const int *span, int room, uint32_t *bad) {
    if (!span) return 0;
    o.T = min(span[1] - span[0], o.T - span[0]);
    o.offset = span[3] - o.T;
    if (span[0] < 0 || o.offset < 0 || span[3] > room) {
        if (threadIdx.x == 0) *bad = 1;
        o.T = 0;
    }
    return span[0];
}

// first_key is the first that query t sees; without starts there is one segment.
__device__ __forceinline__ int first_key(const Heads &o, const int *starts, int t) {
    int lo = starts ? starts[t] : 0;
    return o.window ? max(lo, o.offset + t + 1 - o.window) : lo;
}
// cap_all is capped for a tile of scores.
__device__ __forceinline__ void cap_all(const Heads &o, float (&s)[8][4]) {
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[n][e] *= o.scale;
    if (o.cap <= 0) return;
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[n][e] = o.cap * tanhf(s[n][e] / o.cap);
}
__device__ __forceinline__ float capped(const Heads &o, float s) {
    s *= o.scale;
    return o.cap > 0 ? o.cap * tanhf(s / o.cap) : s;
}

// any: one query of one head a block of 8 warps, which share its keys. Heads of at most 256 values, of any types.
template <class T, class K> __device__ __forceinline__ void any(uint32_t *bad, T *y, float *lse, const T *q, const K *k, const K *v, const int *starts, const int *span, int room, Heads o) {
    __shared__ float tops[8], sums[8], parts[8][256];
    const int from = of_span(o, span, room, bad), t = blockIdx.x, h = blockIdx.y, lane = threadIdx.x & 31, w = threadIdx.x >> 5, d = o.dim;
    if (t >= o.T) return;
    const int64_t width = (int64_t)o.kv * d, row = (int64_t)(from + t) * o.heads + h;
    q += row * d;
    k += (int64_t)(h / (o.heads / o.kv)) * d, v += (int64_t)(h / (o.heads / o.kv)) * d;
    float qv[8], acc[8] = {}, top = -INFINITY, sum = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) qv[i] = lane + 32 * i < d ? widen(q[lane + 32 * i]) : 0;
    const int hi = o.offset + t + 1;
#pragma unroll 2
    for (int j = first_key(o, starts, t) + w; j < hi; j += 8) {
        const K *kj = k + j * width, *vj = v + j * width;
        float s = 0, vv[8];
#pragma unroll
        for (int i = 0; i < 8; i++) if (32 * i < d) {
            bool in = lane + 32 * i < d;
            s += in ? qv[i] * widen(kj[lane + 32 * i]) : 0;
            vv[i] = in ? widen(vj[lane + 32 * i]) : 0;
        }
        s = capped(o, warp_sum(s));
        float next = fmaxf(top, s), keep = expf(top - next), p = expf(s - next);
        sum = sum * keep + p;
#pragma unroll
        for (int i = 0; i < 8; i++) if (32 * i < d) acc[i] = acc[i] * keep + p * vv[i];
        top = next;
    }
    if (lane == 0) tops[w] = top, sums[w] = sum;
#pragma unroll
    for (int i = 0; i < 8; i++) if (32 * i < d) parts[w][lane + 32 * i] = acc[i];
    __syncthreads();
    float most = tops[0], total = 0;
    for (int i = 1; i < 8; i++) most = fmaxf(most, tops[i]);
    for (int i = 0; i < 8; i++) total += sums[i] * expf(tops[i] - most);
    for (int c = threadIdx.x; c < d; c += 256) {
        float s = 0;
        for (int i = 0; i < 8; i++) s += parts[i][c] * expf(tops[i] - most);
        round_to(y + row * d + c, s / total);
    }
    if (lse && threadIdx.x == 0) lse[row] = most + logf(total);
}

// cuts_of is how many parts the keys of a query are cut into, at most `most`: it depends on the sequence's own cache alone.
__device__ __forceinline__ int cuts_of(int room, int most) { return max(1, min((room + 255) / 256, most)); }

// few: for few queries of several sequences (blockIdx.z), heads of multiples of 8 values, at most 64*X. The keys of a query are
// cut into parts, one a block: a lane takes a key for the scores, and pairs of values for the sums. What a part gives goes to
// parts [rows, heads, most, 64*X + 2]: sums, their largest score, and the sum of probabilities; join makes one of them.
// A single part is written to y at once.
template <int X, class K> __device__ __forceinline__ void few(uint32_t *bad, bf16 *y, float *parts, const bf16 *q, const int *spans, int limit, Caches keys, Caches values, Heads o) {
    __shared__ float tops[8], totals[8], sums[8][64 * X];
    __shared__ __align__(16) float qs[64 * X];
    const int from = of_span(o, spans + 4 * blockIdx.z, keys.room[blockIdx.z], bad), h = blockIdx.y, cut = blockIdx.x % limit, cuts = cuts_of(keys.room[blockIdx.z], limit);
    if (cut >= cuts) return;
    const int lane = threadIdx.x & 31, w = threadIdx.x >> 5, d = o.dim;
    const int64_t width = (int64_t)o.kv * d;
    const K *k = (const K *)keys.at[blockIdx.z] + (int64_t)(h / (o.heads / o.kv)) * d, *v = (const K *)values.at[blockIdx.z] + (int64_t)(h / (o.heads / o.kv)) * d;
    int at[X];  // of a pair of values; beyond the head some pair, whose sum nobody takes
#pragma unroll
    for (int x = 0; x < X; x++) at[x] = min(2 * lane + 64 * x, d - 2);
    for (int t = blockIdx.x / limit; t < o.T; t += gridDim.x / limit) {
        const int64_t row = (int64_t)(from + t) * o.heads + h;
        __syncthreads();
        if (threadIdx.x < d) qs[threadIdx.x] = widen(q[row * d + threadIdx.x]);
        __syncthreads();
        int lo = first_key(o, nullptr, t), hi = o.offset + t + 1;
        const int share = ((hi - lo + cuts - 1) / cuts + 31) / 32 * 32;
        lo += cut * share, hi = min(hi, lo + share);
        float2 acc[X] = {};
        float top = -INFINITY, sum = 0;
        for (int j0 = lo + 32 * w; j0 < hi; j0 += 256) {
            const bool in = j0 + lane < hi;
            const K *kj = k + min(j0 + lane, hi - 1) * width;
            float s = 0;
#pragma unroll 8
            for (int c = 0; c < d; c += 8) {
                float x[8];
                load8(x, kj + c);
                float4 a = *(const float4 *)(qs + c), b = *(const float4 *)(qs + c + 4);
                s += x[0] * a.x + x[1] * a.y + x[2] * a.z + x[3] * a.w + x[4] * b.x + x[5] * b.y + x[6] * b.z + x[7] * b.w;
            }
            s = in ? capped(o, s) : -INFINITY;
            float next = fmaxf(top, warp_max(s)), keep = expf(top - next), p = in ? expf(s - next) : 0;
            top = next, sum = sum * keep + p;
#pragma unroll
            for (int x = 0; x < X; x++) acc[x].x *= keep, acc[x].y *= keep;
#pragma unroll
            for (int i0 = 0; i0 < 32; i0 += 8) {
                float2 f[8][X];
#pragma unroll
                for (int i = 0; i < 8; i++)
#pragma unroll
                    for (int x = 0; x < X; x++) f[i][x] = two(v + min(j0 + i0 + i, hi - 1) * width + at[x]);
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    float pi = __shfl_sync(~0u, p, i0 + i);
#pragma unroll
                    for (int x = 0; x < X; x++) acc[x].x += pi * f[i][x].x, acc[x].y += pi * f[i][x].y;
                }
            }
        }
        sum = warp_sum(sum);
        if (lane == 0) tops[w] = top, totals[w] = sum;
#pragma unroll
        for (int x = 0; x < X; x++) *(float2 *)&sums[w][2 * lane + 64 * x] = acc[x];
        __syncthreads();
        float most = tops[0], total = 0;
        for (int i = 1; i < 8; i++) most = fmaxf(most, tops[i]);
        const float base = most == -INFINITY ? 0 : most;  // of a part without keys
        for (int i = 0; i < 8; i++) total += totals[i] * expf(tops[i] - base);
        float *part = parts + (row * limit + cut) * (64 * X + 2);
        if (threadIdx.x < d) {
            float s = 0;
            for (int i = 0; i < 8; i++) s += sums[i][threadIdx.x] * expf(tops[i] - base);
            if (cuts == 1) round_to(y + row * d + threadIdx.x, s / total); else part[threadIdx.x] = s;
        }
        if (cuts > 1 && threadIdx.x == 0) part[64 * X] = most, part[64 * X + 1] = total;
    }
}

// join: one head of one sequence a block of 64*X threads.
template <int X> __device__ __forceinline__ void join(bf16 *y, const float *parts, const int *spans, int limit, Caches keys, Heads o) {
    uint32_t told;
    const int cuts = cuts_of(keys.room[blockIdx.z], limit);
    if (cuts == 1) return;
    const int from = of_span(o, spans + 4 * blockIdx.z, keys.room[blockIdx.z], &told), h = blockIdx.y, c = threadIdx.x;
    for (int t = blockIdx.x; t < o.T && c < o.dim; t += gridDim.x) {
        const int64_t row = (int64_t)(from + t) * o.heads + h;
        const float *part = parts + row * limit * (64 * X + 2);
        float most = -INFINITY, total = 0, s = 0;
        for (int i = 0; i < cuts; i++) most = fmaxf(most, part[i * (64 * X + 2) + 64 * X]);
        for (int i = 0; i < cuts; i++) {
            const float *p = part + i * (64 * X + 2);
            float f = expf(p[64 * X] - most);
            total += p[64 * X + 1] * f, s += p[c] * f;
        }
        round_to(y + row * o.dim + c, s / total);
    }
}

// dots: s [16, 64] = 16 rows of one tile by 64 of another.
template <int DP> __device__ __forceinline__ void dots(float (&s)[8][4], uint32_t rows, int r0, uint32_t cols) {
#pragma unroll
    for (int j = 0; j < 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[j][e] = 0;
#pragma unroll
    for (int k = 0; k < DP / 16; k++) {
        uint32_t a[4];
        rows16<DP>(a, rows, r0, k);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            uint32_t b[4];
            cols16<DP>(b, cols, 16 * j, k);
            mma(s[2 * j], a, b[0], b[1]);
            mma(s[2 * j + 1], a, b[2], b[3]);
        }
    }
}

// sums: acc [16, DP] += p [16, 64] by the tile's 64 rows, p rounded to bf16.
template <int DP> __device__ __forceinline__ void sums(float (&acc)[DP / 8][4], const float (&p)[8][4], uint32_t tile) {
#pragma unroll
    for (int k = 0; k < 4; k++) {
        uint32_t a[4] = {pack2(p[2 * k][0], p[2 * k][1]), pack2(p[2 * k][2], p[2 * k][3]), pack2(p[2 * k + 1][0], p[2 * k + 1][1]), pack2(p[2 * k + 1][2], p[2 * k + 1][3])};
#pragma unroll
        for (int d = 0; d < DP / 16; d++) {
            uint32_t b[4];
            down16<DP>(b, tile, 16 * k, d);
            mma(acc[2 * d], a, b[0], b[1]);
            mma(acc[2 * d + 1], a, b[2], b[3]);
        }
    }
}

// put_tile writes a warp's 16 rows of a head, those below `rows`, times two factors for rows r and r + 8.
template <int DP> __device__ __forceinline__ void put_tile(bf16 *y, int64_t width, int row0, int rows, int dim, const float (&acc)[DP / 8][4], float f0, float f1) {
    int lane = threadIdx.x & 31, r = row0 + (lane >> 2);
#pragma unroll
    for (int j = 0; j < DP / 8; j++) {
        int c = 8 * j + 2 * (lane & 3);
        if (c >= dim) continue;
        if (r < rows) *(uint32_t *)(y + r * width + c) = pack2(acc[j][0] * f0, acc[j][1] * f0);
        if (r + 8 < rows) *(uint32_t *)(y + (r + 8) * width + c) = pack2(acc[j][2] * f1, acc[j][3] * f1);
    }
}

// flash: 64 queries of one head a block of 4 warps, keys 64 at a time (Dao, 2023). A warp has 16 queries, which stay in
// registers. (Two pieces of 16, for which keys and values are read once, took 1.4 times as long on an H200.)
template <int DP> __device__ __forceinline__ void flash(uint32_t *bad, bf16 *y, float *lse, const bf16 *q, const bf16 *k, const bf16 *v, const int *tiles, const int *span, int room, Heads o) {
    SHARED_ARRAY(uint8_t, smem, 128);
    constexpr int Tile = 64 * DP * 2;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, from = of_span(o, span, room, bad);
    const int h = blockIdx.y, kv = h / (o.heads / o.kv);
    int t0 = (gridDim.x - 1 - blockIdx.x) * 64, end = o.T, start = 0;
    if (tiles) {
        const int *tile = tiles + 4 + 4 * blockIdx.x;
        if (blockIdx.x >= tiles[0]) return;
        t0 = tile[0], end = tile[1], start = tile[2];
    }
    if (t0 >= end) return;
    const int rows = o.offset + end;
    auto first = [&](int t) { return o.window ? max(start, o.offset + t + 1 - o.window) : start; };
    const int64_t qw = (int64_t)o.heads * o.dim, kw = (int64_t)o.kv * o.dim;
    const uint32_t qs = smem32(smem), ks = qs + Tile, vs = ks + 2 * Tile;
    q += from * qw + (int64_t)h * o.dim, y += from * qw + (int64_t)h * o.dim, k += (int64_t)kv * o.dim, v += (int64_t)kv * o.dim;
    const int last = min(t0 + 63, end - 1), j0 = (first(t0) - start) / 64, j1 = (o.offset + last - start) / 64;
    load_tile<DP>(qs, q, qw, t0, end, o.dim);
    load_tile<DP>(ks, k, kw, start + j0 * 64, rows, o.dim);
    load_tile<DP>(vs, v, kw, start + j0 * 64, rows, o.dim);
    cp_commit();
    // A thread has row lane/4 of the warp's queries, and the eighth one behind.
    const int own = t0 + warp * 16 + (lane >> 2);
    float acc[DP / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    uint32_t qf[DP / 16][4];
#pragma unroll 1
    for (int j = j0, b = 0; j <= j1; j++, b ^= 1) {
        cp_wait<0>();
        __syncthreads();
        if (j < j1) {
            load_tile<DP>(ks + (b ^ 1) * Tile, k, kw, start + (j + 1) * 64, rows, o.dim);
            load_tile<DP>(vs + (b ^ 1) * Tile, v, kw, start + (j + 1) * 64, rows, o.dim);
            cp_commit();
        }
        if (j == j0) {
#pragma unroll
            for (int i = 0; i < DP / 16; i++) rows16<DP>(qf[i], qs, warp * 16, i);
        }
        const int key0 = start + j * 64;
        float s[8][4] = {};
#pragma unroll
        for (int i = 0; i < DP / 16; i++)
#pragma unroll
            for (int n = 0; n < 4; n++) {
                uint32_t kf[4];
                cols16<DP>(kf, ks + b * Tile, 16 * n, i);
                mma(s[2 * n], qf[i], kf[0], kf[1]);
                mma(s[2 * n + 1], qf[i], kf[2], kf[3]);
            }
        cap_all(o, s);
        if (o.window || key0 + 63 > o.offset + t0 + warp * 16) {  // some keys are hidden from some queries
#pragma unroll
            for (int n = 0; n < 8; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int key = key0 + 8 * n + 2 * (lane & 3) + (e & 1), t = own + 8 * (e >> 1);
                    if (key < first(t) || key > o.offset + t) s[n][e] = -INFINITY;
                }
        }
        float most[2] = {-INFINITY, -INFINITY}, keep[2];
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) most[e >> 1] = fmaxf(most[e >> 1], s[n][e]);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            most[i] = fmaxf(most[i], __shfl_xor_sync(~0u, most[i], 1));
            most[i] = fmaxf(most[i], __shfl_xor_sync(~0u, most[i], 2));
            float next = fmaxf(top[i], most[i]), base = next == -INFINITY ? 0 : next;
            keep[i] = __expf(top[i] - base);
            top[i] = next;
            most[i] = base;
            sum[i] *= keep[i];
        }
#pragma unroll
        for (int n = 0; n < 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                s[n][e] = __expf(s[n][e] - most[e >> 1]);
                sum[e >> 1] += s[n][e];
            }
#pragma unroll
        for (int d = 0; d < DP / 8; d++)
#pragma unroll
            for (int e = 0; e < 4; e++) acc[d][e] *= keep[e >> 1];
        sums<DP>(acc, s, vs + b * Tile);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        sum[i] += __shfl_xor_sync(~0u, sum[i], 1);
        sum[i] += __shfl_xor_sync(~0u, sum[i], 2);
        int t = own + 8 * i;
        if (lse && (lane & 3) == 0 && t < end) lse[(int64_t)t * o.heads + h] = top[i] + logf(sum[i]);
    }
    put_tile<DP>(y, qw, t0 + warp * 16, end, o.dim, acc, 1 / sum[0], 1 / sum[1]);
}
}  // namespace

#define K_ANY(s, T, K) \
    extern "C" __global__ void __launch_bounds__(256) attention_##s(uint32_t *bad, T *y, float *lse, const T *q, const K *k, const K *v, const int *starts, const int *span, int room, Heads o) { any(bad, y, lse, q, k, v, starts, span, room, o); }
#define K_FEW(X, s, K) \
    extern "C" __global__ void __launch_bounds__(256) few_##X##_##s(uint32_t *bad, bf16 *y, float *parts, const bf16 *q, const int *spans, int cuts, Caches keys, Caches values, Heads o) { few<X, K>(bad, y, parts, q, spans, cuts, keys, values, o); }
#define K_JOIN(X) \
    K_FEW(X, b, bf16) K_FEW(X, h, __half) K_FEW(X, f, float) \
    extern "C" __global__ void __launch_bounds__(64 * X) join_##X(bf16 *y, const float *parts, const int *spans, int cuts, Caches keys, Heads o) { join<X>(y, parts, spans, cuts, keys, o); }
K_JOIN(1) K_JOIN(2) K_JOIN(4)
K_ANY(ff, float, float) K_ANY(fh, float, __half) K_ANY(bb, bf16, bf16) K_ANY(bh, bf16, __half) K_ANY(bf, bf16, float)
#define K_FLASH(DP, N) \
    extern "C" __global__ void __launch_bounds__(128, N) flash_##DP(uint32_t *bad, bf16 *y, float *lse, const bf16 *q, const bf16 *k, const bf16 *v, const int *tiles, const int *span, int room, Heads o) { flash<DP>(bad, y, lse, q, k, v, tiles, span, room, o); }
K_FLASH(64, 3) K_FLASH(128, 2)
