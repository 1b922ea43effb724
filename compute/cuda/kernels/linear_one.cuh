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

// unread tells whether results are missing among what was read of mail: no number is written as that word.
constexpr uint32_t Unread = 0xFFFFFFFF;
__device__ __forceinline__ bool unread(const uint4 &v) { return v.x == Unread || v.y == Unread || v.z == Unread || v.w == Unread; }
// await reads again what was read of mail at p until it is there.
__device__ __forceinline__ void await(uint4 &v, const void *p) {
    while (unread(v)) {
        mail_wait(p);
        v = read_mail(p);
    }
}

// token_squares adds up a thread's share of the squares of a token.
template <bool Mail> __device__ __forceinline__ float token_squares(const bf16 *x, int K, int first, int threads, bool mailed) {
    float s = 0, v[8];
    for (int i = 8 * first; i < K; i += 8 * threads) {
        uint4 q = Mail ? read_mail(x + i) : *(const uint4 *)(x + i);
        if (Mail && mailed) await(q, x + i);
        widen8(v, q);
#pragma unroll
        for (int k = 0; k < 8; k++) s += v[k] * v[k];
    }
    return s;
}

// A token is kept in shared memory as whole numbers of 22 bits and a sign, in units of a power of two for each 64 columns: what is
// up to 2^14 times smaller than the largest of them is exact. Each number is three digits in base 256, of -128 to 127:
// x = unit * (d0 + 256 d1 + 65536 d2). For 64 columns 192 bytes are digits d0, then d1, d2, each 16 bytes of lane c of mma after
// another; behind those of all columns come, for even and odd c, {unit, 0} and {65536 * unit, sum of x}. Either a lane has two
// neighbouring pieces of words (w4.cuh) of one half of the columns, or piece c of both Halves.
constexpr int Digits = 3, DigitBytes = 64 * Digits;

// keep_digits writes 8 neighbouring numbers of a thread, q, as digits; p tells which ones. The 8 threads of 64 columns are
// neighbours in a warp.
template <bool Halves> __device__ __forceinline__ void keep_digits(uint8_t *token, int padded, const uint32_t (&q)[4], int p, bool within) {
    const int kb = p >> 3, half = p >> 2 & 1, h = p >> 1 & 1, lower = p & 1;
    float sum = 0;
    uint32_t most = 0;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        sum += low(q[k]) + high(q[k]);
        most = max(most, max(q[k] & 0x7FFF, q[k] >> 16 & 0x7FFF));
    }
#pragma unroll
    for (int m = 4; m; m >>= 1) {
        sum += __shfl_xor_sync(~0u, sum, m);
        most = max(most, __shfl_xor_sync(~0u, most, m));
    }
    const uint32_t exponent = max(most >> 7, 24u);  // 255: not a number, or infinite
    const float Zero = 12582912, factor = __uint_as_float((275 - exponent) << 23);  // times it all are below 2^22
    // a lane's word is of two numbers of this thread and two that lie 16 columns on, in turns
    uint32_t mine[2], others[2];
#pragma unroll
    for (int t = 0; t < 2; t++) {
        mine[t] = h ? q[2 + t] : q[t];
        others[t] = __shfl_xor_sync(~0u, h ? q[t] : q[2 + t], 2);
    }
    uint32_t digits[Digits][2];
#pragma unroll
    for (int t = 0; t < 2; t++) {
        const uint32_t front = h ? others[t] : mine[t], back = h ? mine[t] : others[t];
        const float x[4] = {low(front), low(back), high(front), high(back)};
        uint32_t v[4];
#pragma unroll
        for (int k = 0; k < 4; k++) v[k] = __float_as_uint(fmaf(x[k], factor, Zero)) - __float_as_uint(Zero) + 0x808080;  // digits + 128
        const uint32_t a = __byte_perm(v[0], v[1], 0x5140), b = __byte_perm(v[2], v[3], 0x5140);
        digits[0][t] = __byte_perm(a, b, 0x5410), digits[1][t] = __byte_perm(a, b, 0x7632);
        digits[2][t] = __byte_perm(__byte_perm(v[0], v[1], 0x0062), __byte_perm(v[2], v[3], 0x0062), 0x5410);
    }
    if (!within) return;
#pragma unroll
    for (int n = 0; n < Digits; n++)
#pragma unroll
        for (int t = 0; t < 2; t++) {
            const int c = Halves ? 2 * h + t : 2 * half + h, word = Halves ? 2 * half + lower : 2 * t + lower;
            *(uint32_t *)(token + kb * DigitBytes + 64 * n + 16 * c + 4 * word) = digits[n][t] ^ 0x80808080;
        }
    if ((p & 7) == 0) {
        const float unit = exponent == 255 ? __uint_as_float(0x7FC00000) : __uint_as_float((exponent - 21) << 23);
        *(float4 *)(token + padded * DigitBytes + 16 * kb) = make_float4(unit, 0, 65536 * unit, sum);
    }
}

