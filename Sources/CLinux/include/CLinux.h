#pragma once
// Linux interfaces that Swift cannot import: GNU-only calls as `lam_*` shims that keep the C convention
// (-1 and errno), and macros as typed constants. No logic here.
// This header must not define _GNU_SOURCE: it would change types that the Glibc module has already fixed.

#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/xattr.h>

// What Lamina reads of statx(2); times are seconds and nanoseconds since 1970.
struct lam_file_status {
    uint32_t mask, mode, uid, gid, nlink;
    uint64_t attributes, inode, size, blocks, mount_id;
    int64_t atime_seconds, mtime_seconds, ctime_seconds, btime_seconds;
    uint32_t atime_nanoseconds, mtime_nanoseconds, ctime_nanoseconds, btime_nanoseconds;
    uint32_t dev_major, dev_minor, rdev_major, rdev_minor;
};
int lam_statx(int dirfd, const char *path, int flags, struct lam_file_status *out);

int lam_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int lam_syncfs(int fd);
ssize_t lam_copy_file_range(int from_fd, int to_fd, size_t length);
int lam_pipe2_cloexec(int fds[2]);
int lam_utimensat_nofollow(int dirfd, const char *path, int64_t seconds, uint32_t nanoseconds);
int lam_futimens_modified(int fd, int64_t seconds, uint32_t nanoseconds);
static const int LAM_PUNCH_HOLE = 3;  // FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
int lam_fallocate(int fd, int mode, int64_t offset, int64_t length);

// Open-file-description locks on one byte; type is F_RDLCK, F_WRLCK or F_UNLCK.
int lam_ofd_lock(int fd, int type, int64_t byte, int wait);

// The mount API of Linux 5.2 and later.
int lam_fsopen(const char *type);
int lam_fsconfig_flag(int fd, const char *key);
int lam_fsconfig_string(int fd, const char *key, const char *value);
int lam_fsconfig_create(int fd);
int lam_fspick(const char *path);
int lam_fsconfig_reconfigure(int fd);
int lam_fsmount(int fd, unsigned attributes);
int lam_open_tree_clone(int dirfd, const char *path, int recursive);
int lam_mount_set_attributes(int fd, uint64_t set, uint64_t clear, int recursive);
int lam_mount_make_private(int fd);
int lam_move_mount(int from_fd, int to_dirfd, const char *to_path);

int lam_statfs(const char *path, struct statfs *out);

// Of the calling thread alone.
int lam_unshare(int flags);
int lam_drop_effective_capability(int capability);

// Project quotas (FS_IOC_FSSETXATTR, Q_XGETQSTATV, Q_XSETQLIM): limit in bytes, 0 for none; enforced is 1 or 0.
int lam_get_project(int fd, uint32_t *project);
int lam_set_project(int fd, uint32_t project);
int lam_project_quota_enforced(int fd);
int lam_set_project_limit(int fd, uint32_t project, uint64_t bytes);

static const int LAM_O_DIRECT = 040000;
extern const int LAM_O_TMPFILE;
static const int LAM_AT_EMPTY_PATH = 0x1000;
static const int LAM_AT_SYMLINK_NOFOLLOW = 0x100;
static const uint64_t LAM_STATX_ATTR_MOUNT_ROOT = 0x2000;
static const uint32_t LAM_STATX_BTIME = 0x800;
static const unsigned LAM_MOUNT_ATTR_RDONLY = 0x1;
static const unsigned long LAM_MS_RDONLY = MS_RDONLY;
static const unsigned long LAM_MS_REC_PRIVATE = MS_REC | MS_PRIVATE;
static const int LAM_CLONE_FS = 0x200;
static const int LAM_CLONE_NEWNS = 0x20000;
static const int LAM_CAP_SYS_RESOURCE = 24;
static const int LAM_SEEK_DATA = 3;
static const int LAM_SEEK_HOLE = 4;
static const unsigned long LAM_FICLONE = FICLONE;
static const unsigned long LAM_BLKGETSIZE64 = BLKGETSIZE64;
static const unsigned long LAM_BLKDISCARD = BLKDISCARD;
static const unsigned long LAM_BLKROGET = BLKROGET;
static const unsigned long LAM_LOOP_CONFIGURE = LOOP_CONFIGURE;
// _IOW('f', 16, __u64), ext4's own header is not exported: fs/ext4/ext4.h.
static const unsigned long LAM_EXT4_IOC_RESIZE_FS = _IOW('f', 16, uint64_t);

// The flags of XFS_IOC_FSGEOMETRY_V1 (xfs/xfs_fs.h): what the filesystem was made with.
int lam_xfs_features(int fd, uint32_t *flags);
static const uint32_t LAM_XFS_FTYPE = 1 << 16;
static const uint32_t LAM_XFS_REFLINK = 1 << 20;

// XFS_IOC_FSGROWFSDATA (xfs/xfs_fs.h), to a number of filesystem blocks.
int lam_xfs_grow(int fd, uint64_t blocks);
