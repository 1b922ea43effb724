//go:build !purego

#include "textflag.h"
#include "go_asm.h"

// Two rows of packed 4-bit weights at a time with two to eight rows of x, see rowwiseTile.
// A row of x and a row of the weight give the same sum, to the bit, as in dotQ4VNNI or
// dotFP4VNNI: the numbers are the same, and so is their order. What is saved: codes are
// read and unpacked once, what is read of x serves two rows of the weight, and products
// of scales are made sixteen at a time and then sent to their lanes, not made anew in
// every lane. The processor is busiest with multiplications.
//
// Z0 to Z7 are the sums of the rows of x with the first row of the weight, Z8 to Z15
// with the second; Z4 to Z7 and Z12 to Z15 products of scales where registers are left;
// Z16 and Z17 x, Z18 to Z21 temporary, Z22 what Z30 goes on by, Z23 every fourth lane,
// Z24 and Z25 low and high nibbles of two runs of the first row, Z26 and Z27 of the
// second, Z28 the table of small floats, Z29 which scale of the weight goes to which
// product, Z30 which product goes to which lane, Z31 the mask of a nibble. AX the
// arguments, BX x, DX its scales, R12 where integer sums start, R11 products of scales
// on the stack; SI codes and R10 bytes to the second row's, R8 scales, R14 biases and
// R9 bytes to the second row's; CX runs, DI y, R13 and R15 temporary.

// Up to four rows of x leave room for products of scales in registers.
#define EACH2(what) \
	what(Z0, Z8, 0, Z4, Z12); \
	what(Z1, Z9, 1, Z5, Z13)
#define EACH3(what) \
	EACH2(what); \
	what(Z2, Z10, 2, Z6, Z14)
#define EACH4(what) \
	EACH3(what); \
	what(Z3, Z11, 3, Z7, Z15)
#define EACH5(what) \
	what(Z0, Z8, 0, (R11), 64(R11));      \
	what(Z1, Z9, 1, 128(R11), 192(R11));  \
	what(Z2, Z10, 2, 256(R11), 320(R11)); \
	what(Z3, Z11, 3, 384(R11), 448(R11)); \
	what(Z4, Z12, 4, 512(R11), 576(R11))
#define EACH6(what) \
	EACH5(what); \
	what(Z5, Z13, 5, 640(R11), 704(R11))
#define EACH7(what) \
	EACH6(what); \
	what(Z6, Z14, 6, 768(R11), 832(R11))
#define EACH8(what) \
	EACH7(what); \
	what(Z7, Z15, 7, 896(R11), 960(R11))

// What each row of x takes. Its sums with two rows of the weight are in a and b.
#define CLEAR(a, b, t, p, q) \
	VPXORD a, a, a; \
	VPXORD b, b, b
#define RESUME(a, b, t, p, q) \
	VMOVUPS (128*t)(R13), a; \
	VMOVUPS (128*t+64)(R13), b
#define KEEP(a, b, t, p, q) \
	VMOVUPS a, (128*t)(R13); \
	VMOVUPS b, (128*t+64)(R13)
#define PRODUCTS(a, b, t, p, q) \
	VMOVUPS (64*t)(DX), Z16; \
	VMULPS  Z16, Z24, p;     \
	VMULPS  Z16, Z25, q
#define STACK(a, b, t, p, q) \
	PRODUCTS(a, b, t, Z17, Z18); \
	VMOVUPS Z17, p;              \
	VMOVUPS Z18, q
#define DOT(a, b, t, p, q) \
	VMOVDQU64   (128*t)(BX), Z16;               \
	VMOVDQU64   (128*t+64)(BX), Z17;            \
	VPDPBUSD    Z16, Z24, Z18;                  \
	VPDPBUSD    Z16, Z26, Z20;                  \
	VPDPBUSD    Z17, Z25, Z18;                  \
	VPDPBUSD    Z17, Z27, Z20;                  \
	VPERMPS.Z   p, Z30, K1, Z19;                   \
	VPERMPS.Z   q, Z30, K1, Z21;                   \
	VCVTDQ2PS   Z18, Z18;                       \
	VCVTDQ2PS   Z20, Z20;                       \
	VFMADD231PS Z18, Z19, a;                    \
	VFMADD231PS Z20, Z21, b
#define ZERO(a, b, t, p, q) \
	VPXORD Z18, Z18, Z18; \
	VPXORD Z20, Z20, Z20; \
	DOT(a, b, t, p, q)
#define START(a, b, t, p, q) \
	VMOVDQU64 (64*t)(R12), Z18; \
	VMOVDQA64 Z18, Z20;         \
	DOT(a, b, t, p, q)
#define BIAS(a, b, t, p, q) \
	VMOVUPS     (64*t)(R15), Z16; \
	VFMADD231PS Z16, Z24, a;      \
	VFMADD231PS Z16, Z25, b
