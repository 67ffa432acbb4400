/* A stand-in for libdrm: tells a Vulkan driver that a GPU is there, so that it compiles for it. Nothing is
 * executed. MARLIN_ISA_DRIVER names the kernel driver, MARLIN_ISA_NODE a scratch file that buffers are mapped
 * from. */
#define _GNU_SOURCE
#include "standin.h"
#include "xf86drm.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
enum { MOST_BUFFERS = 1 << 16 };
static uint64_t sizes[MOST_BUFFERS], offsets[MOST_BUFFERS], next_offset = 1 << 20;
static uint32_t next_handle = 1;
const char *driver(void) {
  const char *p = getenv("MARLIN_ISA_DRIVER");
  return p ? p : "asahi";
}
int is(const char *name) { return !strcmp(driver(), name); }
uint64_t setting(const char *name, uint64_t otherwise) {
  const char *p = getenv(name);
  return p ? strtoull(p, 0, 0) : otherwise;
}
const char *node(void) {
  const char *p = getenv("MARLIN_ISA_NODE");
  return p ? p : "render-node";
}
uint32_t new_handle(void) { return next_handle++; }
uint64_t buffer_offset(uint32_t handle) { return offsets[handle % MOST_BUFFERS]; }
uint64_t buffer_size(uint32_t handle) { return sizes[handle % MOST_BUFFERS]; }
/* A buffer is a range of the scratch file, which grows with it. */
int buffer_new(uint64_t size, uint64_t align, uint32_t *handle) {
  if (align < 0x10000)
    align = 0x10000;
  uint32_t h = new_handle();
  next_offset = (next_offset + align - 1) / align * align;
  sizes[h % MOST_BUFFERS] = size;
  offsets[h % MOST_BUFFERS] = next_offset;
  next_offset += (size + 0xffff) & ~0xffffull;
  *handle = h;
  return truncate(node(), (off_t)next_offset + (1 << 20));
}
static drmDevicePtr make(void) {
  drmDevicePtr d = calloc(1, sizeof *d);
  d->nodes = calloc(DRM_NODE_MAX, sizeof(char *));
  d->nodes[DRM_NODE_RENDER] = strdup(node());
  d->nodes[DRM_NODE_PRIMARY] = strdup(node());
  d->available_nodes = (1 << DRM_NODE_RENDER);
  if (is("nouveau") || is("i915") || is("xe") || is("amdgpu")) {
    d->available_nodes |= 1 << DRM_NODE_PRIMARY;
    d->bustype = DRM_BUS_PCI;
    d->businfo.pci = calloc(1, sizeof(drmPciBusInfo));
    d->businfo.pci->bus = 3;
    d->deviceinfo.pci = calloc(1, sizeof(drmPciDeviceInfo));
    d->deviceinfo.pci->vendor_id = is("nouveau") ? 0x10de : is("amdgpu") ? 0x1002 : 0x8086;
    d->deviceinfo.pci->device_id = setting("MARLIN_ISA_PCI", is("nouveau")  ? 0x2684
                                                             : is("amdgpu") ? amdgpu_pci()
                                                             : is("xe")     ? 0xe20b
                                                                            : 0x56a0);
    d->deviceinfo.pci->revision_id = setting("MARLIN_ISA_REV", is("amdgpu") ? 0xc8 : 8);
    return d;
  }
  d->bustype = DRM_BUS_PLATFORM;
  d->businfo.platform = calloc(1, sizeof(drmPlatformBusInfo));
  strcpy(d->businfo.platform->fullname, "/soc/gpu@406400000");
  d->deviceinfo.platform = calloc(1, sizeof(drmPlatformDeviceInfo));
  char **c = calloc(3, sizeof(char *));
  c[0] = strdup("apple,agx-g13s");
  c[1] = strdup("apple,agx-g13");
  d->deviceinfo.platform->compatible = c;
  return d;
}
int drmGetDevices2(uint32_t flags, drmDevicePtr devs[], int max) {
  if (devs && max > 0)
    devs[0] = make();
  return 1;
}
int drmGetDevices(drmDevicePtr devs[], int max) { return drmGetDevices2(0, devs, max); }
int drmGetDevice2(int fd, uint32_t flags, drmDevicePtr *d) {
  *d = make();
  return 0;
}
int drmGetDevice(int fd, drmDevicePtr *d) {
  *d = make();
  return 0;
}
int drmGetDeviceFromDevId(dev_t id, uint32_t f, drmDevicePtr *d) {
  *d = make();
  return 0;
}
void drmFreeDevice(drmDevicePtr *d) {}
void drmFreeDevices(drmDevicePtr d[], int n) {}
int drmDevicesEqual(drmDevicePtr a, drmDevicePtr b) { return 1; }
drmVersionPtr drmGetVersion(int fd) {
  drmVersionPtr v = calloc(1, sizeof *v);
  v->version_major = 1;
  v->name = strdup(getenv("MARLIN_ISA_DRIVER") ? getenv("MARLIN_ISA_DRIVER") : "asahi");
  v->name_len = strlen(v->name);
  if (!strcmp(v->name, "msm")) {
    v->version_major = 1;
    v->version_minor = 13;
  }
  if (is("nouveau")) {
    v->version_major = 1;
    v->version_minor = 4;
    v->version_patchlevel = 0;
  }
  if (is("amdgpu")) {
    v->version_major = 3;
    v->version_minor = 64;
  }
  if (is("i915")) {
    v->version_major = 1;
    v->version_minor = 6;
  }
  v->date = strdup("20250101");
  v->desc = strdup("stand-in");
  return v;
}
void drmFreeVersion(drmVersionPtr v) {}
int drmGetCap(int fd, uint64_t cap, uint64_t *v) {
  *v = 1;
  return 0;
}
int drmSetClientCap(int fd, uint64_t c, uint64_t v) { return 0; }
int drmIsMaster(int fd) { return 0; }
int drmSetMaster(int fd) { return -1; }
int drmDropMaster(int fd) { return 0; }
int drmAuthMagic(int fd, drm_magic_t m) { return 0; }
static uint32_t so = 1;
int drmSyncobjCreate(int fd, uint32_t f, uint32_t *h) {
  *h = so++;
  return 0;
}
int drmSyncobjDestroy(int fd, uint32_t h) { return 0; }
int drmSyncobjHandleToFD(int fd, uint32_t h, int *o) {
  *o = dup(fd);
  return 0;
}
int drmSyncobjFDToHandle(int fd, int o, uint32_t *h) {
  *h = so++;
  return 0;
}
int drmSyncobjImportSyncFile(int fd, uint32_t h, int s) { return 0; }
int drmSyncobjExportSyncFile(int fd, uint32_t h, int *s) {
  *s = dup(fd);
  return 0;
}
int drmSyncobjWait(int fd, uint32_t *h, unsigned n, int64_t t, unsigned f, uint32_t *first) {
  if (first)
    *first = 0;
  return 0;
}
int drmSyncobjReset(int fd, const uint32_t *h, uint32_t n) { return 0; }
int drmSyncobjSignal(int fd, const uint32_t *h, uint32_t n) { return 0; }
int drmSyncobjTimelineSignal(int fd, const uint32_t *h, uint64_t *p, uint32_t n) { return 0; }
int drmSyncobjTimelineWait(int fd, uint32_t *h, uint64_t *p, unsigned n, int64_t t, unsigned f,
                           uint32_t *first) {
  return 0;
}
int drmSyncobjQuery(int fd, uint32_t *h, uint64_t *p, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    p[i] = ~0ull >> 1;
  return 0;
}
int drmSyncobjQuery2(int fd, uint32_t *h, uint64_t *p, uint32_t n, uint32_t f) {
  return drmSyncobjQuery(fd, h, p, n);
}
int drmSyncobjTransfer(int fd, uint32_t a, uint64_t b, uint32_t c, uint64_t d, uint32_t e) { return 0; }
int drmPrimeHandleToFD(int fd, uint32_t h, uint32_t f, int *o) {
  *o = dup(fd);
  return 0;
}
int drmPrimeFDToHandle(int fd, int p, uint32_t *h) {
  *h = new_handle();
  return 0;
}

