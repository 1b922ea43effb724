// Decoding one token in few launches: a grid that stays on the card goes through products, rotations and attention as
// steps, where each would be a launch. Weights of the next steps are copied to shared memory while blocks wait for one another.
#pragma once
#include "attention_one.cuh"
#include "hopper.cuh"
#include "linear_one.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

namespace {
// What a step is. Those of products tell in bits what stands before and behind them. StepWaits: all blocks meet before it, as it
// reads what others write in a step before, and not by mail.
enum StepKind { StepNormed = 1, StepAdded = 2, StepGated = 4, StepAttend = 8, StepWaits = 16 };

// A Step is what launches of the kernels that it stands for take: one_*, or turn_store_b and single_*. The same in Go (steps.go).
struct Step {
    int kind, unused;
    union {
        struct {
            const bf16 *x;
            Rows m;
            Around o;
            int K, KB, items;
            uint32_t zero;
            int token, addend, out, unused;  // where in the mail these are, or -1
        } product;
        struct {
            uint32_t *bad;
            bf16 *y;
            float *parts;  // of no other kernel
            bf16 *q, *k;   // before the rotation
            const bf16 *v;
            const float *cos, *sin;
            const int *span;
            bf16 *keys, *values;
            Heads o;
            int room, cuts, padded, unused;  // a head is padded to 64 or 128 values
        } attend;
    };
    uint64_t filled;  // to a multiple of 16 bytes
    __device__ __forceinline__ bool is_product() const { return !(kind & StepAttend); }
    __device__ __forceinline__ int mats() const { return kind & StepGated ? 2 : 1; }
};

constexpr int MostSteps = 192, StepThreads = 512, Teams = StepThreads / 256, MostFetched = 256;
constexpr int Places = 4, PlaceBlocks = Round / 2, PlaceBytes = (Numbers + Scales) / 2;  // halves of rounds that a warp has on their way

// Maps tell how numbers and scales of a step's matrices lie, as rows of one block of 64 by 64 each.
struct Maps { TensorMap numbers[4], scales[4]; };

// An Entry is a round of 8 warps by 8 blocks of an item: what a unit of 8 warps multiplies, in the order in which it does. There are
// at most MostEntries for all steps of a launch (steps.go). A token that fits into shared memory has at most 5 rounds.
struct Entry {
    uint32_t place;  // 4 * the first block's number in its matrix, + which 16 rows
    uint32_t what;   // blocks from there to the matrix's end << 16 | step << 8 | round << 4 | which matrix << 2 | LastRound, LastMatrix
    __device__ __forceinline__ int left() const { return what >> 16; }
    __device__ __forceinline__ int step() const { return what >> 8 & 255; }
    __device__ __forceinline__ int round() const { return what >> 4 & 15; }
    __device__ __forceinline__ int which() const { return what >> 2 & 3; }
};
constexpr int LastRound = 1, LastMatrix = 2, MostEntries = 512;

// unit_number is which of the units of 8 warps that share the items of a step the thread is of.
__device__ __forceinline__ int unit_number() { return blockIdx.x + gridDim.x * (threadIdx.x >> 8); }
__device__ __forceinline__ int units() { return gridDim.x * Teams; }

// list_entries writes the entries of the unit's items, a thread those of a step; begins is where those of each step begin. All
// threads of the block come here.
__device__ __forceinline__ void list_entries(Entry *entries, int *begins, const Step *steps, int n) {
    __shared__ int sums[Teams][8];
    const int number = threadIdx.x & 255, warp = number >> 5, lane = number & 31, unit = unit_number();
    const Step &s = steps[min(number, n - 1)];
    const auto &p = s.product;
    const bool own = number < n && s.is_product();
    const int mats = s.mats(), rounds = own ? rounds_of(p.K) : 0, items = own && unit < p.items ? (p.items - unit + units() - 1) / units() : 0;
    int end = items * mats * rounds;
#pragma unroll
    for (int m = 1; m < 32; m *= 2) {
        const int before = __shfl_up_sync(~0u, end, m);
        if (lane >= m) end += before;
    }
    if (lane == 31) sums[threadIdx.x >> 8][warp] = end;
    __syncthreads();
    for (int w = 0; w < warp; w++) end += sums[threadIdx.x >> 8][w];
    if (number < n) begins[number + 1] = end;
    if (number == 0) begins[0] = 0;
    Entry *e = entries + end - items * mats * rounds;
    for (int i = 0; i < items; i++)
        for (int mat = 0; mat < mats; mat++) {
            int which, rows16;
            Cursor::place(p.m, mats, unit + i * units(), mat, which, rows16);
            for (int r = 0; r < rounds; r++, e++) {
                e->place = ((rows16 >> 2) * p.KB + 64 * r) * 4 + (rows16 & 3);
                e->what = ((p.K + 63) / 64 - 64 * r) << 16 | number << 8 | r << 4 | which << 2 | (mat + 1 == mats ? LastMatrix : 0) | (r + 1 == rounds ? LastRound : 0);
            }
        }
    __syncthreads();
}

// A Stream brings the weights of all steps that a warp multiplies to its places in shared memory, one round after another: the
// copy engine has more on its way than loads of the warp could, and does not hold them up.
struct Stream {
    const Maps *maps;
    uint8_t *places;
    uint64_t *full;            // barriers
    const Entry *next, *end;   // what is asked for next
    int half;                  // of the entry
    int place, parity;         // of what is multiplied next

