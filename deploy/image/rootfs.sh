#!/bin/sh
# Lays out the image: rootfs.sh BINARY OUT makes OUT/root, its root file system, and OUT/volume, what an
# empty volume starts with (apart, because it alone belongs to the image's user). Used by the Dockerfile's build stage
# and by check/image.sh, so that what is checked without a network is what ships.
#
# The binary is linked to glibc; its libraries are copied as ldd names them, under the path that the loader
# looks at. From glibc 2.34 on, names from files and DNS need no further library.
set -eu
[ $# -eq 2 ] || {
    echo "usage: rootfs.sh BINARY OUT" >&2
    exit 2
}
binary=$1
out=$2/root
volume=$2/volume
here=$(cd "$(dirname "$0")" && pwd)

busybox=${BUSYBOX:-$(command -v busybox || true)}
[ -n "$busybox" ] || {
    echo "rootfs.sh: a static busybox is needed (apt-get install busybox-static)" >&2
    exit 1
}
if ldd "$busybox" >/dev/null 2>&1; then
    echo "rootfs.sh: $busybox is not static (apt-get install busybox-static)" >&2
    exit 1
fi

umask 022
mkdir -p "$out/bin" "$out/etc/homecore" "$out/etc/ssl/certs" "$out/usr/local/bin" \
    "$out/var/lib" "$out/tmp" "$volume"
chmod 1777 "$out/tmp"

install -m 0755 "$binary" "$out/usr/local/bin/homecore"
install -m 0755 "$here/../pod/entrypoint.sh" "$out/usr/local/bin/homecore-pod"
install -m 0755 "$here/../pod/test-cores.sh" "$out/usr/local/bin/homecore-test-cores"
install -m 0755 "$here/../pod/test-dns.sh" "$out/usr/local/bin/homecore-test-dns"
install -m 0644 "$here/homecore.toml" "$out/etc/homecore/homecore.toml"

install -m 0755 "$busybox" "$out/bin/busybox"
for applet in sh cat cp date env hostname id ls mkdir mktemp printf rm sleep timeout; do
    ln -sf busybox "$out/bin/$applet"
done

# A static binary has none: ldd then says so with an error.
ldd "$binary" 2>/dev/null | sed -n -e 's/.*=> \(\/[^ ]*\) .*/\1/p' -e 's/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' |
    while read -r library; do
        mkdir -p "$out$(dirname "$library")"
        cp -L "$library" "$out$library"
        chmod 0755 "$out$library"
    done

certificates=/etc/ssl/certs/ca-certificates.crt
[ -r "$certificates" ] || {
    echo "rootfs.sh: $certificates is missing (apt-get install ca-certificates)" >&2
    exit 1
}
install -m 0644 "$certificates" "$out$certificates"
echo 'homecore:x:10001:10001:homecore:/var/lib/homecore:/bin/sh' >"$out/etc/passwd"
echo 'homecore:x:10001:' >"$out/etc/group"
echo 'hosts: files dns' >"$out/etc/nsswitch.conf"
