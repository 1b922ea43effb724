// Products with packed 4-bit weights for up to 64 tokens on Hopper (sm_90a): the same as linear_many.cuh. As in linear_wg.cuh
// the product is made transposed, weights are widened straight into registers, and data comes by the copy engine.
#include "hopper.cuh"
#include "linear_many.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// What a launch makes. An item is 64*RG rows of a matrix over one part of the sum; blocks take them in turns.
struct ManyArgs {
    TensorMap x;
    Many m;
    float *parts;
    uint32_t *counts;
    int T, KB, items;
    uint32_t zero;
};

namespace {
namespace hopper_many {
// Warpgroups that multiply are RG*KG: each has 64 rows, and of a step's 64*KG columns 64.
constexpr int Groups = 4, KG = 2, RG = Groups / KG;

// An item's place: its matrix, its rows by number, its part, and its steps of 64*KG columns.
struct Item { int which, group, part, split, from, to; };

template <int BT> struct Room {
    static constexpr int Stages = BT < 64 ? 10 : 7, WBytes = Groups * BlockBytes, XBytes = KG * BT * 128;
    static constexpr int OffW = Stages * XBytes, OffSums = OffW + Stages * WBytes, OffBar = OffSums + Groups * BT * 128, OffLast = OffBar + 16 * Stages;
    uint8_t *at;
    uint32_t s0;
    __device__ __forceinline__ uint32_t full(int stage) const { return s0 + OffBar + 8 * stage; }
    __device__ __forceinline__ uint32_t empty(int stage) const { return full(Stages + stage); }
    __device__ __forceinline__ int &last(int g) const { return ((int *)(at + OffLast))[g]; }
};

__device__ __forceinline__ Item item_of(const ManyArgs &p, int i) {
    constexpr int Rows = 64 * RG;
    int which = 0;
    for (int n; i >= (n = (p.m.rows[which] + Rows - 1) / Rows * p.m.split[which]); which++) i -= n;
    const int split = p.m.split[which], part = i % split, steps = p.KB / KG;
    return {which, i / split, part, split, steps * part / split, steps * (part + 1) / split};
}

// bring is one thread's work: weights of the first stages come before earlier kernels have ended.
template <int BT> __device__ __forceinline__ void bring(const ManyArgs &p, const Room<BT> &room) {
    constexpr int Stages = Room<BT>::Stages;
    auto weights = [&](const Item &t, int k, int stage) {
        const int last = (p.m.rows[t.which] + 127) / 128 * 2 - 1;  // the last 64 rows that are there
        bar_expect(room.full(stage), room.WBytes + room.XBytes);
#pragma unroll
        for (int r = 0; r < RG; r++)
            copy_bytes(room.s0 + room.OffW + stage * room.WBytes + r * KG * BlockBytes,
                       p.m.w[t.which] + ((int64_t)min(t.group * RG + r, last) * p.KB + k * KG) * BlockBytes, KG * BlockBytes, room.full(stage));
    };
    auto tokens = [&](int k, int stage) {
#pragma unroll
        for (int h = 0; h < KG; h++) copy_tile(room.s0 + stage * room.XBytes + h * BT * 128, &p.x, (k * KG + h) * 64, 0, room.full(stage));
    };
    Item t = item_of(p, blockIdx.x);
    const int ahead = min(Stages, t.to - t.from);
    for (int i = 0; i < ahead; i++) weights(t, t.from + i, i);
    wait_for_earlier();
    for (int i = 0; i < ahead; i++) tokens(t.from + i, i);
    int stage = ahead % Stages, phase = ahead / Stages, k = t.from + ahead;
    for (int i = blockIdx.x;;) {
        for (; k < t.to; k++) {
            bar_wait(room.empty(stage), phase ^ 1);
            weights(t, k, stage), tokens(k, stage);
            if (++stage == Stages) stage = 0, phase ^= 1;
        }
        if ((i += gridDim.x) >= p.items) return;
        t = item_of(p, i), k = t.from;
    }
}

// put writes a thread's results of 8 tokens: rows n and n + 8 of tokens t and t + 1, as accumulators lie. sum becomes what y holds.
template <Behind B, class Y> __device__ __forceinline__ void put(const ManyArgs &p, int which, float (&sum)[4], int n, int t) {
    const Many &m = p.m;
    const int rank = m.rank[which], N = m.rows[which];
    float update[4] = {};
#pragma unroll 4
    for (int l = 0; l < rank; l++) {
        const float *v = m.v[which] + (int64_t)l * N + n, *u = m.u[which] + t * rank + l;
        const float v0 = n < N ? v[0] : 0, v1 = n + 8 < N ? v[8] : 0, u0 = t < p.T ? u[0] : 0, u1 = t + 1 < p.T ? u[rank] : 0;
        update[0] = fmaf(u0, v0, update[0]), update[1] = fmaf(u1, v0, update[1]), update[2] = fmaf(u0, v1, update[2]), update[3] = fmaf(u1, v1, update[3]);
    }
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const int token = t + (e & 1), row = n + 8 * (e >> 1);
        if (token < p.T && row < N) sum[e] = put_one<B, Y>(m, which, token, row, sum[e], update[e]);
    }
}

// multiply is the work of warpgroup g: 64 rows, and every other 64 columns. The two that share rows each keep
// the tokens of every other 8 at the end. Parts of a sum lie as accumulators do: for 64 rows and 8 tokens four numbers a thread.
template <int BT, Behind B, class Y> __device__ __forceinline__ void multiply(const ManyArgs &p, const Room<BT> &room, int g, int tid) {
    constexpr int Stages = Room<BT>::Stages, V = BT / 8 / KG, Together = V < 2 ? V : 2;
    const int lane = tid & 31, w = tid >> 5, r = lane >> 2, half = g % KG, row = g / KG, tiles = (p.T + 7) / 8;
    const uint32_t numbers = room.s0 + room.OffW + g * BlockBytes + 8 * unit(w, 0, r, lane & 3), scales = room.s0 + room.OffW + g * BlockBytes + 2048 + 64 * w + 16 * (r >> 1);
    const uint64_t tokens = rows_desc(room.s0 + half * BT * 128);
    float d[BT / 2];
    uint32_t a[4][4];
    int stage = 0, phase = 0;
    for (int item = blockIdx.x; item < p.items; item += gridDim.x) {
        const Item t = item_of(p, item);
#pragma unroll
        for (int i = 0; i < BT / 2; i++) d[i] = 0;
        int prev = -1;
#pragma unroll 1
        for (int k = t.from; k < t.to; k++) {
            bar_wait(room.full(stage), phase);
            const uint2 q0 = read_shared2(numbers + stage * room.WBytes), q1 = read_shared2(numbers + stage * room.WBytes + 8 * (unit(0, 1, 0, 0) - unit(0, 0, 0, 0)));
            const uint4 v = read_shared4(scales + stage * room.WBytes);
            if (prev >= 0) {
                wgmma_wait<0>();
                if (lane == 0) bar_arrive(room.empty(prev));
            }
            rows_frag(a, q0, q1, v, r & 1, p.zero);
            const uint64_t b = tokens + stage * (room.XBytes / 16);
            wgmma_fence();
#pragma unroll
            for (int s = 0; s < 4; s++) wgmma_rs(d, a[s], b + 2 * s, 1);
            wgmma_commit();
            prev = stage;
            if (++stage == Stages) stage = 0, phase ^= 1;
        }
        wgmma_wait<0>();
        if (lane == 0) bar_arrive(room.empty(prev));
        float sum[V][4];
        float4 *sums = (float4 *)(room.at + room.OffSums);
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float *o = d + 8 * i;
            sums[(g * V + i) * 128 + tid] = half ? make_float4(o[0], o[1], o[2], o[3]) : make_float4(o[4], o[5], o[6], o[7]);
        }
        group_sync(1 + row, 256);
#pragma unroll
        for (int i = 0; i < V; i++) {
            const float4 f = sums[((g ^ 1) * V + i) * 128 + tid];
            const float other[4] = {f.x, f.y, f.z, f.w};
#pragma unroll
            for (int e = 0; e < 4; e++) sum[i][e] = (half ? d[8 * i + 4 + e] : d[8 * i + e]) + other[e];
        }
        group_sync(1 + row, 256);  // the next item's sums come to the same place
        const int rows64 = t.group * RG + row, n = rows64 * 64 + 16 * w + r, t0 = 8 * half + 2 * (lane & 3), first = item - t.part;
        auto part = [&](int it, int i) { return (float4 *)p.parts + (((int64_t)it * RG + row) * tiles + KG * i + half) * 128 + tid; };
        if (B != Gated && t.split == 1) {
#pragma unroll
            for (int i = 0; i < V; i++) put<B, Y>(p, t.which, sum[i], n, t0 + 8 * KG * i);
            continue;
        }
#pragma unroll
        for (int i = 0; i < V; i++) if (KG * i + half < tiles) *part(item, i) = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
        __threadfence();
        group_sync(8 + g, 128);
        const int gate = t.group * t.split;  // the first item of these rows of the first matrix
        uint32_t *count = p.counts + (B == Gated ? gate : first) * Groups + g;
        if (tid == 0) room.last(g) = atomicAdd(count, 1) == (B == Gated ? 2 * t.split : t.split) - 1;
        group_sync(8 + g, 128);
        if (!room.last(g)) continue;
        __threadfence();
        auto join = [&](float (&to)[Together][4], int from, int i) {
#pragma unroll
            for (int j = 0; j < Together; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) to[j][e] = 0;
#pragma unroll 4
            for (int s = 0; s < t.split; s++)
#pragma unroll
                for (int j = 0; j < Together; j++)
                    if (KG * (i + j) + half < tiles) {
                        const float4 f = __ldcg(part(from + s, i + j));
                        to[j][0] += f.x, to[j][1] += f.y, to[j][2] += f.z, to[j][3] += f.w;
                    }
        };
#pragma unroll 1
        for (int i = 0; i < V; i += Together) {
            float joined[Together][4], up[Together][4];
            join(joined, B == Gated ? gate : first, i);
            if (B == Gated) join(up, gate + p.items / 2, i);
#pragma unroll
            for (int j = 0; j < Together; j++) {
                const int token = t0 + 8 * KG * (i + j);
                put<B, Y>(p, B == Gated ? 0 : t.which, joined[j], n, token);
                if (B != Gated) continue;
                put<B, Y>(p, 1, up[j], n, token);
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const float v = joined[j][e];
                    const int at_t = token + (e & 1), at_n = n + 8 * (e >> 1);
                    if (at_t < p.T && at_n < p.m.rows[0]) round_to(p.m.behind + (int64_t)at_t * p.m.rows[0] + at_n, up[j][e] * (v * sigmoid(v)));
                }
            }
        }
        if (tid == 0) *count = 0;
    }
}

