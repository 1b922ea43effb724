// The choice of a token with all filters: see compute/sample.go, whose order and arithmetic (float64) this keeps.
#include "elements.cuh"

namespace {
constexpr int Pickers = 1024;  // threads of a row

// settle joins one value of each thread, in a fixed order; all get the result.
template <class T, class F> __device__ __forceinline__ T settle(T v, F f) {
    __shared__ T part[32];
#pragma unroll
    for (int m = 16; m; m >>= 1) v = f(v, __shfl_xor_sync(~0u, v, m));
    __syncthreads();
    if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
    __syncthreads();
    v = part[threadIdx.x & 31];
#pragma unroll
    for (int m = 16; m; m >>= 1) v = f(v, __shfl_xor_sync(~0u, v, m));
    return v;
}
__device__ __forceinline__ double total(double v) { return settle(v, [](double a, double b) { return a + b; }); }
__device__ __forceinline__ int count(int v) { return settle(v, [](int a, int b) { return a + b; }); }

// rising is a number's place in order as an integer: -0 is 0.
__device__ __forceinline__ uint32_t rising(float v) {
    uint32_t u = v == 0 ? 0 : __float_as_uint(v);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}
typedef unsigned long long Place;

// Sampler has compute.Sampling's fields.
struct Sampler {
    double temp, topP, minP, xtc, threshold;
    int minKeep, topK, keeps, keep[17];
};

// A Row is the log probabilities p of V tokens, their exponentials e, and the key of what is drawn.
struct Row {
    float *p;
    double *e;
    int V;
    uint32_t key[2];

