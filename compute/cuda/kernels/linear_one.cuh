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

constexpr int Slice = BlockBytes / 4;             // what 16 rows have of a block: 512 bytes of numbers, 64 of scales
constexpr int Round = 8;                          // blocks of 64 columns that a warp takes at a time
constexpr int Numbers = Round * 512, Scales = Round * 64;  // bytes of a round

// A Ring is a warp's own in shared memory, which copies of weights fill a round ahead. A place of scales more than of
// numbers is there, since all lanes read what others have copied.
struct Ring {
    static constexpr int Bytes = Numbers + 2 * Scales;
    const uint8_t *numbers;
    int scale;  // place of the scales that are multiplied next
    __device__ __forceinline__ const uint8_t *scales() const { return numbers + Numbers + scale * Scales; }
    __device__ __forceinline__ const uint8_t *free() const { return numbers + Numbers + (scale ^ 1) * Scales; }
};
constexpr int OneRing = 8 * Ring::Bytes;  // of the 8 warps

// A Cursor goes over the weights that a warp reads: a round at a time of 16 rows, of one matrix after another, of one item
// after another. An item is 16 rows of a matrix, or of mats matrices that are multiplied together. Where nothing is left, it
// brings zeros.
struct Cursor {
    const uint8_t *numbers, *scales;  // of the lane, in the first of the round's blocks
    int mat, item, round, left;       // left: blocks of 64 columns from the first on

    // place finds the matrix and the rows of an item.
    static __device__ __forceinline__ void place(const Rows &m, int mats, int item, int mat, int &which, int &rows16) {
        which = mat, rows16 = item;
        if (mats == 1) for (; rows16 >= (m.rows[which] + 15) / 16; which++) rows16 -= (m.rows[which] + 15) / 16;
    }
    __device__ __forceinline__ void start(const Rows &m, int mats, int KB, int blocks, int items) {
        const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 7, r = lane >> 2, c = lane & 3;
        round = 0, left = item < items ? blocks - warp * Round : 0;
        if (left <= 0) return;
        int which, rows16;
        place(m, mats, item, mat, which, rows16);
        const uint8_t *first = m.w[which] + ((int64_t)(rows16 >> 2) * KB + warp * Round) * BlockBytes;
        numbers = first + 8 * unit(rows16 & 3, c >> 1, r, 2 * (c & 1));
        scales = first + (int64_t)r * BlockBytes + 2048 + 64 * (rows16 & 3) + 16 * c;
    }
    // copy_scales starts the copy of a round's scales: 16 bytes a lane. copy starts that of block i's numbers. A lane reads
    // the numbers that it has copied itself, at 16 * lane, without bank conflicts.
    __device__ __forceinline__ void copy_scales(const uint8_t *to) const {
        const int lane = threadIdx.x & 31;
        cp16(smem32(to) + 16 * lane, scales, (lane >> 2) < left);
    }
    __device__ __forceinline__ void copy(const uint8_t *to, int i) const {
        cp16(smem32(to) + 512 * i + 16 * (threadIdx.x & 31), numbers + i * BlockBytes, i < left);
        cp_commit();
    }
    // same goes on to the next round of the same rows, next to the next matrix or item. They report whether there is one.
    __device__ __forceinline__ bool same(int rounds) {
        left -= 8 * Round;
        numbers += 8 * Round * BlockBytes, scales += 8 * Round * BlockBytes;
        return ++round < rounds;
    }
    __device__ __forceinline__ bool next(int mats, int units, int items) {
        if (++mat == mats) mat = 0, item += units;
        return item < items;
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

// team_sum adds v over the 256 threads of a team, in the order of row_sum; line is the team's, of 8 floats.
__device__ __forceinline__ float team_sum(float v, float *line, int team) {
    v = warp_sum(v);
    group_sync(1 + team, 256);
    if ((threadIdx.x & 31) == 0) line[threadIdx.x >> 5 & 7] = v;
    group_sync(1 + team, 256);
    float s = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) s += line[i];
    return s;
}

// token_squares adds up a thread's share of the squares of a token.
__device__ __forceinline__ float token_squares(const bf16 *x, int K, int first, int threads) {
    float s = 0, v[8];
    for (int i = 8 * first; i < K; i += 8 * threads) {
        load8(v, x + i);
#pragma unroll
        for (int k = 0; k < 8; k++) s += v[k] * v[k];
    }
    return s;
}

// keep_token writes the token, or its norm, to shared memory: for each 64 columns 32 words, of which lane c of mma finds its
// 8 side by side, and in sums their sum. The last columns are filled up with zeros, to whole rounds of 8 warps. Each team of 256
// threads makes the norm for itself, and writes its part. A thread asks for all its pieces of Held at a time, then waits once.
template <bool Normed, int Teams> __device__ __forceinline__ void keep_token(uint32_t *xs, float *sums, float *line, const bf16 *x, int K, int padded, const Around &o) {
    constexpr int Held = Normed ? 2 : 6, Norms = Normed ? Held : 1;
    const int t = threadIdx.x & 255, team = threadIdx.x >> 8;
    float inv = 0;
    for (int p0 = 0; p0 < padded * 8; p0 += 256 * Held) {
        uint4 held[Held];
        Eight norms[Norms];
#pragma unroll
        for (int h = 0; h < Held; h++) {
            const int i = 8 * (p0 + 256 * h + t);
            const bool own = Teams == 1 || h % Teams == team;
            held[h] = make_uint4(0, 0, 0, 0);
            if (i < K && (own || Normed && p0 == 0)) held[h] = *(const uint4 *)(x + i);
            if (Normed && own && i < K) norms[h % Norms].read(o.w, o.type, i);
        }
        if (Normed && p0 == 0) {  // sums in the order of the kernels of norms
            float s = 0, v[8];
            if (K <= 1024) s = warp_sum(token_squares(x, K, threadIdx.x & 31, 32));
            else if (K > 2048 * Held) s = team_sum(token_squares(x, K, t, 256), line, team);
            else {
#pragma unroll
                for (int h = 0; h < Held; h++) {
                    widen8(v, held[h]);
#pragma unroll
                    for (int k = 0; k < 8; k++) s += v[k] * v[k];
                }
                s = team_sum(s, line, team);
            }
            inv = rsqrtf(s / K + o.eps);
        }
#pragma unroll
        for (int h = 0; h < Held; h++) {
            const int p = p0 + 256 * h + t, i = 8 * p, kb = p >> 3, half = p >> 2 & 1, j = p & 3;
            if (p0 + 256 * h >= padded * 8) break;
            if (Teams > 1 && h % Teams != team) continue;
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
                if (p < padded * 8) *(uint2 *)&xs[kb * 32 + (2 * half + e) * 8 + 2 * j] = e ? make_uint2(q[2], q[3]) : make_uint2(q[0], q[1]);
            }
#pragma unroll
            for (int m = 4; m; m >>= 1) s += __shfl_xor_sync(~0u, s, m);
            if ((p & 7) == 0 && p < padded * 8) sums[kb] = s;
        }
    }
}

