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

// The rows' bytes that will be wanted next, AX bytes from these, go to the
// second-level cache: the strip fills the first.
#define AHEAD \
	LEAQ       (SI)(AX*1), R12;  \
	PREFETCHT1 (R12);            \
	PREFETCHT1 (R12)(R8*1);      \
	PREFETCHT1 (R12)(R8*2);      \
	PREFETCHT1 (R12)(R9*1);      \
	LEAQ       (R10)(AX*1), R12; \
	PREFETCHT1 (R12);            \
	PREFETCHT1 (R12)(R8*1);      \
	PREFETCHT1 (R12)(R8*2);      \
	PREFETCHT1 (R12)(R9*1)

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

// func nibblesAVX2(dst *byte, stride int, src *byte, ld, ahead, runs, half, odd int)
TEXT ·nibblesAVX2(SB), NOSPLIT, $0-64
	MOVQ         dst+0(FP), DI
	MOVQ         stride+8(FP), DX
	MOVQ         src+16(FP), SI
	MOVQ         ld+24(FP), R8
	MOVQ         runs+40(FP), CX
	MOVQ         half+48(FP), R13
	MOVQ         odd+56(FP), BX
	IMULQ        DX, R13
	IMULQ        DX, BX
	LEAQ         (R8)(R8*2), R9
	LEAQ         (SI)(R8*4), R10
	LEAQ         (DX)(DX*2), R11
	MOVL         $0x0f, AX
	MOVQ         AX, X15
	VPBROADCASTB X15, Y15
	MOVQ         ahead+32(FP), AX

run:
	AHEAD
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

#define LOOKUP(low, high) \
	VPSHUFB low, Y14, low;   \
	VPSHUFB high, Y14, high

// Eight lines of codes of small floats: pairs of low nibbles, of high ones, and
// so on.
#define LOOKUPLINES \
	SPLIT(Y0, Y8);            \
	SPLIT(Y1, Y9);            \
	SPLIT(Y2, Y10);           \
	SPLIT(Y3, Y11);           \
	LOOKUP(Y0, Y8);           \
	LOOKUP(Y1, Y9);           \
	LOOKUP(Y2, Y10);          \
	LOOKUP(Y3, Y11);          \
	LINES(Y0, Y1, Y8, Y9);    \
	LEAQ (R12)(DX*4), R12;    \
	LINES(Y2, Y3, Y10, Y11)

// func nibblesFP4AVX2(dst *byte, stride int, src *byte, ld, ahead, runs int)
TEXT ·nibblesFP4AVX2(SB), NOSPLIT, $0-48
	MOVQ           dst+0(FP), DI
	MOVQ           stride+8(FP), DX
	MOVQ           src+16(FP), SI
	MOVQ           ld+24(FP), R8
	MOVQ           runs+40(FP), CX
	LEAQ           (R8)(R8*2), R9
	LEAQ           (SI)(R8*4), R10
	LEAQ           (DX)(DX*2), R11
	MOVL           $0x0f, AX
	MOVQ           AX, X15
	VPBROADCASTB   X15, Y15
	VBROADCASTI128 ·fp4Table(SB), Y14
	MOVQ           ahead+32(FP), AX

run:
	AHEAD
	COLUMNS(0)
	MOVQ DI, R12
	LOOKUPLINES
	COLUMNS(16)
	LEAQ (DI)(DX*8), R12
	LOOKUPLINES
	ADDQ $32, SI
	ADDQ $32, R10
	LEAQ (DI)(DX*8), DI
	LEAQ (DI)(DX*8), DI
	DECQ CX
	JNZ  run
	VZEROUPPER
	RET

