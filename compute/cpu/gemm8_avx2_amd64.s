//go:build !purego

#include "textflag.h"
#include "go_asm.h"

// The arguments of a tile: AX x, BX w, R8 scale, R9 sum or start, R10 ws, R11 wb, DI c,
// SI bytes from row to row of c, CX groups; DX stays. R14 is the stack from a multiple of
// 32 on, so that no vector there is in two cache lines.
#define ARGUMENTS \
	LEAQ 31(SP), R14;             \
	ANDQ $~31, R14;               \
	MOVQ byteTile_x(DX), AX;      \
	MOVQ byteTile_w(DX), BX;      \
	MOVQ byteTile_scale(DX), R8;  \
	MOVQ byteTile_ws(DX), R10;    \
	MOVQ byteTile_wb(DX), R11;    \
	MOVQ byteTile_c(DX), DI;      \
	MOVQ byteTile_ldc(DX), SI;    \
	MOVQ byteTile_groups(DX), CX; \
	SHLQ $2, SI

DATA ·wordOnes<>+0(SB)/8, $0x0001000100010001
DATA ·wordOnes<>+8(SB)/8, $0x0001000100010001
DATA ·wordOnes<>+16(SB)/8, $0x0001000100010001
DATA ·wordOnes<>+24(SB)/8, $0x0001000100010001
GLOBL ·wordOnes<>(SB), RODATA|NOPTR, $32

// Two lines of codes, 16 columns of each, in Y8 to Y11.
#define CODES2(off) \
	VMOVDQU off(BX), Y8;      \
	VMOVDQU (off+32)(BX), Y9; \
	VMOVDQU (off+64)(BX), Y10; \
	VMOVDQU (off+96)(BX), Y11

// One row's 8 values at off times two lines of codes, added to a and b. Codes
// are at most 63 and activations at most 127, so that four products fit 16 bits.
#define DOT8(off, a, b) \
	VPBROADCASTD off(AX), Y12;       \
	VPBROADCASTD (off+4)(AX), Y13;   \
	VPMADDUBSW   Y12, Y8, Y14;       \
	VPMADDUBSW   Y13, Y10, Y15;      \
	VPADDW       Y15, Y14, Y14;      \
	VPMADDWD     ·wordOnes<>(SB), Y14, Y14; \
	VPADDD       Y14, a, a;          \
	VPMADDUBSW   Y12, Y9, Y14;       \
	VPMADDUBSW   Y13, Y11, Y15;      \
	VPADDW       Y15, Y14, Y14;      \
	VPMADDWD     ·wordOnes<>(SB), Y14, Y14; \
	VPADDD       Y14, b, b

// The integers of row r times the scales in Y8 and Y9, added to its sums at off of the
// stack.
#define SCALED(r, off, a, b) \
	VBROADCASTSS (4*r)(R8), Y12;     \
	VMULPS       Y12, Y8, Y13;       \
	VMULPS       Y12, Y9, Y14;       \
	VCVTDQ2PS    a, a;               \
	VCVTDQ2PS    b, b;               \
	VFMADD213PS  off(R14), Y13, a;    \
	VFMADD213PS  (off+32)(R14), Y14, b; \
	VMOVUPS      a, off(R14);         \
	VMOVUPS      b, (off+32)(R14)

// The biases in Y8 and Y9 times row r's sum, added likewise.
#define BIASED(r, off) \
	VBROADCASTSS (4*r)(R9), Y12;      \
	VMOVUPS      off(R14), Y13;        \
	VMOVUPS      (off+32)(R14), Y14;   \
	VFMADD231PS  Y8, Y12, Y13;        \
	VFMADD231PS  Y9, Y12, Y14;        \
	VMOVUPS      Y13, off(R14);        \
	VMOVUPS      Y14, (off+32)(R14)

#define ADDC(off) \
	VMOVUPS off(R14), Y0;         \
	VMOVUPS (off+32)(R14), Y1;    \
	VADDPS  (DI), Y0, Y0;        \
	VADDPS  32(DI), Y1, Y1;      \
	VMOVUPS Y0, (DI);            \
	VMOVUPS Y1, 32(DI);          \
	ADDQ    SI, DI

#define PUTC(off) \
	VMOVUPS off(R14), Y0;         \
	VMOVUPS (off+32)(R14), Y1;    \
	VMOVUPS Y0, (DI);            \
	VMOVUPS Y1, 32(DI);          \
	ADDQ    SI, DI

// The whole tile of n rows: integer sums in Y0 to Y7, float32 ones on the stack,
// as the registers do not hold both.
#define TILE(n, sums, zero, dots, scaled, biased, addc, putc) \
	ARGUMENTS;                           \
	MOVQ sums(DX), R9;                   \
	VXORPS  Y0, Y0, Y0;                  \
	VMOVUPS Y0, 0(R14);                   \
	VMOVUPS Y0, 32(R14);                  \
	VMOVUPS Y0, 64(R14);                  \
	VMOVUPS Y0, 96(R14);                  \
	VMOVUPS Y0, 128(R14);                 \
	VMOVUPS Y0, 160(R14);                 \
	VMOVUPS Y0, 192(R14);                 \
	VMOVUPS Y0, 224(R14);                 \
