/*
 * A disk that fails or dawdles, for one process and the files of one directory.
 *
 * Preloaded, it looks at the int64 in the file DISK_SHIM_FILE (mapped, so that a change takes effect
 * at once) before each write or sync of a file below DISK_SHIM_DIR: a positive value is the errno
 * that it fails with, a negative one how many milliseconds it takes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t healthy = 0;
static volatile int64_t *trouble = &healthy;
static const char *directory = "";

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("DISK_SHIM_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (file < 0 || !getenv("DISK_SHIM_DIR"))
        return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) {
        trouble = page;
        directory = getenv("DISK_SHIM_DIR");
    }
    close(file);
}

static int ours(int file)
{
    char link[64], path[PATH_MAX];

    if (!*directory || *trouble == 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strncmp(path, directory, strlen(directory)) == 0;
}

/* 0 to go on, after as long as it takes; -1 with errno set to fail. */
static int suffer(int file)
{
    if (!ours(file))
        return 0;
    if (*trouble > 0) {
        errno = (int)*trouble;
        return -1;
    }
    struct timespec wait = {-*trouble / 1000, (-*trouble % 1000) * 1000000};
    nanosleep(&wait, NULL);
    return 0;
}

#define PASS_ON(type, name, parameters, arguments)                        \
    type name parameters                                                  \
    {                                                                     \
        static type(*next) parameters;                                    \
        if (!next)                                                        \
            next = (type(*) parameters)dlsym(RTLD_NEXT, #name);           \
        return suffer(file) < 0 ? -1 : next arguments;                    \
    }

PASS_ON(ssize_t, write, (int file, const void *data, size_t size), (file, data, size))
PASS_ON(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
PASS_ON(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at),
        (file, data, size, at))
PASS_ON(int, ftruncate, (int file, off_t size), (file, size))
PASS_ON(int, ftruncate64, (int file, off64_t size), (file, size))
PASS_ON(int, fsync, (int file), (file))
PASS_ON(int, fdatasync, (int file), (file))
