/* Intel up to Xe HPG: what ANV asks of the i915 kernel driver. */
#include "drm/i915_drm.h"
#include "standin.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
static unsigned slices(void) {
  return setting("MARLIN_ISA_SLICES", setting("MARLIN_ISA_PCI", 0x56a0) == 0x56a0 ? 8 : 1);
}
static unsigned subslices(void) {
  return setting("MARLIN_ISA_SUBSLICES", setting("MARLIN_ISA_PCI", 0x56a0) == 0x56a0 ? 4 : 6);
} /* per slice */
static int lmem(void) { return setting("MARLIN_ISA_LMEM", setting("MARLIN_ISA_PCI", 0x56a0) == 0x56a0); }
int i915_ioctl(unsigned nr, void *arg) {
  switch (nr) {
  case DRM_I915_GETPARAM: {
    struct drm_i915_getparam *p = arg;
    int v = 1;
    switch (p->param) {
    case I915_PARAM_CHIPSET_ID: v = setting("MARLIN_ISA_PCI", 0x56a0); break;
    case I915_PARAM_REVISION: v = setting("MARLIN_ISA_REV", 8); break;
    case I915_PARAM_CS_TIMESTAMP_FREQUENCY: v = 19200000; break;
    case I915_PARAM_HAS_ALIASING_PPGTT: v = 3; break;
    case I915_PARAM_CMD_PARSER_VERSION: v = 10; break;
    case I915_PARAM_MMAP_GTT_VERSION:
    case I915_PARAM_MMAP_VERSION: v = 4; break;
    case I915_PARAM_SUBSLICE_TOTAL: v = slices() * subslices(); break;
    case I915_PARAM_EU_TOTAL: v = slices() * subslices() * 16; break;
    case I915_PARAM_SLICE_MASK: v = (1 << slices()) - 1; break;
    case I915_PARAM_SUBSLICE_MASK: v = (1 << subslices()) - 1; break;
    case I915_PARAM_PERF_REVISION: v = 5; break;
    case I915_PARAM_NUM_FENCES_AVAIL: v = 32; break;
    case I915_PARAM_HAS_CONTEXT_ISOLATION: v = 1; break;
    case I915_PARAM_OA_TIMESTAMP_FREQUENCY: v = 19200000; break;
    case I915_PARAM_HAS_LLC: v = !lmem(); break;
    case I915_PARAM_HAS_SCHEDULER: v = 0x1f; break;
    case I915_PARAM_PXP_STATUS: errno = ENODEV; return -1;
    default: v = 1;
    }
    *p->value = v;
    return 0;
  }
  case DRM_I915_QUERY: {
    struct drm_i915_query *q = arg;
    struct drm_i915_query_item *it = (void *)(uintptr_t)q->items_ptr;
    for (unsigned i = 0; i < q->num_items; i++) {
      void *o = (void *)(uintptr_t)it[i].data_ptr;
      switch (it[i].query_id) {
      case DRM_I915_QUERY_TOPOLOGY_INFO:
      case DRM_I915_QUERY_GEOMETRY_SUBSLICES: {
        unsigned S = slices(), SS = subslices(),
                 len = sizeof(struct drm_i915_query_topology_info) + 1 + S + S * SS * 2;
        if (it[i].length == 0) {
          it[i].length = len;
          break;
        }
        struct drm_i915_query_topology_info *t = o;
        memset(t, 0, len);
        t->max_slices = S;
        t->max_subslices = SS;
        t->max_eus_per_subslice = 16;
        t->subslice_offset = 1;
        t->subslice_stride = 1;
        t->eu_offset = 1 + S;
        t->eu_stride = 2;
        t->data[0] = (1 << S) - 1;
        for (unsigned k = 0; k < S; k++)
          t->data[1 + k] = (1 << SS) - 1;
        for (unsigned k = 0; k < S * SS * 2; k++)
          t->data[1 + S + k] = 0xff;
        it[i].length = len;
        break;
      }
      case DRM_I915_QUERY_ENGINE_INFO: {
        int cls[] = {0, 1, 4, 4, 4, 4};
        int n = lmem() ? 6 : 2;
        unsigned len = sizeof(struct drm_i915_query_engine_info) + n * sizeof(struct drm_i915_engine_info);
        if (it[i].length == 0) {
          it[i].length = len;
          break;
        }
        struct drm_i915_query_engine_info *e = o;
        memset(e, 0, len);
        e->num_engines = n;
        for (int k = 0; k < n; k++) {
          e->engines[k].engine.engine_class = cls[k];
          e->engines[k].engine.engine_instance = k >= 2 ? k - 2 : 0;
        }
        it[i].length = len;
        break;
      }
      case DRM_I915_QUERY_MEMORY_REGIONS: {
        int n = 1 + lmem();
        unsigned len =
            sizeof(struct drm_i915_query_memory_regions) + n * sizeof(struct drm_i915_memory_region_info);
        if (it[i].length == 0) {
          it[i].length = len;
          break;
        }
        struct drm_i915_query_memory_regions *m = o;
        memset(m, 0, len);
        m->num_regions = n;
        for (int k = 0; k < n; k++) {
          m->regions[k].region.memory_class = k;
          m->regions[k].probed_size = m->regions[k].unallocated_size = 16ull << 30;
          m->regions[k].probed_cpu_visible_size = m->regions[k].unallocated_cpu_visible_size = 16ull << 30;
        }
        it[i].length = len;
        break;
      }
      default: it[i].length = -EINVAL;
      }
    }
    return 0;
  }
  case DRM_I915_GEM_CREATE: {
    struct drm_i915_gem_create *g = arg;
    return buffer_new(g->size, 0x200000, &g->handle);
  }
  case DRM_I915_GEM_CREATE_EXT: {
    struct drm_i915_gem_create_ext *g = arg;
    return buffer_new(g->size, 0x200000, &g->handle);
  }
  case DRM_I915_GEM_MMAP_GTT: {
    struct drm_i915_gem_mmap_offset *m = arg;
    m->offset = buffer_offset(m->handle);
    return 0;
  }
  case DRM_I915_GEM_MMAP: {
    struct drm_i915_gem_mmap *m = arg;
    int fd2 = open(node(), O_RDWR);
    void *p = mmap(0, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd2, buffer_offset(m->handle) + m->offset);
    close(fd2);
    if (p == MAP_FAILED)
      return -1;
    m->addr_ptr = (uintptr_t)p;
    return 0;
  }
  case DRM_I915_GEM_CONTEXT_CREATE: ((struct drm_i915_gem_context_create *)arg)->ctx_id = 1; return 0;
  case DRM_I915_GEM_VM_CREATE: ((struct drm_i915_gem_vm_control *)arg)->vm_id = 1; return 0;
  case DRM_I915_GEM_CONTEXT_GETPARAM: {
    struct drm_i915_gem_context_param *p = arg;
    p->value = p->param == I915_CONTEXT_PARAM_GTT_SIZE ? 1ull << 48 : 0;
    return 0;
  }
  case DRM_I915_GEM_GET_APERTURE: {
    struct drm_i915_gem_get_aperture *a = arg;
    a->aper_size = a->aper_available_size = 1ull << 48;
    return 0;
  }
  case DRM_I915_GEM_USERPTR: ((struct drm_i915_gem_userptr *)arg)->handle = new_handle(); return 0;
  case DRM_I915_GET_RESET_STATS: return 0;
  case DRM_I915_REG_READ: ((struct drm_i915_reg_read *)arg)->val = 1; return 0;
  default: return 0;
  }
}