    // ask lets the next half of a round, in which the warp has blocks, come to a place that all lanes have read.
    __device__ __forceinline__ void ask(int to) {
        for (; next < end; next++, half = 0) {
            const Entry e = *next;
            const int first = 8 * (threadIdx.x >> 5 & 7) + PlaceBlocks * half;
            if (half > 1 || e.left() <= first) continue;
            half++;
            if (threadIdx.x & 31) return;
            const uint32_t bar = smem32(full + to), at = smem32(places + to * PlaceBytes);
            const int row = (e.place >> 2) + first, quarter = e.place & 3;
            const TensorMap *numbers = maps[e.step()].numbers + e.which();
            bar_expect(bar, PlaceBytes);
            copy_tile_once(at, numbers, 256 * quarter, row, bar);
            copy_tile_once(at + Numbers / 2, numbers + 4, 1024 + 32 * quarter, row, bar);
            return;
        }
    }
    // multiply adds what the warp has of 16 rows in a round, left blocks, to y. Of blocks beyond the matrix others lie there, but
    // the token has zeros.
    __device__ __forceinline__ float multiply(float y, const Columns &columns, int left, float less) {
        const int lane = threadIdx.x & 31, own = 8 * unit(0, 0, lane >> 2, lane & 3);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            if (left <= PlaceBlocks * h) break;
            bar_wait(smem32(full + place), parity);
            const uint8_t *numbers = places + place * PlaceBytes;
#pragma unroll
            for (int i = 0; i < PlaceBlocks; i++) {
                const uint2 q0 = *(const uint2 *)(numbers + 512 * i + own), q1 = *(const uint2 *)(numbers + 512 * i + own + 256);
                y = multiply_block(y, make_uint4(q0.x, q0.y, q1.x, q1.y), own_scales(numbers + Numbers / 2, i), columns, PlaceBlocks * h + i, less);
            }
            __syncwarp();
            ask(place);
            if (++place == Places) place = 0, parity ^= 1;
        }
        return y;
    }
};

// mail_row writes a result of each of a warp's first 16 lanes, for all blocks to read. A NaN has no word that says Unread.
__device__ __forceinline__ void mail_row(bf16 *to, int row, float v) {
    const uint32_t own = v != v ? 0x7FFF : pack2(v, 0), next = __shfl_down_sync(~0u, own, 1);
    if (row < 16 && row % 2 == 0) write_mail(to + row, own | next << 16);
}
// addend_in_step reads what is added to a row of an item, as it lies there: long before it is needed. What came by mail the
// block has seen before.
__device__ __forceinline__ uint32_t addend_in_step(const Step &step, int item, int row, const bf16 *mail) {
    const auto &p = step.product;
    const int n = 16 * item + row;
    if (row >= 16 || n >= p.m.rows[0]) return 0;
    return p.addend < 0 ? *(const unsigned short *)(p.o.addend + n) : *(const volatile unsigned short *)(mail + p.addend + n);
}

