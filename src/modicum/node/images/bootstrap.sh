#!/bin/sh
# Makes the root directory of a Debian base in $OUT. Runs in mount and PID namespaces of its own, so that killing it
# leaves neither a process nor a mount.
#
# SUITE, PYTHON: what to make. PACKAGES: comma-separated. WORK: holds acquire.conf (apt's settings for the bootstrap
# only), keys/ (signing keys below their own paths) and, if they are wanted, debian.sources (else mmdebstrap's default
# mirror) and python/ (an interpreter for /usr/local, else the suite's own). TMPFS: its size in MiB, or 0 for the disk.
set -eu

here=$(dirname "$0")
fast=$WORK/fast
mkdir "$fast"
if [ "$TMPFS" -gt 0 ]; then
    # dpkg syncs after each file: in memory this takes a third of the time.
    mount -t tmpfs -o "size=${TMPFS}m,mode=1777,dev,suid" tmpfs "$fast"
fi
cp -R "$WORK"/acquire.conf "$WORK"/keys "$here"/customize.sh "$fast/"
[ ! -e "$WORK/debian.sources" ] || cp "$WORK/debian.sources" "$fast/"
[ ! -e "$WORK/python" ] || mv "$WORK/python" "$fast/"

# apt gives up its privileges, and could neither pass a closed directory above $WORK nor write to a read-only /tmp.
chmod 1777 "$fast"
exec 8<"$OUT"
mount --bind "$fast" /tmp
cd /tmp
export TMPDIR=/tmp HOME=/tmp DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PYTHON

# The merged-usr hook keeps bookworm from pulling in all of perl. The machine's settings must be there before any hook
# that runs apt.
# shellcheck disable=SC2016  # mmdebstrap expands it
set -- --variant=apt \
    --setup-hook='mkdir -p "$1/etc/apt/apt.conf.d"; cp /tmp/acquire.conf "$1/etc/apt/apt.conf.d/00host"' \
    --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
    --include="$PACKAGES" \
    --customize-hook=/tmp/customize.sh \
    --mode=root --format=directory \
    "$SUITE" /tmp/root
if [ -e debian.sources ]; then
    mmdebstrap "$@" /tmp/debian.sources
elif [ -r /usr/share/keyrings/debian-archive-keyring.gpg ]; then
    mmdebstrap --keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$@"
else
    mmdebstrap "$@"
fi

# What a container mounts must be there, so that no layer gets it as a stub. (mmdebstrap empties /run itself.)
mkdir -p root/run/lock root/run/modicum root/run/modicum-agent root/run/modicum-build
: >root/run/modicum-init
for file in resolv.conf hosts hostname; do
    rm -f "root/etc/$file"
    : >"root/etc/$file"
done

cp -a --one-file-system /tmp/root/. /proc/self/fd/8/