// Columns are what a lane needs of the token for a round: its numbers of 8 blocks of 64 columns, and the blocks' sums.
struct Columns {
    const uint4 *x;
    const float *sum;
    __device__ __forceinline__ Columns(const uint32_t *xs, const float *sums, int round) {
        const int first = (8 * round + (threadIdx.x >> 5 & 7)) * Round;
        x = (const uint4 *)xs + first * 8 + 2 * (threadIdx.x & 3), sum = sums + first;
    }
};

// multiply_block adds what a lane has of 16 rows by 64 columns, numbers q and scales v, to y. The numbers are multiplied as
// 128 + q, without their scale: 64 columns are of one group, so that scale and bias come after its sum,
// y += s*(sum of (128+q)*x - (128+z)*(sum of x)) + b*(sum of x): lanes with even c add up the first term, of row r or with
// c > 1 of row r + 8, lanes with odd c the second. offset is -128-z.
__device__ __forceinline__ float multiply_block(float y, uint4 q, uint32_t v, const Columns &columns, int i, float offset) {
    const int lane = threadIdx.x & 31, r = lane >> 2, c = lane & 3;
    const uint32_t half = r & 1 ? 0x3244 : 0x1044, exponent = 0x43004300;
    float acc[4] = {};
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const uint4 b = columns.x[8 * i + h];
        const uint32_t low4[4] = {and_or(q.x >> 8 * h, exponent), and_or(q.y >> 8 * h, exponent), and_or(q.z >> 8 * h, exponent), and_or(q.w >> 8 * h, exponent)};
        mma(acc, low4, b.x, b.y);  // all columns of the product are alike
        const uint32_t high4[4] = {and_or(q.x >> (8 * h + 4), exponent), and_or(q.y >> (8 * h + 4), exponent), and_or(q.z >> (8 * h + 4), exponent), and_or(q.w >> (8 * h + 4), exponent)};
        mma(acc, high4, b.z, b.w);
    }
    const float xsum = columns.sum[i], scaled = fmaf(offset, xsum, c > 1 ? acc[2] : acc[0]);
    return fmaf(__uint_as_float(__byte_perm(v, 0, half)), c & 1 ? xsum : scaled, y);
}

// own_scales is what a lane reads of a block's scales, of a round in shared memory.
__device__ __forceinline__ uint32_t own_scales(const uint8_t *scales, int i) {
    const int lane = threadIdx.x & 31;
    return *(const uint32_t *)(scales + 64 * i + 16 * (lane >> 3) + 4 * (lane & 3));
}

