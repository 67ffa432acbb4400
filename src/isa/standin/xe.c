/* Intel Xe2: what ANV asks of the xe kernel driver. */
#include "drm/xe_drm.h"
#include "standin.h"
#include <errno.h>
int xe_ioctl(unsigned nr, void *arg) {
  unsigned pci = setting("MARLIN_ISA_PCI", 0xe20b);
  int dg = pci == 0xe20b;
  unsigned dss = setting("MARLIN_ISA_SUBSLICES", dg ? 20 : 8);
  switch (nr) {
  case DRM_XE_DEVICE_QUERY: {
    struct drm_xe_device_query *q = arg;
    static uint8_t b[4096] __attribute__((aligned(8)));
    memset(b, 0, sizeof b);
    unsigned len = 0;
    switch (q->query) {
    case DRM_XE_DEVICE_QUERY_ENGINES: {
      struct drm_xe_query_engines *e = (void *)b;
      int cls[] = {0, 1, 4};
      e->num_engines = 3;
      for (int i = 0; i < 3; i++) {
        e->engines[i].instance.engine_class = cls[i];
      }
      len = sizeof *e + 3 * sizeof(struct drm_xe_engine);
      break;
    }
    case DRM_XE_DEVICE_QUERY_MEM_REGIONS: {
      struct drm_xe_query_mem_regions *m = (void *)b;
      m->num_mem_regions = 1 + dg;
      for (int i = 0; i < 1 + dg; i++) {
        m->mem_regions[i].mem_class = i;
        m->mem_regions[i].instance = i;
        m->mem_regions[i].min_page_size = i ? 65536 : 4096;
        m->mem_regions[i].total_size = m->mem_regions[i].cpu_visible_size = 12ull << 30;
      }
      len = sizeof *m + (1 + dg) * sizeof(struct drm_xe_mem_region);
      break;
    }
    case DRM_XE_DEVICE_QUERY_CONFIG: {
      struct drm_xe_query_config *c = (void *)b;
      c->num_params = 5;
      c->info[0] = pci | (setting("MARLIN_ISA_REV", 0) << 16);
      c->info[1] = dg ? DRM_XE_QUERY_CONFIG_FLAG_HAS_VRAM : 0;
      c->info[2] = dg ? 65536 : 4096;
      c->info[3] = 48;
      c->info[4] = 2;
      len = sizeof *c + 5 * 8;
      break;
    }
    case DRM_XE_DEVICE_QUERY_GT_LIST: {
      struct drm_xe_query_gt_list *g = (void *)b;
      g->num_gt = 1;
      g->gt_list[0].type = 0;
      g->gt_list[0].reference_clock = 19200000;
      g->gt_list[0].near_mem_regions = dg ? 2 : 1;
      g->gt_list[0].far_mem_regions = dg ? 1 : 0;
      g->gt_list[0].ip_ver_major = 20;
      g->gt_list[0].ip_ver_minor = dg ? 1 : 4;
      len = sizeof *g + sizeof(struct drm_xe_gt);
      break;
    }
    case DRM_XE_DEVICE_QUERY_HWCONFIG: len = 0; break;
    case DRM_XE_DEVICE_QUERY_GT_TOPOLOGY: {
      int ty[] = {DRM_XE_TOPO_DSS_GEOMETRY, DRM_XE_TOPO_DSS_COMPUTE, DRM_XE_TOPO_L3_BANK,
                  DRM_XE_TOPO_SIMD16_EU_PER_DSS};
      uint64_t v[] = {(1ull << dss) - 1, (1ull << dss) - 1, 0xffff, 0xff};
      for (int i = 0; i < 4; i++) {
        struct drm_xe_query_topology_mask *m = (void *)(b + len);
        m->gt_id = 0;
        m->type = ty[i];
        m->num_bytes = 8;
        memcpy(m->mask, &v[i], 8);
        len += sizeof *m + 8;
      }
      break;
    }
    case DRM_XE_DEVICE_QUERY_ENGINE_CYCLES: len = sizeof(struct drm_xe_query_engine_cycles); break;
    case DRM_XE_DEVICE_QUERY_UC_FW_VERSION: {
      struct drm_xe_query_uc_fw_version *f = (void *)b;
      f->major_ver = 1;
      f->minor_ver = 20;
      len = sizeof *f;
      break;
    }
    default: errno = EINVAL; return -1;
    }
    if (q->size == 0) {
      q->size = len;
      return 0;
    }
    if (q->data)
      memcpy((void *)(uintptr_t)q->data, b, q->size < len ? q->size : len);
    return 0;
  }
  case DRM_XE_GEM_CREATE: {
    struct drm_xe_gem_create *g = arg;
    return buffer_new(g->size, 0x200000, &g->handle);
  }
  case DRM_XE_GEM_MMAP_OFFSET: {
    struct drm_xe_gem_mmap_offset *m = arg;
    m->offset = buffer_offset(m->handle);
    return 0;
  }
  case DRM_XE_VM_CREATE: ((struct drm_xe_vm_create *)arg)->vm_id = 1; return 0;
  case DRM_XE_EXEC_QUEUE_CREATE: ((struct drm_xe_exec_queue_create *)arg)->exec_queue_id = 1; return 0;
  case DRM_XE_EXEC_QUEUE_GET_PROPERTY: ((struct drm_xe_exec_queue_get_property *)arg)->value = 0; return 0;
  default: return 0;
  }
}
