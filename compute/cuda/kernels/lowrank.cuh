// Products of bf16 activations with the few columns of low-rank updates, several in a launch: x A and dy Bᵀ, which sum over a
// row of activations (narrow_mma), and the gradients of A and B, which sum over all rows (tall_mma). dy Bᵀ and the gradient of B are made
// of one read of dy (paired_mma).
//
// A warp asks for the rows of 16 by 64 activations that it needs next before it uses the first of them, and a core has several blocks of
// eight: nothing else would keep the memory busy for so short a time. A few products of the same activations are made of one read. The
// few columns are float32, taken as two numbers of bf16 each.
#pragma once
#include "tiles.cuh"

namespace {
// A Thin is one product of a launch. Those of the same x lie side by side and have the same `first`.
struct Thin {
    float *c;        // narrow: [rows, few]; tall: [few, many], or [many, few] where turned; null for no product
    const bf16 *x;   // [rows, many]
    const float *s;  // narrow: [many, few], or [few, many] where turned; tall: [rows, few]
    float *parts;    // c for each part of the sum, where there is more than one
    int few, many;
    int first, flags;  // the first of the units that the products of x are made in, see thin_first; Turned and Adding
    float alpha;
};
constexpr int MostThin = 6, Turned = 1, Adding = 2;
struct ThinList { Thin p[MostThin]; };

// thin_first is the first of the n products that unit u is of.
__device__ __forceinline__ int thin_first(const ThinList &list, int n, int u) {
    int first = 0;
    for (int i = 1; i < n; i++) if (list.p[i].first <= u && list.p[i].first != list.p[first].first) first = i;
    return first;
}

__device__ __forceinline__ void thin_put(const Thin &p, int64_t i, float v) { p.c[i] = p.alpha * v + (p.flags & Adding ? p.c[i] : 0); }

// thin_last tells the last of the blocks that count together; all of them have written their parts then.
__device__ __forceinline__ bool thin_last(uint32_t *count, int blocks) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(count, 1) == blocks - 1;
        if (last) *count = 0;
    }
    __syncthreads();
    __threadfence();
    return last;
}

// thin_sum adds up the parts of `each` elements of c from i on, in order: of four, a multiple of 4, or of one. It asks for 12 parts at once.
__device__ __forceinline__ void thin_sum(float (&v)[4], const Thin &p, int64_t i, int parts, int64_t size, int each) {
    v[0] = v[1] = v[2] = v[3] = 0;
    if (each == 1) {
#pragma unroll 8
        for (int k = 0; k < parts; k++) v[0] += __ldcg(p.parts + k * size + i);
        return;
    }
#pragma unroll 1
    for (int k = 0; k < parts; k += 12) {
        float4 f[12];
#pragma unroll
        for (int h = 0; h < 12; h++) f[h] = k + h < parts ? __ldcg((const float4 *)(p.parts + (k + h) * size + i)) : make_float4(0, 0, 0, 0);
#pragma unroll
        for (int h = 0; h < 12; h++) v[0] += f[h].x, v[1] += f[h].y, v[2] += f[h].z, v[3] += f[h].w;
    }
}

// thin_finish puts the sums of the parts, in order, of n elements of c, e at at(e), as 256 threads. It asks for K parts of E elements at
// once, as they are few: one after another, the last blocks would wait for each while all others have ended.
template <class F> __device__ __forceinline__ void thin_finish(const Thin &p, int n, int parts, int64_t size, F at) {
    constexpr int K = 4, E = 4;
    for (int e0 = threadIdx.x; e0 < n; e0 += 256 * E) {
        float v[E] = {};
        int64_t i[E];
#pragma unroll
        for (int j = 0; j < E; j++) i[j] = at(min(e0 + 256 * j, n - 1));
#pragma unroll 1
        for (int k = 0; k < parts; k += K) {
            float f[K][E];
#pragma unroll
            for (int h = 0; h < K; h++)
#pragma unroll
                for (int j = 0; j < E; j++) f[h][j] = k + h < parts ? __ldcg(p.parts + (k + h) * size + i[j]) : 0;
#pragma unroll
            for (int h = 0; h < K; h++)
#pragma unroll
                for (int j = 0; j < E; j++) v[j] += f[h][j];
        }
#pragma unroll
        for (int j = 0; j < E; j++) if (e0 + 256 * j < n) thin_put(p, i[j], v[j]);
    }
}

