//go:build !purego

#include "textflag.h"
#include "go_asm.h"

// Tiles of 32 columns, 16 a register, and two, four or six rows. Each lane of a
// line has four codes of its column, so a broadcast of four values of a row of x
// is what VPDPBUSD wants with it.
//
// Z0 to Z11 are integer sums, two a row, Z12 to Z23 float32 ones likewise; Z24
// and Z25 codes, Z26 and Z27 temporary, Z28 and Z29 scales, Z30 and Z31 biases.
// AX x, BX w, R8 scale, R9 sum or start, R10 ws, R11 wb, DI c, SI bytes from row to
// row of c, CX groups, R12 runs, R13 pieces, R15 what is wanted next, DX the arguments.

#define CODES(s) \
	VMOVDQU64 (128*s)(BX), Z24;    \
	VMOVDQU64 (128*s+64)(BX), Z25

#define DOT(off, a, b) \
	VPBROADCASTD off(AX), Z26; \
	VPDPBUSD     Z26, Z24, a;  \
	VPDPBUSD     Z26, Z25, b

#define LINE2(s) \
	CODES(s);                \
	DOT((4*s), Z0, Z1);      \
	DOT((4*s+16), Z2, Z3)
#define LINE4(s) \
	LINE2(s);                \
	DOT((4*s+32), Z4, Z5);   \
	DOT((4*s+48), Z6, Z7)
#define LINE6(s) \
	LINE4(s);                \
	DOT((4*s+64), Z8, Z9);   \
	DOT((4*s+80), Z10, Z11)

#define ZERO(a, b) \
	VPXORD a, a, a; \
	VPXORD b, b, b
#define ZERO2 \
	ZERO(Z0, Z1);   \
	ZERO(Z2, Z3)
#define ZERO4 \
	ZERO2;          \
	ZERO(Z4, Z5);   \
	ZERO(Z6, Z7)
#define ZERO6 \
	ZERO4;          \
	ZERO(Z8, Z9);   \
	ZERO(Z10, Z11)
#define CLEAR2 \
	ZERO(Z12, Z13); \
	ZERO(Z14, Z15)
#define CLEAR4 \
	CLEAR2;         \
	ZERO(Z16, Z17); \
	ZERO(Z18, Z19)
#define CLEAR6 \
	CLEAR4;         \
	ZERO(Z20, Z21); \
	ZERO(Z22, Z23)

// Row r's integer sums a, b times both scales, added to c, d.
#define SCALE(r, a, b, c, d) \
	VMULPS.BCST (4*r)(R8), Z28, Z26; \
	VMULPS.BCST (4*r)(R8), Z29, Z27; \
	VCVTDQ2PS   a, a;                \
	VCVTDQ2PS   b, b;                \
	VFMADD231PS a, Z26, c;           \
	VFMADD231PS b, Z27, d
#define SCALE2 \
	SCALE(0, Z0, Z1, Z12, Z13);   \
	SCALE(1, Z2, Z3, Z14, Z15)
#define SCALE4 \
	SCALE2;                       \
	SCALE(2, Z4, Z5, Z16, Z17);   \
	SCALE(3, Z6, Z7, Z18, Z19)
#define SCALE6 \
	SCALE4;                       \
	SCALE(4, Z8, Z9, Z20, Z21);   \
	SCALE(5, Z10, Z11, Z22, Z23)

#define BIAS(r, c, d) \
	VFMADD231PS.BCST (4*r)(R9), Z30, c; \
	VFMADD231PS.BCST (4*r)(R9), Z31, d
#define BIASES \
	VMOVUPS (R11), Z30;   \
	VMOVUPS 64(R11), Z31; \
	ADDQ    $128, R11
#define SUMS2 \
	BIAS(0, Z12, Z13);   \
	BIAS(1, Z14, Z15)
#define SUMS4 \
	SUMS2;               \
	BIAS(2, Z16, Z17);   \
	BIAS(3, Z18, Z19)
#define SUMS6 \
	SUMS4;               \
	BIAS(4, Z20, Z21);   \
	BIAS(5, Z22, Z23)
#define BIAS2 \
	BIASES;  \
	SUMS2;   \
	ADDQ $8, R9
#define BIAS4 \
	BIASES;  \
	SUMS4;   \
	ADDQ $16, R9
#define BIAS6 \
	BIASES;  \
	SUMS6;   \
	ADDQ $24, R9

// Where the integer sums of row r start, for codes without biases.
#define START(r, a, b) \
	VPBROADCASTD (4*r)(R9), a; \
	VMOVDQA64    a, b
#define FIRST2 \
	START(0, Z0, Z1);    \
	START(1, Z2, Z3)
#define FIRST4 \
	FIRST2;              \
	START(2, Z4, Z5);    \
	START(3, Z6, Z7)
#define START2 \
	FIRST2; \
	ADDQ $8, R9
#define START4 \
	FIRST4; \
	ADDQ $16, R9
#define START6 \
	FIRST4;              \
	START(4, Z8, Z9);    \
	START(5, Z10, Z11);  \
	ADDQ $24, R9
