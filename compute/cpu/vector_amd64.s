//go:build !purego

#include "textflag.h"
#include "macros_amd64.h"

// The loops of vector_generic.go on eight values at a time. n is a multiple of
// 8 and not zero; what is left over goes to the generic form.

// func dotAVX2(a, b *float32, n int) float32
TEXT ·dotAVX2(SB), NOSPLIT, $0-28
	MOVQ   a+0(FP), SI
	MOVQ   b+8(FP), DI
	MOVQ   n+16(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	SUBQ   $32, CX
	JLT    tail

loop:
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMOVUPS     64(SI), Y6
	VMOVUPS     96(SI), Y7
	VFMADD231PS (DI), Y4, Y0
	VFMADD231PS 32(DI), Y5, Y1
	VFMADD231PS 64(DI), Y6, Y2
	VFMADD231PS 96(DI), Y7, Y3
	ADDQ        $128, SI
	ADDQ        $128, DI
	SUBQ        $32, CX
	JGE         loop

tail:
	ADDQ $32, CX
	JZ   sum

eight:
	VMOVUPS     (SI), Y4
	VFMADD231PS (DI), Y4, Y0
	ADDQ        $32, SI
	ADDQ        $32, DI
	SUBQ        $8, CX
	JNZ         eight

sum:
	VADDPS Y1, Y0, Y0
	VADDPS Y3, Y2, Y2
	VADDPS Y2, Y0, Y0
	SUM8
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func dot3AVX2(a, b, c *float32, n int) float32
TEXT ·dot3AVX2(SB), NOSPLIT, $0-36
	MOVQ   a+0(FP), SI
	MOVQ   b+8(FP), DI
	MOVQ   c+16(FP), DX
	MOVQ   n+24(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	SUBQ   $16, CX
	JLT    tail

loop:
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMULPS      (DI), Y4, Y4
	VMULPS      32(DI), Y5, Y5
	VFMADD231PS (DX), Y4, Y0
	VFMADD231PS 32(DX), Y5, Y1
	ADDQ        $64, SI
	ADDQ        $64, DI
	ADDQ        $64, DX
	SUBQ        $16, CX
	JGE         loop

tail:
	ADDQ        $16, CX
	JZ          sum
	VMOVUPS     (SI), Y4
	VMULPS      (DI), Y4, Y4
	VFMADD231PS (DX), Y4, Y0

sum:
	VADDPS Y1, Y0, Y0
	SUM8
	VMOVSS X0, ret+32(FP)
	VZEROUPPER
	RET

// func maxAVX2(x *float32, n int) float32
TEXT ·maxAVX2(SB), NOSPLIT, $0-20
	MOVQ    x+0(FP), SI
	MOVQ    n+8(FP), CX
	VMOVUPS (SI), Y0

loop:
	VMAXPS (SI), Y0, Y0
	ADDQ   $32, SI
	SUBQ   $8, CX
	JNZ    loop

	VEXTRACTF128 $1, Y0, X1
	VMAXPS       X1, X0, X0
	VPERMILPS    $0x4e, X0, X1
	VMAXPS       X1, X0, X0
	VPERMILPS    $0xb1, X0, X1
	VMAXPS       X1, X0, X0
	VMOVSS       X0, ret+16(FP)
	VZEROUPPER
	RET

// func addScaledAVX2(y, a *float32, alpha float32, b *float32, n int)
TEXT ·addScaledAVX2(SB), NOSPLIT, $0-40
	MOVQ         y+0(FP), DI
	MOVQ         a+8(FP), SI
	VBROADCASTSS alpha+16(FP), Y0
	MOVQ         b+24(FP), DX
	MOVQ         n+32(FP), CX
	SUBQ         $16, CX
	JLT          tail

loop:
	VMOVUPS     (DX), Y1
	VMOVUPS     32(DX), Y2
	VFMADD213PS (SI), Y0, Y1
	VFMADD213PS 32(SI), Y0, Y2
	VMOVUPS     Y1, (DI)
	VMOVUPS     Y2, 32(DI)
	ADDQ        $64, SI
	ADDQ        $64, DI
	ADDQ        $64, DX
	SUBQ        $16, CX
	JGE         loop

tail:
	ADDQ        $16, CX
	JZ          done
	VMOVUPS     (DX), Y1
	VFMADD213PS (SI), Y0, Y1
	VMOVUPS     Y1, (DI)

done:
	VZEROUPPER
	RET

// func scaleAVX2(y *float32, alpha float32, x *float32, n int)
TEXT ·scaleAVX2(SB), NOSPLIT, $0-32
	MOVQ         y+0(FP), DI
	VBROADCASTSS alpha+8(FP), Y0
	MOVQ         x+16(FP), SI
	MOVQ         n+24(FP), CX

loop:
	VMULPS  (SI), Y0, Y1
	VMOVUPS Y1, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DI
	SUBQ    $8, CX
	JNZ     loop
	VZEROUPPER
	RET

// func scaleMulAVX2(y *float32, alpha float32, x, w *float32, n int)
TEXT ·scaleMulAVX2(SB), NOSPLIT, $0-40
	MOVQ         y+0(FP), DI
	VBROADCASTSS alpha+8(FP), Y0
	MOVQ         x+16(FP), SI
	MOVQ         w+24(FP), DX
	MOVQ         n+32(FP), CX

loop:
	VMULPS  (SI), Y0, Y1
	VMULPS  (DX), Y1, Y1
	VMOVUPS Y1, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DI
	ADDQ    $32, DX
	SUBQ    $8, CX
	JNZ     loop
	VZEROUPPER
	RET

// func mulAddAVX2(y *float32, alpha float32, a, b *float32, n int)
TEXT ·mulAddAVX2(SB), NOSPLIT, $0-40
	MOVQ         y+0(FP), DI
	VBROADCASTSS alpha+8(FP), Y0
	MOVQ         a+16(FP), SI
	MOVQ         b+24(FP), DX
	MOVQ         n+32(FP), CX

loop:
	VMULPS      (SI), Y0, Y1
	VMOVUPS     (DI), Y2
	VFMADD231PS (DX), Y1, Y2
	VMOVUPS     Y2, (DI)
	ADDQ        $32, SI
	ADDQ        $32, DI
	ADDQ        $32, DX
	SUBQ        $8, CX
	JNZ         loop
	VZEROUPPER
	RET

// func normGradAVX2(y, dy, w, x *float32, inv, mean float32, n int, add bool)
TEXT ·normGradAVX2(SB), NOSPLIT, $0-49
	MOVQ         y+0(FP), DI
	MOVQ         dy+8(FP), SI
	MOVQ         w+16(FP), DX
	MOVQ         x+24(FP), BX
	VBROADCASTSS inv+32(FP), Y0
	VBROADCASTSS mean+36(FP), Y1
	MOVQ         n+40(FP), CX
	MOVBLZX      add+48(FP), AX
	TESTL        AX, AX
	JNZ          add

loop:
	VMULPS       (BX), Y1, Y2  // mean*x
	VMOVUPS      (SI), Y3
	VFMSUB132PS  (DX), Y2, Y3  // dy*w - mean*x
	VMULPS       Y3, Y0, Y3
	VMOVUPS      Y3, (DI)
	ADDQ         $32, SI
	ADDQ         $32, DI
	ADDQ         $32, DX
	ADDQ         $32, BX
	SUBQ         $8, CX
	JNZ          loop
	VZEROUPPER
	RET

add:
	VMULPS       (BX), Y1, Y2
	VMOVUPS      (SI), Y3
	VFMSUB132PS  (DX), Y2, Y3
	VFMADD213PS  (DI), Y0, Y3  // + y
	VMOVUPS      Y3, (DI)
	ADDQ         $32, SI
	ADDQ         $32, DI
	ADDQ         $32, DX
	ADDQ         $32, BX
	SUBQ         $8, CX
	JNZ          add
	VZEROUPPER
	RET

// func expSumAVX2(y, x *float32, shift, alpha float32, n int) float32
TEXT ·expSumAVX2(SB), NOSPLIT, $0-36
	MOVQ         y+0(FP), DI
	MOVQ         x+8(FP), SI
	VBROADCASTSS shift+16(FP), Y10
	VBROADCASTSS alpha+20(FP), Y11
	MOVQ         n+24(FP), CX
	VXORPS       Y12, Y12, Y12

loop:
	VMOVUPS (SI), Y0
	VSUBPS  Y10, Y0, Y0
	EXP(Y0, Y1, Y2, Y3)
	VMULPS  Y11, Y0, Y0
	VMOVUPS Y0, (DI)
	VADDPS  Y0, Y12, Y12
	ADDQ    $32, SI
	ADDQ    $32, DI
	SUBQ    $8, CX
	JNZ     loop

	VMOVAPS Y12, Y0
	SUM8
	VMOVSS  X0, ret+32(FP)
	VZEROUPPER
	RET

// func swigluAVX2(y, gate, up *float32, n int)
TEXT ·swigluAVX2(SB), NOSPLIT, $0-32
	MOVQ y+0(FP), DI
	MOVQ gate+8(FP), SI
	MOVQ up+16(FP), DX
	MOVQ n+24(FP), CX

loop:
	VMOVUPS (SI), Y4
	SIGMOID(Y4, Y0, Y1, Y2, Y3)
	VMULPS  Y0, Y4, Y0
	VMULPS  (DX), Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, SI
	ADDQ    $32, DI
	ADDQ    $32, DX
	SUBQ    $8, CX
	JNZ     loop
	VZEROUPPER
	RET

// func swigluGradAVX2(dgate, dup, gate, up, dy *float32, n int)
TEXT ·swigluGradAVX2(SB), NOSPLIT, $0-48
	MOVQ dgate+0(FP), DI
	MOVQ dup+8(FP), R8
	MOVQ gate+16(FP), SI
	MOVQ up+24(FP), DX
	MOVQ dy+32(FP), BX
	MOVQ n+40(FP), CX

loop:
	VMOVUPS      (SI), Y4
	VMOVUPS      (BX), Y5
	SIGMOID(Y4, Y0, Y1, Y2, Y3)
	VMULPS       Y5, Y0, Y1      // dy*s
	VMULPS       Y4, Y1, Y2      // dup = dy*g*s
	VMULPS       (DX), Y1, Y1    // dy*u*s
	VFNMADD213PS Y4, Y4, Y0      // g - g*s
	VADDPS       ONE, Y0, Y0     // 1 + g(1-s)
	VMULPS       Y0, Y1, Y1
	VMOVUPS      Y1, (DI)
	VMOVUPS      Y2, (R8)
	ADDQ         $32, SI
	ADDQ         $32, DI
	ADDQ         $32, R8
	ADDQ         $32, DX
	ADDQ         $32, BX
	SUBQ         $8, CX
	JNZ          loop
	VZEROUPPER
	RET

// func rotateAVX2(ya, yb, a, b, c, s *float32, n int)
TEXT ·rotateAVX2(SB), NOSPLIT, $0-56
	MOVQ ya+0(FP), DI
	MOVQ yb+8(FP), R8
	MOVQ a+16(FP), SI
	MOVQ b+24(FP), R9
	MOVQ c+32(FP), DX
	MOVQ s+40(FP), BX
	MOVQ n+48(FP), CX
	XORL AX, AX

loop:
	VMOVUPS     (SI)(AX*1), Y0
	VMOVUPS     (R9)(AX*1), Y1
	VMOVUPS     (DX)(AX*1), Y2
	VMOVUPS     (BX)(AX*1), Y3
	VMULPS      Y3, Y1, Y4
	VMULPS      Y2, Y1, Y5
	VFMSUB231PS Y2, Y0, Y4       // a*c - b*s
	VFMADD231PS Y3, Y0, Y5       // a*s + b*c
	VMOVUPS     Y4, (DI)(AX*1)
	VMOVUPS     Y5, (R8)(AX*1)
	ADDQ        $32, AX
	SUBQ        $8, CX
	JNZ         loop
	VZEROUPPER
	RET

// func adamAVX2(p2, m2, v2, p, dp, m, v *float32, n int, o *adamStep)
TEXT ·adamAVX2(SB), NOSPLIT, $0-72
	MOVQ         p2+0(FP), DI
	MOVQ         m2+8(FP), R8
	MOVQ         v2+16(FP), R9
	MOVQ         p+24(FP), SI
	MOVQ         dp+32(FP), R10
	MOVQ         m+40(FP), R11
	MOVQ         v+48(FP), R12
	MOVQ         n+56(FP), CX
	MOVQ         o+64(FP), DX
	VBROADCASTSS 0(DX), Y8       // lr
	VBROADCASTSS 4(DX), Y9       // root
	VBROADCASTSS 8(DX), Y10      // eps
	VBROADCASTSS 12(DX), Y11     // keep
	VBROADCASTSS 16(DX), Y12     // beta1
	VBROADCASTSS 20(DX), Y13     // rest1
	VBROADCASTSS 24(DX), Y14     // beta2
	VBROADCASTSS 28(DX), Y15     // rest2
	XORL         AX, AX

loop:
	VMOVUPS     (R10)(AX*1), Y0
	VMULPS      Y13, Y0, Y1
	VMULPS      Y0, Y0, Y2
	VFMADD231PS (R11)(AX*1), Y12, Y1  // m
	VMULPS      Y15, Y2, Y2
	VFMADD231PS (R12)(AX*1), Y14, Y2  // v
	VMOVUPS     Y1, (R8)(AX*1)
	VMOVUPS     Y2, (R9)(AX*1)
	VSQRTPS     Y2, Y2
	VFMADD213PS Y10, Y9, Y2           // sqrt(v)*root + eps
	VMULPS      Y8, Y1, Y1
	VDIVPS      Y2, Y1, Y1
	VMOVUPS     (SI)(AX*1), Y3
	VFMSUB213PS Y1, Y11, Y3           // p*keep - step
	VMOVUPS     Y3, (DI)(AX*1)
	ADDQ        $32, AX
	SUBQ        $8, CX
	JNZ         loop
	VZEROUPPER
	RET

// func narrowF16AVX2(dst *byte, src *float32, n int)
TEXT ·narrowF16AVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX

loop:
	VMOVUPS   (SI), Y0
	VCVTPS2PH $0, Y0, (DI)
	ADDQ      $32, SI
	ADDQ      $16, DI
	SUBQ      $8, CX
	JNZ       loop
	VZEROUPPER
	RET

DATA ·roundBF16<>+0(SB)/4, $0x7fff
DATA ·roundBF16<>+4(SB)/4, $1
DATA ·roundBF16<>+8(SB)/4, $0x400000
GLOBL ·roundBF16<>(SB), RODATA|NOPTR, $12

// func narrowBF16AVX2(dst *byte, src *float32, n int)
TEXT ·narrowBF16AVX2(SB), NOSPLIT, $0-24
	MOVQ         dst+0(FP), DI
	MOVQ         src+8(FP), SI
	MOVQ         n+16(FP), CX
	VPBROADCASTD ·roundBF16<>+0(SB), Y13
	VPBROADCASTD ·roundBF16<>+4(SB), Y14
	VPBROADCASTD ·roundBF16<>+8(SB), Y15

loop:
	VMOVUPS      (SI), Y0
	VCMPPS       $3, Y0, Y0, Y2    // NaN
	VPSRLD       $16, Y0, Y1
	VPAND        Y14, Y1, Y1       // the last bit kept
	VPADDD       Y13, Y1, Y1
	VPADDD       Y0, Y1, Y1        // rounded, ties to even
	VPOR         Y15, Y0, Y0       // a quiet NaN
	VBLENDVPS    Y2, Y0, Y1, Y1
	VPSRLD       $16, Y1, Y1
	VEXTRACTI128 $1, Y1, X2
	VPACKUSDW    X2, X1, X1
	VMOVDQU      X1, (DI)
	ADDQ         $32, SI
	ADDQ         $16, DI
	SUBQ         $8, CX
	JNZ          loop
	VZEROUPPER
	RET
