//go:build !purego

#include "textflag.h"
#include "macros_amd64.h"

// Four rows of codes times one row of x. SI codes, R8 bytes from row to row and
// R9 three times that; R10 scales, R11 bytes from row to row and R12 three times
// that; BX x, DX its scales, CX groups, R13 runs of 32 left in a group. Y0 to Y3
// are the rows' sums, Y12 to Y15 their scales.
#define ARGUMENTS \
	MOVQ   codes+8(FP), SI;    \
	MOVQ   ld+16(FP), R8;      \
	MOVQ   scales+24(FP), R10; \
	MOVQ   x+32(FP), BX;       \
	MOVQ   scale+40(FP), DX;   \
	MOVQ   groups+48(FP), CX;  \
	LEAQ   (R8)(R8*2), R9;     \
	LEAQ   (CX*4), R11;        \
	LEAQ   (R11)(R11*2), R12;  \
	VXORPS Y0, Y0, Y0;         \
	VXORPS Y1, Y1, Y1;         \
	VXORPS Y2, Y2, Y2;         \
	VXORPS Y3, Y3, Y3

#define SCALES \
	VBROADCASTSS (R10), Y12;       \
	VBROADCASTSS (R10)(R11*1), Y13; \
	VBROADCASTSS (R10)(R11*2), Y14; \
	VBROADCASTSS (R10)(R12*1), Y15; \
	ADDQ $4, R10;                  \
	MOVQ runs+56(FP), R13

// The next four rows.
#define AHEAD \
	LEAQ       (SI)(R8*4), DI; \
	PREFETCHT1 (DI);           \
	PREFETCHT1 (DI)(R8*1);     \
	PREFETCHT1 (DI)(R8*2);     \
	PREFETCHT1 (DI)(R9*1)

// The sums in Y0 to Y3 to y.
#define SUMS4 \
	VHADDPS      Y1, Y0, Y0; \
	VHADDPS      Y3, Y2, Y2; \
	VHADDPS      Y2, Y0, Y0; \
	VEXTRACTF128 $1, Y0, X1; \
	VADDPS       X1, X0, X0; \
	MOVQ         y+0(FP), DI; \
	VMOVUPS      X0, (DI)

// One row's 32 codes at m times x in Y8 and Y9, both as words; Y10 is x's scale.
// Pairs of products need 32 bits: codes may have 8.
#define ROW(m, m16, scale, acc) \
	VPMOVZXBW   m, Y4;         \
	VPMOVZXBW   m16, Y5;       \
	VPMADDWD    Y8, Y4, Y4;    \
	VPMADDWD    Y9, Y5, Y5;    \
	VMULPS      Y10, scale, Y6; \
	VPADDD      Y5, Y4, Y4;    \
	VCVTDQ2PS   Y4, Y4;        \
	VFMADD231PS Y4, Y6, acc

// func dotCodesAVX2(y *float32, codes *byte, ld int, scales *float32, x *int8, scale *float32, groups, runs int)
TEXT ·dotCodesAVX2(SB), NOSPLIT, $0-64
	ARGUMENTS

group:
	SCALES

run:
	AHEAD
	VPMOVSXBW    (BX), Y8
	VPMOVSXBW    16(BX), Y9
	VBROADCASTSS (DX), Y10
	ROW((SI), 16(SI), Y12, Y0)
	ROW((SI)(R8*1), 16(SI)(R8*1), Y13, Y1)
	ROW((SI)(R8*2), 16(SI)(R8*2), Y14, Y2)
	ROW((SI)(R9*1), 16(SI)(R9*1), Y15, Y3)
	ADDQ         $32, SI
	ADDQ         $32, BX
	ADDQ         $4, DX
	DECQ         R13
	JNZ          run
	DECQ         CX
	JNZ          group
	SUMS4
	VZEROUPPER
	RET

// The same with x as bytes in Y8.
#define ROWVNNI(m, scale, acc) \
	VMOVDQU     m, Y4;         \
	VPXOR       Y5, Y5, Y5;    \
	VPDPBUSD    Y8, Y4, Y5;    \
	VMULPS      Y10, scale, Y6; \
	VCVTDQ2PS   Y5, Y5;        \
	VFMADD231PS Y5, Y6, acc

// func dotCodesVNNI(y *float32, codes *byte, ld int, scales *float32, x *int8, scale *float32, groups, runs int)
TEXT ·dotCodesVNNI(SB), NOSPLIT, $0-64
	ARGUMENTS

group:
	SCALES

run:
	AHEAD
	VMOVDQU      (BX), Y8
	VBROADCASTSS (DX), Y10
	ROWVNNI((SI), Y12, Y0)
	ROWVNNI((SI)(R8*1), Y13, Y1)
	ROWVNNI((SI)(R8*2), Y14, Y2)
	ROWVNNI((SI)(R9*1), Y15, Y3)
	ADDQ         $32, SI
	ADDQ         $32, BX
	ADDQ         $4, DX
	DECQ         R13
	JNZ          run
	DECQ         CX
	JNZ          group
	SUMS4
	VZEROUPPER
	RET

// func codesVBMI(dst, src *byte, n, bits int, tables *codeTables)
//
// Of 64 codes, 8·bits bytes, every eight go to a quadword (VPERMB), from which
// VPMULTISHIFTQB takes eight bytes at any bits.
TEXT ·codesVBMI(SB), NOSPLIT, $0-40
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         n+16(FP), R11
	MOVQ         bits+24(FP), DX
	MOVQ         tables+32(FP), BX
	VMOVDQU64    (BX), Z13             // bytes
	VMOVDQU64    64(BX), Z14           // shifts
	MOVL         $0xff, R8
	MOVQ         $8, CX
	SUBQ         DX, CX
	SHRL         CX, R8
	VPBROADCASTB R8, Z15               // the low bits
	SHLQ         $3, DX                // bytes of 64 codes
	MOVQ         $-1, AX
	MOVQ         $64, CX
	SUBQ         DX, CX
	SHRQ         CX, AX
	KMOVQ        AX, K1                // nothing after them is read
	MOVQ         $-1, AX
	KMOVQ        AX, K2
	SUBQ         $64, R11
	JLT          half

loop:
	PREFETCHT0     1024(SI)
	VMOVDQU8.Z     (SI), K1, Z0
	VPERMB         Z0, Z13, Z0
	VPMULTISHIFTQB Z0, Z14, Z0
	VPANDD         Z15, Z0, Z0
	VMOVDQU8       Z0, K2, (DI)
	ADDQ           DX, SI
	ADDQ           $64, DI
	SUBQ           $64, R11
	JGE            loop

half:
	ADDQ  $64, R11
	JZ    done
	SHRQ  $1, DX
	MOVQ  $-1, AX
	MOVQ  $64, CX
	SUBQ  DX, CX
	SHRQ  CX, AX
	KMOVQ AX, K1
	MOVL  $-1, AX
	KMOVQ AX, K2                       // 32 codes
	XORL  R11, R11
	JMP   loop

done:
	VZEROUPPER
	RET
