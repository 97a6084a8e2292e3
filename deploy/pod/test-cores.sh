#!/bin/sh
# `helm test` and pods.sh: may every core of the list take traffic, and do all of them answer alike?
# Arguments: HTTP addresses (host:port) of the cores. Uses busybox only. Bounded: TEST_TIMEOUT_S in all.
set -u
deadline=$(($(date +%s) + ${TEST_TIMEOUT_S:-60}))
[ $# -gt 0 ] || {
    echo "usage: test-cores.sh HOST:PORT..." >&2
    exit 2
}

# (timeout, not wget -T: the latter crashes in some builds of busybox.)
fetch() { busybox timeout 5 busybox wget -q -O - "http://$1$2" 2>/dev/null; }

for core in "$@"; do
    until fetch "$core" /readyz >/dev/null; do
        if [ "$(date +%s)" -ge "$deadline" ]; then
            echo "FAIL $core is not ready"
            exit 1
        fi
        sleep 1
    done
    echo "ok   $core is ready"
done

first=
for core in "$@"; do
    if ! info=$(fetch "$core" /reg/service/info) || [ -z "$info" ]; then
        echo "FAIL $core does not tell /reg/service/info"
        exit 1
    fi
    # Addresses in it may differ by core; the name may not.
    name=$(printf '%s' "$info" | busybox grep -o '"name": *"[^"]*"' | busybox head -n 1)
    [ -n "$first" ] || first=$name
    if [ "$name" != "$first" ]; then
        echo "FAIL $core tells $name, the first core $first"
        exit 1
    fi
    echo "ok   $core tells ${name:-an unnamed service}"
done
