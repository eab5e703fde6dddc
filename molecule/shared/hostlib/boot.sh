#!/bin/sh
# Usage: private-root.sh sh boot.sh HOST_DIR IMAGE CGROUP NSPAWN...
#
# Mounts the host's disk and becomes its supervisor, NSPAWN.
set -eu

host_dir=$1 image=$2 cgroup=/sys/fs/cgroup/$3
shift 3

# nspawn keeps sockets and propagation directories in /run and leaves them behind.
mount -t tmpfs tmpfs /run

# Without a cgroup of its own each host would share its service cgroups with
# the others: stopping ssh.service in one would then kill it in all.
mkdir -p "$cgroup"
for parent in /sys/fs/cgroup "${cgroup%/*}"; do
    tr ' ' '\n' <"$parent/cgroup.controllers" | while read -r controller; do
        # Refused where the machine keeps processes in the parent; hosts then
        # run without limits, as units accept.
        echo "+$controller" 2>/dev/null >"$parent/cgroup.subtree_control" || true
    done
done
echo $$ >"$cgroup/cgroup.procs"

mount -t overlay overlay "$host_dir/root" \
    -o "lowerdir=$image,upperdir=$host_dir/upper,workdir=$host_dir/work"
exec "$@"
