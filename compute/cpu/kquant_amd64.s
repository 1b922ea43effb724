//go:build !purego

#include "textflag.h"
#include "macros_amd64.h"

// Eight values of the low and of the high nibbles of eight bytes at q.
#define NIBBLES8(q) \
	VPMOVZXBD   q(SI), Y0;         \
	VPSRLD      $4, Y0, Y1;        \
	VPAND       Y15, Y0, Y0;       \
	VCVTDQ2PS   Y0, Y0;            \
	VCVTDQ2PS   Y1, Y1;            \
	VFMSUB213PS Y12, Y10, Y0;      \
	VFMSUB213PS Y13, Y11, Y1;      \
	VMOVUPS     Y0, (4*q)(DI);     \
	VMOVUPS     Y1, (4*q+128)(DI)

// func widenQ4KAVX2(dst *[superBlock]float32, q *[128]byte, sm *[16]float32)
TEXT ·widenQ4KAVX2(SB), NOSPLIT, $0-24
	MOVQ         dst+0(FP), DI
	MOVQ         q+8(FP), SI
	MOVQ         sm+16(FP), DX
	MOVQ         $4, CX
	MOVL         $15, AX
	MOVQ         AX, X15
	VPBROADCASTD X15, Y15

loop:
	VBROADCASTSS (DX), Y10       // scales of two groups
	VBROADCASTSS 4(DX), Y11
	VBROADCASTSS 32(DX), Y12     // minima
	VBROADCASTSS 36(DX), Y13
	NIBBLES8(0)
	NIBBLES8(8)
	NIBBLES8(16)
	NIBBLES8(24)
	ADDQ         $32, SI
	ADDQ         $256, DI
	ADDQ         $8, DX
	DECQ         CX
	JNZ          loop
	VZEROUPPER
	RET

// q + scale: six bits, low four in l and high two in h (in place), less 32.
#define SIX(l, h, s, to) \
	VPAND     Y14, h, h;      \
	VPOR      h, l, l;        \
	VPSUBD    Y13, l, l;      \
	VCVTDQ2PS l, l;           \
	VBROADCASTSS s(DX), h;    \
	VMULPS    h, l, l;        \
	VMOVUPS   l, to(DI)

// Eight values of each quarter of a half: low nibbles at q and q+32 of SI, bit
// pairs at q of BX, scales at s, s+8, s+16, s+24 of DX.
#define SIX8(q, s) \
	VPMOVZXBD (q)(SI), Y0;      \
	VPMOVZXBD (q+32)(SI), Y1;   \
	VPMOVZXBD (q)(BX), Y4;      \
	VPSRLD    $4, Y0, Y2;       \
	VPSRLD    $4, Y1, Y3;       \
	VPAND     Y15, Y0, Y0;      \
	VPAND     Y15, Y1, Y1;      \
	VPSLLD    $4, Y4, Y5;       \
	SIX(Y0, Y5, (s), (4*q));    \
	VPSLLD    $2, Y4, Y5;       \
	SIX(Y1, Y5, (s+8), (4*q+128)); \
	VPSRLD    $2, Y4, Y5;       \
	SIX(Y2, Y4, (s+16), (4*q+256)); \
	SIX(Y3, Y5, (s+24), (4*q+384))

// func widenQ6KAVX2(dst *[superBlock]float32, q *[192]byte, scales *[16]float32)
TEXT ·widenQ6KAVX2(SB), NOSPLIT, $0-24
	MOVQ         dst+0(FP), DI
	MOVQ         q+8(FP), SI
	LEAQ         128(SI), BX
	MOVQ         scales+16(FP), DX
	MOVQ         $2, CX
	MOVL         $15, AX
	MOVQ         AX, X15
	VPBROADCASTD X15, Y15
	MOVL         $0x30, AX
	MOVQ         AX, X14
	VPBROADCASTD X14, Y14
	MOVL         $32, AX
	MOVQ         AX, X13
	VPBROADCASTD X13, Y13

loop:
	SIX8(0, 0)
	SIX8(8, 0)
	SIX8(16, 4)
	SIX8(24, 4)
	ADDQ $64, SI
	ADDQ $32, BX
	ADDQ $32, DX
	ADDQ $512, DI
	DECQ CX
	JNZ  loop
	VZEROUPPER
	RET

