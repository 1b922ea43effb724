// Products with packed 4-bit weights for one token (decoding), on every card: one pass over the weights at the speed of
// memory. The numbers are widened to A operands of mma in registers, the token is the B operand.
#include "w4.cuh"

namespace {
// Rows names up to four matrices that one token is multiplied with: queries, keys and values, or gate and up. A block of 16
// rows is of the first matrix whose blocks it lies before the end of.
struct Rows {
    void *y[4];
    const uint8_t *w[4];
    const void *bias[4];
    int rows[4], biasType[4];
};

// one: y [N] = x [K] Wᵀ (+ bias). A block makes 16 rows of W, its 8 warps share K. x lies in shared memory so that a lane
// finds what goes with its words in 32 bytes. The numbers are multiplied as 128 + q, without their scale: a block is one
// group, so that scale and bias come after its sum, y += s*(sum of (128+q)*x) + (b - (128+z)*s)*(sum of x).
template <class Y> __device__ __forceinline__ void one_w4(const bf16 *x, int K, int KB, uint32_t zero, const Rows &m) {
    SHARED_ARRAY(uint32_t, xs, 16);
    __shared__ float part[8][16];
    constexpr int Ahead = 4;
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, r = lane >> 2, c = lane & 3, blocks = (K + 63) / 64;
    int which = 0, block = blockIdx.x;
    for (; block >= (m.rows[which] + 15) / 16; which++) block -= (m.rows[which] + 15) / 16;
    const int s16 = block & 3;
    const uint8_t *row = m.w[which] + (int64_t)(block >> 2) * KB * BlockBytes;
    const int u0 = unit(s16, 0, r, c), u1 = unit(s16, 1, r, c), sc = 2048 + 64 * s16 + 16 * (r >> 1);
    uint2 q0[Ahead], q1[Ahead];
    uint4 v[Ahead];
    auto read = [&](int k0) {
#pragma unroll
        for (int i = 0; i < Ahead; i++) {
            const uint8_t *blk = row + (int64_t)min(k0 + 8 * i, blocks - 1) * BlockBytes;
            q0[i] = __ldcs((const uint2 *)blk + u0), q1[i] = __ldcs((const uint2 *)blk + u1), v[i] = __ldcs((const uint4 *)(blk + sc));
        }
    };
    read(warp);
    for (int p = threadIdx.x; p < blocks * 32; p += 256) {
        int col = 2 * (p & 31);
        xs[(p & ~31) + (col >> 1 & 3) * 8 + (col >> 5) * 4 + (col >> 3 & 3)] = 2 * p < K ? __ldg((const uint32_t *)x + p) : 0;
    }
    __syncthreads();
    const float offset = low(zero);  // -128-z
    float y0 = 0, y1 = 0;
    for (int k0 = warp; k0 < blocks; k0 += 8 * Ahead) {
#pragma unroll
        for (int i = 0; i < Ahead; i++) {
            const int kb = k0 + 8 * i;
            if (kb >= blocks) break;
            const uint4 h0 = ((const uint4 *)xs)[kb * 8 + 2 * c], h1 = ((const uint4 *)xs)[kb * 8 + 2 * c + 1];
            const uint32_t b[8] = {h0.x, h0.y, h0.z, h0.w, h1.x, h1.y, h1.z, h1.w}, one[4] = {0x3F803F80u, 0x3F803F80u, 0x3F803F80u, 0x3F803F80u};
            float acc[4] = {}, sum[4] = {};
#pragma unroll
            for (int s = 0; s < 4; s++) {
                const uint2 q = s < 2 ? q0[i] : q1[i];
                const int j = 8 * (s & 1);
                uint32_t a[4] = {(q.x >> j & 0x000F000Fu) | 0x43004300u, (q.y >> j & 0x000F000Fu) | 0x43004300u,
                                 (q.x >> (j + 4) & 0x000F000Fu) | 0x43004300u, (q.y >> (j + 4) & 0x000F000Fu) | 0x43004300u};
                mma(acc, a, b[2 * s], b[2 * s + 1]);
                mma(sum, one, b[2 * s], b[2 * s + 1]);
            }
            const float s0 = r & 1 ? high(v[i].x) : low(v[i].x), b0 = r & 1 ? high(v[i].y) : low(v[i].y);
            const float s1 = r & 1 ? high(v[i].z) : low(v[i].z), b1 = r & 1 ? high(v[i].w) : low(v[i].w);
            y0 += s0 * acc[0] + fmaf(offset, s0, b0) * sum[0];
            y1 += s1 * acc[2] + fmaf(offset, s1, b1) * sum[0];
        }
        if (k0 + 8 * Ahead < blocks) read(k0 + 8 * Ahead);
    }
    if (c == 0) part[warp][r] = y0, part[warp][r + 8] = y1;  // all columns of the product are alike
    __syncthreads();
    int n = block * 16 + threadIdx.x;
    if (threadIdx.x >= 16 || n >= m.rows[which]) return;
    float s = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) s += part[i][threadIdx.x];
    if (m.bias[which]) s += at(m.bias[which], m.biasType[which], n);
    round_to((Y *)m.y[which] + n, s);
}
}  // namespace

#define K_ONE(s, Y) \
    extern "C" __global__ void __launch_bounds__(256, 4) one_w4_##s(const bf16 *x, int K, int KB, uint32_t zero, Rows m) { one_w4<Y>(x, K, KB, zero, m); }
K_ONE(b, bf16)
K_ONE(f, float)