group:                                   \
	MOVQ byteTile_runs(DX), R12;         \
run:                                     \
	zero;                                \
	MOVQ byteTile_pieces(DX), R13;       \
piece:                                   \
	CODES2(0);                           \
	dots(0);                             \
	CODES2(128);                         \
	dots(8);                             \
	ADDQ $(16*n), AX;                    \
	ADDQ $256, BX;                       \
	DECQ R13;                            \
	JNZ  piece;                          \
	VMOVUPS (R10), Y8;                   \
	VMOVUPS 32(R10), Y9;                 \
	scaled;                              \
	ADDQ $(4*n), R8;                     \
	DECQ R12;                            \
	JNZ  run;                            \
	biased;                              \
	ADDQ $64, R10;                       \
	DECQ CX;                             \
	JNZ  group;                          \
	MOVBLZX byteTile_add(DX), AX;        \
	TESTL AX, AX;                        \
	JZ   put;                            \
	addc;                                \
	VZEROUPPER;                          \
	RET;                                 \
put:                                     \
	putc;                                \
	VZEROUPPER;                          \
	RET

#define ZERO2 \
	VPXOR Y0, Y0, Y0; \
	VPXOR Y1, Y1, Y1; \
	VPXOR Y2, Y2, Y2; \
	VPXOR Y3, Y3, Y3
#define ZERO4 \
	ZERO2;            \
	VPXOR Y4, Y4, Y4; \
	VPXOR Y5, Y5, Y5; \
	VPXOR Y6, Y6, Y6; \
	VPXOR Y7, Y7, Y7
#define DOTS2(off) \
	DOT8(off, Y0, Y1);      \
	DOT8((off+16), Y2, Y3)
#define DOTS4(off) \
	DOTS2(off);             \
	DOT8((off+32), Y4, Y5); \
	DOT8((off+48), Y6, Y7)
#define SCALED2 \
	SCALED(0, 0, Y0, Y1);   \
	SCALED(1, 64, Y2, Y3)
#define SCALED4 \
	SCALED2;                \
	SCALED(2, 128, Y4, Y5); \
	SCALED(3, 192, Y6, Y7)
#define BIASES \
	VMOVUPS (R11), Y8;   \
	VMOVUPS 32(R11), Y9; \
	ADDQ    $64, R11;    \
	BIASED(0, 0);        \
	BIASED(1, 64)
#define BIASED2 \
	BIASES;         \
	ADDQ $8, R9
#define BIASED4 \
	BIASES;         \
	BIASED(2, 128); \
	BIASED(3, 192); \
	ADDQ $16, R9

// Where the integer sums of row r start, for codes without biases.
#define START(r, a, b) \
	VPBROADCASTD (4*r)(R9), a; \
	VMOVDQA      a, b
#define START2 \
	START(0, Y0, Y1); \
	START(1, Y2, Y3); \
	ADDQ $8, R9
#define START4 \
	START(0, Y0, Y1); \
	START(1, Y2, Y3); \
	START(2, Y4, Y5); \
	START(3, Y6, Y7); \
	ADDQ $16, R9
#define NOBIAS
#define ADDC2 \
	ADDC(0);   \
	ADDC(64)
#define ADDC4 \
	ADDC2;     \
	ADDC(128); \
	ADDC(192)
#define PUTC2 \
	PUTC(0);   \
	PUTC(64)
#define PUTC4 \
	PUTC2;     \
	PUTC(128); \
	PUTC(192)

// func tile8AVX2x4(t *byteTile)
TEXT ·tile8AVX2x4(SB), NOSPLIT, $288-8
	MOVQ t+0(FP), DX
	TILE(4, byteTile_sum, ZERO4, DOTS4, SCALED4, BIASED4, ADDC4, PUTC4)

// func tile8AVX2x2(t *byteTile)
TEXT ·tile8AVX2x2(SB), NOSPLIT, $288-8
	MOVQ t+0(FP), DX
	TILE(2, byteTile_sum, ZERO2, DOTS2, SCALED2, BIASED2, ADDC2, PUTC2)

// func start8AVX2x4(t *byteTile)
TEXT ·start8AVX2x4(SB), NOSPLIT, $288-8
	MOVQ t+0(FP), DX
	TILE(4, byteTile_start, START4, DOTS4, SCALED4, NOBIAS, ADDC4, PUTC4)

// func start8AVX2x2(t *byteTile)
TEXT ·start8AVX2x2(SB), NOSPLIT, $288-8
	MOVQ t+0(FP), DX
	TILE(2, byteTile_start, START2, DOTS2, SCALED2, NOBIAS, ADDC2, PUTC2)
