/* AMD: what RADV asks of the amdgpu kernel driver, with one row of facts per GPU. */
#include "drm/amdgpu_drm.h"
#include "standin.h"
static const struct amd {
  const char *name;
  uint32_t pci, family, rev, ip, se, sa, cu, rb, tcc;
  uint32_t gb;
} amds[] = {
    {"navi21", 0x73bf, 143, 0x28, 0x0a0300, 4, 2, 10, 16, 16, 0x00000444},
    {"navi31", 0x744c, 145, 0x01, 0x0b0000, 6, 2, 8, 24, 24, 0x00000545},
    {"navi33", 0x7480, 145, 0x10, 0x0b0002, 2, 2, 8, 8, 16, 0x00000444},
    {"gfx1150", 0x150e, 150, 0x01, 0x0b0500, 1, 2, 8, 4, 8, 0x00000243},
    {"gfx1201", 0x7550, 152, 0x50, 0x0c0001, 4, 2, 8, 16, 16, 0x00000444},
};
static const struct amd *amd(void) {
  const char *n = getenv("MARLIN_ISA_AMD");
  for (unsigned i = 0; n && i < sizeof amds / sizeof *amds; i++)
    if (!strcmp(n, amds[i].name))
      return &amds[i];
  return &amds[1];
}
int amdgpu_ioctl(unsigned nr, void *arg) {
  const struct amd *a = amd();
  switch (nr) {
  case DRM_AMDGPU_GEM_CREATE: {
    union drm_amdgpu_gem_create *g = arg;
    uint32_t h;
    if (buffer_new(g->in.bo_size, 0x10000, &h))
      return -1;
    memset(&g->out, 0, sizeof g->out);
    g->out.handle = h;
    return 0;
  }
  case DRM_AMDGPU_GEM_MMAP: {
    union drm_amdgpu_gem_mmap *g = arg;
    uint32_t h = g->in.handle;
    g->out.addr_ptr = buffer_offset(h);
    return 0;
  }
  case DRM_AMDGPU_CTX: {
    union drm_amdgpu_ctx *c = arg;
    if (c->in.op == AMDGPU_CTX_OP_ALLOC_CTX)
      c->out.alloc.ctx_id = 1;
    return 0;
  }
  case DRM_AMDGPU_BO_LIST: ((union drm_amdgpu_bo_list *)arg)->out.list_handle = 1; return 0;
  case DRM_AMDGPU_CS: ((union drm_amdgpu_cs *)arg)->out.handle = 1; return 0;
  case DRM_AMDGPU_INFO: {
    struct drm_amdgpu_info *q = arg;
    void *o = (void *)(uintptr_t)q->return_pointer;
    uint32_t n = q->return_size;
    union {
      uint32_t u;
      uint64_t q;
      struct drm_amdgpu_info_hw_ip ip;
      struct drm_amdgpu_info_firmware fw;
      struct drm_amdgpu_info_device d;
      struct drm_amdgpu_memory_info m;
      uint32_t r[512];
    } u;
    memset(&u, 0, sizeof u);
    switch (q->query) {
    case AMDGPU_INFO_ACCEL_WORKING: u.u = 1; break;
    case AMDGPU_INFO_HW_IP_COUNT: u.u = q->query_hw_ip.type <= 2; break;
    case AMDGPU_INFO_HW_IP_INFO:
      if (q->query_hw_ip.type > 2)
        break;
      u.ip.hw_ip_version_major = q->query_hw_ip.type == 2 ? (a->ip >> 16 >= 12 ? 7 : 6) : a->ip >> 16;
      u.ip.hw_ip_version_minor = (a->ip >> 8) & 255;
      u.ip.ib_start_alignment = 32;
      u.ip.ib_size_alignment = 32;
      u.ip.available_rings = q->query_hw_ip.type == 1 ? 15 : q->query_hw_ip.type == 2 ? 3 : 1;
      u.ip.ip_discovery_version =
          q->query_hw_ip.type == 2 ? (a->ip >> 16 >= 12 ? 0x070000 : 0x060000) : a->ip;
      break;
    case AMDGPU_INFO_FW_VERSION:
      u.fw.ver = 2000;
      u.fw.feature = 60;
      break;
    case AMDGPU_INFO_READ_MMR_REG:
      for (unsigned i = 0; i < q->read_mmr_reg.count && i < 512; i++) {
        unsigned r = q->read_mmr_reg.dword_offset + i;
        u.r[i] = r == 0x263e ? a->gb : 0;
      }
      break;
    case AMDGPU_INFO_DEV_INFO: {
      struct drm_amdgpu_info_device *d = &u.d;
      d->device_id = setting("MARLIN_ISA_PCI", a->pci);
      d->external_rev = a->rev;
      d->chip_rev = 0;
      d->pci_rev = setting("MARLIN_ISA_REV", 0xc8);
      d->family = a->family;
      d->num_shader_engines = a->se;
      d->num_shader_arrays_per_engine = a->sa;
      d->gpu_counter_freq = 100000;
      d->max_engine_clock = 2500000;
      d->max_memory_clock = 1250000;
      d->cu_active_number = a->se * a->sa * a->cu;
      for (unsigned i = 0; i < a->se; i++)
        for (unsigned j = 0; j < a->sa; j++)
          d->cu_bitmap[i % 4][j + 2 * (i / 4)] = (1u << a->cu) - 1;
      d->enabled_rb_pipes_mask = (1u << a->rb) - 1;
      d->num_rb_pipes = a->rb;
      d->num_hw_gfx_contexts = 8;
      d->pcie_gen = 4;
      d->pcie_num_lanes = 16;
      d->virtual_address_offset = 0x10000;
      d->virtual_address_max = 1ull << 47;
      d->virtual_address_alignment = 4096;
      d->pte_fragment_size = 1 << 21;
      d->gart_page_size = 4096;
      d->vram_type = 9;
      d->vram_bit_width = 384;
      d->gc_double_offchip_lds_buf = 1;
      d->wave_front_size = 32;
      d->num_shader_visible_vgprs = 1024;
      d->num_cu_per_sh = a->cu;
      d->num_tcc_blocks = a->tcc;
      d->gs_vgt_table_depth = 32;
      d->gs_prim_buffer_depth = 1792;
      d->max_gs_waves_per_vgt = 32;
      d->high_va_offset = 0xffff800000000000ull;
      d->high_va_max = 0xffffffffffe00000ull;
      d->tcp_cache_size = 32;
      d->num_sqc_per_wgp = 1;
      d->sqc_data_cache_size = 16;
      d->sqc_inst_cache_size = 32;
      d->gl1c_cache_size = 256;
      d->gl2c_cache_size = 6144;
      d->mall_size = 96 << 20;
      break;
    }
    case AMDGPU_INFO_MEMORY: {
      struct drm_amdgpu_memory_info *m = &u.m;
      m->vram.total_heap_size = m->vram.usable_heap_size = m->cpu_accessible_vram.total_heap_size =
          m->cpu_accessible_vram.usable_heap_size = m->gtt.total_heap_size = m->gtt.usable_heap_size =
              16ull << 30;
      m->vram.max_allocation = m->cpu_accessible_vram.max_allocation = m->gtt.max_allocation = 12ull << 30;
      break;
    }
    case AMDGPU_INFO_MAX_IBS:
      for (int i = 0; i < 16; i++)
        u.r[i] = 192;
      break;
    case AMDGPU_INFO_VIDEO_CAPS: break;
    case AMDGPU_INFO_TIMESTAMP: u.q = 1; break;
    case AMDGPU_INFO_VRAM_GTT: {
      uint64_t *v = (void *)&u;
      v[0] = v[1] = v[2] = 16ull << 30;
      break;
    }
    default: break;
    }
    if (o)
      memcpy(o, &u, n < sizeof u ? n : sizeof u);
    return 0;
  }
  default: return 0;
  }
}

uint32_t amdgpu_pci(void) { return amd()->pci; }