#define NOBIAS

// A row of c is fetched while the sums are made.
#define FETCH \
	PREFETCHT0 (R12);   \
	PREFETCHT0 64(R12); \
	ADDQ       SI, R12
#define FETCH2 \
	FETCH;  \
	FETCH
#define FETCH4 \
	FETCH2; \
	FETCH2
#define FETCH6 \
	FETCH4; \
	FETCH2

#define ADDC(c, d) \
	VADDPS (R12), c, c;   \
	VADDPS 64(R12), d, d; \
	ADDQ   SI, R12
#define ADD2 \
	ADDC(Z12, Z13); \
	ADDC(Z14, Z15)
#define ADD4 \
	ADD2;           \
	ADDC(Z16, Z17); \
	ADDC(Z18, Z19)
#define ADD6 \
	ADD4;           \
	ADDC(Z20, Z21); \
	ADDC(Z22, Z23)

#define PUT(c, d) \
	VMOVUPS c, (DI);   \
	VMOVUPS d, 64(DI); \
	ADDQ    SI, DI
#define PUT2 \
	PUT(Z12, Z13); \
	PUT(Z14, Z15)
#define PUT4 \
	PUT2;          \
	PUT(Z16, Z17); \
	PUT(Z18, Z19)
#define PUT6 \
	PUT4;          \
	PUT(Z20, Z21); \
	PUT(Z22, Z23)

#define TILE(n, sums, fetchN, clearN, zeroN, lineN, scaleN, biasN, addN, putN) \
	MOVQ sums(DX), R9;            \
	MOVQ byteTile_x(DX), AX;      \
	MOVQ byteTile_w(DX), BX;      \
	MOVQ byteTile_scale(DX), R8;  \
	MOVQ byteTile_ws(DX), R10;    \
	MOVQ byteTile_wb(DX), R11;    \
	MOVQ byteTile_c(DX), DI;      \
	MOVQ byteTile_ldc(DX), SI;    \
	MOVQ byteTile_groups(DX), CX; \
	MOVQ byteTile_next(DX), R15;  \
	SHLQ $2, SI;                  \
	MOVQ DI, R12;                 \
	fetchN;                       \
	clearN;                       \
group:                            \
	VMOVUPS (R10), Z28;           \
	VMOVUPS 64(R10), Z29;         \
	MOVQ byteTile_runs(DX), R12;  \
run:                              \
	zeroN;                        \
	MOVQ byteTile_pieces(DX), R13; \
piece:                            \
	PREFETCHT1 (R15);             \
	lineN(0);                     \
	lineN(1);                     \
	PREFETCHT1 64(R15);           \
	lineN(2);                     \
	lineN(3);                     \
	ADDQ $128, R15;               \
	ADDQ $(16*n), AX;             \
	ADDQ $512, BX;                \
	DECQ R13;                     \
	JNZ  piece;                   \
	scaleN;                       \
	ADDQ $(4*n), R8;              \
	DECQ R12;                     \
	JNZ  run;                     \
	biasN;                        \
	ADDQ $128, R10;               \
	DECQ CX;                      \
	JNZ  group;                   \
	MOVBLZX byteTile_add(DX), AX; \
	TESTL AX, AX;                 \
	JZ   put;                     \
	MOVQ DI, R12;                 \
	addN;                         \
put:                              \
	putN;                         \
	VZEROUPPER;                   \
	RET

// func tile8VNNIx6(t *byteTile)
TEXT ·tile8VNNIx6(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), DX
	TILE(6, byteTile_sum, FETCH6, CLEAR6, ZERO6, LINE6, SCALE6, BIAS6, ADD6, PUT6)

// func tile8VNNIx4(t *byteTile)
TEXT ·tile8VNNIx4(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), DX
	TILE(4, byteTile_sum, FETCH4, CLEAR4, ZERO4, LINE4, SCALE4, BIAS4, ADD4, PUT4)

// func tile8VNNIx2(t *byteTile)
TEXT ·tile8VNNIx2(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), DX
	TILE(2, byteTile_sum, FETCH2, CLEAR2, ZERO2, LINE2, SCALE2, BIAS2, ADD2, PUT2)

// func start8VNNIx6(t *byteTile)
TEXT ·start8VNNIx6(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), DX
	TILE(6, byteTile_start, FETCH6, CLEAR6, START6, LINE6, SCALE6, NOBIAS, ADD6, PUT6)

// func start8VNNIx4(t *byteTile)
TEXT ·start8VNNIx4(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), DX
	TILE(4, byteTile_start, FETCH4, CLEAR4, START4, LINE4, SCALE4, NOBIAS, ADD4, PUT4)

// func start8VNNIx2(t *byteTile)
TEXT ·start8VNNIx2(SB), NOSPLIT, $0-8
	MOVQ t+0(FP), DX
	TILE(2, byteTile_start, FETCH2, CLEAR2, START2, LINE2, SCALE2, NOBIAS, ADD2, PUT2)