// keep_token writes the token, or its norm, to shared memory. The last columns are filled up with zeros, to padded blocks of 64.
// Each team of 256 threads makes the norm for itself, and writes its part. A thread asks for all its pieces of Held at a time, then
// waits once. Among steps the token may be mailed: other blocks are still writing it.
template <bool Normed, int Teams> __device__ __forceinline__ void keep_token(uint8_t *token, float *line, const bf16 *x, bool mailed, int K, int padded, const Around &o) {
    constexpr bool Mail = Teams > 1;
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
            if (i < K && (own || Normed && p0 == 0)) held[h] = Mail ? read_mail(x + i) : *(const uint4 *)(x + i);
            if (Normed && own && i < K) norms[h % Norms].read(o.w, o.type, i);
        }
        if (Mail && mailed) {
#pragma unroll
            for (int h = 0; h < Held; h++) await(held[h], x + 8 * (p0 + 256 * h + t));
        }
        if (Normed && p0 == 0) {  // sums in the order of the kernels of norms
            float s = 0, v[8];
            if (K <= 1024) s = warp_sum(token_squares<Mail>(x, K, threadIdx.x & 31, 32, mailed));
            else if (K > 2048 * Held) s = team_sum(token_squares<Mail>(x, K, t, 256, mailed), line, team);
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
            const int p = p0 + 256 * h + t, i = 8 * p;
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
            keep_digits<(Teams > 1)>(token, padded, {held[h].x, held[h].y, held[h].z, held[h].w}, p, p < padded * 8);
        }
    }
}

// Columns are what a lane needs of the token for a round, of 8 blocks of 64 columns. A round beyond the token, whose weights are
// zeros, has the last columns.
struct Columns {
    const uint4 *digits;
    const float2 *own;
    __device__ __forceinline__ Columns(const uint8_t *token, int padded, int round) {
        const int lane = threadIdx.x & 31, first = min((8 * round + (threadIdx.x >> 5 & 7)) * Round, padded - Round);
        digits = (const uint4 *)token + first * 12 + 4 * min(lane >> 2 & 3, Digits - 1) + (lane & 3);
        own = (const float2 *)(token + padded * DigitBytes) + 2 * first + (lane & 1);
    }
};

// multiply_block adds what a lane has of 16 rows by 64 columns, numbers q and scales v, to y. Numbers are multiplied as whole ones,
// exactly, with each digit of the token: a column of the product is a digit's, twice. Lanes with even c take the two lower digits,
// those with odd c the highest one and what goes with the sum of x, of row r or with c > 1 of row r + 8: 64 columns are of one
// group, so that y += s*(sum of q*x - z*(sum of x)) + b*(sum of x). less is -z.
__device__ __forceinline__ float multiply_block(float y, uint4 q, uint2 v, const Columns &columns, int i, float less) {
    const int lane = threadIdx.x & 31, c = lane & 3;
    constexpr uint32_t Mask = 0x0F0F0F0F;
    constexpr float Zero = 12582912;  // 1.5 * 2^23: whole numbers are added to its last bits
    const uint32_t half = lane >> 2 & 1 ? 0x3244 : 0x1044, zero = __float_as_uint(Zero);
    uint32_t acc[4] = {zero, zero, zero, zero};
    const uint4 d = columns.digits[12 * i];
    const uint32_t first[4] = {q.x & Mask, q.y & Mask, q.x >> 4 & Mask, q.y >> 4 & Mask}, second[4] = {q.z & Mask, q.w & Mask, q.z >> 4 & Mask, q.w >> 4 & Mask};
    mma_bytes(acc, first, d.x, d.y);
    mma_bytes(acc, second, d.z, d.w);
    const float2 own = columns.own[2 * i];
    const float lower = __uint_as_float(c > 1 ? acc[2] : acc[0]) - Zero, upper = __uint_as_float(c > 1 ? acc[3] : acc[1]) - Zero;
    const float sum = fmaf(less, own.y, fmaf(upper, c & 1 ? 0 : 256, lower) * own.x);
    y = fmaf(__uint_as_float(__byte_perm(v.x, 0, half)), sum, y);
    return fmaf(__uint_as_float(__byte_perm(v.y, 0, half)), own.y, y);
}

// own_scales is what a lane reads of a block's scales, of a round in shared memory: those of two rows, then their biases.
__device__ __forceinline__ uint2 own_scales(const uint8_t *scales, int i) {
    const int lane = threadIdx.x & 31;
    return *(const uint2 *)(scales + 64 * i + 16 * (lane >> 3) + 8 * (lane >> 1 & 1));
}

