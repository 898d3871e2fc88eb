#!/bin/sh
# Called by mmdebstrap with the root directory of a new Debian, before it is sealed: makes Python and apt in it as
# bootstrap.sh describes.
set -eu
root=$1

in_root() {
    chroot "$root" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root "$@"
}

# -- Python in /usr/local, where pip, uv and `uv --system` agree on one site-packages --------------------------------
if [ -e /tmp/python ]; then
    cp -a /tmp/python/. "$root/usr/local/"
    in_root ldconfig
    in_root sh -c 'find /usr/local/lib /usr/local/bin -type f \( -name "*.so*" -o -name "python3*" \) \
        -exec strip --strip-unneeded {} + 2>/dev/null || :'
    in_root "python$PYTHON" -c 'import bz2, ctypes, curses, hashlib, lzma, readline, sqlite3, ssl, uuid, zlib, zoneinfo'
    in_root "python$PYTHON" -m ensurepip --default-pip >&2
    ln -sf "python$PYTHON" "$root/usr/local/bin/python3"
    ln -sf python3 "$root/usr/local/bin/python"
else
    in_root "python$PYTHON" -m venv /usr/local
    rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
    rm -rf "$root/usr/local/lib/python$PYTHON/dist-packages"
    ln -s site-packages "$root/usr/local/lib/python$PYTHON/dist-packages"
fi
for lib in "$root/usr/lib/python$PYTHON" "$root/usr/local/lib/python$PYTHON"; do
    # Some files of the library are meant not to compile; what does not, is not.
    [ ! -d "$lib" ] || in_root python3 -m compileall -qq -j0 "${lib#"$root"}" >/dev/null 2>&1 || :
done

# -- apt: the keys that its sources name, no documentation, no caches in layers --------------------------------------
(cd /tmp/keys && find . -type f) | while read -r key; do
    [ -e "$root/$key" ] || install -D -m 644 "/tmp/keys/$key" "$root/$key"
done
cat >"$root/etc/dpkg/dpkg.cfg.d/01-slim" <<'SLIM'
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
SLIM
cat >"$root/etc/apt/apt.conf.d/01-clean" <<'CLEAN'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
CLEAN
rm -rf "$root/usr/share/man" "$root/usr/share/info" "$root/usr/share/locale"
find "$root/usr/share/doc" -depth ! -name copyright ! -type d -delete
find "$root/usr/share/doc" -depth -type d -empty -delete
rm -f "$root/etc/apt/apt.conf.d/00host" "$root"/var/cache/apt/*.bin "$root"/var/log/*.log "$root"/var/log/apt/*
