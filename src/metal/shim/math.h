// Common, relational, integer, math and geometric functions.
//
// Scalars are plain overloads, so that an ambiguous call stays ambiguous; vectors go element by element.
#pragma once

namespace marlin {

// Apple's library has no math functions of bfloat; programs add them to namespace metal. Here they are templates, to which
// the program's own function of the same parameters is preferred.
#define MARLIN_PLAIN
#define MARLIN_IF_BFLOAT(T) template <class T, class = metal::enable_if_t<metal::is_same_v<T, bfloat>>>
#define MARLIN_FOR_FLOATS(M) M(MARLIN_PLAIN, half) M(MARLIN_PLAIN, float) M(MARLIN_IF_BFLOAT(T), T)
#define MARLIN_FOR_INTEGERS(M) M(char) M(int8_t) M(uchar) M(short) M(ushort) M(int) M(uint) M(long) M(ulong)

}  // namespace marlin

namespace metal {

// Packed vectors convert to vectors on the way into a function.
#define MARLIN_PACKED_1(F)                                                  \
  template <class T, int N>                                                 \
  inline auto F(packed_vec<T, N> a)->decltype(F(vec<T, N>(a))) {            \
    return F(vec<T, N>(a));                                                 \
  }
#define MARLIN_PACKED_2(F)                                                  \
  template <class T, int N>                                                 \
  inline auto F(packed_vec<T, N> a, marlin::same_t<vec<T, N>> b)->decltype(F(vec<T, N>(a), b)) { \
    return F(vec<T, N>(a), b);                                              \
  }                                                                         \
  template <class T, int N>                                                 \
  inline auto F(vec<T, N> a, packed_vec<T, N> b)->decltype(F(a, vec<T, N>(b))) { \
    return F(a, vec<T, N>(b));                                              \
  }

// Vector forms of a scalar function of one, two and three arguments. Beside vectors of one type, scalars
// are taken where they convert to the vector's type.
#define MARLIN_VECTORIZE_1(F)                                               \
  template <class T, int N>                                                 \
  inline auto F(vec<T, N> a)->vec<decltype(F(T())), N> {                    \
    vec<decltype(F(T())), N> r;                                             \
    for (int i = 0; i < N; i++) r[i] = F(T(a.v[i]));                        \
    return r;                                                               \
  }                                                                         \
  MARLIN_PACKED_1(F)
#define MARLIN_VECTORIZE_2(F)                                               \
  template <class T, int N>                                                 \
  inline vec<T, N> F(vec<T, N> a, vec<T, N> b) {                            \
    vec<T, N> r;                                                            \
    for (int i = 0; i < N; i++) r[i] = F(T(a.v[i]), T(b.v[i]));             \
    return r;                                                               \
  }                                                                         \
  template <class T, int N>                                                 \
  inline vec<T, N> F(vec<T, N> a, marlin::same_t<T> b) {                    \
    return F(a, vec<T, N>(b));                                              \
  }                                                                         \
  template <class T, int N>                                                 \
  inline vec<T, N> F(marlin::same_t<T> a, vec<T, N> b) {                    \
    return F(vec<T, N>(a), b);                                              \
  }                                                                         \
  MARLIN_PACKED_2(F)
#define MARLIN_VECTORIZE_3(F)                                               \
  template <class T, int N>                                                 \
  inline vec<T, N> F(vec<T, N> a, marlin::same_t<vec<T, N>> b, marlin::same_t<vec<T, N>> c) { \
    vec<T, N> r;                                                            \
    for (int i = 0; i < N; i++) r[i] = F(T(a.v[i]), T(b.v[i]), T(c.v[i]));  \
    return r;                                                               \
  }                                                                         \
  template <class T, int N>                                                 \
  inline vec<T, N> F(marlin::same_t<T> a, vec<T, N> b, marlin::same_t<vec<T, N>> c) { \
    return F(vec<T, N>(a), b, c);                                           \
  }

// ---- min, max, clamp, abs ---------------------------------------------------------------------------

#define MARLIN_DEFINE(T)                                                    \
  inline constexpr T min(T a, T b) { return b < a ? b : a; }                \
  inline constexpr T max(T a, T b) { return a < b ? b : a; }                \
  inline constexpr T clamp(T x, T low, T high) { return min(max(x, low), high); } \
  inline constexpr T min3(T a, T b, T c) { return min(a, min(b, c)); }      \
  inline constexpr T max3(T a, T b, T c) { return max(a, max(b, c)); }      \
  inline constexpr T median3(T a, T b, T c) { return max(min(a, b), min(max(a, b), c)); }
MARLIN_FOR_INTEGERS(MARLIN_DEFINE)
#undef MARLIN_DEFINE
// A number wins over a NaN, as IEEE 754-2008 minNum and maxNum say.
#define MARLIN_DEFINE(HEAD, T)                                              \
  HEAD inline constexpr T fmin(T a, T b) { return a != a ? b : b < a ? b : a; }  \
  HEAD inline constexpr T fmax(T a, T b) { return a != a ? b : a < b ? b : a; }  \
  HEAD inline constexpr T min(T a, T b) { return fmin(a, b); }                   \
  HEAD inline constexpr T max(T a, T b) { return fmax(a, b); }                   \
  HEAD inline constexpr T clamp(T x, T low, T high) { return min(max(x, low), high); } \
  HEAD inline constexpr T min3(T a, T b, T c) { return min(a, min(b, c)); }      \
  HEAD inline constexpr T max3(T a, T b, T c) { return max(a, max(b, c)); }      \
  HEAD inline constexpr T fmin3(T a, T b, T c) { return min(a, min(b, c)); }     \
  HEAD inline constexpr T fmax3(T a, T b, T c) { return max(a, max(b, c)); }     \
  HEAD inline constexpr T median3(T a, T b, T c) { return max(min(a, b), min(max(a, b), c)); } \
  HEAD inline constexpr T fmedian3(T a, T b, T c) { return median3(a, b, c); }   \
  HEAD inline constexpr T fabs(T x) { return x < T(0) || (x == T(0)) ? (x == T(0) ? T(0) : T(-x)) : x; } \
  HEAD inline constexpr T abs(T x) { return fabs(x); }                           \
  HEAD inline constexpr T saturate(T x) { return clamp(x, T(0), T(1)); }         \
  HEAD inline constexpr T mix(T a, T b, T t) { return T(a + T(T(b - a) * t)); }  \
  HEAD inline constexpr T step(T edge, T x) { return x < edge ? T(0) : T(1); }   \
  HEAD inline constexpr T sign(T x) { return x > T(0) ? T(1) : x < T(0) ? T(-1) : T(0); } \
  HEAD inline constexpr T smoothstep(T low, T high, T x) {                       \
    T t = saturate(T((x - low) / (high - low)));                            \
    return T(t * t * (T(3) - T(2) * t));                                    \
  }                                                                         \
  HEAD inline bool isnan(T x) { return x != x; }                                 \
  HEAD inline bool isinf(T x) { return __builtin_fabsf(float(x)) == __builtin_inff(); } \
  HEAD inline bool isfinite(T x) { return __builtin_fabsf(float(x)) < __builtin_inff(); } \
  HEAD inline bool isnormal(T x) { return isfinite(x) && fabs(x) >= numeric_limits<T>::min(); } \
  HEAD inline bool isordered(T a, T b) { return !isnan(a) && !isnan(b); }        \
  HEAD inline bool isunordered(T a, T b) { return isnan(a) || isnan(b); }        \
  HEAD inline bool signbit(T x) { return __builtin_signbit(float(x)); }          \
  HEAD inline T copysign(T a, T b) { return T(__builtin_copysignf(float(a), float(b))); } \
  HEAD inline T fdim(T a, T b) { return a > b ? T(a - b) : T(0); }               \
  HEAD inline T frexp(T x, thread int& e) { return T(__builtin_frexpf(float(x), &e)); } \
  HEAD inline T ldexp(T x, int e) { return T(__builtin_ldexpf(float(x), e)); }   \
  HEAD inline int ilogb(T x) { return __builtin_ilogbf(float(x)); }              \
  HEAD inline T modf(T x, thread T& whole) {                                     \
    whole = T(__builtin_truncf(float(x)));                                  \
    return T(x - whole);                                                    \
  }                                                                         \
  HEAD inline T sincos(T x, thread T& c) {                                       \
    c = T(__builtin_cosf(float(x)));                                        \
    return T(__builtin_sinf(float(x)));                                     \
  }
MARLIN_FOR_FLOATS(MARLIN_DEFINE)
#undef MARLIN_DEFINE

#define MARLIN_DEFINE(T)                                                    \
  inline constexpr T abs(T x) { return x < 0 ? T(-x) : x; }
MARLIN_DEFINE(char)
MARLIN_DEFINE(int8_t)
MARLIN_DEFINE(short)
MARLIN_DEFINE(int)
MARLIN_DEFINE(long)
#undef MARLIN_DEFINE
#define MARLIN_DEFINE(T)                                                    \
  inline constexpr T abs(T x) { return x; }
MARLIN_DEFINE(uchar)
MARLIN_DEFINE(ushort)
MARLIN_DEFINE(uint)
MARLIN_DEFINE(ulong)
#undef MARLIN_DEFINE

MARLIN_VECTORIZE_2(min)
MARLIN_VECTORIZE_2(max)
MARLIN_VECTORIZE_2(fmin)
MARLIN_VECTORIZE_2(fmax)
MARLIN_VECTORIZE_3(clamp)
MARLIN_VECTORIZE_3(min3)
MARLIN_VECTORIZE_3(max3)
MARLIN_VECTORIZE_3(median3)
MARLIN_VECTORIZE_1(abs)
MARLIN_VECTORIZE_1(fabs)
MARLIN_VECTORIZE_1(saturate)
MARLIN_VECTORIZE_1(sign)
MARLIN_VECTORIZE_2(step)
MARLIN_VECTORIZE_2(fdim)
MARLIN_VECTORIZE_2(copysign)
MARLIN_VECTORIZE_3(mix)
template <class T, int N>
inline vec<T, N> smoothstep(vec<T, N> low, vec<T, N> high, vec<T, N> x) {
  vec<T, N> r;
  for (int i = 0; i < N; i++) r[i] = smoothstep(T(low.v[i]), T(high.v[i]), T(x.v[i]));
  return r;
}
template <class T, int N>
inline vec<T, N> smoothstep(marlin::same_t<T> low, marlin::same_t<T> high, vec<T, N> x) {
  return smoothstep(vec<T, N>(low), vec<T, N>(high), x);
}
MARLIN_VECTORIZE_1(isnan)
MARLIN_VECTORIZE_1(isinf)
MARLIN_VECTORIZE_1(isfinite)
MARLIN_VECTORIZE_1(isnormal)
MARLIN_VECTORIZE_1(signbit)
MARLIN_VECTORIZE_1(ilogb)
template <class T, int N>
inline vec<T, N> ldexp(vec<T, N> x, vec<int, N> e) {
  vec<T, N> r;
  for (int i = 0; i < N; i++) r[i] = ldexp(T(x.v[i]), e.v[i]);
  return r;
}
template <class T, int N>
inline vec<T, N> frexp(vec<T, N> x, thread vec<int, N>& e) {
  vec<T, N> r;
  for (int i = 0; i < N; i++) {
    int ei;
    r[i] = frexp(T(x.v[i]), ei);
    e[i] = ei;
  }
  return r;
}
template <class T, int N>
inline vec<T, N> modf(vec<T, N> x, thread vec<T, N>& whole) {
  vec<T, N> r;
  for (int i = 0; i < N; i++) {
    T w;
    r[i] = modf(T(x.v[i]), w);
    whole[i] = w;
  }
  return r;
}

template <class T>
inline T select(T a, T b, bool c) {
  return c ? b : a;
}
template <class T, int N>
inline vec<T, N> select(vec<T, N> a, marlin::same_t<vec<T, N>> b, vec<bool, N> c) {
  vec<T, N> r;
  for (int i = 0; i < N; i++) r[i] = c.v[i] ? T(b.v[i]) : T(a.v[i]);
  return r;
}
inline bool all(bool x) { return x; }
inline bool any(bool x) { return x; }
template <int N>
inline bool all(vec<bool, N> x) {
  bool r = true;
  for (int i = 0; i < N; i++) r = r && x.v[i];
  return r;
}
template <int N>
inline bool any(vec<bool, N> x) {
  bool r = false;
  for (int i = 0; i < N; i++) r = r || x.v[i];
  return r;
}

// ---- math functions: computed in float, rounded to the type -----------------------------------------

#define MARLIN_MATH_1(F, EXPRESSION)                                        \
  inline float F(float x) { return EXPRESSION; }                            \
  inline half F(half h) {                                                   \
    float x = float(h);                                                     \
    return half(EXPRESSION);                                                \
  }                                                                         \
  MARLIN_IF_BFLOAT(B) inline B F(B h) {                                     \
    float x = float(h);                                                     \
    return B(EXPRESSION);                                                   \
  }                                                                         \
  MARLIN_VECTORIZE_1(F)
MARLIN_MATH_1(acos, __builtin_acosf(x))
MARLIN_MATH_1(acosh, __builtin_acoshf(x))
MARLIN_MATH_1(asin, __builtin_asinf(x))
MARLIN_MATH_1(asinh, __builtin_asinhf(x))
MARLIN_MATH_1(atan, __builtin_atanf(x))
MARLIN_MATH_1(atanh, __builtin_atanhf(x))
MARLIN_MATH_1(ceil, __builtin_ceilf(x))
MARLIN_MATH_1(cos, __builtin_cosf(x))
MARLIN_MATH_1(cosh, __builtin_coshf(x))
MARLIN_MATH_1(cospi, __builtin_cosf(x * 3.14159265358979323846f))
MARLIN_MATH_1(exp, __builtin_expf(x))
MARLIN_MATH_1(exp2, __builtin_exp2f(x))
MARLIN_MATH_1(exp10, __builtin_exp2f(x * 3.32192809488736234787f))
MARLIN_MATH_1(floor, __builtin_floorf(x))
MARLIN_MATH_1(fract, (x - __builtin_floorf(x)))
MARLIN_MATH_1(log, __builtin_logf(x))
MARLIN_MATH_1(log2, __builtin_log2f(x))
MARLIN_MATH_1(log10, __builtin_log10f(x))
MARLIN_MATH_1(rint, __builtin_rintf(x))
MARLIN_MATH_1(round, __builtin_roundf(x))
MARLIN_MATH_1(rsqrt, (1.0f / __builtin_sqrtf(x)))
MARLIN_MATH_1(sin, __builtin_sinf(x))
MARLIN_MATH_1(sinh, __builtin_sinhf(x))
MARLIN_MATH_1(sinpi, __builtin_sinf(x * 3.14159265358979323846f))
MARLIN_MATH_1(sqrt, __builtin_sqrtf(x))
MARLIN_MATH_1(tan, __builtin_tanf(x))
MARLIN_MATH_1(tanh, __builtin_tanhf(x))
MARLIN_MATH_1(tanpi, __builtin_tanf(x * 3.14159265358979323846f))
MARLIN_MATH_1(trunc, __builtin_truncf(x))

#define MARLIN_MATH_2(F, EXPRESSION)                                        \
  inline float F(float x, float y) { return EXPRESSION; }                   \
  inline half F(half a, half b) {                                           \
    float x = float(a), y = float(b);                                       \
    return half(EXPRESSION);                                                \
  }                                                                         \
  MARLIN_IF_BFLOAT(B) inline B F(B a, B b) {                                \
    float x = float(a), y = float(b);                                       \
    return B(EXPRESSION);                                                   \
  }                                                                         \
  MARLIN_VECTORIZE_2(F)
MARLIN_MATH_2(atan2, __builtin_atan2f(x, y))
MARLIN_MATH_2(fmod, __builtin_fmodf(x, y))
MARLIN_MATH_2(pow, __builtin_powf(x, y))
MARLIN_MATH_2(powr, __builtin_powf(x, y))
MARLIN_MATH_2(nextafter, __builtin_nextafterf(x, y))

inline float divide(float a, float b) { return a / b; }
inline half divide(half a, half b) { return a / b; }
MARLIN_IF_BFLOAT(B) inline B divide(B a, B b) { return a / b; }
MARLIN_VECTORIZE_2(divide)
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline half fma(half a, half b, half c) { return half(__builtin_fmaf(float(a), float(b), float(c))); }
MARLIN_IF_BFLOAT(B) inline B fma(B a, B b, B c) { return B(__builtin_fmaf(float(a), float(b), float(c))); }
MARLIN_VECTORIZE_3(fma)

// ---- geometric --------------------------------------------------------------------------------------

template <class T, int N>
inline T dot(vec<T, N> a, vec<T, N> b) {
  T sum = T(a.v[0] * b.v[0]);
  for (int i = 1; i < N; i++) sum = T(sum + T(a.v[i] * b.v[i]));
  return sum;
}
// Beside it, what converts; two vectors of a type prefer the other, also to a program's own `dot(T, T)`.
template <class T, int N>
inline T dot(vec<T, N> a, marlin::same_t<vec<T, N>> b) {
  return dot<T, N>(a, vec<T, N>(b));
}
template <class T, int N>
inline T length_squared(vec<T, N> a) {
  return dot(a, a);
}
template <class T, int N>
inline T length(vec<T, N> a) {
  return sqrt(dot(a, a));
}
template <class T, int N>
inline T distance(vec<T, N> a, vec<T, N> b) {
  return length(a - b);
}
template <class T, int N>
inline T distance_squared(vec<T, N> a, vec<T, N> b) {
  return dot(a - b, a - b);
}
template <class T, int N>
inline vec<T, N> normalize(vec<T, N> a) {
  return a * rsqrt(dot(a, a));
}
template <class T>
inline vec<T, 3> cross(vec<T, 3> a, vec<T, 3> b) {
  return vec<T, 3>(T(a.y * b.z - a.z * b.y), T(a.z * b.x - a.x * b.z), T(a.x * b.y - a.y * b.x));
}
template <class T, int N>
inline vec<T, N> reflect(vec<T, N> i, vec<T, N> n) {
  return i - n * T(T(2) * dot(n, i));
}
template <class T, int N>
inline vec<T, N> faceforward(vec<T, N> n, vec<T, N> i, vec<T, N> reference) {
  return dot(reference, i) < T(0) ? n : -n;
}

MARLIN_PACKED_2(dot)
MARLIN_PACKED_2(distance)
MARLIN_PACKED_1(length)
MARLIN_PACKED_1(length_squared)
MARLIN_PACKED_1(normalize)

// ---- integer ----------------------------------------------------------------------------------------

#define MARLIN_DEFINE(T)                                                    \
  inline T popcount(T x) { return T(__builtin_popcountl(ulong(make_unsigned_t<T>(x)))); } \
  inline T clz(T x) {                                                       \
    ulong bits = ulong(make_unsigned_t<T>(x));                              \
    return T(bits ? __builtin_clzl(bits) - int(64 - sizeof(T) * 8) : int(sizeof(T) * 8)); \
  }                                                                         \
  inline T ctz(T x) { return T(x ? __builtin_ctzl(ulong(make_unsigned_t<T>(x))) : int(sizeof(T) * 8)); } \
  inline T reverse_bits(T x) {                                              \
    return T(__builtin_bitreverse64(ulong(make_unsigned_t<T>(x))) >> (64 - sizeof(T) * 8)); \
  }                                                                         \
  inline T extract_bits(T x, uint offset, uint bits) {                      \
    uint width = sizeof(T) * 8;                                             \
    if (bits == 0 || offset >= width) return T(0);                          \
    return T(make_unsigned_t<T>(x) << (width - offset - bits)) >> (width - bits); \
  }                                                                         \
  inline T insert_bits(T base, T insert, uint offset, uint bits) {          \
    if (bits == 0) return base;                                             \
    ulong mask = (bits >= 64 ? ~0ul : (1ul << bits) - 1) << offset;         \
    return T((ulong(base) & ~mask) | ((ulong(insert) << offset) & mask));   \
  }                                                                         \
  inline T rotate(T x, T by) {                                              \
    uint width = sizeof(T) * 8, n = uint(by) & (width - 1);                 \
    make_unsigned_t<T> u = make_unsigned_t<T>(x);                           \
    return n ? T(make_unsigned_t<T>(u << n) | make_unsigned_t<T>(u >> (width - n))) : x; \
  }                                                                         \
  inline make_unsigned_t<T> absdiff(T a, T b) {                             \
    return a < b ? make_unsigned_t<T>(make_unsigned_t<T>(b) - make_unsigned_t<T>(a)) \
                 : make_unsigned_t<T>(make_unsigned_t<T>(a) - make_unsigned_t<T>(b)); \
  }                                                                         \
  inline T addsat(T a, T b) {                                               \
    T r;                                                                    \
    if (!__builtin_add_overflow(a, b, &r)) return r;                        \
    return b < T(0) ? numeric_limits<T>::min() : numeric_limits<T>::max();  \
  }                                                                         \
  inline T subsat(T a, T b) {                                               \
    T r;                                                                    \
    if (!__builtin_sub_overflow(a, b, &r)) return r;                        \
    return b > T(0) ? numeric_limits<T>::min() : numeric_limits<T>::max();  \
  }                                                                         \
  inline T mulhi(T a, T b) { return T((__int128(a) * __int128(b)) >> (sizeof(T) * 8)); } \
  inline T madhi(T a, T b, T c) { return T(mulhi(a, b) + c); }              \
  inline T hadd(T a, T b) { return T((__int128(a) + __int128(b)) >> 1); }   \
  inline T rhadd(T a, T b) { return T((__int128(a) + __int128(b) + 1) >> 1); }
MARLIN_DEFINE(char)
MARLIN_DEFINE(uchar)
MARLIN_DEFINE(short)
MARLIN_DEFINE(ushort)
MARLIN_DEFINE(int)
MARLIN_DEFINE(uint)
MARLIN_DEFINE(long)
MARLIN_DEFINE(ulong)
#undef MARLIN_DEFINE
inline int mad24(int a, int b, int c) { return ((a << 8) >> 8) * ((b << 8) >> 8) + c; }
inline uint mad24(uint a, uint b, uint c) { return (a & 0xffffff) * (b & 0xffffff) + c; }
inline int mul24(int a, int b) { return mad24(a, b, 0); }
inline uint mul24(uint a, uint b) { return mad24(a, b, 0u); }
MARLIN_VECTORIZE_1(popcount)
MARLIN_VECTORIZE_1(clz)
MARLIN_VECTORIZE_1(ctz)
MARLIN_VECTORIZE_1(reverse_bits)
MARLIN_VECTORIZE_2(rotate)
MARLIN_VECTORIZE_2(addsat)
MARLIN_VECTORIZE_2(subsat)
MARLIN_VECTORIZE_2(mulhi)
MARLIN_VECTORIZE_2(hadd)
MARLIN_VECTORIZE_2(rhadd)
template <class T, int N>
inline auto absdiff(vec<T, N> a, vec<T, N> b) {
  vec<make_unsigned_t<T>, N> r;
  for (int i = 0; i < N; i++) r[i] = absdiff(T(a.v[i]), T(b.v[i]));
  return r;
}
template <class T, int N>
inline vec<T, N> extract_bits(vec<T, N> x, uint offset, uint bits) {
  vec<T, N> r;
  for (int i = 0; i < N; i++) r[i] = extract_bits(T(x.v[i]), offset, bits);
  return r;
}
template <class T, int N>
inline vec<T, N> insert_bits(vec<T, N> base, vec<T, N> insert, uint offset, uint bits) {
  vec<T, N> r;
  for (int i = 0; i < N; i++) r[i] = insert_bits(T(base.v[i]), T(insert.v[i]), offset, bits);
  return r;
}

// ---- pack and unpack --------------------------------------------------------------------------------

#define MARLIN_UNPACK(NAME, FROM, T, N, BITS, SCALE, SIGNED)                \
  inline vec<T, N> NAME(FROM x) {                                           \
    vec<T, N> r;                                                            \
    for (int i = 0; i < N; i++) {                                           \
      int lane = int((ulong(x) >> (BITS * i)) & ((1u << BITS) - 1));        \
      if (SIGNED && (lane >> (BITS - 1))) lane -= 1 << BITS;                \
      r[i] = T(max(float(lane) / SCALE, -1.0f));                            \
    }                                                                       \
    return r;                                                               \
  }
MARLIN_UNPACK(unpack_unorm4x8_to_float, uint, float, 4, 8, 255.0f, false)
MARLIN_UNPACK(unpack_snorm4x8_to_float, uint, float, 4, 8, 127.0f, true)
MARLIN_UNPACK(unpack_unorm4x8_to_half, uint, half, 4, 8, 255.0f, false)
MARLIN_UNPACK(unpack_snorm4x8_to_half, uint, half, 4, 8, 127.0f, true)
MARLIN_UNPACK(unpack_unorm2x16_to_float, uint, float, 2, 16, 65535.0f, false)
MARLIN_UNPACK(unpack_snorm2x16_to_float, uint, float, 2, 16, 32767.0f, true)
MARLIN_UNPACK(unpack_unorm2x16_to_half, uint, half, 2, 16, 65535.0f, false)
MARLIN_UNPACK(unpack_snorm2x16_to_half, uint, half, 2, 16, 32767.0f, true)
#define MARLIN_PACK(NAME, T, N, BITS, SCALE, LOW)                           \
  inline uint NAME(vec<T, N> x) {                                           \
    uint r = 0;                                                             \
    for (int i = 0; i < N; i++) {                                           \
      int lane = int(__builtin_rintf(clamp(float(T(x.v[i])), LOW, 1.0f) * SCALE)); \
      r |= (uint(lane) & ((1u << BITS) - 1)) << (BITS * i);                 \
    }                                                                       \
    return r;                                                               \
  }
MARLIN_PACK(pack_float_to_unorm4x8, float, 4, 8, 255.0f, 0.0f)
MARLIN_PACK(pack_float_to_snorm4x8, float, 4, 8, 127.0f, -1.0f)
MARLIN_PACK(pack_half_to_unorm4x8, half, 4, 8, 255.0f, 0.0f)
MARLIN_PACK(pack_half_to_snorm4x8, half, 4, 8, 127.0f, -1.0f)
MARLIN_PACK(pack_float_to_unorm2x16, float, 2, 16, 65535.0f, 0.0f)
MARLIN_PACK(pack_float_to_snorm2x16, float, 2, 16, 32767.0f, -1.0f)
MARLIN_PACK(pack_half_to_unorm2x16, half, 2, 16, 65535.0f, 0.0f)
MARLIN_PACK(pack_half_to_snorm2x16, half, 2, 16, 32767.0f, -1.0f)

// By name, so that what a program adds to these namespaces does not hide what they have.
#define MARLIN_FOR_MATH(M) \
  M(acos) M(acosh) M(asin) M(asinh) M(atan) M(atanh) \
  M(ceil) M(cos) M(cosh) M(cospi) M(exp) M(exp2) \
  M(exp10) M(floor) M(fract) M(log) M(log2) M(log10) \
  M(rint) M(round) M(rsqrt) M(sin) M(sinh) M(sinpi) \
  M(sqrt) M(tan) M(tanh) M(tanpi) M(trunc) M(fabs) \
  M(abs) M(saturate) M(sign) M(length) M(normalize) M(atan2) \
  M(fmod) M(pow) M(powr) M(nextafter) M(divide) M(fmin) \
  M(fmax) M(fdim) M(copysign) M(min) M(max) M(step) \
  M(dot) M(distance) M(cross) M(fma) M(fmin3) M(fmax3) \
  M(fmedian3) M(min3) M(max3) M(median3) M(clamp) M(mix) \
  M(smoothstep) M(ldexp) M(frexp) M(modf) M(sincos) M(isnan) \
  M(isinf) M(isfinite) M(isnormal) M(signbit) M(ilogb)
#define MARLIN_DEFINE(F) using metal::F;
namespace precise {
using namespace metal;
MARLIN_FOR_MATH(MARLIN_DEFINE)
}  // namespace precise
namespace fast {
using namespace metal;
MARLIN_FOR_MATH(MARLIN_DEFINE)
}  // namespace fast
#undef MARLIN_DEFINE

}  // namespace metal
