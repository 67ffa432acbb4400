/* preloaded: drivers that call ioctl(2) themselves (Mesa 26's util/os_drm.h) reach the stand-in too */
#define _GNU_SOURCE
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int drmIoctl(int fd, unsigned long req, void *arg);
int ioctl(int fd, unsigned long req, ...) {
  va_list a;
  va_start(a, req);
  void *p = va_arg(a, void *);
  va_end(a);
  if (_IOC_TYPE(req) == 'd')
    return drmIoctl(fd, req, p);
  return syscall(SYS_ioctl, fd, req, p);
}
