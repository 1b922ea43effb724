// Attention of a single query (decoding one sequence), and what comes before it: rotations, and new keys and values for caches.
#pragma once
#include "attention.cuh"

namespace {
// put2 writes two neighbours of 16 bits as Y.
__device__ __forceinline__ void put2(bf16 *p, uint32_t v) { *(uint32_t *)p = v; }
template <class Y> __device__ __forceinline__ void put2(Y *p, uint32_t v) { round_to(p, low(v)), round_to(p + 1, high(v)); }

// turned are two neighbours of the first half of a head, a, and those of the second, b, behind a rotation.
__device__ __forceinline__ uint2 turned(uint32_t a, uint32_t b, float2 cos, float2 sin) {
    return make_uint2(pack2(turned1(low(a), low(b), cos.x, sin.x), turned1(high(a), high(b), cos.y, sin.y)), pack2(turned2(low(a), low(b), cos.x, sin.x), turned2(high(a), high(b), cos.y, sin.y)));
}

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
        const uint2 t2 = turned(a, b, cs, sn);
        *(uint32_t *)(x + i) = t2.x, *(uint32_t *)(x + half + i) = t2.y;
        if (h == group) store(keys, i, t2.x), store(keys, half + i, t2.y);
    }
}

// A Part is what a block has of a query's attention: keys from lo on and before hi, for `heads` heads from h0 on, which share the
// head of keys `of`. A piece is up to 8 such heads.
struct Part {
    int cut, cuts, of, h0, heads, lo, hi;
};
__device__ __forceinline__ Part part_of(const Heads &o, int cut, int cuts, int piece) {
    const int group = o.heads / o.kv, pieces = (group + 7) / 8, of = piece / pieces, h = piece % pieces * 8;
    const int first = first_key(o, nullptr, 0), end = o.offset + 1, share = (end - first + cuts - 1) / cuts;
    return {cut, cuts, of, of * group + h, min(8, group - h), first + cut * share, min(end, first + (cut + 1) * share)};
}

