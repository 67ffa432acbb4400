// Turns what is bound to a kernel into the parameters that it declares, whatever their types are.
#pragma once

namespace marlin {

// A threadgroup variable: one in the text of a kernel, or a reference parameter without [[threadgroup(n)]].
template <class T, uint Id>
inline threadgroup T& threadgroup_variable() {
  return *reinterpret_cast<threadgroup T*>(marlin_threadgroup_variable(Id, sizeof(T), alignof(T)));
}

#ifndef MARLIN_ADDRESS_SPACES

struct pointer {
  void* p;
  template <class T>
  operator T*() const {
    return reinterpret_cast<T*>(p);
  }
};
struct reference {
  void* p;
  template <class T>
  operator T&() const {
    return *reinterpret_cast<T*>(p);
  }
};
struct texture {
  marlin_texture* t;
  template <class T>
  operator T() const {
    return T(t);
  }
};
struct defaulted {
  template <class T>
  operator T() const {
    return T();
  }
};

template <uint Id>
struct threadgroup_reference {
  template <class T>
  operator T&() const {
    return threadgroup_variable<T, Id>();
  }
};

// A thread's position or a size, in as many dimensions as the parameter has.
template <class T>
struct as_dimensions {
  template <class F>
  static T from(F f) {
    return T(f(0));
  }
};
template <class T>
struct as_dimensions<metal::vec<T, 2>> {
  template <class F>
  static metal::vec<T, 2> from(F f) {
    return metal::vec<T, 2>(T(f(0)), T(f(1)));
  }
};
template <class T>
struct as_dimensions<metal::vec<T, 3>> {
  template <class F>
  static metal::vec<T, 3> from(F f) {
    return metal::vec<T, 3>(T(f(0)), T(f(1)), T(f(2)));
  }
};
#define MARLIN_DIMENSIONS(NAME)                                             \
  struct NAME {                                                             \
    template <class T>                                                      \
    operator T() const {                                                    \
      return as_dimensions<T>::from(marlin_##NAME);                         \
    }                                                                       \
  };
#define MARLIN_INDEX(NAME)                                                  \
  struct NAME {                                                             \
    template <class T>                                                      \
    operator T() const {                                                    \
      return T(marlin_##NAME());                                            \
    }                                                                       \
  };
MARLIN_DIMENSIONS(thread_position_in_grid)
MARLIN_DIMENSIONS(thread_position_in_threadgroup)
MARLIN_DIMENSIONS(threadgroup_position_in_grid)
MARLIN_DIMENSIONS(threads_per_grid)
MARLIN_DIMENSIONS(threads_per_threadgroup)
MARLIN_DIMENSIONS(threadgroups_per_grid)
MARLIN_INDEX(thread_index_in_threadgroup)
MARLIN_INDEX(thread_index_in_simdgroup)
MARLIN_INDEX(simdgroup_index_in_threadgroup)
MARLIN_INDEX(threads_per_simdgroup)
MARLIN_INDEX(simdgroups_per_threadgroup)
typedef threads_per_simdgroup thread_execution_width;
typedef threads_per_threadgroup dispatch_threads_per_threadgroup;
struct quadgroup_index_in_threadgroup {
  template <class T>
  operator T() const {
    return T(marlin_thread_index_in_threadgroup() / 4);
  }
};
struct thread_index_in_quadgroup {
  template <class T>
  operator T() const {
    return T(marlin_thread_index_in_threadgroup() % 4);
  }
};

#endif  // MARLIN_ADDRESS_SPACES

}  // namespace marlin
