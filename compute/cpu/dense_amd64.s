//go:build !purego

#include "textflag.h"
#include "macros_amd64.h"

// A row of the dense loops: y DI, w SI, x R8, n R9; 16 columns a step.
#define DENSEROW \
	MOVQ   R8, BX;                  \
	MOVQ   R9, CX;                  \
	VXORPS Y0, Y0, Y0;              \
	VXORPS Y1, Y1, Y1

#define DENSESUM \
	VADDPS Y1, Y0, Y0;              \
	SUM8;                           \
	VMOVSS X0, (DI);                \
	ADDQ   $4, DI

// func dotF16AVX(y *float32, rows int, w *byte, x *float32, n int)
TEXT ·dotF16AVX(SB), NOSPLIT, $0-40
	MOVQ y+0(FP), DI
	MOVQ rows+8(FP), R10
	MOVQ w+16(FP), SI
	MOVQ x+24(FP), R8
	MOVQ n+32(FP), R9

row:
	DENSEROW

loop:
	VCVTPH2PS   (SI), Y2
	VCVTPH2PS   16(SI), Y3
	VFMADD231PS (BX), Y2, Y0
	VFMADD231PS 32(BX), Y3, Y1
	ADDQ        $32, SI
	ADDQ        $64, BX
	SUBQ        $16, CX
	JNZ         loop
	DENSESUM
	DECQ        R10
	JNZ         row
	VZEROUPPER
	RET

// func dotBF16AVX2(y *float32, rows int, w *byte, x *float32, n int)
TEXT ·dotBF16AVX2(SB), NOSPLIT, $0-40
	MOVQ y+0(FP), DI
	MOVQ rows+8(FP), R10
	MOVQ w+16(FP), SI
	MOVQ x+24(FP), R8
	MOVQ n+32(FP), R9

row:
	DENSEROW

loop:
	VPMOVZXWD   (SI), Y2
	VPMOVZXWD   16(SI), Y3
	VPSLLD      $16, Y2, Y2
	VPSLLD      $16, Y3, Y3
	VFMADD231PS (BX), Y2, Y0
	VFMADD231PS 32(BX), Y3, Y1
	ADDQ        $32, SI
	ADDQ        $64, BX
	SUBQ        $16, CX
	JNZ         loop
	DENSESUM
	DECQ        R10
	JNZ         row
	VZEROUPPER
	RET

// func dotF32AVX(y *float32, rows int, w *byte, x *float32, n int)
TEXT ·dotF32AVX(SB), NOSPLIT, $0-40
	MOVQ y+0(FP), DI
	MOVQ rows+8(FP), R10
	MOVQ w+16(FP), SI
	MOVQ x+24(FP), R8
	MOVQ n+32(FP), R9

row:
	DENSEROW

loop:
	VMOVUPS     (SI), Y2
	VMOVUPS     32(SI), Y3
	VFMADD231PS (BX), Y2, Y0
	VFMADD231PS 32(BX), Y3, Y1
	ADDQ        $64, SI
	ADDQ        $64, BX
	SUBQ        $16, CX
	JNZ         loop
	DENSESUM
	DECQ        R10
	JNZ         row
	VZEROUPPER
	RET

// func dotRowsAVX2(y *float32, rows int, x *float32, ld int, q *float32, n int)
TEXT ·dotRowsAVX2(SB), NOSPLIT, $0-48
	MOVQ y+0(FP), DI
	MOVQ rows+8(FP), R10
	MOVQ x+16(FP), SI
	MOVQ ld+24(FP), R11
	MOVQ q+32(FP), R8
	MOVQ n+40(FP), R9
	SHLQ $2, R11

row:
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	XORL   AX, AX
	MOVQ   R9, CX
	SUBQ   $16, CX
	JLT    tail

loop:
	VMOVUPS     (SI)(AX*4), Y2
	VMOVUPS     32(SI)(AX*4), Y3
	VFMADD231PS (R8)(AX*4), Y2, Y0
	VFMADD231PS 32(R8)(AX*4), Y3, Y1
	ADDQ        $16, AX
	SUBQ        $16, CX
	JGE         loop

tail:
	ADDQ        $16, CX
	JZ          sum
	VMOVUPS     (SI)(AX*4), Y2
	VFMADD231PS (R8)(AX*4), Y2, Y0

sum:
	VADDPS Y1, Y0, Y0
	SUM8
	VMOVSS X0, (DI)
	ADDQ   $4, DI
	ADDQ   R11, SI
	DECQ   R10
	JNZ    row
	VZEROUPPER
	RET

// func addRowsAVX2(y, p *float32, rows int, x *float32, ld, n int)
TEXT ·addRowsAVX2(SB), NOSPLIT, $0-48
	MOVQ y+0(FP), DI
	MOVQ p+8(FP), R8
	MOVQ rows+16(FP), R9
	MOVQ x+24(FP), BX
	MOVQ ld+32(FP), DX
	MOVQ n+40(FP), R10
	SHLQ $2, DX
	SUBQ $32, R10
	JLT  tail

wide:
	VMOVUPS (DI), Y0
	VMOVUPS 32(DI), Y1
	VMOVUPS 64(DI), Y2
	VMOVUPS 96(DI), Y3
	MOVQ    BX, SI
	XORL    CX, CX

wideRow:
	VBROADCASTSS (R8)(CX*4), Y4
	VFMADD231PS  (SI), Y4, Y0
	VFMADD231PS  32(SI), Y4, Y1
	VFMADD231PS  64(SI), Y4, Y2
	VFMADD231PS  96(SI), Y4, Y3
	ADDQ         DX, SI
	INCQ         CX
	CMPQ         CX, R9
	JLT          wideRow

	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, 64(DI)
	VMOVUPS Y3, 96(DI)
	ADDQ    $128, DI
	ADDQ    $128, BX
	SUBQ    $32, R10
	JGE     wide

tail:
	ADDQ $32, R10
	JZ   done

eight:
	VMOVUPS (DI), Y0
	MOVQ    BX, SI
	XORL    CX, CX

eightRow:
	VBROADCASTSS (R8)(CX*4), Y4
	VFMADD231PS  (SI), Y4, Y0
	ADDQ         DX, SI
	INCQ         CX
	CMPQ         CX, R9
	JLT          eightRow

	VMOVUPS Y0, (DI)
	ADDQ    $32, DI
	ADDQ    $32, BX
	SUBQ    $8, R10
	JNZ     eight

done:
	VZEROUPPER
	RET
