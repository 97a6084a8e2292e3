#!/bin/sh
# Starts one core of a cluster that an orchestrator looks after (compose, Kubernetes). POSIX sh plus
# busybox; in the image it is /usr/local/bin/homecore-pod.
#
# It decides one thing: found, join or serve.
#   identity on the volume          serve, whatever the others do: a pod that comes back is the same core
#   data but no identity            neither: stop and say so
#   empty volume                    join the others with the shared secret, trying again until it works
#   empty volume, and the founder   found the cluster, but only when EVERY other core of the list has said
#                                   that its volume is empty too
#
# Why the founder asks for proof instead of founding when nobody answers: a founder that lost its volume
# cannot tell a new cluster from a cluster that is down for a minute. A second cluster would take over
# names that have a home already. So silence means wait; a core that is alive means join, and a join under
# an id that the cluster knows is refused (ids are never used again): the log then says what to do.
#
# While it waits, busybox httpd answers GET /pod-state with "empty" on the HTTP port, and nothing else:
# health questions get 404, so the pod is neither ready nor past its startup probe.
#
# Environment (all of homecore's own HOMECORE__… keys work as well):
#   POD_NAME            name of this core; default: the host name
#   POD_FOUNDER         name of the one core that may found; empty: nobody may
#   POD_PEERS           lines "name rpc-address http-address", this core included
#   POD_PEERS_FILE      the same in a file, read again before each attempt; wins over POD_PEERS
#   POD_SECRET_FILE     the shared join secret
#   HOMECORE__CORE__URL and HOMECORE__CLUSTER__ADVERTISE are best set from outside, so that `homecore status` in
#                       the pod reads the same configuration. In the URL {id} and {pod} stand for the core's id
#                       and POD_NAME; without one it comes from the domain. Advertise defaults to the
#                       core's line in the peers.
#   POD_OVERRIDES       directory with an optional file NAME.env for what is particular to one core:
#                       id, url, ipv4, ipv6 (comma-separated), cname, hosting
#   POD_TIMEOUT_S       give up founding or joining after this long, exit 1, be restarted; default 600
#   POD_PAUSE_S         longest pause between two attempts; default 5
set -u

log() { printf 'homecore-pod: %s\n' "$*" >&2; }
die() {
    log "$*"
    stop_responder
    exit 1
}

bin=${HOMECORE_BIN:-homecore}
pod=${POD_NAME:-$(hostname)}
data=${HOMECORE__CORE__DATA:-/var/lib/homecore}
http_listen=${HOMECORE__HTTP__LISTEN:-0.0.0.0:3000}
rpc_listen=${HOMECORE__CLUSTER__LISTEN:-0.0.0.0:4002}
timeout_s=${POD_TIMEOUT_S:-600}
pause_max=${POD_PAUSE_S:-5}
founder=${POD_FOUNDER:-}
responder=
responder_dir=
child=

# --- signals: as process 1 a shell ignores TERM unless it asks for it; after exec homecore handles it
# KILL: between its fork and its exec a child still has the shell's trap, TERM is lost there, and the wait would
# not end. Neither child minds: the responder has no state, an interrupted join is repeated.
end_child() {
    kill -KILL "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}
stop_responder() {
    if [ -n "$responder" ]; then
        end_child "$responder"
        responder=
    fi
    if [ -n "$responder_dir" ]; then
        rm -rf "$responder_dir"
        responder_dir=
    fi
}
on_term() {
    log "stopped before this core was part of a cluster"
    [ -n "$child" ] && end_child "$child"
    stop_responder
    exit 0
}
trap on_term TERM INT

# Runs a command so that a signal interrupts the wait for it.
run() {
    "$@" &
    child=$!
    wait "$child"
    status=$?
    child=
    return "$status"
}

# --- what is particular to this core
id=$pod
url=${HOMECORE__CORE__URL:-}
ips=
overrides=${POD_OVERRIDES:-}
if [ -n "$overrides" ] && [ -f "$overrides/$pod.env" ]; then
    while IFS='=' read -r key value || [ -n "$key" ]; do
        case $key in
        '' | '#'*) ;;
        id) id=$value ;;
        url) url=$value ;;
        ipv4)
            export HOMECORE__CORE__IPV4="$value"
            ips="$ips,$value"
            ;;
        ipv6)
            export HOMECORE__CORE__IPV6="$value"
            ips="$ips,$value"
            ;;
        cname) export HOMECORE__CORE__CNAME="$value" ;;
        hosting) export HOMECORE__CORE__HOSTING="$value" ;;
        *) die "$overrides/$pod.env: unknown key $key; known are id, url, ipv4, ipv6, cname, hosting" ;;
        esac
    done <"$overrides/$pod.env"
fi
export HOMECORE__CORE__ID="$id"
if [ -n "$url" ]; then
    # Every one of them, without a sed: neither has characters that need quoting.
    while :; do
        case $url in
        *'{id}'*) url=${url%%'{id}'*}$id${url#*'{id}'} ;;
        *'{pod}'*) url=${url%%'{pod}'*}$pod${url#*'{pod}'} ;;
        *) break ;;
        esac
    done
    export HOMECORE__CORE__URL="$url"
fi
if [ -n "${POD_SECRET_FILE:-}" ]; then
    [ -r "$POD_SECRET_FILE" ] || die "the join secret $POD_SECRET_FILE cannot be read by uid $(id -u)"
    export HOMECORE__CLUSTER__JOIN_SECRET_FILE="$POD_SECRET_FILE"
