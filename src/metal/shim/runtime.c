// The kernel's side of the runtime: what the IR calls, answered from the thread that is running or passed on
// to the host through a table that it fills in when it loads the kernel. Compiled as C beside each kernel.

struct marlin_thread {
  unsigned thread_position_in_grid[3];
  unsigned thread_position_in_threadgroup[3];
  unsigned threadgroup_position_in_grid[3];
  unsigned threads_per_grid[3];
  unsigned threads_per_threadgroup[3];
  unsigned threadgroups_per_grid[3];
  unsigned thread_index_in_threadgroup;
  unsigned thread_index_in_simdgroup;
  unsigned simdgroup_index_in_threadgroup;
  unsigned threads_per_simdgroup;
  unsigned simdgroups_per_threadgroup;
};

struct marlin_host {
  void* (*threadgroup_variable)(unsigned id, unsigned long long size, unsigned long long alignment);
  void* (*threadgroup_argument)(unsigned index);
  void* (*texture_argument)(unsigned index);
  void (*threadgroup_barrier)(unsigned flags, unsigned site);
  void (*simdgroup_barrier)(unsigned flags, unsigned site);
  const void* (*simd_exchange)(const void* value, unsigned size, unsigned site);
  void (*unsupported)(unsigned what);
  void (*out_of_steps)(void);
  void (*access)(const void* p, unsigned long long size, unsigned site);
  void (*trap)(unsigned site);
  void (*private_begin)(const void* p, unsigned long long size, unsigned name);
  void (*private_fresh)(const void* p);
  void (*private_end)(unsigned count);
  void (*private_access)(const void* p, unsigned long long size, const void* base, long long mask, unsigned site);
};

#define EXPORT __attribute__((visibility("default")))

EXPORT struct marlin_host marlin_host;
EXPORT const struct marlin_thread* marlin_current;
EXPORT long long marlin_steps;

#define DIMENSIONS(NAME) \
  unsigned marlin_##NAME(unsigned dimension) { return marlin_current->NAME[dimension]; }
#define INDEX(NAME) \
  unsigned marlin_##NAME(void) { return marlin_current->NAME; }

DIMENSIONS(thread_position_in_grid)
DIMENSIONS(thread_position_in_threadgroup)
DIMENSIONS(threadgroup_position_in_grid)
DIMENSIONS(threads_per_grid)
DIMENSIONS(threads_per_threadgroup)
DIMENSIONS(threadgroups_per_grid)
INDEX(thread_index_in_threadgroup)
INDEX(thread_index_in_simdgroup)
INDEX(simdgroup_index_in_threadgroup)
INDEX(threads_per_simdgroup)
INDEX(simdgroups_per_threadgroup)

void* marlin_threadgroup_variable(unsigned id, unsigned long long size, unsigned long long alignment) {
  return marlin_host.threadgroup_variable(id, size, alignment);
}
void* marlin_threadgroup_argument(unsigned index) { return marlin_host.threadgroup_argument(index); }
void* marlin_texture_argument(unsigned index) { return marlin_host.texture_argument(index); }
void marlin_threadgroup_barrier(unsigned flags, unsigned site) { marlin_host.threadgroup_barrier(flags, site); }
void marlin_simdgroup_barrier(unsigned flags, unsigned site) { marlin_host.simdgroup_barrier(flags, site); }
const void* marlin_simd_exchange(const void* value, unsigned size, unsigned site) {
  return marlin_host.simd_exchange(value, size, site);
}
void marlin_unsupported(unsigned what) { marlin_host.unsupported(what); }
void marlin_out_of_steps(void) { marlin_host.out_of_steps(); }
void marlin_access(const void* p, unsigned long long size, unsigned site) { marlin_host.access(p, size, site); }
void marlin_trap(unsigned site) { marlin_host.trap(site); }
void marlin_private(const void* p, unsigned long long size, unsigned name) { marlin_host.private_begin(p, size, name); }
void marlin_private_fresh(const void* p) { marlin_host.private_fresh(p); }
void marlin_private_end(unsigned count) { marlin_host.private_end(count); }
void marlin_private_access(const void* p, unsigned long long size, const void* base, long long mask, unsigned site) {
  marlin_host.private_access(p, size, base, mask, site);
}
