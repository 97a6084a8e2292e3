#!/bin/bash
# Runs the pods' script for real: three "pods" as plain processes with own volumes on loopback, then what
# happens to pods in life. The binary is $HOMECORE_BIN, or with --stub a stand-in, when only the script is
# on trial.
#
#   HOMECORE_BIN=target/debug/homecore deploy/check/pods.sh
#   deploy/check/pods.sh --stub
#
# CHECK_SHELL="busybox sh" runs the script in the image's shell instead of this machine's /bin/sh.
# Each wait is for a condition and has an end; on failure the pods' logs are printed.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
timeout_s=${CHECK_TIMEOUT_S:-120}
read -r -a shell <<<"${CHECK_SHELL:-}"

if [ "${1:-}" = --stub ]; then
    bin=$root/deploy/check/stub-core.py
else
    bin=${HOMECORE_BIN:?set HOMECORE_BIN to a homecore binary, or give --stub}
    bin=$(realpath "$bin")
fi
# shellcheck source=deploy/check/tools.sh
. deploy/check/tools.sh
command -v python3 >/dev/null || { echo "pods: python3 is missing" >&2; exit 1; }
want busybox busybox-static || { echo "pods: busybox is missing (apt-get install busybox-static)" >&2; exit 1; }

dir=$(mktemp -d)
declare -A pids=()
cleanup() {
    local status=$?
    # Where nobody hears the shell say "Killed".
    {
        for name in "${!pids[@]}"; do
            # Its children too: a waiting pod has a responder.
            # shellcheck disable=SC2046  # one word per process
            kill -9 "${pids[$name]}" $(cat "/proc/${pids[$name]}/task/${pids[$name]}/children") || true
        done
        wait || true
    } 2>/dev/null
    if [ "$status" -ne 0 ]; then
        for file in "$dir"/*.log; do echo "--- $(basename "$file")"; tail -n 60 "$file"; done >&2
        echo "pods: FAILED" >&2
    fi
    rm -rf "$dir"
}
trap cleanup EXIT

# What each pod that still runs says of the cluster, for whoever reads a failure.
tell_status() {
    local name
    for name in "${!pids[@]}"; do
        echo "--- status as $name has it"
        in_pod "$name" timeout 10 "$bin" status 2>&1 || true
    done >&2
}
fail() { tell_status; echo "pods: $*" >&2; exit 1; }
step() { echo "pods: $*"; }

# Free ports, held open together so that no two are the same.
read -r -a ports < <(python3 -c '
import socket
held = [socket.socket() for _ in range(6)]
for s in held: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])')
declare -A http=() rpc=()
names=(pod-0 pod-1 pod-2)
for i in 0 1 2; do
    http[pod-$i]=127.0.0.1:${ports[$i]}
    rpc[pod-$i]=127.0.0.1:${ports[$((i + 3))]}
    # The stub speaks HTTP only.
    [ "${1:-}" = --stub ] && rpc[pod-$i]=${http[pod-$i]}
    echo "pod-$i ${rpc[pod-$i]} ${http[pod-$i]}" >>"$dir/peers"
done
head -c 32 /dev/urandom | base64 >"$dir/secret"
chmod 600 "$dir/secret"
mkdir "$dir/overrides" "$dir/clusters"
cat >"$dir/homecore.toml" <<'TOML'
[log]
level = "info"
TOML

# The environment of a pod, for the script and for the command line beside it.
pod_env() {
    local name=$1
    environment=(
        HOMECORE_BIN="$bin" HOMECORE_CONFIG="$dir/homecore.toml" STUB_CLUSTERS="$dir/clusters"
        HOMECORE__CORE__ID="$name" HOMECORE__CORE__DATA="$dir/$name/data"
        HOMECORE__HTTP__LISTEN="${http[$name]}" HOMECORE__CLUSTER__LISTEN="${rpc[$name]}"
        HOMECORE__CLUSTER__ADVERTISE="${rpc[$name]}" HOMECORE__CORE__URL="http://${http[$name]}/"
        POD_NAME="$name" POD_FOUNDER=pod-0 POD_PEERS_FILE="$dir/peers" POD_SECRET_FILE="$dir/secret"
        POD_OVERRIDES="$dir/overrides" POD_PAUSE_S=1
        POD_TIMEOUT_S="${POD_TIMEOUT_S:-600}"
    )
}
in_pod() {
    pod_env "$1"
    shift
    env "${environment[@]}" "$@"
}
start() {
    mkdir -p "$dir/$1"
    pod_env "$1"
    # No function in between: `env` and the script exec, so this id is the core's in the end.
    env "${environment[@]}" "${shell[@]}" "$root/deploy/pod/entrypoint.sh" >>"$dir/$1.log" 2>&1 &
    pids[$1]=$!
}
signal_pod() { kill "-$1" "${pids[$2]}"; }
ended() { ! kill -0 "${pids[$1]}" 2>/dev/null; }
until_true() {
    local what=$1 end=$((SECONDS + timeout_s))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || fail "not within $timeout_s s: $what"
        sleep 0.1
    done
}
logged() { grep -qs -- "$2" "$dir/$1.log"; }
has_identity() { [ -e "$dir/$1/data/platform/identity.json" ]; }
# get POD PATH: the status, then the text; nothing if nobody answers.
get() {
    python3 - "http://${http[$1]}$2" <<'PY'
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=5)
except urllib.error.HTTPError as error:
    answer = error
except OSError:
    sys.exit(0)
print(answer.status, answer.read().decode().strip())
PY
}
says_empty() { [ "$(get "$1" /pod-state)" = "200 empty" ]; }
ready() { case $(get "$1" /readyz) in 200*) ;; *) false ;; esac }

# status POD EXPRESSION: over the JSON of `homecore status` on a pod; `live` are its cores but the removed.
status() {
    in_pod "$1" "$bin" status --json 2>/dev/null | python3 -c '
import json, sys
s = json.load(sys.stdin)
cores = s["cores"]
name = lambda c: c.get("core") or c.get("id")
live = [c for c in cores if c.get("state") != "removed" and c.get("role") != "removed"]
serving = [c for c in live if c.get("state") == "serving" and c.get("role") in ("leader", "voter", "learner")]
value = eval(sys.argv[1])
print(value)
sys.exit(0 if value else 1)' "$2"
}
holds() { status "$1" "$2" >/dev/null 2>&1; }
all_serve() { holds "$1" "s['quorum'] and sorted(map(name, serving)) == sorted('$2'.split())"; }

step "the founder alone does not found while the others are silent"
start pod-0
until_true "pod-0 waits for the others" logged pod-0 "not founding: no answer yet from pod-1 pod-2"
has_identity pod-0 && fail "pod-0 founded a cluster without asking the others"
until_true "pod-0 says that it is empty" says_empty pod-0
case $(get pod-0 /readyz) in 404*) ;; *) fail "pod-0 must not be ready yet" ;; esac

step "one more is not enough"
start pod-1
until_true "pod-0 still waits for pod-2" logged pod-0 "not founding: no answer yet from pod-2\."
has_identity pod-0 && fail "pod-0 founded a cluster without asking pod-2"

step "when all have answered, one cluster of three"
start pod-2
for name in "${names[@]}"; do
    until_true "$name knows three serving cores" all_serve "$name" "pod-0 pod-1 pod-2"
done
cluster=$(status pod-0 "s['cluster']")
for name in "${names[@]}"; do
    [ "$(status "$name" "s['cluster']")" = "$cluster" ] || fail "$name is in another cluster than pod-0"
done
node=$(status pod-0 "[c['node'] for c in cores if name(c) == 'pod-1'][0]")

step "the test pod's script"
TEST_TIMEOUT_S=$timeout_s deploy/pod/test-cores.sh "${http[@]}" >"$dir/test.log" || { cat "$dir/test.log" >&2; fail "test-cores.sh"; }
if TEST_TIMEOUT_S=1 deploy/pod/test-cores.sh 127.0.0.1:1 >/dev/null; then fail "test-cores.sh must fail on a dead core"; fi

step "a pod that is killed and comes back is the same core"
signal_pod KILL pod-1
{ wait "${pids[pod-1]}" || true; } 2>/dev/null
start pod-1
until_true "pod-1 serves again" all_serve pod-0 "pod-0 pod-1 pod-2"
until_true "pod-1 itself says so" all_serve pod-1 "pod-0 pod-1 pod-2"
[ "$(status pod-1 "[c['node'] for c in cores if name(c) == 'pod-1'][0]")" = "$node" ] || fail "pod-1 came back as another node"
holds pod-1 "len(cores) == 3" || fail "a fourth core appeared"

step "drained as before a stop, then TERM ends a serving pod with 0"
in_pod pod-2 "$bin" drain >>"$dir/pod-2.log" 2>&1 || fail "homecore drain"
signal_pod TERM pod-2
until_true "pod-2 ends" ended pod-2
wait "${pids[pod-2]}" || fail "pod-2 ended with $?"
start pod-2
until_true "pod-2 serves again" all_serve pod-0 "pod-0 pod-1 pod-2"

step "a founder that lost its volume founds no second cluster"
signal_pod TERM pod-0
until_true "pod-0 ends" ended pod-0
wait "${pids[pod-0]}" || fail "pod-0 ended with $?"
mv "$dir/pod-0" "$dir/lost"
: >"$dir/pod-0.log"
POD_TIMEOUT_S=5 start pod-0
until_true "pod-0 gives up" ended pod-0
if wait "${pids[pod-0]}"; then fail "pod-0 must not end with 0 when it could not become part of a cluster"; fi
has_identity pod-0 && fail "pod-0 took an identity again after its volume was lost"
logged pod-0 "a cluster exists" || fail "pod-0 does not say that a cluster exists"
logged pod-0 core-exists || fail "pod-0 does not say why it was refused"
[ "$(status pod-1 "s['cluster']")" = "$cluster" ] || fail "the cluster changed"

step "TERM ends a waiting pod at once"
start pod-0
until_true "pod-0 waits" says_empty pod-0
signal_pod TERM pod-0
until_true "pod-0 ends" ended pod-0
wait "${pids[pod-0]}" || fail "pod-0 ended with $?"

step "a volume that lost only its identity: neither founding nor joining"
cp -R "$dir/lost" "$dir/kept"
# It stands for the same volume, where a core would notice a copy.
rm "$dir/kept/data/original"
rm -rf "$dir/pod-0"
mv "$dir/lost" "$dir/pod-0"
rm -rf "$dir/pod-0/data/platform"
mkdir -p "$dir/pod-0/data/users"
start pod-0
until_true "pod-0 ends" ended pod-0
if wait "${pids[pod-0]}"; then fail "pod-0 must not end with 0 on a damaged volume"; fi
has_identity pod-0 && fail "pod-0 took a new identity on a damaged volume"
logged pod-0 "but no platform/identity.json" || fail "pod-0 does not say that its volume is damaged"

step "removed and with a new id it joins"
in_pod pod-1 "$bin" remove pod-0 >>"$dir/pod-1.log" 2>&1 || fail "homecore remove pod-0"
printf '# replaces pod-0\nid=pod-0-b\n' >"$dir/overrides/pod-0.env"
rm -rf "$dir/pod-0"
start pod-0
until_true "pod-0-b serves" all_serve pod-1 "pod-0-b pod-1 pod-2"
[ "$(status pod-0 "s['cluster']")" = "$cluster" ] || fail "pod-0-b is in another cluster"
until_true "pod-0-b is ready" ready pod-0

step "the removed core is not let in again, should its volume come back"
signal_pod TERM pod-0
until_true "pod-0-b ends" ended pod-0
rm -rf "$dir/pod-0" "$dir/overrides/pod-0.env"
mv "$dir/kept" "$dir/pod-0"
start pod-0
until_true "the removed core stops" ended pod-0
if wait "${pids[pod-0]}"; then fail "a removed core must not end with 0"; fi
logged pod-0 "was removed" || fail "the removed core does not say so"
holds pod-1 "'pod-0' not in map(name, serving)" || fail "the removed core serves again"

step "ok"