// products makes the products of a step: each team of 8 warps takes items.
__device__ __forceinline__ void products(const Step &step, const Entry *now, const Entry *end, Stream &stream, uint8_t *token, bf16 *mail) {
    __shared__ float part[Teams][2][2][8][16], line[Teams][8];
    const auto &p = step.product;
    const int warp = threadIdx.x >> 5 & 7, team = threadIdx.x >> 8, padded = padded_of(p.K), mats = step.mats();
    const int tail = step.kind & StepAdded ? Added : step.kind & StepGated ? Gated : Nothing;
    const bool mailed = p.token >= 0;
    const bf16 *x = mailed ? mail + p.token : p.x;
    if (step.kind & StepNormed) keep_token<true, Teams>(token, line[team], x, mailed, p.K, padded, p.o);
    else keep_token<false, Teams>(token, line[team], x, mailed, p.K, padded, p.o);
    __syncthreads();
    int item = unit_number(), side = 0, mat = 0;
    uint32_t addend = 0;
    float y = 0;
    for (; now < end; now++) {
        const Entry e = *now;
        if (tail == Added && e.round() == 0) addend = addend_in_step(step, item, threadIdx.x & 255, mail);
        if (e.left() > 8 * warp) y = stream.multiply(y, Columns(token, padded, e.round()), e.left() - 8 * warp, low(p.zero) + 128);
        if (!(e.what & LastRound)) continue;
        add_update(part[team][side][mat][warp], p.m, e.which(), mats, item, y);
        y = 0, mat++;
        if (!(e.what & LastMatrix)) continue;
        group_sync(1 + team, 256);
        if (warp == 0) {
            const int row = threadIdx.x & 31;
            const float made = row < 16 ? finish<bf16>(part[team][side], p.m, p.o, mats, tail, item, row, low(addend)) : 0;
            if (p.out >= 0) mail_row(mail + p.out + 16 * item, row, made);
        }
        item += units(), side ^= 1, mat = 0;
    }
}

// join_share joins the block's share of a piece's sums: a warp takes eight values of a head, four lanes a part. Who has the parts
// of a head of all blocks knows that these have read its query, so that what is turned can be written in its place.
template <int DP> __device__ __forceinline__ void join_share(const Single<DP> &own, float *parts, bf16 *y, bf16 *q) {
    const int lane = threadIdx.x & 31, cuts = own.cuts, eights = own.heads * DP / 8, share = (eights + cuts - 1) / cuts;
    for (int e = own.cut * share + (threadIdx.x >> 5); e < min((own.cut + 1) * share, eights); e += StepThreads / 32) {
        const int h = e / (DP / 8), d = e % (DP / 8) * 8 + 2 * (lane & 3);
        float4 v[4];  // of parts lane / 4 + 8i: two sums, their largest score and their probabilities' sum
        bool all;
        do {
            all = true;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float *part = own.part(parts, h, 8 * i + (lane >> 2));
                v[i] = 8 * i + (lane >> 2) < cuts ? peek_written(part + d, part + DP) : make_float4(0, 0, -INFINITY, 0);
                all &= is_written(v[i]);
            }
        } while (!all);
        float most = fmaxf(fmaxf(v[0].z, v[1].z), fmaxf(v[2].z, v[3].z));
#pragma unroll
        for (int m = 16; m > 2; m >>= 1) most = fmaxf(most, __shfl_xor_sync(~0u, most, m));
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float f = factor_of(v[i].z, most);
            v[i] = make_float4(__fmul_rn(v[i].x, f), __fmul_rn(v[i].y, f), 0, __fmul_rn(v[i].w, f));
        }
        float2 s = make_float2((v[0].x + v[2].x) + (v[1].x + v[3].x), (v[0].y + v[2].y) + (v[1].y + v[3].y));
        float total = (v[0].w + v[2].w) + (v[1].w + v[3].w);
#pragma unroll
        for (int m = 16; m > 2; m >>= 1) s.x += __shfl_xor_sync(~0u, s.x, m), s.y += __shfl_xor_sync(~0u, s.y, m), total += __shfl_xor_sync(~0u, total, m);
        if (lane >= 4) continue;
        own.put(y, h, d, s, total);
        if (d < own.o.dim) *(uint32_t *)(q + (own.h0 + h) * own.o.dim + d) = *(const uint32_t *)(own.held + own.QueriesAt + own.place(h, d >> 3) + 2 * (d & 7));
    }
}

// Attended is what a block does in a step of attention, made in the step before: the queries' place, the block's part, and the row of
// the caches that the token's key and value go to. Newest is the block that turns and stores them: seen tells whether that is for itself, too.
struct Attended {
    Heads o;
    Part part;
    int row, group;
    bool seen, newest;
};

