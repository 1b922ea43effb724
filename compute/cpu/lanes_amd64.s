//go:build !purego

#include "textflag.h"
#include "macros_amd64.h"

// Attention's loops over panels of lanes, see attention.go.

// func softmaxLanesAVX2(s *float32, n, w int, scale float32, st *lanes)
//
// Eight lanes at a time. st: lo, hi, top, sum, keep at 0, 128, 256, 384, 512.
TEXT ·softmaxLanesAVX2(SB), NOSPLIT, $0-40
	MOVQ         n+8(FP), R8
	MOVQ         w+16(FP), R9
	LEAQ         (R9*4), R10         // bytes from key to key
	SHRQ         $3, R9
	VBROADCASTSS scale+24(FP), Y15
	MOVQ         st+32(FP), DX
	MOVQ         s+0(FP), SI

part:
	VMOVDQU  (DX), Y13
	VPSUBD   IONE, Y13, Y13     // a key counts when j > lo-1 and hi > j
	VMOVDQU  128(DX), Y14
	VMOVUPS  256(DX), Y12       // top so far
	VMOVAPS  Y12, Y11
	VPXOR    Y10, Y10, Y10      // j
	MOVQ     SI, DI
	MOVQ     R8, CX

top:
	VPCMPGTD  Y13, Y10, Y0
	VPCMPGTD  Y10, Y14, Y1
	VPAND     Y1, Y0, Y0
	VMULPS    (DI), Y15, Y2
	VMOVUPS   EMPTY, Y3
	VBLENDVPS Y0, Y2, Y3, Y2
	VMAXPS    Y2, Y12, Y12
	VPADDD    IONE, Y10, Y10
	ADDQ      R10, DI
	DECQ      CX
	JNZ       top

	VSUBPS  Y12, Y11, Y0
	EXP(Y0, Y1, Y2, Y3)
	VMOVUPS Y0, 512(DX)         // keep
	VMULPS  384(DX), Y0, Y11    // sum
	VMOVUPS Y12, 256(DX)
	VPXOR   Y10, Y10, Y10
	MOVQ    SI, DI
	MOVQ    R8, CX

exp:
	VMOVUPS     (DI), Y0
	VFMSUB213PS Y12, Y15, Y0    // s*scale - top
	EXP(Y0, Y1, Y2, Y3)
	VPCMPGTD    Y13, Y10, Y4
	VPCMPGTD    Y10, Y14, Y5
	VPAND       Y5, Y4, Y4
	VANDPS      Y4, Y0, Y0
	VMOVUPS     Y0, (DI)
	VADDPS      Y0, Y11, Y11
	VPADDD      IONE, Y10, Y10
	ADDQ        R10, DI
	DECQ        CX
	JNZ         exp

	VMOVUPS Y11, 384(DX)
	ADDQ    $32, DX
	ADDQ    $32, SI
	DECQ    R9
	JNZ     part
	VZEROUPPER
	RET

// func gradLanesAVX2(s, dp *float32, n, w int, scale float32, st *lanes)
TEXT ·gradLanesAVX2(SB), NOSPLIT, $0-48
	MOVQ         s+0(FP), SI
	MOVQ         dp+8(FP), BX
	MOVQ         n+16(FP), R8
	MOVQ         w+24(FP), R9
	LEAQ         (R9*4), R10
	SHRQ         $3, R9
	VBROADCASTSS scale+32(FP), Y15
	MOVQ         st+40(FP), DX

part:
	VMOVDQU (DX), Y13
	VPSUBD  IONE, Y13, Y13
	VMOVDQU 128(DX), Y14
	VMOVUPS 256(DX), Y12        // lse
	VMOVUPS 512(DX), Y11        // delta
	VPXOR   Y10, Y10, Y10
	XORL    AX, AX
	MOVQ    R8, CX

loop:
	VMOVUPS     (SI)(AX*1), Y0
	VFMSUB213PS Y12, Y15, Y0
	EXP(Y0, Y1, Y2, Y3)
	VPCMPGTD    Y13, Y10, Y4
	VPCMPGTD    Y10, Y14, Y5
	VPAND       Y5, Y4, Y4
	VANDPS      Y4, Y0, Y0
	VMOVUPS     (BX)(AX*1), Y6
	VSUBPS      Y11, Y6, Y6
	VMULPS      Y0, Y6, Y6
	VMOVUPS     Y0, (SI)(AX*1)
	VMOVUPS     Y6, (BX)(AX*1)
	VPADDD      IONE, Y10, Y10
	ADDQ        R10, AX
	DECQ        CX
	JNZ         loop

	ADDQ $32, DX
	ADDQ $32, SI
	ADDQ $32, BX
	DECQ R9
	JNZ  part
	VZEROUPPER
	RET

// func scaleLanesAVX2(x *float32, n, w int, keep *[maxLanes]float32)
TEXT ·scaleLanesAVX2(SB), NOSPLIT, $0-32
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), R8
	MOVQ w+16(FP), R9
	LEAQ (R9*4), R10
	SHRQ $4, R9
	MOVQ keep+24(FP), DX

part:
	VMOVUPS (DX), Y0
	VMOVUPS 32(DX), Y1
	MOVQ    SI, DI
	MOVQ    R8, CX

loop:
	VMULPS  (DI), Y0, Y2
	VMULPS  32(DI), Y1, Y3
	VMOVUPS Y2, (DI)
	VMOVUPS Y3, 32(DI)
	ADDQ    R10, DI
	DECQ    CX
	JNZ     loop

	ADDQ $64, DX
	ADDQ $64, SI
	DECQ R9
	JNZ  part
	VZEROUPPER
	RET
