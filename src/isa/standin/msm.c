/* Adreno: what Turnip asks of the msm kernel driver; the chip id chooses the GPU. */
#include "drm/msm_drm.h"
#include "standin.h"
int msm_ioctl(unsigned nr, void *arg) {
  switch (nr) {
  case DRM_MSM_GET_PARAM: {
    struct drm_msm_param *p = arg;
    uint64_t chip = getenv("MARLIN_ISA_CHIP") ? strtoull(getenv("MARLIN_ISA_CHIP"), 0, 0) : 0x43050a01ull;
    switch (p->param) {
    case MSM_PARAM_GPU_ID: p->value = 0; break;
    case MSM_PARAM_CHIP_ID: p->value = chip; break;
    case MSM_PARAM_GMEM_SIZE: p->value = 3 << 20; break;
    case MSM_PARAM_GMEM_BASE: p->value = 0; break;
    case MSM_PARAM_MAX_FREQ: p->value = 680000000; break;
    case MSM_PARAM_TIMESTAMP: p->value = 1; break;
    case MSM_PARAM_PRIORITIES: p->value = 3; break;
    case MSM_PARAM_FAULTS:
    case MSM_PARAM_SUSPENDS: p->value = 0; break;
    case MSM_PARAM_VA_START: p->value = 0x100000000ull; break;
    case MSM_PARAM_VA_SIZE: p->value = 0xf00000000ull; break;
    case MSM_PARAM_HIGHEST_BANK_BIT: p->value = 16; break;
    case MSM_PARAM_UBWC_SWIZZLE: p->value = 6; break;
    case MSM_PARAM_MACROTILE_MODE: p->value = 1; break;
    case MSM_PARAM_RAYTRACING: p->value = 1; break;
    default: p->value = 0;
    }
    return 0;
  }
  case DRM_MSM_GEM_NEW: {
    struct drm_msm_gem_new *g = arg;
    return buffer_new(g->size, 0x10000, &g->handle);
  }
  case DRM_MSM_GEM_INFO: {
    struct drm_msm_gem_info *g = arg;
    if (g->info == MSM_INFO_GET_OFFSET)
      g->value = buffer_offset(g->handle);
    else if (g->info == MSM_INFO_GET_IOVA)
      g->value = 0x100000000ull + buffer_offset(g->handle);
    return 0;
  }
  case DRM_MSM_SUBMITQUEUE_NEW: ((struct drm_msm_submitqueue *)arg)->id = 1; return 0;
  default: return 0;
  }
}
