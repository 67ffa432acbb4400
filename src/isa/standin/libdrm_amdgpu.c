/* Stand-in for libdrm_amdgpu.so.1: the dozen functions that RADV 26 imports */
#define _GNU_SOURCE
#include "amdgpu.h"
#include "amdgpu_drm.h"
#include "xf86drm.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
struct amdgpu_device {
  int fd;
  uint64_t next;
};
struct amdgpu_bo {
  uint32_t handle;
  uint64_t size;
};
int amdgpu_device_initialize(int fd, uint32_t *maj, uint32_t *min, amdgpu_device_handle *out) {
  struct amdgpu_device *d = calloc(1, sizeof *d);
  d->fd = dup(fd);
  d->next = 0x100000000ull;
  *maj = 3;
  *min = 64;
  *out = d;
  return 0;
}
int amdgpu_device_deinitialize(amdgpu_device_handle d) { return 0; }
int amdgpu_device_get_fd(amdgpu_device_handle d) { return d->fd; }
const char *amdgpu_get_marketing_name(amdgpu_device_handle d) { return "stand-in AMD"; }
int amdgpu_query_sw_info(amdgpu_device_handle d, enum amdgpu_sw_info i, void *v) {
  if (i == amdgpu_sw_info_address32_hi)
    *(uint32_t *)v = 0xffff8000u;
  return 0;
}
int amdgpu_va_range_alloc(amdgpu_device_handle d, enum amdgpu_gpu_va_range t, uint64_t size, uint64_t al,
                          uint64_t base, uint64_t *va, amdgpu_va_handle *h, uint64_t flags) {
  static uint64_t lo = 0xffff800000200000ull, hi = 0x800000000ull;
  uint64_t *n = (flags & AMDGPU_VA_RANGE_32_BIT) ? &lo : &hi;
  if (al < 0x10000)
    al = 0x10000;
  *n = (*n + al - 1) / al * al;
  *va = base ? base : *n;
  *n += (size + 0xffff) & ~0xffffull;
  *h = (void *)malloc(1);
  return 0;
}
int amdgpu_va_range_free(amdgpu_va_handle h) { return 0; }
int amdgpu_bo_alloc(amdgpu_device_handle d, struct amdgpu_bo_alloc_request *r, amdgpu_bo_handle *b) {
  union drm_amdgpu_gem_create g;
  memset(&g, 0, sizeof g);
  g.in.bo_size = r->alloc_size;
  drmIoctl(d->fd, DRM_IOCTL_AMDGPU_GEM_CREATE, &g);
  struct amdgpu_bo *o = calloc(1, sizeof *o);
  o->handle = g.out.handle;
  o->size = r->alloc_size;
  *b = o;
  return 0;
}
int amdgpu_bo_free(amdgpu_bo_handle b) { return 0; }
int amdgpu_bo_export(amdgpu_bo_handle b, enum amdgpu_bo_handle_type t, uint32_t *h) {
  *h = b->handle;
  return 0;
}
int amdgpu_bo_import(amdgpu_device_handle d, enum amdgpu_bo_handle_type t, uint32_t h,
                     struct amdgpu_bo_import_result *r) {
  struct amdgpu_bo *o = calloc(1, sizeof *o);
  o->handle = h;
  o->size = 4096;
  r->buf_handle = o;
  r->alloc_size = 4096;
  return 0;
}
int amdgpu_create_bo_from_user_mem(amdgpu_device_handle d, void *cpu, uint64_t size, amdgpu_bo_handle *b) {
  struct amdgpu_bo_alloc_request r = {.alloc_size = size};
  return amdgpu_bo_alloc(d, &r, b);
}