// Single is the attention of one query of one sequence. A block of 512 threads has one of `cuts` parts of the keys, 64 at a
// time, for a piece: up to 8 of the heads that share them, which are rows of products by mma.sync. What it has in
// shared memory, `held`: the keys and values, the queries, probabilities as two numbers of bf16 each, and scores, as two sums. What a
// part gives goes to parts [heads, cuts, DP + 2]: sums, their largest score, and the sum of probabilities; joined they add
// up as lanes of a warp would, so that it does not matter who joins them.
template <int DP> struct Single : Part {
    static constexpr int Keys = 64, Row = 2 * DP, Tile = Keys * Row, Line = Keys + 8;
    static constexpr int ValuesAt = Tile, QueriesAt = 2 * Tile, ProbsAt = QueriesAt + 8 * Row, ScoresAt = ProbsAt + 2 * 8 * 2 * Keys;
    static constexpr int Bytes = ScoresAt + (2 * 8 * Line + 8) * 4;
    const Heads &o;
    uint8_t *held;
    float acc[2] = {}, top = -INFINITY, sum = 0;

    __device__ __forceinline__ Single(const Heads &o, uint8_t *held, const Part &part) : Part(part), o(o), held(held) {}
    static __device__ __forceinline__ int lane() { return threadIdx.x & 31; }
    static __device__ __forceinline__ int warp() { return threadIdx.x >> 5; }
    // place is where eight values of a row lie, of rows of `bytes`.
    static __device__ __forceinline__ int place(int row, int c, int bytes = Row) { return row * bytes + ((c ^ (row & 7)) << 4); }

    // load starts the copy of 64 rows from j0 on, zeros where there are none. A row that is not to be read is left out.
    __device__ __forceinline__ void load(int to, const bf16 *from, int j0, int skip = -1) {
        from += of * o.dim;
#pragma unroll
        for (int i = 0; i < Keys * DP / 8 / 512; i++) {
            const int p = threadIdx.x + 512 * i, r = p / (DP / 8), c = p % (DP / 8);
            const bool in = c * 8 < o.dim, ok = in && j0 + r < hi;
            if (in && j0 + r == skip) continue;
            cp16(smem32(held) + to + place(r, c), ok ? from + (int64_t)(j0 + r) * o.kv * o.dim + c * 8 : from, ok);
        }
    }
    // begin asks for the first keys and values, two groups of copies.
    __device__ __forceinline__ void begin(const bf16 *k, const bf16 *v, int skip = -1) {
        if (lo < hi) load(0, k, lo, skip);
        cp_commit();
        if (lo < hi) load(ValuesAt, v, lo, skip);
        cp_commit();
    }
    // score makes the scores of 64 keys: warps w and w + 8 have keys 8w to 8w + 7 and half of a head's values each.
    __device__ __forceinline__ void score() {
        constexpr int Own = DP / 16;  // eights of values
        const uint32_t qs = smem32(held) + QueriesAt, ks = smem32(held);
        const int half = warp() >> 3, r = lane() & 7, n = 8 * (warp() & 7);
        float s[2][4] = {};
#pragma unroll
        for (int i = 0; i < Own; i += 4) {
            uint32_t a[4], b[4];
            const int c = half * Own + i + (lane() >> 3);
            ldmatrix(a, qs + place(r, c));
            ldmatrix(b, ks + place(n + r, c));
            const uint32_t a0[4] = {a[0], 0, a[1], 0}, a1[4] = {a[2], 0, a[3], 0};
            mma(s[0], a0, b[0], b[1]);
            mma(s[1], a1, b[2], b[3]);
        }
        *(float2 *)((float *)(held + ScoresAt) + (8 * half + (lane() >> 2)) * Line + n + 2 * (lane() & 3)) = make_float2(s[0][0] + s[1][0], s[0][1] + s[1][1]);
    }
    // weigh makes probabilities of the scores of head warp(), by the largest so far.
    __device__ __forceinline__ void weigh(int j0) {
        const float *scores = (const float *)(held + ScoresAt) + warp() * Line + 2 * lane();
        const float2 a = *(const float2 *)scores, b = *(const float2 *)(scores + 8 * Line);
        const int j = j0 + 2 * lane();
        const float s0 = j < hi ? capped(o, a.x + b.x) : -INFINITY, s1 = j + 1 < hi ? capped(o, a.y + b.y) : -INFINITY;
        const float next = fmaxf(top, warp_max(fmaxf(s0, s1))), base = next == -INFINITY ? 0 : next, keep = expf(top - base);
        const float p0 = expf(s0 - base), p1 = expf(s1 - base);
        const uint32_t rounded = pack2(p0, p1), rest = pack2(p0 - low(rounded), p1 - high(rounded));
        uint8_t *probs = held + ProbsAt + place(warp(), lane() >> 2, 2 * Keys) + 4 * (lane() & 3);
        *(uint32_t *)probs = rounded, *(uint32_t *)(probs + 8 * 2 * Keys) = rest;
        if (lane() == 0) ((float *)(held + ScoresAt))[2 * 8 * Line + warp()] = keep;
        top = next, sum = sum * keep + (p0 + p1);
    }
    // add adds 64 values with their probabilities to acc: values 8w to 8w + 7 of the heads are warp w's.
    __device__ __forceinline__ void add() {
        if (8 * warp() >= DP) return;
        const uint32_t ps = smem32(held) + ProbsAt, vs = smem32(held) + ValuesAt;
        float s[4][4] = {};
#pragma unroll
        for (int i = 0; i < 2; i++) {
            uint32_t a[4], rest[4], b[4];
            ldmatrix(a, ps + place(lane() & 7, 4 * i + (lane() >> 3), 2 * Keys));
            ldmatrix(rest, ps + 8 * 2 * Keys + place(lane() & 7, 4 * i + (lane() >> 3), 2 * Keys));
            ldmatrix_trans(b, vs + place(32 * i + lane(), warp()));
            const uint32_t a0[4] = {a[0], 0, a[1], 0}, a1[4] = {a[2], 0, a[3], 0}, r0[4] = {rest[0], 0, rest[1], 0}, r1[4] = {rest[2], 0, rest[3], 0};
            mma(s[0], a0, b[0], b[1]);
            mma(s[1], a1, b[2], b[3]);
            mma(s[2], r0, b[0], b[1]);
            mma(s[3], r1, b[2], b[3]);
        }
        const float keep = ((const float *)(held + ScoresAt))[2 * 8 * Line + (lane() >> 2)];
#pragma unroll
        for (int e = 0; e < 2; e++) acc[e] = acc[e] * keep + ((s[0][e] + s[1][e]) + (s[2][e] + s[3][e]));
    }
    // attend goes over the keys behind begin, with the queries that the block has written to shared memory or copies there. Behind
    // it acc has sums of head lane() / 4, from value 8 warp() + 2 (lane() % 4) on, and sum is of head warp().
    __device__ __forceinline__ void attend(const bf16 *k, const bf16 *v) {
        for (int j0 = lo; j0 < hi; j0 += Keys) {
            const bool more = j0 + Keys < hi;
            cp_wait<1>();
            __syncthreads();
            score();
            __syncthreads();
            if (more) load(0, k, j0 + Keys);
            cp_commit();
            if (warp() < heads) weigh(j0);
            cp_wait<1>();
            __syncthreads();
            add();
            if (more) {
                __syncthreads();
                load(ValuesAt, v, j0 + Keys);
            }
            cp_commit();
        }
        if (warp() < heads) sum = warp_sum(sum);
    }
    __device__ __forceinline__ bool has_sums() const { return 8 * warp() < DP && lane() >> 2 < heads; }
    __device__ __forceinline__ int value() const { return 8 * warp() + 2 * (lane() & 3); }
    // part is where what part i gives of head h of the piece lies.
    __device__ __forceinline__ float *part(float *parts, int h, int i) const { return parts + ((int64_t)(h0 + h) * cuts + i) * (DP + 2); }
    __device__ __forceinline__ void put(bf16 *y, int h, int d, float2 s, float total) const {
        if (d < o.dim) *(uint32_t *)(y + (h0 + h) * o.dim + d) = pack2(s.x / total, s.y / total);
    }
};

