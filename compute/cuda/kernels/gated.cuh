// SwiGLU and its gradient with the low-rank products of what they make: x A of down; dy Bᵀ and the gradients of B, of gate and of
// up. What they make is written, but not read again for these.
//
// In the gradient a thread has 8 neighbours of a row, 16 bytes, and they are operands of mma as they lie, since the order of a sum's terms is
// free as long as both operands keep to it. For sums over rows 8 by 8 numbers are turned round.
#include "elements.cuh"
#include "lowrank.cuh"

namespace {
// A GateRing brings a warp's 64 columns of gate and up, 16 rows at a time, two times ahead, and makes y = silu(gate) up of them, to the
// bit as swiglu.
struct GateRing {
    bf16 *y;
    const bf16 *gate, *up;
    uint8_t *ring;  // [2, gate and up, 16, 64]
    int to, left, width;

    __device__ __forceinline__ GateRing(uint8_t *own, bf16 *y, const bf16 *gate, const bf16 *up, int row0, int rows, int column0, int width) : ring(own), width(width) {
        const int lane = threadIdx.x & 31, r = lane >> 3, c = lane & 7;
        const int64_t at = (int64_t)(row0 + r) * width + column0 + 8 * c;
        this->y = y + at, this->gate = gate + at, this->up = up + at, to = r * 128 + ((c ^ r) << 4);
        left = column0 + 8 * c < width ? rows - row0 - r : 0;
    }
    // ask asks for 16 rows, number i of them.
    __device__ __forceinline__ void ask(int i) {
        const uint32_t tile = smem32(ring) + i % 2 * 4096;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int row = 16 * i + 4 * j, at = (to ^ j % 2 * 64) + 512 * j;
            cp16(tile + at, gate + (int64_t)row * width, row < left);
            cp16(tile + 2048 + at, up + (int64_t)row * width, row < left);
        }
        cp_commit();
    }
    // make writes y of 16 rows for which it was asked, and gives them as a tile, as thin_ask does.
    __device__ __forceinline__ uint32_t make(int i) {
        uint8_t *const tile = ring + i % 2 * 4096;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int row = 16 * i + 4 * j, at = (to ^ j % 2 * 64) + 512 * j;
            float g[8], u[8];
            widen8(g, *(const uint4 *)(tile + at)), widen8(u, *(const uint4 *)(tile + 2048 + at));
            gate_up(g, u);
            const uint4 v = round8(u);
            *(uint4 *)(tile + at) = v;
            if (row < left) *(uint4 *)(y + (int64_t)row * width) = v;
        }
        __syncwarp();
        return smem32(tile);
    }
};

// gated_narrow makes y [M, W] = silu(gate) up to the bit as swiglu, and of it c = alpha y s (+ c), of up to eight columns, as narrow_unit. A
// block has 64 rows of a unit of 512 columns, blockIdx.x, so that neighbours have the same rows.
__device__ __forceinline__ void gated_narrow(const ThinList &list, int M, uint32_t *counts, bf16 *y, const bf16 *gate, const bf16 *up) {
    SHARED_ARRAY(uint8_t, shared, 128);  // 10 KiB a warp: its ring, and sums of 64 rows
    overlap_start();
    const Thin &p = list.p[0];
    const int warp = threadIdx.x >> 5, unit = blockIdx.x, units = gridDim.x, m0 = blockIdx.y * 64, k0 = unit * 512 + warp * 64;
    uint8_t *const own = shared + warp * 10240;
    GateRing ring(own, y, gate, up, m0, M, k0, p.many);
    ring.ask(0);
    ring.ask(1);
    uint32_t b[1][4][4];
    narrow_columns(b[0], p, 0, k0);
#pragma unroll 1
    for (int i = 0; i < 4; i++) {
        if (i == 3) cp_wait<0>(); else cp_wait<1>();
        narrow_multiply((float *)(own + 8192) + i * 128, ring.make(i), b, 1);
        if (i < 2) ring.ask(i + 2);
    }
    __syncthreads();
    narrow_warps<2560, 128>(p, (const float *)(shared + 8192), 0, m0, M, unit, units);
    if (units > 1 && thin_last(counts + blockIdx.y, units)) narrow_finish(list, 1, 0, m0, M, units);
}

