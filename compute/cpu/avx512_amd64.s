//go:build !purego

#include "textflag.h"

// Two rows of a step: the values of a at byte offset p times 32 of b in Z28 and
// Z29.
#define ROWS2(p, s0, s1, s2, s3) \
	VBROADCASTSS (p)(AX), Z30;    \
	VBROADCASTSS (p+4)(AX), Z31;  \
	VFMADD231PS  Z28, Z30, s0;    \
	VFMADD231PS  Z29, Z30, s1;    \
	VFMADD231PS  Z28, Z31, s2;    \
	VFMADD231PS  Z29, Z31, s3

// One step of the product: fourteen values of a at byte offset p, times 32 of b
// at byte offset q. Sums of row i are Z(2i), Z(2i+1).
#define STEP(p, q) \
	VMOVUPS (q)(BX), Z28;          \
	VMOVUPS (q+64)(BX), Z29;       \
	ROWS2((p+0), Z0, Z1, Z2, Z3);  \
	ROWS2((p+8), Z4, Z5, Z6, Z7);  \
	ROWS2((p+16), Z8, Z9, Z10, Z11);  \
	ROWS2((p+24), Z12, Z13, Z14, Z15);  \
	ROWS2((p+32), Z16, Z17, Z18, Z19);  \
	ROWS2((p+40), Z20, Z21, Z22, Z23);  \
	ROWS2((p+48), Z24, Z25, Z26, Z27)

// Add a row of c to its sums, or store the sums, and go to the next row.
#define ADDROW(s0, s1) \
	VADDPS (DI), s0, s0;   \
	VADDPS 64(DI), s1, s1; \
	ADDQ   R8, DI

#define PUTROW(s0, s1) \
	VMOVUPS s0, (DX);   \
	VMOVUPS s1, 64(DX); \
	ADDQ    R8, DX

#define FETCHROW \
	PREFETCHT0 (R10);   \
	PREFETCHT0 64(R10); \
	ADDQ       R8, R10

// func tile14x32(k int, a, b, c *float32, ldc int, add bool)
TEXT ·tile14x32(SB), NOSPLIT, $0-41
	MOVQ k+0(FP), CX
	MOVQ a+8(FP), AX
	MOVQ b+16(FP), BX
	MOVQ c+24(FP), DI
	MOVQ ldc+32(FP), R8
	SHLQ $2, R8                // bytes from row to row of c
	MOVQ DI, DX
	MOVQ DI, R10

	// c is needed at the end only: fetch it meanwhile.
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW
	FETCHROW

	VPXORD Z0, Z0, Z0
	VPXORD Z1, Z1, Z1
	VPXORD Z2, Z2, Z2
	VPXORD Z3, Z3, Z3
	VPXORD Z4, Z4, Z4
	VPXORD Z5, Z5, Z5
	VPXORD Z6, Z6, Z6
	VPXORD Z7, Z7, Z7
	VPXORD Z8, Z8, Z8
	VPXORD Z9, Z9, Z9
	VPXORD Z10, Z10, Z10
	VPXORD Z11, Z11, Z11
	VPXORD Z12, Z12, Z12
	VPXORD Z13, Z13, Z13
	VPXORD Z14, Z14, Z14
	VPXORD Z15, Z15, Z15
	VPXORD Z16, Z16, Z16
	VPXORD Z17, Z17, Z17
	VPXORD Z18, Z18, Z18
	VPXORD Z19, Z19, Z19
	VPXORD Z20, Z20, Z20
	VPXORD Z21, Z21, Z21
	VPXORD Z22, Z22, Z22
	VPXORD Z23, Z23, Z23
	VPXORD Z24, Z24, Z24
	VPXORD Z25, Z25, Z25
	VPXORD Z26, Z26, Z26
	VPXORD Z27, Z27, Z27

	SUBQ $2, CX
	JLT  tail

two:
	STEP(0, 0)
	STEP(56, 128)
	ADDQ $112, AX
	ADDQ $256, BX
	SUBQ $2, CX
	JGE  two

tail:
	ADDQ $2, CX
	JZ   sums
	STEP(0, 0)

sums:
	MOVBLZX add+40(FP), AX
	TESTL   AX, AX
	JZ      store
	ADDROW(Z0, Z1)
	ADDROW(Z2, Z3)
	ADDROW(Z4, Z5)
	ADDROW(Z6, Z7)
	ADDROW(Z8, Z9)
	ADDROW(Z10, Z11)
	ADDROW(Z12, Z13)
	ADDROW(Z14, Z15)
	ADDROW(Z16, Z17)
	ADDROW(Z18, Z19)
	ADDROW(Z20, Z21)
	ADDROW(Z22, Z23)
	ADDROW(Z24, Z25)
	ADDROW(Z26, Z27)

