#!/bin/sh
# Makes the secrets of compose.yaml beside it, once: what joins cores, and the platform's admin key.
set -eu
cd "$(dirname "$0")"
for name in join admin; do
    file=$name.secret
    if [ -e "$file" ]; then
        echo "$file exists, kept"
        continue
    fi
    # Compose mounts the file as it is, so the container's user must be able to read it. Not root here?
    # Then it stays readable for all on this machine, which is for trying only.
    umask 077
    head -c 32 /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_' >"$file.new"
    if [ "$(id -u)" = 0 ]; then chown 10001:10001 "$file.new"; else chmod 0444 "$file.new"; fi
    mv "$file.new" "$file"
    echo "$file made"
done