// A block has a unit of 256 columns, 32 a warp, and so many rows: the more, the fewer parts of sums over rows there are.
constexpr int GatedWidth = 256, GatedChunk = 48;  // rows between two sums over the warps
__device__ __forceinline__ int gated_rows(int width) { return width >= 8192 ? 192 : 96; }

constexpr int MostStrips = 192 / 16, GatedAhead = 2;  // strips of 16 rows in a block, and under way

// A Strip is a thread's share of 16 rows by a warp's 32 columns: 8 columns of rows lane/4 and + 8, from 8(lane%4) on.
struct Strip { uint4 row[2]; };
__device__ __forceinline__ uint32_t word(const uint4 &v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// strip_columns reads the columns of s, eight or fewer, for a thread's 8 numbers from k0 on, as B of two mma: b[t] is both high
// parts, then both low. What does not exist is not zero: columns of c that are not there, and what x has zeros for.
__device__ __forceinline__ void strip_columns(uint32_t (&b)[2][4], const Thin &p, int k0) {
    const int n = min(((int)threadIdx.x & 31) >> 2, p.few - 1), k = min(k0, p.many - 8);
    float f[8];
    if (p.flags & Turned) {
#pragma unroll
        for (int i = 0; i < 8; i += 4) *(float4 *)(f + i) = __ldg((const float4 *)(p.s + (int64_t)n * p.many + k + i));
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) f[i] = __ldg(p.s + (int64_t)(k + i) * p.few + n);
    }
#pragma unroll
    for (int t = 0; t < 2; t++) halves(f[4 * t], f[4 * t + 1], b[t][0], b[t][2]), halves(f[4 * t + 2], f[4 * t + 3], b[t][1], b[t][3]);
}
// narrow_add adds the products of 32 columns to rows lane/4 and + 8 of c, columns 2(lane%4) and + 1.
__device__ __forceinline__ void narrow_add(float (&c)[4], const Strip &x, const uint32_t (&b)[2][4]) {
#pragma unroll
    for (int t = 0; t < 2; t++) {
        const uint32_t a[4] = {word(x.row[0], 2 * t), word(x.row[1], 2 * t), word(x.row[0], 2 * t + 1), word(x.row[1], 2 * t + 1)};
        mma(c, a, b[t][0], b[t][1]), mma(c, a, b[t][2], b[t][3]);
    }
}

// strip_rows is the columns of s for 16 rows from t0 on as A of an mma, 8 rows of high parts and 8 of low ones. tall_add adds to
// sums[q] columns 2q and 2q+1 of the thread's 8, for column lane/4 of s: what high parts give, then what low ones do.
__device__ __forceinline__ uint4 strip_rows(const Thin &p, int t0, int T) {
    const float *column = p.s + min(((int)threadIdx.x & 31) >> 2, p.few - 1);
    float f[4];
#pragma unroll
    for (int e = 0; e < 4; e++) f[e] = __ldg(column + (int64_t)min(t0 + 2 * ((int)threadIdx.x & 3) + (e & 1) + 8 * (e >> 1), T - 1) * p.few);
    uint4 a;
    halves(f[0], f[1], a.x, a.y), halves(f[2], f[3], a.z, a.w);
    return a;
}
__device__ __forceinline__ void tall_add(float (&sums)[4][4], uint4 s, const Strip &x) {
    const uint32_t a[4] = {s.x, s.y, s.z, s.w};
#pragma unroll
    for (int q = 0; q < 4; q++) mma(sums[q], a, transposed(word(x.row[0], q)), transposed(word(x.row[1], q)));
}

constexpr int Kept = 8 * GatedChunk * 8;  // numbers that a narrow product keeps
// narrow_keep keeps 16 rows of a warp's part of a narrow product for narrow_sum, which adds up the warps' parts of rows from m0
// to m1 of M: kept is [warps, GatedChunk, 8].
__device__ __forceinline__ void narrow_keep(float *kept, const float (&c)[4], int row) {
    float *to = kept + (threadIdx.x >> 5) * GatedChunk * 8 + row * 8 + 2 * (threadIdx.x & 31);
    *(float2 *)to = make_float2(c[0], c[1]), *(float2 *)(to + 64) = make_float2(c[2], c[3]);
}
__device__ __forceinline__ void narrow_sum(const Thin &p, const float *kept, int m0, int m1, int M, int unit, int units) {
#pragma unroll
    for (int h = 0; h < (GatedChunk * 8 + 255) / 256; h++) {
        const int e = threadIdx.x + 256 * h, row = m0 + e / 8, col = e % 8;
        if (e >= GatedChunk * 8 || row >= m1 || col >= p.few) continue;
        float v = 0;
#pragma unroll
        for (int w = 0; w < 8; w++) v += kept[w * GatedChunk * 8 + e];
        const int64_t at = (int64_t)row * p.few + col;
        if (units == 1) thin_put(p, at, v); else p.parts[(int64_t)unit * M * p.few + at] = v;
    }
}

