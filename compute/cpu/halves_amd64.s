//go:build !purego

#include "textflag.h"
#include "macros_amd64.h"

// Eight columns of a row of x at byte offset p, times those of q in Y4, added to acc.
#define DOTHALF(p, t, acc) \
	VCVTPH2PS   p, t;      \
	VFMADD231PS t, Y4, acc

// func dotHalvesAVX2(y *float32, rows int, x *byte, ld int, q *float32, n int)
TEXT ·dotHalvesAVX2(SB), NOSPLIT, $0-48
	MOVQ y+0(FP), DI
	MOVQ rows+8(FP), R10
	MOVQ x+16(FP), SI
	MOVQ ld+24(FP), R11
	MOVQ q+32(FP), R8
	MOVQ n+40(FP), R9
	SHLQ $1, R11                // bytes from row to row
	LEAQ (R11)(R11*2), R12
	SUBQ $4, R10
	JLT  tail

four:
	// Four rows at a time: their sums do not wait for each other.
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	MOVQ   SI, BX
	XORL   AX, AX

fourColumns:
	VMOVUPS (R8)(AX*4), Y4
	DOTHALF((BX), Y5, Y0)
	DOTHALF((BX)(R11*1), Y6, Y1)
	DOTHALF((BX)(R11*2), Y7, Y2)
	DOTHALF((BX)(R12*1), Y8, Y3)
	ADDQ    $16, BX
	ADDQ    $8, AX
	CMPQ    AX, R9
	JLT     fourColumns

	VHADDPS      Y1, Y0, Y0
	VHADDPS      Y3, Y2, Y2
	VHADDPS      Y2, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPS       X1, X0, X0
	VMOVUPS      X0, (DI)
	ADDQ         $16, DI
	LEAQ         (SI)(R11*4), SI
	SUBQ         $4, R10
	JGE          four

tail:
	ADDQ $4, R10
	JZ   done

one:
	VXORPS Y0, Y0, Y0
	MOVQ   SI, BX
	XORL   AX, AX

oneColumns:
	VMOVUPS (R8)(AX*4), Y4
	DOTHALF((BX), Y5, Y0)
	ADDQ    $16, BX
	ADDQ    $8, AX
	CMPQ    AX, R9
	JLT     oneColumns

	SUM8
	VMOVSS X0, (DI)
	ADDQ   $4, DI
	ADDQ   R11, SI
	DECQ   R10
	JNZ    one

done:
	VZEROUPPER
	RET

#define ADDHALF(p, t, acc) \
	VCVTPH2PS   p, t;       \
	VFMADD231PS t, Y15, acc

// func addHalvesAVX2(y, p *float32, rows int, x *byte, ld, n int)
TEXT ·addHalvesAVX2(SB), NOSPLIT, $0-48
	MOVQ y+0(FP), DI
	MOVQ p+8(FP), R8
	MOVQ rows+16(FP), R9
	MOVQ x+24(FP), BX
	MOVQ ld+32(FP), DX
	MOVQ n+40(FP), R10
	SHLQ $1, DX
	SUBQ $64, R10
	JLT  tail

wide:
	VMOVUPS (DI), Y0
	VMOVUPS 32(DI), Y1
	VMOVUPS 64(DI), Y2
	VMOVUPS 96(DI), Y3
	VMOVUPS 128(DI), Y4
	VMOVUPS 160(DI), Y5
	VMOVUPS 192(DI), Y6
	VMOVUPS 224(DI), Y7
	MOVQ    BX, SI
	XORL    CX, CX

wideRow:
	VBROADCASTSS (R8)(CX*4), Y15
	ADDHALF((SI), Y8, Y0)
	ADDHALF(16(SI), Y9, Y1)
	ADDHALF(32(SI), Y10, Y2)
	ADDHALF(48(SI), Y11, Y3)
	ADDHALF(64(SI), Y12, Y4)
	ADDHALF(80(SI), Y13, Y5)
	ADDHALF(96(SI), Y14, Y6)
	ADDHALF(112(SI), Y8, Y7)
	ADDQ         DX, SI
	INCQ         CX
	CMPQ         CX, R9
	JLT          wideRow

	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, 64(DI)
	VMOVUPS Y3, 96(DI)
	VMOVUPS Y4, 128(DI)
	VMOVUPS Y5, 160(DI)
	VMOVUPS Y6, 192(DI)
	VMOVUPS Y7, 224(DI)
	ADDQ    $256, DI
	ADDQ    $128, BX
	SUBQ    $64, R10
	JGE     wide

tail:
	ADDQ $64, R10
	JZ   done

eight:
	VMOVUPS (DI), Y0
	MOVQ    BX, SI
	XORL    CX, CX

eightRow:
	VBROADCASTSS (R8)(CX*4), Y15
	ADDHALF((SI), Y8, Y0)
	ADDQ         DX, SI
	INCQ         CX
	CMPQ         CX, R9
	JLT          eightRow

	VMOVUPS Y0, (DI)
	ADDQ    $32, DI
	ADDQ    $16, BX
	SUBQ    $8, R10
	JNZ     eight

done:
	VZEROUPPER
	RET