// multiply adds what a warp has of 16 rows in a round to y, and lets the cursor's copies follow into the ring.
__device__ __forceinline__ float multiply(float y, Ring &ring, const Cursor &ahead, const Columns &columns, float offset) {
#pragma unroll
    for (int i = 0; i < Round; i++) {
        cp_wait<Round - 1>();
        if (i == 0) {
            __syncwarp();
            ahead.copy_scales(ring.free());
        }
        const uint4 q = *(const uint4 *)(ring.numbers + 512 * i + 16 * (threadIdx.x & 31));
        const uint32_t v = own_scales(ring.scales(), i);
        ahead.copy(ring.numbers, i);
        y = multiply_block(y, q, v, columns, i, offset);
    }
    ring.scale ^= 1;
    return y;
}

// add_update gives a warp's sums of 16 rows to part, with its share of the update.
__device__ __forceinline__ void add_update(float (&part)[16], const Rows &m, int which, int rows16, float y) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 7, c = lane & 3, row = 8 * (c >> 1) + (lane >> 2);
    y += __shfl_xor_sync(~0u, y, 1);
    if (m.rank[which] && rows16 * 16 + row < m.rows[which])
        for (int l = warp; l < m.rank[which]; l += 8) y += m.scale[which] * m.u[which][l] * m.v[which][(int64_t)l * m.rows[which] + rows16 * 16 + row];
    if ((c & 1) == 0) part[row] = y;
}

// rounded is a number as Y holds it.
template <class Y> __device__ __forceinline__ float rounded(float v) {
    Y y;
    round_to(&y, v);
    return widen(y);
}

// finish adds up the parts of 8 warps and writes what becomes of an item: a row a thread. addend is what is added to the row.
template <class Y> __device__ __forceinline__ void finish(const float (*part)[8][16], const Rows &m, const Around &o, int mats, int tail, int item, int row, float addend) {
    float made[2];
    int which = 0, rows16 = 0, n = 0;
    for (int mat = 0; mat < mats; mat++) {
        Cursor::place(m, mats, item, mat, which, rows16);
        n = rows16 * 16 + row;
        if (n >= m.rows[which]) return;
        float s = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) s += part[mat][i][row];
        if (m.bias[which]) s += at(m.bias[which], m.biasType[which], n);
        round_to((Y *)m.y[which] + n, s);
        made[mat & 1] = rounded<Y>(s);
    }
    if (tail == Added) round_to(o.sum + n, addend + made[0]);
    if (tail == Gated) round_to(o.sum + n, made[1] * (made[0] * sigmoid(made[0])));
}

// addend_of reads what is added to a row of an item, which is of one matrix: long before it is needed.
__device__ __forceinline__ float addend_of(const Rows &m, const Around &o, int item, int row) {
    const int n = item * 16 + row;
    return row < 16 && n < m.rows[0] ? widen(o.addend[n]) : 0;
}

// rounds_of is how many rounds of 8 warps K columns are.
__device__ __forceinline__ int rounds_of(int K) { return (K + 64 * 8 * Round - 1) / (64 * 8 * Round); }

// one: y = x Wᵀ (+ bias) (+ update) for one token x [K], which lies in shared memory. A block of 8 warps makes 16 rows after
// another; the warps share K.
template <class Y, bool Normed, int Tail> __device__ __forceinline__ void one_w4(const bf16 *x, int K, int KB, uint32_t zero, const Rows &m, const Around &o, int items) {
    constexpr int Mats = Tail == Gated ? 2 : 1;
    SHARED_ARRAY(uint8_t, smem, 128);
    __shared__ float part[2][Mats][8][16], line[8];
    const int warp = threadIdx.x >> 5, blocks = (K + 63) / 64, rounds = rounds_of(K);
    uint32_t *xs = (uint32_t *)(smem + OneRing);
    float *sums = (float *)(xs + rounds * 8 * Round * 32);
    Ring ring = {smem + warp * Ring::Bytes, 0};
    Cursor ahead = {nullptr, nullptr, 0, (int)blockIdx.x, 0, 0};
    launch_dependents();
    ahead.start(m, Mats, KB, blocks, items);
    ahead.copy_scales(ring.scales());
#pragma unroll
    for (int i = 0; i < Round; i++) ahead.copy(ring.numbers, i);
    wait_for_earlier();
    keep_token<Normed, 1>(xs, sums, line, x, K, rounds * 8 * Round, o);
    __syncthreads();
    for (int item = blockIdx.x, side = 0; item < items; item += gridDim.x, side ^= 1) {
        const float addend = Tail == Added ? addend_of(m, o, item, threadIdx.x) : 0;
#pragma unroll
        for (int mat = 0; mat < Mats; mat++) {
            float y = 0;
            for (int round = 0; round < rounds; round++) {
                if (!ahead.same(rounds)) {
                    ahead.next(Mats, gridDim.x, items);
                    ahead.start(m, Mats, KB, blocks, items);
                }
                y = multiply(y, ring, ahead, Columns(xs, sums, round), low(zero));
            }
            int which, rows16;
            Cursor::place(m, Mats, item, mat, which, rows16);
            add_update(part[side][mat][warp], m, which, rows16, y);
        }
        __syncthreads();
        if (threadIdx.x < 16) finish<Y>(part[side], m, o, Mats, Tail, item, threadIdx.x, addend);
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
