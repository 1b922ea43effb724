//go:build !purego

#include "textflag.h"

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
