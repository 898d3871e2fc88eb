#!/bin/sh
# Makes the root directory of a Debian base in $OUT. Runs in mount and PID namespaces of its own, so that killing it
# leaves neither a process nor a mount.
#
# SUITE, PYTHON: what to make. PACKAGES: comma-separated. WORK: an empty directory for everything else.
# SOURCES: a sources list, or empty for mmdebstrap's default mirror. ACQUIRE: apt settings for the bootstrap only.
# KEYS: a directory of signing keys below their own paths. INTERPRETER: a CPython to copy to /usr/local, or empty for the
# suite's own. TMPFS: its size in MiB, or 0 for the disk. Output for people goes to descriptor 3.
set -eu

here=$(dirname "$0")
fast=$WORK/fast
mkdir -p "$fast"
if [ "$TMPFS" -gt 0 ]; then
    # dpkg syncs after each file: in memory this takes a third of the time.
    mount -t tmpfs -o "size=${TMPFS}m,mode=0755,dev,suid" tmpfs "$fast"
fi
mkdir -p "$fast/tmp"
export TMPDIR="$fast/tmp" HOME="$fast/tmp" DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
export ACQUIRE KEYS INTERPRETER PYTHON

# The merged-usr hook keeps bookworm from pulling in all of perl. The machine's settings must be there before any hook
# that runs apt.
# shellcheck disable=SC2016  # mmdebstrap expands it
set -- --variant=apt \
    --setup-hook='mkdir -p "$1/etc/apt/apt.conf.d"; cp "$ACQUIRE" "$1/etc/apt/apt.conf.d/00host"' \
    --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
    --include="$PACKAGES" \
    --customize-hook="$here/customize.sh" \
    --mode=root --format=directory \
    "$SUITE" "$fast/root"
if [ -n "$SOURCES" ]; then
    mmdebstrap "$@" "$SOURCES"
elif [ -r /usr/share/keyrings/debian-archive-keyring.gpg ]; then
    mmdebstrap --keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$@"
else
    mmdebstrap "$@"
fi

cp -a --one-file-system "$fast/root/." "$OUT/"