// tall_put puts number w of row r; tall_store does so with a thread's sums, or writes them as a part [few, many] of them.
__device__ __forceinline__ void tall_put(const Thin &p, int r, int w, float v) { thin_put(p, p.flags & Turned ? (int64_t)w * p.few + r : (int64_t)r * p.many + w, v); }
__device__ __forceinline__ void tall_store(const Thin &p, const float (&sums)[4][4], int w, int part, int parts) {
    const int r = (threadIdx.x & 31) >> 2;
    if (r >= p.few || w >= p.many) return;
    float v[8];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = sums[i >> 1][i & 1] + sums[i >> 1][2 + (i & 1)];
    if (parts > 1) {
        float4 *to = (float4 *)(p.parts + ((int64_t)part * p.few + r) * p.many + w);
        to[0] = make_float4(v[0], v[1], v[2], v[3]), to[1] = make_float4(v[4], v[5], v[6], v[7]);
        return;
    }
#pragma unroll 1
    for (int i = 0; i < 8; i++) tall_put(p, r, w + i, v[i]);
}

// A Feed brings a thread's shares of gate, up and dy to shared memory, GatedAhead strips of 16 rows before they are taken: registers have
// no room for them. A thread takes what it asked for itself, so that none waits for another.
struct Feed {
    const bf16 *from[3];
    uint4 *room;  // [GatedAhead, 2, 3, 256]
    int row, end, col, width;  // of the next strip, the thread's first
    int asked, taken;
    __device__ __forceinline__ void ask() {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const bool there = col < width && row + 8 * h < end;
            const uint32_t at = there ? (row + 8 * h) * width + col : 0;
#pragma unroll
            for (int i = 0; i < 3; i++) cp16(smem32(room + ((asked * 2 + h) * 3 + i) * 256 + threadIdx.x), from[i] + at, there);
        }
        cp_commit();
        row += 16, asked = (asked + 1) % GatedAhead;
    }
    __device__ __forceinline__ void take(uint4 (&x)[2][3]) {
        cp_wait<GatedAhead - 1>();
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
            for (int i = 0; i < 3; i++) x[h][i] = room[((taken * 2 + h) * 3 + i) * 256 + threadIdx.x];
        taken = (taken + 1) % GatedAhead;
        ask();
    }
};

