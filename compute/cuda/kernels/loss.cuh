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
// argmax: the first of the largest, one row a block of 512. A row with a value that is NaN or infinite gives -1 - its index.
template <class X> __device__ __forceinline__ void argmax(int *y, const X *x, int n) {
    const int none = 0x7FFFFFFF;
    x += (int64_t)blockIdx.x * n;
    float top = -INFINITY;
    int at = none, wrong = none;
    for (int i = threadIdx.x; i < n; i += 512) {
        float v = widen(x[i]);
        if (!(fabsf(v) < INFINITY)) wrong = min(wrong, i);
        if (v > top) top = v, at = i;
    }
    __shared__ float tops[512];
    __shared__ int ats[512], wrongs[512];
    tops[threadIdx.x] = top, ats[threadIdx.x] = at, wrongs[threadIdx.x] = wrong;
    for (int m = 256; m; m >>= 1) {
        __syncthreads();
        if (threadIdx.x >= m) continue;
        float v = tops[threadIdx.x + m];
        int i = ats[threadIdx.x + m];
        if (v > tops[threadIdx.x] || (v == tops[threadIdx.x] && i < ats[threadIdx.x])) tops[threadIdx.x] = v, ats[threadIdx.x] = i;
        wrongs[threadIdx.x] = min(wrongs[threadIdx.x], wrongs[threadIdx.x + m]);
    }
    if (threadIdx.x == 0) y[blockIdx.x] = wrongs[0] != none ? -1 - wrongs[0] : ats[0];
}
}  // namespace
#define K_ARGMAX(s, X) \
    extern "C" __global__ void __launch_bounds__(512) argmax_##s(int *y, const X *x, int n) { argmax(y, x, n); }
K_ARGMAX(f, float) K_ARGMAX(b, bf16) K_ARGMAX(h, __half)
