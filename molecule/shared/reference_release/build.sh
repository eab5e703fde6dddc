#!/bin/sh
# Builds the reference release's tarballs into OUTDIR. Needs rebar3 and Erlang.
set -eu

if [ "$#" -ne 1 ]; then
    echo "usage: $0 OUTDIR" >&2
    exit 2
fi
mkdir -p "$1"
outdir=$(cd "$1" && pwd)
source=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# rebar3 keeps state below the home folder; the builder's stays as it is.
export HOME="$work" LC_ALL=C.UTF-8

# Real releases were seen to name hooks that nobody packs.
lacking_hook='{extended_start_script_hooks, [{pre_start, [{custom, "hooks/lacking"}]}]}'
# What an overlay copies into a directory, relx packs once for the file and once for the directory.
twice='{overlay, [{copy, "config", "etc"}, {copy, "config/vm.args", "etc/"}]}'

# build VERSION VARIANT INCLUDE_ERTS NAME [RELX_OPTION [as-made]]
build() {
    copy="$work/$4"
    mkdir "$copy"
    cp -R "$source/rebar.config" "$source/config" "$source/src" "$copy"
    if [ -d "$source/config_$2" ]; then
        cp "$source/config_$2"/* "$copy/config"
    fi
    sed -i -e "s/\"1\.0\.0\"/\"$1\"/" \
           -e "s/{variant, full}/{variant, $2}/" \
           -e "s/{include_erts, true}/{include_erts, $3}/" \
           "$copy/rebar.config" "$copy/src/erlmcp.app.src"
    if [ -n "${5-}" ]; then
        sed -i "s|{include_src, false},|&\n    $5,|" "$copy/rebar.config"
    fi
    (cd "$copy" && rebar3 tar) >"$copy.log" 2>&1 || {
        cat "$copy.log" >&2
        exit 1
    }
    if [ "${6-}" = as-made ]; then
        cp "$copy/_build/default/rel/erlmcp/erlmcp-$1.tar.gz" "$outdir/$4.tar.gz"
        return
    fi
    # Packed again, because relx records the time and the builder's account.
    mkdir "$copy/unpacked"
    tar -xzf "$copy/_build/default/rel/erlmcp/erlmcp-$1.tar.gz" -C "$copy/unpacked"
    tar -c -C "$copy/unpacked" --sort=name --mtime=2000-01-01T00:00:00Z --owner=0 --group=0 --numeric-owner . |
        gzip -n >"$outdir/$4.tar.gz"
}

build 1.0.0 full       true  erlmcp-1.0.0
build 1.1.0 extra_tool true  erlmcp-1.1.0
build 1.2.0 failing    true  erlmcp-1.2.0
build 1.2.0 full       true  erlmcp-1.2.0-repaired "$twice" as-made
build 1.3.0 crashing   true  erlmcp-1.3.0
build 0.6.0 bare       true  erlmcp-0.6.0 "$lacking_hook"
build 1.0.0 full       false erlmcp-1.0.0-noerts