// func bytesAVX2(dst *byte, stride int, src *byte, ld, ahead, runs int)
TEXT ·bytesAVX2(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ stride+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ ld+24(FP), R8
	MOVQ ahead+32(FP), AX
	MOVQ runs+40(FP), CX
	LEAQ (R8)(R8*2), R9
	LEAQ (SI)(R8*4), R10
	LEAQ (DX)(DX*2), R11

run:
	AHEAD
	MOVQ DI, R12
	COLUMNS(0)
	LINES(Y0, Y1, Y2, Y3)
	LEAQ (R12)(DX*4), R12
	COLUMNS(16)
	LINES(Y0, Y1, Y2, Y3)
	LEAQ (R12)(DX*4), DI
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

// Six bits in l: low four and, in h, the high two at their place.
#define SIX(l, h, to) \
	VPAND   Y14, h, h; \
	VPOR    h, l, l;   \
	VMOVDQU l, to(DI)

// func codesQ6KAVX2(dst, src *byte, blocks int)
TEXT ·codesQ6KAVX2(SB), NOSPLIT, $0-24
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         blocks+16(FP), CX
	MOVL         $0x0f, AX
	MOVQ         AX, X15
	VPBROADCASTB X15, Y15
	MOVL         $0x30, AX
	MOVQ         AX, X14
	VPBROADCASTB X14, Y14

block:
	MOVQ $2, DX
	LEAQ 128(SI), BX

half:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	VMOVDQU (BX), Y4
	VPSRLW  $4, Y0, Y2
	VPSRLW  $4, Y1, Y3
	VPAND   Y15, Y0, Y0
	VPAND   Y15, Y1, Y1
	VPAND   Y15, Y2, Y2
	VPAND   Y15, Y3, Y3
	VPSLLW  $4, Y4, Y5
	VPSLLW  $2, Y4, Y6
	VPSRLW  $2, Y4, Y7
	SIX(Y0, Y5, 0)
	SIX(Y1, Y6, 32)
	SIX(Y2, Y4, 64)
	SIX(Y3, Y7, 96)
	ADDQ    $64, SI
	ADDQ    $32, BX
	ADDQ    $128, DI
	DECQ    DX
	JNZ     half
	ADDQ    $82, SI                // the rest of 210 bytes
	DECQ    CX
	JNZ     block
	VZEROUPPER
	RET

DATA ·minus32<>+0(SB)/4, $0xc2000000
GLOBL ·minus32<>(SB), RODATA|NOPTR, $4

// func superScalesQ6KAVX2(scales, biases *float32, src *byte, blocks int)
TEXT ·superScalesQ6KAVX2(SB), NOSPLIT, $0-32
	MOVQ         scales+0(FP), DI
	MOVQ         biases+8(FP), BX
	MOVQ         src+16(FP), SI
	MOVQ         blocks+24(FP), CX
	VBROADCASTSS ·minus32<>(SB), Y15

block:
	MOVWLZX      208(SI), AX
	VMOVD        AX, X2
	VCVTPH2PS    X2, X2
	VBROADCASTSS X2, Y2
	VPMOVSXBD    192(SI), Y0
	VPMOVSXBD    200(SI), Y1
	VCVTDQ2PS    Y0, Y0
	VCVTDQ2PS    Y1, Y1
	VMULPS       Y2, Y0, Y0
	VMULPS       Y2, Y1, Y1
	VMOVUPS      Y0, (DI)
	VMOVUPS      Y1, 32(DI)
	VMULPS       Y15, Y0, Y0
	VMULPS       Y15, Y1, Y1
	VMOVUPS      Y0, (BX)
	VMOVUPS      Y1, 32(BX)
	ADDQ         $210, SI
	ADDQ         $64, DI
	ADDQ         $64, BX
	DECQ         CX
	JNZ          block
	VZEROUPPER
	RET

// func superScalesQ4KAVX2(scales, biases *float32, src *byte, blocks int)
TEXT ·superScalesQ4KAVX2(SB), NOSPLIT, $0-32
	MOVQ   scales+0(FP), DI
	MOVQ   biases+8(FP), BX
	MOVQ   src+16(FP), SI
	MOVQ   blocks+24(FP), R13
	VXORPS Y15, Y15, Y15

block:
	// Six bits each, see dotQ4KAVX2.
	MOVL 4(SI), AX
	MOVL 8(SI), CX
	MOVL 12(SI), DX
	MOVL AX, R8
	MOVL CX, R9
	MOVL DX, R10
	SHRL $2, R8
	SHRL $2, R9
	SHRL $4, R10
	ANDL $0x30303030, R8
	ANDL $0x30303030, R9
	ANDL $0x3f3f3f3f, AX
	ANDL $0x3f3f3f3f, CX
	ANDL $0x0f0f0f0f, DX
	ANDL $0x0f0f0f0f, R10
	ORL  R8, DX
	ORL  R9, R10
	SHLQ $32, DX
	SHLQ $32, R10
	ORQ  DX, AX                    // eight scales
	ORQ  R10, CX                   // eight minima

	VMOVD        (SI), X2
	VCVTPH2PS    X2, X2            // d, dmin
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
	VMULPS       Y3, Y5, Y5
	VSUBPS       Y5, Y15, Y5
	VMOVUPS      Y4, (DI)
	VMOVUPS      Y5, (BX)
	ADDQ         $144, SI
	ADDQ         $32, DI
	ADDQ         $32, BX
	DECQ         R13
	JNZ          block
	VZEROUPPER
	RET
