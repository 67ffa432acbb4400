// Barriers, simdgroup and quadgroup functions, simdgroup matrices.
#pragma once

namespace metal {

// Whether simdgroup functions take the type. Undocumented, but public kernels ask.
template <class T>
struct __is_valid_simdgroup_type : is_arithmetic<T> {};
template <class T, int N>
struct __is_valid_simdgroup_type<vec<T, N>> : is_arithmetic<T> {};

enum class mem_flags {
  mem_none = 0,
  mem_device = 1,
  mem_threadgroup = 2,
  mem_texture = 4,
  mem_threadgroup_imageblock = 8,
  mem_object_data = 16
};
inline constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(uint(a) | uint(b)); }
inline constexpr mem_flags operator&(mem_flags a, mem_flags b) { return mem_flags(uint(a) & uint(b)); }

enum thread_scope : uint {
  thread_scope_thread,
  thread_scope_simdgroup,
  thread_scope_threadgroup,
  thread_scope_device
};
// Programs for older compilers declare it themselves.
#ifndef MARLIN_OWN_SCOPE_SYSTEM
constexpr thread_scope thread_scope_system = thread_scope(4);
#endif
enum memory_order {
  memory_order_relaxed,
  memory_order_acquire,
  memory_order_release,
  memory_order_acq_rel,
  memory_order_seq_cst
};

inline void threadgroup_barrier(mem_flags flags) { marlin_threadgroup_barrier(uint(flags), MARLIN_SITE); }
inline void threadgroup_barrier(mem_flags flags, thread_scope) { threadgroup_barrier(flags); }
inline void simdgroup_barrier(mem_flags flags) { marlin_simdgroup_barrier(uint(flags), MARLIN_SITE); }
inline void simdgroup_barrier(mem_flags flags, thread_scope) { simdgroup_barrier(flags); }

}  // namespace metal

namespace marlin {

// What each lane of the simdgroup brought to one operation.
template <class T>
struct gathered {
  const marlin_exchange* all;
  uint lane, width;
  bool active(uint i) const { return i < width && ((all->active >> i) & 1) != 0; }
  T operator[](uint i) const {
    T x;
    __builtin_memcpy(&x, all->slot[i & 63], sizeof(T));
    return x;
  }
  // The value of lane `i`, or `otherwise` if no such lane takes part.
  T get(uint i, T otherwise) const { return active(i) ? (*this)[i] : otherwise; }
};

template <class T>
inline gathered<T> gather(T x) {
  static_assert(sizeof(T) <= 64, "a simdgroup operation moves at most 64 bytes per lane");
  const marlin_exchange* all = marlin_simd_exchange(&x, sizeof(T), MARLIN_SITE);
  return gathered<T>{all, marlin_thread_index_in_simdgroup(), marlin_threads_per_simdgroup()};
}

}  // namespace marlin

