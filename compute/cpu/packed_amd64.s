//go:build !purego

#include "textflag.h"
#include "go_asm.h"

// Products of 16 rows of packed 4-bit weights with two to eight rows of x, see
// packedGeneric. A lane has a row's codes: 64 bytes of each row, transposed by
// double words on their way through the stack, become 16 vectors of four low
// and four high nibbles, which VPDPBUSD takes with four values of a row of x for
// all lanes. Every nibble is unpacked once.
//
// Z0 to Z7 are the integer sums of the rows of x, Z16 to Z23 the float32 ones;
// Z24 and Z25 codes, Z26 temporary, Z28 weights' scales, Z30 the table of small
// floats, Z31 the mask of a nibble. AX the arguments, BX x, CX runs of 32 that
// are done, DX x's scales, DI starts, SI and R10 to R12 every fourth row of w, R8
// bytes from row to row and R9 three times that, R13 ws, R14 the transposed
// codes, R15 temporary.

#define ROWPOINTERS \
	LEAQ     (R8)(R8*2), R9;         \
	LEAQ     (SI)(R8*4), R10;        \
	LEAQ     (R10)(R8*4), R11;       \
	LEAQ     (R11)(R8*4), R12;       \
	MOVQ     $-1, R15;               \
	KMOVQ    R15, K1

// A place on the stack for 16 vectors.
#define STACK \
	LEAQ     64(SP), R14;            \
	ANDQ     $~63, R14

#define ARGUMENTS \
	MOVQ     t+0(FP), AX;            \
	MOVQ     packedTile_x(AX), BX;     \
	MOVQ     packedTile_scale(AX), DX; \
	MOVQ     packedTile_start(AX), DI; \
	MOVQ     packedTile_w(AX), SI;     \
	MOVQ     packedTile_ld(AX), R8;    \
	MOVQ     packedTile_ws(AX), R13;   \
	ROWPOINTERS;                     \
	XORL     CX, CX;                 \
	MOVL     $0x0f, R15;             \
	VPBROADCASTB R15, Z31

// What is wanted next goes to the second-level cache, in the order in which it
// lies in memory: 1024 bytes for every 64 of each row.
#define AHEAD(next) \
	MOVQ       next, R15;  \
	PREFETCHT1 (R15);      \
	PREFETCHT1 64(R15);    \
	PREFETCHT1 128(R15);   \
	PREFETCHT1 192(R15);   \
	PREFETCHT1 256(R15);   \
	PREFETCHT1 320(R15);   \
	PREFETCHT1 384(R15);   \
	PREFETCHT1 448(R15);   \
	PREFETCHT1 512(R15);   \
	PREFETCHT1 576(R15);   \
	PREFETCHT1 640(R15);   \
	PREFETCHT1 704(R15);   \
	PREFETCHT1 768(R15);   \
	PREFETCHT1 832(R15);   \
	PREFETCHT1 896(R15);   \
	PREFETCHT1 960(R15);   \
	ADDQ       $1024, next

// Four rows of w.
#define ROWS(p, a, b, c, d) \
	VMOVDQU8.Z (p), K1, a;         \
	VMOVDQU8.Z (p)(R8*1), K1, b;   \
	VMOVDQU8.Z (p)(R8*2), K1, c;   \
	VMOVDQU8.Z (p)(R9*1), K1, d;   \
	ADDQ       $64, p

// Four rows by four double words in each quarter.
#define SQUARES(a, b, c, d) \
	VPUNPCKLDQ  b, a, Z24;   \
	VPUNPCKHDQ  b, a, Z25;   \
	VPUNPCKLDQ  d, c, Z26;   \
	VPUNPCKHDQ  d, c, Z27;   \
	VPUNPCKLQDQ Z26, Z24, a; \
	VPUNPCKHQDQ Z26, Z24, b; \
	VPUNPCKLQDQ Z27, Z25, c; \
	VPUNPCKHQDQ Z27, Z25, d

// Quarters of four vectors to one vector each.
#define QUARTERS(a, b, c, d) \
	VSHUFI32X4 $0x44, b, a, Z24;     \
	VSHUFI32X4 $0xee, b, a, Z25;     \
	VSHUFI32X4 $0x44, d, c, Z26;     \
	VSHUFI32X4 $0xee, d, c, Z27;     \
	VSHUFI32X4 $0x88, Z26, Z24, a;   \
	VSHUFI32X4 $0xdd, Z26, Z24, b;   \
	VSHUFI32X4 $0x88, Z27, Z25, c;   \
	VSHUFI32X4 $0xdd, Z27, Z25, d