store:
	PUTROW(Z0, Z1)
	PUTROW(Z2, Z3)
	PUTROW(Z4, Z5)
	PUTROW(Z6, Z7)
	PUTROW(Z8, Z9)
	PUTROW(Z10, Z11)
	PUTROW(Z12, Z13)
	PUTROW(Z14, Z15)
	PUTROW(Z16, Z17)
	PUTROW(Z18, Z19)
	PUTROW(Z20, Z21)
	PUTROW(Z22, Z23)
	PUTROW(Z24, Z25)
	PUTROW(Z26, Z27)
	VZEROUPPER
	RET

// func scatter32AVX512(dst *float32, stride int, src *float32, n int)
TEXT ·scatter32AVX512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ stride+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ n+24(FP), CX
	SHLQ $2, DX

loop:
	VMOVUPS (SI), Z0
	VMOVUPS 64(SI), Z1
	VMOVUPS Z0, (DI)
	VMOVUPS Z1, 64(DI)
	ADDQ    $128, SI
	ADDQ    DX, DI
	DECQ    CX
	JNZ     loop
	VZEROUPPER
	RET

// Which of four scales goes to each of sixteen lanes, for groups of 32, 64 and
// 128 weights.
DATA ·scales32<>+0(SB)/8, $0
DATA ·scales32<>+8(SB)/8, $0
DATA ·scales32<>+16(SB)/8, $0x0000000100000001
DATA ·scales32<>+24(SB)/8, $0x0000000100000001
DATA ·scales32<>+32(SB)/8, $0x0000000200000002
DATA ·scales32<>+40(SB)/8, $0x0000000200000002
DATA ·scales32<>+48(SB)/8, $0x0000000300000003
DATA ·scales32<>+56(SB)/8, $0x0000000300000003
GLOBL ·scales32<>(SB), RODATA|NOPTR, $64
DATA ·scales64<>+0(SB)/8, $0
DATA ·scales64<>+8(SB)/8, $0
DATA ·scales64<>+16(SB)/8, $0
DATA ·scales64<>+24(SB)/8, $0
DATA ·scales64<>+32(SB)/8, $0x0000000100000001
DATA ·scales64<>+40(SB)/8, $0x0000000100000001
DATA ·scales64<>+48(SB)/8, $0x0000000100000001
DATA ·scales64<>+56(SB)/8, $0x0000000100000001
GLOBL ·scales64<>(SB), RODATA|NOPTR, $64

// Two runs of 64 weights, a run in each half of a register: sixteen integer sums
// of eight, times the scales in Z4 and the activations' at (R11), added to acc.
#define DOT128(acc) \
	VMOVDQU64     (BX), Y3;            \
	VINSERTI64X4  $1, 64(BX), Z3, Z3;  \
	VMOVDQU64     32(BX), Y5;          \
	VINSERTI64X4  $1, 96(BX), Z5, Z5;  \
	VPSRLW        $4, Z2, Z6;          \
	VPANDD        Z15, Z2, Z2;         \
	VPANDD        Z15, Z6, Z6;         \
	VPXORD        Z7, Z7, Z7;          \
	VPDPBUSD      Z3, Z2, Z7;          \
	VPDPBUSD      Z5, Z6, Z7;          \
	VCVTDQ2PS     Z7, Z7;              \
	VMULPS        (R11), Z4, Z4;       \
	VFMADD231PS   Z7, Z4, acc

// func dotQ4VNNI(y *float32, rows int, w *byte, scales, biases *float32, x *int8, scale, sum *float32, runs, groups int)
TEXT ·dotQ4VNNI(SB), NOSPLIT, $0-80
	MOVQ         y+0(FP), DI
	MOVQ         rows+8(FP), R10
	MOVQ         w+16(FP), SI
	MOVQ         scales+24(FP), R8
	MOVQ         biases+32(FP), R9
	MOVL         $0x0f, AX
	VPBROADCASTB AX, Z15

	// Scales for two runs of 64: four, two or one.
	MOVQ      runs+64(FP), AX
	SHLQ      $1, AX
	VMOVDQU64 ·scales32<>(SB), Z14
	MOVQ      $16, R13                // bytes of scales for two runs
	CMPQ      AX, groups+72(FP)
	JEQ       row
	SHRQ      $1, AX
	VMOVDQU64 ·scales64<>(SB), Z14
	MOVQ      $8, R13
	CMPQ      AX, groups+72(FP)
	JEQ       row
	VPXORD    Z14, Z14, Z14
	MOVQ      $4, R13

