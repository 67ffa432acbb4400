// Atomics. All orders are relaxed, as on Apple GPUs.
#pragma once

namespace metal {

template <class T>
struct atomic {
  T marlin_value;
};
template <class T>
using _atomic = atomic<T>;
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<ulong> atomic_ulong;
typedef atomic<bool> atomic_bool;
typedef atomic<float> atomic_float;

template <class T>
inline T atomic_load_explicit(const volatile atomic<T>* a, memory_order) {
  T x;
  __atomic_load(&a->marlin_value, &x, __ATOMIC_RELAXED);
  return x;
}
template <class T>
inline void atomic_store_explicit(volatile atomic<T>* a, marlin::same_t<T> x, memory_order) {
  __atomic_store(&a->marlin_value, &x, __ATOMIC_RELAXED);
}
template <class T>
inline T atomic_exchange_explicit(volatile atomic<T>* a, marlin::same_t<T> x, memory_order) {
  T old;
  __atomic_exchange(&a->marlin_value, &x, &old, __ATOMIC_RELAXED);
  return old;
}
template <class T>
inline bool atomic_compare_exchange_weak_explicit(volatile atomic<T>* a, thread T* expected, marlin::same_t<T> x,
                                                  memory_order, memory_order) {
  return __atomic_compare_exchange(&a->marlin_value, expected, &x, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
#define MARLIN_ATOMIC(NAME)                                                 \
  template <class T>                                                        \
  inline T atomic_fetch_##NAME##_explicit(volatile atomic<T>* a, marlin::same_t<T> x, memory_order) { \
    return __atomic_fetch_##NAME(&a->marlin_value, x, __ATOMIC_RELAXED);    \
  }
MARLIN_ATOMIC(add)
MARLIN_ATOMIC(sub)
MARLIN_ATOMIC(and)
MARLIN_ATOMIC(or)
MARLIN_ATOMIC(xor)
MARLIN_ATOMIC(min)
MARLIN_ATOMIC(max)
template <class T>
inline void atomic_min_explicit(volatile atomic<T>* a, marlin::same_t<T> x, memory_order o) {
  atomic_fetch_min_explicit(a, x, o);
}
template <class T>
inline void atomic_max_explicit(volatile atomic<T>* a, marlin::same_t<T> x, memory_order o) {
  atomic_fetch_max_explicit(a, x, o);
}
inline void atomic_thread_fence(mem_flags, memory_order, thread_scope = thread_scope_device) {}

}  // namespace metal
