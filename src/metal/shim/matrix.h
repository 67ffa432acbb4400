// Matrices: column-major, as in the Metal Shading Language.
#pragma once

namespace metal {

template <class T, int C, int R>
struct matrix {
  typedef vec<T, R> column;
  column columns[C];
  matrix() = default;
  matrix(T diagonal) {
    for (int c = 0; c < C; c++)
      for (int r = 0; r < R; r++) columns[c][r] = c == r ? diagonal : T(0);
  }
  template <class... A, class = enable_if_t<sizeof...(A) == C - 2>>
  matrix(column a, column b, A... rest) : columns{a, b, column(rest)...} {}
  template <class... A, class = enable_if_t<sizeof...(A) == C * R - 2>, class = void>
  matrix(T a, T b, A... rest) {
    T all[C * R] = {a, b, T(rest)...};
    for (int i = 0; i < C * R; i++) columns[i / R][i % R] = all[i];
  }
  template <class U, class = enable_if_t<!is_same_v<U, T>>>
  explicit matrix(matrix<U, C, R> m) {
    for (int c = 0; c < C; c++) columns[c] = column(m.columns[c]);
  }
  column& operator[](size_t c) { return columns[c]; }
  const column& operator[](size_t c) const { return columns[c]; }

  friend matrix operator+(matrix a, matrix b) {
    for (int c = 0; c < C; c++) a.columns[c] += b.columns[c];
    return a;
  }
  friend matrix operator-(matrix a, matrix b) {
    for (int c = 0; c < C; c++) a.columns[c] -= b.columns[c];
    return a;
  }
  matrix operator-() const {
    matrix m;
    for (int c = 0; c < C; c++) m.columns[c] = -columns[c];
    return m;
  }
  friend matrix operator*(matrix a, T s) {
    for (int c = 0; c < C; c++) a.columns[c] *= column(s);
    return a;
  }
  friend matrix operator*(T s, matrix a) { return a * s; }
  friend column operator*(matrix m, vec<T, C> x) {
    column sum = m.columns[0] * column(T(x.v[0]));
    for (int c = 1; c < C; c++) sum += m.columns[c] * column(T(x.v[c]));
    return sum;
  }
  friend vec<T, C> operator*(column x, matrix m) {
    vec<T, C> r;
    for (int c = 0; c < C; c++) r[c] = dot(x, m.columns[c]);
    return r;
  }
  matrix& operator+=(matrix b) { return *this = *this + b; }
  matrix& operator-=(matrix b) { return *this = *this - b; }
  matrix& operator*=(T s) { return *this = *this * s; }
  friend bool operator==(matrix a, matrix b) {
    bool same = true;
    for (int c = 0; c < C; c++) same = same && all(a.columns[c] == b.columns[c]);
    return same;
  }
};

template <class T, int K, int R, int C>
inline matrix<T, C, R> operator*(matrix<T, K, R> a, matrix<T, C, K> b) {
  matrix<T, C, R> m;
  for (int c = 0; c < C; c++) m.columns[c] = a * b.columns[c];
  return m;
}
template <class T, int C, int R>
inline matrix<T, R, C> transpose(matrix<T, C, R> m) {
  matrix<T, R, C> t;
  for (int c = 0; c < C; c++)
    for (int r = 0; r < R; r++) t.columns[r][c] = m.columns[c][r];
  return t;
}
template <class T>
inline T determinant(matrix<T, 2, 2> m) {
  return T(m[0][0] * m[1][1] - m[1][0] * m[0][1]);
}
template <class T>
inline T determinant(matrix<T, 3, 3> m) {
  return dot(m[0], cross(m[1], m[2]));
}
template <class T>
inline T determinant(matrix<T, 4, 4> m) {
  T sum = T(0);
  for (int c = 0; c < 4; c++) {
    matrix<T, 3, 3> minor;
    for (int k = 0, to = 0; k < 4; k++)
      if (k != c) {
        minor[to] = vec<T, 3>(m[k][1], m[k][2], m[k][3]);
        to++;
      }
    sum = T(sum + (c % 2 ? -m[c][0] : m[c][0]) * determinant(minor));
  }
  return sum;
}

#define MARLIN_MATRIX_NAMES(T)                                              \
  typedef matrix<T, 2, 2> T##2x2;                                           \
  typedef matrix<T, 2, 3> T##2x3;                                           \
  typedef matrix<T, 2, 4> T##2x4;                                           \
  typedef matrix<T, 3, 2> T##3x2;                                           \
  typedef matrix<T, 3, 3> T##3x3;                                           \
  typedef matrix<T, 3, 4> T##3x4;                                           \
  typedef matrix<T, 4, 2> T##4x2;                                           \
  typedef matrix<T, 4, 3> T##4x3;                                           \
  typedef matrix<T, 4, 4> T##4x4;
MARLIN_MATRIX_NAMES(half)
MARLIN_MATRIX_NAMES(float)

}  // namespace metal

#define MARLIN_GLOBAL_MATRIX(T)                                             \
  using metal::T##2x2;                                                      \
  using metal::T##2x3;                                                      \
  using metal::T##2x4;                                                      \
  using metal::T##3x2;                                                      \
  using metal::T##3x3;                                                      \
  using metal::T##3x4;                                                      \
  using metal::T##4x2;                                                      \
  using metal::T##4x3;                                                      \
  using metal::T##4x4;
MARLIN_GLOBAL_MATRIX(half)
MARLIN_GLOBAL_MATRIX(float)
