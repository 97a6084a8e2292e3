#!/bin/bash
# Builds the final stage of the image without a network, from a prebuilt binary ($HOMECORE_BIN), runs it as
# its user with the root file system mounted read-only, and tells its size.
#
#   HOMECORE_BIN=target/dist/homecore deploy/check/image.sh [ARCHIVE]      IMAGE_SERVE=1: also founds and serves in it
#
# With ARCHIVE the image is also written there (docker-archive). Needs buildah; as root, or where user
# namespaces are allowed. The stage that compiles is not run: it needs a registry.
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$(realpath "${HOMECORE_BIN:?set HOMECORE_BIN to a homecore binary}")
archive=${1:-}
command -v buildah >/dev/null || { echo "image: buildah is missing (apt-get install buildah)" >&2; exit 1; }

mkdir -p target
work=$(mktemp -d -p target image.XXXXXX)
work=$(realpath "$work")
# Rootless where possible, no daemon, nothing outside the work directory.
storage=(--root "$work/storage" --runroot "$work/run" --storage-driver vfs)
container=
cleanup() {
    [ -n "$container" ] && buildah "${storage[@]}" rm "$container" >/dev/null 2>&1
    rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "image: FAILED: $*" >&2; exit 1; }
step() { echo "image: $*"; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
tag=homecore:$version

step "root file system"
deploy/image/rootfs.sh "$binary" "$work/image"

step "build of the prebuilt stage"
# Docker's format, because OCI's has no HEALTHCHECK. A fixed time makes the build repeatable.
buildah "${storage[@]}" bud --quiet --isolation chroot --format docker --timestamp 0 \
    -f deploy/Dockerfile --target prebuilt -t "$tag" "$work/image" >/dev/null

step "metadata"
buildah "${storage[@]}" inspect --type image "$tag" | python3 -c '
import json, sys
config = json.load(sys.stdin)["Docker"]["config"]
expected = {
    "User": "10001:10001",
    "Entrypoint": ["/usr/local/bin/homecore"],
    "Cmd": ["serve"],
    "Volumes": {"/var/lib/homecore": {}},
    "StopSignal": "SIGTERM",
}
wrong = {k: config.get(k) for k, v in expected.items() if config.get(k) != v}
ports = {"3000/tcp", "4002/tcp", "5353/udp", "5353/tcp"}
if set(config.get("ExposedPorts", {})) != ports: wrong["ExposedPorts"] = config.get("ExposedPorts")
if config.get("Healthcheck", {}).get("Test") != ["CMD", "homecore", "healthcheck"]: wrong["Healthcheck"] = config.get("Healthcheck")
sys.exit(f"unexpected: {wrong}" if wrong else 0)' || fail "metadata"

container=$(buildah "${storage[@]}" from --pull-never "$tag")
mount=$(buildah "${storage[@]}" mount "$container")
in_image() { buildah "${storage[@]}" run --isolation chroot "$container" -- "$@"; }

step "it runs: $(in_image /usr/local/bin/homecore --version)"
[ "$(in_image /bin/id -u)" = 10001 ] || fail "the user is not 10001"
owner=$(stat -c %u:%g "$mount/var/lib/homecore")
[ "$owner" = 10001:10001 ] || fail "/var/lib/homecore belongs to $owner"
loose=$(find "$mount" -xdev \( -perm /6000 -o \( -type f -perm -0002 \) \) -print)
[ -z "$loose" ] || fail "setuid or world-writable files: $loose"
in_image /bin/busybox sh -n /usr/local/bin/homecore-pod || fail "the pods' script does not parse in the image's shell"

# buildah's chroot isolation has no read-only flag: a mount namespace of our own has. The network is an own one
# too, so that the image's ports are free.
step "with a read-only root"
# Mount points that a container's runtime makes.
mkdir -p "$mount/dev" "$mount/proc"
# shellcheck disable=SC2016  # expanded by the inner shell
read_only() {
    unshare --mount --net --propagation private sh -eu -c '
        root=$1; shift
        "$root/bin/busybox" ip link set lo up
        mount --bind "$root" "$root"
        mount --rbind /dev "$root/dev"
        mount --rbind /proc "$root/proc"
        mount -t tmpfs tmpfs "$root/tmp"
        mount -t tmpfs -o uid=10001,gid=10001,mode=700 tmpfs "$root/var/lib/homecore"
        mount -o remount,bind,ro "$root"
        exec chroot --userspec=10001:10001 "$root" /bin/busybox env -i \
            PATH=/usr/local/bin:/bin HOMECORE_CONFIG=/etc/homecore/homecore.toml HOMECORE__CORE__ID=core-a \
            HOMECORE__CORE__URL=http://127.0.0.1:3000/ HOMECORE__CLUSTER__ADVERTISE=127.0.0.1:4002 \
            POD_NAME=core-a POD_FOUNDER=core-a POD_PEERS="core-a 127.0.0.1:4002 127.0.0.1:3000" "$@"
    ' read_only "$mount" "$@"
}
if unshare --mount --net --propagation private true 2>/dev/null; then
    if read_only /bin/sh -c ': >/etc/probe' 2>/dev/null; then fail "the root file system can be written"; fi
    read_only /bin/sh -c ': >/var/lib/homecore/probe && : >/tmp/probe' || fail "the volume or /tmp cannot be written"
    read_only homecore --version >/dev/null || fail "homecore does not run with a read-only root"
    if [ -n "${IMAGE_SERVE:-}" ]; then
        # Needs a real binary: as a pod it founds a cluster of one, says that it lives, is ready and can be asked,
        # is drained and stopped, and is the same core when it comes back.
        # shellcheck disable=SC2016
        read_only /bin/sh -c '
            fail() { echo "$*"; cat /tmp/log; exit 1; }
            for round in first second; do
                homecore-pod >>/tmp/log 2>&1 &
                core=$!
                tries=0
                until homecore healthcheck --ready >/dev/null 2>&1; do
                    tries=$((tries + 1))
                    kill -0 "$core" || { wait "$core"; fail "$round start: ended with $?"; }
                    [ "$tries" -le 240 ] || fail "$round start: not ready"
                    sleep 0.5
                done
                homecore healthcheck >/dev/null || fail "$round start: not alive"
                homecore-test-cores 127.0.0.1:3000 >>/tmp/log || fail "$round start: homecore-test-cores"
                homecore status --json >>/tmp/$round || fail "$round start: status"
                homecore drain >>/tmp/log 2>&1 || fail "$round start: drain"
                kill "$core" && wait "$core" || fail "$round start: stopped with $?"
            done
            cluster() { busybox grep -o "\"cluster\":\"[a-z0-9]*\"" "/tmp/$1"; }
            [ "$(cluster first)" = "$(cluster second)" ] || fail "the second start is another cluster"
            [ "$(busybox grep -c "founding the cluster" /tmp/log)" = 1 ] || fail "not founded once"' >&2 ||
            fail "homecore does not serve with a read-only root"
        step "as a pod: founds, serves, drains, stops and comes back with a read-only root"
    fi
else
    echo "image: not checked: mount namespaces are not allowed here"
fi

step "size: $(du -sh --apparent-size "$mount" | cut -f1) on disk, $(du -sh --apparent-size "$mount/usr/local/bin/homecore" | cut -f1) of it homecore"
if [ -n "$archive" ]; then
    buildah "${storage[@]}" push --quiet "$tag" "docker-archive:$archive:$tag" >/dev/null
    step "archive: $(du -h "$archive" | cut -f1) $archive"
fi
step "ok"
