// The bare kernel calls behind the life of a layer, timed: what no engine can be faster than. Makes what it needs (a thin
// pool or a btrfs filesystem, in files through loop devices) and takes it down again.
// Usage: floor devicemapper|btrfs DIRECTORY ROUNDS    Prints JSON in the form of `lamina bench`.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_ROUNDS = 1000, THREADS = 8, PAGE = 4096 };
#define FILE_BYTES (2ULL << 30)

static const char *directory;
static char target[512], files[2][512], loops[2][32], pool[32];
static int control = -1, records = -1, filesystem = -1;
static void (*undo[16])(void);
static int undos;

static void take_down(void) {
    while (undos > 0) undo[--undos]();
}

static void fail(const char *what, ...) {
    int error = errno;
    va_list list;
    va_start(list, what);
    fprintf(stderr, "floor: ");
    vfprintf(stderr, what, list);
    fprintf(stderr, ": %s\n", strerror(error));
    take_down();
    exit(1);
}

static volatile sig_atomic_t stopped;
static void stop(int number) { (void)number, stopped = 1; }

static void run(const char *format, ...) {
    char command[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    errno = 0;
    if (system(command) != 0) fail("%s", command);
}

// MARK: Times

struct series {
    // Of `lamina bench` where it is the same step; else with a title of its own.
    const char *id, *title;
    bool rate;
    int at;
    uint64_t values[MOST_ROUNDS];
    int count;
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

static void note(struct series *series, uint64_t value, int round) {
    // Round 0 warms up.
    if (round > 0 && series->count < MOST_ROUNDS) series->values[series->count++] = value;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t quantile(const struct series *series, int percent) {
    int place = (series->count * percent + 50) / 100;
    if (percent == 50 && series->count % 2 == 0) {
        return (series->values[series->count / 2 - 1] + series->values[series->count / 2]) / 2;
    }
    return series->values[place < series->count ? place : series->count - 1];
}

static void print_text(const char *text) {
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') putchar('\\');
        if ((unsigned char)*text >= ' ') putchar(*text);
    }
    putchar('"');
}

static void report(const char *name, const char *ground, struct series *all, int count) {
    struct utsname host;
    uname(&host);
    char processor[256] = "", line[512], started[64];
    FILE *info = fopen("/proc/cpuinfo", "r");
    while (info && fgets(line, sizeof line, info)) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && value && !*processor) {
            snprintf(processor, sizeof processor, "%s", value + 2);
            processor[strcspn(processor, "\n")] = 0;
        }
    }
    if (info) fclose(info);
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%S", gmtime(&time.tv_sec));
    printf("{\"schema\":\"lamina-bench\",\"schemaVersion\":1,\"runs\":[{\"startedAt\":\"%s.%09ldZ\",\"host\":{\"kernel\":",
           started, time.tv_nsec);
    print_text(host.release);
    printf(",\"processor\":");
    print_text(processor);
    printf(",\"processors\":%ld},\"measurements\":[", sysconf(_SC_NPROCESSORS_ONLN));
    const char *comma = "";
    for (int i = 0; i < count; i++) {
        if (!all[i].title) continue;
        printf("%s{\"id\":\"%s\",\"group\":\"lifeCycle\",\"title\":\"%s\",\"unit\":\"nanoseconds\",\"better\":\"lower\"}", comma,
               all[i].id, all[i].title);
        comma = ",";
    }
    printf("],\"notes\":[\"bare kernel calls: create, remove and creates at once are the call that makes or removes a "
           "snapshot, and what a database writes of one durable transaction\"],");
    printf("\"entries\":[{\"kind\":\"floor\",\"name\":\"%s\",\"ground\":\"%s\",\"results\":[", name, ground);
    for (int i = 0; i < count; i++) {
        qsort(all[i].values, all[i].count, sizeof(uint64_t), ascending);
        printf("%s{\"measurement\":\"%s\",", i ? "," : "", all[i].id);
        if (all[i].at) printf("\"at\":%d,", all[i].at);
        printf("\"count\":%d,\"median\":%lu,\"p10\":%lu,\"p90\":%lu,\"min\":%lu,\"max\":%lu}", all[i].count,
               quantile(&all[i], 50), quantile(&all[i], 10), quantile(&all[i], 90), quantile(&all[i], 0),
               quantile(&all[i], 100));
    }
    printf("]}]}]}\n");
}