// attend turns the queries of a token and its key, stores that and the value, and attends: a block has a part of a piece. It asks
// for the keys before ready, which waits for the step before. The block with the part in which the newest key is turns
// and stores it, and has it from registers. Parts are handed over without a barrier.
template <int DP, class Ready> __device__ __forceinline__ void attend(const Step &step, const Attended &now, uint8_t *held, Ready ready) {
    if (now.o.T < 1) return ready();
    const auto &a = step.attend;
    const Heads &o = now.o;
    Single<DP> own(o, held, now.part);
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, half = o.dim / 2, i = 2 * lane, of = own.of * o.dim, row = now.row;
    const bool key = warp == 8 && now.newest, turns = (warp < own.heads || key) && i < half;
    own.begin(a.keys, a.values, now.newest && now.seen ? row : -1);
    float2 cos = make_float2(0, 0), sin = cos;
    if (turns) cos = *(const float2 *)(a.cos + i), sin = *(const float2 *)(a.sin + i);
    ready();
    // hold writes two values from `at` on to a row in shared memory, store to a cache.
    auto hold = [&](int to, int r, int at, uint32_t two) { *(uint32_t *)(held + to + own.place(r, at >> 3) + 2 * (at & 7)) = two; };
    auto store = [&](bf16 *cache, int to, int at, uint32_t two) {
        if (row < 0 || row >= a.room) *a.bad = 1; else *(uint32_t *)(cache + (int64_t)row * o.kv * o.dim + of + at) = two;
        if (now.seen && row < own.lo + own.Keys) hold(to, row - own.lo, at, two);
    };
    bf16 *x = key ? a.k + of : a.q + (own.h0 + warp) * o.dim;
    uint2 two = make_uint2(0, 0);
    if (turns) two = turned(*(const uint32_t *)(x + i), *(const uint32_t *)(x + half + i), cos, sin);
    if (key && turns) store(a.keys, 0, i, two.x), store(a.keys, 0, half + i, two.y);
    if (warp == 9 && now.newest)
        for (int at = i; at < o.dim; at += 64) store(a.values, own.ValuesAt, at, *(const uint32_t *)(a.v + of + at));
    if (warp < own.heads) {
        if (turns) hold(own.QueriesAt, warp, i, two.x), hold(own.QueriesAt, warp, half + i, two.y);
        for (int at = o.dim + i; at < DP; at += 64) hold(own.QueriesAt, warp, at, 0);
    }
    own.attend(a.keys, a.values);
    if (own.has_sums()) put_written(own.part(a.parts, lane >> 2, own.cut) + own.value(), own.acc[0], own.acc[1]);
    if (warp < own.heads && lane == 0) put_written(own.part(a.parts, warp, own.cut) + DP, own.top, own.sum);
    join_share<DP>(own, a.parts, a.y, a.q);
    if (!key || own.h0 != own.of * now.group) return;
    for (int h = 8 + lane; h < now.group; h += 32) {  // other pieces turn the key, too
        const float *part = own.part(a.parts, h, own.cut) + DP;
        while (!is_written(peek_written(part, part))) {}
    }
    __syncwarp();
    if (turns) *(uint32_t *)(x + i) = two.x, *(uint32_t *)(x + half + i) = two.y;
}
// fetch_attend says what the block does in attend, asks for the keys and values that it reads, and marks its parts as not written.
__device__ __forceinline__ void fetch_attend(const Step &step, Attended &next) {
    const auto &a = step.attend;
    const int lane = threadIdx.x & 31, cut = blockIdx.x % a.cuts, piece = blockIdx.x / a.cuts, lines = (a.o.dim * 2 + 127) / 128;
    const int group = a.o.heads / a.o.kv, row = a.span[2] - a.span[0];
    Heads o = a.o;
    of_span(o, a.span, a.room, a.bad);
    if (piece >= o.kv * ((group + 7) / 8)) o.T = 0;
    const Part p = part_of(o, cut, a.cuts, piece);
    if (threadIdx.x == 0) {
        const bool seen = row >= first_key(o, nullptr, 0) && row <= o.offset;
        next = {o, p, row, group, seen, seen ? row >= p.lo && row < p.hi : cut == 0};
    }
    if (o.T < 1) return;
    for (int h = threadIdx.x >> 5; h < p.heads; h += StepThreads / 32)
        for (int d = lane; d < a.padded + 2; d += 32) ((uint32_t *)a.parts)[((p.h0 + h) * a.cuts + cut) * (a.padded + 2) + d] = NotWritten;
    const int keys = min(p.hi - p.lo, MostFetched), key0 = threadIdx.x / (2 * lines), line = threadIdx.x % (2 * lines);
    const bf16 *from = (line < lines ? a.keys : a.values) + p.of * o.dim + line % lines * 64;
    for (int i = key0; i < keys; i += StepThreads / (2 * lines)) prefetch(from + (int64_t)(p.lo + i) * o.kv * o.dim);
}

