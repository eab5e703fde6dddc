#!/usr/bin/env bash
# Builds the tarballs of the reference release once for each state of its sources, in a Debian 12 root, so that they
# run on every host of the tests whatever this machine is.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
key=$(cd "$here/reference_release" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-12)
releases=$ERLMCP_OPS_CACHE/releases

if [ ! -d "$releases/$key" ]; then
    mkdir -p "$releases"
    building=$(mktemp -d "$releases/.building-XXXXXX")
    trap 'rm -rf "$building"' EXIT
    python "$here/hosts.py" builder bookworm --bind "$here/reference_release:/src" --bind "$building:/out" -- \
        /src/build.sh /out
    chmod 0755 "$building"
    mv -T "$building" "$releases/$key"
fi
ln -sfn "$key" "$releases/current"