// MARK: What both need

static void remove_directory(void) { rmdir(target); }
static void remove_records(void) {
    char path[600];
    snprintf(path, sizeof path, "%s/floor.records", directory);
    close(records);
    unlink(path);
}

// What a database writes of one transaction: four pages that are there already, then a flush.
static uint64_t durable_transaction(void) {
    static const char pages[4 * PAGE];
    uint64_t start = now();
    if (pwrite(records, pages, sizeof pages, 0) != sizeof pages || fdatasync(records) != 0) fail("records");
    return now() - start;
}

static void make_records(const char *where) {
    char path[600];
    directory = where;
    snprintf(path, sizeof path, "%s/floor.records", where);
    records = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (records < 0) fail("%s", path);
    undo[undos++] = remove_records;
}

static void remove_file0(void) { unlink(files[0]); }
static void remove_file1(void) { unlink(files[1]); }

// A sparse file behind a loop device, which goes with its last user.
static int make_loop(int which, const char *name, uint64_t bytes) {
    snprintf(files[which], sizeof files[which], "%s/floor.%s", directory, name);
    int file = open(files[which], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) fail("%s", files[which]);
    undo[undos++] = which ? remove_file1 : remove_file0;
    if (ftruncate(file, bytes) != 0) fail("%s", files[which]);
    int loop_control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (loop_control < 0) fail("/dev/loop-control");
    int loop = -1;
    for (int attempt = 0; attempt < 100 && loop < 0; attempt++) {
        int number = ioctl(loop_control, LOOP_CTL_GET_FREE);
        snprintf(loops[which], sizeof loops[which], "/dev/loop%d", number);
        loop = open(loops[which], O_RDWR | O_CLOEXEC);
        struct loop_config config = {.fd = file, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
        if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) != 0) {
            close(loop);
            loop = -1;
        }
    }
    if (loop < 0) fail("no loop device for %s", files[which]);
    close(loop_control);
    close(file);
    return loop;
}

// MARK: device-mapper

// One request: `payload` behind the header, the answer's header back in `header`.
static int request(unsigned long command, const char *name, struct dm_ioctl *header, const void *payload, size_t size) {
    char buffer[PAGE] = "";
    memset(header, 0, sizeof *header);
    struct dm_ioctl *call = (struct dm_ioctl *)buffer;
    call->version[0] = DM_VERSION_MAJOR;
    call->data_size = sizeof buffer;
    call->data_start = sizeof *call;
    snprintf(call->name, sizeof call->name, "%s", name);
    if (payload) memcpy(buffer + sizeof *call, payload, size);
    if (command == DM_TABLE_LOAD) call->target_count = 1;
    int result = ioctl(control, command, buffer);
    *header = *call;
    return result;
}

static void dm(unsigned long command, const char *name, const void *payload, size_t size, dev_t *device) {
    struct dm_ioctl header;
    if (request(command, name, &header, payload, size) != 0) fail("dm request %lu on %s", command & 0xff, name);
    if (device) *device = makedev((header.dev >> 8) & 0xfff, (header.dev & 0xff) | ((header.dev >> 12) & 0xfff00));
}

static int message(const char *format, ...) {
    struct { struct dm_target_msg header; char text[128]; } payload = {0};
    va_list list;
    va_start(list, format);
    vsnprintf(payload.text, sizeof payload.text, format, list);
    struct dm_ioctl header;
    return request(DM_TARGET_MSG, pool, &header, &payload, sizeof payload);
}

static void load(const char *name, const char *type, uint64_t sectors, const char *parameters) {
    struct { struct dm_target_spec spec; char text[256]; } payload = {.spec.length = sectors};
    snprintf(payload.spec.target_type, sizeof payload.spec.target_type, "%s", type);
    snprintf(payload.text, sizeof payload.text, "%s", parameters);
    dm(DM_TABLE_LOAD, name, &payload, sizeof payload, NULL);
    dm(DM_DEV_SUSPEND, name, NULL, 0, NULL);  // without the flag: resume
}

static dev_t pool_device;

