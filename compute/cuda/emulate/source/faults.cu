// Kernels with the mistakes that the emulation finds, for its own test.
#include "hopper.cuh"

extern "C" __global__ void fault_beyond(float *p, int n, int at) { if (threadIdx.x == 5) p[n + at] = 1; }
extern "C" __global__ void fault_race(float *p, int n, int) {
    __shared__ float part[64];
    part[threadIdx.x] = threadIdx.x;
    p[threadIdx.x % n] = part[63 - threadIdx.x];  // nobody has waited
}
extern "C" __global__ void fault_divided(float *p, int, int) {
    float v = threadIdx.x & 1 ? __shfl_sync(~0u, 1.f, 2) : warp_sum(1);
    p[0] = v;
}
extern "C" __global__ void fault_ended(float *p, int, int) {
    if (threadIdx.x == 3) return;
    p[0] = warp_sum(1);
}
extern "C" __global__ void fault_barrier(float *p, int, int) {
    if (threadIdx.x < 32) p[0] = __shfl_sync(~0u, threadIdx.x == 7 ? __syncthreads_or(1) : 1, 0);
}
extern "C" __global__ void fault_shared(float *p, int, int) {
    SHARED_ARRAY(float, s, 16);
    cp16(smem32(s) + 16 * threadIdx.x, p, true);
}
extern "C" __global__ void fault_unwaited(float *p, int n, int) {
    SHARED_ARRAY(float, s, 16);
    if (threadIdx.x) return;
    cp16(smem32(s), p, true);
    cp_commit();
    p[n - 1] = s[0];
    cp_wait<0>();
}
extern "C" __global__ void fault_none(float *p, int n, int) {
    SHARED_ARRAY(float, s, 16);
    if (threadIdx.x) return;
    cp16(smem32(s), p, true);
    cp_commit();
    cp_wait<0>();
    p[n - 1] = s[0];
}
extern "C" __global__ void fault_early(float *p, int, int at) {
    SHARED_ARRAY(float, s, 16);
    if (at == 1) s[0] = p[0];
    if (at == 2 && threadIdx.x == 0) cp16(smem32(s), p, true);
    if (at != 3 || threadIdx.x) wait_for_earlier();
    cp_wait<0>();
    if (threadIdx.x == 63) p[1]++;
}

template <int N> __device__ float *row_of_block() {
    __shared__ float row[N];
    return row;
}
enum { NoRingFault, BulkCopy, OneStaysAway, NobodyWrites };
// grid_ring passes 64 numbers a block round a ring of blocks: new = old of the block before + own in all kinds of shared memory
// + own old by a copy that is under way across a barrier of the grid. p is the gate, then two rows of [blocks, 64] by turns.
extern "C" __global__ void __launch_bounds__(64) grid_ring(float *p, int steps, int fault) {
    SHARED_ARRAY(float, s, 16);  // [64], the copy's [64], a barrier of Hopper
    __shared__ float marks[64];
    float *sums = row_of_block<64>();
    const int t = threadIdx.x, blocks = gridDim.x, block = blockIdx.x, before = (block + blocks - 1) % blocks;
    const uint32_t to = smem32(s + 64), bar = smem32(s + 128);
    auto row = [&](int step, int b) { return p + 4 + ((step & 1) * blocks + b) * 64; };
    if (fault == BulkCopy && t == 0) bar_init(bar, 1), bar_init_fence();
    s[63 - t] = 3 * block + 63 - t, marks[63 - t] = block, sums[63 - t] = 0;
    row(0, block)[t] = 64 * block + t;
    if (fault == NobodyWrites && t == 0) ((uint32_t *)p)[2] = NotWritten, peek_written(p + 2, p + 2);
    for (int step = 0; step < steps; step++) {
        __syncthreads();
        if (fault == BulkCopy && t == 0) bar_expect(bar, 256), copy_bytes(to, row(step, block), 256, bar);
        if (fault != BulkCopy && t < 16) cp16(to + 16 * t, row(step, block) + 4 * t, true);
        cp_commit();
        if (fault == OneStaysAway && step == 1 && block == 1) return;
        if (t == 0) {
            grid_arrive((uint32_t *)p);
            grid_wait((const uint32_t *)p, blocks * (step + 1));
        }
        if (fault == BulkCopy) bar_wait(bar, step & 1);
        cp_wait<0>();
        group_sync(0, 64);
        sums[t] += row(step, before)[t];
        row(step + 1, block)[t] = sums[t] + marks[t] + s[t] + s[64 + t];
    }
}