row:
	VXORPS Z0, Z0, Z0
	MOVQ sum+56(FP), R12
	MOVQ groups+72(FP), CX
	SUBQ $16, CX
	JLT  last

sixteen:
	VMOVUPS     (R9), Z2
	VFMADD231PS (R12), Z2, Z0
	ADDQ        $64, R9
	ADDQ        $64, R12
	SUBQ        $16, CX
	JGE         sixteen

last:
	ADDQ        $16, CX
	JZ          dots
	MOVL        $1, AX
	SHLL        CX, AX
	DECL        AX
	KMOVW       AX, K1
	VMOVUPS.Z   (R9), K1, Z2
	VMOVUPS.Z   (R12), K1, Z3
	VFMADD231PS Z3, Z2, Z0
	LEAQ        (R9)(CX*4), R9

dots:
	MOVQ x+40(FP), BX
	MOVQ scale+48(FP), R11
	MOVQ runs+64(FP), CX
	SUBQ   $4, CX
	JLT    two

four:
	// The first-level cache has room for a little only; the second is asked far
	// ahead, which is what keeps memory busy: 28 against 20 GB/s on two threads.
	PREFETCHT0      1024(SI)
	PREFETCHT0      1088(SI)
	PREFETCHT1      12288(SI)
	PREFETCHT1      12352(SI)
	VMOVDQU64       (SI), Z2
	VBROADCASTF32X4 (R8), Z4
	VPERMPS         Z4, Z14, Z4
	DOT128(Z0)
	ADDQ            R13, R8
	VMOVDQU64       64(SI), Z2
	VBROADCASTF32X4 (R8), Z4
	VPERMPS         Z4, Z14, Z4
	ADDQ            $128, BX
	ADDQ            $64, R11
	DOT128(Z0)
	ADDQ            R13, R8
	ADDQ            $128, SI
	ADDQ            $128, BX
	ADDQ            $64, R11
	SUBQ            $4, CX
	JGE             four

two:
	ADDQ $2, CX
	JLT  one
	PREFETCHT0      1024(SI)
	PREFETCHT1      12288(SI)
	VMOVDQU64       (SI), Z2
	VBROADCASTF32X4 (R8), Z4
	VPERMPS         Z4, Z14, Z4
	DOT128(Z0)
	ADDQ            R13, R8
	ADDQ            $64, SI
	ADDQ            $128, BX
	ADDQ            $64, R11
	SUBQ            $2, CX

one:
	ADDQ $2, CX
	JZ   sum

	// Half a register is left: the other half stays zero.
	MOVL            $0xff, AX
	KMOVW           AX, K1
	PREFETCHT1      12288(SI)
	VMOVDQU64       (SI), Y2
	VBROADCASTF32X4 (R8), Z4
	VPERMPS         Z4, Z14, Z4
	VMULPS.Z        (R11), Z4, K1, Z4
	VMOVDQU64       (BX), Y3
	VMOVDQU64       32(BX), Y5
	VPSRLW          $4, Y2, Y6
	VPANDD          Y15, Y2, Y2
	VPANDD          Y15, Y6, Y6
	VPXORD          Y7, Y7, Y7
	VPDPBUSD        Y3, Y2, Y7
	VPDPBUSD        Y5, Y6, Y7
	VCVTDQ2PS       Z7, Z7
	VFMADD231PS     Z7, Z4, Z0
	SHRQ            $1, R13
	ADDQ            R13, R8
	SHLQ            $1, R13
	ADDQ            $32, SI

sum:
	VEXTRACTF64X4 $1, Z0, Y1
	VADDPS        Y1, Y0, Y0
	VEXTRACTF128  $1, Y0, X1
	VADDPS        X1, X0, X0
	VPERMILPS     $0x4e, X0, X1
	VADDPS        X1, X0, X0
	VPERMILPS     $0xb1, X0, X1
	VADDPS        X1, X0, X0
	VMOVSS        X0, (DI)
	ADDQ          $4, DI
	DECQ          R10
	JNZ           row
	VZEROUPPER
	RET
