// libbtrfs: ioctl structures and numbers. The numbers are macros made with sizeof, which Swift does not import,
// so each one used is given a typed name here.
#include <btrfs/ioctl.h>

static const unsigned long LAM_BTRFS_IOC_SUBVOL_CREATE_V2 = BTRFS_IOC_SUBVOL_CREATE_V2;
static const unsigned long LAM_BTRFS_IOC_SNAP_CREATE_V2 = BTRFS_IOC_SNAP_CREATE_V2;
static const unsigned long LAM_BTRFS_IOC_SNAP_DESTROY = BTRFS_IOC_SNAP_DESTROY;
static const unsigned long LAM_BTRFS_IOC_SUBVOL_GETFLAGS = BTRFS_IOC_SUBVOL_GETFLAGS;
static const unsigned long LAM_BTRFS_IOC_SUBVOL_SETFLAGS = BTRFS_IOC_SUBVOL_SETFLAGS;
static const unsigned long LAM_BTRFS_IOC_GET_SUBVOL_INFO = BTRFS_IOC_GET_SUBVOL_INFO;
static const unsigned long LAM_BTRFS_IOC_TREE_SEARCH_V2 = BTRFS_IOC_TREE_SEARCH_V2;
static const unsigned long LAM_BTRFS_IOC_INO_LOOKUP = BTRFS_IOC_INO_LOOKUP;
static const unsigned long LAM_BTRFS_IOC_QUOTA_CTL = BTRFS_IOC_QUOTA_CTL;
static const unsigned long LAM_BTRFS_IOC_QGROUP_CREATE = BTRFS_IOC_QGROUP_CREATE;
static const unsigned long LAM_BTRFS_IOC_QGROUP_LIMIT = BTRFS_IOC_QGROUP_LIMIT;
static const unsigned long LAM_BTRFS_IOC_QUOTA_RESCAN_WAIT = BTRFS_IOC_QUOTA_RESCAN_WAIT;
static const unsigned long LAM_BTRFS_IOC_SYNC = BTRFS_IOC_SYNC;
