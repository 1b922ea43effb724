//go:build !purego

#include "textflag.h"

// One step of the product: six values of a at byte offset p, times sixteen of
// b at byte offset q. Sums of row i are Y(4+2i), Y(5+2i).
#define STEP(p, q) \
	VMOVUPS      (q)(BX), Y0;      \
	VMOVUPS      (q+32)(BX), Y1;   \
	VBROADCASTSS (p)(AX), Y2;      \
	VBROADCASTSS (p+4)(AX), Y3;    \
	VFMADD231PS  Y0, Y2, Y4;       \
	VFMADD231PS  Y1, Y2, Y5;       \
	VFMADD231PS  Y0, Y3, Y6;       \
	VFMADD231PS  Y1, Y3, Y7;       \
	VBROADCASTSS (p+8)(AX), Y2;    \
	VBROADCASTSS (p+12)(AX), Y3;   \
	VFMADD231PS  Y0, Y2, Y8;       \
	VFMADD231PS  Y1, Y2, Y9;       \
	VFMADD231PS  Y0, Y3, Y10;      \
	VFMADD231PS  Y1, Y3, Y11;      \
	VBROADCASTSS (p+16)(AX), Y2;   \
	VBROADCASTSS (p+20)(AX), Y3;   \
	VFMADD231PS  Y0, Y2, Y12;      \
	VFMADD231PS  Y1, Y2, Y13;      \
	VFMADD231PS  Y0, Y3, Y14;      \
	VFMADD231PS  Y1, Y3, Y15

// Add a row of c to its sums, or store the sums, and go to the next row.
#define ADDROW(s0, s1) \
	VADDPS (DI), s0, s0;   \
	VADDPS 32(DI), s1, s1; \
	ADDQ   R8, DI

#define PUTROW(s0, s1) \
	VMOVUPS s0, (DX);   \
	VMOVUPS s1, 32(DX); \
	ADDQ    R8, DX

// func tile6x16(k int, a, b, c *float32, ldc int, add bool)
TEXT ·tile6x16(SB), NOSPLIT, $0-41
	MOVQ k+0(FP), CX
	MOVQ a+8(FP), AX
	MOVQ b+16(FP), BX
	MOVQ c+24(FP), DI
	MOVQ ldc+32(FP), R8
	SHLQ $2, R8                // bytes from row to row of c
	MOVQ DI, DX

	// c is needed at the end only: fetch it meanwhile.
	LEAQ       (R8)(R8*2), R9
	PREFETCHT0 (DI)
	PREFETCHT0 (DI)(R8*1)
	PREFETCHT0 (DI)(R8*2)
	LEAQ       (DI)(R9*1), R10
	PREFETCHT0 (R10)
	PREFETCHT0 (R10)(R8*1)
	PREFETCHT0 (R10)(R8*2)

	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11
	VXORPS Y12, Y12, Y12
	VXORPS Y13, Y13, Y13
	VXORPS Y14, Y14, Y14
	VXORPS Y15, Y15, Y15

	SUBQ $4, CX
	JLT  tail

four:
	STEP(0, 0)
	STEP(24, 64)
	STEP(48, 128)
	STEP(72, 192)
	ADDQ $96, AX
	ADDQ $256, BX
	SUBQ $4, CX
	JGE  four

tail:
	ADDQ $4, CX
	JZ   sums

one:
	STEP(0, 0)
	ADDQ $24, AX
	ADDQ $64, BX
	DECQ CX
	JNZ  one

sums:
	MOVBLZX add+40(FP), AX
	TESTL   AX, AX
	JZ      store
	ADDROW(Y4, Y5)
	ADDROW(Y6, Y7)
	ADDROW(Y8, Y9)
	ADDROW(Y10, Y11)
	ADDROW(Y12, Y13)
	ADDROW(Y14, Y15)

store:
	PUTROW(Y4, Y5)
	PUTROW(Y6, Y7)
	PUTROW(Y8, Y9)
	PUTROW(Y10, Y11)
	PUTROW(Y12, Y13)
	PUTROW(Y14, Y15)
	VZEROUPPER
	RET

#define ADDEIGHT(p, sums) VADDPS (p)(DI), sums, sums

