#!/bin/sh
# Packages test-security, test-other and erlang-test in version 1, installed, and in version 2, in two repositories that
# call themselves Debian's security pocket and Debian itself.
set -eu

top=/var/lib/test-updates
codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)

make_package() {
    mkdir -p "$top/build/DEBIAN" "$top/$3"
    printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: test\n' \
        "$1" "$2" >"$top/build/DEBIAN/control"
    dpkg-deb --build "$top/build" "$top/$3/$1_$2.deb" >/dev/null
    rm -r "$top/build"
}

make_repository() {
    cd "$top/$1"
    for archive in *.deb; do
        dpkg-deb --field "$archive"
        echo "Filename: ./$archive"
        echo "Size: $(stat --format %s "$archive")"
        echo "SHA256: $(sha256sum "$archive" | cut -d ' ' -f 1)"
        echo
    done >Packages
    {
        printf 'Origin: Debian\nLabel: %s\nSuite: %s\nCodename: %s\n' "$2" "$3" "$3"
        echo "Date: $(date --utc --rfc-email)"
        echo "SHA256:"
        echo " $(sha256sum Packages | cut -d ' ' -f 1) $(stat --format %s Packages) Packages"
    } >Release
    echo "deb [trusted=yes lang=none] file:$top/$1 ./" >>/etc/apt/sources.list.d/test-updates.list
}

rm -rf "$top"
rm -f /etc/apt/sources.list.d/test-updates.list
for name in test-security test-other erlang-test; do
    make_package "$name" 1 installed
done
dpkg -i "$top"/installed/*.deb
make_package test-security 2 security
make_package erlang-test 2 security
make_package test-other 2 other
make_repository security Debian-Security "$codename-security"
make_repository other Debian "$codename"
apt-get -q update
