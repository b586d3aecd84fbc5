#!/usr/bin/env bash
# Builds a container image without a base image. It contains the program, the shared libraries that it links
# to, and the system's CA certificates. Needs buildah.
#   deploy/image.sh target/release/sayso oci-archive:sayso.tar
set -euo pipefail
program=${1:?name the program, e.g. target/release/sayso}
to=${2:?name the destination, e.g. oci-archive:sayso.tar or containers-storage:localhost/sayso}
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
install -D -m 0755 "$program" "$root/usr/bin/sayso"
# Only debuggers need line tables; the location of a panic is in the program itself.
strip --strip-debug "$root/usr/bin/sayso"
# The loader, and every library that it would load, at the paths where it looks for them.
ldd "$program" | grep -o '/[^ )]*' | sort -u | while read -r library; do
    install -D -m 0755 "$library" "$root$library"
done
install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
printf 'sayso:x:65532:65532::/data:/\n' > "$root/etc/passwd"
printf 'sayso:x:65532:\n' > "$root/etc/group"
# Fixed times, so that the same program gives the same image.
find "$root" -exec touch --no-dereference --date=@"${SOURCE_DATE_EPOCH:-0}" {} +

container=$(buildah from scratch)
buildah copy --quiet "$container" "$root" /
mkdir -m 0700 "$root/empty"
buildah copy --quiet --chown 65532:65532 --chmod 0700 "$container" "$root/empty" /data
buildah config --user 65532:65532 --port 7117 --port 7118 --volume /data \
    --entrypoint '["/usr/bin/sayso"]' --cmd 'serve --config /etc/sayso.toml' \
    --annotation org.opencontainers.image.licenses='MIT OR Apache-2.0' "$container"
buildah commit --quiet --rm --timestamp "${SOURCE_DATE_EPOCH:-0}" "$container" "$to"
