// Instructions that only Hopper has (sm_90a), without a name in CUDA C++. Tests have them for the processor (EMULATED).
#pragma once
#include "common.cuh"

// TensorMap is an argument of kernels: it tells the tensor copy engine how a matrix lies. driver.Tiles makes it.
struct alignas(64) TensorMap { uint8_t opaque[128]; };

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

// operand_desc tells wgmma where an operand lies, swizzled by 128 bytes: each 16 bytes of a row of 128 at their number xor
// the row's, modulo 8. The tile begins at a multiple of 1024 bytes; lead and stride are distances in bytes.
__device__ __forceinline__ uint64_t operand_desc(uint32_t addr, int lead, int stride) {
    return (uint64_t)((addr & 0x3FFFF) >> 4) | (uint64_t)(lead >> 4) << 16 | (uint64_t)(stride >> 4) << 32 | (uint64_t)1 << 62;
}
// rows_desc is for an operand whose rows of 64 numbers run along the reduced extent (K-major), as copy_tile writes them.
// The next 16 of the reduced extent are at rows_desc + 2.
__device__ __forceinline__ uint64_t rows_desc(uint32_t addr) { return operand_desc(addr, 16, 1024); }
// columns_desc is for a transposed operand (MN-major): a row for each number of the reduced extent, 64 columns wide; the
// next 64 columns are lead bytes on. The next 16 of the reduced extent are at columns_desc + 128.
__device__ __forceinline__ uint64_t columns_desc(uint32_t addr, int lead) { return operand_desc(addr, lead, 1024); }

#ifdef EMULATED
#include <hopper.h>
#else
#include "wgmma.cuh"

// wgmma_fence comes before the first product, and after any other use of registers that products read or write.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
// wgmma_commit ends a group of products. wgmma_wait waits until at most N groups are under way: only then their sums may
// be read, and their operands in shared memory be written.
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> __device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// Barriers in shared memory (mbarrier), 8 bytes each: a phase ends when n threads have arrived and all bytes that were
// told of have come. bar_init_fence lets the copy engine see new barriers.
__device__ __forceinline__ void bar_init(uint32_t b, int n) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(b), "r"(n) : "memory"); }
__device__ __forceinline__ void bar_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// bar_expect tells of bytes that will come, and arrives.
__device__ __forceinline__ void bar_expect(uint32_t b, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(bytes) : "memory");
}
__device__ __forceinline__ void bar_arrive(uint32_t b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(b) : "memory"); }
// bar_wait waits for the end of a phase of this parity: 0 for the first one. Parity 1 of a new barrier has ended.
__device__ __forceinline__ void bar_wait(uint32_t b, int phase) {
    asm volatile("{\n.reg .pred p;\nL:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra D;\nbra L;\nD:\n}" ::"r"(b), "r"(phase) : "memory");
}

// copy_tile brings the tile that begins at column c0 of row c1; it comes to a multiple of 1024 bytes, and its bytes to bar.
__device__ __forceinline__ void copy_tile(uint32_t dst, const TensorMap *m, int c0, int c1, uint32_t bar) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
                 ::"r"(dst), "l"(m), "r"(c0), "r"(c1), "r"(bar) : "memory");
}
// copy_tile_once brings a tile that nobody reads again soon: the card's cache gives it up first.
__device__ __forceinline__ void copy_tile_once(uint32_t dst, const TensorMap *m, int c0, int c1, uint32_t bar) {
    asm volatile("{\n.reg .b64 policy;\ncreatepolicy.fractional.L2::evict_first.b64 policy, 1.0;\n"
                 "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3}], [%4], policy;\n}"
                 ::"r"(dst), "l"(m), "r"(c0), "r"(c1), "r"(bar) : "memory");
}
// fence_map lets the block's copies see a TensorMap in global memory that the host may have changed.
__device__ __forceinline__ void fence_map(const TensorMap *m) { asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(m) : "memory"); }
// copy_bytes brings n bytes; n and both addresses are multiples of 16.
__device__ __forceinline__ void copy_bytes(uint32_t dst, const void *src, int n, uint32_t bar) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(dst), "l"(src), "r"(n), "r"(bar) : "memory");
}
// store_tile takes a tile that lies in shared memory as copy_tile brings it to column c0 of row c1; what lies outside of the
// matrix is left out. bulk_commit ends a group of the thread's stores. bulk_wait_read waits until all groups have read shared
// memory: only then it may be written again, or the block end.
__device__ __forceinline__ void store_tile(const TensorMap *m, int c0, int c1, uint32_t src) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];" ::"l"(m), "r"(c0), "r"(c1), "r"(src) : "memory");
}
__device__ __forceinline__ void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
__device__ __forceinline__ void bulk_wait_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
// fence_proxy_async lets wgmma and the copy engine see what this thread wrote to shared memory. A barrier follows.
__device__ __forceinline__ void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// fewer_registers gives registers of a warpgroup back, which then has N a thread; more_registers takes some.
template <int N> __device__ __forceinline__ void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> __device__ __forceinline__ void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }

// stmatrix writes four matrices of 8 by 8 numbers: lane i tells where row i%8 of matrix i/8 goes. stmatrix_trans writes columns.
__device__ __forceinline__ void stmatrix(uint32_t p, const uint32_t (&q)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(p), "r"(q[0]), "r"(q[1]), "r"(q[2]), "r"(q[3]) : "memory");
}
__device__ __forceinline__ void stmatrix_trans(uint32_t p, const uint32_t (&q)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(p), "r"(q[0]), "r"(q[1]), "r"(q[2]), "r"(q[3]) : "memory");
}
#endif
#endif
