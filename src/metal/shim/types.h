// Scalars, vectors, packed vectors and type traits of the Metal Shading Language.
//
// Vectors are classes around clang's native vectors: native ones refuse `float4(1, 2, 3, 4)`.
// A component or swizzle is a property (`-fdeclspec`) with a getter and a setter. Only the swizzles that the
// user's text names are declared, through MARLIN_SWIZZLES_{2,3,4}, which the driver defines.
#pragma once

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef _Float16 half;
typedef __bf16 bfloat;
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long int64_t;
typedef unsigned long uint64_t;
#ifdef MARLIN_ADDRESS_SPACES
typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __INTPTR_TYPE__ intptr_t;
#else
typedef unsigned long size_t;
typedef long ptrdiff_t;
typedef unsigned long uintptr_t;
typedef long intptr_t;
constexpr half operator""h(long double x) { return static_cast<half>(x); }
constexpr half operator""h(unsigned long long x) { return static_cast<half>(x); }
#endif

// What braces become on their way to a constructor.
namespace std {
template <class E>
class initializer_list {
  const E* marlin_first;
  size_t marlin_n;
  constexpr initializer_list(const E* first, size_t n) : marlin_first(first), marlin_n(n) {}

 public:
  constexpr initializer_list() : marlin_first(nullptr), marlin_n(0) {}
  constexpr size_t size() const { return marlin_n; }
  constexpr const E* begin() const { return marlin_first; }
  constexpr const E* end() const { return marlin_first + marlin_n; }
};
}  // namespace std

