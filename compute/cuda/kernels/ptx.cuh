// What has no name in CUDA C++: instructions of the card's assembly. Tests have them for the processor (EMULATED).
#pragma once

__device__ __forceinline__ uint32_t smem32(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

constexpr uint32_t NotWritten = 0xFFFFFFFF;  // see peek_written

#ifdef EMULATED
#include <instructions.h>
#else
// cp16 starts a copy of 16 bytes to shared memory; where ok is false it writes zeros and reads nothing.
__device__ __forceinline__ void cp16(uint32_t dst, const void *src, bool ok) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(dst), "l"(src), "r"(ok ? 16 : 0) : "memory");
}
__device__ __forceinline__ void cp_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __device__ __forceinline__ void cp_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// read_shared2 and read_shared4 read words of shared memory, at multiples of their size.
__device__ __forceinline__ uint2 read_shared2(uint32_t p) {
    uint2 v;
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(p) : "memory");
    return v;
}
__device__ __forceinline__ uint4 read_shared4(uint32_t p) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(p) : "memory");
    return v;
}
__device__ __forceinline__ void ldmatrix(uint32_t (&a)[4], uint32_t p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]) : "r"(p) : "memory");
}
__device__ __forceinline__ void ldmatrix_trans(uint32_t (&a)[4], uint32_t p) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]) : "r"(p) : "memory");
}

// transposed is a matrix of 8 by 8 16-bit numbers turned round: lane i holds numbers 2(i%4) and + 1 of row i/4, then of column i/4.
__device__ __forceinline__ uint32_t transposed(uint32_t a) {
    uint32_t d;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(d) : "r"(a));
    return d;
}

// mma is d += a b, a of 16 by 16 and b of 16 by 8 bf16 numbers.
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// mma_bytes is d += a b, a of 16 by 32 whole numbers of 0 to 255 and b of 32 by 8 of -128 to 127.
__device__ __forceinline__ void mma_bytes(uint32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// and_or is the lowest four bits of both halves of v, with bits beside them, in one instruction.
__device__ __forceinline__ uint32_t and_or(uint32_t v, uint32_t bits) {
    uint32_t r;
    asm("lop3.b32 %0, %1, 0x000F000F, %2, 0xEA;" : "=r"(r) : "r"(v), "r"(bits));
    return r;
}

// exp2_fast is 2^v, off by two units of the last place at most; results below the normal numbers are zero.
__device__ __forceinline__ float exp2_fast(float v) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(v));
    return y;
}

// group_sync is a barrier of n threads, by one of 16 numbers; 0 is that of __syncthreads.
__device__ __forceinline__ void group_sync(int id, int n) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n) : "memory"); }

// grid_arrive and grid_wait are a barrier of all blocks of a cooperative launch: one thread of each, behind a __syncthreads,
// counts gate up, then waits until it has come to want, and another __syncthreads lets its block go on. What the blocks wrote
// before is seen then. gate counts on and may run over: the next barrier wants as many more as there are blocks.
__device__ __forceinline__ void grid_arrive(uint32_t *gate) { asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(gate) : "memory"); }
__device__ __forceinline__ void grid_wait(const uint32_t *gate, uint32_t want) {
    uint32_t have;
    do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(have) : "l"(gate) : "memory");
    while ((int)(have - want) < 0);
}

// read_mail and write_mail are for words by which blocks of a cooperative launch tell one another results, without a barrier:
// who needs a word reads it until it is there. mail_wait lets others go on meanwhile, where that has to be said.
__device__ __forceinline__ uint4 read_mail(const void *p) {
    uint4 v;
    asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
    return v;
}
__device__ __forceinline__ void write_mail(void *p, uint32_t v) { asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory"); }
__device__ __forceinline__ void mail_wait(const void *) {}

// peek_written reads two pairs of numbers that another block of a cooperative launch hands over by put_written, without a
// barrier: each is NotWritten before, a NaN. Who wants them peeks until they are written.
__device__ __forceinline__ void store_pair(float *p, float a, float b) {
    asm volatile("st.relaxed.gpu.global.v2.f32 [%0], {%1, %2};" ::"l"(p), "f"(a), "f"(b) : "memory");
}
__device__ __forceinline__ float4 peek_written(const float *p, const float *q) {
    float4 v;
    asm volatile("ld.relaxed.gpu.global.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(p) : "memory");
    asm volatile("ld.relaxed.gpu.global.v2.f32 {%0, %1}, [%2];" : "=f"(v.z), "=f"(v.w) : "l"(q) : "memory");
    return v;
}

// reciprocal is 1/v, off by a unit of the last place at most, for v from the normal numbers up.
__device__ __forceinline__ float reciprocal(float v) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(v));
    return y;
}

// prefetch asks for the line of 128 bytes at p, so that the card's cache has it when it is read.
__device__ __forceinline__ void prefetch(const void *p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p) : "memory"); }

// count_in adds one, and returns what was there: all that its block wrote before a barrier is seen by the block that finds it
// counted, behind a barrier too.
__device__ __forceinline__ uint32_t count_in(uint32_t *p) {
    uint32_t n;
    asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;" : "=r"(n) : "l"(p) : "memory");
    return n;
}

// launch_dependents lets the next kernel of the stream start before this one ends, where its launch allows it.
__device__ __forceinline__ void launch_dependents() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
// wait_for_earlier waits until the earlier kernel has ended and its writes are seen. A kernel calls it before it touches
// what others write or read.
__device__ __forceinline__ void wait_for_earlier() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
#endif

// put_written writes a pair for peek_written: a NaN that looks as if it were not written becomes another.
__device__ __forceinline__ void put_written(float *p, float a, float b) {
    auto other = [](float v) { return __float_as_uint(v) == NotWritten ? __uint_as_float(0x7FC00000) : v; };
    store_pair(p, other(a), other(b));
}
__device__ __forceinline__ bool is_written(float4 v) {
    return __float_as_uint(v.x) != NotWritten && __float_as_uint(v.y) != NotWritten && __float_as_uint(v.z) != NotWritten && __float_as_uint(v.w) != NotWritten;
}

// overlap_start is what kernels begin with that have nothing to read but what earlier ones write: their start alone
// overlaps with those.
__device__ __forceinline__ void overlap_start() {
    launch_dependents();
    wait_for_earlier();
}
