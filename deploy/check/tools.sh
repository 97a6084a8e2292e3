#!/bin/bash
# Tools that a machine may lack, for the checks beside this file; sourced, with $root set.
#
# Nothing is installed on the machine: packages of Debian are unpacked below target/deploy-tools, which needs
# no root and starts no service. Where that does not work (no apt, no network), the caller says what it
# leaves out. CHECK_FETCH=never uses only what is there.

# shellcheck disable=SC2154  # root is the caller's
tools=$root/target/deploy-tools
mkdir -p "$tools"
PATH=$PATH:/usr/sbin:$tools/root/bin:$tools/root/usr/bin:$tools/root/usr/sbin

# The package lists of the machine, if it has some; else own ones.
apt_options=(-q -o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o APT::Sandbox::User=root)
apt_broken=
fetch_packages() {
    [ "${CHECK_FETCH:-}" != never ] && [ -z "$apt_broken" ] || return 1
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    local packages=$tools/packages own=$tools/apt
    echo "tools: fetching $*"
    rm -rf "$packages"
    mkdir -p "$packages" "$tools/root"
    if ! (cd "$packages" && timeout 120 apt-get "${apt_options[@]}" download "$@") >/dev/null 2>&1; then
        mkdir -p "$own/lists/partial" "$own/cache/archives/partial"
        apt_options+=(-o "Dir::State::lists=$own/lists" -o "Dir::Cache=$own/cache")
        (timeout 180 apt-get "${apt_options[@]}" update && cd "$packages" && timeout 120 apt-get "${apt_options[@]}" download "$@") \
            >/dev/null 2>&1 || { apt_broken=1; return 1; }
    fi
    local package
    for package in "$packages"/*.deb; do dpkg-deb --extract "$package" "$tools/root" || return 1; done
}

# want TOOL PACKAGE...: is the tool there, or can it be had from these packages? It must also start.
want() {
    local tool=$1
    shift
    command -v "$tool" >/dev/null || fetch_packages "$@" || return 1
    case $tool in
    busybox) busybox true ;;
    nginx) nginx -v ;;
    *) "$tool" --version ;;
    esac >/dev/null 2>&1
}

# A Python of our own with pip in it. Debian takes `venv` apart: without ensurepip, pip comes as a package.
make_venv() {
    python3 -m venv --clear "$1" >/dev/null 2>&1 && return
    python3 -m venv --clear --without-pip "$1" || return 1
    fetch_packages python3-pip-whl || return 1
    local wheel
    wheel=$(find "$tools/root/usr/share/python-wheels" -name 'pip-*.whl' | head -n 1)
    [ -n "$wheel" ] && "$1/bin/python" "$wheel/pip" install --quiet --no-index "$wheel"
}