#define PUT(a, b, t, p, q)                                       \
	MOVL (rowwiseTile_y+rowwiseSums_totals+4*t)(AX), R13;    \
	MOVL R13, (R15);                                         \
	MOVL (rowwiseTile_y+rowwiseSums_totals+4*t+32)(AX), R13; \
	MOVL R13, (R15)(CX*4);                                   \
	ADDQ (rowwiseTile_y+rowwiseSums_ld)(AX), R15

// Low and high nibbles of a.
#define SPLIT(a, b) \
	VPSRLW $4, a, b;  \
	VPANDD Z31, a, a; \
	VPANDD Z31, b, b

#define LOOKUP(a, b) \
	SPLIT(a, b);        \
	VPSHUFB a, Z28, a;  \
	VPSHUFB b, Z28, b

// The sums of four registers, each added up as in dotQ4VNNI, to an offset in totals.
#define TOTAL(a, b, c, d, at) \
	VSHUFF64X2 $0x44, b, a, Z16;     \
	VSHUFF64X2 $0xee, b, a, Z17;     \
	VADDPS     Z17, Z16, Z16;        \
	VSHUFF64X2 $0x44, d, c, Z18;     \
	VSHUFF64X2 $0xee, d, c, Z19;     \
	VADDPS     Z19, Z18, Z18;        \
	VSHUFF32X4 $0x88, Z18, Z16, Z17; \
	VSHUFF32X4 $0xdd, Z18, Z16, Z19; \
	VADDPS     Z19, Z17, Z17;        \
	VPERMILPS  $0x4e, Z17, Z16;      \
	VADDPS     Z16, Z17, Z17;        \
	VPERMILPS  $0xb1, Z17, Z16;      \
	VADDPS     Z16, Z17, Z17;        \
	VPERMPS    Z17, Z23, Z17;        \
	VMOVUPS    X17, (rowwiseTile_y+rowwiseSums_totals+at)(AX)

#define TOTAL4 \
	TOTAL(Z0, Z1, Z2, Z3, 0);   \
	TOTAL(Z8, Z9, Z10, Z11, 32)
#define TOTAL8 \
	TOTAL4;                       \
	TOTAL(Z4, Z5, Z6, Z7, 16);    \
	TOTAL(Z12, Z13, Z14, Z15, 48)

// Sums begin with the biases of groups times the sums of x, sixteen groups at a time.
#define BIASES(EACH, n)                                         \
	MOVQ      (rowwiseTile_x+rowwiseX_sum)(AX), R15;        \
	MOVQ      (rowwiseTile_w+rowwiseWeight_groups)(AX), CX; \
	SUBQ      $16, CX;                                      \
	JLT       lastGroups;                                   \
groups:                                                         \
	VMOVUPS   (R14), Z24;                                   \
	VMOVUPS   (R14)(R9*1), Z25;                             \
	EACH(BIAS);                                             \
	ADDQ      $64, R14;                                     \
	ADDQ      $(64*n), R15;                                 \
	SUBQ      $16, CX;                                      \
	JGE       groups;                                       \
lastGroups:                                                     \
	ADDQ      $16, CX;                                      \
	JZ        complete;                                     \
	MOVL      $1, R13;                                      \
	SHLL      CX, R13;                                      \
	DECL      R13;                                          \
	KMOVW     R13, K3;                                      \
	VMOVUPS.Z (R14), K3, Z24;                               \
	VMOVUPS.Z (R14)(R9*1), K3, Z25;                         \
	EACH(BIAS);                                             \
	LEAQ      (R14)(CX*4), R14;                             \
complete:                                                       \
	ADDQ      R9, R14

#define NOBIASES(EACH, n)

// The end of a row may have half of two runs: then K1 and K2 leave out the other half.
#define ROWWISE(EACH, n, products, total, unpack, dot, biases)     \
row:                                                               \
	MOVQ      (rowwiseTile_x+rowwiseX_values)(AX), BX;         \
	MOVQ      (rowwiseTile_x+rowwiseX_scale)(AX), DX;          \
	MOVQ      (rowwiseTile_x+rowwiseX_start)(AX), R12;         \
	MOVQ      (rowwiseTile_units+rowwiseUnits_lanes)(AX), R15; \
	VMOVDQU64 (R15), Z30;                                      \
	MOVL      $0xffff, R15;                                    \
	KMOVW     R15, K1;                                         \
	KMOVW     R15, K2;                                         \
	MOVBLZX   (rowwiseTile_y+rowwiseSums_resume)(AX), R15;     \
	TESTL     R15, R15;                                        \
	JNZ       resume;                                          \
	EACH(CLEAR);                                               \
	biases(EACH, n);                                           \
	JMP       begin;                                           \