// halves splits a float pair into bf16 pairs: their sum has the float's precision, nearly.
__device__ __forceinline__ void halves(float a, float b, uint32_t &hi, uint32_t &lo) {
    hi = pack2(a, b);
    lo = pack2(a - low(hi), b - high(hi));
}

// A slice is eight of the few columns of a product: its number, and 8 times the first of them.
constexpr int MostSlices = 3;  // that are made of one read

// thin_slices lists up to N slices of the products of one x from `next` on, moves that on, and tells how many they are.
template <int N> __device__ __forceinline__ int thin_slices(int (&slice)[N], int &next, const ThinList &list, int n, int first) {
    int count = 0;
#pragma unroll
    for (int j = 0; j < N; j++) {
        slice[j] = next;
        const int i = next & 7;
        if (i >= n || list.p[i].first != list.p[first].first) continue;
        count++;
        next += 64;
        if (next >> 3 >= list.p[i].few) next = i + 1;
    }
    return count;
}

// thin_ask starts the copies of a warp's 64 rows of x from row0 on, 64 columns of each from column0 on, 16 rows a group. Zeros
// stand for what does not exist.
__device__ __forceinline__ void thin_ask(uint32_t tile, const bf16 *x, int row0, int rows, int column0, int width) {
    const int lane = threadIdx.x & 31, r = lane >> 3, c = lane & 7;
    const uint32_t to = tile + r * 128 + ((c ^ r) << 4);
    const bf16 *from = x + (int64_t)(row0 + r) * width + column0 + 8 * c;
    const int left = column0 + 8 * c < width ? rows - row0 - r : 0;
#pragma unroll
    for (int i = 0; i < 16; i++, from += 4 * width) {
        cp16((to ^ i % 2 * 64) + 512 * i, from, 4 * i < left);
        if (i % 4 == 3) cp_commit();
    }
}
// thin_wait waits for group i of thin_ask.
__device__ __forceinline__ void thin_wait(int i) {
    if (i == 0) cp_wait<3>();
    if (i == 1) cp_wait<2>();
    if (i == 2) cp_wait<1>();
    if (i == 3) cp_wait<0>();
    __syncwarp();
}

// narrow_columns reads columns n0 to n0+7 of s for 64 numbers from k0 on, as B of four mma: b[k] is both high parts, then both
// low. What does not exist is not zero: columns of c that are not there, and what x has zeros for.
__device__ __forceinline__ void narrow_columns(uint32_t (&b)[4][4], const Thin &p, int n0, int k0) {
    const int n = min(n0 + (((int)threadIdx.x & 31) >> 2), p.few - 1), q = threadIdx.x & 3;
    float2 f[8];
    if (p.flags & Turned) {
        const float *row = p.s + (int64_t)n * p.many;
#pragma unroll
        for (int i = 0; i < 8; i++) f[i] = __ldg((const float2 *)(row + min(k0 + 8 * i + 2 * q, p.many - 2)));
    } else {
        const float *column = p.s + n;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            int k = min(k0 + 8 * i + 2 * q, p.many - 2) * p.few;
            f[i] = make_float2(__ldg(column + k), __ldg(column + k + p.few));
        }
    }
#pragma unroll
    for (int k = 0; k < 4; k++) halves(f[2 * k].x, f[2 * k].y, b[k][0], b[k][2]), halves(f[2 * k + 1].x, f[2 * k + 1].y, b[k][1], b[k][3]);
}

// narrow_multiply multiplies a tile of 16 rows by 64 numbers with up to S slices, as thin_ask and narrow_columns give them. To parts go
// [slice, 16, 8]; they may have the tile's place.
template <int S> __device__ __forceinline__ void narrow_multiply(float *parts, uint32_t tile, const uint32_t (&b)[S][4][4], int slices) {
    const int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
    float acc[S][4] = {};
#pragma unroll
    for (int k = 0; k < 4; k++) {
        uint32_t a[4];
        rows16<64>(a, tile, 0, k);
#pragma unroll
        for (int j = 0; j < S; j++)
            if (j < slices) mma(acc[j], a, b[j][k][0], b[j][k][1]), mma(acc[j], a, b[j][k][2], b[j][k][3]);
    }
    __syncwarp();
#pragma unroll
    for (int j = 0; j < S; j++)
#pragma unroll
        for (int e = 0; e < 2; e++)
            if (j < slices) *(float2 *)(parts + j * 128 + (8 * e + g) * 8 + 2 * q) = make_float2(acc[j][2 * e], acc[j][2 * e + 1]);
}

