#!/bin/sh
# Usage: unshare --mount --propagation unchanged sh private-root.sh COMMAND...
#
# Runs COMMAND in a mount namespace which gives nothing back to the machine, so
# that every mount made for a host or an image ends with its last process.
#
# A plain chroot needs more than `unshare`: its "/" is no mount point, which
# systemd-nspawn wants, and the kernel refuses user namespaces (PrivateUsers=)
# below a chroot. Entering the namespace again leads out to its true root; a
# copy of our own root is then moved on top of that. The cgroup2 mount gives a
# unified hierarchy on hybrid and bare machines alike.
set -eu

# shellcheck disable=SC2016  # expanded by the inner shells
exec nsenter --mount=/proc/self/ns/mnt --wd=/ sh -euc '
    mount --make-rslave /
    mount --rbind . sys/fs/cgroup
    cd sys/fs/cgroup
    mount --move . /
    exec chroot . sh -euc "
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        cd \"\$0\"
        exec \"\$@\"
    " "$0" "$@"
' "$PWD" "$@"
