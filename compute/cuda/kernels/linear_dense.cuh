// Products with bf16 weights W [N, K] by mma, on every card since Ampere: y [T, N] = x [T, K] Wᵀ, and the gradient of the
// input, dx [T, K] = dy [T, N] W. A block makes 128 tokens by 128 columns, 64 of the sum at a time, in three stages. A
// low-rank update (see update_operands) is more of the sum: u [T, 64*updates] and v [columns, 64*updates].
#pragma once
#include "common.cuh"

namespace {
namespace dense {
constexpr int BM = 128, BN = 128, BK = 64, Stages = 3, Half = BM * BK * 2, StageBytes = 2 * Half;

// Which row of x and y a token is: its own, or one of a list of pairs that lie at list/in and list/out.
struct Own {
    int m0 = blockIdx.x * BM;
    __device__ __forceinline__ int64_t from(int t) const { return t; }
    __device__ __forceinline__ int64_t to(int t) const { return t; }
};
struct Picked {
    const int *list;
    int in, out;
    static constexpr int m0 = 0;
    __device__ __forceinline__ int64_t from(int t) const { return list[t] / in; }
    __device__ __forceinline__ int64_t to(int t) const { return list[t] / out; }
};

// R columns of the result, D the reduced extent; both row strides of W and x are those of D and R as BACK says.
template <bool BACK, class Y, class Rows> __device__ __forceinline__ void product(Y *y, const bf16 *x, const bf16 *w, const bf16 *u, const bf16 *v, const void *bias, int biasType, int T, int R, int D, int updates, int accumulate, Rows rows) {
    SHARED_ARRAY(uint8_t, smem, 128);
    const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, wm = warp & 1, wn = warp >> 1;
    const int m0 = rows.m0, n0 = blockIdx.y * BN, own = (D + BK - 1) / BK, steps = own + updates;
    const uint32_t s0 = smem32(smem);

    auto load = [&](int step) {
        uint32_t xs = s0 + step % Stages * StageBytes, ws = xs + Half;
        const bool last = step >= own;
        const int k0 = (last ? step - own : step) * BK, d = last ? updates * BK : D;
        const bf16 *xp = last ? u : x, *wp = last ? v : w;
#pragma unroll
        for (int i = 0; i < 4; i++) {  // 1024 pieces of 16 bytes each
            int p = tid + 256 * i, r = p >> 3, c = p & 7, k = k0 + c * 8;
            bool ok = m0 + r < T && k < d;
            cp16(xs + r * 128 + ((c ^ (r & 7)) << 4), ok ? xp + rows.from(m0 + r) * d + k : xp, ok);
            if (BACK && !last) {  // 64 rows of 128 columns
                r = p >> 4, c = p & 15;
                ok = k0 + r < D && n0 + c * 8 < R;
                cp16(ws + r * 256 + (((c & 8) | ((c ^ r) & 7)) << 4), ok ? w + (int64_t)(k0 + r) * R + n0 + c * 8 : w, ok);
            } else {
                ok = n0 + r < R && k < d;
                cp16(ws + r * 128 + ((c ^ (r & 7)) << 4), ok ? wp + (int64_t)(n0 + r) * d + k : wp, ok);
            }
        }
    };

    float acc[4][4][4] = {};  // 64 tokens by 32 columns a warp
#pragma unroll
    for (int s = 0; s < Stages - 1; s++) {
        if (s < steps) load(s);
        cp_commit();
    }
#pragma unroll 1
    for (int k = 0; k < steps; k++) {
        cp_wait<Stages - 2>();
        __syncthreads();
        if (k + Stages - 1 < steps) load(k + Stages - 1);
        cp_commit();
        uint32_t xs = s0 + (k % Stages) * StageBytes, ws = xs + Half;
#pragma unroll
        for (int s = 0; s < 4; s++) {
            uint32_t a[4][4], b[2][4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int r = wm * 64 + i * 16 + (lane & 15), c = s * 2 + (lane >> 4);
                ldmatrix(a[i], xs + r * 128 + ((c ^ (r & 7)) << 4));
            }
#pragma unroll
            for (int j = 0; j < 2; j++) {  // 16 columns: b0, b1 of the first 8, then of the others
                if (BACK && k < own) {
                    int r = s * 16 + (lane & 15), c = wn * 4 + j * 2 + (lane >> 4);
                    ldmatrix_trans(b[j], ws + r * 256 + (((c & 8) | ((c ^ r) & 7)) << 4));
                } else {
                    int r = wn * 32 + j * 16 + (lane & 7) + ((lane >> 4) << 3), c = s * 2 + ((lane >> 3) & 1);
                    ldmatrix(b[j], ws + r * 128 + ((c ^ (r & 7)) << 4));
                }
            }
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) mma(acc[i][j], a[i], b[j >> 1][2 * (j & 1)], b[j >> 1][2 * (j & 1) + 1]);
        }
    }
    // Row t and column n of the result that element (i, j, e) of acc is.
    auto each = [&](auto f) {
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int t = m0 + wm * 64 + i * 16 + (lane >> 2) + 8 * (e >> 1), n = n0 + wn * 32 + j * 8 + 2 * (lane & 3) + (e & 1);
                    if (t < T && n < R) f(acc[i][j][e], y + rows.to(t) * R + n);
                }
    };
    if (bias) {
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int f = 0; f < 2; f++) {
                int n = n0 + wn * 32 + j * 8 + 2 * (lane & 3) + f;
                float b = n < R ? at(bias, biasType, n) : 0;
#pragma unroll
                for (int i = 0; i < 8; i++) acc[i >> 1][j][2 * (i & 1) + f] += b;
            }
    }
    if (accumulate) each([&](float &v, const Y *p) { v += widen(*p); });
    each([&](float &v, Y *p) { round_to(p, v); });
}
}  // namespace dense
}  // namespace

#define K_DENSE(name, BACK, Y)                                                                                                                          \
    extern "C" __global__ void __launch_bounds__(256, 2) name(Y *y, const bf16 *x, const bf16 *w, const bf16 *u, const bf16 *v, const void *bias,        \
                                                              int biasType, int T, int R, int D, int updates, int acc) {                               \
        dense::product<BACK>(y, x, w, u, v, bias, biasType, T, R, D, updates, acc, dense::Own{});                                                                     \
    }
K_DENSE(linear_b, false, bf16)
K_DENSE(linear_f, false, float)
K_DENSE(linear_grad_b, true, bf16)
K_DENSE(linear_grad_f, true, float)
