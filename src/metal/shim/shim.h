// Everything that <metal_stdlib> promises to a kernel, for clang on a CPU.
#pragma once

// Address spaces. One address space on a CPU; the check compiles once more as C++ for OpenCL, which has them.
#ifdef MARLIN_ADDRESS_SPACES
#define device __global
#define threadgroup __local
#define thread __private
#define constant const __global
#define MARLIN_INLINE
#else
#define device
#define threadgroup
#define thread
#define constant const
#define MARLIN_INLINE __attribute__((always_inline))
#endif
#define kernel
#define object_data
#define ray_data
#define threadgroup_imageblock

#ifndef MARLIN_ADDRESS_SPACES
#pragma clang attribute push(__attribute__((always_inline)), apply_to = function)
#endif
#include "types.h"
#include "runtime.h"
#include "math.h"
#include "matrix.h"
#include "simd.h"
#include "atomic.h"
#include "texture.h"
#include "entry.h"
#ifndef MARLIN_ADDRESS_SPACES
#pragma clang attribute pop
#endif