// The node in devtmpfs, which the kernel makes by itself.
static void activate(const char *name, unsigned id, char *node, size_t size) {
    dev_t device;
    char parameters[64];
    dm(DM_DEV_CREATE, name, NULL, 0, &device);
    snprintf(parameters, sizeof parameters, "%u:%u %u", major(pool_device), minor(pool_device), id);
    load(name, "thin", FILE_BYTES / 512, parameters);
    snprintf(node, size, "/dev/dm-%u", minor(device));
}

static void deactivate(const char *name) {
    for (int attempt = 0;; attempt++) {
        struct dm_ioctl header;
        if (request(DM_DEV_REMOVE, name, &header, NULL, 0) == 0) return;
        // Something (udev, blkid) may have it open for a moment.
        if (errno != EBUSY || attempt == 100) fail("remove %s", name);
        usleep(10000);
    }
}

static char layer[48];
static void take_down_pool(void) {
    struct dm_ioctl header;
    umount2(target, MNT_DETACH);
    request(DM_DEV_REMOVE, layer, &header, NULL, 0);
    request(DM_DEV_REMOVE, pool, &header, NULL, 0);
    close(control);
}

static void *create_one(void *number) {
    if (message("create_snap %lu 0", (unsigned long)number) != 0) fail("create_snap");
    durable_transaction();
    return NULL;
}

static void devicemapper(int rounds) {
    control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    if (control < 0) fail("/dev/mapper/control");
    int data = make_loop(0, "data", FILE_BYTES), metadata = make_loop(1, "metadata", 32 << 20);
    snprintf(pool, sizeof pool, "floor-%d-pool", getpid());
    snprintf(layer, sizeof layer, "floor-%d-layer", getpid());
    undo[undos++] = take_down_pool;
    char parameters[256], node[32];
    snprintf(parameters, sizeof parameters, "%s %s 128 0 1 error_if_no_space", loops[1], loops[0]);
    dm(DM_DEV_CREATE, pool, NULL, 0, &pool_device);
    load(pool, "thin-pool", FILE_BYTES / 512, parameters);
    close(data), close(metadata);
    if (message("create_thin 0") != 0) fail("create_thin");
    activate(layer, 0, node, sizeof node);
    run("mkfs.ext4 -q -F -E nodiscard,assume_storage_prezeroed=1 %s", node);
    deactivate(layer);

    static struct series all[] = {
        {.id = "create.child"},
        {.id = "floor.activate", .title = "activate, bare calls"},
        {.id = "floor.transaction", .title = "one durable transaction"},
        {.id = "floor.mount", .title = "mount, 4 KiB and fsync, bare calls"},
        {.id = "floor.unmount", .title = "unmount and deactivate, bare calls"},
        {.id = "remove.collected"},
        {.id = "parallel.create", .rate = true, .at = THREADS},
    };
    for (int round = 0; round <= rounds && !stopped; round++) {
        unsigned id = round + 1;
        uint64_t start = now();
        if (message("create_snap %u 0", id) != 0) fail("create_snap");
        note(&all[2], durable_transaction(), round);
        note(&all[0], now() - start, round);
        start = now();
        activate(layer, id, node, sizeof node);
        note(&all[1], now() - start, round);

        start = now();
        if (mount(node, target, "ext4", 0, NULL) != 0) fail("mount %s", node);
        char path[600], page[PAGE] = "x";
        snprintf(path, sizeof path, "%s/file", target);
        int file = open(path, O_WRONLY | O_CREAT, 0644);
        if (file < 0 || write(file, page, sizeof page) != sizeof page || fsync(file) != 0) fail("%s", path);
        note(&all[3], now() - start, round);
        close(file);

        start = now();
        if (umount(target) != 0) fail("umount %s", target);
        deactivate(layer);
        note(&all[4], now() - start, round);
        start = now();
        if (message("delete %u", id) != 0) fail("delete");
        durable_transaction();
        note(&all[5], now() - start, round);

        pthread_t threads[THREADS];
        start = now();
        for (unsigned long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, create_one, (void *)(10000 + i));
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        note(&all[6], THREADS * 1000000000ULL / (now() - start), round);
        for (int i = 0; i < THREADS; i++) if (message("delete %d", 10000 + i) != 0) fail("delete");
    }
    report("bare calls, dm-thin", "a thin pool in files of 2 GiB", all, sizeof all / sizeof *all);
}