/* Calls that are not the driver's own (closing buffers and the like) succeed. */
int drmIoctl(int fd, unsigned long req, void *arg) {
  if (_IOC_TYPE(req) != 'd') {
    errno = EINVAL;
    return -1;
  }
  unsigned nr = _IOC_NR(req);
  if (nr < DRM_COMMAND_BASE || nr >= DRM_COMMAND_END)
    return 0;
  nr -= DRM_COMMAND_BASE;
  if (is("nouveau"))
    return nouveau_ioctl(nr, arg);
  if (is("xe"))
    return xe_ioctl(nr, arg);
  if (is("i915"))
    return i915_ioctl(nr, arg);
  if (is("amdgpu"))
    return amdgpu_ioctl(nr, arg);
  if (is("msm"))
    return msm_ioctl(nr, arg);
  return asahi_ioctl(nr, arg);
}
int drmCommandWriteRead(int fd, unsigned long i, void *d, unsigned long s) {
  return drmIoctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', 0x40 + i, s), d);
}
int drmCommandWrite(int fd, unsigned long i, void *d, unsigned long s) {
  return drmCommandWriteRead(fd, i, d, s);
}
int drmCommandRead(int fd, unsigned long i, void *d, unsigned long s) {
  return drmCommandWriteRead(fd, i, d, s);
}
int drmCommandNone(int fd, unsigned long i) { return 0; }
int drmCloseBufferHandle(int fd, uint32_t h) { return 0; }
int drmGetNodeTypeFromFd(int fd) { return DRM_NODE_RENDER; }
char *drmGetPrimaryDeviceNameFromFd(int fd) { return strdup(node()); }
void drmMsg(const char *f, ...) {}
