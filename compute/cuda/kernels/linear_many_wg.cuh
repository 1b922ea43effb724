// Products with packed 4-bit weights for up to 64 tokens on Hopper (sm_90a): the same as linear_many.cuh. As in linear_wg.cuh
// the product is made transposed, weights are widened straight into registers, and data comes by the copy engine.
//
// A block has a part of the sum, and up to three times 64 rows at a time, one for each warpgroup that multiplies: all take the same tokens.
// Parts are few and rows many, since sums of parts cost more than reading the tokens again.
#include "hopper.cuh"
#include "linear_many.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// What a launch makes. A unit is 64 rows of a matrix, of Gated 32 of either. Parts of the sum are `parts`, blocks of
// the grid's second extent; those of the first one share the units. Sums of parts are [units, parts, tiles of 8 tokens, 128 threads].
struct ManyArgs {
    TensorMap x;
    Many m;
    float4 *sums;
    uint32_t *counts;
    int T, KB, parts, units;
    uint32_t zero;
};

namespace {
namespace hopper_many {
// Warpgroups that multiply: Abreast have 64 rows each, and two share them: each takes one of a step's pair of blocks of 64 columns.
constexpr int Abreast = 3, Groups = 2 * Abreast, Pair = 2 * BlockBytes;

template <int BT> struct Room {
    static constexpr int Stages = BT == 16 ? 12 : BT == 32 ? 9 : 6, XBytes = 2 * BT * 128;
    static constexpr int OffW = Stages * XBytes, OffSums = OffW + Stages * Abreast * Pair, OffBar = OffSums + Groups * BT * 128, OffLast = OffBar + 16 * Stages;
    uint8_t *at;
    uint32_t s0;
    __device__ __forceinline__ uint32_t full(int stage) const { return s0 + OffBar + 8 * stage; }
    __device__ __forceinline__ uint32_t empty(int stage) const { return full(Stages + stage); }
    __device__ __forceinline__ int &last(int g) const { return ((int *)(at + OffLast))[g]; }
};

// A Share is what a block does: its part of the sum, from pair `from` on, and its units, in as few rounds as can be.
struct Share {
    int part, from, pairs, first, units;
    __device__ __forceinline__ explicit Share(const ManyArgs &p) : part(blockIdx.y) {
        const unsigned all = p.KB / 2, each = all / p.parts, rest = all - each * p.parts;
        from = part * each + min(part, rest), pairs = each + (part < rest);
        const unsigned fair = (unsigned)p.units / gridDim.x, more = p.units - fair * gridDim.x;
        first = blockIdx.x * fair + min(blockIdx.x, more), units = fair + (blockIdx.x < more);
    }
    // abreast is how many units the round takes that begins behind so many.
    __device__ __forceinline__ int abreast(int done) const {
        const unsigned left = units - done, rounds = (left + Abreast - 1) / Abreast;
        return (left + rounds - 1) / rounds;
    }
};

// unit_of finds a unit: the matrix, of Gated that of the lower or the upper half, and the first row.
struct Unit { int which, row; };
template <Behind B> __device__ __forceinline__ Unit unit_of(const ManyArgs &p, int u, int upper) {
    if (B == Gated) return {upper, 32 * u};
    int which = 0;
    for (int n; u >= (n = (p.m.rows[which] + 63) / 64); which++) u -= n;
    return {which, 64 * u};
}

// bring_weights is the work of a warp for the units that warpgroups 2g and 2g + 1 take. A step's pair of blocks is one piece; of Gated a lane each brings
// the numbers or the scales of 32 rows of a matrix in a block. What the first stages hold comes before earlier kernels have ended.
template <int BT, Behind B> __device__ __forceinline__ void bring_weights(const ManyArgs &p, const Room<BT> &room, const Share &share, int g, int lane) {
    constexpr int Pieces = B == Gated ? 8 : 1;
    const int upper = lane >> 2 & 1, block = lane >> 1 & 1, scales = lane & 1, bytes = B == Gated ? scales ? 128 : 1024 : Pair;
    const int begin = B == Gated ? block * BlockBytes + scales * 2048 : 0;  // of the pieces of a block that are alike
    const uint32_t to = room.s0 + room.OffW + g * Pair + begin + (B == Gated ? upper * bytes : 0);
    int stage = 0, phase = 1;
    for (int done = 0, abreast; done < share.units; done += abreast) {
        abreast = share.abreast(done);
        const bool some = g < abreast;
        const Unit u = unit_of<B>(p, share.first + done + (some ? g : 0), upper);
        const uint8_t *w = p.m.w[u.which] + ((int64_t)(u.row / 64) * p.KB + share.from * 2) * BlockBytes + begin + (u.row % 64 ? bytes : 0);
#pragma unroll 1
        for (int k = 0; k < share.pairs; k++, w += Pair) {
            bar_wait(room.empty(stage), phase);
            if (lane == 0) {
                if (some) bar_expect(room.full(stage), Pair); else bar_arrive(room.full(stage));
            }
            if (Pieces > 1) __syncwarp();
            if (some && lane < Pieces) copy_bytes(to + stage * Abreast * Pair, w, bytes, room.full(stage));
            if (++stage == room.Stages) stage = 0, phase ^= 1, wait_for_earlier();
        }
    }
    wait_for_earlier();
}

// bring_tokens is the work of one thread for all of them.
template <int BT> __device__ __forceinline__ void bring_tokens(const ManyArgs &p, const Room<BT> &room, const Share &share) {
    int stage = 0, phase = 1;
    for (int done = 0; done < share.units; done += share.abreast(done))
#pragma unroll 1
        for (int k = 0; k < share.pairs; k++) {
            bar_wait(room.empty(stage), phase);
            bar_expect(room.full(stage), room.XBytes);
#pragma unroll
            for (int h = 0; h < 2; h++) copy_tile(room.s0 + stage * room.XBytes + h * BT * 128, &p.x, ((share.from + k) * 2 + h) * 64, 0, room.full(stage));
            if (++stage == room.Stages) stage = 0, phase ^= 1;
        }
}

// update is what the low-rank update of a matrix gives a thread's results of 8 tokens: rows n and n + 8 of tokens t and t + 1, as accumulators lie.
__device__ __forceinline__ void update_of(float (&update)[4], const ManyArgs &p, int which, int n, int t) {
    const Many &m = p.m;
    const int rank = m.rank[which], N = m.rows[which];
#pragma unroll 4
    for (int l = 0; l < rank; l++) {
        const float *v = m.v[which] + (int64_t)l * N + n, *u = m.u[which] + t * rank + l;
        const float v0 = n < N ? v[0] : 0, v1 = n + 8 < N ? v[8] : 0, u0 = t < p.T ? u[0] : 0, u1 = t + 1 < p.T ? u[rank] : 0;
        update[0] = fmaf(u0, v0, update[0]), update[1] = fmaf(u1, v0, update[1]), update[2] = fmaf(u0, v1, update[2]), update[3] = fmaf(u1, v1, update[3]);
    }
}

// each calls f(tile, number, token, row) for a thread's results of V tiles, every other 8 tokens, from row n and token t on, as far as they are there.
template <int V, class F> __device__ __forceinline__ void each(const ManyArgs &p, int N, int n, int t, F f) {
#pragma unroll
    for (int i = 0; i < V; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int token = t + 16 * i + (e & 1), row = n + 8 * (e >> 1);
            if (token < p.T && row < N) f(i, e, token, row);
        }
}

// put writes such results of a matrix, with the bias, the update, and the sum behind it. sum becomes what y holds.
template <Behind B, class Y, int V> __device__ __forceinline__ void put(const ManyArgs &p, int which, float (&sum)[V][4], const float (&addend)[V][4], int n, int t) {
    const Many &m = p.m;
    const int N = m.rows[which];
    const void *bias = m.bias[which];
    const float b0 = bias && n < N ? at(bias, m.biasType[which], n) : 0, b1 = bias && n + 8 < N ? at(bias, m.biasType[which], n + 8) : 0;
    float update[V][4] = {};
    if (m.rank[which] > 0)
#pragma unroll
        for (int i = 0; i < V; i++) update_of(update[i], p, which, n, t + 16 * i);
    each<V>(p, N, n, t, [&](int i, int e, int token, int row) {
        float f = sum[i][e];
        if (bias) f += e >> 1 ? b1 : b0;
        if (m.rank[which] > 0) f = fmaf(m.scale[which], update[i][e], f);
        Y y;
        round_to(&y, f);
        const int64_t at_y = (int64_t)token * N + row;
        ((Y *)m.y[which])[at_y] = y;
        sum[i][e] = widen(y);
        if (B == Added) round_to(m.behind + at_y, addend[i][e] + sum[i][e]);
    });
}

// finish is what a warpgroup does with its sums of a unit over a part. The two that share a unit each keep the tokens of every other 8;
// the last one to come to a unit adds up the parts in their order. It asks for all that it reads before it adds or writes anything.
template <int BT, Behind B, class Y> __device__ __forceinline__ void finish(const ManyArgs &p, const Room<BT> &room, const float (&d)[BT / 2], int part, int u, int g, int tid) {
    constexpr int V = BT / 16, Together = V < 2 ? V : 2, Deep = 4;
    const int lane = tid & 31, warp = tid >> 5, half = g & 1, t0 = 8 * half + 2 * (lane & 3), tiles = (p.T + 7) / 8;
    const Unit unit = unit_of<B>(p, u, warp >> 1);
    const int which = unit.which, N = p.m.rows[which], n = unit.row + 16 * (B == Gated ? warp & 1 : warp) + (lane >> 2);
    float4 *swap = (float4 *)(room.at + room.OffSums) + tid;
    float own[V][4];
#pragma unroll
    for (int i = 0; i < V; i++) {
        const float *o = d + 8 * i;
        swap[(g * V + i) * 128] = half ? make_float4(o[0], o[1], o[2], o[3]) : make_float4(o[4], o[5], o[6], o[7]);
    }
    group_sync(1 + (g >> 1), 256);
#pragma unroll
    for (int i = 0; i < V; i++) {
        const float4 f = swap[((g ^ 1) * V + i) * 128];
        const float other[4] = {f.x, f.y, f.z, f.w};
#pragma unroll
        for (int e = 0; e < 4; e++) own[i][e] = (half ? d[8 * i + 4 + e] : d[8 * i + e]) + other[e];
    }
    group_sync(1 + (g >> 1), 256);  // the next sums come to the same place
    auto addends = [&](float (&addend)[Together][4], int i) {
        if (B == Added) each<Together>(p, N, n, t0 + 16 * i, [&](int j, int e, int token, int row) { addend[j][e] = widen(p.m.addend[(int64_t)token * N + row]); });
    };
    auto put_all = [&](float (&sum)[Together][4], const float (&addend)[Together][4], int i) {
        put<B, Y>(p, which, sum, addend, n, t0 + 16 * i);
        if (B != Gated) return;
        float4 *up = swap + g * V * 128;  // results of the second matrix go to the threads that have those of the first one
#pragma unroll
        for (int j = 0; j < Together; j++)
            if (warp >= 2) up[j * 128 - 64] = make_float4(sum[j][0], sum[j][1], sum[j][2], sum[j][3]);
        group_sync(1 + Abreast + g, 128);
        if (warp < 2) each<Together>(p, N, n, t0 + 16 * i, [&](int j, int e, int token, int row) {
            const float v = sum[j][e];
            round_to(p.m.behind + (int64_t)token * N + row, ((const float *)(up + j * 128))[e] * (v * sigmoid(v)));
        });
        group_sync(1 + Abreast + g, 128);
    };
    if (p.parts == 1) {
#pragma unroll
        for (int i = 0; i < V; i += Together) {
            float addend[Together][4] = {}, sum[Together][4];
            addends(addend, i);
#pragma unroll
            for (int j = 0; j < 4 * Together; j++) sum[j / 4][j % 4] = own[i + j / 4][j % 4];
            put_all(sum, addend, i);
        }
        return;
    }
    float4 *to = p.sums + (((int64_t)u * p.parts + part) * tiles + half) * 128 + tid;
#pragma unroll
    for (int i = 0; i < V; i++) if (2 * i + half < tiles) to[256 * i] = make_float4(own[i][0], own[i][1], own[i][2], own[i][3]);
    group_sync(1 + Abreast + g, 128);
    uint32_t *count = p.counts + 2 * u + half;
    if (tid == 0) room.last(g) = count_in(count) == p.parts - 1;
    group_sync(1 + Abreast + g, 128);
    if (!room.last(g)) return;
#pragma unroll 1
    for (int i = 0; 2 * i + half < tiles; i += Together) {
        float addend[Together][4] = {}, sum[Together][4] = {};
        addends(addend, i);
#pragma unroll 1
        for (int s = 0; s < p.parts; s += Deep) {  // what lies beyond the last part is read, and left out
            float4 f[Deep][Together];
            const float4 *from = p.sums + (((int64_t)u * p.parts + s) * tiles + 2 * i + half) * 128 + tid;
#pragma unroll
            for (int q = 0; q < Deep; q++)
#pragma unroll
                for (int j = 0; j < Together; j++) f[q][j] = __ldcg(from + q * tiles * 128 + j * 256);
#pragma unroll
            for (int q = 0; q < Deep; q++)
                if (s + q < p.parts)
#pragma unroll
                    for (int j = 0; j < Together; j++) sum[j][0] += f[q][j].x, sum[j][1] += f[q][j].y, sum[j][2] += f[q][j].z, sum[j][3] += f[q][j].w;
        }
        put_all(sum, addend, i);
    }
    if (tid == 0) *count = 0;
}

// multiply is the work of warpgroup g: 64 rows, and every other 64 columns.
template <int BT, Behind B, class Y> __device__ __forceinline__ void multiply(const ManyArgs &p, const Room<BT> &room, const Share &share, int g, int tid) {
    constexpr int Stages = Room<BT>::Stages;
    const int lane = tid & 31, w = tid >> 5, r = lane >> 2, half = g & 1;
    const uint32_t numbers = room.s0 + room.OffW + g * BlockBytes + 8 * unit(w, 0, r, lane & 3), scales = room.s0 + room.OffW + g * BlockBytes + 2048 + 64 * w + 16 * (r >> 1);
    const uint64_t tokens = rows_desc(room.s0 + half * BT * 128);
    float d[BT / 2];
    uint32_t a[4][4];
    int stage = 0, phase = 0;
    auto next = [&] { if (++stage == Stages) stage = 0, phase ^= 1; };
    auto release = [&] {  // the stage before, once products have read it
        wgmma_wait<0>();
        if (lane == 0) bar_arrive(room.empty(stage ? stage - 1 : Stages - 1));
    };
    for (int done = 0, abreast; done < share.units; done += abreast) {
        abreast = share.abreast(done);
        if (g >> 1 >= abreast) {  // without a unit: the others' stages pass by
            for (int k = 0; k < share.pairs; k++, next()) {
                bar_wait(room.full(stage), phase);
                if (lane == 0) bar_arrive(room.empty(stage));
            }
            continue;
        }
#pragma unroll
        for (int i = 0; i < BT / 2; i++) d[i] = 0;
#pragma unroll 1
        for (int k = 0; k < share.pairs; k++, next()) {
            bar_wait(room.full(stage), phase);
            const uint32_t at = stage * Abreast * Pair;
            const uint2 q0 = read_shared2(numbers + at), q1 = read_shared2(numbers + at + 8 * (unit(0, 1, 0, 0) - unit(0, 0, 0, 0)));
            const uint4 v = read_shared4(scales + at);
            if (k) release();
            rows_frag(a, q0, q1, v, r & 1, p.zero);
            const uint64_t b = tokens + stage * (room.XBytes / 16);
            wgmma_fence();
#pragma unroll
            for (int s = 0; s < 4; s++) wgmma_rs(d, a[s], b + 2 * s, 1);
            wgmma_commit();
        }
        release();
        finish<BT, B, Y>(p, room, d, share.part, share.first + done + (g >> 1), g, tid);
    }
}

template <int BT, Behind B, class Y> __device__ __forceinline__ void products(const ManyArgs &p) {
    SHARED_ARRAY(uint8_t, smem, 1024);
    const Room<BT> room{smem, __shfl_sync(~0u, smem32(smem), 0)};  // of lane 0: known to be the same for all lanes
    launch_dependents();
    const Share share(p);
    if (threadIdx.x == 0) {
        for (int s = 0; s < room.Stages; s++) {
            bar_init(room.full(s), Abreast + 1);
            bar_init(room.empty(s), 4 * Groups);  // one arrival a warp that multiplies
        }
        bar_init_fence();
    }
    __syncthreads();
    const int group = __shfl_sync(~0u, threadIdx.x >> 7, 0);
    if (group == Groups) {
        fewer_registers<24>();
        const int warp = __shfl_sync(~0u, threadIdx.x >> 5 & 3, 0);
        const int lane = threadIdx.x & 31;
        if (warp < Abreast) return bring_weights<BT, B>(p, room, share, warp, lane);
        wait_for_earlier();
        if (warp == Abreast && lane == 0) bring_tokens<BT>(p, room, share);
    } else {
        more_registers<80>();
        wait_for_earlier();
        multiply<BT, B, Y>(p, room, share, group, threadIdx.x & 127);
    }
}
}  // namespace hopper_many
}  // namespace

#define K_MANY_WG(BT, name, B, s, Y) \
    extern "C" __global__ void __launch_bounds__(896, 1) name##_##BT##_##s(const __grid_constant__ ManyArgs p) { hopper_many::products<BT, B, Y>(p); }
#define K_MANY_WGS(BT) \
    K_MANY_WG(BT, many_wg, Nothing, b, bf16) K_MANY_WG(BT, many_wg, Nothing, f, float) \
    K_MANY_WG(BT, many_added_wg, Added, b, bf16) K_MANY_WG(BT, many_gated_wg, Gated, b, bf16)
K_MANY_WGS(16) K_MANY_WGS(32) K_MANY_WGS(64)
#endif
