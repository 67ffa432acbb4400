/* NVIDIA: what NVK asks of the nouveau kernel driver. The layouts of the nvif calls are those of the kernel's
 * include/nvif. */
#include "drm/nouveau_drm.h"
#include "standin.h"
struct nvif0 {
  uint8_t version, type, pad[4], owner, route;
  uint64_t token, object;
  uint8_t data[];
} __attribute__((packed));
struct nvif_mthd {
  uint8_t version, method, pad[6];
  uint8_t data[];
};
struct nvif_sclass {
  uint8_t version, count, pad[6];
  struct {
    int32_t oclass;
    int16_t minver, maxver;
  } oclass[];
};
struct nvif_info {
  uint8_t version, platform;
  uint16_t chipset;
  uint8_t revision, family, pad[2];
  uint64_t ram_size, ram_user;
  char chip[16], name[64];
};
int nouveau_ioctl(unsigned nr, void *arg) {
  unsigned chip = setting("MARLIN_ISA_CHIP", 0x174);
  switch (nr) {
  case DRM_NOUVEAU_GETPARAM: {
    struct drm_nouveau_getparam *p = arg;
    switch (p->param) {
    case NOUVEAU_GETPARAM_CHIPSET_ID: p->value = chip; break;
    case NOUVEAU_GETPARAM_PCI_VENDOR: p->value = 0x10de; break;
    case NOUVEAU_GETPARAM_PCI_DEVICE: p->value = setting("MARLIN_ISA_PCI", 0x2684); break;
    case NOUVEAU_GETPARAM_BUS_TYPE: p->value = 2; break;
    case NOUVEAU_GETPARAM_FB_SIZE: p->value = 8ull << 30; break;
    case NOUVEAU_GETPARAM_AGP_SIZE: p->value = 1ull << 40; break;
    case NOUVEAU_GETPARAM_GRAPH_UNITS:
      p->value = setting("MARLIN_ISA_UNITS", (7ull) | (8ull << 8) | (46ull << 16));
      break; /* GPCs | ROPs | TPCs */
    case NOUVEAU_GETPARAM_EXEC_PUSH_MAX: p->value = 510; break;
    case NOUVEAU_GETPARAM_VRAM_BAR_SIZE: p->value = 8ull << 30; break;
    case NOUVEAU_GETPARAM_VRAM_USED: p->value = 4096; break;
    case NOUVEAU_GETPARAM_HAS_VMA_TILEMODE: p->value = 1; break;
    case NOUVEAU_GETPARAM_HAS_BO_USAGE: p->value = 1; break;
    default: p->value = 0;
    }
    return 0;
  }
  case DRM_NOUVEAU_NVIF: {
    struct nvif0 *n = arg;
    if (n->type == 4) {
      struct nvif_mthd *m = (void *)n->data;
      if (m->method == 0) {
        struct nvif_info *i = (void *)m->data;
        i->platform = 3;
        i->chipset = chip;
        i->revision = 0xa1;
        i->family = 0x0e;
        i->ram_size = i->ram_user = 8ull << 30;
        strcpy(i->chip, "stand-in");
        strcpy(i->name, getenv("MARLIN_ISA_NAME") ? getenv("MARLIN_ISA_NAME") : "stand-in NVIDIA");
      }
    } else if (n->type == 1) {
      struct nvif_sclass *c = (void *)n->data;
      int g = chip >> 4; /* copy, 2D, memory to memory, 3D, compute */
      int eng3d = g == 0x14   ? 0xc397
                  : g == 0x16 ? 0xc597
                  : g == 0x17 ? 0xc797
                  : g == 0x18 ? 0xcb97
                  : g == 0x19 ? 0xc997
                  : g == 0x1a ? 0xcd97
                  : g == 0x1b ? 0xce97
                              : 0xb197;
      int cmp = g == 0x14   ? 0xc3c0
                : g == 0x16 ? 0xc5c0
                : g == 0x17 ? 0xc7c0
                : g == 0x18 ? 0xcbc0
                : g == 0x19 ? 0xc9c0
                : g == 0x1a ? 0xcdc0
                : g == 0x1b ? 0xcec0
                            : 0xb1c0;
      int dma = g == 0x14   ? 0xc3b5
                : g == 0x16 ? 0xc5b5
                : g == 0x17 ? 0xc7b5
                : g == 0x18 ? 0xc8b5
                : g == 0x19 ? 0xc7b5
                : g == 0x1a ? 0xc9b5
                : g == 0x1b ? 0xcab5
                            : 0xb0b5;
      int cl[5] = {0xa140, dma, 0x902d, eng3d, cmp};
      if (chip == 0x170) {
        cl[3] = 0xc697;
        cl[4] = 0xc6c0;
        cl[1] = 0xc6b5;
      }
      if (c->count == 0) {
        c->count = 5;
        return 0;
      }
      for (int i = 0; i < 5 && i < c->count; i++) {
        c->oclass[i].oclass = cl[i];
        c->oclass[i].minver = c->oclass[i].maxver = -1;
      }
      if (c->count > 5)
        c->count = 5;
    }
    return 0;
  }
  case DRM_NOUVEAU_CHANNEL_ALLOC: {
    struct drm_nouveau_channel_alloc *c = arg;
    c->channel = 1;
    c->pushbuf_domains = NOUVEAU_GEM_DOMAIN_VRAM | NOUVEAU_GEM_DOMAIN_GART;
    c->notifier_handle = new_handle();
    return 0;
  }
  case DRM_NOUVEAU_GEM_NEW: {
    struct drm_nouveau_gem_new *g = arg;
    uint32_t h;
    if (buffer_new(g->info.size, g->align, &h))
      return -1;
    g->info.handle = h;
    g->info.map_handle = g->info.offset = buffer_offset(h);
    return 0;
  }
  case DRM_NOUVEAU_GEM_INFO: {
    struct drm_nouveau_gem_info *g = arg;
    g->size = buffer_size(g->handle);
    g->map_handle = buffer_offset(g->handle);
    g->offset = g->map_handle;
    return 0;
  }
  case DRM_NOUVEAU_GET_ZCULL_INFO: {
    struct drm_nouveau_get_zcull_info *z = arg;
    z->width_align_pixels = 224;
    z->height_align_pixels = 32;
    z->pixel_squares_by_aliquots = 3584;
    z->aliquot_total = 5120;
    z->zcull_region_byte_multiplier = 128;
    z->zcull_region_header_size = 224;
    z->zcull_subregion_header_size = 1344;
    z->subregion_count = 16;
    z->subregion_width_align_pixels = 224;
    z->subregion_height_align_pixels = 64;
    z->ctxsw_size = 657408;
    z->ctxsw_align = 4096;
    return 0;
  }
  default: return 0;
  }
}