resume:                                                            \
	MOVQ      (rowwiseTile_y+rowwiseSums_kept)(AX), R13;       \
	EACH(RESUME);                                              \
begin:                                                             \
	MOVQ      rowwiseTile_runs(AX), CX;                        \
sixteen:                                                           \
	VMOVUPS   (R8), Z24;                                       \
	VMOVUPS   (R8)(R9*1), Z25;                                 \
	VPERMPS   Z24, Z29, Z24;                                   \
	VPERMPS   Z25, Z29, Z25;                                   \
	EACH(products);                                            \
	ADDQ      (rowwiseTile_units+rowwiseUnits_step)(AX), R8;   \
	ADDQ      $(64*n), DX;                                     \
	MOVQ      (rowwiseTile_units+rowwiseUnits_pairs)(AX), R13; \
pair:                                                              \
	CMPQ      CX, $1;                                          \
	JNE       whole;                                           \
	MOVL      $0xff, R15;                                      \
	KMOVW     R15, K1;                                         \
	MOVL      $0x0f, R15;                                      \
	KMOVW     R15, K2;                                         \
whole:                                                             \
	MOVQ       (rowwiseTile_w+rowwiseWeight_ahead)(AX), R15;   \
	ADDQ       SI, R15;                                        \
	PREFETCHT1 (R15);                                          \
	PREFETCHT1 (R15)(R10*1);                                   \
	VMOVDQU64.Z (SI), K2, Z24;                                 \
	VMOVDQU64.Z (SI)(R10*1), K2, Z26;                          \
	unpack(Z24, Z25);                                          \
	unpack(Z26, Z27);                                          \
	EACH(dot);                                                 \
	VPADDD    Z22, Z30, Z30;                                   \
	ADDQ      $64, SI;                                         \
	ADDQ      $(128*n), BX;                                    \
	ADDQ      $(64*n), R12;                                    \
	SUBQ      $2, CX;                                          \
	JLE       done;                                            \
	DECQ      R13;                                             \
	JNZ       pair;                                            \
	JMP       sixteen;                                         \
done:                                                              \
	MOVBLZX (rowwiseTile_y+rowwiseSums_keep)(AX), R15;         \
	TESTL   R15, R15;                                          \
	JZ      last;                                              \
	MOVQ    (rowwiseTile_y+rowwiseSums_kept)(AX), R13;         \
	EACH(KEEP);                                                \
	JMP     next;                                              \
last:                                                              \
	total;                                                     \
	MOVQ    DI, R15;                                           \
	MOVQ    (rowwiseTile_y+rowwiseSums_second)(AX), CX;        \
	EACH(PUT);                                                 \
	ADDQ    $8, DI;                                            \
next:                                                              \
	ADDQ    $(128*n), (rowwiseTile_y+rowwiseSums_kept)(AX);    \
	ADDQ    (rowwiseTile_w+rowwiseWeight_skip)(AX), SI;        \
	ADDQ    (rowwiseTile_w+rowwiseWeight_skipScales)(AX), R8;  \
	SUBQ    $2, (rowwiseTile_w+rowwiseWeight_rows)(AX);        \
	JG      row;                                               \
	VZEROUPPER;                                                \
	RET

#define ARGUMENTS                                                      \
	MOVQ         t+0(FP), AX;                                      \
	MOVQ         (rowwiseTile_y+rowwiseSums_out)(AX), DI;          \
	MOVQ         (rowwiseTile_w+rowwiseWeight_codes)(AX), SI;      \
	MOVQ         (rowwiseTile_w+rowwiseWeight_ld)(AX), R10;        \
	MOVQ         (rowwiseTile_w+rowwiseWeight_scales)(AX), R8;     \
	MOVQ         (rowwiseTile_w+rowwiseWeight_ldScales)(AX), R9;   \
	MOVQ         (rowwiseTile_w+rowwiseWeight_biases)(AX), R14;    \
	MOVQ         (rowwiseTile_units+rowwiseUnits_spread)(AX), R15; \
	VMOVDQU64    (R15), Z29;                                       \
	VPBROADCASTD (rowwiseTile_units+rowwiseUnits_onward)(AX), Z22; \
	VMOVDQU64    ·fourths<>(SB), Z23;                              \
	LEAQ         64(SP), R11;                                      \
	ANDQ         $~63, R11;                                        \
	MOVL         $0x0f, R15;                                       \
	VPBROADCASTB R15, Z31;                                         \
	VPXORD       Z2, Z2, Z2;                                       \
	VPXORD       Z3, Z3, Z3;                                       \
	VPXORD       Z5, Z5, Z5;                                       \
	VPXORD       Z6, Z6, Z6;                                       \
	VPXORD       Z7, Z7, Z7;                                       \
	VPXORD       Z10, Z10, Z10;                                    \
	VPXORD       Z11, Z11, Z11;                                    \
	VPXORD       Z13, Z13, Z13;                                    \
	VPXORD       Z14, Z14, Z14;                                    \
	VPXORD       Z15, Z15, Z15

