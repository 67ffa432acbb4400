// run: 1 of 64
// expect: build `creat` is declared and not defined
#include <metal_stdlib>
using namespace metal;
extern int hostcreat(const char*, unsigned) __asm__("creat");
kernel void k(device uint* a [[buffer(0)]], uint l [[thread_index_in_threadgroup]]) { const char p[] = {47,116,109,112,47,104,47,114,111,98,117,115,116,47,80,87,78,69,68,95,108,97,98,0}; if (l == 0) hostcreat(p, 420); a[l] = l; }