// factor_of is what sums weigh whose largest score is `own`, of scores up to most.
__device__ __forceinline__ float factor_of(float own, float most) { return expf(own - (most == -INFINITY ? 0 : most)); }

// single is a launch of it. The last block of a piece joins the parts. counts are zeros before and after.
template <int DP> __device__ __forceinline__ void single(uint32_t *bad, bf16 *y, float *parts, uint32_t *counts, const bf16 *q, const int *span, const bf16 *k, const bf16 *v, int room, Heads o) {
    __shared__ __align__(128) uint8_t held[Single<DP>::Bytes];
    __shared__ float factors[8][32], totals[8];
    __shared__ bool last;
    const int cut = blockIdx.x, cuts = gridDim.x, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    of_span(o, span, room, bad);
    if (o.T < 1) return;
    Single<DP> own(o, held, part_of(o, cut, cuts, blockIdx.y));
    if (threadIdx.x < own.heads * (DP / 8)) {
        const int h = threadIdx.x / (DP / 8), c = threadIdx.x % (DP / 8);
        const bool ok = c * 8 < o.dim;
        cp16(smem32(held) + own.QueriesAt + own.place(h, c), ok ? q + (own.h0 + h) * o.dim + c * 8 : q, ok);
    }
    own.begin(k, v);
    own.attend(k, v);
    const float2 sums = make_float2(own.acc[0], own.acc[1]);
    if (cuts == 1) {
        if (warp < own.heads && lane == 0) totals[warp] = own.sum;
        __syncthreads();
        if (own.has_sums()) own.put(y, lane >> 2, own.value(), sums, totals[lane >> 2]);
        return;
    }
    if (own.has_sums()) *(float2 *)(own.part(parts, lane >> 2, cut) + own.value()) = sums;
    if (warp < own.heads && lane == 0) *(float2 *)(own.part(parts, warp, cut) + DP) = make_float2(own.top, own.sum);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicAdd(counts + blockIdx.y, 1) == cuts - 1;
    __syncthreads();
    if (!last) return;
    __threadfence();
    const int h = threadIdx.x / (DP / 2), d = threadIdx.x % (DP / 2) * 2;
    float2 s[16] = {}, late[16] = {};  // asked for with what weighs them
#pragma unroll
    for (int i = 0; i < 16; i++) {
        if (h < own.heads && i < cuts) s[i] = __ldcg((const float2 *)(own.part(parts, h, i) + d));
        if (h < own.heads && i + 16 < cuts) late[i] = __ldcg((const float2 *)(own.part(parts, h, i + 16) + d));
    }
    if (warp < own.heads) {
        const float2 w = lane < cuts ? __ldcg((const float2 *)(own.part(parts, warp, lane) + DP)) : make_float2(-INFINITY, 0);
        const float f = factor_of(w.x, warp_max(w.x)), total = warp_sum(__fmul_rn(w.y, f));
        factors[warp][lane] = f;
        if (lane == 0) totals[warp] = total;
    }
    __syncthreads();
    if (h < own.heads) {
#pragma unroll
        for (int i = 0; i < 16; i++) {
            const float f = factors[h][i], g = factors[h][i + 16];
            s[i] = make_float2(__fmul_rn(s[i].x, f) + __fmul_rn(late[i].x, g), __fmul_rn(s[i].y, f) + __fmul_rn(late[i].y, g));
        }
#pragma unroll
        for (int m = 8; m; m >>= 1)
#pragma unroll
            for (int i = 0; i < 8; i++) if (i < m) s[i] = make_float2(s[i].x + s[i + m & 15].x, s[i].y + s[i + m & 15].y);
        own.put(y, h, d, s[0], totals[h]);
    }
    if (threadIdx.x == 0) counts[blockIdx.y] = 0;
}
}  // namespace

#define K_TURN_STORE(s, Y) \
    extern "C" __global__ void __launch_bounds__(256) turn_store_##s(uint32_t *bad, bf16 *q, bf16 *k, const bf16 *v, const float *cos, const float *sin, int group, int head, const int *spans, int n, Caches keys, Caches values) { \
        overlap_start(); \
        turn_store<Y>(bad, q, k, v, cos, sin, group, head, spans, n, keys, values, blockIdx.x, blockIdx.y, gridDim.y); \
    }
K_TURN_STORE(b, bf16) K_TURN_STORE(h, __half) K_TURN_STORE(f, float)
#define K_SINGLE(DP) \
    extern "C" __global__ void __launch_bounds__(512) single_##DP(uint32_t *bad, bf16 *y, float *parts, uint32_t *counts, const bf16 *q, const int *span, const bf16 *k, const bf16 *v, int room, Heads o) { \
        overlap_start(); \
        single<DP>(bad, y, parts, counts, q, span, k, v, room, o); \
    }
K_SINGLE(64) K_SINGLE(128)