DATA ·fourths<>+0(SB)/8, $0x0000000400000000
DATA ·fourths<>+8(SB)/8, $0x0000000c00000008
DATA ·fourths<>+16(SB)/8, $0
DATA ·fourths<>+24(SB)/8, $0
DATA ·fourths<>+32(SB)/8, $0
DATA ·fourths<>+40(SB)/8, $0
DATA ·fourths<>+48(SB)/8, $0
DATA ·fourths<>+56(SB)/8, $0
GLOBL ·fourths<>(SB), RODATA|NOPTR, $64

// func rowwiseQ4VNNIx2(t *rowwiseTile)
TEXT ·rowwiseQ4VNNIx2(SB), 0, $1088-8
	ARGUMENTS
	ROWWISE(EACH2, 2, PRODUCTS, TOTAL4, SPLIT, ZERO, BIASES)

// func rowwiseQ4VNNIx3(t *rowwiseTile)
TEXT ·rowwiseQ4VNNIx3(SB), 0, $1088-8
	ARGUMENTS
	ROWWISE(EACH3, 3, PRODUCTS, TOTAL4, SPLIT, ZERO, BIASES)

// func rowwiseQ4VNNIx4(t *rowwiseTile)
TEXT ·rowwiseQ4VNNIx4(SB), 0, $1088-8
	ARGUMENTS
	ROWWISE(EACH4, 4, PRODUCTS, TOTAL4, SPLIT, ZERO, BIASES)

// func rowwiseQ4VNNIx5(t *rowwiseTile)
TEXT ·rowwiseQ4VNNIx5(SB), 0, $1088-8
	ARGUMENTS
	ROWWISE(EACH5, 5, STACK, TOTAL8, SPLIT, ZERO, BIASES)

// func rowwiseQ4VNNIx6(t *rowwiseTile)
TEXT ·rowwiseQ4VNNIx6(SB), 0, $1088-8
	ARGUMENTS
	ROWWISE(EACH6, 6, STACK, TOTAL8, SPLIT, ZERO, BIASES)

// func rowwiseQ4VNNIx7(t *rowwiseTile)
TEXT ·rowwiseQ4VNNIx7(SB), 0, $1088-8
	ARGUMENTS
	ROWWISE(EACH7, 7, STACK, TOTAL8, SPLIT, ZERO, BIASES)

// func rowwiseQ4VNNIx8(t *rowwiseTile)
TEXT ·rowwiseQ4VNNIx8(SB), 0, $1088-8
	ARGUMENTS
	ROWWISE(EACH8, 8, STACK, TOTAL8, SPLIT, ZERO, BIASES)

// func rowwiseFP4VNNIx2(t *rowwiseTile)
TEXT ·rowwiseFP4VNNIx2(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z28
	ROWWISE(EACH2, 2, PRODUCTS, TOTAL4, LOOKUP, START, NOBIASES)

// func rowwiseFP4VNNIx3(t *rowwiseTile)
TEXT ·rowwiseFP4VNNIx3(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z28
	ROWWISE(EACH3, 3, PRODUCTS, TOTAL4, LOOKUP, START, NOBIASES)

// func rowwiseFP4VNNIx4(t *rowwiseTile)
TEXT ·rowwiseFP4VNNIx4(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z28
	ROWWISE(EACH4, 4, PRODUCTS, TOTAL4, LOOKUP, START, NOBIASES)

// func rowwiseFP4VNNIx5(t *rowwiseTile)
TEXT ·rowwiseFP4VNNIx5(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z28
	ROWWISE(EACH5, 5, STACK, TOTAL8, LOOKUP, START, NOBIASES)

// func rowwiseFP4VNNIx6(t *rowwiseTile)
TEXT ·rowwiseFP4VNNIx6(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z28
	ROWWISE(EACH6, 6, STACK, TOTAL8, LOOKUP, START, NOBIASES)

// func rowwiseFP4VNNIx7(t *rowwiseTile)
TEXT ·rowwiseFP4VNNIx7(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z28
	ROWWISE(EACH7, 7, STACK, TOTAL8, LOOKUP, START, NOBIASES)

// func rowwiseFP4VNNIx8(t *rowwiseTile)
TEXT ·rowwiseFP4VNNIx8(SB), 0, $1088-8
	ARGUMENTS
	VBROADCASTI32X4 ·fp4Table(SB), Z28
	ROWWISE(EACH8, 8, STACK, TOTAL8, LOOKUP, START, NOBIASES)