// multiply adds what a warp has of 16 rows in a round to y, and lets the cursor's copies follow into the ring.
__device__ __forceinline__ float multiply(float y, Ring &ring, const Cursor &ahead, const Columns &columns, float less) {
#pragma unroll
    for (int i = 0; i < Round; i++) {
        cp_wait<Round - 1>();
        if (i == 0) {
            __syncwarp();
            ahead.copy_scales(ring.free());
        }
        const uint4 q = *(const uint4 *)(ring.numbers + 512 * i + 16 * (threadIdx.x & 31));
        const uint2 v = own_scales(ring.scales(), i);
        ahead.copy(ring.numbers, i);
        y = multiply_block(y, q, v, columns, i, less);
    }
    ring.scale ^= 1;
    return y;
}

// add_update gives a warp's sums of 16 rows of an item to part, with its share of the update.
__device__ __forceinline__ void add_update(float (&part)[16], const Rows &m, int which, int mats, int item, float y) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 7, c = lane & 3, row = 8 * (c >> 1) + (lane >> 2);
    y += __shfl_xor_sync(~0u, y, 1);
    if (m.rank[which]) {
        int rows16 = item;
        if (mats == 1) for (int i = 0; i < which; i++) rows16 -= (m.rows[i] + 15) / 16;
        if (rows16 * 16 + row < m.rows[which])
            for (int l = warp; l < m.rank[which]; l += 8) y += m.scale[which] * m.u[which][l] * m.v[which][(int64_t)l * m.rows[which] + rows16 * 16 + row];
    }
    if ((c & 1) == 0) part[row] = y;
}

// rounded is a number as Y holds it.
template <class Y> __device__ __forceinline__ float rounded(float v) {
    Y y;
    round_to(&y, v);
    return widen(y);
}

// finish adds up the parts of 8 warps, writes what becomes of an item and returns it: a row a thread, or 0 where the matrix has
// no such row. addend is what is added to the row.
template <class Y> __device__ __forceinline__ float finish(const float (*part)[8][16], const Rows &m, const Around &o, int mats, int tail, int item, int row, float addend) {
    float made[2];
    int which, rows16;
    Cursor::place(m, mats, item, 0, which, rows16);
    const int n = rows16 * 16 + row;
    if (n >= m.rows[which]) return 0;
    for (int mat = 0; mat < mats; mat++, which++) {
        float s = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) s += part[mat][i][row];
        if (m.bias[which]) s += at(m.bias[which], m.biasType[which], n);
        round_to((Y *)m.y[which] + n, s);
        made[mat & 1] = rounded<Y>(s);
    }
    if (tail == Nothing) return made[0];
    const float s = tail == Added ? addend + made[0] : made[1] * (made[0] * sigmoid(made[0]));
    round_to(o.sum + n, s);
    return s;
}

// addend_of reads what is added to a row of an item, which is of one matrix: long before it is needed.
__device__ __forceinline__ float addend_of(const Rows &m, const Around &o, int item, int row) {
    const int n = item * 16 + row;
    return row < 16 && n < m.rows[0] ? widen(o.addend[n]) : 0;
}

// padded_of is how many blocks K columns are, filled up to what a warp takes. rounds_of is how many rounds of 8 warps they are.
__device__ __forceinline__ int padded_of(int K) { return (K + 64 * Round - 1) / (64 * Round) * Round; }
__device__ __forceinline__ int rounds_of(int K) { return (K + 64 * 8 * Round - 1) / (64 * 8 * Round); }

// one: y = x Wᵀ (+ bias) (+ update) for one token x [K], which lies in shared memory. A block of 8 warps makes 16 rows after
// another; the warps share K.
template <class Y, bool Normed, int Tail> __device__ __forceinline__ void one_w4(const bf16 *x, int K, int KB, uint32_t zero, const Rows &m, const Around &o, int items) {
    constexpr int Mats = Tail == Gated ? 2 : 1;
    SHARED_ARRAY(uint8_t, smem, 128);
    __shared__ float part[2][Mats][8][16], line[8];
    const int warp = threadIdx.x >> 5, blocks = (K + 63) / 64, rounds = rounds_of(K), padded = padded_of(K);
    uint8_t *token = smem + OneRing;
    Ring ring = {smem + warp * Ring::Bytes, 0};
    Cursor ahead = {nullptr, nullptr, 0, (int)blockIdx.x, 0, 0};
    launch_dependents();
    ahead.start(m, Mats, KB, blocks, items);
    ahead.copy_scales(ring.scales());
#pragma unroll
    for (int i = 0; i < Round; i++) ahead.copy(ring.numbers, i);
    wait_for_earlier();
    keep_token<Normed, 1>(token, line, x, false, K, padded, o);
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
                y = multiply(y, ring, ahead, Columns(token, padded, round), low(zero) + 128);
            }
            int which, rows16;
            Cursor::place(m, Mats, item, mat, which, rows16);
            add_update(part[side][mat][warp], m, which, Mats, item, y);
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
