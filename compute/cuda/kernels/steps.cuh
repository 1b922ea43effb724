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
enum StepKind { StepNormed = 1, StepAdded = 2, StepGated = 4, StepTurn = 8, StepAttend = 16, StepWaits = 32 };

struct OneCache {
    void *at[1];
    int room[1];
};
// A Step is what a launch of the kernel that it stands for takes: one_*, turn_store_b or single_*. The same in Go (steps.go).
struct Step {
    int kind, blocks;  // blocks of such a launch, in its second dimension
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
            bf16 *q, *k;
            const bf16 *v;
            const float *cos, *sin;
            const int *spans;
            OneCache keys, values;
            int group, head;
        } turn;
        struct {
            uint32_t *bad;
            bf16 *y;
            float *parts;
            uint32_t *counts;
            const bf16 *q;
            const int *span;
            const bf16 *k, *v;
            Heads o;
            int room, cuts, padded, unused;  // a head is padded to 64 or 128 values
        } attend;
    };
    __device__ __forceinline__ bool is_product() const { return !(kind & (StepTurn | StepAttend)); }
    __device__ __forceinline__ int mats() const { return kind & StepGated ? 2 : 1; }
};

constexpr int MostSteps = 24, StepThreads = 512, MostFetched = 256;
constexpr int Places = 4, PlaceBlocks = Round / 2, PlaceBytes = (Numbers + Scales) / 2;  // halves of rounds that a warp has on their way

// Maps tell how numbers and scales of a step's matrices lie, as rows of one block of 64 by 64 each.
struct Maps { TensorMap numbers[4], scales[4]; };

// An Entry is a round of 8 warps by 8 blocks of an item: what a unit of 8 warps multiplies, in the order in which it does. There are
// at most MostEntries for all steps of a launch (steps.go).
struct Entry {
    uint32_t place;  // 4 * the first block's number in its matrix, + which 16 rows
    uint32_t what;   // blocks from there to the matrix's end << 16 | round << 9 | which matrix << 7 | step << 2 | LastRound, LastMatrix
    __device__ __forceinline__ int left() const { return what >> 16; }
    __device__ __forceinline__ int round() const { return what >> 9 & 127; }
    __device__ __forceinline__ int which() const { return what >> 7 & 3; }
    __device__ __forceinline__ int step() const { return what >> 2 & 31; }
};
constexpr int LastRound = 1, LastMatrix = 2, MostEntries = 256;

// unit_number is which of the units of 8 warps that share the items of a step the thread is of.
__device__ __forceinline__ int unit_number() { return blockIdx.x + gridDim.x * (threadIdx.x >> 8); }
__device__ __forceinline__ int units() { return gridDim.x * (StepThreads / 256); }

// list_entries writes the entries of the unit's items, a lane those of a step; begins is where those of each step begin.
__device__ __forceinline__ void list_entries(Entry *entries, int *begins, const Step *steps, int n) {
    const int lane = threadIdx.x & 31, unit = unit_number();
    const Step &s = steps[min(lane, n - 1)];
    const auto &p = s.product;
    const bool own = lane < n && s.is_product();
    const int mats = s.mats(), rounds = own ? rounds_of(p.K) : 0, items = own && unit < p.items ? (p.items - unit + units() - 1) / units() : 0;
    int at = items * mats * rounds;
#pragma unroll
    for (int m = 1; m < 32; m *= 2) {
        const int before = __shfl_up_sync(~0u, at, m);
        if (lane >= m) at += before;
    }
    if (lane < n) begins[lane + 1] = at;
    if (lane == 0) begins[0] = 0;
    Entry *e = entries + at - items * mats * rounds;
    for (int i = 0; i < items; i++)
        for (int mat = 0; mat < mats; mat++) {
            int which, rows16;
            Cursor::place(p.m, mats, unit + i * units(), mat, which, rows16);
            for (int r = 0; r < rounds; r++, e++) {
                e->place = ((rows16 >> 2) * p.KB + 64 * r) * 4 + (rows16 & 3);
                e->what = ((p.K + 63) / 64 - 64 * r) << 16 | r << 9 | which << 7 | lane << 2 | (mat + 1 == mats ? LastMatrix : 0) | (r + 1 == rounds ? LastRound : 0);
            }
        }
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
// addend_in_step reads what is added to a row of an item. What came by mail the block has seen before.
__device__ __forceinline__ float addend_in_step(const Step &step, int item, int row, const bf16 *mail) {
    const auto &p = step.product;
    if (p.addend < 0) return addend_of(p.m, p.o, item, row);
    return row < 16 ? low(*(const volatile unsigned short *)(mail + p.addend + 16 * item + row)) : 0;
}

// products makes the products of a step: each team of 8 warps takes items.
__device__ __forceinline__ void products(const Step &step, const Entry *now, const Entry *end, Stream &stream, uint8_t *token, bf16 *mail) {
    __shared__ float part[StepThreads / 256][2][2][8][16], line[StepThreads / 256][8];
    const auto &p = step.product;
    const int warp = threadIdx.x >> 5 & 7, team = threadIdx.x >> 8, padded = padded_of(p.K), mats = step.mats();
    const int tail = step.kind & StepAdded ? Added : step.kind & StepGated ? Gated : Nothing;
    const bool mailed = p.token >= 0;
    const bf16 *x = mailed ? mail + p.token : p.x;
    if (step.kind & StepNormed) keep_token<true, StepThreads / 256>(token, line[team], x, mailed, p.K, padded, p.o);
    else keep_token<false, StepThreads / 256>(token, line[team], x, mailed, p.K, padded, p.o);
    __syncthreads();
    int item = unit_number(), side = 0, mat = 0;
    float addend = 0, y = 0;
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
            const float made = row < 16 ? finish<bf16>(part[team][side], p.m, p.o, mats, tail, item, row, addend) : 0;
            if (p.out >= 0) mail_row(mail + p.out + 16 * item, row, made);
        }
        item += units(), side ^= 1, mat = 0;
    }
}

