// Products of a warpgroup in all their forms, and a store, for the emulation's own test, and faults in them.
#include "hopper.cuh"

enum { NoFault, NoCopyWait, NoFence, NoProxyFence, NoWait, Overwritten, WaitsForOlder, OneWarp, OtherStride, MoreBytes, NoInitFence, LeftUnderway, SumsWritten, NoEarlierWait, NotCommitted, AcrossGrid };

// product_check is d [64, N] = a b over 64. RS has a in registers. With A and B operands lie across the sum: [64, 64] and [64, N]
// instead of [64, 64] and [N, 64]. Further blocks multiply the next 64 rows of a; with AcrossGrid they are under way at a barrier.
template <int N, bool RS, int A, int B>
__device__ void product_check(const TensorMap *am, const TensorMap *bm, const bf16 *a, float *y, int fault) {
    constexpr int BytesA = 64 * 128, BytesB = N * 128;
    SHARED_ARRAY(uint8_t, s, 1024);
    const uint32_t sa = smem32(s), sb = sa + BytesA, sc = sb + BytesB, bar = sc + BytesB;
    if (threadIdx.x == 0) {
        bar_init(bar, 1);
        if (fault != NoInitFence) bar_init_fence();
    }
    __syncthreads();
    if (fault != NoEarlierWait) wait_for_earlier();
    if (threadIdx.x == 0) {
        bar_expect(bar, BytesA + BytesB + (fault == MoreBytes ? 16 : 0));
        copy_tile(sa, am, 0, 64 * blockIdx.x, bar);
        for (int i = 0; i < (B ? N / 64 : 1); i++) copy_tile(sb + i * 8192, bm, 64 * i, 0, bar);
    }
    if (fault != NoCopyWait) bar_wait(bar, 0);
    for (int i = threadIdx.x; i < BytesB / 16; i += 128) ((uint4 *)(s + BytesA + BytesB))[i] = ((uint4 *)(s + BytesA))[i];
    if (fault != NoProxyFence) fence_proxy_async();
    __syncthreads();
    float d[N / 2];
    uint32_t f[4][4];
    const int lane = threadIdx.x & 31, w = threadIdx.x >> 5;
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < 4; i++) f[k][i] = *(const uint32_t *)(a + (64 * blockIdx.x + 16 * w + (lane >> 2) + 8 * (i & 1)) * 64 + 16 * k + 2 * (lane & 3) + 8 * (i >> 1));
    uint64_t da = A ? columns_desc(sa, 0) : rows_desc(sa), db = B ? columns_desc(sc, 8192) : rows_desc(sc);
    if (fault == OtherStride) db = operand_desc(sc, 16, 2048);
    if (fault != NoFence) wgmma_fence();
    for (int k = 0; k < 4; k++) {
        if (fault == OneWarp && k == 3 && w == 2) continue;
        if (RS) wgmma_rs<B>(d, f[k], db + (B ? 128 : 2) * k, k);
        else wgmma_ss<A, B>(d, da + (A ? 128 : 2) * k, db + (B ? 128 : 2) * k, k);
    }
    wgmma_commit();
    if (fault == AcrossGrid && threadIdx.x == 0) {
        uint32_t *gate = (uint32_t *)(y + 64 * N * gridDim.x);
        grid_arrive(gate);
        grid_wait(gate, gridDim.x);
    }
    if (fault == LeftUnderway) return;
    if (fault == SumsWritten) d[5] = 1;
    if (fault == Overwritten && threadIdx.x == 0) s[BytesA + BytesB + 40] ^= 64, fence_proxy_async();
    if (fault != NoWait && fault != WaitsForOlder) wgmma_wait<0>();
    if (fault == WaitsForOlder) wgmma_wait<1>();
    for (int i = 0; i < N / 2; i++) y[(64 * blockIdx.x + 16 * w + (lane >> 2) + 8 * (i >> 1 & 1)) * N + 8 * (i >> 2) + 2 * (lane & 3) + (i & 1)] = d[i];
    wgmma_wait<0>();
}

// store_check stores a tile of 64 by 64 numbers, of which number k of row r is 3 r + k, at column 64 of row 48.
extern "C" __global__ void __launch_bounds__(128) store_check(const __grid_constant__ TensorMap ym, int fault) {
    SHARED_ARRAY(uint8_t, s, 1024);
    for (int i = threadIdx.x; i < 64 * 64; i += 128) {
        int r = i / 64, k = i % 64;
        round_to((bf16 *)(s + r * 128 + ((k / 8 ^ r % 8) << 4)) + k % 8, 3 * r + k);
    }
    if (fault != NoProxyFence) fence_proxy_async();
    __syncthreads();
    if (threadIdx.x) return;
    store_tile(&ym, 64, 48, smem32(s));
    if (fault != NotCommitted) bulk_commit();
    if (fault == Overwritten) s[40] ^= 64;
    if (fault != LeftUnderway) bulk_wait_read();
    s[40] ^= 64;
}

#define K_PRODUCT(name, N, RS, A, B)                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128)                                                                                                 \
    name(const __grid_constant__ TensorMap am, const __grid_constant__ TensorMap bm, const bf16 *a, float *y, int fault) { product_check<N, RS, A, B>(&am, &bm, a, y, fault); }
#define K_ROWS(N)                              \
    K_PRODUCT(product_##N##_rs, N, true, 0, 0) \
    K_PRODUCT(product_##N##_ss, N, false, 0, 0) \
    K_PRODUCT(product_##N##_ss_a, N, false, 1, 0)
#define K_COLUMNS(N)                             \
    K_PRODUCT(product_##N##_rs_b, N, true, 0, 1) \
    K_PRODUCT(product_##N##_ss_b, N, false, 0, 1) \
    K_PRODUCT(product_##N##_ss_ab, N, false, 1, 1)
K_ROWS(32)
K_ROWS(64)
K_ROWS(128)
K_ROWS(256)
K_COLUMNS(64)
K_COLUMNS(128)
K_COLUMNS(256)
