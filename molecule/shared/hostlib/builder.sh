#!/bin/sh
# Usage: private-root.sh sh builder.sh IMAGE [SRC:DST...] -- COMMAND...
#
# Runs COMMAND on a throw-away copy of IMAGE, with directories of the machine in it.
set -eu

image=$1
shift
root=/sys/fs/cgroup/root

# Nothing a caller could want to bind lies below /sys/fs/cgroup.
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir "$root" /sys/fs/cgroup/upper /sys/fs/cgroup/work
mount -t overlay overlay "$root" \
    -o "lowerdir=$image,upperdir=/sys/fs/cgroup/upper,workdir=/sys/fs/cgroup/work"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    mkdir -p "$root${1#*:}"
    mount --bind "${1%%:*}" "$root${1#*:}"
    shift
done
shift

# epmd and distributed nodes talk over it.
ip link set lo up
exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
