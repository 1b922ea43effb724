//go:build !purego

#include "textflag.h"
#include "macros_amd64.h"

DATA ·packOrder<>+0(SB)/8, $0x0000000400000000
DATA ·packOrder<>+8(SB)/8, $0x0000000500000001
DATA ·packOrder<>+16(SB)/8, $0x0000000600000002
DATA ·packOrder<>+24(SB)/8, $0x0000000700000003
GLOBL ·packOrder<>(SB), RODATA|NOPTR, $32

// Even bytes of 16, then the odd ones.
DATA ·evenOdd<>+0(SB)/8, $0x0e0c0a0806040200
DATA ·evenOdd<>+8(SB)/8, $0x0f0d0b0907050301
DATA ·evenOdd<>+16(SB)/8, $0x0e0c0a0806040200
DATA ·evenOdd<>+24(SB)/8, $0x0f0d0b0907050301
GLOBL ·evenOdd<>(SB), RODATA|NOPTR, $32

DATA ·abs127<>+0(SB)/4, $0x7fffffff
DATA ·abs127<>+4(SB)/4, $0x42fe0000 // 127
GLOBL ·abs127<>(SB), RODATA|NOPTR, $8

// Thirty-two values at SI as integers in Y0 to Y3 and their scale in X11: the
// largest magnitude over 127. Y15 is a mask of all bits but the sign, X14 is
// 127. A group without magnitude is multiplied with 0, not with 127/0.
#define ROUND32 \
	VMOVUPS (SI), Y0; \
	VMOVUPS 32(SI), Y1; \
	VMOVUPS 64(SI), Y2; \
	VMOVUPS 96(SI), Y3; \
	VANDPS       Y15, Y0, Y4; \
	VANDPS       Y15, Y1, Y5; \
	VANDPS       Y15, Y2, Y6; \
	VANDPS       Y15, Y3, Y7; \
	VMAXPS       Y5, Y4, Y4; \
	VMAXPS       Y7, Y6, Y6; \
	VMAXPS       Y6, Y4, Y4; \
	VEXTRACTF128 $1, Y4, X5; \
	VMAXPS       X5, X4, X4; \
	VPERMILPS    $0x4e, X4, X5; \
	VMAXPS       X5, X4, X4; \
	VPERMILPS    $0xb1, X4, X5; \
	VMAXPS       X5, X4, X4; \
	VDIVSS       X14, X4, X11; \
	VDIVSS       X4, X14, X5; \
	VXORPS       X6, X6, X6; \
	VCMPSS       $4, X6, X4, X7; \
	VANDPS       X7, X5, X5; \
	VBROADCASTSS X5, Y5; \
	VMULPS    Y5, Y0, Y0; \
	VMULPS    Y5, Y1, Y1; \
	VMULPS    Y5, Y2, Y2; \
	VMULPS    Y5, Y3, Y3; \
	VCVTPS2DQ Y0, Y0; \
	VCVTPS2DQ Y1, Y1; \
	VCVTPS2DQ Y2, Y2; \
	VCVTPS2DQ Y3, Y3

// Y0 to Y3 as bytes in order in Y0; Y13 is packOrder.
#define PACK32 \
	VPACKSSDW Y1, Y0, Y0; \
	VPACKSSDW Y3, Y2, Y2; \
	VPACKSSWB Y2, Y0, Y0; \
	VPERMD    Y0, Y13, Y0

// The sum of eight integers in Y6, as float32 times X11, in X6; X7 is free.
#define SUM32 \
	VEXTRACTI128 $1, Y6, X7;    \
	VPADDD       X7, X6, X6;    \
	VPSHUFD      $0x4e, X6, X7; \
	VPADDD       X7, X6, X6;    \
	VPSHUFD      $0xb1, X6, X7; \
	VPADDD       X7, X6, X6;    \
	VCVTDQ2PS    X6, X6;        \
	VMULSS       X11, X6, X6

