// libbtrfs: ioctl structures and numbers, and the reader of send streams. The numbers are macros made with sizeof,
// which Swift does not import, so each one used is given a typed name here.
#include <btrfs/ioctl.h>
#include <btrfs/send-stream.h>
#include <stddef.h>

static const unsigned long LAM_BTRFS_IOC_SUBVOL_CREATE_V2 = BTRFS_IOC_SUBVOL_CREATE_V2;
static const unsigned long LAM_BTRFS_IOC_SNAP_CREATE_V2 = BTRFS_IOC_SNAP_CREATE_V2;
static const unsigned long LAM_BTRFS_IOC_SNAP_DESTROY = BTRFS_IOC_SNAP_DESTROY;
static const unsigned long LAM_BTRFS_IOC_SUBVOL_GETFLAGS = BTRFS_IOC_SUBVOL_GETFLAGS;
static const unsigned long LAM_BTRFS_IOC_SUBVOL_SETFLAGS = BTRFS_IOC_SUBVOL_SETFLAGS;
static const unsigned long LAM_BTRFS_IOC_GET_SUBVOL_INFO = BTRFS_IOC_GET_SUBVOL_INFO;
static const unsigned long LAM_BTRFS_IOC_TREE_SEARCH_V2 = BTRFS_IOC_TREE_SEARCH_V2;
static const unsigned long LAM_BTRFS_IOC_SEND = BTRFS_IOC_SEND;
static const unsigned long LAM_BTRFS_IOC_INO_LOOKUP = BTRFS_IOC_INO_LOOKUP;
static const unsigned long LAM_BTRFS_IOC_QUOTA_CTL = BTRFS_IOC_QUOTA_CTL;
static const unsigned long LAM_BTRFS_IOC_QGROUP_CREATE = BTRFS_IOC_QGROUP_CREATE;
static const unsigned long LAM_BTRFS_IOC_QGROUP_LIMIT = BTRFS_IOC_QGROUP_LIMIT;
static const unsigned long LAM_BTRFS_IOC_QUOTA_RESCAN_WAIT = BTRFS_IOC_QUOTA_RESCAN_WAIT;
static const unsigned long LAM_BTRFS_IOC_SYNC = BTRFS_IOC_SYNC;

// Structures with long names in them: to Swift each character would be a field, which costs its compiler minutes.
static const size_t LAM_BTRFS_VOL_ARGS_SIZE = sizeof(struct btrfs_ioctl_vol_args);
static const size_t LAM_BTRFS_VOL_ARGS_NAME = offsetof(struct btrfs_ioctl_vol_args, name);
static const size_t LAM_BTRFS_VOL_ARGS_V2_SIZE = sizeof(struct btrfs_ioctl_vol_args_v2);
static const size_t LAM_BTRFS_VOL_ARGS_V2_FD = offsetof(struct btrfs_ioctl_vol_args_v2, fd);
static const size_t LAM_BTRFS_VOL_ARGS_V2_FLAGS = offsetof(struct btrfs_ioctl_vol_args_v2, flags);
static const size_t LAM_BTRFS_VOL_ARGS_V2_NAME = offsetof(struct btrfs_ioctl_vol_args_v2, name);
static const size_t LAM_BTRFS_INO_LOOKUP_SIZE = sizeof(struct btrfs_ioctl_ino_lookup_args);
static const size_t LAM_BTRFS_INO_LOOKUP_TREE = offsetof(struct btrfs_ioctl_ino_lookup_args, treeid);
static const size_t LAM_BTRFS_INO_LOOKUP_OBJECT = offsetof(struct btrfs_ioctl_ino_lookup_args, objectid);
static const size_t LAM_BTRFS_INO_LOOKUP_NAME = offsetof(struct btrfs_ioctl_ino_lookup_args, name);
static const size_t LAM_BTRFS_SUBVOL_INFO_SIZE = sizeof(struct btrfs_ioctl_get_subvol_info_args);
static const size_t LAM_BTRFS_SUBVOL_INFO_TREE = offsetof(struct btrfs_ioctl_get_subvol_info_args, treeid);
static const size_t LAM_BTRFS_SUBVOL_INFO_PARENT = offsetof(struct btrfs_ioctl_get_subvol_info_args, parent_uuid);
static const size_t LAM_BTRFS_SUBVOL_INFO_OTRANSID = offsetof(struct btrfs_ioctl_get_subvol_info_args, otransid);
