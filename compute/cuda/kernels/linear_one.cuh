// Products of one token with packed 4-bit weights, as decoding has them one after another, with what stands before and
// behind them in a layer: one pass over the weights at the speed of memory.
#pragma once
#include "norm.cuh"
#include "w4.cuh"

namespace {
// Rows names up to four matrices that one token is multiplied with: queries, keys and values, or gate and up. Of each it
// has an update, y += scale * u v, u [rank] and v [rank, rows].
struct Rows {
    void *y[4];
    const uint8_t *w[4];
    const void *bias[4];
    const float *u[4], *v[4];
    int rows[4], biasType[4], rank[4];
    float scale[4];
};

// Around is what is computed in the same launch: y [K] = the norm of the token by w, which is then multiplied; and behind the
// products sum = addend + product, or sum = silu(gate) * up of two products.
struct Around {
    bf16 *y;
    const void *w;
    bf16 *sum;
    const bf16 *addend;
    int type;
    float eps;
};

constexpr int Ahead = 8;                       // blocks of 64 columns that a warp has on their way at a time
constexpr int Slice = BlockBytes / 4;          // what 16 rows have of a block: 512 bytes of numbers, 64 of scales
constexpr int OneRing = 8 * Ahead * Slice;     // bytes of shared memory for the rings of the 8 warps

// A Cursor goes over the weights that a warp reads: Ahead blocks at a time of 16 rows, of one matrix after another, of one
// item after another. They go to the warp's own ring in shared memory, the next ones as soon as their place is free.
template <int Mats> struct Cursor {
    const uint8_t *numbers, *scales;  // of the lane, in the first of its blocks
    int block, mat, item, left;       // left: blocks of 64 columns from the first on

    // place finds an item: 16 rows of a matrix, or with Mats 2 the same rows of two.
    static __device__ __forceinline__ void place(const Rows &m, int item, int mat, int &which, int &rows16) {
        which = mat, rows16 = item;
        if (Mats == 1) for (; rows16 >= (m.rows[which] + 15) / 16; which++) rows16 -= (m.rows[which] + 15) / 16;
    }
    __device__ __forceinline__ void start(const Rows &m, int KB, int blocks, int items) {
        const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, r = lane >> 2, c = lane & 3;
        left = item < items ? blocks - warp : 0;
        if (left <= 0) return;
        int which, rows16;
        place(m, item, mat, which, rows16);
        const uint8_t *first = m.w[which] + ((int64_t)(rows16 >> 2) * KB + warp) * BlockBytes;
        numbers = first + 8 * unit(rows16 & 3, c >> 1, r, 2 * (c & 1));
        scales = first + 2048 + 64 * (rows16 & 3) + 16 * c;
    }
    // read starts the copy of block i to its place. A lane's numbers lie at 16 * lane, so that it reads them without bank conflicts.
    __device__ __forceinline__ void read(uint32_t ring, int i) const {
        const int lane = threadIdx.x & 31;
        if (8 * i < left) {
            cp16(ring + i * Slice + 16 * lane, numbers + 8 * i * BlockBytes, true);
            if (lane < 4) cp16(ring + i * Slice + 512 + 16 * lane, scales + 8 * i * BlockBytes, true);
        }
        cp_commit();
    }
    __device__ __forceinline__ void next(const Rows &m, int KB, int blocks, int items, int rounds) {
        if (++block < rounds) {
            numbers += 8 * Ahead * BlockBytes, scales += 8 * Ahead * BlockBytes, left -= 8 * Ahead;
            return;
        }
        block = 0;
        if (++mat == Mats) mat = 0, item += gridDim.x;
        start(m, KB, blocks, items);
    }
};

// An Eight is eight numbers of a vector as they lie there: they are widened when all that is asked for has come.
struct Eight {
    uint4 a, b;  // b of float32 alone
    __device__ __forceinline__ void read(const void *p, int type, int i) {
        if (type == F32) a = ((const uint4 *)p)[i / 4], b = ((const uint4 *)p)[i / 4 + 1]; else a = ((const uint4 *)p)[i / 8];
    }
    __device__ __forceinline__ void widened(float (&v)[8], int type) const {
        if (type == BF16) return widen8(v, a);
        const uint32_t q[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float2 two = __half22float2(*(const __half2 *)&q[k / 2]);
            v[k] = type == F32 ? __uint_as_float(q[k]) : k & 1 ? two.y : two.x;
        }
    }
};

// keep_token writes the token, or its norm, to shared memory: for each 64 columns 32 words, of which lane c of mma finds its
// 8 side by side, and in sums their sum. The last columns are filled up with zeros. A thread asks for all its pieces of Held at
// a time, then waits once.
template <bool Normed> __device__ __forceinline__ void keep_token(uint32_t *xs, float *sums, const bf16 *x, int K, int blocks, const Around &o) {
    constexpr int Held = Normed ? 2 : 6, Norms = Normed ? Held : 1;
    float inv = 0;
    for (int p0 = 0; p0 < blocks * 8; p0 += 256 * Held) {
        uint4 held[Held];
        Eight norms[Norms];
#pragma unroll
        for (int h = 0; h < Held; h++) {
            const int i = 8 * (p0 + 256 * h + threadIdx.x);
            held[h] = make_uint4(0, 0, 0, 0);
            if (i < K) held[h] = *(const uint4 *)(x + i);
            if (Normed && i < K) norms[h % Norms].read(o.w, o.type, i);
        }
        if (Normed && p0 == 0) {  // sums in the order of the kernels of norms
            if (K <= 1024) inv = rstd<32>(x, K, o.eps);
            else if (K > 2048 * Held) inv = rstd<256>(x, K, o.eps);
            else {
                float s = 0, v[8];
#pragma unroll
                for (int h = 0; h < Held; h++) {
                    widen8(v, held[h]);
#pragma unroll
                    for (int k = 0; k < 8; k++) s += v[k] * v[k];
                }
                inv = rsqrtf(row_sum<256>(s) / K + o.eps);
            }
        }
#pragma unroll
        for (int h = 0; h < Held; h++) {
            const int p = p0 + 256 * h + threadIdx.x, i = 8 * p, kb = p >> 3, half = p >> 2 & 1, j = p & 3;
            if (p0 + 256 * h >= blocks * 8) break;
            if (Normed && i < K) {
                float v[8], w[8];
                widen8(v, held[h]);
                norms[h % Norms].widened(w, o.type);
#pragma unroll
                for (int k = 0; k < 8; k++) v[k] *= inv * w[k];
                held[h] = round8(v);
                if (blockIdx.x == 0) *(uint4 *)(o.y + i) = held[h];
            }
            const uint32_t q[4] = {held[h].x, held[h].y, held[h].z, held[h].w};
            float s = 0;
#pragma unroll
            for (int k = 0; k < 4; k++) s += low(q[k]) + high(q[k]);
#pragma unroll
            for (int b = 0; b < 2; b++) {
                const int e = b ^ (kb & 1);  // neighbours write to other banks
                if (p < blocks * 8) *(uint2 *)&xs[kb * 32 + (2 * half + e) * 8 + 2 * j] = e ? make_uint2(q[2], q[3]) : make_uint2(q[0], q[1]);
            }
#pragma unroll
            for (int m = 4; m; m >>= 1) s += __shfl_xor_sync(~0u, s, m);
            if ((p & 7) == 0 && p < blocks * 8) sums[kb] = s;
        }
    }
}

// one: y = x Wᵀ (+ bias) (+ update) for one token x [K], which lies in shared memory. A block of 8 warps makes 16 rows after
// another; the warps share K. The numbers are multiplied as 128 + q, without their scale: 64 columns are of one group, so
// that scale and bias come after its sum, y += s*(sum of (128+q)*x - (128+z)*(sum of x)) + b*(sum of x): lanes with even c
// add up the first term, of row r or with c > 1 of row r + 8, lanes with odd c the second.
template <class Y, bool Normed, int Tail> __device__ __forceinline__ void one_w4(const bf16 *x, int K, int KB, uint32_t zero, const Rows &m, const Around &o, int items) {
    constexpr int Mats = Tail == Gated ? 2 : 1;
    SHARED_ARRAY(uint8_t, smem, 128);
    __shared__ float part[2][Mats][8][16];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, r = lane >> 2, c = lane & 3, blocks = (K + 63) / 64, rounds = (blocks + 8 * Ahead - 1) / (8 * Ahead);
    uint32_t *xs = (uint32_t *)(smem + OneRing);
    float *sums = (float *)(xs + blocks * 32);
    const uint8_t *ring = smem + warp * Ahead * Slice;
    Cursor<Mats> ahead = {nullptr, nullptr, 0, 0, (int)blockIdx.x, 0};
    launch_dependents();
    ahead.start(m, KB, blocks, items);
#pragma unroll
    for (int i = 0; i < Ahead; i++) ahead.read(smem32(ring), i);
    wait_for_earlier();
    keep_token<Normed>(xs, sums, x, K, blocks, o);
    __syncthreads();
    const float offset = low(zero);  // -128-z
    const uint32_t half = r & 1 ? 0x3244 : 0x1044, exponent = 0x43004300;
    for (int item = blockIdx.x, side = 0; item < items; item += gridDim.x, side ^= 1) {
#pragma unroll
        for (int mat = 0; mat < Mats; mat++) {
            float y = 0;
            const uint4 *xl = (const uint4 *)xs + warp * 8 + 2 * c;
            const float *sum = sums + warp;
            for (int left = blocks - warp, round = 0; round < rounds; round++) {
                ahead.next(m, KB, blocks, items, rounds);
#pragma unroll
                for (int i = 0; i < Ahead; i++) {
                    cp_wait<Ahead - 1>();
                    __syncwarp();
                    const uint4 q = *(const uint4 *)(ring + i * Slice + 16 * lane);
                    const uint32_t v = *(const uint32_t *)(ring + i * Slice + 512 + 16 * (r >> 1) + 4 * c);
                    __syncwarp();
                    ahead.read(smem32(ring), i);
                    if (8 * i >= left) continue;
                    float acc[4] = {};
#pragma unroll
                    for (int h = 0; h < 2; h++) {
                        const uint4 b = xl[64 * i + h];
                        const uint32_t low4[4] = {and_or(q.x >> 8 * h, exponent), and_or(q.y >> 8 * h, exponent), and_or(q.z >> 8 * h, exponent), and_or(q.w >> 8 * h, exponent)};
                        mma(acc, low4, b.x, b.y);  // all columns of the product are alike
                        const uint32_t high4[4] = {and_or(q.x >> (8 * h + 4), exponent), and_or(q.y >> (8 * h + 4), exponent), and_or(q.z >> (8 * h + 4), exponent), and_or(q.w >> (8 * h + 4), exponent)};
                        mma(acc, high4, b.z, b.w);
                    }
                    const float xsum = sum[8 * i], scaled = fmaf(offset, xsum, c > 1 ? acc[2] : acc[0]);
                    y = fmaf(__uint_as_float(__byte_perm(v, 0, half)), c & 1 ? xsum : scaled, y);
                }
                xl += 64 * Ahead, sum += 8 * Ahead, left -= 8 * Ahead;
            }
            y += __shfl_xor_sync(~0u, y, 1);
            int which, rows16;
            Cursor<Mats>::place(m, item, mat, which, rows16);
            const int row = 8 * (c >> 1) + r;
            if (m.rank[which] && rows16 * 16 + row < m.rows[which])
                for (int l = warp; l < m.rank[which]; l += 8) y += m.scale[which] * m.u[which][l] * m.v[which][(int64_t)l * m.rows[which] + rows16 * 16 + row];
            if ((c & 1) == 0) part[side][mat][warp][row] = y;
        }
        __syncthreads();
        if (threadIdx.x >= 16) continue;
        float made[Mats];
        int which, rows16, n;
#pragma unroll
        for (int mat = 0; mat < Mats; mat++) {
            Cursor<Mats>::place(m, item, mat, which, rows16);
            n = rows16 * 16 + threadIdx.x;
            if (n >= m.rows[which]) break;
            float s = 0;
#pragma unroll
            for (int i = 0; i < 8; i++) s += part[side][mat][i][threadIdx.x];
            if (m.bias[which]) s += at(m.bias[which], m.biasType[which], n);
            round_to((Y *)m.y[which] + n, s);
            made[mat] = widen(((Y *)m.y[which])[n]);
        }
        if (n >= m.rows[which]) continue;
        if (Tail == Added) round_to(o.sum + n, widen(o.addend[n]) + made[0]);
        if (Tail == Gated) round_to(o.sum + n, made[Mats - 1] * (made[0] * sigmoid(made[0])));
    }
}
}  // namespace

#define K_ONE(s, Y, Normed, Tail) \
    extern "C" __global__ void __launch_bounds__(256, 4) one_##s(const bf16 *x, int K, int KB, uint32_t zero, Rows m, Around o, int items) { one_w4<Y, Normed, Tail>(x, K, KB, zero, m, o, items); }
K_ONE(w4_b, bf16, false, Nothing)
K_ONE(w4_f, float, false, Nothing)
K_ONE(added_w4_b, bf16, false, Added)
K_ONE(normed_w4_b, bf16, true, Nothing)
K_ONE(gated_w4_b, bf16, false, Gated)
K_ONE(normed_gated_w4_b, bf16, true, Gated)