template <int BT, Behind B, class Y> __device__ __forceinline__ void products(const ManyArgs &p) {
    SHARED_ARRAY(uint8_t, smem, 1024);
    const Room<BT> room{smem, __shfl_sync(~0u, smem32(smem), 0)};  // of lane 0: known to be the same for all lanes
    launch_dependents();
    if (threadIdx.x == 0) {
        for (int s = 0; s < room.Stages; s++) {
            bar_init(room.full(s), 1);
            bar_init(room.empty(s), 4 * Groups);  // one arrival a multiplying warp
        }
        bar_init_fence();
    }
    __syncthreads();
    const int group = __shfl_sync(~0u, threadIdx.x >> 7, 0);
    if (group == Groups) {
        fewer_registers<32>();
        if (threadIdx.x == 128 * Groups) bring(p, room); else wait_for_earlier();
    } else {
        more_registers<112>();
        wait_for_earlier();
        multiply<BT, B, Y>(p, room, group, threadIdx.x & 127);
    }
}
}  // namespace hopper_many
}  // namespace

#define K_MANY_WG(BT, name, B, s, Y) \
    extern "C" __global__ void __launch_bounds__(640, 1) name##_##BT##_##s(const __grid_constant__ ManyArgs p) { hopper_many::products<BT, B, Y>(p); }
#define K_MANY_WGS(BT) \
    K_MANY_WG(BT, many_wg, Nothing, b, bf16) K_MANY_WG(BT, many_wg, Nothing, f, float) \
    K_MANY_WG(BT, many_added_wg, Added, b, bf16) K_MANY_WG(BT, many_gated_wg, Gated, b, bf16)
K_MANY_WGS(16) K_MANY_WGS(32) K_MANY_WGS(64)
#endif
