// Names beside those of the specification: of <simd/simd.h>, which headers shared with a host use, of the logging
// functions, and of the compiler's own functions that public libraries call.
#pragma once

// ---- <simd/simd.h> ----------------------------------------------------------------------------------

#define MARLIN_SIMD(T)                                                      \
  typedef T simd_##T##1;                                                    \
  typedef metal::T##2 simd_##T##2;                                          \
  typedef metal::T##3 simd_##T##3;                                          \
  typedef metal::T##4 simd_##T##4;                                          \
  typedef metal::T##2 vector_##T##2;                                        \
  typedef metal::T##3 vector_##T##3;                                        \
  typedef metal::T##4 vector_##T##4;                                        \
  typedef metal::packed_##T##2 simd_packed_##T##2;                          \
  typedef metal::packed_##T##4 simd_packed_##T##4;                          \
  namespace simd {                                                          \
  using metal::T##2;                                                        \
  using metal::T##3;                                                        \
  using metal::T##4;                                                        \
  }
MARLIN_SIMD(char)
MARLIN_SIMD(uchar)
MARLIN_SIMD(short)
MARLIN_SIMD(ushort)
MARLIN_SIMD(int)
MARLIN_SIMD(uint)
MARLIN_SIMD(long)
MARLIN_SIMD(ulong)
MARLIN_SIMD(half)
MARLIN_SIMD(float)
#define MARLIN_SIMD_MATRIX(T, C, R)                                         \
  typedef metal::T##C##x##R simd_##T##C##x##R;                              \
  typedef metal::T##C##x##R matrix_##T##C##x##R;                            \
  namespace simd {                                                          \
  using metal::T##C##x##R;                                                  \
  }
MARLIN_SIMD_MATRIX(half, 2, 2)
MARLIN_SIMD_MATRIX(half, 2, 3)
MARLIN_SIMD_MATRIX(half, 2, 4)
MARLIN_SIMD_MATRIX(half, 3, 2)
MARLIN_SIMD_MATRIX(half, 3, 3)
MARLIN_SIMD_MATRIX(half, 3, 4)
MARLIN_SIMD_MATRIX(half, 4, 2)
MARLIN_SIMD_MATRIX(half, 4, 3)
MARLIN_SIMD_MATRIX(half, 4, 4)
MARLIN_SIMD_MATRIX(float, 2, 2)
MARLIN_SIMD_MATRIX(float, 2, 3)
MARLIN_SIMD_MATRIX(float, 2, 4)
MARLIN_SIMD_MATRIX(float, 3, 2)
MARLIN_SIMD_MATRIX(float, 3, 3)
MARLIN_SIMD_MATRIX(float, 3, 4)
MARLIN_SIMD_MATRIX(float, 4, 2)
MARLIN_SIMD_MATRIX(float, 4, 3)
MARLIN_SIMD_MATRIX(float, 4, 4)

// ---- logging ----------------------------------------------------------------------------------------

namespace metal {

enum os_log_type { OS_LOG_TYPE_DEFAULT, OS_LOG_TYPE_INFO, OS_LOG_TYPE_DEBUG, OS_LOG_TYPE_ERROR, OS_LOG_TYPE_FAULT };

// Messages go nowhere.
struct os_log {
  constexpr os_log() {}
  constexpr os_log(const constant char*, const constant char*) {}
#define MARLIN_DEFINE(NAME)                                                 \
  template <class... A>                                                     \
  void NAME(const constant char*, A...) const {}
  MARLIN_DEFINE(log)
  MARLIN_DEFINE(log_debug)
  MARLIN_DEFINE(log_info)
  MARLIN_DEFINE(log_error)
  MARLIN_DEFINE(log_fault)
#undef MARLIN_DEFINE
  template <class... A>
  void log_with_type(os_log_type, const constant char*, A...) const {}
};
#ifndef MARLIN_ADDRESS_SPACES
constexpr os_log os_log_default;
#endif

}  // namespace metal

#ifndef MARLIN_ADDRESS_SPACES

// ---- functions of Apple's compiler ------------------------------------------------------------------

#define __METAL_PRECISE_MATH__ false
#define __METAL_FAST_MATH__ true
#define __METAL_MAYBE_FAST_MATH__ true
#define __METAL_MEMORY_SCOPE_SYSTEM__ 4

#define MARLIN_DEFINE(F) \
  inline float __metal_##F(float x, bool = true) { return metal::F(x); }