// Two groups of a Q4_K super-block, low and high nibbles of 32 bytes at q: their
// integer sums times their factors at t of the stack, added to Y0 and Y1.
#define GROUPS2(q, t) \
	VMOVDQU      q(SI), Y2;         \
	VPSRLW       $4, Y2, Y3;        \
	VPAND        Y15, Y2, Y2;       \
	VPAND        Y15, Y3, Y3;       \
	VPMADDUBSW   (2*(q-16))(BX), Y2, Y2;    \
	VPMADDUBSW   (2*(q-16)+32)(BX), Y3, Y3; \
	VPMADDWD     Y14, Y2, Y2;       \
	VPMADDWD     Y14, Y3, Y3;       \
	VCVTDQ2PS    Y2, Y2;            \
	VCVTDQ2PS    Y3, Y3;            \
	VBROADCASTSS t(SP), Y4;         \
	VBROADCASTSS (t+4)(SP), Y5;     \
	VFMADD231PS  Y2, Y4, Y0;        \
	VFMADD231PS  Y3, Y5, Y1

// func dotQ4KAVX2(y *float32, rows int, w *byte, x *int8, scale, sum *float32, blocks int)
TEXT ·dotQ4KAVX2(SB), NOSPLIT, $32-56
	MOVQ         y+0(FP), DI
	MOVQ         rows+8(FP), R10
	MOVQ         w+16(FP), SI
	MOVL         $15, AX
	MOVQ         AX, X15
	VPBROADCASTB X15, Y15
	VPCMPEQW     Y14, Y14, Y14
	VPABSW       Y14, Y14              // ones

row:
	MOVQ   x+24(FP), BX
	MOVQ   scale+32(FP), R11
	MOVQ   sum+40(FP), R12
	MOVQ   blocks+48(FP), R13
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y13, Y13, Y13               // minima

block:
	PREFETCHT0 1440(SI)
	PREFETCHT0 1504(SI)

	// Six-bit scales and minima: four of each in the low bits of the first
	// eight bytes, four more in the nibbles of the last four and the bits above.
	MOVL 4(SI), AX
	MOVL 8(SI), CX
	MOVL 12(SI), DX
	MOVL AX, R8
	MOVL CX, R9
	SHRL $2, R8
	SHRL $2, R9
	ANDL $0x30303030, R8
	ANDL $0x30303030, R9
	ANDL $0x3f3f3f3f, AX               // scales 0 to 3
	ANDL $0x3f3f3f3f, CX               // minima 0 to 3
	ANDL $0x0f0f0f0f, DX
	ORL  R8, DX                        // scales 4 to 7
	MOVL 12(SI), R8
	SHRL $4, R8
	ANDL $0x0f0f0f0f, R8
	ORL  R9, R8                        // minima 4 to 7
	SHLQ $32, DX
	SHLQ $32, R8
	ORQ  DX, AX
	ORQ  R8, CX

	VMOVD        (SI), X2
	VCVTPH2PS    X2, X2                // d, dmin
	VPSHUFD      $0x55, X2, X3
	VBROADCASTSS X2, Y2
	VBROADCASTSS X3, Y3
	MOVQ         AX, X4
	MOVQ         CX, X5
	VPMOVZXBD    X4, Y4
	VPMOVZXBD    X5, Y5
	VCVTDQ2PS    Y4, Y4
	VCVTDQ2PS    Y5, Y5
	VMULPS       Y2, Y4, Y4
	VMULPS       (R11), Y4, Y4
	VMOVUPS      Y4, (SP)              // factors of the eight groups
	VMULPS       Y3, Y5, Y5
	VFNMADD231PS (R12), Y5, Y13

	GROUPS2(16, 0)
	GROUPS2(48, 8)
	GROUPS2(80, 16)
	GROUPS2(112, 24)
	ADDQ $144, SI
	ADDQ $256, BX
	ADDQ $32, R11
	ADDQ $32, R12
	DECQ R13
	JNZ  block

	VADDPS Y1, Y0, Y0
	VADDPS Y13, Y0, Y0
	SUM8
	VMOVSS X0, (DI)
	ADDQ   $4, DI
	DECQ   R10
	JNZ    row
	VZEROUPPER
	RET