// narrow_warps adds up, in order, what 8 warps have of 64 rows by the slice from column c0 on, and puts it, or writes it as a part. A
// warp's parts lie Warp numbers behind those of the one before, and each 16 rows of them Step numbers.
template <int Warp, int Step> __device__ __forceinline__ void narrow_warps(const Thin &p, const float *parts, int c0, int m0, int M, int unit, int units) {
    for (int e = threadIdx.x; e < 512; e += 256) {
        int row = m0 + e / 8, col = c0 + e % 8;
        if (row >= M || col >= p.few) continue;
        const float *part = parts + e / 128 * Step + e % 128;
        float v = 0;
#pragma unroll
        for (int w = 0; w < 8; w++) v += part[w * Warp];
        int64_t at = (int64_t)row * p.few + col;
        if (units == 1) thin_put(p, at, v); else p.parts[(int64_t)unit * M * p.few + at] = v;
    }
}

// narrow_finish adds up the units' parts of 64 rows, of the products of one x from `first` on.
__device__ __forceinline__ void narrow_finish(const ThinList &list, int n, int first, int m0, int M, int units) {
    int e = threadIdx.x;  // among all elements of the products
    for (int i = first; i < n && list.p[i].first == list.p[first].first; i++) {
        const Thin &p = list.p[i];
        const int each = p.few % 4 ? 1 : 4, all = min(64, M - m0) * p.few / each;
        for (; e < all; e += 256) {
            float v[4];
            const int64_t at = (int64_t)m0 * p.few + e * each;
            thin_sum(v, p, at, units, (int64_t)M * p.few, each);
#pragma unroll
            for (int k = 0; k < 4; k++) if (k < each) thin_put(p, at + k, v[k]);
        }
        e -= all;
    }
}

// narrow_unit: c [M, few] = alpha x s (+ c). A block makes 64 rows, for one of the units of 512 numbers that a row of x is cut
// into; a warp sums over 64 of them. gridDim.y is the units of all x. The order of a row's sum depends on `many` alone.
__device__ __forceinline__ void narrow_unit(const ThinList &list, int n, int M, uint32_t *counts) {
    SHARED_ARRAY(uint8_t, shared, 128);  // 8 KiB a warp: 16 rows are 2 KiB, of which the sums take what they need
    overlap_start();
    const int warp = threadIdx.x >> 5, m0 = blockIdx.x * 64;
    const int first = thin_first(list, n, blockIdx.y), unit = blockIdx.y - list.p[first].first, K = list.p[first].many;
    const int units = (K + 511) / 512, k0 = unit * 512 + warp * 64;
    const uint32_t tile = smem32(shared) + warp * 8192;
    int slice[MostSlices], next = first;
    while (const int slices = thin_slices(slice, next, list, n, first)) {
        thin_ask(tile, list.p[first].x, m0, M, k0, K);
        uint32_t b[MostSlices][4][4];
#pragma unroll
        for (int j = 0; j < MostSlices; j++) if (j < slices) narrow_columns(b[j], list.p[slice[j] & 7], slice[j] >> 3, k0);
#pragma unroll 1
        for (int m = 0; m < 4; m++) {
            thin_wait(m);
            narrow_multiply((float *)(shared + warp * 8192 + m * 2048), tile + 2048 * m, b, slices);
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < MostSlices; j++)
            if (j < slices) narrow_warps<2048, 512>(list.p[slice[j] & 7], (const float *)shared + j * 128, slice[j] >> 3, m0, M, unit, units);
        __syncthreads();
    }
    if (units > 1 && thin_last(counts + first * gridDim.x + blockIdx.x, units)) narrow_finish(list, n, first, m0, M, units);
}

// A sum over rows is made of chunks of 128, which a warp adds up. TallChunks of them in order are a part, and the parts in order the
// sum, whichever kernel makes it.
constexpr int TallChunk = 128, TallChunks = 8, Ahead = 4;  // Ahead: pieces of 16 rows, of 2 KiB, that a warp has or waits for

// tall_rows reads columns r0 to r0+7 of s for 16 rows from t0 on; tall_halves makes B of an mma of them: both high parts, then both low.
// What does not exist is not zero: columns of c that are not there, and what x has zeros for.
__device__ __forceinline__ void tall_rows(float (&f)[4], const Thin &p, int r0, int t0, int T) {
    const float *column = p.s + min(r0 + (((int)threadIdx.x & 31) >> 2), p.few - 1);
    const int t = t0 + 2 * ((int)threadIdx.x & 3);
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const int row = t + (e & 1) + 8 * (e >> 1);
        f[e] = __ldg(column + (t0 + 16 <= T ? row : min(row, T - 1)) * p.few);
    }
}
__device__ __forceinline__ void tall_halves(uint32_t (&b)[4], const float (&f)[4]) { halves(f[0], f[1], b[0], b[2]), halves(f[2], f[3], b[1], b[3]); }

