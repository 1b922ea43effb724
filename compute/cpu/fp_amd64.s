//go:build !purego

#include "textflag.h"
#include "macros_amd64.h"

// fp4Codes and, without fp4Zero, twice the E2M1 numbers, both for two halves.
DATA ·fp4Table+0(SB)/8, $0x181412100f0e0d0c
DATA ·fp4Table+8(SB)/8, $0x00040608090a0b0c
GLOBL ·fp4Table(SB), RODATA|NOPTR, $16
DATA ·fp4Twice<>+0(SB)/8, $0x0c08060403020100
DATA ·fp4Twice<>+8(SB)/8, $0xf4f8fafcfdfeff00
GLOBL ·fp4Twice<>(SB), RODATA|NOPTR, $16

DATA ·fpBits<>+0(SB)/4, $0x00400000  // 2^-127
DATA ·fpBits<>+4(SB)/4, $0x87f00000  // E4M3 in the place of float32
DATA ·fpBits<>+8(SB)/4, $0x07f00000  // its NaN
DATA ·fpBits<>+12(SB)/4, $0x7b800000 // 2^120, which it is short of
DATA ·fpBits<>+16(SB)/4, $0xbf80bf80 // E4M3 in the place of float16
DATA ·fpBits<>+20(SB)/4, $0x3f803f80 // its NaN
DATA ·fpBits<>+24(SB)/4, $0x43800000 // 2^8, which it is short of
DATA ·fpBits<>+28(SB)/4, $0x80808080 // signs
GLOBL ·fpBits<>(SB), RODATA|NOPTR, $32

// func e8m0AVX2(dst *float32, src *byte, n int, factor float32)
TEXT ·e8m0AVX2(SB), NOSPLIT, $0-28
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS factor+24(FP), Y15
	VPBROADCASTD ·fpBits<>+0(SB), Y14

loop:
	VPMOVZXBD (SI), Y0
	VPSLLD    $23, Y0, Y0
	VPMAXSD   Y14, Y0, Y0
	VMULPS    Y15, Y0, Y0
	VMOVUPS   Y0, (DI)
	ADDQ      $8, SI
	ADDQ      $32, DI
	SUBQ      $8, CX
	JNZ       loop
	VZEROUPPER
	RET

// func e4m3AVX2(dst *float32, src *byte, n int, factor float32)
TEXT ·e4m3AVX2(SB), NOSPLIT, $0-28
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         n+16(FP), CX
	VBROADCASTSS factor+24(FP), Y15
	VBROADCASTSS ·fpBits<>+12(SB), Y14
	VPBROADCASTD ·fpBits<>+4(SB), Y13
	VPBROADCASTD ·fpBits<>+8(SB), Y12

loop:
	VPMOVSXBD (SI), Y0
	VPSLLD    $20, Y0, Y0
	VPAND     Y13, Y0, Y0
	VPAND     Y12, Y0, Y1
	VPCMPEQD  Y12, Y1, Y1
	VMULPS    Y14, Y0, Y0
	VPOR      Y1, Y0, Y0     // all bits make a NaN
	VMULPS    Y15, Y0, Y0
	VMOVUPS   Y0, (DI)
	ADDQ      $8, SI
	ADDQ      $32, DI
	SUBQ      $8, CX
	JNZ       loop
	VZEROUPPER
	RET

// Sixteen integers of X2 times scale to off.
#define WIDEN16(x, scale, off) \
	VPMOVSXBD x, Y4;            \
	VPSRLDQ   $8, x, x;         \
	VPMOVSXBD x, Y5;            \
	VCVTDQ2PS Y4, Y4;           \
	VCVTDQ2PS Y5, Y5;           \
	VMULPS    scale, Y4, Y4;    \
	VMULPS    scale, Y5, Y5;    \
	VMOVUPS   Y4, off(DI);      \
	VMOVUPS   Y5, (off+32)(DI)