// Bytes 0 1 of every lane's word for the low half, 2 3 for the high one.
DATA ·twoWords<>+0(SB)/8, $0x0100010001000100
DATA ·twoWords<>+8(SB)/8, $0x0100010001000100
DATA ·twoWords<>+16(SB)/8, $0x0302030203020302
DATA ·twoWords<>+24(SB)/8, $0x0302030203020302
GLOBL ·twoWords<>(SB), RODATA|NOPTR, $32

// A quarter of Q6_K: six bits in l, activations at p, the pair of scales at s of
// the stack, the activations' scale at f. High bits are in h, in place.
#define QUARTER(l, h, p, s, f) \
	VPAND        Y13, h, h;         \
	VPOR         h, l, l;           \
	VPMADDUBSW   p(BX), l, l;       \
	VPBROADCASTD s(SP), h;          \
	VPSHUFB      Y12, h, h;         \
	VPMADDWD     h, l, l;           \
	VCVTDQ2PS    l, l;              \
	VBROADCASTSS f(R11), h;         \
	VFMADD231PS  h, l, Y1

// A half of Q6_K: low nibbles at q, bit pairs at b, activations at p, scales at
// s of the stack and f.
#define HALF(q, b, p, s, f) \
	VMOVDQU q(SI), Y2;              \
	VMOVDQU (q+32)(SI), Y3;         \
	VMOVDQU b(SI), Y6;              \
	VPSRLW  $4, Y2, Y4;             \
	VPSRLW  $4, Y3, Y5;             \
	VPAND   Y15, Y2, Y2;            \
	VPAND   Y15, Y3, Y3;            \
	VPAND   Y15, Y4, Y4;            \
	VPAND   Y15, Y5, Y5;            \
	VPSLLW  $4, Y6, Y7;             \
	QUARTER(Y2, Y7, p, s, f);       \
	VPSLLW  $2, Y6, Y7;             \
	QUARTER(Y3, Y7, (p+32), (s+4), (f+4)); \
	VPSRLW  $2, Y6, Y7;             \
	QUARTER(Y4, Y6, (p+64), (s+8), (f+8)); \
	QUARTER(Y5, Y7, (p+96), (s+12), (f+12))

// func dotQ6KAVX2(y *float32, rows int, w *byte, x *int8, scale, sum *float32, blocks int)
TEXT ·dotQ6KAVX2(SB), NOSPLIT, $32-56
	MOVQ         y+0(FP), DI
	MOVQ         rows+8(FP), R10
	MOVQ         w+16(FP), SI
	MOVL         $15, AX
	MOVQ         AX, X15
	VPBROADCASTB X15, Y15
	MOVL         $0x30, AX
	MOVQ         AX, X13
	VPBROADCASTB X13, Y13
	MOVL         $0xc2000000, AX       // -32
	MOVQ         AX, X14
	VBROADCASTSS X14, Y14
	VMOVDQU      ·twoWords<>(SB), Y12

row:
	MOVQ   x+24(FP), BX
	MOVQ   scale+32(FP), R11
	MOVQ   sum+40(FP), R12
	MOVQ   blocks+48(FP), R13
	VXORPS Y0, Y0, Y0

block:
	PREFETCHT0 1470(SI)
	PREFETCHT0 1534(SI)
	PREFETCHT0 1598(SI)
	VPMOVSXBW  192(SI), Y2
	VMOVDQU    Y2, (SP)                // sixteen scales as words

	// The numbers stand 32 too high: -32 Σ scale·(sum of the activations).
	VPMOVSXBD   192(SI), Y3
	VPMOVSXBD   200(SI), Y4
	VCVTDQ2PS   Y3, Y3
	VCVTDQ2PS   Y4, Y4
	VMULPS      (R12), Y3, Y1
	VFMADD231PS 32(R12), Y4, Y1
	VMULPS      Y14, Y1, Y1

	HALF(0, 128, 0, 0, 0)
	HALF(64, 160, 128, 16, 16)
	MOVWLZX      208(SI), AX
	VMOVD        AX, X2
	VCVTPH2PS    X2, X2
	VBROADCASTSS X2, Y2
	VFMADD231PS  Y2, Y1, Y0
	ADDQ         $210, SI
	ADDQ         $256, BX
	ADDQ         $32, R11
	ADDQ         $64, R12
	DECQ         R13
	JNZ          block

	SUM8
	VMOVSS X0, (DI)
	ADDQ   $4, DI
	DECQ   R10
	JNZ    row
	VZEROUPPER
	RET
