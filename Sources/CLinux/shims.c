#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/dqblk_xfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int lam_statx(int dirfd, const char *path, int flags, struct lam_file_status *out) {
    struct statx raw;
    if (statx(dirfd, path, flags, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, &raw) != 0) return -1;
    *out = (struct lam_file_status){
        .mask = raw.stx_mask,
        .mode = raw.stx_mode,
        .uid = raw.stx_uid,
        .gid = raw.stx_gid,
        .nlink = raw.stx_nlink,
        .attributes = raw.stx_attributes & raw.stx_attributes_mask,
        .inode = raw.stx_ino,
        .size = raw.stx_size,
        .blocks = raw.stx_blocks,
        .mount_id = raw.stx_mnt_id,
        .atime_seconds = raw.stx_atime.tv_sec,
        .mtime_seconds = raw.stx_mtime.tv_sec,
        .ctime_seconds = raw.stx_ctime.tv_sec,
        .btime_seconds = raw.stx_btime.tv_sec,
        .atime_nanoseconds = raw.stx_atime.tv_nsec,
        .mtime_nanoseconds = raw.stx_mtime.tv_nsec,
        .ctime_nanoseconds = raw.stx_ctime.tv_nsec,
        .btime_nanoseconds = raw.stx_btime.tv_nsec,
        .dev_major = raw.stx_dev_major,
        .dev_minor = raw.stx_dev_minor,
        .rdev_major = raw.stx_rdev_major,
        .rdev_minor = raw.stx_rdev_minor,
    };
    return 0;
}

int lam_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
}

int lam_statfs(const char *path, struct statfs *out) { return statfs(path, out); }

int lam_syncfs(int fd) { return syncfs(fd); }

ssize_t lam_copy_file_range(int from_fd, int to_fd, size_t length) {
    return copy_file_range(from_fd, NULL, to_fd, NULL, length, 0);
}

int lam_pipe2_cloexec(int fds[2]) { return pipe2(fds, O_CLOEXEC); }

int lam_utimensat_nofollow(int dirfd, const char *path, int64_t seconds, uint32_t nanoseconds) {
    struct timespec times[2] = {{.tv_sec = seconds, .tv_nsec = nanoseconds}, {.tv_sec = seconds, .tv_nsec = nanoseconds}};
    return utimensat(dirfd, path, times, AT_SYMLINK_NOFOLLOW);
}

int lam_ofd_lock(int fd, int type, int64_t byte, int wait) {
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
}

int lam_fsopen(const char *type) { return fsopen(type, FSOPEN_CLOEXEC); }

int lam_fsconfig_flag(int fd, const char *key) { return fsconfig(fd, FSCONFIG_SET_FLAG, key, NULL, 0); }

int lam_fsconfig_string(int fd, const char *key, const char *value) {
    return fsconfig(fd, FSCONFIG_SET_STRING, key, value, 0);
}

int lam_fsconfig_create(int fd) { return fsconfig(fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0); }

int lam_fspick(const char *path) { return fspick(AT_FDCWD, path, FSPICK_CLOEXEC); }

int lam_fsconfig_reconfigure(int fd) { return fsconfig(fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0); }

int lam_fsmount(int fd, unsigned attributes) { return fsmount(fd, FSMOUNT_CLOEXEC, attributes); }

int lam_open_tree_clone(int dirfd, const char *path, int recursive) {
    return open_tree(dirfd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0));
}

int lam_mount_set_attributes(int fd, uint64_t set, uint64_t clear, int recursive) {
    struct mount_attr attributes = {.attr_set = set, .attr_clr = clear};
    return mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes, sizeof attributes);
}

int lam_mount_make_private(int fd) {
    struct mount_attr attributes = {.propagation = MS_PRIVATE};
    return mount_setattr(fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes);
}

int lam_move_mount(int from_fd, int to_dirfd, const char *to_path) {
    return move_mount(from_fd, "", to_dirfd, to_path, MOVE_MOUNT_F_EMPTY_PATH);
}

int lam_set_project(int fd, uint32_t project) {
    struct fsxattr attributes;
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return -1;
    attributes.fsx_projid = project;
    attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    return ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

int lam_unshare(int flags) { return unshare(flags); }

int lam_drop_effective_capability(int capability) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) != 0) return -1;
    data[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
    return (int)syscall(SYS_capset, &header, data);
}

int lam_get_project(int fd, uint32_t *project) {
    struct fsxattr attributes;
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return -1;
    *project = attributes.fsx_projid;
    return 0;
}

int lam_project_quota_enforced(int fd) {
    struct fs_quota_statv state = {.qs_version = FS_QSTATV_VERSION1};
    if (syscall(SYS_quotactl_fd, fd, QCMD(Q_XGETQSTATV, PRJQUOTA), 0, &state) != 0) return -1;
    return (state.qs_flags & FS_QUOTA_PDQ_ENFD) != 0;
}

int lam_set_project_limit(int fd, uint32_t project, uint64_t bytes) {
    // Block limits count 512-byte units (linux/dqblk_xfs.h: "basic blocks").
    struct fs_disk_quota quota = {
        .d_version = FS_DQUOT_VERSION,
        .d_flags = FS_PROJ_QUOTA,
        .d_fieldmask = FS_DQ_BHARD | FS_DQ_BSOFT,
        .d_id = project,
        .d_blk_hardlimit = bytes / 512,
        .d_blk_softlimit = bytes / 512,
    };
    return (int)syscall(SYS_quotactl_fd, fd, QCMD(Q_XSETQLIM, PRJQUOTA), project, &quota);
}

int lam_xfs_features(int fd, uint32_t *flags) {
    // struct xfs_fsop_geom_v1.
    struct {
        uint32_t sizes[8];
        uint64_t blocks[4];
        unsigned char uuid[16];
        uint32_t sunit, swidth, version, flags, logsectsize, rtsectsize, dirblocksize;
    } geometry;
    int result = ioctl(fd, _IOR('X', 100, __typeof__(geometry)), &geometry);
    if (result == 0) *flags = geometry.flags;
    return result;
}

int lam_xfs_grow(int fd, uint64_t blocks) {
    // struct xfs_growfs_data; 25 % for inodes is what mkfs.xfs gives filesystems of less than 1 TiB.
    struct {
        uint64_t newblocks;
        uint32_t imaxpct;
    } arguments = {.newblocks = blocks, .imaxpct = 25};
    return ioctl(fd, _IOW('X', 110, __typeof__(arguments)), &arguments);
}

int lam_futimens_modified(int fd, int64_t seconds, uint32_t nanoseconds) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = nanoseconds}};
    return futimens(fd, times);
}

int lam_fallocate(int fd, int mode, int64_t offset, int64_t length) { return fallocate(fd, mode, offset, length); }

const int LAM_O_TMPFILE = O_TMPFILE;