// Pieces are a warp's 64 columns of x, which it reads piece by piece. ask starts the copy of piece i, zeros for what does not exist, and
// is called for each number once, in order, the first Ahead of them ahead; wait waits for piece i and tells where it lies.
struct Pieces {
    const bf16 *from;
    uint32_t ring, to;
    int left, width;
    __device__ __forceinline__ Pieces(uint32_t ring, const bf16 *x, int row0, int rows, int column0, int width) : ring(ring), width(width) {
        const int lane = threadIdx.x & 31, r = lane >> 3, c = lane & 7;
        to = ring + r * 128 + ((c ^ r) << 4), from = x + (int64_t)(row0 + r) * width + column0 + 8 * c;
        left = column0 + 8 * c < width ? rows - row0 - r : 0;
    }
    __device__ __forceinline__ void ask(int i) {
        if (i < TallChunk / 16) {
            const bf16 *p = from + (int64_t)(16 * i) * width;
#pragma unroll
            for (int k = 0; k < 4; k++, p += 4 * width) cp16((to ^ k % 2 * 64) + i % Ahead * 2048 + 512 * k, p, 16 * i + 4 * k < left);
        }
        cp_commit();
    }
    __device__ __forceinline__ uint32_t wait(int i) {
        cp_wait<Ahead - 1>();
        __syncwarp();
        return ring + i % Ahead * 2048;
    }
};

// across is columns 16c and on of a piece as A of an mma, 16 columns of x by 16 rows.
__device__ __forceinline__ void across(uint32_t (&a)[4], uint32_t piece, int c) {
    const int lane = threadIdx.x & 31;
    ldmatrix_trans(a, piece + ((lane & 7) + (lane >> 4) * 8) * 128 + ((2 * c ^ (lane >> 3 & 1) ^ (lane & 7)) << 4));
}

// tall_slices makes a block's part of the sums of some slices, for columns of x from w0 on.
template <int N> __device__ __forceinline__ void tall_slices(const ThinList &list, const int (&slice)[N], int slices, int T, int w0, uint8_t *shared) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3;
    const Thin &x = list.p[slice[0] & 7];
    const int W = x.many, t0 = (blockIdx.x * TallChunks + warp) * TallChunk;
    Pieces pieces(smem32(shared) + warp * 8192, x.x, t0, T, w0, W);
#pragma unroll
    for (int i = 0; i < Ahead; i++) pieces.ask(i);
    float acc[N][4][4] = {}, next[N][4];  // 16 columns of x each, by 8 of s
#pragma unroll
    for (int j = 0; j < N; j++) if (j < slices) tall_rows(next[j], list.p[slice[j] & 7], slice[j] >> 3, t0, T);