// The next 64 bytes of each row, of which K1 says how many are there: double
// word 4i+j of each is in Z(4i+j).
#define TRANSPOSE(next) \
	AHEAD(next);                      \
	ROWS(SI, Z0, Z1, Z2, Z3);         \
	ROWS(R10, Z4, Z5, Z6, Z7);        \
	ROWS(R11, Z8, Z9, Z10, Z11);      \
	ROWS(R12, Z12, Z13, Z14, Z15);    \
	SQUARES(Z0, Z1, Z2, Z3);          \
	SQUARES(Z4, Z5, Z6, Z7);          \
	SQUARES(Z8, Z9, Z10, Z11);        \
	SQUARES(Z12, Z13, Z14, Z15);      \
	QUARTERS(Z0, Z4, Z8, Z12);        \
	QUARTERS(Z1, Z5, Z9, Z13);        \
	QUARTERS(Z2, Z6, Z10, Z14);       \
	QUARTERS(Z3, Z7, Z11, Z15)

#define STORE4(a, b, c, d, at) \
	VMOVDQU64 a, at(R14);             \
	VMOVDQU64 b, (at+64)(R14);        \
	VMOVDQU64 c, (at+128)(R14);       \
	VMOVDQU64 d, (at+192)(R14)

#define STORE \
	STORE4(Z0, Z1, Z2, Z3, 0);        \
	STORE4(Z4, Z5, Z6, Z7, 256);      \
	STORE4(Z8, Z9, Z10, Z11, 512);    \
	STORE4(Z12, Z13, Z14, Z15, 768)

// Scales of 16 rows, n bytes each, as columns: float32 values in the order of a
// row, each for 16 rows. convert writes those of the double words in Z0.
#define COLUMNS(convert) \
	MOVQ  dst+0(FP), DI;              \
	MOVQ  src+8(FP), SI;              \
	MOVQ  ld+16(FP), R8;              \
	MOVQ  n+24(FP), CX;               \
	ROWPOINTERS;                      \
	STACK;                            \
block:                                \
	CMPQ  CX, $64;                    \
	JGE   whole;                      \
	MOVQ  $-1, R15;                   \
	NEGQ  CX;                         \
	SHRQ  CX, R15;                    \
	NEGQ  CX;                         \
	KMOVQ R15, K1;                    \
whole:                                \
	TRANSPOSE(next+32(FP));           \
	STORE;                            \
	MOVQ  $16, R13;                   \
	MOVQ  R14, BX;                    \
	LEAQ  3(CX), R15;                 \
	SHRQ  $2, R15;                    \
	CMPQ  R15, R13;                   \
	CMOVQLT R15, R13;                 \
loop:                                 \
	VMOVDQU64 (BX), Z0;               \
	convert;                          \
	ADDQ  $64, BX;                    \
	DECQ  R13;                        \
	JNZ   loop;                       \
	SUBQ  $64, CX;                    \
	JGT   block;                      \
	VZEROUPPER;                       \
	RET

#define FROMBF16 \
	VPSLLD    $16, Z0, Z1;            \
	VPANDD    Z31, Z0, Z2;            \
	VMOVDQU64 Z1, (DI);               \
	VMOVDQU64 Z2, 64(DI);             \
	ADDQ      $128, DI

#define FROMF16 \
	VPMOVDW   Z0, Y1;                 \
	VPSRLD    $16, Z0, Z2;            \
	VPMOVDW   Z2, Y2;                 \
	VCVTPH2PS Y1, Z1;                 \
	VCVTPH2PS Y2, Z2;                 \
	VMOVDQU64 Z1, (DI);               \
	VMOVDQU64 Z2, 64(DI);             \
	ADDQ      $128, DI

#define FROMF32 \
	VMOVDQU64 Z0, (DI);               \
	ADDQ      $64, DI

// The exponent in the lowest byte of x, halved.
#define E8M0(x, at) \
	VPANDD    Z31, x, Z2;             \
	VPSLLD    $23, Z2, Z2;            \
	VPMAXSD   Z30, Z2, Z2;            \
	VMULPS    Z29, Z2, Z2;            \
	VMOVUPS   Z2, at(DI)

#define FROME8M0 \
	E8M0(Z0, 0);                      \
	VPSRLD    $8, Z0, Z1;             \
	E8M0(Z1, 64);                     \
	VPSRLD    $16, Z0, Z1;            \
	E8M0(Z1, 128);                    \
	VPSRLD    $24, Z0, Z1;            \
	E8M0(Z1, 192);                    \
	ADDQ      $256, DI