// attend makes the parts of a query's attention: each team of 256 threads takes some, of up to two heads.
template <int DP> __device__ __forceinline__ void attend(const Step &step, float *held) {
    const auto &a = step.attend;
    const int group = a.o.heads / a.o.kv, pieces = a.o.kv * ((group + 1) / 2), team = threadIdx.x >> 8;
    held += team * 256 * 8 * 2;
    for (int part = unit_number(); part < a.cuts * pieces; part += units()) {
        if (part != unit_number()) group_sync(1 + team, 256);
        single<DP, 2, StepThreads / 256>(a.bad, a.y, a.parts, a.counts, a.q, a.span, a.k, a.v, a.room, a.o, part % a.cuts, a.cuts, part / a.cuts, held);
    }
}
// fetch_attend asks for the keys and values that the block reads in attend.
__device__ __forceinline__ void fetch_attend(const Step &step) {
    const auto &a = step.attend;
    const int parts = a.cuts * a.o.kv, lines = (a.o.dim * 2 + 127) / 128;
    Heads o = a.o;
    o.offset = min(a.span[3], a.room) - 1;
    for (int part = blockIdx.x; part < parts; part += gridDim.x) {
        int lo, hi;
        keys_of(o, part % a.cuts, a.cuts, lo, hi);
        hi = min(hi, lo + MostFetched);
        for (int i = threadIdx.x; i < (hi - lo) * 2 * lines; i += StepThreads) {
            const int at = i % lines * 64, key = lo + i / lines / 2;
            prefetch((i / lines & 1 ? a.v : a.k) + ((int64_t)key * a.o.kv + part / a.cuts) * a.o.dim + at);
        }
    }
}

// fetch asks for what a step reads of memory that no step writes: the norm's weights, keys and values.
__device__ __forceinline__ void fetch(const Step &step) {
    if (step.kind & StepAttend) return fetch_attend(step);
    if (!step.is_product() || !(step.kind & StepNormed) || blockIdx.x != gridDim.x - 1) return;
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
    __shared__ __align__(8) Entry entries[StepThreads / 256][MostEntries];
    __shared__ int begins[StepThreads / 256][MostSteps + 1];
    constexpr int AllPlaces = StepThreads / 32 * Places * PlaceBytes;
    Step *own = (Step *)(smem + AllPlaces);
    uint8_t *token = smem + AllPlaces + MostSteps * sizeof(Step);
    const int warp = threadIdx.x >> 5, side = gate[1] & 1;
    for (int i = threadIdx.x; i < n * (int)sizeof(Step) / 8; i += StepThreads) ((uint64_t *)own)[i] = ((const uint64_t *)steps)[i];
    if (threadIdx.x == 0)
        for (int i = 0; i < StepThreads / 32 * Places; i++) bar_init(smem32(&full[0][0] + i), 1);
    bar_init_fence();
    for (int i = threadIdx.x; i < n * (int)(sizeof(Maps) / sizeof(TensorMap)); i += StepThreads) fence_map((const TensorMap *)maps + i);
    __syncthreads();
    if (warp % 8 == 0) list_entries(entries[threadIdx.x >> 8], begins[threadIdx.x >> 8], own, n);
    __syncthreads();
    const Entry *list = entries[threadIdx.x >> 8];
    const int *begin = begins[threadIdx.x >> 8];
    Stream stream = {maps, smem + warp * Places * PlaceBytes, full[warp], list, list + begin[n], 0, 0, 0};
    for (int i = 0; i < Places; i++) stream.ask(i);
    uint4 *aside = (uint4 *)(mail + (side ^ 1) * size);
    for (int i = blockIdx.x * StepThreads + threadIdx.x; i < size / 8; i += gridDim.x * StepThreads) aside[i] = make_uint4(Unread, Unread, Unread, Unread);
    mail += side * size;
    uint32_t met = 0;
    for (int s = 0; s < n; s++) {
        const Step &step = own[s];
        if (step.kind & StepWaits) {
            if (threadIdx.x == 0) grid_arrive(gate), grid_wait(gate, met += gridDim.x);
            __syncthreads();
        }
        if (s + 1 < n) fetch(own[s + 1]);
        if (step.is_product()) products(step, list + begin[s], list + begin[s + 1], stream, token, mail);
        else if (step.kind & StepTurn) {
            const auto &t = step.turn;
            for (int k = blockIdx.x; k < step.blocks; k += gridDim.x)
                turn_store<bf16>(t.bad, t.q, t.k, t.v, t.cos, t.sin, t.group, t.head, t.spans, 1, t.keys, t.values, 0, k, step.blocks);
        } else if (step.attend.padded == 64) attend<64>(step, (float *)token);
        else attend<128>(step, (float *)token);
        __syncthreads();
    }
    if (threadIdx.x == 0 && atomicAdd(gate, 1) == met + gridDim.x - 1) gate[0] = 0, gate[1]++;
}
#endif
