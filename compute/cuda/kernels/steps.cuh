// Decoding one token in few launches: a grid that stays on the card goes through products, rotations and attention as
// steps, where each would be a launch. Weights of the next steps are copied to shared memory while blocks wait for one another.
#pragma once
#include "attention_one.cuh"
#include "hopper.cuh"
#include "linear_one.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

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

constexpr int MostSteps = 24, StepThreads = 512, MostFetched = 256;
constexpr int StepRounds = 2, RoundBytes = Numbers + Scales;  // rounds of weights that a warp has on their way

// Maps tell how numbers and scales of a step's matrices lie, as rows of one block of 64 by 64 each.
struct Maps { TensorMap numbers[4], scales[4]; };

// A Stream brings the weights of all steps that a warp multiplies to its places in shared memory, one round after another: the
// copy engine has more on its way than loads of the warp could, and does not hold them up.
struct Stream {
    const Step *steps;
    const Maps *maps;
    uint8_t *places;
    uint64_t *full;  // barriers
    int count, step, item, mat, round;  // the round that is asked for next is behind this one
    int place, parity;                  // of the round that is multiplied next
    // unit_number is which of the units of 8 warps that share the items of a step the thread is of.
    static __device__ __forceinline__ int unit_number() { return blockIdx.x + gridDim.x * (threadIdx.x >> 8); }
    static __device__ __forceinline__ int units() { return gridDim.x * (StepThreads / 256); }
    static __device__ __forceinline__ int first_block(int round) { return (8 * round + (threadIdx.x >> 5 & 7)) * Round; }

    // advance goes to the next round in which the warp has blocks.
    __device__ __forceinline__ bool advance() {
        for (round++; step < count;) {
            const Step &s = steps[step];
            if (!s.is_product() || item >= s.product.items) {
                step++, item = unit_number(), mat = 0, round = 0;
                continue;
            }
            if (first_block(round) * 64 < s.product.K) return true;
            round = 0;
            if (++mat == s.mats()) mat = 0, item += units();
        }
        return false;
    }
    // ask lets the next round come to a place that all lanes have read.
    __device__ __forceinline__ void ask(int to) {
        if (!advance() || (threadIdx.x & 31)) return;
        const auto &p = steps[step].product;
        int which, rows16;
        Cursor::place(p.m, steps[step].mats(), item, mat, which, rows16);
        const uint32_t bar = smem32(full + to), at = smem32(places + to * RoundBytes);
        const int row = (rows16 >> 2) * p.KB + first_block(round), quarter = rows16 & 3;
        bar_expect(bar, RoundBytes);
        copy_tile(at, &maps[step].numbers[which], 256 * quarter, row, bar);
        copy_tile(at + Numbers, &maps[step].scales[which], 1024 + 32 * quarter, row, bar);
    }
    // multiply adds what the warp has of 16 rows in a round to y. Of blocks beyond the matrix, of which left are not, others lie there.
    __device__ __forceinline__ float multiply(float y, const Columns &columns, int left, float offset) {
        bar_wait(smem32(full + place), parity);
        const int lane = threadIdx.x & 31, own = 8 * unit(0, lane >> 1 & 1, lane >> 2, 2 * (lane & 1));
        const uint8_t *numbers = places + place * RoundBytes;
#pragma unroll
        for (int i = 0; i < Round; i++) {
            const uint32_t v = own_scales(numbers + Numbers, i);
            y = multiply_block(y, *(const uint4 *)(numbers + 512 * i + own), i < left ? v : 0, columns, i, offset);
        }
        __syncwarp();
        ask(place);
        if (++place == StepRounds) place = 0, parity ^= 1;
        return y;
    }
};

// products makes the products of a step: each team of 8 warps takes items.
__device__ __forceinline__ void products(const Step &step, Stream &stream, uint32_t *xs) {
    __shared__ float part[StepThreads / 256][2][2][8][16], line[StepThreads / 256][8];
    const auto &p = step.product;
    const int warp = threadIdx.x >> 5 & 7, team = threadIdx.x >> 8, blocks = (p.K + 63) / 64, rounds = rounds_of(p.K), mats = step.mats();
    const int tail = step.kind & StepAdded ? Added : step.kind & StepGated ? Gated : Nothing;
    float *sums = (float *)(xs + rounds * 8 * Round * 32);
    if (step.kind & StepNormed) keep_token<true, StepThreads / 256>(xs, sums, line[team], p.x, p.K, rounds * 8 * Round, p.o);
    else keep_token<false, StepThreads / 256>(xs, sums, line[team], p.x, p.K, rounds * 8 * Round, p.o);
    __syncthreads();
    for (int item = Stream::unit_number(), side = 0; item < p.items; item += Stream::units(), side ^= 1) {
        const float addend = tail == Added ? addend_of(p.m, p.o, item, threadIdx.x & 255) : 0;
        for (int mat = 0; mat < mats; mat++) {
            float y = 0;
            for (int round = 0; round < rounds; round++) {
                const int left = blocks - Stream::first_block(round);
                if (left > 0) y = stream.multiply(y, Columns(xs, sums, round), left, low(p.zero));
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
    for (int part = Stream::unit_number(); part < a.cuts * pieces; part += Stream::units()) {
        if (part != Stream::unit_number()) group_sync(1 + team, 256);
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
extern "C" __global__ void __launch_bounds__(StepThreads, 1) token_steps(const Step *steps, const Maps *maps, int n, uint32_t *gate) {
    SHARED_ARRAY(uint8_t, smem, 128);
    __shared__ __align__(8) uint64_t full[StepThreads / 32][StepRounds];
    constexpr int Places = StepThreads / 32 * StepRounds * RoundBytes;
    Step *own = (Step *)(smem + Places);
    uint32_t *xs = (uint32_t *)(smem + Places + MostSteps * sizeof(Step));
    const int warp = threadIdx.x >> 5;
    for (int i = threadIdx.x; i < n * (int)sizeof(Step) / 8; i += StepThreads) ((uint64_t *)own)[i] = ((const uint64_t *)steps)[i];
    if (threadIdx.x == 0)
        for (int i = 0; i < StepThreads / 32 * StepRounds; i++) bar_init(smem32(&full[0][0] + i), 1);
    bar_init_fence();
    for (int i = threadIdx.x; i < n * (int)(sizeof(Maps) / sizeof(TensorMap)); i += StepThreads) fence_map((const TensorMap *)maps + i);
    __syncthreads();
    Stream stream = {own, maps, smem + warp * StepRounds * RoundBytes, full[warp], n, 0, Stream::unit_number(), 0, -1, 0, 0};
    for (int i = 0; i < StepRounds; i++) stream.ask(i);
    for (int s = 0; s < n; s++) {
        if (s > 0) {
            if (threadIdx.x == 0) grid_wait(gate, s * gridDim.x);
            __syncthreads();
        }
        if (s + 1 < n) fetch(own[s + 1]);
        const Step &step = own[s];
        if (step.is_product()) products(step, stream, xs);
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
#endif