// func fp4GroupsAVX2(dst *float32, src *byte, halves *float32, n, group int)
TEXT ·fp4GroupsAVX2(SB), NOSPLIT, $0-40
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         halves+16(FP), R8
	MOVQ         n+24(FP), CX
	MOVQ         group+32(FP), R9
	MOVL         $0x0f, AX
	MOVQ         AX, X15
	VPBROADCASTB X15, X15
	VMOVDQU      ·fp4Twice<>(SB), X14

	// The second sixteen of 32 have the same scale or the next.
	MOVQ $4, DX
	CMPQ R9, $16
	JEQ  loop
	XORL DX, DX

loop:
	VBROADCASTSS (R8), Y10
	VBROADCASTSS (R8)(DX*1), Y11
	LEAQ         4(R8)(DX*1), R8
	VMOVDQU      (SI), X0
	VPSRLW       $4, X0, X1
	VPAND        X15, X0, X0
	VPAND        X15, X1, X1
	VPSHUFB      X0, X14, X0
	VPSHUFB      X1, X14, X1
	VPUNPCKLBW   X1, X0, X2
	VPUNPCKHBW   X1, X0, X3
	WIDEN16(X2, Y10, 0)
	WIDEN16(X3, Y11, 64)
	ADDQ         $16, SI
	ADDQ         $128, DI
	SUBQ         $32, CX
	JNZ          loop
	VZEROUPPER
	RET

// Sixteen E4M3 numbers at off, as float16 too small by 2^8, times 2^8 and the
// scale in Y10.
#define WIDEN8(off, to) \
	VPMOVSXBW    off(SI), Y0;    \
	VPSLLW       $7, Y0, Y0;     \
	VPAND        Y15, Y0, Y0;    \
	VPAND        Y14, Y0, Y1;    \
	VPCMPEQW     Y14, Y1, Y1;    \
	VPOR         Y1, Y0, Y0;     \
	VEXTRACTI128 $1, Y0, X1;     \
	VCVTPH2PS    X0, Y2;         \
	VCVTPH2PS    X1, Y3;         \
	VMULPS       Y13, Y2, Y2;    \
	VMULPS       Y13, Y3, Y3;    \
	VMULPS       Y10, Y2, Y2;    \
	VMULPS       Y10, Y3, Y3;    \
	VMOVUPS      Y2, to(DI);     \
	VMOVUPS      Y3, (to+32)(DI)

// func fp8GroupsAVX2(dst *float32, src *byte, scales *float32, groups int)
TEXT ·fp8GroupsAVX2(SB), NOSPLIT, $0-32
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         scales+16(FP), R8
	MOVQ         groups+24(FP), CX
	VPBROADCASTD ·fpBits<>+16(SB), Y15
	VPBROADCASTD ·fpBits<>+20(SB), Y14
	VBROADCASTSS ·fpBits<>+24(SB), Y13

loop:
	VBROADCASTSS (R8), Y10
	WIDEN8(0, 0)
	WIDEN8(16, 64)
	ADDQ         $4, R8
	ADDQ         $32, SI
	ADDQ         $128, DI
	DECQ         CX
	JNZ          loop
	VZEROUPPER
	RET

// func startsAVX2(start *int32, x *int8, runs int)
TEXT ·startsAVX2(SB), NOSPLIT, $0-24
	MOVQ         start+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         runs+16(FP), CX
	MOVL         $12, AX          // fp4Zero
	MOVQ         AX, X15
	VPBROADCASTB X15, Y15
	VPCMPEQW     Y14, Y14, Y14    // -1

loop:
	VPMADDUBSW (SI), Y15, Y0
	VPMADDUBSW 32(SI), Y15, Y1
	VPADDW     Y1, Y0, Y0
	VPMADDWD   Y14, Y0, Y0
	VMOVDQU    Y0, (DI)
	ADDQ       $64, SI
	ADDQ       $32, DI
	DECQ       CX
	JNZ        loop
	VZEROUPPER
	RET