// func narrowAVX(k int, a *float32, line, step int, b, c *float32, add bool)
TEXT ·narrowAVX(SB), NOSPLIT, $0-49
	MOVQ k+0(FP), CX
	MOVQ a+8(FP), AX
	MOVQ line+16(FP), R8
	MOVQ step+24(FP), R9
	MOVQ b+32(FP), BX
	MOVQ c+40(FP), DI
	SHLQ $2, R8
	SHLQ $2, R9
	LEAQ (R8)(R8*2), R10 // three lines
	LEAQ (AX)(R8*4), DX  // the fifth line

	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11
	VXORPS Y12, Y12, Y12
	VXORPS Y13, Y13, Y13
	VXORPS Y14, Y14, Y14
	VXORPS Y15, Y15, Y15

loop:
	VMOVUPS      (BX), Y0
	VBROADCASTSS (AX), Y1
	VBROADCASTSS (AX)(R8*1), Y2
	VBROADCASTSS (AX)(R8*2), Y3
	VBROADCASTSS (AX)(R10*1), Y4
	VFMADD231PS  Y0, Y1, Y8
	VFMADD231PS  Y0, Y2, Y9
	VFMADD231PS  Y0, Y3, Y10
	VFMADD231PS  Y0, Y4, Y11
	VBROADCASTSS (DX), Y1
	VBROADCASTSS (DX)(R8*1), Y2
	VBROADCASTSS (DX)(R8*2), Y3
	VBROADCASTSS (DX)(R10*1), Y4
	VFMADD231PS  Y0, Y1, Y12
	VFMADD231PS  Y0, Y2, Y13
	VFMADD231PS  Y0, Y3, Y14
	VFMADD231PS  Y0, Y4, Y15
	ADDQ         R9, AX
	ADDQ         R9, DX
	ADDQ         $32, BX
	DECQ         CX
	JNZ          loop

	MOVBLZX add+48(FP), AX
	TESTL   AX, AX
	JZ      store
	ADDEIGHT(0, Y8)
	ADDEIGHT(32, Y9)
	ADDEIGHT(64, Y10)
	ADDEIGHT(96, Y11)
	ADDEIGHT(128, Y12)
	ADDEIGHT(160, Y13)
	ADDEIGHT(192, Y14)
	ADDEIGHT(224, Y15)

store:
	VMOVUPS Y8, (DI)
	VMOVUPS Y9, 32(DI)
	VMOVUPS Y10, 64(DI)
	VMOVUPS Y11, 96(DI)
	VMOVUPS Y12, 128(DI)
	VMOVUPS Y13, 160(DI)
	VMOVUPS Y14, 192(DI)
	VMOVUPS Y15, 224(DI)
	VZEROUPPER
	RET