// gated_unit makes a block of the gradients dgate and dup of SwiGLU [M, W], to the bit as swiglu_grad does, and products of them:
// narrow list.p[0] and p[1], and tall list.p[2] and p[3], each of up to eight columns, or of none. gridDim.x is the units of W,
// gridDim.y the blocks of rows. Where there are several, thin_sums adds up what they give: blocks that count each other would leave
// that to a few of them. The order of sums depends on M and W alone.
__device__ __forceinline__ void gated_unit(const ThinList &list, bf16 *dgate, bf16 *dup, const bf16 *gate, const bf16 *up, const bf16 *dy, int M, int W) {
    SHARED_ARRAY(float, kept, 128);  // [2, warps, GatedChunk, 8], behind it what strip_rows gives [rows/16, 2, lanes], and what comes in
    uint4 *strips = (uint4 *)(kept + 2 * Kept);
    overlap_start();
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, unit = blockIdx.x, units = gridDim.x, parts = gridDim.y;
    const int rows = gated_rows(W), m0 = blockIdx.y * rows, m1 = min(M, m0 + rows), w = unit * GatedWidth + warp * 32 + 8 * (lane & 3);
    Feed feed = {{gate, up, dy}, strips + MostStrips * 64, m0 + (lane >> 2), m1, w, W, 0, 0};
    uint32_t b[2][2][4];
    float sums[2][4][4] = {};
#pragma unroll
    for (int i = 0; i < GatedAhead; i++) feed.ask();
#pragma unroll
    for (int j = 0; j < 2; j++) if (list.p[j].few) strip_columns(b[j], list.p[j], w);
    for (int i = warp; i < rows / 8; i += 8)
        if (list.p[2 + i % 2].few) strips[i * 32 + lane] = strip_rows(list.p[2 + i % 2], m0 + i / 2 * 16, M);
    __syncthreads();
    for (int c0 = m0; c0 < m1; c0 += GatedChunk) {
#pragma unroll 1
        for (int r0 = 0; r0 < GatedChunk && c0 + r0 < m1; r0 += 16) {
            const int r = c0 + r0 + (lane >> 2);
            uint4 x[2][3];
            feed.take(x);
            Strip y[2];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                float g[8], u[8], d[8];
                widen8(g, x[h][0]), widen8(u, x[h][1]), widen8(d, x[h][2]);
                gate_back(g, u, d);
                y[0].row[h] = round8(g), y[1].row[h] = round8(d);
                const uint32_t at = (r + 8 * h) * W + w;
                if (w < W && r + 8 * h < m1) *(uint4 *)(dgate + at) = y[0].row[h], *(uint4 *)(dup + at) = y[1].row[h];
            }
#pragma unroll
            for (int j = 0; j < 2; j++) {
                if (list.p[j].few) {
                    float c[4] = {};
                    narrow_add(c, y[j], b[j]);
                    narrow_keep(kept + j * Kept, c, r0);
                }
                if (list.p[2 + j].few) tall_add(sums[j], strips[((c0 - m0 + r0) / 8 + j) * 32 + lane], y[j]);
            }
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < 2; j++) if (list.p[j].few) narrow_sum(list.p[j], kept + j * Kept, c0, m1, M, unit, units);
        __syncthreads();
    }
    cp_wait<0>();
#pragma unroll
    for (int j = 0; j < 2; j++) if (list.p[2 + j].few) tall_store(list.p[2 + j], sums[j], w, blockIdx.y, parts);
}
}  // namespace

extern "C" __global__ void __launch_bounds__(256, 2) swiglu_grad_thin(const __grid_constant__ ThinList list, bf16 *dgate, bf16 *dup, const bf16 *gate, const bf16 *up, const bf16 *dy, int M, int W) {
    gated_unit(list, dgate, dup, gate, up, dy, M, W);
}

extern "C" __global__ void __launch_bounds__(256, 2) swiglu_thin(const __grid_constant__ ThinList list, int M, uint32_t *counts, bf16 *y, const bf16 *gate, const bf16 *up) {
    gated_narrow(list, M, counts, y, gate, up);
}

// thin_sums puts the sums of the parts of swiglu_grad_thin's products, of product blockIdx.y, in order, SumsEach numbers a block. All parts
// of these are asked for at once: registers would have room for a few.
extern "C" __global__ void __launch_bounds__(256) thin_sums(const __grid_constant__ ThinList list, int M, int units, int blocks) {
    constexpr int SumsEach = 128, Most = 48;
    __shared__ float4 kept[Most][SumsEach / 4];
    overlap_start();
    const Thin &p = list.p[blockIdx.y];
    const bool tall = blockIdx.y > 1;
    const int parts = tall ? blocks : units, t = threadIdx.x;
    const int64_t size = (int64_t)p.few * (tall ? p.many : M), first = (int64_t)blockIdx.x * SumsEach;
    if (parts == 1 || first >= size) return;
    float v = 0;
    for (int k0 = 0; k0 < parts; k0 += Most) {
        const int n = min(Most, parts - k0);
        const float *from = p.parts + k0 * size + first;
        if (size % 4 == 0) {
            for (int e = t; e < n * (SumsEach / 4); e += 256) {
                const int k = e / (SumsEach / 4), c = e % (SumsEach / 4);
                if (first + 4 * c < size) cp16(smem32(&kept[k][c]), from + k * size + 4 * c, true);
            }
            cp_commit();
            cp_wait<0>();
        } else {
            for (int e = t; e < n * SumsEach; e += 256)
                if (first + e % SumsEach < size) ((float *)kept)[e] = __ldcg(from + e / SumsEach * size + e % SumsEach);
        }
        __syncthreads();
        if (t < SumsEach) for (int k = 0; k < n; k++) v += ((const float *)kept[k])[t];
        __syncthreads();
    }
    const int64_t i = first + t;
    if (t >= SumsEach || i >= size) return;
    if (tall) tall_put(p, i / p.many, i % p.many, v); else thin_put(p, i, v);
}