MARLIN_DEFINE(acos)
MARLIN_DEFINE(acosh)
MARLIN_DEFINE(asin)
MARLIN_DEFINE(asinh)
MARLIN_DEFINE(atan)
MARLIN_DEFINE(atanh)
MARLIN_DEFINE(ceil)
MARLIN_DEFINE(cos)
MARLIN_DEFINE(cosh)
MARLIN_DEFINE(cospi)
MARLIN_DEFINE(exp)
MARLIN_DEFINE(exp2)
MARLIN_DEFINE(exp10)
MARLIN_DEFINE(floor)
MARLIN_DEFINE(fract)
MARLIN_DEFINE(log)
MARLIN_DEFINE(log2)
MARLIN_DEFINE(log10)
MARLIN_DEFINE(rint)
MARLIN_DEFINE(round)
MARLIN_DEFINE(rsqrt)
MARLIN_DEFINE(sin)
MARLIN_DEFINE(sinh)
MARLIN_DEFINE(sinpi)
MARLIN_DEFINE(sqrt)
MARLIN_DEFINE(tan)
MARLIN_DEFINE(tanh)
MARLIN_DEFINE(tanpi)
MARLIN_DEFINE(trunc)
MARLIN_DEFINE(fabs)
MARLIN_DEFINE(saturate)
MARLIN_DEFINE(sign)
#undef MARLIN_DEFINE
#define MARLIN_DEFINE(F) \
  inline float __metal_##F(float x, float y, bool = true) { return metal::F(x, y); }
MARLIN_DEFINE(atan2)
MARLIN_DEFINE(fmod)
MARLIN_DEFINE(pow)
MARLIN_DEFINE(powr)
MARLIN_DEFINE(nextafter)
MARLIN_DEFINE(divide)
MARLIN_DEFINE(fmin)
MARLIN_DEFINE(fmax)
MARLIN_DEFINE(fdim)
MARLIN_DEFINE(copysign)
#undef MARLIN_DEFINE
#define MARLIN_DEFINE(F) \
  inline float __metal_##F(float x, float y, float z, bool = true) { return metal::F(x, y, z); }
MARLIN_DEFINE(fma)
MARLIN_DEFINE(fmin3)
MARLIN_DEFINE(fmax3)
MARLIN_DEFINE(fmedian3)
MARLIN_DEFINE(clamp)
MARLIN_DEFINE(mix)
#undef MARLIN_DEFINE
inline float __metal_ldexp(float x, int e, bool = true) { return metal::ldexp(x, e); }
inline float __metal_frexp(float x, int* e, bool = true) { return metal::frexp(x, *e); }
inline float __metal_modf(float x, float* whole, bool = true) { return metal::modf(x, *whole); }
inline float __metal_sincos(float x, float* c, bool = true) { return metal::sincos(x, *c); }
inline int __metal_ilogb(float x, bool = true) { return metal::ilogb(x); }
inline bool __metal_isnan(float x, bool = true) { return metal::isnan(x); }
inline bool __metal_isinf(float x, bool = true) { return metal::isinf(x); }
inline bool __metal_isfinite(float x, bool = true) { return metal::isfinite(x); }

#define MARLIN_DEFINE(F) \
  template <class T>     \
  inline T __metal_##F(T x) { return metal::F(x); }
MARLIN_DEFINE(simd_sum)
MARLIN_DEFINE(simd_product)
MARLIN_DEFINE(simd_min)
MARLIN_DEFINE(simd_max)
MARLIN_DEFINE(simd_and)
MARLIN_DEFINE(simd_or)
MARLIN_DEFINE(simd_xor)
MARLIN_DEFINE(simd_prefix_inclusive_sum)
MARLIN_DEFINE(simd_prefix_exclusive_sum)
MARLIN_DEFINE(simd_prefix_inclusive_product)
MARLIN_DEFINE(simd_prefix_exclusive_product)
MARLIN_DEFINE(simd_broadcast_first)
#undef MARLIN_DEFINE
#define MARLIN_DEFINE(F) \
  template <class T>     \
  inline T __metal_##F(T x, ushort at) { return metal::F(x, at); }
MARLIN_DEFINE(simd_broadcast)
MARLIN_DEFINE(simd_shuffle)
MARLIN_DEFINE(simd_shuffle_xor)
MARLIN_DEFINE(simd_shuffle_up)
MARLIN_DEFINE(simd_shuffle_down)
MARLIN_DEFINE(simd_shuffle_rotate_up)
MARLIN_DEFINE(simd_shuffle_rotate_down)
#undef MARLIN_DEFINE
template <class T>
inline T __metal_simd_shuffle_and_fill_up(T x, T fill, ushort by, ushort) {
  return metal::simd_shuffle_and_fill_up(x, fill, by);
}
template <class T>
inline T __metal_simd_shuffle_and_fill_down(T x, T fill, ushort by, ushort) {
  return metal::simd_shuffle_and_fill_down(x, fill, by);
}
// Of the bits, where there is no such operator.
#define MARLIN_DEFINE(F)                                                    \
  inline float __metal_##F(float x) { return metal::as_type<float>(metal::F(metal::as_type<uint>(x))); } \
  inline half __metal_##F(half x) { return metal::as_type<half>(metal::F(metal::as_type<ushort>(x))); }
MARLIN_DEFINE(simd_and)
MARLIN_DEFINE(simd_or)
MARLIN_DEFINE(simd_xor)
#undef MARLIN_DEFINE
inline ushort __metal_get_thread_index_in_simdgroup(ushort) { return ushort(marlin_thread_index_in_simdgroup()); }
inline ushort __metal_get_simdgroup_size(ushort) { return ushort(marlin_threads_per_simdgroup()); }

#endif  // MARLIN_ADDRESS_SPACES