// Which scale goes to each of eight lanes, for groups of 32 and 16 weights; the
// second goes on for sixteen lanes.
DATA ·fp4Lanes<>+0(SB)/8, $0
DATA ·fp4Lanes<>+8(SB)/8, $0
DATA ·fp4Lanes<>+16(SB)/8, $0x0000000100000001
DATA ·fp4Lanes<>+24(SB)/8, $0x0000000100000001
DATA ·fp4Lanes<>+32(SB)/8, $0x0000000200000002
DATA ·fp4Lanes<>+40(SB)/8, $0x0000000200000002
DATA ·fp4Lanes<>+48(SB)/8, $0x0000000300000003
DATA ·fp4Lanes<>+56(SB)/8, $0x0000000300000003
DATA ·fp4Lanes<>+64(SB)/8, $0
DATA ·fp4Lanes<>+72(SB)/8, $0x0000000100000001
DATA ·fp4Lanes<>+80(SB)/8, $0x0000000200000002
DATA ·fp4Lanes<>+88(SB)/8, $0x0000000300000003
DATA ·fp4Lanes<>+96(SB)/8, $0x0000000400000004
DATA ·fp4Lanes<>+104(SB)/8, $0x0000000500000005
DATA ·fp4Lanes<>+112(SB)/8, $0x0000000600000006
DATA ·fp4Lanes<>+120(SB)/8, $0x0000000700000007
GLOBL ·fp4Lanes<>(SB), RODATA|NOPTR, $128

// func dotFP4AVX2(y *float32, rows int, w *byte, halves *float32, x *int8, scale *float32, start *int32, runs, group int)
TEXT ·dotFP4AVX2(SB), NOSPLIT, $0-72
	MOVQ           y+0(FP), DI
	MOVQ           rows+8(FP), R10
	MOVQ           w+16(FP), SI
	MOVQ           halves+24(FP), R8
	MOVL           $0x0f, AX
	MOVQ           AX, X15
	VPBROADCASTB   X15, Y15
	VPCMPEQW       Y14, Y14, Y14
	VPABSW         Y14, Y14              // ones
	VBROADCASTI128 ·fp4Table(SB), Y12
	VMOVDQU        ·fp4Lanes<>(SB), Y13
	MOVQ           $8, R13               // bytes of scales for a run
	CMPQ           group+64(FP), $32
	JEQ            row
	VMOVDQU        ·fp4Lanes<>+64(SB), Y13
	MOVQ           $16, R13

row:
	MOVQ   x+32(FP), BX
	MOVQ   scale+40(FP), R11
	MOVQ   start+48(FP), R12
	MOVQ   runs+56(FP), CX
	VXORPS Y0, Y0, Y0

	// Codes are at most 24 and activations at most 127: pairs and sums of two
	// pairs fit 16 bits.
run:
	PREFETCHT0  1536(SI)
	VMOVDQU     (SI), Y2
	VPSRLW      $4, Y2, Y3
	VPAND       Y15, Y2, Y2
	VPAND       Y15, Y3, Y3
	VPSHUFB     Y2, Y12, Y2
	VPSHUFB     Y3, Y12, Y3
	VPMADDUBSW  (BX), Y2, Y2
	VPMADDUBSW  32(BX), Y3, Y3
	VPADDW      Y3, Y2, Y2
	VPMADDWD    Y14, Y2, Y2
	VPADDD      (R12), Y2, Y2
	VCVTDQ2PS   Y2, Y2
	VMOVUPS     (R8), X4
	VPERMPS     Y4, Y13, Y4
	VMULPS      (R11), Y4, Y4
	VFMADD231PS Y2, Y4, Y0
	ADDQ        R13, R8
	ADDQ        $32, SI
	ADDQ        $64, BX
	ADDQ        $32, R11
	ADDQ        $32, R12
	DECQ        CX
	JNZ         run
	SUM8
	VMOVSS      X0, (DI)
	ADDQ        $4, DI
	DECQ        R10
	JNZ         row
	VZEROUPPER
	RET