#pragma unroll 1
    for (int i = 0; i < TallChunk / 16; i++) {
        uint32_t b[N][4];
#pragma unroll
        for (int j = 0; j < N; j++)
            if (j < slices) tall_halves(b[j], next[j]), tall_rows(next[j], list.p[slice[j] & 7], slice[j] >> 3, t0 + 16 * i + 16, T);
        const uint32_t piece = pieces.wait(i);
#pragma unroll
        for (int c = 0; c < 4; c++) {
            uint32_t a[4];
            across(a, piece, c);
#pragma unroll
            for (int j = 0; j < N; j++)
                if (j < slices) mma(acc[j][c], a, b[j][0], b[j][1]), mma(acc[j][c], a, b[j][2], b[j][3]);
        }
        __syncwarp();
        pieces.ask(i + Ahead);
    }
    float *part = (float *)(shared + warp * 8192);  // [slice, 8, 64], swizzled
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
        for (int c = 0; c < 4; c++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int r = 2 * q + (e & 1), col = 16 * c + g + 8 * (e >> 1);
                if (j < slices) part[j * 512 + r * 64 + (col ^ 4 * r)] = acc[j][c][e];
            }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < N; j++) {
        if (j >= slices) break;
        const Thin &p = list.p[slice[j] & 7];
        const int turned = p.flags & Turned;
        for (int e = threadIdx.x; e < 512; e += 256) {
            int r = turned ? e % 8 : e / 64, col = turned ? e / 8 : e % 64, row = (slice[j] >> 3) + r;
            if (row >= p.few || w0 + col >= W) continue;
            const float *chunk = (const float *)shared + j * 512 + r * 64 + (col ^ 4 * r);
            float v = 0;
#pragma unroll
            for (int w = 0; w < TallChunks; w++) v += chunk[w * 2048];
            int64_t at = turned ? (int64_t)(w0 + col) * p.few + row : (int64_t)row * W + w0 + col;
            if (gridDim.x == 1) thin_put(p, at, v); else p.parts[(int64_t)blockIdx.x * p.few * W + at] = v;
        }
    }
    __syncthreads();
}
// tall_unit: c = alpha sᵀ x (+ c), a sum over T rows. A block makes a part of a unit of 64 columns of x, a warp a chunk of it, of N slices
// at once. gridDim.x is the parts. Units begin with the last.
template <int N> __device__ __forceinline__ void tall_unit(const ThinList &list, int n, int T, int unit, uint32_t *counts) {
    SHARED_ARRAY(uint8_t, shared, 128);  // 8 KiB a warp: its ring, then its sums
    const int first = thin_first(list, n, unit), W = list.p[first].many, w0 = (unit - list.p[first].first) * 64;
    int slice[N], next = first;
    while (const int slices = thin_slices(slice, next, list, n, first)) tall_slices<N>(list, slice, slices, T, w0, shared);
    if (gridDim.x == 1 || !thin_last(counts + unit, gridDim.x)) return;
    for (int i = first; i < n && list.p[i].first == list.p[first].first; i++) {
        const Thin &p = list.p[i];
        const int columns = min(64, W - w0);
        thin_finish(p, columns * p.few, gridDim.x, (int64_t)p.few * W, [&](int e) {
            return p.flags & Turned ? (int64_t)w0 * p.few + e : (int64_t)(e / columns) * W + w0 + e % columns;
        });
    }
}

// chunks_sum puts numbers of a tall product of which paired_unit has made the chunks: four a thread, of block `block` of those of p.
__device__ __forceinline__ void chunks_sum(const Thin &p, int T, int block) {
    const int chunks = (T + TallChunk - 1) / TallChunk;
    const int64_t size = (int64_t)p.few * p.many, i = ((int64_t)block * 256 + threadIdx.x) * 4;
    if (i >= size) return;
    float v[4] = {};
    for (int k = 0; k < chunks; k += TallChunks) {
        float4 f[TallChunks];
#pragma unroll
        for (int h = 0; h < TallChunks; h++) f[h] = k + h < chunks ? __ldcg((const float4 *)(p.parts + (k + h) * size + i)) : make_float4(0, 0, 0, 0);
        float part[4] = {};
#pragma unroll
        for (int h = 0; h < TallChunks; h++) part[0] += f[h].x, part[1] += f[h].y, part[2] += f[h].z, part[3] += f[h].w;
#pragma unroll
        for (int e = 0; e < 4; e++) v[e] += part[e];
    }
#pragma unroll
    for (int e = 0; e < 4; e++) thin_put(p, i + e, v[e]);
}

