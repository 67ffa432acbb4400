/* What the stand-in kernel drivers share. */
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
const char *node(void);
uint64_t setting(const char *name, uint64_t otherwise);
uint32_t new_handle(void);
uint64_t buffer_offset(uint32_t handle);
uint64_t buffer_size(uint32_t handle);
int buffer_new(uint64_t size, uint64_t align, uint32_t *handle);
uint32_t amdgpu_pci(void);
int asahi_ioctl(unsigned nr, void *arg);
int msm_ioctl(unsigned nr, void *arg);
int nouveau_ioctl(unsigned nr, void *arg);
int amdgpu_ioctl(unsigned nr, void *arg);
int i915_ioctl(unsigned nr, void *arg);
int xe_ioctl(unsigned nr, void *arg);