// func dotFP4VNNI(y *float32, rows int, w *byte, halves *float32, x *int8, scale *float32, start *int32, runs, group int)
TEXT ·dotFP4VNNI(SB), NOSPLIT, $0-72
	MOVQ            y+0(FP), DI
	MOVQ            rows+8(FP), R10
	MOVQ            w+16(FP), SI
	MOVQ            halves+24(FP), R8
	MOVL            $0x0f, AX
	VPBROADCASTB    AX, Z15
	VBROADCASTI32X4 ·fp4Table(SB), Z13
	VMOVDQU64       ·fp4Lanes<>(SB), Z14
	MOVQ            $8, R13               // bytes of scales for a run of 64
	MOVL            $0xff, AX
	KMOVW           AX, K1
	CMPQ            group+64(FP), $32
	JEQ             row
	VMOVDQU64       ·fp4Lanes<>+64(SB), Z14
	MOVQ            $16, R13

row:
	MOVQ   x+32(FP), BX
	MOVQ   scale+40(FP), R11
	MOVQ   start+48(FP), R12
	MOVQ   runs+56(FP), CX
	VXORPS Z0, Z0, Z0
	SUBQ   $2, CX
	JLT    one

	// Two runs, each in half a register.
two:
	PREFETCHT0    1024(SI)
	PREFETCHT1    12288(SI)
	VMOVDQU64     (SI), Z2
	VMOVUPS       (R8), Y4
	VMOVDQU64     (BX), Z3
	VSHUFI64X2    $0xee, 64(BX), Z3, Z5
	VINSERTI64X4  $1, 64(BX), Z3, Z3
	VMOVDQU64     (R12), Z7
	VPSRLW        $4, Z2, Z6
	VPANDD        Z15, Z2, Z2
	VPANDD        Z15, Z6, Z6
	VPSHUFB       Z2, Z13, Z2
	VPSHUFB       Z6, Z13, Z6
	VPDPBUSD      Z3, Z2, Z7
	VPDPBUSD      Z5, Z6, Z7
	VPERMPS       Z4, Z14, Z4
	VMULPS        (R11), Z4, Z4
	VCVTDQ2PS     Z7, Z7
	VFMADD231PS   Z7, Z4, Z0
	LEAQ          (R8)(R13*2), R8
	ADDQ          $64, SI
	ADDQ          $128, BX
	ADDQ          $64, R11
	ADDQ          $64, R12
	SUBQ          $2, CX
	JGE           two

one:
	ADDQ        $2, CX
	JZ          sum
	VMOVDQU     (SI), Y2
	VMOVUPS     (R8), Y4
	VMOVDQU     (R12), Y7
	VPSRLW      $4, Y2, Y6
	VPAND       Y15, Y2, Y2
	VPAND       Y15, Y6, Y6
	VPSHUFB     Y2, Y13, Y2
	VPSHUFB     Y6, Y13, Y6
	VPDPBUSD    (BX), Y2, Y7
	VPDPBUSD    32(BX), Y6, Y7
	VPERMPS     Z4, Z14, Z4
	VMULPS.Z    (R11), Z4, K1, Z4
	VCVTDQ2PS   Y7, Y7
	VFMADD231PS Z7, Z4, Z0
	ADDQ        R13, R8
	ADDQ        $32, SI

sum:
	VEXTRACTF64X4 $1, Z0, Y1
	VADDPS        Y1, Y0, Y0
	SUM8
	VMOVSS        X0, (DI)
	ADDQ          $4, DI
	DECQ          R10
	JNZ           row
	VZEROUPPER
	RET

// Y0 becomes NaN when a byte of Y12, the largest of a row, is a NaN's.
#define POISON \
	VPCMPEQB  Y11, Y11, Y11; \
	VPCMPEQB  Y11, Y12, Y12; \
	VPMOVMSKB Y12, AX;       \
	TESTL     AX, AX;        \
	JZ        clean;         \
	VMOVDQA   Y11, Y0

// func dotFP8AVX2(y *float32, rows int, w *byte, scales, x *float32, groups int)
//
// Numbers become float16 too small by 2^8, which the row's sum makes up for. A
// NaN is what is greatest when all signs are set.
TEXT ·dotFP8AVX2(SB), NOSPLIT, $0-48
	MOVQ         y+0(FP), DI
	MOVQ         rows+8(FP), R10
	MOVQ         w+16(FP), SI
	MOVQ         scales+24(FP), R8
	VPBROADCASTD ·fpBits<>+16(SB), Y15
	VPBROADCASTD ·fpBits<>+28(SB), Y14
	VBROADCASTSS ·fpBits<>+24(SB), Y13

