#!/bin/sh
# Usage: customize-image.sh ROOT, as a customize hook of mmdebstrap.
#
# Turns a Debian tree into the disk of a test host. TEST_HOST_PACKAGES names the
# packages a running host, which has no network, must be able to install.
set -eu

root=$1
repository=/var/lib/test-packages

# A repository in a file tree, and not apt's own cache: `apt-get update` and
# `clean` must work on a host as they do elsewhere.
make_repository() {
    mkdir "$root$repository"
    # shellcheck disable=SC2086  # a list of names
    APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --yes --no-install-recommends \
        --download-only install $TEST_HOST_PACKAGES
    for archive in "$root"/var/cache/apt/archives/*.deb; do
        # apt decodes the %3a of an epoch when it reads a file name back.
        name=$(basename "$archive" | sed 's/%3a/+/')
        mv "$archive" "$root$repository/$name"
        describe_archive "$root$repository/$name"
    done >"$root$repository/Packages"
    describe_index "$root$repository/Packages" >"$root$repository/Release"
    rm -f "$root"/etc/apt/sources.list.d/*
    echo "deb [trusted=yes lang=none] file:$repository ./" >"$root/etc/apt/sources.list"
    rm -rf "$root"/var/lib/apt/lists/*
    chroot "$root" apt-get update
}

describe_archive() {
    dpkg-deb --field "$1"
    echo "Filename: ./$(basename "$1")"
    echo "Size: $(stat --format %s "$1")"
    echo "SHA256: $(sha256sum "$1" | cut -d ' ' -f 1)"
    echo
}

# Without it apt looks for the index under every name it could have.
describe_index() {
    echo "Date: $(date --utc --rfc-email)"
    echo "SHA256:"
    echo " $(sha256sum "$1" | cut -d ' ' -f 1) $(stat --format %s "$1") Packages"
}

configure_ssh() {
    cat >"$root/etc/ssh/sshd_config.d/test-host.conf" <<-'CONFIG'
	UseDNS no
	PermitRootLogin prohibit-password
	PasswordAuthentication no
	MaxStartups 100
	MaxSessions 100
	CONFIG
    # Newer servers shut out an address that connects without logging in, as
    # every probe of the port does.
    if grep -qi PerSourcePenalties "$root/usr/sbin/sshd"; then
        echo 'PerSourcePenalties no' >>"$root/etc/ssh/sshd_config.d/test-host.conf"
    fi
}

configure_units() {
    chroot "$root" systemctl enable systemd-networkd.service
    # Waiting for a name server that is not there, consoles nobody reads, and
    # timers which would take a processor in the middle of a test.
    chroot "$root" systemctl mask systemd-networkd-wait-online.service \
        console-getty.service getty.target \
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
        e2scrub_all.timer e2scrub_reap.service
}

# Modules are compiled once per host, and not at each call.
configure_python() {
    cp "$(dirname "$0")/zip_bytecode.py" "$root/usr/lib/python3/dist-packages/"
    echo 'import zip_bytecode' >"$root/usr/lib/python3/dist-packages/zip_bytecode.pth"
    mkdir -m 700 "$root/var/cache/test-bytecode"
    chroot "$root" python3 -m py_compile /usr/lib/python3/dist-packages/zip_bytecode.py
}

configure_names() {
    : >"$root/etc/resolv.conf"
    rm -f "$root/etc/hostname"
}

make_repository
configure_ssh
configure_units
configure_python
configure_names
