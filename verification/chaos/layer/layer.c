/*
 * A library for LD_PRELOAD that stands between a member and its disk and its wall clock.
 *
 * Lost writes. A process that is killed loses nothing that it has written, because the system keeps it. A machine that loses power loses
 * what was not synced. This library lets a test do the same to a process: before a write to the file named in LAYER_FILE, it
 * appends what the write changes to LAYER_JOURNAL, and it empties that journal once a sync of the file has succeeded. After the process was
 * killed, the test takes the writes in the journal back, all or some of them.
 *
 * A record of the journal is, with numbers of 8 bytes in the machine's order: the offset, the number of old bytes, the number of new
 * bytes, the file's length before, the file's length after; then the old bytes and the new bytes.
 *
 * With LAYER_LIES, a sync of the file does nothing and says that it has: a disk on which nothing may be lost, and everything is.
 *
 * Clock steps. The file in LAYER_CLOCK holds a number of 8 bytes: nanoseconds that are added to the wall clock. The monotonic clock stays
 * as it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_FILES = 4096 };

static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_ftruncate)(int, off64_t);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static int (*real_close)(int);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *name;
static int journal = -1;
static int lies;
static volatile int64_t *step;
/* By file descriptor: 0 unknown, 1 the file, 2 another file. */
static unsigned char known[MOST_FILES];

__attribute__((constructor)) static void start(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_close = dlsym(RTLD_NEXT, "close");
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    const char *path = getenv("LAYER_JOURNAL");
    if (path != NULL) {
        name = getenv("LAYER_FILE");
        lies = getenv("LAYER_LIES") != NULL;
        journal = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
        if (journal < 0)
            abort();
    }
    path = getenv("LAYER_CLOCK");
    if (path != NULL) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
        if (page == MAP_FAILED)
            abort();
        step = page;
    }
}

/* Returns whether the descriptor is of the file whose writes can be lost. Called with the lock. */
static int is_ours(int file) {
    if (name == NULL || file < 0 || file >= MOST_FILES)
        return 0;
    if (known[file] == 0) {
        char link[64], path[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = readlink(link, path, sizeof path - 1);
        path[length < 0 ? 0 : length] = 0;
        known[file] = strcmp(path, name) == 0 ? 1 : 2;
    }
    return known[file] == 1;
}

static void append(const void *bytes, size_t length) {
    for (const char *from = bytes; length > 0;) {
        ssize_t done = write(journal, from, length);
        if (done <= 0)
            abort();
        from += done;
        length -= done;
    }
}

/* Notes what a change of the file replaces. */
static void note(int file, const void *bytes, size_t length, off64_t offset, int64_t after) {
    struct stat64 before;
    if (fstat64(file, &before) != 0)
        abort();
    /* What a shorter file loses, or what a write replaces. */
    int64_t from = bytes == NULL ? after : offset;
    int64_t until = bytes == NULL ? before.st_size : offset + (int64_t)length;
    int64_t old = until < before.st_size ? until - from : before.st_size - from;
    if (old < 0)
        old = 0;
    if (bytes != NULL && after < before.st_size)
        after = before.st_size;
    void *kept = malloc(old + 1);
    if (kept == NULL || pread64(file, kept, old, from) != old)
        abort();
    int64_t head[5] = {from, old, length, before.st_size, after};
    append(head, sizeof head);
    append(kept, old);
    append(bytes, length);
    free(kept);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t offset) {
    pthread_mutex_lock(&lock);
    if (is_ours(file))
        note(file, bytes, length, offset, offset + (int64_t)length);
    ssize_t done = real_pwrite(file, bytes, length, offset);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t offset) { return pwrite64(file, bytes, length, offset); }

int ftruncate64(int file, off64_t length) {
    pthread_mutex_lock(&lock);
    if (is_ours(file))
        note(file, NULL, 0, 0, length);
    int done = real_ftruncate(file, length);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int file, off_t length) { return ftruncate64(file, length); }

/* A write that comes during the sync waits for its end, so that what the journal loses was synced. */
static int synced(int (*sync)(int), int file) {
    pthread_mutex_lock(&lock);
    int ours = is_ours(file);
    if (ours && lies) {
        pthread_mutex_unlock(&lock);
        return 0;
    }
    if (!ours)
        pthread_mutex_unlock(&lock);
    int done = sync(file);
    if (ours) {
        if (done == 0 && real_ftruncate(journal, 0) != 0)
            abort();
        pthread_mutex_unlock(&lock);
    }
    return done;
}

int fdatasync(int file) { return synced(real_fdatasync, file); }

int fsync(int file) { return synced(real_fsync, file); }

int close(int file) {
    pthread_mutex_lock(&lock);
    if (file >= 0 && file < MOST_FILES)
        known[file] = 0;
    pthread_mutex_unlock(&lock);
    return real_close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int done = real_clock_gettime(clock, time);
    if (done == 0 && step != NULL && clock == CLOCK_REALTIME) {
        int64_t nanos = time->tv_nsec + *step % 1000000000;
        time->tv_sec += *step / 1000000000;
        if (nanos < 0)
            nanos += 1000000000, time->tv_sec -= 1;
        if (nanos >= 1000000000)
            nanos -= 1000000000, time->tv_sec += 1;
        time->tv_nsec = nanos;
    }
    return done;
}