// MARK: btrfs

static void take_down_filesystem(void) {
    if (filesystem >= 0) close(filesystem);
    umount2(target, MNT_DETACH);
}

static void snapshot(int source, const char *name) {
    struct btrfs_ioctl_vol_args_v2 arguments = {.fd = source};
    snprintf(arguments.name, sizeof arguments.name, "%s", name);
    if (ioctl(filesystem, BTRFS_IOC_SNAP_CREATE_V2, &arguments) != 0) fail("snapshot %s", name);
}

static void destroy(const char *name) {
    struct btrfs_ioctl_vol_args arguments = {0};
    snprintf(arguments.name, sizeof arguments.name, "%s", name);
    if (ioctl(filesystem, BTRFS_IOC_SNAP_DESTROY, &arguments) != 0) fail("destroy %s", name);
}

static int base;
static void *snapshot_one(void *number) {
    char name[32];
    snprintf(name, sizeof name, "p%lu", (unsigned long)number);
    snapshot(base, name);
    durable_transaction();
    return NULL;
}

static void btrfs(int rounds) {
    int device = make_loop(0, "image", FILE_BYTES);
    run("mkfs.btrfs -q -K %s >/dev/null", loops[0]);
    undo[undos++] = take_down_filesystem;
    if (mount(loops[0], target, "btrfs", 0, NULL) != 0) fail("mount %s", loops[0]);
    close(device);
    filesystem = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (filesystem < 0) fail("%s", target);
    // Records on the same filesystem, as those of a root on btrfs.
    int outside = records;
    records = openat(filesystem, "records", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct btrfs_ioctl_vol_args arguments = {.name = "base"};
    if (records < 0 || ioctl(filesystem, BTRFS_IOC_SUBVOL_CREATE, &arguments) != 0) fail("base");
    base = openat(filesystem, "base", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint64_t flags = BTRFS_SUBVOL_RDONLY;
    if (base < 0 || ioctl(base, BTRFS_IOC_SUBVOL_SETFLAGS, &flags) != 0) fail("base");

    static struct series all[] = {
        {.id = "create.child"},
        {.id = "floor.transaction", .title = "one durable transaction"},
        {.id = "remove.collected"},
        {.id = "parallel.create", .rate = true, .at = THREADS},
    };
    for (int round = 0; round <= rounds && !stopped; round++) {
        char name[32];
        snprintf(name, sizeof name, "s%d", round);
        uint64_t start = now();
        snapshot(base, name);
        note(&all[1], durable_transaction(), round);
        note(&all[0], now() - start, round);
        start = now();
        destroy(name);
        durable_transaction();
        note(&all[2], now() - start, round);
        pthread_t threads[THREADS];
        start = now();
        for (unsigned long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, snapshot_one, (void *)i);
        for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        note(&all[3], THREADS * 1000000000ULL / (now() - start), round);
        for (int i = 0; i < THREADS; i++) {
            snprintf(name, sizeof name, "p%d", i);
            destroy(name);
        }
    }
    close(base);
    close(records);
    records = outside;
    report("bare calls, btrfs", "btrfs in a file of 2 GiB", all, sizeof all / sizeof *all);
}

int main(int count, char **words) {
    int rounds = count == 4 ? atoi(words[3]) : 0;
    bool is_btrfs = count == 4 && strcmp(words[1], "btrfs") == 0;
    if (rounds < 1 || rounds > MOST_ROUNDS || (!is_btrfs && strcmp(words[1], "devicemapper") != 0)) {
        fprintf(stderr, "usage: floor devicemapper|btrfs DIRECTORY ROUNDS (1 to %d)\n", MOST_ROUNDS);
        return 2;
    }
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    make_records(words[2]);
    snprintf(target, sizeof target, "%s/floor.mount", directory);
    if (mkdir(target, 0700) != 0) fail("%s", target);
    undo[undos++] = remove_directory;
    if (is_btrfs) btrfs(rounds); else devicemapper(rounds);
    take_down();
    if (stopped) return 1;
    return 0;
}