// paired_unit makes products of up to eight columns of one x: the narrow list.p[2i], and the tall list.p[2i+1] where there is one. A block
// makes a unit of 512 columns, as narrow_unit does, for a chunk of rows: sums over the columns as that gives them, and each chunk's sums over
// rows, for chunks_sum. gridDim.x is the chunks, gridDim.y the units of all n x.
__device__ __forceinline__ void paired_unit(const ThinList &list, int n, int M, uint32_t *counts) {
    SHARED_ARRAY(uint8_t, shared, 128);  // 8 KiB a warp: its ring, then its sums over columns; and B of tall products for 16 rows each
    uint4 *rows = (uint4 *)(shared + 8 * 8192);
    overlap_start();
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, q = lane & 3, m0 = blockIdx.x * TallChunk;
    int pair = 0;
    for (int i = 1; i < n; i++) if (list.p[2 * i].first <= blockIdx.y) pair = i;
    const Thin &narrow = list.p[2 * pair], &tall = list.p[2 * pair + 1];
    const int K = narrow.many, unit = blockIdx.y - narrow.first, units = (K + 511) / 512, k0 = unit * 512 + warp * 64;
    const bool both = tall.c;
    Pieces pieces(smem32(shared) + warp * 8192, narrow.x, m0, M, k0, K);
#pragma unroll
    for (int i = 0; i < Ahead; i++) pieces.ask(i);
    uint32_t b[4][4];
    narrow_columns(b, narrow, 0, k0);
    if (both) {
        float f[4];
        uint32_t s[4];
        tall_rows(f, tall, 0, m0 + 16 * warp, M);
        tall_halves(s, f);
        rows[32 * warp + lane] = make_uint4(s[0], s[1], s[2], s[3]);
    }
    __syncthreads();
    float acc[TallChunk / 16][4] = {}, sums[4][4] = {};
#pragma unroll
    for (int i = 0; i < TallChunk / 16; i++) {
        const uint32_t piece = pieces.wait(i);
        const uint4 s = both ? rows[32 * i + lane] : make_uint4(0, 0, 0, 0);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t a[4];
            rows16<64>(a, piece, 0, k);
            mma(acc[i], a, b[k][0], b[k][1]), mma(acc[i], a, b[k][2], b[k][3]);
            if (!both) continue;
            across(a, piece, k);
            mma(sums[k], a, s.x, s.y), mma(sums[k], a, s.z, s.w);
        }
        __syncwarp();
        pieces.ask(i + Ahead);
    }
    if (both) {
        float *part = tall.parts + (int64_t)blockIdx.x * tall.few * K + k0;
#pragma unroll
        for (int k = 0; k < 4; k++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int r = 2 * q + (e & 1), col = 16 * k + g + 8 * (e >> 1);
                if (r < tall.few && k0 + col < K) part[(int64_t)r * K + col] = sums[k][e];
            }
    }
    float *part = (float *)(shared + warp * 8192);
#pragma unroll
    for (int i = 0; i < TallChunk / 16; i++)
#pragma unroll
        for (int e = 0; e < 2; e++) *(float2 *)(part + (16 * i + 8 * e + g) * 8 + 2 * q) = make_float2(acc[i][2 * e], acc[i][2 * e + 1]);
    __syncthreads();
    const int64_t from = (int64_t)m0 * narrow.few, size = (int64_t)M * narrow.few;
#pragma unroll
    for (int h = 0; h < TallChunk * 8 / 256; h++) {
        const int e = threadIdx.x + 256 * h, row = m0 + e / 8, col = e % 8;
        if (row >= M || col >= narrow.few) continue;
        float v = 0;
#pragma unroll
        for (int w = 0; w < 8; w++) v += ((const float *)shared)[w * 2048 + e];
        const int64_t at = (int64_t)row * narrow.few + col;
        if (units == 1) thin_put(narrow, at, v); else narrow.parts[unit * size + at] = v;
    }
    if (units == 1 || !thin_last(counts + pair * gridDim.x + blockIdx.x, units)) return;
    thin_finish(narrow, min(TallChunk, M - m0) * narrow.few, units, size, [&](int e) { return from + e; });
}
#if __CUDA_ARCH__ == 900
constexpr int ThinBlocks = 3;
#else  // where shared memory or the compiler's use of registers allows no more
constexpr int ThinBlocks = 2;
#endif
}  // namespace

extern "C" __global__ void __launch_bounds__(256, ThinBlocks) narrow_mma(const __grid_constant__ ThinList list, int n, int M, uint32_t *counts) {
    narrow_unit(list, n, M, counts);
}
// tall_mma makes n tall products, of up to eight columns for each x, and in the first blocks, of sumRows of gridDim.y, the sums of those
// behind them of which paired_mma has made the chunks. tall_more_mma does so for more columns.
#define TALL(NAME, N, BLOCKS)                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256, BLOCKS) NAME(const __grid_constant__ ThinList list, int n, int sums, int sumRows, int T, uint32_t *counts) { \
        overlap_start();                                                                                                                                       \
        if (blockIdx.y >= sumRows) return tall_unit<N>(list, n, T, gridDim.y - 1 - blockIdx.y, counts);                                                         \
        const int block = blockIdx.y * gridDim.x + blockIdx.x;                                                                                                 \
        int i = n;                                                                                                                                             \
        while (i + 1 < n + sums && list.p[i + 1].first <= block) i++;                                                                                          \
        chunks_sum(list.p[i], T, block - list.p[i].first);                                                                                                     \
    }
TALL(tall_mma, 1, ThinBlocks)
TALL(tall_more_mma, MostSlices, 2)
extern "C" __global__ void __launch_bounds__(256, 2) paired_mma(const __grid_constant__ ThinList list, int n, int M, uint32_t *counts) {
    paired_unit(list, n, M, counts);
}
