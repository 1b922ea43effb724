// What the kernels say in the card's assembly (ptx.cuh), for a warp of fibers.
#pragma once
#include "emulate.h"

namespace emulate {
inline float lower(uint32_t v) { return __uint_as_float(v << 16); }
inline float upper(uint32_t v) { return __uint_as_float(v & 0xFFFF0000u); }

struct Matrices {  // ldmatrix: lane i names row i%8 of matrix i/8
    uint32_t *a, row;
    bool trans;
    static void run(void **boxes) {
        uint16_t m[4][8][8];
        for (int i = 0; i < 32; i++) memcpy(m[i >> 3][i & 7], address(((Matrices *)boxes[i])->row, 16), 16);
        for (int l = 0; l < 32; l++) {
            Matrices *own = (Matrices *)boxes[l];
            int r = l >> 2, c = 2 * (l & 3);
            for (int j = 0; j < 4; j++) own->a[j] = own->trans ? m[j][c][r] | (uint32_t)m[j][c + 1][r] << 16 : m[j][r][c] | (uint32_t)m[j][r][c + 1] << 16;
        }
    }
};

struct Transpose {  // movmatrix
    uint32_t a, d;
    static void run(void **boxes) {
        uint16_t m[8][8];
        for (int l = 0; l < 32; l++) memcpy(&m[l >> 2][2 * (l & 3)], &((Transpose *)boxes[l])->a, 4);
        for (int l = 0; l < 32; l++) ((Transpose *)boxes[l])->d = m[2 * (l & 3)][l >> 2] | (uint32_t)m[2 * (l & 3) + 1][l >> 2] << 16;
    }
};

struct ProductBytes {  // mma.m16n8k32 of u8 and s8
    uint32_t *d;
    const uint32_t *a;
    uint32_t b0, b1;
    static void run(void **boxes) {
        int32_t a[16][32], b[32][8];
        for (int l = 0; l < 32; l++) {
            const ProductBytes *p = (const ProductBytes *)boxes[l];
            const int g = l >> 2, q = 4 * (l & 3);
            for (int i = 0; i < 16; i++) a[g + 8 * (i >> 2 & 1)][q + 16 * (i >> 3) + (i & 3)] = p->a[i >> 2] >> 8 * (i & 3) & 255;
            for (int i = 0; i < 4; i++) b[q + i][g] = (int8_t)(p->b0 >> 8 * i), b[q + 16 + i][g] = (int8_t)(p->b1 >> 8 * i);
        }
        for (int l = 0; l < 32; l++)
            for (int i = 0; i < 4; i++)
                for (int k = 0; k < 32; k++) ((ProductBytes *)boxes[l])->d[i] += a[(l >> 2) + 8 * (i >> 1)][k] * b[k][2 * (l & 3) + (i & 1)];
    }
};

struct Product {  // mma.m16n8k16 of bf16
    float *d;
    const uint32_t *a;
    uint32_t b0, b1;
    typedef float Row __attribute__((vector_size(32)));
    static void run(void **boxes) {
        alignas(32) float a[16][16], b[16][8], d[16][8];
        for (int l = 0; l < 32; l++) {
            const Product *p = (const Product *)boxes[l];
            int g = l >> 2, q = 2 * (l & 3);
            for (int i = 0; i < 4; i++) {
                float *to = &a[g + 8 * (i & 1)][q + 8 * (i >> 1)];
                to[0] = lower(p->a[i]), to[1] = upper(p->a[i]);
            }
            b[q][g] = lower(p->b0), b[q + 1][g] = upper(p->b0), b[q + 8][g] = lower(p->b1), b[q + 9][g] = upper(p->b1);
            d[g][q] = p->d[0], d[g][q + 1] = p->d[1], d[g + 8][q] = p->d[2], d[g + 8][q + 1] = p->d[3];
        }
        for (int m = 0; m < 16; m++) {
            Row s = *(Row *)d[m];
            for (int k = 0; k < 16; k++) s += a[m][k] * *(Row *)b[k];
            *(Row *)d[m] = s;
        }
        for (int l = 0; l < 32; l++) {
            float *to = ((Product *)boxes[l])->d;
            int g = l >> 2, q = 2 * (l & 3);
            to[0] = d[g][q], to[1] = d[g][q + 1], to[2] = d[g + 8][q], to[3] = d[g + 8][q + 1];
        }
    }
};
}  // namespace emulate

inline void cp16(uint32_t dst, const void *src, bool ok) {
    if ((dst | (uintptr_t)src) & 15) emulate::fail("cp.async of 16 bytes at an odd address");
    emulate::start_copy(emulate::address(dst, 16), src, ok);
}
inline void cp_commit() { emulate::end_group(); }
template <int N> inline void cp_wait() { emulate::wait_groups(N); }
inline uint2 read_shared2(uint32_t p) { return *(const uint2 *)emulate::address(p, 8); }
inline uint4 read_shared4(uint32_t p) { return *(const uint4 *)emulate::address(p, 16); }
inline void ldmatrix(uint32_t (&a)[4], uint32_t p) {
    emulate::Matrices m = {a, p, false};
    emulate::meet(&m, "ldmatrix", emulate::Matrices::run);
}
inline void ldmatrix_trans(uint32_t (&a)[4], uint32_t p) {
    emulate::Matrices m = {a, p, true};
    emulate::meet(&m, "ldmatrix.trans", emulate::Matrices::run);
}
inline float reciprocal(float v) { return 1 / v; }

inline float exp2_fast(float v) {
    float y = exp2f(v);
    return y < 0x1p-126f ? 0 : y;  // NaN stays
}
inline uint32_t transposed(uint32_t a) {
    emulate::Transpose t = {a, 0};
    emulate::meet(&t, "movmatrix", emulate::Transpose::run);
    return t.d;
}
inline void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    emulate::Product p = {d, a, b0, b1};
    emulate::meet(&p, "mma", emulate::Product::run);
}
inline void mma_bytes(uint32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    emulate::ProductBytes p = {d, a, b0, b1};
    emulate::meet(&p, "mma_bytes", emulate::ProductBytes::run);
}
inline void prefetch(const void *p) { (void)*(const volatile uint8_t *)p; }
inline void group_sync(int id, int n) { emulate::barrier(id, n, 0); }
inline void grid_arrive(uint32_t *gate) { ++*gate; }
inline void grid_wait(const uint32_t *gate, uint32_t want) { emulate::wait_gate(gate, want); }
inline uint4 read_mail(const void *p) { return *(const uint4 *)p; }
inline void write_mail(void *p, uint32_t v) { *(uint32_t *)p = v; }
inline void mail_wait(const void *p) { emulate::wait_mail((const uint32_t *)p, 4); }
inline void store_pair(float *p, float a, float b) { p[0] = a, p[1] = b; }
inline float4 peek_written(const float *p, const float *q) {  // others go on where it is in vain
    emulate::wait_mail((const uint32_t *)p, 2), emulate::wait_mail((const uint32_t *)q, 2);
    return make_float4(p[0], p[1], q[0], q[1]);
}
inline uint32_t and_or(uint32_t v, uint32_t bits) { return (v & 0x000F000Fu) | bits; }
inline uint32_t count_in(uint32_t *p) { return atomicAdd(p, 1u); }
// Kernels run one after another here, but a programmatic launch is held to what it may do beside others.
inline void launch_dependents() {}
inline void wait_for_earlier() { emulate::wait_earlier(); }