row:
	MOVQ   x+32(FP), BX
	MOVQ   groups+40(FP), CX
	VXORPS Y0, Y0, Y0
	VPXOR  Y12, Y12, Y12

group:
	PREFETCHT0   1536(SI)
	VPMOVSXBW    (SI), X2
	VPMOVSXBW    8(SI), X3
	VPMOVSXBW    16(SI), X4
	VPMOVSXBW    24(SI), X5
	VPSLLW       $7, X2, X2
	VPSLLW       $7, X3, X3
	VPSLLW       $7, X4, X4
	VPSLLW       $7, X5, X5
	VPAND        X15, X2, X2
	VPAND        X15, X3, X3
	VPAND        X15, X4, X4
	VPAND        X15, X5, X5
	VCVTPH2PS    X2, Y2
	VCVTPH2PS    X3, Y3
	VCVTPH2PS    X4, Y4
	VCVTPH2PS    X5, Y5
	VPOR         (SI), Y14, Y6
	VMULPS       (BX), Y2, Y2
	VMULPS       32(BX), Y3, Y3
	VPMAXUB      Y6, Y12, Y12
	VBROADCASTSS (R8), Y7
	VFMADD231PS  64(BX), Y4, Y2
	VFMADD231PS  96(BX), Y5, Y3
	VADDPS       Y3, Y2, Y2
	VFMADD231PS  Y2, Y7, Y0
	ADDQ         $32, SI
	ADDQ         $128, BX
	ADDQ         $4, R8
	DECQ         CX
	JNZ          group
	POISON

clean:
	VMULPS Y13, Y0, Y0
	SUM8
	VMOVSS X0, (DI)
	ADDQ   $4, DI
	DECQ   R10
	JNZ    row
	VZEROUPPER
	RET

// func dotFP8AVX512(y *float32, rows int, w *byte, scales, x *float32, groups int)
TEXT ·dotFP8AVX512(SB), NOSPLIT, $0-48
	MOVQ         y+0(FP), DI
	MOVQ         rows+8(FP), R10
	MOVQ         w+16(FP), SI
	MOVQ         scales+24(FP), R8
	VPBROADCASTD ·fpBits<>+16(SB), Y15
	VPBROADCASTD ·fpBits<>+28(SB), Y14
	VBROADCASTSS ·fpBits<>+24(SB), Y13

row:
	MOVQ   x+32(FP), BX
	MOVQ   groups+40(FP), CX
	VXORPS Z0, Z0, Z0
	VPXOR  Y12, Y12, Y12

group:
	PREFETCHT0       1024(SI)
	PREFETCHT1       12288(SI)
	VPMOVSXBW        (SI), Y2
	VPMOVSXBW        16(SI), Y3
	VPSLLW           $7, Y2, Y2
	VPSLLW           $7, Y3, Y3
	VPAND            Y15, Y2, Y2
	VPAND            Y15, Y3, Y3
	VCVTPH2PS        Y2, Z2
	VCVTPH2PS        Y3, Z3
	VPOR             (SI), Y14, Y6
	VPMAXUB          Y6, Y12, Y12
	VMULPS           (BX), Z2, Z2
	VFMADD231PS      64(BX), Z3, Z2
	VFMADD231PS.BCST (R8), Z2, Z0
	ADDQ             $32, SI
	ADDQ             $128, BX
	ADDQ             $4, R8
	DECQ             CX
	JNZ              group
	VEXTRACTF64X4    $1, Z0, Y1
	VADDPS           Y1, Y0, Y0
	POISON

clean:
	VMULPS Y13, Y0, Y0
	SUM8
	VMOVSS X0, (DI)
	ADDQ   $4, DI
	DECQ   R10
	JNZ    row
	VZEROUPPER
	RET
