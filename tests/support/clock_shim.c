/*
 * Shifts the wall clock of one process, and no other clock.
 *
 * Preloaded, it adds the seconds in the file CLOCK_SHIM_FILE (one int64 in the machine's byte order,
 * mapped, so that a change takes effect at once) to whatever asks for CLOCK_REALTIME. The monotonic
 * clock and every sleep are left alone, as when an operator sets the clock back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t unshifted = 0;
static volatile int64_t *offset = &unshifted;
static int (*next_clock_gettime)(clockid_t, struct timespec *);
static int (*next_sem_timedwait)(sem_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CLOCK_SHIM_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED)
        offset = page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!next_clock_gettime)
        next_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int status = next_clock_gettime(clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0)
        return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}

/* Builds of Python for an old C library wait until a time of day, which the kernel knows unshifted. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict until)
{
    struct timespec real = *until;

    if (!next_sem_timedwait)
        next_sem_timedwait = dlsym(RTLD_NEXT, "sem_timedwait");
    real.tv_sec -= *offset;
    return next_sem_timedwait(semaphore, &real);
}