namespace metal {

using ::bfloat;
using ::half;
using ::int16_t;
using ::int32_t;
using ::int64_t;
using ::int8_t;
using ::ptrdiff_t;
using ::size_t;
using ::uchar;
using ::uint;
using ::uint16_t;
using ::uint32_t;
using ::uint64_t;
using ::uint8_t;
using ::ulong;
using ::ushort;

// ---- type traits ------------------------------------------------------------------------------------

template <class T, T V>
struct integral_constant {
  static constexpr T value = V;
  typedef T value_type;
  typedef integral_constant type;
  constexpr operator T() const { return V; }
};
template <bool B>
using bool_constant = integral_constant<bool, B>;
typedef bool_constant<true> true_type;
typedef bool_constant<false> false_type;

template <class A, class B>
struct is_same : false_type {};
template <class A>
struct is_same<A, A> : true_type {};
template <bool B, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool B, class T, class F>
struct conditional {
  typedef T type;
};
template <class T, class F>
struct conditional<false, T, F> {
  typedef F type;
};
template <class T>
struct remove_reference {
  typedef __remove_reference_t(T) type;
};
template <class T>
struct remove_cv {
  typedef __remove_cv(T) type;
};
template <class T>
struct remove_const {
  typedef __remove_const(T) type;
};
// Types have no address space of their own here.
template <class T>
struct remove_addrspace {
  typedef T type;
};
template <class T>
using remove_addrspace_t = typename remove_addrspace<T>::type;
template <class T>
struct remove_volatile {
  typedef __remove_volatile(T) type;
};
template <class T>
struct remove_pointer {
  typedef __remove_pointer(T) type;
};
template <class T>
struct decay {
  typedef __decay(T) type;
};
template <class T>
struct make_signed {
  typedef __make_signed(T) type;
};
template <class T>
struct make_unsigned {
  typedef __make_unsigned(T) type;
};
template <class T>
struct underlying_type {
  typedef __underlying_type(T) type;
};
template <class T>
struct is_integral : bool_constant<__is_integral(T)> {};
template <class T>
struct is_floating_point : bool_constant<__is_floating_point(T) || is_same<__remove_cv(T), half>::value ||
                                         is_same<__remove_cv(T), bfloat>::value> {};
template <class T>
struct is_arithmetic : bool_constant<is_integral<T>::value || is_floating_point<T>::value> {};
template <class T>
struct is_scalar : bool_constant<is_arithmetic<T>::value || __is_enum(T) || __is_pointer(T)> {};
template <class T>
struct is_signed : bool_constant<(T(-1) < T(0))> {};
template <class T>
struct is_unsigned : bool_constant<is_integral<T>::value && !(T(-1) < T(0))> {};
template <class T>
struct is_pointer : bool_constant<__is_pointer(T)> {};
template <class T>
struct is_reference : bool_constant<__is_reference(T)> {};
template <class T>
struct is_array : bool_constant<__is_array(T)> {};
template <class T>
struct is_const : bool_constant<__is_const(T)> {};
template <class T>
struct is_class : bool_constant<__is_class(T)> {};
template <class T>
struct is_enum : bool_constant<__is_enum(T)> {};
template <class T>
struct is_void : bool_constant<__is_void(T)> {};
template <class T>
struct is_trivially_copyable : bool_constant<__is_trivially_copyable(T)> {};
template <class A, class B>
struct is_convertible : bool_constant<__is_convertible(A, B)> {};
template <class A, class B>
struct is_base_of : bool_constant<__is_base_of(A, B)> {};
template <class T, class... A>
struct is_constructible : bool_constant<__is_constructible(T, A...)> {};

template <bool B, class T = void>
using enable_if_t = typename enable_if<B, T>::type;
template <bool B, class T, class F>
using conditional_t = typename conditional<B, T, F>::type;
template <class T>
using remove_reference_t = typename remove_reference<T>::type;
template <class T>
using remove_cv_t = typename remove_cv<T>::type;
template <class T>
using remove_const_t = typename remove_const<T>::type;
template <class T>
using remove_pointer_t = typename remove_pointer<T>::type;
template <class T>
using decay_t = typename decay<T>::type;
template <class T>
using make_signed_t = typename make_signed<T>::type;
template <class T>
using make_unsigned_t = typename make_unsigned<T>::type;
template <class A, class B>
constexpr bool is_same_v = is_same<A, B>::value;
template <class T>
constexpr bool is_integral_v = is_integral<T>::value;
template <class T>
constexpr bool is_floating_point_v = is_floating_point<T>::value;
template <class T>
constexpr bool is_arithmetic_v = is_arithmetic<T>::value;
template <class T>
constexpr bool is_signed_v = is_signed<T>::value;
template <class T>
constexpr bool is_unsigned_v = is_unsigned<T>::value;
template <class T>
constexpr bool is_pointer_v = is_pointer<T>::value;
template <class A, class B>
constexpr bool is_convertible_v = is_convertible<A, B>::value;
template <class T, class... A>
constexpr bool is_constructible_v = is_constructible<T, A...>::value;
template <class T>
T&& declval();
template <class T>
constexpr remove_reference_t<T>&& move(T&& x) {
  return static_cast<remove_reference_t<T>&&>(x);
}

}  // namespace metal

// ---- vectors ----------------------------------------------------------------------------------------

namespace marlin {

struct raw {};  // Tag: construct from the native vector.

// `bool` is kept in bytes: clang packs native vectors of bool into bits.
template <class T>
struct lane {
  typedef T type;
};
template <>
struct lane<bool> {
  typedef unsigned char type;
};
template <class T, int N>
struct native {
  typedef typename lane<T>::type type __attribute__((ext_vector_type(N)));
};

template <class T>
constexpr typename lane<T>::type lane_value(T x) {
  return static_cast<typename lane<T>::type>(x);
}

// Component `i` of a vector in braces: those that are not given are 0.
template <class T>
constexpr typename lane<T>::type listed(std::initializer_list<T> all, size_t i) {
  return i < all.size() ? lane_value<T>(all.begin()[i]) : lane_value<T>(T(0));
}

// What `static_cast` becomes in the user's text: clang has no conversion between __bf16 and _Float16.
template <class T, class U>
constexpr T cast(U&& x) {
  typedef metal::remove_cv_t<metal::remove_reference_t<T>> To;
  typedef metal::remove_cv_t<metal::remove_reference_t<U>> From;
  if constexpr ((metal::is_same_v<To, bfloat> && metal::is_same_v<From, half>) ||
                (metal::is_same_v<To, half> && metal::is_same_v<From, bfloat>))
    return static_cast<To>(static_cast<float>(x));
  else
    return static_cast<T>(static_cast<U&&>(x));
}

// Blocks deduction: the parameter takes whatever converts to T.
template <class T>
struct same {
  typedef T type;
};
template <class T>
using same_t = typename same<T>::type;

}  // namespace marlin

