// What a kernel asks of whoever runs it. These names are the conventions of the LLVM IR too (see ir.rs).
#pragma once

#ifdef MARLIN_ADDRESS_SPACES
#define MARLIN_PURE
#define MARLIN_TOGETHER
#else
// Pure: the same value whenever one thread asks, so that calls may be merged.
#define MARLIN_PURE __attribute__((const, nothrow))
// Together: the optimizer must not make the call depend on more conditions than it does.
#define MARLIN_TOGETHER __attribute__((convergent, nothrow))
#endif

// Stands for "this call"; the driver puts a number of its own in each call of the IR.
#define MARLIN_SITE 0x6d61726cu

struct marlin_exchange {
  ulong active;  // Bit per lane that takes part.
  ulong padding[7];
  uchar slot[64][64];
};

struct marlin_texture {
  uint* texels;  // Four words per texel, whatever the format.
  uint width, height, depth, layers;
};

extern "C" {
MARLIN_PURE uint marlin_thread_position_in_grid(uint dimension);
MARLIN_PURE uint marlin_thread_position_in_threadgroup(uint dimension);
MARLIN_PURE uint marlin_threadgroup_position_in_grid(uint dimension);
MARLIN_PURE uint marlin_threads_per_grid(uint dimension);
MARLIN_PURE uint marlin_threads_per_threadgroup(uint dimension);
MARLIN_PURE uint marlin_threadgroups_per_grid(uint dimension);
MARLIN_PURE uint marlin_thread_index_in_threadgroup();
MARLIN_PURE uint marlin_thread_index_in_simdgroup();
MARLIN_PURE uint marlin_simdgroup_index_in_threadgroup();
MARLIN_PURE uint marlin_threads_per_simdgroup();
MARLIN_PURE uint marlin_simdgroups_per_threadgroup();

// The threadgroup variable number `id` of the text, and the memory bound at [[threadgroup(index)]].
MARLIN_PURE threadgroup void* marlin_threadgroup_variable(uint id, ulong size, ulong alignment);
MARLIN_PURE void* marlin_threadgroup_argument(uint index);
MARLIN_PURE marlin_texture* marlin_texture_argument(uint index);

MARLIN_TOGETHER void marlin_threadgroup_barrier(uint flags, uint site);
MARLIN_TOGETHER void marlin_simdgroup_barrier(uint flags, uint site);
MARLIN_TOGETHER const marlin_exchange* marlin_simd_exchange(const void* value, uint size, uint site);

// The kernel uses what this runtime does not have; does not return.
__attribute__((noreturn)) void marlin_unsupported(uint what);
}

#define MARLIN_UNSUPPORTED_SAMPLE 1u
#define MARLIN_UNSUPPORTED_MATRIX_WIDTH 2u
