// Gives pages of the process back to the kernel that only its start needed.
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>

#include "common.h"

struct mapping {
  uintptr_t begin, end;
  bool is_candidate;
};

// Of a file, private and not writable: what is read again comes out of the file's own pages.
static bool read_head(const char *line, struct mapping *out) {
  char flags[5];
  unsigned long inode = 0;
  uintptr_t begin = 0, end = 0;
  const char *form = "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %lu";
  if (sscanf(line, form, &begin, &end, flags, &inode) != 4) return false;
  *out = (struct mapping){begin, end, false};
  out->is_candidate = inode != 0 && flags[0] == 'r' && flags[1] == '-' && flags[3] == 'p';
  return true;
}

// A mapping with a page of its own (the linker has written there) would lose what is in that page.
static napi_value release_pages(napi_env env, napi_callback_info info) {
  (void)info;
  char line[512];
  struct mapping mapping = {0, 0, false};
  unsigned long own_kb;
  double given = 0;
  FILE *list = fopen("/proc/self/smaps", "re");
  if (list == NULL) return throw_system(env, errno, "open", "/proc/self/smaps");
  while (fgets(line, sizeof line, list) != NULL) {
    if (read_head(line, &mapping) || !mapping.is_candidate) continue;
    if (sscanf(line, "Anonymous: %lu kB", &own_kb) != 1) continue;
    mapping.is_candidate = false;
    size_t length = mapping.end - mapping.begin;
    if (own_kb == 0 && madvise((void *)mapping.begin, length, MADV_DONTNEED) == 0) given += length;
  }
  fclose(list);
  malloc_trim(0);
  return make_number(env, given);
}

const struct entry resident_entries[] = {{"releasePages", release_pages}, {NULL, NULL}};
