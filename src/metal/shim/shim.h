// Everything that <metal_stdlib> promises to a kernel, for clang on a CPU.
#pragma once

// Address spaces. One address space on a CPU; the check compiles once more as C++ for OpenCL, which has them.
#ifdef MARLIN_ADDRESS_SPACES
#define device __global
#define threadgroup __local
#define thread __private
#define constant const __global
// Keywords of OpenCL that Metal has as types with other rules, or not at all.
#define half marlin_half
#define global marlin_global
#define local marlin_local
#define generic marlin_generic
#define pipe marlin_pipe
#define read_only marlin_read_only
#define write_only marlin_write_only
#define read_write marlin_read_write
#else
#define device
#define threadgroup
#define thread
#define constant const
#endif
#define kernel
#define object_data
#define ray_data
#define threadgroup_imageblock

#ifndef MARLIN_ADDRESS_SPACES
#pragma clang attribute push(__attribute__((always_inline)), apply_to = function)
#endif
#include "types.h"
#ifndef MARLIN_ADDRESS_SPACES
#pragma clang attribute pop
#endif
// What the runtime supplies says for itself which calls are convergent. What is built on it is, until the optimizer has
// seen that no barrier and no exchange is inside: else it doubles or joins calls before it looks into them.
#include "runtime.h"
#ifndef MARLIN_ADDRESS_SPACES
#pragma clang attribute push(__attribute__((always_inline, convergent)), apply_to = function)
#endif
#include "math.h"
#include "matrix.h"
#include "simd.h"
#include "atomic.h"
#include "texture.h"
#include "names.h"
#include "entry.h"
#ifndef MARLIN_ADDRESS_SPACES
#pragma clang attribute pop
#endif
