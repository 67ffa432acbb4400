/* Apple G13 and G14: what Honeykrisp asks of the asahi kernel driver. */
#include "drm/asahi_drm.h"
#include "standin.h"
int asahi_ioctl(unsigned nr, void *arg) {
  switch (nr) {
  case DRM_ASAHI_GET_PARAMS: {
    struct drm_asahi_get_params *g = arg;
    struct drm_asahi_params_global p;
    memset(&p, 0, sizeof p);
    int gen = getenv("MARLIN_ISA_GEN") ? atoi(getenv("MARLIN_ISA_GEN")) : 13;
    p.features = DRM_ASAHI_FEATURE_SOFT_FAULTS;
    p.gpu_generation = gen;
    p.gpu_variant = 'S';
    p.gpu_revision = 0x11;
    p.chip_id = gen == 13 ? 0x6000 : 0x6020;
    p.num_dies = 1;
    p.num_clusters_total = 2;
    p.num_cores_per_cluster = 8;
    p.max_frequency_khz = 1296000;
    p.core_masks[0] = 0xff;
    p.core_masks[1] = 0xff;
    p.vm_start = 0x4000;
    p.vm_end = 1ull << 39;
    p.vm_kernel_min_size = 0x20000000;
    p.max_commands_per_submission = 64;
    p.max_attachments = 16;
    p.command_timestamp_frequency_hz = 24000000;
    uint64_t n = g->size < sizeof p ? g->size : sizeof p;
    memcpy((void *)(uintptr_t)g->pointer, &p, n);
    g->size = n;
    return 0;
  }
  case DRM_ASAHI_GET_TIME: return 0;
  case DRM_ASAHI_VM_CREATE: ((struct drm_asahi_vm_create *)arg)->vm_id = 1; return 0;
  case DRM_ASAHI_GEM_CREATE: {
    struct drm_asahi_gem_create *c = arg;
    return buffer_new(c->size, 0x10000, &c->handle);
  }
  case DRM_ASAHI_GEM_MMAP_OFFSET: {
    struct drm_asahi_gem_mmap_offset *m = arg;
    m->offset = buffer_offset(m->handle);
    return 0;
  }
  case DRM_ASAHI_GEM_BIND_OBJECT: ((struct drm_asahi_gem_bind_object *)arg)->object_handle = 1; return 0;
  case DRM_ASAHI_QUEUE_CREATE: ((struct drm_asahi_queue_create *)arg)->queue_id = 1; return 0;
  default: return 0;
  }
}
