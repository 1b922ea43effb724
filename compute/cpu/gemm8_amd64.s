//go:build !purego

#include "textflag.h"

// Four lines of eight columns: dwords at off of rows SI and R10, four each, R8
// bytes apart (R9 is three times that), transposed into Y0 to Y3.
#define COLUMNS(off) \
	VMOVDQU     off(SI), X0;              \
	VMOVDQU     off(SI)(R8*1), X1;        \
	VMOVDQU     off(SI)(R8*2), X2;        \
	VMOVDQU     off(SI)(R9*1), X3;        \
	VINSERTI128 $1, off(R10), Y0, Y0;     \
	VINSERTI128 $1, off(R10)(R8*1), Y1, Y1; \
	VINSERTI128 $1, off(R10)(R8*2), Y2, Y2; \
	VINSERTI128 $1, off(R10)(R9*1), Y3, Y3; \
	VPUNPCKLDQ  Y1, Y0, Y4;               \
	VPUNPCKHDQ  Y1, Y0, Y5;               \
	VPUNPCKLDQ  Y3, Y2, Y6;               \
	VPUNPCKHDQ  Y3, Y2, Y7;               \
	VPUNPCKLQDQ Y6, Y4, Y0;               \
	VPUNPCKHQDQ Y6, Y4, Y1;               \
	VPUNPCKLQDQ Y7, Y5, Y2;               \
	VPUNPCKHQDQ Y7, Y5, Y3

// Four lines to R12 and on, DX bytes apart; R11 is three times DX.
#define LINES(a, b, c, d) \
	VMOVDQU a, (R12);       \
	VMOVDQU b, (R12)(DX*1); \
	VMOVDQU c, (R12)(DX*2); \
	VMOVDQU d, (R12)(R11*1)

// What is 640 codes on is the same rows' next block.
#define AHEAD(off) \
	PREFETCHT0 off(SI);         \
	PREFETCHT0 off(SI)(R8*1);   \
	PREFETCHT0 off(SI)(R8*2);   \
	PREFETCHT0 off(SI)(R9*1);   \
	PREFETCHT0 off(R10);        \
	PREFETCHT0 off(R10)(R8*1);  \
	PREFETCHT0 off(R10)(R8*2);  \
	PREFETCHT0 off(R10)(R9*1)

#define SPLIT(low, high) \
	VPSRLW $4, low, high;   \
	VPAND  Y15, low, low;   \
	VPAND  Y15, high, high

// Four lines of low nibbles at DI+at, four of high nibbles BX bytes after them.
#define SPLITLINES \
	SPLIT(Y0, Y8);                \
	SPLIT(Y1, Y9);                \
	SPLIT(Y2, Y10);               \
	SPLIT(Y3, Y11);               \
	LINES(Y0, Y1, Y2, Y3);        \
	ADDQ BX, R12;                 \
	LINES(Y8, Y9, Y10, Y11)

// func nibblesAVX2(dst *byte, stride int, src *byte, ld, runs, half, odd int)
TEXT ·nibblesAVX2(SB), NOSPLIT, $0-56
	MOVQ         dst+0(FP), DI
	MOVQ         stride+8(FP), DX
	MOVQ         src+16(FP), SI
	MOVQ         ld+24(FP), R8
	MOVQ         runs+32(FP), CX
	MOVQ         half+40(FP), R13
	MOVQ         odd+48(FP), BX
	IMULQ        DX, R13
	IMULQ        DX, BX
	LEAQ         (R8)(R8*2), R9
	LEAQ         (SI)(R8*4), R10
	LEAQ         (DX)(DX*2), R11
	MOVL         $0x0f, AX
	MOVQ         AX, X15
	VPBROADCASTB X15, Y15

run:
	AHEAD(320)
	COLUMNS(0)
	MOVQ DI, R12
	SPLITLINES
	COLUMNS(16)
	LEAQ (DI)(R13*1), R12
	SPLITLINES
	ADDQ $32, SI
	ADDQ $32, R10
	LEAQ (DI)(DX*8), DI
	LEAQ (DI)(DX*8), DI
	DECQ CX
	JNZ  run
	VZEROUPPER
	RET

// func bytesAVX2(dst *byte, stride int, src *byte, ld, runs int)
TEXT ·bytesAVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), R12
	MOVQ stride+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ ld+24(FP), R8
	MOVQ runs+32(FP), CX
	LEAQ (R8)(R8*2), R9
	LEAQ (SI)(R8*4), R10
	LEAQ (DX)(DX*2), R11

run:
	AHEAD(640)
	COLUMNS(0)
	LINES(Y0, Y1, Y2, Y3)
	LEAQ (R12)(DX*4), R12
	COLUMNS(16)
	LINES(Y0, Y1, Y2, Y3)
	LEAQ (R12)(DX*4), R12
	ADDQ $32, SI
	ADDQ $32, R10
	DECQ CX
	JNZ  run
	VZEROUPPER
	RET

// func codesBMI2(dst, src *byte, n, bits int)
//
// Eight codes are as many bytes as a code has bits: load 8 bytes, deposit the
// bits in the low parts of 8 bytes.
TEXT ·codesBMI2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), R11
	MOVQ bits+24(FP), DX
	MOVQ $0xff, R8
	MOVQ $8, CX
	SUBQ DX, CX
	SHRQ CX, R8
	MOVQ $0x0101010101010101, AX
	IMULQ AX, R8               // the low bits of every byte
	LEAQ (DX)(DX*2), R9

loop:
	MOVQ  (SI), AX
	MOVQ  (SI)(DX*1), BX
	MOVQ  (SI)(DX*2), R10
	MOVQ  (SI)(R9*1), R12
	PDEPQ R8, AX, AX
	PDEPQ R8, BX, BX
	PDEPQ R8, R10, R10
	PDEPQ R8, R12, R12
	MOVQ  AX, (DI)
	MOVQ  BX, 8(DI)
	MOVQ  R10, 16(DI)
	MOVQ  R12, 24(DI)
	LEAQ  (SI)(DX*4), SI
	ADDQ  $32, DI
	SUBQ  $32, R11
	JNZ   loop
	RET
