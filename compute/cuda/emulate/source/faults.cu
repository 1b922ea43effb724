// Kernels with the mistakes that the emulation finds, for its own test.
#include "common.cuh"

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
