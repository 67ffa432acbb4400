// Textures: reading, writing and asking sizes work; sampling only type-checks.
#pragma once

namespace metal {

enum class access { sample, read, write, read_write };
enum class coord { normalized, pixel };
enum class address { clamp_to_zero, clamp_to_edge, repeat, mirrored_repeat, clamp_to_border };
enum class s_address { clamp_to_zero, clamp_to_edge, repeat, mirrored_repeat, clamp_to_border };
enum class t_address { clamp_to_zero, clamp_to_edge, repeat, mirrored_repeat, clamp_to_border };
enum class r_address { clamp_to_zero, clamp_to_edge, repeat, mirrored_repeat, clamp_to_border };
enum class filter { nearest, linear };
enum class mag_filter { nearest, linear };
enum class min_filter { nearest, linear };
enum class mip_filter { none, nearest, linear };
enum class compare_func { none, never, less, less_equal, greater, greater_equal, equal, not_equal, always };
enum class component { x, y, z, w };
struct sampler {
  template <class... A>
  constexpr sampler(A...) {}
};
struct level {
  explicit level(float) {}
};
struct bias {
  explicit bias(float) {}
};

#define MARLIN_TEXTURE(NAME, COORDINATE, FLOAT_COORDINATE, INDEX, INSIDE, LAYERED)  \
  template <class T, access A = access::sample>                             \
  struct NAME {                                                             \
    marlin_texture* marlin_t;                                               \
    NAME() = default;                                                       \
    explicit NAME(marlin_texture* t) : marlin_t(t) {}                       \
    uint get_width(uint = 0) const { return marlin_t->width; }              \
    uint get_height(uint = 0) const { return marlin_t->height; }            \
    uint get_depth(uint = 0) const { return marlin_t->depth; }              \
    uint get_array_size() const { return marlin_t->layers; }                \
    uint get_num_mip_levels() const { return 1; }                           \
    vec<T, 4> read(COORDINATE at, uint LAYERED = 0) const {                 \
      vec<T, 4> texel = vec<T, 4>(T(0));                                    \
      if (INSIDE)                                                           \
        for (ulong i = 0; i < 4; i++) texel[i] = marlin::from_word<T>(marlin_t->texels[(INDEX) * 4 + i]); \
      return texel;                                                         \
    }                                                                       \
    void write(vec<T, 4> texel, COORDINATE at, uint LAYERED = 0) const {    \
      if (INSIDE)                                                           \
        for (ulong i = 0; i < 4; i++) marlin_t->texels[(INDEX) * 4 + i] = marlin::to_word<T>(texel[i]); \
    }                                                                       \
    template <class... O>                                                   \
    vec<T, 4> sample(sampler, FLOAT_COORDINATE, O...) const {               \
      marlin_unsupported(MARLIN_UNSUPPORTED_SAMPLE);                        \
    }                                                                       \
    template <class... O>                                                   \
    vec<T, 4> gather(sampler, FLOAT_COORDINATE, O...) const {               \
      marlin_unsupported(MARLIN_UNSUPPORTED_SAMPLE);                        \
    }                                                                       \
    void fence() const {}                                                   \
  };

}  // namespace metal

namespace marlin {

// A channel of a texel is one word: the bits of a float, or an integer.
template <class T>
inline T from_word(uint word) {
  if constexpr (metal::is_floating_point_v<T>)
    return T(__builtin_bit_cast(float, word));
  else
    return T(word);
}
template <class T>
inline uint to_word(T x) {
  if constexpr (metal::is_floating_point_v<T>)
    return __builtin_bit_cast(uint, float(x));
  else
    return uint(x);
}

}  // namespace marlin

namespace metal {

MARLIN_TEXTURE(texture1d, uint, float, ulong(at), at < marlin_t->width, lod)
MARLIN_TEXTURE(texture2d, uint2, float2, ulong(at.y) * marlin_t->width + at.x,
               at.x < marlin_t->width && at.y < marlin_t->height, lod)
MARLIN_TEXTURE(texture2d_array, uint2, float2, (ulong(layer) * marlin_t->height + at.y) * marlin_t->width + at.x,
               at.x < marlin_t->width && at.y < marlin_t->height && layer < marlin_t->layers, layer)
MARLIN_TEXTURE(texture3d, uint3, float3, (ulong(at.z) * marlin_t->height + at.y) * marlin_t->width + at.x,
               at.x < marlin_t->width && at.y < marlin_t->height && at.z < marlin_t->depth, lod)
MARLIN_TEXTURE(depth2d, uint2, float2, ulong(at.y) * marlin_t->width + at.x,
               at.x < marlin_t->width && at.y < marlin_t->height, lod)

}  // namespace metal