fi

peers() {
    if [ -n "${POD_PEERS_FILE:-}" ]; then cat "$POD_PEERS_FILE"; else printf '%s\n' "${POD_PEERS:-}"; fi
}
advertise=${HOMECORE__CLUSTER__ADVERTISE:-$(peers | while read -r name rpc _; do
    [ "$name" = "$pod" ] && printf '%s' "$rpc" && break
done)}
[ -n "$advertise" ] && export HOMECORE__CLUSTER__ADVERTISE="$advertise"

umask 077
mkdir -p "$data" 2>/dev/null
[ -w "$data" ] || die "the volume $data cannot be written by uid $(id -u)"

if [ -e "$data/platform/identity.json" ]; then
    log "$id: this volume holds a core, serving"
    exec "$bin" serve
fi

# What only a core leaves that was one. An interrupted join or founding leaves keys, and is repeated.
for left in journal.sqlite users platform/log.sqlite; do
    [ ! -e "$data/$left" ] || die "$data has $left but no platform/identity.json: the volume of a core is damaged. Neither
homecore-pod: founding nor joining: restore it, or empty it and replace the core (runbook \"replace a core\")"
done

# --- an empty volume
start_responder() {
    responder_dir=$(mktemp -d) || die "no temporary directory can be made; mount a writable /tmp"
    printf 'empty' >"$responder_dir/pod-state"
    busybox httpd -f -p "$http_listen" -h "$responder_dir" &
    responder=$!
}

# What a peer says: empty · alive · silent.
# (timeout, not wget -T: the latter crashes in some builds of busybox.)
ask() {
    if [ "$(busybox timeout 3 busybox wget -q -O - "http://$1/pod-state" 2>/dev/null | busybox head -c 16)" = empty ]; then
        echo empty
    elif busybox timeout 5 "$bin" healthcheck --url "http://$1" >/dev/null 2>&1; then
        echo alive
    else
        echo silent
    fi
}

# Sets alive, silent and seeds from the list of peers.
look_around() {
    alive=
    silent=
    seeds=
    list=$(peers) || die "the list of cores ${POD_PEERS_FILE:-} cannot be read"
    while read -r name rpc http; do
        case $name in '' | "$pod") continue ;; esac
        seeds="$seeds $rpc"
        [ "$pod" = "$founder" ] || continue
        case $(ask "$http") in
        alive) alive="$alive $name" ;;
        silent) silent="$silent $name" ;;
        esac
    done <<LIST
$list
LIST
}

join() {
    set -- join --no-serve --id "$id" --data "$data" --rpc-listen "$rpc_listen" --http-listen "$http_listen"
    [ -n "${POD_SECRET_FILE:-}" ] && set -- "$@" --secret-file "$POD_SECRET_FILE"
    [ -n "$advertise" ] && set -- "$@" --rpc-advertise "$advertise"
    [ -n "$url" ] && set -- "$@" --url "$url"
    [ -n "${HOMECORE_CONFIG:-}" ] && set -- "$@" --config "$HOMECORE_CONFIG"
    for seed in $seeds; do set -- "$@" --seed "$seed"; done
    old_ifs=$IFS
    IFS=,
    for ip in $ips; do [ -n "$ip" ] && set -- "$@" --ip "$ip"; done
    IFS=$old_ifs
    run busybox timeout 60 "$bin" "$@"
}

started=$(date +%s)
pause=1
last=
log "$id: the volume $data is empty"
start_responder
while :; do
    look_around
    say=
    if [ "$pod" = "$founder" ] && [ -z "$alive" ] && [ -z "$silent" ]; then
        log "$id: every other core's volume is empty, founding the cluster"
        stop_responder
        exec "$bin" serve --set cluster.found=true
    elif [ "$pod" = "$founder" ] && [ -z "$alive" ]; then
        say="not founding: no answer yet from$silent. A cluster may exist there; waiting until each of them has answered"
    elif [ -z "$seeds" ]; then
        die "$id: nobody to join and not the founder (${founder:-none}): check POD_PEERS and POD_FOUNDER"
    else
        [ -n "$alive" ] && say="a cluster exists ($(echo "$alive" | busybox sed 's/^ //') alive) but this volume is empty: joining as $id.
homecore-pod: if the join is refused because $id exists, its volume was lost: remove it on another core
homecore-pod: (homecore remove $id) and give this pod a new id (see the runbook \"replace a core\")"
        [ -n "$say" ] && [ "$say" != "$last" ] && log "$say"
        last=$say
        if join; then
            [ -e "$data/platform/identity.json" ] || die "homecore join succeeded but left no $data/platform/identity.json"
            log "$id: joined, serving"
            stop_responder
            exec "$bin" serve
        fi
    fi
    [ -n "$say" ] && [ "$say" != "$last" ] && log "$say"
    last=$say
    if [ $(($(date +%s) - started)) -ge "$timeout_s" ]; then
        die "$id: not part of a cluster after $timeout_s s, giving up for now (if the refusal above says that
homecore-pod: $id exists: its volume was lost, see the runbook \"replace a core\")"
    fi
    run sleep "$pause"
    [ "$pause" -lt "$pause_max" ] && pause=$((pause + 1))
done