namespace metal {

template <class T, int N>
struct vec;
template <class T, int N>
struct packed_vec;

// The value of a component, for what clang doesn't do with a property in a template.
}  // namespace metal
namespace marlin {
template <class T>
constexpr T value_of(T x) {
  return x;
}
}  // namespace marlin
namespace metal {
#define MARLIN_COMPONENT(M, NAME, IX)                                       \
  T marlin_get_##M() const { return T(v[IX]); }                             \
  T marlin_put_##M(T x) {                                                   \
    v[IX] = marlin::lane_value<T>(x);                              \
    return x;                                                               \
  }                                                                         \
  __declspec(property(get = marlin_get_##M, put = marlin_put_##M)) T M;     \
  __declspec(property(get = marlin_get_##M, put = marlin_put_##M)) T NAME;

#define MARLIN_SWIZZLE_2(NAME, A, B)                                        \
  vec<T, 2> marlin_get_##NAME() const { return vec<T, 2>(T(v[A]), T(v[B])); } \
  vec<T, 2> marlin_put_##NAME(vec<T, 2> x) {                                \
    v[A] = x.v[0];                                                          \
    v[B] = x.v[1];                                                          \
    return x;                                                               \
  }                                                                         \
  __declspec(property(get = marlin_get_##NAME, put = marlin_put_##NAME)) vec<T, 2> NAME;
#define MARLIN_SWIZZLE_3(NAME, A, B, C)                                     \
  vec<T, 3> marlin_get_##NAME() const { return vec<T, 3>(T(v[A]), T(v[B]), T(v[C])); } \
  vec<T, 3> marlin_put_##NAME(vec<T, 3> x) {                                \
    v[A] = x.v[0];                                                          \
    v[B] = x.v[1];                                                          \
    v[C] = x.v[2];                                                          \
    return x;                                                               \
  }                                                                         \
  __declspec(property(get = marlin_get_##NAME, put = marlin_put_##NAME)) vec<T, 3> NAME;
#define MARLIN_SWIZZLE_4(NAME, A, B, C, D)                                  \
  vec<T, 4> marlin_get_##NAME() const { return vec<T, 4>(T(v[A]), T(v[B]), T(v[C]), T(v[D])); } \
  vec<T, 4> marlin_put_##NAME(vec<T, 4> x) {                                \
    v[A] = x.v[0];                                                          \
    v[B] = x.v[1];                                                          \
    v[C] = x.v[2];                                                          \
    v[D] = x.v[3];                                                          \
    return x;                                                               \
  }                                                                         \
  __declspec(property(get = marlin_get_##NAME, put = marlin_put_##NAME)) vec<T, 4> NAME;

#ifndef MARLIN_SWIZZLES_2
#define MARLIN_SWIZZLES_2
#define MARLIN_SWIZZLES_3
#define MARLIN_SWIZZLES_4
#endif

#define MARLIN_COMPARE(OP)                                                  \
  friend vec<bool, marlin_size> operator OP(vec a, vec b) {                 \
    return vec<bool, marlin_size>(marlin::raw(), __builtin_convertvector((a.v OP b.v) & 1, marlin_mask)); \
  }
#define MARLIN_ARITHMETIC(OP)                                               \
  friend vec operator OP(vec a, vec b) { return vec(marlin::raw(), a.v OP b.v); } \
  vec& operator OP##=(vec b) {                                              \
    v = v OP b.v;                                                           \
    return *this;                                                           \
  }

// Operators on integers and on floats are declared for every element type; a use with the wrong one
// does not compile, as it should.
#define MARLIN_VECTOR(N)                                                    \
  enum { marlin_size = N };                                                 \
  typedef T marlin_element;                                                 \
  typedef typename marlin::native<T, N>::type marlin_native;                \
  typedef typename marlin::native<unsigned char, N>::type marlin_mask;      \
  marlin_native v;                                                          \
  vec() = default;                                                          \
  constexpr vec(marlin::raw, marlin_native x) : v(x) {}                     \
  template <class U, class = enable_if_t<!is_same_v<U, T>>>                 \
  explicit vec(vec<U, N> x) : v(marlin::convert<T>(x)) {}                   \
  template <class U, class = enable_if_t<!is_same_v<U, T>>>                 \
  explicit vec(packed_vec<U, N> x) : v(marlin::convert<T>(vec<U, N>(x))) {} \
  T& operator[](size_t i) { return reinterpret_cast<T*>(&v)[i]; }           \
  const T& operator[](size_t i) const { return reinterpret_cast<const T*>(&v)[i]; } \
  MARLIN_ARITHMETIC(+)                                                      \
  MARLIN_ARITHMETIC(-)                                                      \
  MARLIN_ARITHMETIC(*)                                                      \
  MARLIN_ARITHMETIC(/)                                                      \
  MARLIN_ARITHMETIC(%)                                                      \
  MARLIN_ARITHMETIC(&)                                                      \
  MARLIN_ARITHMETIC(|)                                                      \
  MARLIN_ARITHMETIC(^)                                                      \
  MARLIN_ARITHMETIC(<<)                                                     \
  MARLIN_ARITHMETIC(>>)                                                     \
  MARLIN_COMPARE(==)                                                        \
  MARLIN_COMPARE(!=)                                                        \
  MARLIN_COMPARE(<)                                                         \
  MARLIN_COMPARE(<=)                                                        \
  MARLIN_COMPARE(>)                                                         \
  MARLIN_COMPARE(>=)                                                        \
  vec operator-() const { return vec(marlin::raw(), -v); }                  \
  vec operator+() const { return *this; }                                   \
  vec operator~() const { return vec(marlin::raw(), ~v); }                  \
  vec<bool, N> operator!() const { return *this == vec(T(0)); }             \
  friend vec<bool, N> operator&&(vec a, vec b) { return (a != vec(T(0))) & (b != vec(T(0))); } \
  friend vec<bool, N> operator||(vec a, vec b) { return (a != vec(T(0))) | (b != vec(T(0))); } \
  vec& operator++() { return *this += vec(T(1)); }                          \
  vec& operator--() { return *this -= vec(T(1)); }                          \
  vec operator++(int) {                                                     \
    vec old = *this;                                                        \
    *this += vec(T(1));                                                     \
    return old;                                                             \
  }

}  // namespace metal

namespace marlin {

template <class T, class U, int N>
typename native<T, N>::type convert(metal::vec<U, N> x) {
  if constexpr (metal::is_same_v<T, bool>) {
    return (x != metal::vec<U, N>(U(0))).v;
  } else if constexpr (metal::is_same_v<T, bfloat> || metal::is_same_v<U, bfloat>) {
    // By way of float: there is no conversion between __bf16 and _Float16.
    return __builtin_convertvector(__builtin_convertvector(x.v, typename native<float, N>::type),
                                   typename native<T, N>::type);
  } else {
    return __builtin_convertvector(x.v, typename native<T, N>::type);
  }
}

}  // namespace marlin

namespace metal {

template <class T>
struct vec<T, 2> {
  MARLIN_VECTOR(2)
  constexpr vec(std::initializer_list<T> all) : v{marlin::listed(all, 0), marlin::listed(all, 1)} {}
  constexpr vec(T s) : v{marlin::lane_value<T>(s), marlin::lane_value<T>(s)} {}
  constexpr vec(T a, T b) : v{marlin::lane_value<T>(a), marlin::lane_value<T>(b)} {}
  vec(packed_vec<T, 2> p);
  MARLIN_COMPONENT(x, r, 0)
  MARLIN_COMPONENT(y, g, 1)
  MARLIN_SWIZZLES_2
};

template <class T>
struct vec<T, 3> {
  MARLIN_VECTOR(3)
  constexpr vec(std::initializer_list<T> all) : v{marlin::listed(all, 0), marlin::listed(all, 1), marlin::listed(all, 2)} {}
  constexpr vec(T s) : v{marlin::lane_value<T>(s), marlin::lane_value<T>(s), marlin::lane_value<T>(s)} {}
  constexpr vec(T a, T b, T c) : v{marlin::lane_value<T>(a), marlin::lane_value<T>(b), marlin::lane_value<T>(c)} {}
  vec(vec<T, 2> a, T b) : v{a.v[0], a.v[1], marlin::lane_value<T>(b)} {}
  vec(T a, vec<T, 2> b) : v{marlin::lane_value<T>(a), b.v[0], b.v[1]} {}
  vec(packed_vec<T, 3> p);
  MARLIN_COMPONENT(x, r, 0)
  MARLIN_COMPONENT(y, g, 1)
  MARLIN_COMPONENT(z, b, 2)
  MARLIN_SWIZZLES_3
};

template <class T>
struct vec<T, 4> {
  MARLIN_VECTOR(4)
  constexpr vec(std::initializer_list<T> all) : v{marlin::listed(all, 0), marlin::listed(all, 1), marlin::listed(all, 2), marlin::listed(all, 3)} {}
  constexpr vec(T s) : v{marlin::lane_value<T>(s), marlin::lane_value<T>(s), marlin::lane_value<T>(s), marlin::lane_value<T>(s)} {}
  constexpr vec(T a, T b, T c, T d) : v{marlin::lane_value<T>(a), marlin::lane_value<T>(b), marlin::lane_value<T>(c), marlin::lane_value<T>(d)} {}
  vec(vec<T, 2> a, T b, T c) : v{a.v[0], a.v[1], marlin::lane_value<T>(b), marlin::lane_value<T>(c)} {}
  vec(T a, vec<T, 2> b, T c) : v{marlin::lane_value<T>(a), b.v[0], b.v[1], marlin::lane_value<T>(c)} {}
  vec(T a, T b, vec<T, 2> c) : v{marlin::lane_value<T>(a), marlin::lane_value<T>(b), c.v[0], c.v[1]} {}
  vec(vec<T, 2> a, vec<T, 2> b) : v{a.v[0], a.v[1], b.v[0], b.v[1]} {}
  vec(vec<T, 3> a, T b) : v{a.v[0], a.v[1], a.v[2], marlin::lane_value<T>(b)} {}
  vec(T a, vec<T, 3> b) : v{marlin::lane_value<T>(a), b.v[0], b.v[1], b.v[2]} {}
  vec(packed_vec<T, 4> p);
  MARLIN_COMPONENT(x, r, 0)
  MARLIN_COMPONENT(y, g, 1)
  MARLIN_COMPONENT(z, b, 2)
  MARLIN_COMPONENT(w, a, 3)
  MARLIN_SWIZZLES_4
};

// Wider ones have no names and no components: subscripts, operators, conversions.
#define MARLIN_WIDE(N)                                                      \
  template <class T>                                                        \
  struct vec<T, N> {                                                        \
    MARLIN_VECTOR(N)                                                        \
    vec(T s) : v(marlin_native(marlin::lane_value<T>(s))) {}                \
    vec(vec<T, N / 2> a, vec<T, N / 2> b) {                                 \
      for (int i = 0; i < N / 2; i++) v[i] = a.v[i], v[i + N / 2] = b.v[i]; \
    }                                                                       \
    vec(std::initializer_list<T> all) {                                     \
      for (int i = 0; i < N; i++) v[i] = marlin::listed(all, size_t(i));    \
    }                                                                       \
    template <class... A, class = enable_if_t<sizeof...(A) == N - 2>>       \
    vec(T a, T b, A... rest) : vec(std::initializer_list<T>{a, b, T(rest)...}) {} \
  };
MARLIN_WIDE(8)
MARLIN_WIDE(16)

#define MARLIN_PACKED_OPERATOR(OP)                                          \
  friend vec<T, marlin_size> operator OP(packed_vec a, packed_vec b) {      \
    return vec<T, marlin_size>(a) OP vec<T, marlin_size>(b);                \
  }                                                                         \
  friend vec<T, marlin_size> operator OP(packed_vec a, vec<T, marlin_size> b) { return vec<T, marlin_size>(a) OP b; } \
  friend vec<T, marlin_size> operator OP(vec<T, marlin_size> a, packed_vec b) { return a OP vec<T, marlin_size>(b); } \
  friend vec<T, marlin_size> operator OP(packed_vec a, T b) { return vec<T, marlin_size>(a) OP b; } \
  friend vec<T, marlin_size> operator OP(T a, packed_vec b) { return a OP vec<T, marlin_size>(b); } \
  packed_vec& operator OP##=(vec<T, marlin_size> b) { return *this = vec<T, marlin_size>(*this) OP b; }
#define MARLIN_PACKED(N)                                                    \
  enum { marlin_size = N };                                                 \
  typedef T marlin_element;                                                 \
  packed_vec() = default;                                                   \
  T& operator[](size_t i) { return reinterpret_cast<T*>(this)[i]; }         \
  const T& operator[](size_t i) const { return reinterpret_cast<const T*>(this)[i]; } \
  vec<T, N> operator-() const { return -vec<T, N>(*this); }                 \
  MARLIN_PACKED_OPERATOR(+)                                                 \
  MARLIN_PACKED_OPERATOR(-)                                                 \
  MARLIN_PACKED_OPERATOR(*)                                                 \
  MARLIN_PACKED_OPERATOR(/)

template <class T>
struct packed_vec<T, 2> {
  union {
    struct {
      T x, y;
    };
    T v[2];
  };
  packed_vec(T s) : v{s, s} {}
  packed_vec(T a, T b) : v{a, b} {}
  packed_vec(vec<T, 2> a) : v{T(a.v[0]), T(a.v[1])} {}
  template <class U, class = enable_if_t<!is_same_v<U, T>>>
  explicit packed_vec(vec<U, 2> a) : packed_vec(vec<T, 2>(a)) {}
  template <class U, class = enable_if_t<!is_same_v<U, T>>>
  explicit packed_vec(packed_vec<U, 2> a) : packed_vec(vec<T, 2>(vec<U, 2>(a))) {}
  MARLIN_PACKED(2)
  MARLIN_SWIZZLES_2
};
template <class T>
struct packed_vec<T, 3> {
  union {
    struct {
      T x, y, z;
    };
    T v[3];
  };
  packed_vec(T s) : v{s, s, s} {}
  packed_vec(T a, T b, T c) : v{a, b, c} {}
  packed_vec(vec<T, 3> a) : v{T(a.v[0]), T(a.v[1]), T(a.v[2])} {}
  template <class U, class = enable_if_t<!is_same_v<U, T>>>
  explicit packed_vec(vec<U, 3> a) : packed_vec(vec<T, 3>(a)) {}
  template <class U, class = enable_if_t<!is_same_v<U, T>>>
  explicit packed_vec(packed_vec<U, 3> a) : packed_vec(vec<T, 3>(vec<U, 3>(a))) {}
  MARLIN_PACKED(3)
  MARLIN_SWIZZLES_3
};
template <class T>
struct packed_vec<T, 4> {
  union {
    struct {
      T x, y, z, w;
    };
    T v[4];
  };
  packed_vec(T s) : v{s, s, s, s} {}
  packed_vec(T a, T b, T c, T d) : v{a, b, c, d} {}
  packed_vec(vec<T, 4> a) : v{T(a.v[0]), T(a.v[1]), T(a.v[2]), T(a.v[3])} {}
  template <class U, class = enable_if_t<!is_same_v<U, T>>>
  explicit packed_vec(vec<U, 4> a) : packed_vec(vec<T, 4>(a)) {}
  template <class U, class = enable_if_t<!is_same_v<U, T>>>
  explicit packed_vec(packed_vec<U, 4> a) : packed_vec(vec<T, 4>(vec<U, 4>(a))) {}
  MARLIN_PACKED(4)
  MARLIN_SWIZZLES_4
};
template <class T>
inline vec<T, 2>::vec(packed_vec<T, 2> p) : vec(p.x, p.y) {}
template <class T>
inline vec<T, 3>::vec(packed_vec<T, 3> p) : vec(p.x, p.y, p.z) {}
template <class T>
inline vec<T, 4>::vec(packed_vec<T, 4> p) : vec(p.x, p.y, p.z, p.w) {}

#define MARLIN_VECTOR_NAMES(T)                                              \
  typedef vec<T, 2> T##2;                                                   \
  typedef vec<T, 3> T##3;                                                   \
  typedef vec<T, 4> T##4;                                                   \
  typedef packed_vec<T, 2> packed_##T##2;                                   \
  typedef packed_vec<T, 3> packed_##T##3;                                   \
  typedef packed_vec<T, 4> packed_##T##4;
MARLIN_VECTOR_NAMES(bool)
MARLIN_VECTOR_NAMES(char)
MARLIN_VECTOR_NAMES(uchar)
MARLIN_VECTOR_NAMES(short)
MARLIN_VECTOR_NAMES(ushort)
MARLIN_VECTOR_NAMES(int)
MARLIN_VECTOR_NAMES(uint)
MARLIN_VECTOR_NAMES(long)
MARLIN_VECTOR_NAMES(ulong)
MARLIN_VECTOR_NAMES(half)
MARLIN_VECTOR_NAMES(bfloat)
MARLIN_VECTOR_NAMES(float)

// Elements of a scalar or vector type.
template <class T>
struct vec_elements : integral_constant<int, 1> {};
template <class T, int N>
struct vec_elements<vec<T, N>> : integral_constant<int, N> {};
template <class T, int N>
struct vec_elements<packed_vec<T, N>> : integral_constant<int, N> {};
template <class T, int N>
struct make_vec {
  typedef vec<T, N> type;
};
template <class T>
struct make_vec<T, 1> {
  typedef T type;
};
template <class T, int N>
using make_vec_t = typename make_vec<T, N>::type;
template <class T>
struct is_vector : false_type {};
template <class T, int N>
struct is_vector<vec<T, N>> : true_type {};
template <class T>
constexpr bool is_vector_v = is_vector<T>::value;

template <class To, class From>
constexpr To as_type(From x) {
  return __builtin_bit_cast(To, x);
}

// A value that the author promises to be the same for all threads.
template <class T>
using uniform = T;
template <class T>
constexpr T make_uniform(T x) {
  return x;
}

template <class T, size_t N>
struct array {
  T marlin_elements[N];
  constexpr T& operator[](size_t i) { return marlin_elements[i]; }
  constexpr const T& operator[](size_t i) const { return marlin_elements[i]; }
  constexpr size_t size() const { return N; }
};

// ---- numeric limits ---------------------------------------------------------------------------------

// The name of the base is Apple's: user code specializes it for its own bfloat.
template <class T>
struct _numeric_limits_impl {
  static constexpr bool is_specialized = false;
};
#define MARLIN_INTEGER_LIMITS(T, LOW, HIGH)                                 \
  template <>                                                               \
  struct _numeric_limits_impl<T> {                                          \
    static constexpr bool is_specialized = true, is_signed = (T(-1) < T(0)), is_integer = true, is_exact = true; \
    static constexpr bool has_infinity = false, has_quiet_NaN = false;      \
    static constexpr int digits = int(sizeof(T) * 8) - int(is_signed), radix = 2; \
    static constexpr T min() { return LOW; }                                \
    static constexpr T max() { return HIGH; }                               \
    static constexpr T lowest() { return LOW; }                             \
  };
MARLIN_INTEGER_LIMITS(bool, false, true)
MARLIN_INTEGER_LIMITS(char, -128, 127)
MARLIN_INTEGER_LIMITS(int8_t, -128, 127)
MARLIN_INTEGER_LIMITS(uchar, 0, 255)
MARLIN_INTEGER_LIMITS(short, -32768, 32767)
MARLIN_INTEGER_LIMITS(ushort, 0, 65535)
MARLIN_INTEGER_LIMITS(int, -2147483647 - 1, 2147483647)
MARLIN_INTEGER_LIMITS(uint, 0, 4294967295u)
MARLIN_INTEGER_LIMITS(long, -9223372036854775807l - 1, 9223372036854775807l)
MARLIN_INTEGER_LIMITS(ulong, 0, 18446744073709551615ul)
#define MARLIN_FLOAT_LIMITS(T, MIN, MAX, EPSILON, DENORM, DIGITS)           \
  template <>                                                               \
  struct _numeric_limits_impl<T> {                                          \
    static constexpr bool is_specialized = true, is_signed = true, is_integer = false, is_exact = false; \
    static constexpr bool has_infinity = true, has_quiet_NaN = true;        \
    static constexpr int digits = DIGITS, radix = 2;                        \
    static constexpr T min() { return T(MIN); }                             \
    static constexpr T max() { return T(MAX); }                             \
    static constexpr T lowest() { return T(-MAX); }                         \
    static constexpr T epsilon() { return T(EPSILON); }                     \
    static constexpr T denorm_min() { return T(DENORM); }                   \
    static constexpr T infinity() { return T(__builtin_inff()); }           \
    static constexpr T quiet_NaN() { return T(__builtin_nanf("")); }        \
    static constexpr T signaling_NaN() { return T(__builtin_nanf("")); }    \
  };
MARLIN_FLOAT_LIMITS(half, 0x1p-14f, 65504.0f, 0x1p-10f, 0x1p-24f, 11)
MARLIN_FLOAT_LIMITS(bfloat, 0x1p-126f, 0x1.fep127f, 0x1p-7f, 0x1p-133f, 8)
MARLIN_FLOAT_LIMITS(float, 0x1p-126f, 0x1.fffffep127f, 0x1p-23f, 0x1p-149f, 24)
template <class T>
struct numeric_limits : _numeric_limits_impl<T> {};
template <class T>
struct numeric_limits<const T> : _numeric_limits_impl<T> {};

template <class T>
struct _fp_encoding_traits;
template <>
struct _fp_encoding_traits<float> {
  static constexpr uint sign_mask = 0x80000000u, inf_mask = 0x7f800000u;
};

}  // namespace metal

#define MARLIN_GLOBAL(T)                                                    \
  using metal::T##2;                                                        \
  using metal::T##3;                                                        \
  using metal::T##4;                                                        \
  using metal::packed_##T##2;                                               \
  using metal::packed_##T##3;                                               \
  using metal::packed_##T##4;
MARLIN_GLOBAL(bool)
MARLIN_GLOBAL(char)
MARLIN_GLOBAL(uchar)
MARLIN_GLOBAL(short)
MARLIN_GLOBAL(ushort)
MARLIN_GLOBAL(int)
MARLIN_GLOBAL(uint)
MARLIN_GLOBAL(long)
MARLIN_GLOBAL(ulong)
MARLIN_GLOBAL(half)
MARLIN_GLOBAL(bfloat)
MARLIN_GLOBAL(float)
using metal::as_type;