// The number in the highest byte of x, halved.
#define E4M3(x, at) \
	VPSRAD    $4, x, Z2;              \
	VPANDD    Z31, Z2, Z2;            \
	VPANDD    Z30, Z2, Z3;            \
	VPCMPEQD  Z30, Z3, K2;            \
	VMULPS    Z29, Z2, Z2;            \
	VMOVDQA32 Z28, K2, Z2;            \
	VMOVUPS   Z2, at(DI)

#define FROME4M3 \
	VPSLLD    $24, Z0, Z1;            \
	E4M3(Z1, 0);                      \
	VPSLLD    $16, Z0, Z1;            \
	E4M3(Z1, 64);                     \
	VPSLLD    $8, Z0, Z1;             \
	E4M3(Z1, 128);                    \
	E4M3(Z0, 192);                    \
	ADDQ      $256, DI

DATA ·columnBits<>+0(SB)/4, $0xffff0000  // the higher bfloat16
DATA ·columnBits<>+4(SB)/4, $0x000000ff  // the lowest byte
DATA ·columnBits<>+8(SB)/4, $0x00400000  // 2^-127
DATA ·columnBits<>+12(SB)/4, $0x3f000000 // 1/2
DATA ·columnBits<>+16(SB)/4, $0x87f00000 // E4M3 in the place of float32
DATA ·columnBits<>+20(SB)/4, $0x07f00000 // its NaN
DATA ·columnBits<>+24(SB)/4, $0x7b000000 // half of 2^120, which it is short of
GLOBL ·columnBits<>(SB), RODATA|NOPTR, $28

// func columnsBF16(dst *float32, src *byte, ld, n int, next uintptr)
TEXT ·columnsBF16(SB), 0, $1088-40
	VPBROADCASTD ·columnBits<>+0(SB), Z31
	COLUMNS(FROMBF16)

// func columnsF16(dst *float32, src *byte, ld, n int, next uintptr)
TEXT ·columnsF16(SB), 0, $1088-40
	COLUMNS(FROMF16)

// func columnsF32(dst *float32, src *byte, ld, n int, next uintptr)
TEXT ·columnsF32(SB), 0, $1088-40
	COLUMNS(FROMF32)

// func columnsE8M0(dst *float32, src *byte, ld, n int, next uintptr)
TEXT ·columnsE8M0(SB), 0, $1088-40
	VPBROADCASTD ·columnBits<>+4(SB), Z31
	VPBROADCASTD ·columnBits<>+8(SB), Z30
	VBROADCASTSS ·columnBits<>+12(SB), Z29
	COLUMNS(FROME8M0)

// func columnsE4M3(dst *float32, src *byte, ld, n int, next uintptr)
TEXT ·columnsE4M3(SB), 0, $1088-40
	VPBROADCASTD ·columnBits<>+16(SB), Z31
	VPBROADCASTD ·columnBits<>+20(SB), Z30
	VBROADCASTSS ·columnBits<>+24(SB), Z29
	VPTERNLOGD   $0xff, Z28, Z28, Z28      // NaN
	COLUMNS(FROME4M3)

// What each of so many rows of x takes.
#define CLEAR(s, sum, t, n, a, b) VPXORD sum, sum, sum
#define ZERO(s, sum, t, n, a, b) VPXORD s, s, s
#define START(s, sum, t, n, a, b) VPBROADCASTD (4*t)(DI), s
#define DOT(s, sum, t, n, a, b) \
	VPDPBUSD.BCST (16*t+a)(BX), Z24, s; \
	VPDPBUSD.BCST (16*t+b)(BX), Z25, s
#define SCALE(s, sum, t, n, a, b) \
	VMULPS.BCST (4*t)(DX), Z28, Z26; \
	VCVTDQ2PS   s, s;                \
	VFMADD231PS s, Z26, sum
#define BIAS(s, sum, t, n, a, b) VFMADD231PS.BCST (4*t)(DI), Z28, sum
#define ADDC(s, sum, t, n, a, b) \
	VADDPS (BX), sum, sum; \
	ADDQ   SI, BX
#define PUT(s, sum, t, n, a, b) \
	VMOVUPS sum, (DI); \
	ADDQ    SI, DI

#define EACH2(what, n, a, b) \
	what(Z0, Z16, 0, n, a, b); \
	what(Z1, Z17, 1, n, a, b)