// func quantize64AVX2(q *int8, scale, sum, x *float32, groups int)
TEXT ·quantize64AVX2(SB), NOSPLIT, $0-40
	MOVQ         q+0(FP), DI
	MOVQ         scale+8(FP), R8
	MOVQ         sum+16(FP), R9
	MOVQ         x+24(FP), SI
	MOVQ         groups+32(FP), CX
	VBROADCASTSS ·abs127<>+0(SB), Y15
	VMOVSS       ·abs127<>+4(SB), X14
	VMOVDQU      ·packOrder<>(SB), Y13
	VMOVDQU      ·evenOdd<>(SB), Y12
	XORL         BX, BX              // number of the group

group:
	ROUND32
	VPADDD Y1, Y0, Y6
	VPADDD Y3, Y2, Y7
	VPADDD Y7, Y6, Y6                // eight partial sums

	PACK32
	VPSHUFB   Y12, Y0, Y0
	VPERMQ    $0xd8, Y0, Y0          // evens, odds

	// Group g goes to bytes 16(g mod 2) and 32+16(g mod 2) of run g/2.
	VMOVDQU      X0, (DI)
	VEXTRACTI128 $1, Y0, 32(DI)
	ADDQ         $16, DI
	INCQ         BX
	TESTQ        $1, BX
	JNZ          odd
	ADDQ         $32, DI

odd:
	SUM32
	VMOVSS       X6, (R9)
	VBROADCASTSS X11, X11
	VMOVUPS      X11, (R8)
	ADDQ         $4, R9
	ADDQ         $16, R8
	ADDQ         $128, SI
	DECQ         CX
	JNZ          group
	VZEROUPPER
	RET

// func quantize32AVX2(q *int8, scale, sum, x *float32, groups int)
TEXT ·quantize32AVX2(SB), NOSPLIT, $0-40
	MOVQ         q+0(FP), DI
	MOVQ         scale+8(FP), R8
	MOVQ         sum+16(FP), R9
	MOVQ         x+24(FP), SI
	MOVQ         groups+32(FP), CX
	VBROADCASTSS ·abs127<>+0(SB), Y15
	VMOVSS       ·abs127<>+4(SB), X14
	VMOVDQU      ·packOrder<>(SB), Y13

group:
	ROUND32
	VPADDD  Y1, Y0, Y6
	VPADDD  Y3, Y2, Y8
	PACK32
	VMOVDQU Y0, (DI)
	SUM32
	VMOVSS  X6, (R9)
	VMOVDQA Y8, Y6
	SUM32
	VMOVSS  X6, 4(R9)
	VMOVSS  X11, (R8)
	ADDQ    $32, DI
	ADDQ    $4, R8
	ADDQ    $8, R9
	ADDQ    $128, SI
	DECQ    CX
	JNZ     group
	VZEROUPPER
	RET

DATA ·twoScales<>+0(SB)/8, $0
DATA ·twoScales<>+8(SB)/8, $0
DATA ·twoScales<>+16(SB)/8, $0x0000000100000001
DATA ·twoScales<>+24(SB)/8, $0x0000000100000001
GLOBL ·twoScales<>(SB), RODATA|NOPTR, $32

// Y2 = the sums of 64 weights times activations, eight of eight, as float32.
// Nibbles are at most 15 and activations at most 127, so pairs and sums of two
// pairs fit 16 bits.
#define DOT64 \
	PREFETCHT0 1536(SI);             \
	VMOVDQU    (SI), Y2;             \
	VPSRLW     $4, Y2, Y3;           \
	VPAND      Y15, Y2, Y2;          \
	VPAND      Y15, Y3, Y3;          \
	VPMADDUBSW (BX), Y2, Y2;         \
	VPMADDUBSW 32(BX), Y3, Y3;       \
	VPADDW     Y3, Y2, Y2;           \
	VPMADDWD   Y14, Y2, Y2;          \
	VCVTDQ2PS  Y2, Y2