// fetch asks for what a step reads of memory that no step writes: the norm's weights, keys and values.
__device__ __forceinline__ void fetch(const Step &step, Attended &next) {
    if (step.kind & StepAttend) return fetch_attend(step, next);
    if (!(step.kind & StepNormed) || blockIdx.x != gridDim.x - 1) return;
    const auto &p = step.product;
    for (int i = 128 * threadIdx.x; i < p.K * (p.o.type == F32 ? 4 : 2); i += 128 * StepThreads) prefetch((const uint8_t *)p.o.w + i);
}
}  // namespace

// token_steps goes through n steps. Its blocks are all on the card at a time. gate counts those that come to a barrier, from zero
// and back to it; the word behind it counts launches. Of the mail's two sides of `size` numbers each, which begin with all bits set,
// they take turns: what is not in use is made to be as in the beginning.
extern "C" __global__ void __launch_bounds__(StepThreads, 1) token_steps(const Step *steps, const Maps *maps, int n, uint32_t *gate, bf16 *mail, int size) {
    SHARED_ARRAY(uint8_t, smem, 128);
    __shared__ __align__(8) uint64_t full[StepThreads / 32][Places];
    __shared__ __align__(8) Entry entries[Teams][MostEntries];
    __shared__ int begins[Teams][MostSteps + 1];
    __shared__ Attended attended;
    __shared__ __align__(16) Step kept[3];  // of steps s and s + 1; that of step s + 2 is on its way
    uint8_t *token = smem + StepThreads / 32 * Places * PlaceBytes;
    const int warp = threadIdx.x >> 5, side = gate[1] & 1;
    auto keep = [&](int s) {
        const int i = threadIdx.x - StepThreads / 2;  // warps of the second team
        if (i >= 0 && i < (int)sizeof(Step) / 16 && s < n) cp16(smem32(kept + s % 3) + 16 * i, (const uint8_t *)(steps + s) + 16 * i, true);
        cp_commit();
    };
    keep(0), keep(1);
    if (threadIdx.x == 0)
        for (int i = 0; i < StepThreads / 32 * Places; i++) bar_init(smem32(&full[0][0] + i), 1);
    bar_init_fence();
    for (int i = threadIdx.x; i < n * (int)(sizeof(Maps) / sizeof(TensorMap)); i += StepThreads) fence_map((const TensorMap *)maps + i);
    cp_wait<0>();
    list_entries(entries[threadIdx.x >> 8], begins[threadIdx.x >> 8], steps, n);
    const Entry *list = entries[threadIdx.x >> 8];
    const int *begin = begins[threadIdx.x >> 8];
    Stream stream = {maps, smem + warp * Places * PlaceBytes, full[warp], list, list + begin[n], 0, 0, 0};
    for (int i = 0; i < Places; i++) stream.ask(i);
    uint4 *aside = (uint4 *)(mail + (side ^ 1) * size);
    for (int i = blockIdx.x * StepThreads + threadIdx.x; i < size / 8; i += gridDim.x * StepThreads) aside[i] = make_uint4(Unread, Unread, Unread, Unread);
    mail += side * size;
    uint32_t met = 0;
    for (int s = 0; s < n; s++) {
        const Step &step = kept[s % 3], &next = kept[(s + 1) % 3];
        keep(s + 2);
        const bool waits = step.kind & StepWaits, gates = threadIdx.x == StepThreads - 1;  // of a warp that has least to read
        if (waits) met += gridDim.x;
        if (waits && gates) grid_arrive(gate);
        auto ready = [&] {
            if (waits && gates) grid_wait(gate, met);
            if (waits) __syncthreads();
        };
        if (step.is_product()) {
            ready();
            if (s + 1 < n) fetch(next, attended);
            products(step, list + begin[s], list + begin[s + 1], stream, token, mail);
        } else if (step.attend.padded == 64) attend<64>(step, attended, token, ready);
        else attend<128>(step, attended, token, ready);
        cp_wait<0>();
        __syncthreads();
    }
    if (threadIdx.x == 0 && atomicAdd(gate, 1) == met + gridDim.x - 1) gate[0] = 0, gate[1]++;
}
#endif