#define EACH3(what, n, a, b) \
	EACH2(what, n, a, b); \
	what(Z2, Z18, 2, n, a, b)
#define EACH4(what, n, a, b) \
	EACH3(what, n, a, b); \
	what(Z3, Z19, 3, n, a, b)
#define EACH5(what, n, a, b) \
	EACH4(what, n, a, b); \
	what(Z4, Z20, 4, n, a, b)
#define EACH6(what, n, a, b) \
	EACH5(what, n, a, b); \
	what(Z5, Z21, 5, n, a, b)
#define EACH7(what, n, a, b) \
	EACH6(what, n, a, b); \
	what(Z6, Z22, 6, n, a, b)
#define EACH8(what, n, a, b) \
	EACH7(what, n, a, b); \
	what(Z7, Z23, 7, n, a, b)

// Low and high nibbles of a vector.
#define SPLIT(codes) \
	VPANDD codes, Z31, Z24;     \
	VPSRLW $4, codes, Z25;      \
	VPANDD Z31, Z25, Z25

#define LOOKUP(codes) \
	SPLIT(codes);               \
	VPSHUFB Z24, Z30, Z24;      \
	VPSHUFB Z25, Z30, Z25

// A run of 32: pieces of x with the even values, then with the odd ones. At the
// end of a group the next scales come.
#define RUN(EACH, n, c, d, e, f) \
	VMOVUPS (R13), Z28;         \
	EACH(ZERO, n, 0, 0);        \
	SPLIT(c);                   \
	EACH(DOT, n, 0, 16*n);      \
	SPLIT(d);                   \
	EACH(DOT, n, 4, 16*n+4);    \
	SPLIT(e);                   \
	EACH(DOT, n, 8, 16*n+8);    \
	SPLIT(f);                   \
	EACH(DOT, n, 12, 16*n+12);  \
	EACH(SCALE, n, 0, 0);       \
	ADDQ $(32*n), BX;           \
	ADDQ $(4*n), DX;            \
	LEAQ 1(CX), R15;            \
	ANDQ packedTile_share(AX), R15; \
	SUBQ $1, R15;               \
	SBBQ R15, R15;              \
	ANDQ $64, R15;              \
	ADDQ R15, R13

// Sixteen small floats: even values of x, then odd ones.
#define PIECE(EACH, n, c, d) \
	LOOKUP(c);                  \
	EACH(DOT, n, 0, 8);         \
	LOOKUP(d);                  \
	EACH(DOT, n, 4, 12);        \
	ADDQ $(16*n), BX

#define SCALED(EACH, n) \
	VMOVUPS (R13), Z28;         \
	EACH(SCALE, n, 0, 0);       \
	ADDQ $64, R13;              \
	ADDQ $(4*n), DX

#define STARTED(EACH, n) \
	EACH(START, n, 0, 0);       \
	ADDQ $(4*n), DI

#define RUNMX(EACH, n, c, d, e, f) \
	STARTED(EACH, n);           \
	PIECE(EACH, n, c, d);       \
	PIECE(EACH, n, e, f);       \
	SCALED(EACH, n)

#define RUNNV(EACH, n, c, d, e, f) \
	STARTED(EACH, n);           \
	PIECE(EACH, n, c, d);       \
	SCALED(EACH, n);            \
	STARTED(EACH, n);           \
	PIECE(EACH, n, e, f);       \
	SCALED(EACH, n)

// The biases of groups times the sums of x.
#define BIASES(EACH, n) \
	MOVQ packedTile_wb(AX), R13;  \
	MOVQ packedTile_sum(AX), DI;  \
	MOVQ packedTile_groups(AX), CX; \
group:                          \
	VMOVUPS (R13), Z28;         \
	EACH(BIAS, n, 0, 0);        \
	ADDQ $64, R13;              \
	ADDQ $(4*n), DI;            \
	DECQ CX;                    \
	JNZ  group

#define NOBIASES(EACH, n)

#define PACKED(EACH, n, run, biases) \
	STACK;                      \
	EACH(CLEAR, n, 0, 0);       \
block:                          \
	MOVQ  packedTile_runs(AX), R15; \
	SUBQ  CX, R15;              \
	CMPQ  R15, $4;              \
	JGE   whole;                \
	MOVL  $-1, R15;             \
	KMOVQ R15, K1;              \
whole:                          \
	TRANSPOSE(packedTile_next(AX)); \
	STORE;                      \
