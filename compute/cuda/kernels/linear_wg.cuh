// Products with packed 4-bit weights on Hopper (sm_90a), for many tokens: y [T, N] = x [T, K] Wᵀ (+ bias + u vᵀ), and with
// BACK the gradient of the input, dx [T, K] = dy [T, N] W (+ u vᵀ), from the same blocks.
//
// The product is made transposed: weights are the A operand, widened from 4 bits straight into registers; tokens are the B
// operand, brought to shared memory by the tensor copy engine. A tile is 128 rows of weights by 256 tokens; one thread
// brings data, two warpgroups multiply (64 rows each). The grid is persistent. The low-rank part is a last step of the
// sum: u [T, 64*steps] comes as tokens do, v [rows, 64*steps] is read straight into registers.
#include "hopper.cuh"
#include "w4.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
namespace {
namespace wg {
constexpr int BR = 128, BK = 64, Stages = 4, WBytes = 2 * BlockBytes;

__device__ __forceinline__ __nv_bfloat162 bf2(uint32_t v) { return *(__nv_bfloat162 *)&v; }

__device__ __forceinline__ void frag_fwd(uint32_t (&a)[4][4], const uint8_t *blk, int tid, uint32_t zero) {
    int lane = tid & 31, w = tid >> 5, r = lane >> 2;
    rows_frag(a, ((const uint2 *)blk)[unit(w, 0, r, lane & 3)], ((const uint2 *)blk)[unit(w, 1, r, lane & 3)], *(const uint4 *)(blk + 2048 + 64 * w + 16 * (r >> 1)), r & 1, zero);
}

// pair_of is pairs for one nibble of two rows' words.
__device__ __forceinline__ uint32_t pair_of(uint32_t p, int sh, uint32_t s, uint32_t b, uint32_t zero) {
    uint32_t t = ((p >> sh) & 0x000F000Fu) | 0x43004300u;
    __nv_bfloat162 q = __hfma2(__hadd2(bf2(t), bf2(zero)), bf2(s), bf2(b));
    return *(uint32_t *)&q;
}

// frag_back is the A operand for 64 columns of W (as rows) by 64 rows (reduced). Row 16w+g of the operand is column
// back_column(w, g) of the block, row 16w+g+8 the next: nibbles w and w+4 of one word, so the words of two neighbouring
// rows give all that a lane needs of them.
__device__ __forceinline__ void frag_back(uint32_t (&a)[4][4], const uint8_t *blk, int tid, uint32_t zero) {
    int lane = tid & 31, w = tid >> 5, g = lane >> 2, c = lane & 3;
#pragma unroll
    for (int s = 0; s < 4; s++) {
        uint2 q0 = ((const uint2 *)blk)[unit(s, g >> 2, 2 * c, g & 3)], q1 = ((const uint2 *)blk)[unit(s, g >> 2, 2 * c + 1, g & 3)];
        uint4 v = *(const uint4 *)(blk + 2048 + 64 * s + 16 * c);
        a[s][0] = pair_of(__byte_perm(q0.x, q1.x, 0x5410), 4 * w, v.x, v.y, zero);
        a[s][1] = pair_of(__byte_perm(q0.x, q1.x, 0x7632), 4 * w, v.x, v.y, zero);
        a[s][2] = pair_of(__byte_perm(q0.y, q1.y, 0x5410), 4 * w, v.z, v.w, zero);
        a[s][3] = pair_of(__byte_perm(q0.y, q1.y, 0x7632), 4 * w, v.z, v.w, zero);
    }
}
__device__ __forceinline__ int back_column(int w, int g) { return 32 * (g >> 2) + 8 * w + 2 * (g & 3); }

// frag_update is the A operand of the low-rank part: rows r and r2 of v, 64 columns from l0 on.
__device__ __forceinline__ void frag_update(uint32_t (&a)[4][4], const bf16 *v, int width, int r, int r2, int c) {
    const bf16 *p = v + (int64_t)r * width + 2 * c, *p2 = v + (int64_t)r2 * width + 2 * c;
#pragma unroll
    for (int s = 0; s < 4; s++) {
        a[s][0] = *(const uint32_t *)(p + 16 * s);
        a[s][1] = *(const uint32_t *)(p2 + 16 * s);
        a[s][2] = *(const uint32_t *)(p + 16 * s + 8);
        a[s][3] = *(const uint32_t *)(p2 + 16 * s + 8);
    }
}

__device__ __forceinline__ void put_row(bf16 *y, const float (&v)[8], int have) {
    if (have == 8 && ((uintptr_t)y & 15) == 0) {
        put8(y, v, 0, 8);
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++) if (k < have) round_to(y + k, v[k]);
}
__device__ __forceinline__ void get_row(float (&v)[8], const bf16 *y, int have) {
    if (have == 8 && ((uintptr_t)y & 15) == 0) return get8(v, y, 0, 8);
#pragma unroll
    for (int k = 0; k < 8; k++) v[k] = k < have ? widen(y[k]) : 0;
}
__device__ __forceinline__ void put_row(bf16 *y, uint4 v, int have) {
    if (have == 8 && ((uintptr_t)y & 15) == 0) {
        *(uint4 *)y = v;
        return;
    }
    uint32_t q[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int k = 0; k < 8; k++) if (k < have) round_to(y + k, k & 1 ? high(q[k >> 1]) : low(q[k >> 1]));
}

// T tokens; R rows of the transposed product; D the reduced extent. Block (row block i, reduced block k) lies at
// i*si + k*sk blocks. Updates is how many steps of 64 the low-rank part takes. BT is 256 tokens, or 128 where tiles of
// 256 would leave cores of the card without work.
template <bool BACK, int BT, class Y>
__device__ __forceinline__ void product(const TensorMap *xm, const TensorMap *um, Y *y, const uint8_t *wt, const bf16 *v, const void *bias, int biasType,
                                        int T, int R, int D, int si, int sk, int updates, int accumulate, uint32_t zero) {
    constexpr int XBytes = BT * BK * 2, OffW = Stages * XBytes, OffOut = OffW + Stages * WBytes, OffBar = OffOut + 2 * BT * 128;
    SHARED_ARRAY(uint8_t, smem, 1024);
    const uint32_t s0 = smem32(smem), full = s0 + OffBar, empty = full + 8 * Stages;
    const int group = threadIdx.x >> 7, tid = threadIdx.x & 127;
    const int steps = (D + 127) / 128 * 2, tt = (T + BT - 1) / BT, tiles = tt * ((R + BR - 1) / BR);
    if (threadIdx.x == 0) {
        for (int s = 0; s < Stages; s++) {
            bar_init(full + 8 * s, 1);
            bar_init(empty + 8 * s, 8);  // one arrival a multiplying warp
        }
        bar_init_fence();
    }
    __syncthreads();
    int stage = 0, phase = 0;
    if (group == 0) {
        fewer_registers<40>();
        if (tid == 0) {
            for (int t = blockIdx.x; t < tiles; t += gridDim.x) {
                int t0 = (t % tt) * BT, r0 = t / tt * 2;
                for (int k = 0; k < steps + updates; k++) {
                    bar_wait(empty + 8 * stage, phase ^ 1);
                    uint32_t bar = full + 8 * stage, ws = s0 + OffW + stage * WBytes;
                    if (k < steps) {
                        bar_expect(bar, XBytes + WBytes);
                        copy_tile(s0 + stage * XBytes, xm, k * BK, t0, bar);
                        const uint8_t *w = wt + ((int64_t)r0 * si + (int64_t)k * sk) * BlockBytes;
                        copy_bytes(ws, w, BlockBytes, bar);
                        copy_bytes(ws + BlockBytes, w + (int64_t)si * BlockBytes, BlockBytes, bar);
                    } else {
                        bar_expect(bar, XBytes);
                        copy_tile(s0 + stage * XBytes, um, (k - steps) * BK, t0, bar);
                    }
                    if (++stage == Stages) stage = 0, phase ^= 1;
                }
            }
        }
    } else {
        more_registers<232>();
        const int half = group - 1, lane = tid & 31, w = tid >> 5;
        uint8_t *outp = smem + OffOut + half * BT * 128;
        const uint32_t outs = s0 + OffOut + half * BT * 128;
        float d[BT / 2];
        uint32_t a[2][4][4];
        for (int t = blockIdx.x; t < tiles; t += gridDim.x) {
            const int t0 = (t % tt) * BT, r0 = t / tt * BR + half * 64;
            int prev = -1;
            for (int k = 0; k < steps; k += 2) {
#pragma unroll
                for (int u = 0; u < 2; u++) {
                    bar_wait(full + 8 * stage, phase);
                    const uint8_t *blk = smem + OffW + stage * WBytes + half * BlockBytes;
                    if (BACK) frag_back(a[u], blk, tid, zero); else frag_fwd(a[u], blk, tid, zero);
                    uint64_t b = rows_desc(s0 + stage * XBytes);
                    wgmma_fence();
#pragma unroll
                    for (int s = 0; s < 4; s++) wgmma_rs(d, a[u][s], b + 2 * s, (k + u) | s);
                    wgmma_commit();
                    wgmma_wait<1>();
                    if (lane == 0 && prev >= 0) bar_arrive(empty + 8 * prev);
                    prev = stage;
                    if (++stage == Stages) stage = 0, phase ^= 1;
                }
            }
            wgmma_wait<0>();
            if (lane == 0) bar_arrive(empty + 8 * prev);
            for (int l = 0; l < updates; l++) {
                bar_wait(full + 8 * stage, phase);
                int g = lane >> 2, r = BACK ? r0 + back_column(w, g) : r0 + 16 * w + g;
                frag_update(a[0], v + 64 * l, 64 * updates, r, BACK ? r + 1 : r + 8, lane & 3);
                uint64_t b = rows_desc(s0 + stage * XBytes);
                wgmma_fence();
#pragma unroll
                for (int s = 0; s < 4; s++) wgmma_rs(d, a[0][s], b + 2 * s, 1);
                wgmma_commit();
                wgmma_wait<0>();
                if (lane == 0) bar_arrive(empty + 8 * stage);
                if (++stage == Stages) stage = 0, phase ^= 1;
            }
            float b0 = 0, b1 = 0;  // of rows r and r + 8: added on the way out, as the accumulators are wgmma's own
            if (!BACK && bias) {
                int r = r0 + 16 * w + (lane >> 2);
                if (r < R) b0 = at(bias, biasType, r);
                if (r + 8 < R) b1 = at(bias, biasType, r + 8);
            }
            if (sizeof(Y) == 4) {  // logits: rows of 8 neighbours go straight to memory, whole sectors of 32 bytes
#pragma unroll
                for (int i = 0; i < BT / 8; i++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        int tok = t0 + 8 * i + 2 * (lane & 3) + (e & 1), r = r0 + 16 * w + (lane >> 2) + 8 * (e >> 1);
                        if (tok < T && r < R) ((float *)y)[(int64_t)tok * R + r] = d[4 * i + e] + (e >> 1 ? b1 : b0);
                    }
                continue;
            }
            if (BACK && accumulate) {  // half of the tokens at a time, in float: what is there is added before rounding
                for (int h = 0; h < 2; h++) {
                    group_sync(1 + half, 128);
#pragma unroll
                    for (int i = 0; i < BT / 8; i++) {
                        if (i / (BT / 16) != h) continue;
#pragma unroll
                        for (int e = 0; e < 2; e++) {
                            int tok = 8 * (i % (BT / 16)) + 2 * (lane & 3) + e, g = lane >> 2, chunk = 8 * (g >> 2) + 2 * w + ((g & 3) >> 1);
                            *(float2 *)(outp + tok * 256 + ((chunk ^ (tok & 7)) << 4) + 8 * (g & 1)) = make_float2(d[4 * i + e], d[4 * i + e + 2]);
                        }
                    }
                    group_sync(1 + half, 128);
#pragma unroll 4
                    for (int p = tid; p < BT * 4; p += 128) {
                        int tok = p >> 3, c = p & 7, t = t0 + h * (BT / 2) + tok, n = r0 + c * 8, have = min(8, R - n);
                        if (t >= T || n >= R) continue;
                        bf16 *to = (bf16 *)y + (int64_t)t * R + n;
                        float old[8];
                        get_row(old, to, have);
                        float4 a = *(const float4 *)(outp + tok * 256 + (((2 * c) ^ (tok & 7)) << 4)), b = *(const float4 *)(outp + tok * 256 + (((2 * c + 1) ^ (tok & 7)) << 4));
                        old[0] += a.x, old[1] += a.y, old[2] += a.z, old[3] += a.w, old[4] += b.x, old[5] += b.y, old[6] += b.z, old[7] += b.w;
                        put_row(to, old, have);
                    }
                }
                continue;
            }
            group_sync(1 + half, 128);
#pragma unroll
            for (int i = 0; i < BT / 8; i += 2) {
                if (BACK) {
#pragma unroll
                    for (int e = 0; e < 4; e++) {  // tokens 8(i + e/2) + 2c + e%2; two columns
                        int tok = 8 * (i + (e >> 1)) + 2 * (lane & 3) + (e & 1), g = lane >> 2;
                        const float *f = d + 4 * (i + (e >> 1)) + (e & 1);
                        int chunk = 4 * (g >> 2) + w;
                        *(uint32_t *)(outp + tok * 128 + ((chunk ^ (tok & 7)) << 4) + 4 * (g & 3)) = pack2(f[0], f[2]);
                    }
                } else {
                    uint32_t q[4];
#pragma unroll
                    for (int m = 0; m < 4; m++) {
                        const float *f = d + 4 * (i + (m >> 1)) + 2 * (m & 1);
                        float b = m & 1 ? b1 : b0;
                        q[m] = pack2(f[0] + b, f[1] + b);
                    }
                    int tok = 8 * (i + (lane >> 4)) + (lane & 7), chunk = 2 * w + ((lane >> 3) & 1);
                    stmatrix_trans(outs + tok * 128 + ((chunk ^ (tok & 7)) << 4), q);
                }
            }
            group_sync(1 + half, 128);
#pragma unroll 4
            for (int p = tid; p < BT * 8; p += 128) {
                int tok = p >> 3, chunk = p & 7, n = r0 + chunk * 8;
                if (t0 + tok >= T || n >= R) continue;
                put_row((bf16 *)y + (int64_t)(t0 + tok) * R + n, *(const uint4 *)(outp + tok * 128 + ((chunk ^ (tok & 7)) << 4)), min(8, R - n));
            }
        }
    }
}
}  // namespace wg
}  // namespace

#define K_WG(name, BACK, BT, Y)                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(384, 1)                                                                                         \
    name(const __grid_constant__ TensorMap xm, const __grid_constant__ TensorMap um, Y *y, const uint8_t *w, const bf16 *v, const void *bias,     \
         int biasType, int T, int R, int D, int si, int sk, int updates, int acc, uint32_t zero) {                                               \
        wg::product<BACK, BT>(&xm, &um, y, w, v, bias, biasType, T, R, D, si, sk, updates, acc, zero);                                           \
    }
K_WG(wg_b, false, 256, bf16)
K_WG(wg_f, false, 256, float)
K_WG(wg_grad_b, true, 256, bf16)
K_WG(wg_128_b, false, 128, bf16)
K_WG(wg_128_f, false, 128, float)
K_WG(wg_128_grad_b, true, 128, bf16)
#endif
