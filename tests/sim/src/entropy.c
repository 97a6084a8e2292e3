/* In a process that runs a simulation the system gives the same chance and the same time each run.
 *
 * Some chance is drawn below us: the standard library keys its hash maps, tokio orders the branches of
 * select! and whom a watch wakes first, openraft spreads its elections. All of it begins with getrandom(2).
 * And hyper writes the date into its answers. HOMECORE_SIM_ENTROPY=<number> replaces both; without it they
 * are the system's own. */

#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static const char *seed(void) { return getenv("HOMECORE_SIM_ENTROPY"); }

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
    static uint64_t state;
    static int begun;
    if (seed() == NULL) {
        return syscall(SYS_getrandom, buffer, length, flags);
    }
    if (!begun) {
        state = strtoull(seed(), NULL, 10);
        begun = 1;
    }
    for (size_t i = 0; i < length; i++) {
        state += 0x9e3779b97f4a7c15u;
        uint64_t mixed = state;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
        ((unsigned char *)buffer)[i] = (unsigned char)(mixed >> 56);
    }
    return (ssize_t)length;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (seed() == NULL) {
        return (int)syscall(SYS_clock_gettime, clock, now);
    }
    now->tv_sec = clock == CLOCK_REALTIME ? 1700000000 : 1000;
    now->tv_nsec = 0;
    return 0;
}
