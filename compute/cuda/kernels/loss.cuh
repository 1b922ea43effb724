// Cross-entropy over rows of logits, and the choice of the largest.
#include "common.cuh"

namespace {
// cross_entropy: one row a block of 512. g may be the row of logits itself.
template <class X, class G> __device__ __forceinline__ void cross_entropy(uint32_t *bad, float *loss, G *g, const X *logits, const int *targets, const float *weight, int V) {
    int64_t r = blockIdx.x;
    logits += r * V;
    int target = targets[r];
    if (target < 0 || target >= V) {
        if (threadIdx.x == 0) *bad = 1;
        return;
    }
    float top = -INFINITY, sum = 0;
    for (int v = threadIdx.x; v < V; v += 512) {
        float x = widen(logits[v]);
        if (x > top) sum *= __expf(top - x), top = x;
        sum += __expf(x - top);
    }
    float most = row_max<512>(top);
    __syncthreads();
    sum = row_sum<512>(top == -INFINITY ? 0 : sum * __expf(top - most));
    float lse = most + logf(sum), picked = widen(logits[target]);
    if (threadIdx.x == 0) loss[r] = lse - picked;
    if (!g) return;
    g += r * V;
    float w = weight[r];
    __syncthreads();  // the target's logit has been read
    for (int v = threadIdx.x; v < V; v += 512) {
        float p = __expf(widen(logits[v]) - lse);
        round_to(g + v, w * (v == target ? p - 1 : p));
    }
}
}  // namespace

#define K_CE(s, X, G) \
    extern "C" __global__ void __launch_bounds__(512) cross_entropy_##s(uint32_t *bad, float *loss, G *g, const X *logits, const int *targets, const float *weight, int V) { cross_entropy(bad, loss, g, logits, targets, weight, V); }
K_CE(ff, float, float) K_CE(fb, float, bf16) K_CE(bb, bf16, bf16)

namespace {
// argmax: the first of the largest. A row (blockIdx.y) with a value that is NaN or infinite gives -1 - its index. A block of
// 512 takes a part of the row; what it finds goes to parts [rows, 3, gridDim.x], of which the last block of the row to finish
// takes the best. counts are zeros before and after.
template <class X> __device__ __forceinline__ void argmax(int *y, const X *x, int n, int *parts, uint32_t *counts) {
    __shared__ float tops[512];
    __shared__ int ats[512], wrongs[512];
    __shared__ bool last;
    launch_dependents();
    wait_for_earlier();
    const int none = 0x7FFFFFFF, row = blockIdx.y, share = (n + gridDim.x - 1) / gridDim.x, from = blockIdx.x * share, to = min(n, from + share);
    x += (int64_t)row * n, parts += (int64_t)row * 3 * gridDim.x;
    auto best = [&](float top, int at, int wrong) {
        tops[threadIdx.x] = top, ats[threadIdx.x] = at, wrongs[threadIdx.x] = wrong;
        for (int m = 256; m; m >>= 1) {
            __syncthreads();
            if (threadIdx.x >= m) continue;
            float v = tops[threadIdx.x + m];
            int i = ats[threadIdx.x + m];
            if (v > tops[threadIdx.x] || (v == tops[threadIdx.x] && i < ats[threadIdx.x])) tops[threadIdx.x] = v, ats[threadIdx.x] = i;
            wrongs[threadIdx.x] = min(wrongs[threadIdx.x], wrongs[threadIdx.x + m]);
        }
    };
    float top = -INFINITY;
    int at = none, wrong = none;
#pragma unroll 4
    for (int i = from + threadIdx.x; i < to; i += 512) {
        float v = widen(x[i]);
        if (!(fabsf(v) < INFINITY)) wrong = min(wrong, i);
        if (v > top) top = v, at = i;
    }
    best(top, at, wrong);
    if (gridDim.x > 1) {
        if (threadIdx.x == 0) {
            parts[blockIdx.x] = __float_as_int(tops[0]), parts[gridDim.x + blockIdx.x] = ats[0], parts[2 * gridDim.x + blockIdx.x] = wrongs[0];
            __threadfence();
            last = atomicAdd(counts + row, 1) == gridDim.x - 1;
        }
        __syncthreads();
        if (!last) return;
        __threadfence();
        const bool own = threadIdx.x < gridDim.x;
        best(own ? __int_as_float(__ldcg(parts + threadIdx.x)) : -INFINITY, own ? __ldcg(parts + gridDim.x + threadIdx.x) : none, own ? __ldcg(parts + 2 * gridDim.x + threadIdx.x) : none);
        if (threadIdx.x == 0) counts[row] = 0;
    }
    if (threadIdx.x == 0) y[row] = wrongs[0] != none ? -1 - wrongs[0] : ats[0];
}
}  // namespace
#define K_ARGMAX(s, X) \
    extern "C" __global__ void __launch_bounds__(512) argmax_##s(int *y, const X *x, int n, int *parts, uint32_t *counts) { argmax(y, x, n, parts, counts); }
K_ARGMAX(f, float) K_ARGMAX(b, bf16) K_ARGMAX(h, __half)