#define BIAS1 \
	VMOVSS      (R9), X5;            \
	VFMADD231SS (R12), X5, X1

// func dotQ4AVX2(y *float32, rows int, w *byte, scales, biases *float32, x *int8, scale, sum *float32, runs, group int)
TEXT ·dotQ4AVX2(SB), NOSPLIT, $0-80
	MOVQ         y+0(FP), DI
	MOVQ         rows+8(FP), R10
	MOVQ         w+16(FP), SI
	MOVQ         scales+24(FP), R8
	MOVQ         biases+32(FP), R9
	MOVQ         group+72(FP), R13
	MOVL         $0x0f, AX
	MOVQ         AX, X15
	VPBROADCASTB X15, Y15
	VPCMPEQW     Y14, Y14, Y14
	VPABSW       Y14, Y14           // ones
	VMOVDQU      ·twoScales<>(SB), Y13

row:
	MOVQ   x+40(FP), BX
	MOVQ   scale+48(FP), R11
	MOVQ   sum+56(FP), R12
	MOVQ   runs+64(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS X1, X1, X1           // biases
	VXORPS Y10, Y10, Y10
	CMPQ   R13, $64
	JEQ    g64
	JGT    g128

g32:
	DOT64
	VMOVSD      (R8), X4
	VPERMPS     Y4, Y13, Y4     // each scale for one half
	VMULPS      (R11), Y4, Y4
	VFMADD231PS Y2, Y4, Y0
	BIAS1
	VMOVSS      4(R9), X5
	VFMADD231SS 4(R12), X5, X1
	ADDQ        $32, SI
	ADDQ        $64, BX
	ADDQ        $32, R11
	ADDQ        $8, R8
	ADDQ        $8, R9
	ADDQ        $8, R12
	DECQ        CX
	JNZ         g32
	JMP         next

g64:
	DOT64
	VBROADCASTSS (R8), Y4
	VMULPS       (R11), Y4, Y4
	VFMADD231PS  Y2, Y4, Y0
	BIAS1
	ADDQ         $32, SI
	ADDQ         $64, BX
	ADDQ         $32, R11
	ADDQ         $4, R8
	ADDQ         $4, R9
	ADDQ         $4, R12
	DECQ         CX
	JNZ          g64
	JMP          next

g128:
	DOT64
	VBROADCASTSS (R8), Y6
	VMULPS       (R11), Y6, Y4
	VFMADD231PS  Y2, Y4, Y0
	BIAS1
	ADDQ         $32, SI
	ADDQ         $64, BX
	DOT64
	VMULPS       32(R11), Y6, Y4
	VFMADD231PS  Y2, Y4, Y10
	ADDQ         $32, SI
	ADDQ         $64, BX
	ADDQ         $64, R11
	ADDQ         $4, R8
	ADDQ         $4, R9
	ADDQ         $4, R12
	SUBQ         $2, CX
	JNZ          g128

next:
	VMOVAPS X1, X11
	VADDPS  Y10, Y0, Y0
	SUM8
	VADDSS  X11, X0, X0
	VMOVSS  X0, (DI)
	ADDQ    $4, DI
	DECQ    R10
	JNZ     row
	VZEROUPPER
	RET

// Eight weights: unpack, scale, times x at byte offset p, added to acc.
#define NIBBLE8(q, p, acc) \
	VPBROADCASTD q(SI), Y4;         \
	VPSRLVD      Y12, Y4, Y4;       \
	VPAND        Y14, Y4, Y4;       \
	VCVTDQ2PS    Y4, Y4;            \
	VFMADD213PS  Y11, Y10, Y4;      \
	VFMADD231PS  p(BX), Y4, acc

#define BYTE8(q, p, acc) \
	VPMOVZXBD    q(SI), Y4;         \
	VCVTDQ2PS    Y4, Y4;            \
	VFMADD213PS  Y11, Y10, Y4;      \
	VFMADD231PS  p(BX), Y4, acc

#define ANY8(p, acc) \
	VPBROADCASTQ (SI), Y4;          \
	VPSRLVQ      Y12, Y4, Y5;       \
	VPSRLVQ      Y13, Y4, Y4;       \
	VSHUFPS      $0x88, Y4, Y5, Y4; \
	VPAND        Y14, Y4, Y4;       \
	VCVTDQ2PS    Y4, Y4;            \
	VFMADD213PS  Y11, Y10, Y4;      \
	VFMADD231PS  p(BX), Y4, acc;    \
	ADDQ         DX, SI

#define GROUPSCALES \
	VBROADCASTSS (R8), Y10;         \
	VBROADCASTSS (R9), Y11;         \
	ADDQ         $4, R8;            \
	ADDQ         $4, R9;            \
	MOVQ         R11, CX

// func dotAffineAVX2(y *float32, rows int, w *byte, scales, biases, x *float32, groups, group, bits int)
TEXT ·dotAffineAVX2(SB), NOSPLIT, $0-72
	MOVQ y+0(FP), DI
	MOVQ rows+8(FP), R10
	MOVQ w+16(FP), SI
	MOVQ scales+24(FP), R8
	MOVQ biases+32(FP), R9
	MOVQ group+56(FP), R11
	SHRQ $5, R11               // runs of 32 in a group
	MOVQ bits+64(FP), DX

	MOVQ         $1, AX
	MOVQ         DX, CX
	SHLQ         CX, AX
	DECQ         AX
	MOVQ         AX, X14
	VPBROADCASTD X14, Y14      // mask
	MOVQ         DX, X15
	VPBROADCASTQ X15, Y15
	VPMULUDQ     ·eightLow(SB), Y15, Y12
	VPMULUDQ     ·eightHigh(SB), Y15, Y13
	CMPQ         DX, $4
	JNE          row
	VMOVDQU      ·nibbleShift(SB), Y12

row:
	MOVQ   x+40(FP), BX
	MOVQ   groups+48(FP), R12
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	CMPQ   DX, $4
	JEQ    nibbleGroup
	CMPQ   DX, $8
	JEQ    byteGroup

anyGroup:
	GROUPSCALES

any:
	PREFETCHT0 1024(SI)
	ANY8(0, Y0)
	ANY8(32, Y1)
	ANY8(64, Y2)
	ANY8(96, Y3)
	ADDQ $128, BX
	DECQ CX
	JNZ  any
	DECQ R12
	JNZ  anyGroup
	JMP  next

nibbleGroup:
	GROUPSCALES

nibble:
	PREFETCHT0 1024(SI)
	NIBBLE8(0, 0, Y0)
	NIBBLE8(4, 32, Y1)
	NIBBLE8(8, 64, Y2)
	NIBBLE8(12, 96, Y3)
	ADDQ $16, SI
	ADDQ $128, BX
	DECQ CX
	JNZ  nibble
	DECQ R12
	JNZ  nibbleGroup
	JMP  next

byteGroup:
	GROUPSCALES

byte:
	PREFETCHT0 1536(SI)
	BYTE8(0, 0, Y0)
	BYTE8(8, 32, Y1)
	BYTE8(16, 64, Y2)
	BYTE8(24, 96, Y3)
	ADDQ $32, SI
	ADDQ $128, BX
	DECQ CX
	JNZ  byte
	DECQ R12
	JNZ  byteGroup

next:
	VADDPS Y1, Y0, Y0
	VADDPS Y3, Y2, Y2
	VADDPS Y2, Y0, Y0
	SUM8
	VMOVSS X0, (DI)
	ADDQ   $4, DI
	DECQ   R10
	JNZ    row
	VZEROUPPER
	RET
