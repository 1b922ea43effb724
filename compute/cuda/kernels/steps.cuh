// Decoding one token in few launches: a grid that stays on the card goes through products, rotations and attention as
// steps, each of which would be a launch. Weights of later steps are copied to shared memory while blocks wait for one another.
#pragma once
#include "attention_one.cuh"
#include "linear_one.cuh"

namespace {
// What a step is. Those of products tell in bits what stands before and behind them.
enum StepKind { StepNormed = 1, StepAdded = 2, StepGated = 4, StepTurn = 8, StepAttend = 16 };

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
    __device__ __forceinline__ bool is_product() const { return kind < StepTurn; }
    __device__ __forceinline__ int mats() const { return kind & StepGated ? 2 : 1; }
};

constexpr int MostSteps = 24, StepDepth = 2, StepThreads = 512, MostFetched = 256;
constexpr int StepRing = StepThreads / 32 * Ring<StepDepth>::Bytes;

// Ahead is a cursor over the weights of all steps.
struct Ahead {
    Cursor at;
    const Step *steps;
    int step, count;
    // units of 8 warps share the items of a step.
    static __device__ __forceinline__ int unit_number() { return blockIdx.x + gridDim.x * (threadIdx.x >> 8); }
    static __device__ __forceinline__ int units() { return gridDim.x * (StepThreads / 256); }
    // begin goes to the first item of the unit from step `step` on.
    __device__ __forceinline__ void begin() {
        for (; step < count; step++) {
            at.mat = 0, at.item = unit_number();
            if (steps[step].is_product() && at.item < steps[step].product.items) break;
        }
        start();
    }
    __device__ __forceinline__ void start() {
        if (step >= count) {
            at.left = 0;
            return;
        }
        const auto &p = steps[step].product;
        at.start(p.m, steps[step].mats(), p.KB, (p.K + 63) / 64, p.items);
    }
    __device__ __forceinline__ void next() {
        if (step >= count || at.same(rounds_of(steps[step].product.K))) return;
        if (at.next(steps[step].mats(), units(), steps[step].product.items)) return start();
        step++;
        begin();
    }
};

// products makes the products of a step: each team of 8 warps takes items.
__device__ __forceinline__ void products(const Step &step, Ring<StepDepth> &ring, Ahead &ahead, uint32_t *xs) {
    __shared__ float part[StepThreads / 256][2][2][8][16], line[StepThreads / 256][8];
    const auto &p = step.product;
    const int warp = threadIdx.x >> 5 & 7, team = threadIdx.x >> 8, rounds = rounds_of(p.K), mats = step.mats();
    const int tail = step.kind & StepAdded ? Added : step.kind & StepGated ? Gated : Nothing;
    float *sums = (float *)(xs + rounds * 8 * Round * 32);
    if (step.kind & StepNormed) keep_token<true, StepThreads / 256>(xs, sums, line[team], p.x, p.K, rounds * 8 * Round, p.o);
    else keep_token<false, StepThreads / 256>(xs, sums, line[team], p.x, p.K, rounds * 8 * Round, p.o);
    __syncthreads();
    const float offset = low(p.zero);  // -128-z
    Columns columns;
    for (int item = Ahead::unit_number(), side = 0; item < p.items; item += Ahead::units(), side ^= 1) {
        const float addend = tail == Added ? addend_of(p.m, p.o, item, threadIdx.x & 255) : 0;
        for (int mat = 0; mat < mats; mat++) {
            float y = 0;
            for (int round = 0; round < rounds; round++) {
                ahead.next();
                columns = {(const uint4 *)xs + (round * 64 + warp) * 8 + 2 * (threadIdx.x & 3), sums + round * 64 + warp};
                y = multiply(y, ring, ahead.at, columns, offset);
            }
            int which, rows16;
            Cursor::place(p.m, mats, item, mat, which, rows16);
            add_update(part[team][side][mat][warp], p.m, which, rows16, y);
        }
        group_sync(1 + team, 256);
        if ((threadIdx.x & 255) < 16) finish<bf16>(part[team][side], p.m, p.o, mats, tail, item, threadIdx.x & 255, addend);
    }
}

// attend makes the parts of a query's attention: each team of 256 threads takes some, of up to two heads.
template <int DP> __device__ __forceinline__ void attend(const Step &step, float *held) {
    const auto &a = step.attend;
    const int group = a.o.heads / a.o.kv, pieces = a.o.kv * ((group + 1) / 2), team = threadIdx.x >> 8;
    held += team * 256 * 8 * 2;
    for (int part = Ahead::unit_number(); part < a.cuts * pieces; part += Ahead::units()) {
        if (part != Ahead::unit_number()) group_sync(1 + team, 256);
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
    if (step.kind == StepAttend) return fetch_attend(step);
    if (!step.is_product() || !(step.kind & StepNormed) || blockIdx.x != gridDim.x - 1) return;
    const auto &p = step.product;
    for (int i = 128 * threadIdx.x; i < p.K * (p.o.type == F32 ? 4 : 2); i += 128 * StepThreads) prefetch((const uint8_t *)p.o.w + i);
}
}  // namespace

// token_steps goes through n steps. Its blocks are all on the card at a time; gate counts them, from zero and back to it.
extern "C" __global__ void __launch_bounds__(StepThreads, 1) token_steps(const Step *steps, int n, uint32_t *gate) {
    SHARED_ARRAY(uint8_t, smem, 128);
    Step *own = (Step *)(smem + StepRing);
    uint32_t *xs = (uint32_t *)(smem + StepRing + MostSteps * sizeof(Step));
    for (int i = threadIdx.x; i < n * (int)sizeof(Step) / 8; i += StepThreads) ((uint64_t *)own)[i] = ((const uint64_t *)steps)[i];
    __syncthreads();
    Ring<StepDepth> ring = {smem + (threadIdx.x >> 5) * Ring<StepDepth>::Bytes, 0, 0};
    Ahead ahead = {{nullptr, nullptr, 0, 0, 0, 0}, own, 0, n};
    ahead.begin();
    {
        Ring<StepDepth> fill = ring;
#pragma unroll
        for (int d = 0; d < StepDepth; d++) {
            if (d) ahead.next();
            ahead.at.copy_scales(fill.scales());
#pragma unroll
            for (int i = 0; i < Round; i++) ahead.at.copy(fill.numbers(), i);
            fill.next();
        }
    }
    for (int s = 0; s < n; s++) {
        if (s > 0) {
            if (threadIdx.x == 0) grid_wait(gate, s * gridDim.x);
            __syncthreads();
        }
        if (s + 1 < n) fetch(own[s + 1]);
        const Step &step = own[s];
        if (step.is_product()) products(step, ring, ahead, xs);
        else if (step.kind == StepTurn) {
            const auto &t = step.turn;
            for (int k = blockIdx.x; k < step.blocks; k += gridDim.x)
                turn_store<bf16>(t.bad, t.q, t.k, t.v, t.cos, t.sin, t.group, t.head, t.spans, 1, t.keys, t.values, 0, k, step.blocks);
        } else if (step.attend.padded == 64) attend<64>(step, (float *)xs);
        else attend<128>(step, (float *)xs);
        __syncthreads();
        if (threadIdx.x == 0 && s + 1 < n) grid_arrive(gate);
    }
    if (threadIdx.x == 0 && atomicAdd(gate, 1) == n * gridDim.x - 1) *gate = 0;
}