    template <class F> __device__ __forceinline__ void each(F f) {
        for (int i = threadIdx.x; i < V; i += Pickers) f(i);
    }
    __device__ __forceinline__ void drop(int i) { p[i] = -INFINITY, e[i] = 0; }
    __device__ __forceinline__ float most() {
        float m = -INFINITY;
        each([&](int i) { m = fmaxf(m, p[i]); });
        return settle(m, [](float a, float b) { return fmaxf(a, b); });
    }
    // uniform splits the key and draws one number from 0 to 1.
    __device__ __forceinline__ double uniform() {
        uint2 a = threefry(key[0], key[1], 0, 2), b = threefry(key[0], key[1], 1, 3);
        key[0] = a.x, key[1] = b.x;
        float u = fminf((float)threefry(a.y, b.y, 0, 0).x / 4294967296.0f, 0x1.fffffep-1f);
        return u;
    }
    // search finds the largest place, bit by bit, that holds. `low` is how many bits the token has.
    template <class F> __device__ __forceinline__ Place search(F holds) {
        Place x = 0;
        const int low = 32 - __clz(V);
        for (int bit = 63; bit >= 0; bit--) {
            if (bit < 32 && bit >= low) continue;
            Place t = x | (Place)1 << bit;
            if (holds(t)) x = t;
        }
        return x;
    }
    // topK keeps the k likeliest; of equal ones the first. A place is p's order, then V - i.
    __device__ __forceinline__ void topKeep(int k) {
        if (k >= V) return;
        auto place = [&](int i) { return (Place)rising(p[i]) << 32 | (Place)(V - i); };
        Place x = search([&](Place t) {
            int n = 0;
            each([&](int i) { n += place(i) >= t; });
            return count(n) >= k;
        });
        each([&](int i) { if (place(i) < x) drop(i); });
        __syncthreads();
    }
    // topP keeps the tokens whose cumulative probability, from the least likely up, is above 1-limit.
    __device__ __forceinline__ void topShare(double limit) {
        auto place = [&](int i) { return (Place)rising(p[i]) << 32 | (Place)i; };
        Place x = search([&](Place t) {
            double s = 0;
            each([&](int i) { if (place(i) < t) s += e[i]; });
            return total(s) <= 1 - limit;
        });
        Place last = 0;
        each([&](int i) { Place v = place(i); if (v > last) last = v; });
        last = settle(last, [](Place a, Place b) { return a > b ? a : b; });
        if (x > last) x = last;
        each([&](int i) { if (place(i) < x) drop(i); });
        __syncthreads();
    }
    __device__ __forceinline__ void minShare(double share, int keep) {
        double bar = (double)most() + log(share);
        int above = 0;
        each([&](int i) { above += (double)p[i] >= bar; });
        if (count(above) < keep) {
            topKeep(keep);
            return;
        }
        each([&](int i) { if ((double)p[i] < bar) drop(i); });
        __syncthreads();
    }
    __device__ __forceinline__ void xtc(const Sampler &o) {
        double s = 0;
        each([&](int i) { s += e[i]; });
        double bar = log(o.threshold) + log(total(s));
        float least = INFINITY;
        each([&](int i) { if ((double)p[i] > bar) least = fminf(least, p[i]); });
        least = settle(least, [](float a, float b) { return fminf(a, b); });
        each([&](int i) {
            bool kept = !(p[i] > least);
            for (int k = 0; k < o.keeps; k++) kept |= o.keep[k] == i;
            if (!kept) drop(i);
        });
        __syncthreads();
    }
    // categorical draws from exp(p/temp) by the inverse of the cumulative sum: a thread has a stretch of tokens.
    __device__ __forceinline__ int categorical(double temp) {
        __shared__ double sums[Pickers + 1];
        const double top = most();
        const int n = (V + Pickers - 1) / Pickers, from = min((int)threadIdx.x * n, V), to = min(from + n, V);
        double s = 0;
        for (int i = from; i < to; i++) {
            e[i] = p[i] == -INFINITY ? 0 : exp(((double)p[i] - top) / temp);
            s += e[i];
        }
        sums[threadIdx.x] = s;
        __syncthreads();
        if (threadIdx.x == 0) {
            double all = 0;
            for (int i = 0; i < Pickers; i++) {
                double v = sums[i];
                sums[i] = all, all += v;
            }
            sums[Pickers] = all;
        }
        __syncthreads();
        const double mark = uniform() * sums[Pickers];
        s = sums[threadIdx.x];
        int found = 0x7FFFFFFF, last = 0;
        for (int i = from; i < to && found == 0x7FFFFFFF; i++) {
            if (e[i] == 0) continue;
            last = i;
            if ((s += e[i]) > mark) found = i;
        }
        found = settle(found, [](int a, int b) { return a < b ? a : b; });
        last = settle(last, [](int a, int b) { return a > b ? a : b; });
        return found == 0x7FFFFFFF ? last : found;
    }
};

// sample: one row of logits a block. p [rows, V] and e [rows, V] are work memory.
template <class X> __device__ __forceinline__ void sample(int *y, const X *x, const uint32_t *keys, float *p, double *e, int V, Sampler o) {
    const int64_t at = (int64_t)blockIdx.x * V;
    Row r = {p + at, e + at, V, {keys[2 * blockIdx.x], keys[2 * blockIdx.x + 1]}};
    x += at;
    int wrong = 0x7FFFFFFF;
    r.each([&](int i) {
        float v = widen(x[i]);
        r.p[i] = v;
        if (!(fabsf(v) < INFINITY)) wrong = min(wrong, i);
    });
    wrong = settle(wrong, [](int a, int b) { return a < b ? a : b; });
    if (wrong != 0x7FFFFFFF) {
        if (threadIdx.x == 0) y[blockIdx.x] = -1 - wrong;
        return;
    }
    const float top = r.most();
    if (o.temp == 0) {
        int first = 0x7FFFFFFF;
        r.each([&](int i) { if (r.p[i] == top) first = min(first, i); });
        first = settle(first, [](int a, int b) { return a < b ? a : b; });
        if (threadIdx.x == 0) y[blockIdx.x] = first;
        return;
    }
    double s = 0;
    r.each([&](int i) { s += exp((double)r.p[i] - (double)top); });
    const double lse = (double)top + log(total(s));
    r.each([&](int i) {
        r.p[i] = (float)((double)r.p[i] - lse);
        r.e[i] = exp((double)r.p[i]);
    });
    __syncthreads();
    if (o.topP > 0 && o.topP < 1) r.topShare(o.topP);
    if (o.minP > 0) r.minShare(o.minP, max(1, o.minKeep));
    if (o.xtc > 0 && r.uniform() < o.xtc) r.xtc(o);
    if (o.topK > 0) r.topKeep(o.topK);
    int token = r.categorical(o.temp);
    if (threadIdx.x == 0) y[blockIdx.x] = token;
}
}  // namespace

#define K_SAMPLE(s, X) \
    extern "C" __global__ void __launch_bounds__(1024) sample_##s(int *y, const X *x, const uint32_t *keys, float *p, double *e, int V, Sampler o) { sample(y, x, keys, p, e, V, o); }
K_SAMPLE(f, float) K_SAMPLE(b, bf16) K_SAMPLE(h, __half)