loop:                           \
	run(EACH, n, (R14), 64(R14), 128(R14), 192(R14)); \
	ADDQ $256, R14;             \
	INCQ CX;                    \
	CMPQ CX, packedTile_runs(AX); \
	JEQ  done;                  \
	TESTQ $3, CX;               \
	JNZ  loop;                  \
	SUBQ $1024, R14;            \
	JMP  block;                 \
done:                           \
	biases(EACH, n);            \
	MOVQ packedTile_c(AX), DI;  \
	MOVQ packedTile_ldc(AX), SI; \
	SHLQ $2, SI;                \
	MOVBLZX packedTile_add(AX), CX; \
	TESTL CX, CX;               \
	JZ   put;                   \
	MOVQ DI, BX;                \
	EACH(ADDC, n, 0, 0);        \
put:                            \
	EACH(PUT, n, 0, 0);         \
	VZEROUPPER;                 \
	RET

// func packedQ4VNNIx2(t *packedTile)
TEXT ·packedQ4VNNIx2(SB), 0, $1088-8
	ARGUMENTS
	PACKED(EACH2, 2, RUN, BIASES)

// func packedQ4VNNIx3(t *packedTile)
TEXT ·packedQ4VNNIx3(SB), 0, $1088-8
	ARGUMENTS
	PACKED(EACH3, 3, RUN, BIASES)

// func packedQ4VNNIx4(t *packedTile)
TEXT ·packedQ4VNNIx4(SB), 0, $1088-8
	ARGUMENTS
	PACKED(EACH4, 4, RUN, BIASES)

// func packedQ4VNNIx5(t *packedTile)
TEXT ·packedQ4VNNIx5(SB), 0, $1088-8
	ARGUMENTS
	PACKED(EACH5, 5, RUN, BIASES)

// func packedQ4VNNIx6(t *packedTile)
TEXT ·packedQ4VNNIx6(SB), 0, $1088-8
	ARGUMENTS
	PACKED(EACH6, 6, RUN, BIASES)

// func packedQ4VNNIx7(t *packedTile)
TEXT ·packedQ4VNNIx7(SB), 0, $1088-8
	ARGUMENTS
	PACKED(EACH7, 7, RUN, BIASES)

// func packedQ4VNNIx8(t *packedTile)
TEXT ·packedQ4VNNIx8(SB), 0, $1088-8
	ARGUMENTS
	PACKED(EACH8, 8, RUN, BIASES)

// func packedMXVNNIx2(t *packedTile)
TEXT ·packedMXVNNIx2(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH2, 2, RUNMX, NOBIASES)

// func packedMXVNNIx3(t *packedTile)
TEXT ·packedMXVNNIx3(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH3, 3, RUNMX, NOBIASES)

// func packedMXVNNIx4(t *packedTile)
TEXT ·packedMXVNNIx4(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH4, 4, RUNMX, NOBIASES)

// func packedMXVNNIx5(t *packedTile)
TEXT ·packedMXVNNIx5(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH5, 5, RUNMX, NOBIASES)

// func packedMXVNNIx6(t *packedTile)
TEXT ·packedMXVNNIx6(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH6, 6, RUNMX, NOBIASES)

// func packedMXVNNIx7(t *packedTile)
TEXT ·packedMXVNNIx7(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH7, 7, RUNMX, NOBIASES)

// func packedMXVNNIx8(t *packedTile)
TEXT ·packedMXVNNIx8(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH8, 8, RUNMX, NOBIASES)

// func packedNVVNNIx2(t *packedTile)
TEXT ·packedNVVNNIx2(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH2, 2, RUNNV, NOBIASES)

// func packedNVVNNIx3(t *packedTile)
TEXT ·packedNVVNNIx3(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH3, 3, RUNNV, NOBIASES)

// func packedNVVNNIx4(t *packedTile)
TEXT ·packedNVVNNIx4(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH4, 4, RUNNV, NOBIASES)

// func packedNVVNNIx5(t *packedTile)
TEXT ·packedNVVNNIx5(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH5, 5, RUNNV, NOBIASES)

// func packedNVVNNIx6(t *packedTile)
TEXT ·packedNVVNNIx6(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH6, 6, RUNNV, NOBIASES)

// func packedNVVNNIx7(t *packedTile)
TEXT ·packedNVVNNIx7(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH7, 7, RUNNV, NOBIASES)

// func packedNVVNNIx8(t *packedTile)
TEXT ·packedNVVNNIx8(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z30
	PACKED(EACH8, 8, RUNNV, NOBIASES)