// func interleave4AVX(dst *float32, width int, src *float32, ld, n int)
TEXT ·interleave4AVX(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ width+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ ld+24(FP), AX
	MOVQ n+32(FP), CX
	SHLQ $2, DX               // bytes from column to column of dst
	SHLQ $2, AX               // bytes from row to row of src
	LEAQ (SI)(AX*1), R8
	LEAQ (SI)(AX*2), R9
	LEAQ (R8)(AX*2), R10
	LEAQ (DX)(DX*2), R11      // 3 columns

	SUBQ $8, CX
	JLT  tail

eight:
	VMOVUPS      (SI), Y0
	VMOVUPS      (R8), Y1
	VMOVUPS      (R9), Y2
	VMOVUPS      (R10), Y3
	VUNPCKLPS    Y1, Y0, Y4    // a0 b0 a1 b1, a4 b4 a5 b5
	VUNPCKHPS    Y1, Y0, Y5    // a2 b2 a3 b3, a6 b6 a7 b7
	VUNPCKLPS    Y3, Y2, Y6
	VUNPCKHPS    Y3, Y2, Y7
	VUNPCKLPD    Y6, Y4, Y0    // columns 0, 4
	VUNPCKHPD    Y6, Y4, Y1    // columns 1, 5
	VUNPCKLPD    Y7, Y5, Y2    // columns 2, 6
	VUNPCKHPD    Y7, Y5, Y3    // columns 3, 7
	LEAQ         (DI)(DX*4), R12
	VMOVUPS      X0, (DI)
	VMOVUPS      X1, (DI)(DX*1)
	VMOVUPS      X2, (DI)(DX*2)
	VMOVUPS      X3, (DI)(R11*1)
	VEXTRACTF128 $1, Y0, (R12)
	VEXTRACTF128 $1, Y1, (R12)(DX*1)
	VEXTRACTF128 $1, Y2, (R12)(DX*2)
	VEXTRACTF128 $1, Y3, (R12)(R11*1)
	LEAQ         (R12)(DX*4), DI
	ADDQ         $32, SI
	ADDQ         $32, R8
	ADDQ         $32, R9
	ADDQ         $32, R10
	SUBQ         $8, CX
	JGE          eight

tail:
	ADDQ $8, CX
	JZ   done

one:
	VMOVSS    (SI), X0
	VINSERTPS $0x10, (R8), X0, X0
	VINSERTPS $0x20, (R9), X0, X0
	VINSERTPS $0x30, (R10), X0, X0
	VMOVUPS   X0, (DI)
	ADDQ      DX, DI
	ADDQ      $4, SI
	ADDQ      $4, R8
	ADDQ      $4, R9
	ADDQ      $4, R10
	DECQ      CX
	JNZ       one

done:
	VZEROUPPER
	RET

// func interleave2AVX(dst *float32, width int, src *float32, ld, n int)
TEXT ·interleave2AVX(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ width+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ ld+24(FP), AX
	MOVQ n+32(FP), CX
	SHLQ $2, DX
	LEAQ (SI)(AX*4), R8
	SUBQ $4, CX
	JLT  tail

four:
	VMOVUPS   (SI), X0
	VMOVUPS   (R8), X1
	VUNPCKLPS X1, X0, X2     // a0 b0 a1 b1
	VUNPCKHPS X1, X0, X3
	VMOVLPS   X2, (DI)
	VMOVHPS   X2, (DI)(DX*1)
	LEAQ      (DI)(DX*2), DI
	VMOVLPS   X3, (DI)
	VMOVHPS   X3, (DI)(DX*1)
	LEAQ      (DI)(DX*2), DI
	ADDQ      $16, SI
	ADDQ      $16, R8
	SUBQ      $4, CX
	JGE       four

tail:
	ADDQ $4, CX
	JZ   done

one:
	VMOVSS (SI), X0
	VMOVSS (R8), X1
	VMOVSS X0, (DI)
	VMOVSS X1, 4(DI)
	ADDQ   DX, DI
	ADDQ   $4, SI
	ADDQ   $4, R8
	DECQ   CX
	JNZ    one

done:
	VZEROUPPER
	RET

// func scatter16AVX(dst *float32, stride int, src *float32, n int)
TEXT ·scatter16AVX(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ stride+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ n+24(FP), CX
	SHLQ $2, DX

loop:
	VMOVUPS (SI), Y0
	VMOVUPS 32(SI), Y1
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	ADDQ    $64, SI
	ADDQ    DX, DI
	DECQ    CX
	JNZ     loop
	VZEROUPPER
	RET

// func prefetchT0(a, b, c *byte)
TEXT ·prefetchT0(SB), NOSPLIT, $0-24
	MOVQ       a+0(FP), AX
	MOVQ       b+8(FP), BX
	MOVQ       c+16(FP), CX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	PREFETCHT0 128(AX)
	PREFETCHT0 (BX)
	PREFETCHT0 (CX)
	RET

// Numbers 0 1 4 5 and 2 3 6 7 of a run of eight, see affineGroupsAVX2.
DATA ·eightLow+0(SB)/8, $0
DATA ·eightLow+8(SB)/8, $1
DATA ·eightLow+16(SB)/8, $4
DATA ·eightLow+24(SB)/8, $5
GLOBL ·eightLow(SB), RODATA|NOPTR, $32
DATA ·eightHigh+0(SB)/8, $2
DATA ·eightHigh+8(SB)/8, $3
DATA ·eightHigh+16(SB)/8, $6
DATA ·eightHigh+24(SB)/8, $7
GLOBL ·eightHigh(SB), RODATA|NOPTR, $32
DATA ·nibbleShift+0(SB)/4, $0
DATA ·nibbleShift+4(SB)/4, $4
DATA ·nibbleShift+8(SB)/4, $8
DATA ·nibbleShift+12(SB)/4, $12
DATA ·nibbleShift+16(SB)/4, $16
DATA ·nibbleShift+20(SB)/4, $20
DATA ·nibbleShift+24(SB)/4, $24
DATA ·nibbleShift+28(SB)/4, $28
GLOBL ·nibbleShift(SB), RODATA|NOPTR, $32

// func affineGroupsAVX2(dst *float32, src *byte, scales, biases *float32, groups, group, bits int)
//
// Eight numbers take exactly bits bytes: load eight bytes into every lane,
// shift each lane by the place of its number, mask, widen.
TEXT ·affineGroupsAVX2(SB), NOSPLIT, $0-56
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ scales+16(FP), R8
	MOVQ biases+24(FP), R9
	MOVQ groups+32(FP), R10
	MOVQ group+40(FP), R11
	SHRQ $3, R11               // runs of eight in a group
	MOVQ bits+48(FP), DX

	MOVQ         $1, AX
	MOVQ         DX, CX
	SHLQ         CX, AX
	DECQ         AX
	MOVQ         AX, X14
	VPBROADCASTD X14, Y14      // mask
	CMPQ         DX, $4
	JEQ          nibbles
	CMPQ         DX, $8
	JEQ          bytes
	MOVQ         DX, X15
	VPBROADCASTQ X15, Y15
	VPMULUDQ     ·eightLow(SB), Y15, Y12
	VPMULUDQ     ·eightHigh(SB), Y15, Y13

anyGroup:
	VBROADCASTSS (R8), Y10
	VBROADCASTSS (R9), Y11
	ADDQ         $4, R8
	ADDQ         $4, R9
	MOVQ         R11, CX

any:
	VPBROADCASTQ (SI), Y0
	VPSRLVQ      Y12, Y0, Y1
	VPSRLVQ      Y13, Y0, Y2
	VSHUFPS      $0x88, Y2, Y1, Y1
	VPAND        Y14, Y1, Y1
	VCVTDQ2PS    Y1, Y1
	VFMADD213PS  Y11, Y10, Y1  // q*scale + bias
	VMOVUPS      Y1, (DI)
	ADDQ         DX, SI
	ADDQ         $32, DI
	DECQ         CX
	JNZ          any
	DECQ         R10
	JNZ          anyGroup
	VZEROUPPER
	RET

nibbles:
	VMOVDQU ·nibbleShift(SB), Y12

nibbleGroup:
	VBROADCASTSS (R8), Y10
	VBROADCASTSS (R9), Y11
	ADDQ         $4, R8
	ADDQ         $4, R9
	MOVQ         R11, CX

nibble:
	VPBROADCASTD (SI), Y0
	VPSRLVD      Y12, Y0, Y0
	VPAND        Y14, Y0, Y0
	VCVTDQ2PS    Y0, Y0
	VFMADD213PS  Y11, Y10, Y0
	VMOVUPS      Y0, (DI)
	ADDQ         $4, SI
	ADDQ         $32, DI
	DECQ         CX
	JNZ          nibble
	DECQ         R10
	JNZ          nibbleGroup
	VZEROUPPER
	RET

bytes:
	VBROADCASTSS (R8), Y10
	VBROADCASTSS (R9), Y11
	ADDQ         $4, R8
	ADDQ         $4, R9
	MOVQ         R11, CX

byte:
	VPMOVZXBD   (SI), Y0
	VCVTDQ2PS   Y0, Y0
	VFMADD213PS Y11, Y10, Y0
	VMOVUPS     Y0, (DI)
	ADDQ        $8, SI
	ADDQ        $32, DI
	DECQ        CX
	JNZ         byte
	DECQ        R10
	JNZ         bytes
	VZEROUPPER
	RET

// func widenF16AVX(dst *float32, src *byte, n int)
TEXT ·widenF16AVX(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX

loop:
	VCVTPH2PS (SI), Y0
	VMOVUPS   Y0, (DI)
	ADDQ      $16, SI
	ADDQ      $32, DI
	SUBQ      $8, CX
	JNZ       loop
	VZEROUPPER
	RET

// func widenBF16AVX(dst *float32, src *byte, n int)
TEXT ·widenBF16AVX(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX

loop:
	VPMOVZXWD (SI), Y0
	VPSLLD    $16, Y0, Y0
	VMOVDQU   Y0, (DI)
	ADDQ      $16, SI
	ADDQ      $32, DI
	SUBQ      $8, CX
	JNZ       loop
	VZEROUPPER
	RET