namespace metal {

// Reductions and scans over `first .. first + count`: the simdgroup, or the quadgroup that a lane is in.
#define MARLIN_REDUCTIONS(GROUP, FIRST, COUNT)                              \
  template <class T>                                                        \
  inline T GROUP##_sum(T x) {                                               \
    MARLIN_REDUCE(FIRST, COUNT, T(r + g[i]))                                \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_product(T x) {                                           \
    MARLIN_REDUCE(FIRST, COUNT, T(r * g[i]))                                \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_min(T x) {                                               \
    MARLIN_REDUCE(FIRST, COUNT, min(r, g[i]))                               \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_max(T x) {                                               \
    MARLIN_REDUCE(FIRST, COUNT, max(r, g[i]))                               \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_and(T x) {                                               \
    MARLIN_REDUCE(FIRST, COUNT, T(r & g[i]))                                \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_or(T x) {                                                \
    MARLIN_REDUCE(FIRST, COUNT, T(r | g[i]))                                \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_xor(T x) {                                               \
    MARLIN_REDUCE(FIRST, COUNT, T(r ^ g[i]))                                \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_prefix_inclusive_sum(T x) {                              \
    MARLIN_SCAN(FIRST, T(r + g[i]), T(0), 1)                                \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_prefix_exclusive_sum(T x) {                              \
    MARLIN_SCAN(FIRST, T(r + g[i]), T(0), 0)                                \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_prefix_inclusive_product(T x) {                          \
    MARLIN_SCAN(FIRST, T(r * g[i]), T(1), 1)                                \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_prefix_exclusive_product(T x) {                          \
    MARLIN_SCAN(FIRST, T(r * g[i]), T(1), 0)                                \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_broadcast(T x, ushort from) {                            \
    auto g = marlin::gather(x);                                             \
    return g.get((FIRST) + from, x);                                        \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_broadcast_first(T x) {                                   \
    auto g = marlin::gather(x);                                             \
    for (uint i = (FIRST); i < (FIRST) + (COUNT); i++)                      \
      if (g.active(i)) return g[i];                                         \
    return x;                                                               \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_shuffle(T x, ushort from) {                              \
    auto g = marlin::gather(x);                                             \
    return g.get((FIRST) + from, x);                                        \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_shuffle_xor(T x, ushort mask) {                          \
    auto g = marlin::gather(x);                                             \
    return g.get((FIRST) + ((g.lane - (FIRST)) ^ mask), x);                 \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_shuffle_up(T x, ushort by) {                             \
    auto g = marlin::gather(x);                                             \
    uint at = g.lane - (FIRST);                                             \
    return at >= by ? g.get(g.lane - by, x) : x;                            \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_shuffle_down(T x, ushort by) {                           \
    auto g = marlin::gather(x);                                             \
    uint at = g.lane - (FIRST);                                             \
    return at + by < (COUNT) ? g.get(g.lane + by, x) : x;                   \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_shuffle_rotate_up(T x, ushort by) {                      \
    auto g = marlin::gather(x);                                             \
    uint at = g.lane - (FIRST);                                             \
    return g.get((FIRST) + (at + (COUNT) - by % (COUNT)) % (COUNT), x);     \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_shuffle_rotate_down(T x, ushort by) {                    \
    auto g = marlin::gather(x);                                             \
    uint at = g.lane - (FIRST);                                             \
    return g.get((FIRST) + (at + by) % (COUNT), x);                         \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_shuffle_and_fill_up(T x, T fill, ushort by) {            \
    auto g = marlin::gather(x);                                             \
    auto f = marlin::gather(fill);                                          \
    uint at = g.lane - (FIRST);                                             \
    return at >= by ? g.get(g.lane - by, x) : f.get(g.lane + (COUNT) - by, fill); \
  }                                                                         \
  template <class T>                                                        \
  inline T GROUP##_shuffle_and_fill_down(T x, T fill, ushort by) {          \
    auto g = marlin::gather(x);                                             \
    auto f = marlin::gather(fill);                                          \
    uint at = g.lane - (FIRST);                                             \
    return at + by < (COUNT) ? g.get(g.lane + by, x) : f.get(g.lane + by - (COUNT), fill); \
  }                                                                         \
  inline bool GROUP##_is_first() {                                          \
    auto g = marlin::gather(uchar(1));                                      \
    for (uint i = (FIRST); i < g.lane; i++)                                 \
      if (g.active(i)) return false;                                        \
    return true;                                                            \
  }                                                                         \
  inline bool GROUP##_all(bool x) { return GROUP##_and(uint(x)) != 0; }     \
  inline bool GROUP##_any(bool x) { return GROUP##_or(uint(x)) != 0; }

#define MARLIN_REDUCE(FIRST, COUNT, COMBINE)                                \
  auto g = marlin::gather(x);                                               \
  T r = x;                                                                  \
  bool first = true;                                                        \
  for (uint i = (FIRST); i < (FIRST) + (COUNT); i++)                        \
    if (g.active(i)) {                                                      \
      r = first ? g[i] : COMBINE;                                           \
      first = false;                                                        \
    }                                                                       \
  return r;
#define MARLIN_SCAN(FIRST, COMBINE, ZERO, INCLUSIVE)                        \
  auto g = marlin::gather(x);                                               \
  T r = ZERO;                                                               \
  for (uint i = (FIRST); i < g.lane + INCLUSIVE; i++)                       \
    if (g.active(i)) r = COMBINE;                                           \
  return r;

MARLIN_REDUCTIONS(simd, 0u, g.width)
MARLIN_REDUCTIONS(quad, (g.lane & ~3u), 4u)

class simd_vote {
 public:
  typedef uint64_t vote_t;
  constexpr explicit simd_vote(vote_t x = 0) : votes(x) {}
  constexpr explicit operator vote_t() const { return votes; }
  constexpr bool any() const { return votes != 0; }
  bool all() const { return votes == (~0ul >> (64 - marlin_threads_per_simdgroup())); }

 private:
  vote_t votes;
};
class quad_vote {
 public:
  typedef uint vote_t;
  constexpr explicit quad_vote(vote_t x = 0) : votes(x) {}
  constexpr explicit operator vote_t() const { return votes; }
  constexpr bool any() const { return votes != 0; }
  constexpr bool all() const { return votes == 15; }

 private:
  vote_t votes;
};
inline simd_vote simd_ballot(bool x) {
  auto g = marlin::gather(uchar(x));
  uint64_t votes = 0;
  for (uint i = 0; i < g.width; i++)
    if (g.active(i) && g[i]) votes |= 1ul << i;
  return simd_vote(votes);
}
inline quad_vote quad_ballot(bool x) {
  auto g = marlin::gather(uchar(x));
  uint votes = 0;
  for (uint i = 0; i < 4; i++)
    if (g.active((g.lane & ~3u) + i) && g[(g.lane & ~3u) + i]) votes |= 1u << i;
  return quad_vote(votes);
}
inline simd_vote simd_active_threads_mask() { return simd_ballot(true); }

// ---- simdgroup matrices -----------------------------------------------------------------------------

// Lane l of 32 holds two neighbours of one row: row l4 l2 l1, columns l3 l0 {0, 1} (bits of l).
template <class T, int Columns, int Rows>
struct simdgroup_matrix {
  static_assert(Columns == 8 && Rows == 8, "simdgroup matrices are 8 by 8");
  typedef vec<T, 2> storage_type;
  storage_type marlin_elements;
  simdgroup_matrix() = default;
  explicit simdgroup_matrix(T diagonal) {
    marlin_elements[0] = row() == column() ? diagonal : T(0);
    marlin_elements[1] = row() == column() + 1 ? diagonal : T(0);
  }
  storage_type& thread_elements() { return marlin_elements; }
  const storage_type& thread_elements() const { return marlin_elements; }
  static uint row() {
    uint l = lane();
    return ((l >> 4) << 2) | ((l >> 1) & 3);
  }
  static uint column() {
    uint l = lane();
    return ((l >> 1) & 4) | ((l & 1) << 1);
  }
  static uint lane() {
    if (marlin_threads_per_simdgroup() != 32) marlin_unsupported(MARLIN_UNSUPPORTED_MATRIX_WIDTH);
    return marlin_thread_index_in_simdgroup();
  }
};

template <class T, int C, int R = C>
inline simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(T x) {
  simdgroup_matrix<T, C, R> m;
  m.marlin_elements = vec<T, 2>(x);
  return m;
}
// The lane of a row and column.
inline uint marlin_matrix_lane(uint row, uint column) {
  return (row >> 2) << 4 | (column >> 2) << 3 | (row & 3) << 1 | ((column >> 1) & 1);
}
// This lane's two elements of the transposed matrix.
template <class T>
inline vec<T, 2> marlin_transposed(vec<T, 2> mine, uint row, uint column) {
  struct pair {
    T e[2];
  };
  auto g = marlin::gather(pair{{mine[0], mine[1]}});
  pair first = g[marlin_matrix_lane(column, row)], second = g[marlin_matrix_lane(column + 1, row)];
  return vec<T, 2>(first.e[row & 1], second.e[row & 1]);
}
// Neighbours in memory are one access, as one lane's share of the matrix, transposed or not.
template <class T, int C, int R>
inline void simdgroup_load(thread simdgroup_matrix<T, C, R>& m, const T* from, ulong per_row = C,
                           ulong2 origin = ulong2(0), bool transposed = false) {
  ulong r = m.row(), c = m.column();
  const T* base = from + origin.v[1] * per_row + origin.v[0];
  T pair[2];
  __builtin_memcpy(pair, base + (r * per_row + c), sizeof(pair));
  m.marlin_elements = vec<T, 2>(pair[0], pair[1]);
  if (transposed) m.marlin_elements = marlin_transposed(m.marlin_elements, uint(r), uint(c));
}
template <class T, int C, int R>
inline void simdgroup_store(simdgroup_matrix<T, C, R> m, T* to, ulong per_row = C,
                            ulong2 origin = ulong2(0), bool transposed = false) {
  ulong r = m.row(), c = m.column();
  T* base = to + origin.v[1] * per_row + origin.v[0];
  if (transposed) m.marlin_elements = marlin_transposed(m.marlin_elements, uint(r), uint(c));
  T pair[2] = {m.marlin_elements[0], m.marlin_elements[1]};
  __builtin_memcpy(base + (r * per_row + c), pair, sizeof(pair));
}

// d = a·b + c, summed in float and rounded once.
template <class D, class A, class B, class S>
inline void simdgroup_multiply_accumulate(thread simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a,
                                          simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<S, 8, 8> c) {
  struct pair {
    A a[2];
    B b[2];
  };
  pair mine = {{a.marlin_elements[0], a.marlin_elements[1]}, {b.marlin_elements[0], b.marlin_elements[1]}};
  auto g = marlin::gather(mine);
  uint row = d.row(), column = d.column();
  float sum0 = float(c.marlin_elements[0]), sum1 = float(c.marlin_elements[1]);
  for (uint k = 0; k < 8; k++) {
    pair left = g[marlin_matrix_lane(row, k)];
    pair right = g[marlin_matrix_lane(k, column)];
    sum0 += float(left.a[k & 1]) * float(right.b[0]);
    sum1 += float(left.a[k & 1]) * float(right.b[1]);
  }
  d.marlin_elements = vec<D, 2>(D(sum0), D(sum1));
}
template <class D, class A, class B>
inline void simdgroup_multiply(thread simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a,
                               simdgroup_matrix<B, 8, 8> b) {
  simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<D, 8, 8>(D(0)));
}
template <class A, class B>
inline simdgroup_matrix<A, 8, 8> operator*(simdgroup_matrix<A, 8, 8> a, simdgroup_matrix<B, 8, 8> b) {
  simdgroup_matrix<A, 8, 8> d;
  simdgroup_multiply(d, a, b);
  return d;
}

typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;

}  // namespace metal

using metal::simdgroup_bfloat8x8;
using metal::simdgroup_float8x8;
using metal::simdgroup_half8x8;
