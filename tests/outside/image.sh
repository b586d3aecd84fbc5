#!/usr/bin/env bash
# Builds the container image and runs it as intended: as an unprivileged user, with a read-only root and
# without capabilities. Needs root, buildah, umoci and runc.
#   tests/outside/image.sh target/release/sayso
set -euo pipefail
program=$(realpath "${1:?name the program, e.g. target/release/sayso}")
here=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d)
name=sayso-$$
stop() {
    runc --root "$work/state" delete --force "$name" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT

"$here/deploy/image.sh" "$program" "oci:$work/image:latest" >/dev/null
umoci unpack --image "$work/image:latest" "$work/bundle" >/dev/null
mkdir -m 0755 "$work/etc"
# Choose free ports, so that no other daemon receives the calls of this script.
read -r grpc http < <(python3 -c 'import socket
both = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*[one.getsockname()[1] for one in both])')
cat > "$work/etc/sayso.toml" <<TOML
data = "/data"
listen = "127.0.0.1:$grpc"
http = "127.0.0.1:$http"
TOML
python3 - "$work/bundle/config.json" "$work/etc/sayso.toml" <<'PYTHON'
import json, sys
path, settings = sys.argv[1:]
config = json.load(open(path))
process = config["process"]
assert process["user"]["uid"] == 65532 and process["user"]["gid"] == 65532, process["user"]
process.update(terminal=False, noNewPrivileges=True)
process["capabilities"] = {kind: [] for kind in process["capabilities"]}
config["root"]["readonly"] = True
linux = config["linux"]
# Keep the network of the host, so that this script can reach the daemon on the loopback interface.
linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] not in ("network", "cgroup")]
linux.pop("resources", None)
config["mounts"] = [each for each in config["mounts"] if each["destination"] not in ("/sys", "/sys/fs/cgroup", "/etc/resolv.conf")]
config["mounts"] += [
    {"destination": "/data", "type": "tmpfs", "source": "data", "options": ["nosuid", "nodev", "noexec", "mode=0700", "uid=65532", "gid=65532"]},
    {"destination": "/etc/sayso.toml", "type": "bind", "source": settings, "options": ["bind", "ro"]},
]
json.dump(config, open(path, "w"))
PYTHON
runc --root "$work/state" run --detach --bundle "$work/bundle" --pid-file "$work/pid" "$name" \
    >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
for _ in $(seq 50); do
    [ "$(curl -fs http://127.0.0.1:$http/readyz)" = ready ] && break
    sleep 0.2
done
if [ "$(curl -fs http://127.0.0.1:$http/readyz)" != ready ]; then cat "$work/out" >&2; exit 1; fi
status=/proc/$(cat "$work/pid")/status
grep -q '^Uid:.65532.65532' "$status"
grep -q '^CapEff:.0000000000000000' "$status"
grep -q '^CapBnd:.0000000000000000' "$status"
grep -q '^NoNewPrivs:.1' "$status"
awk '$2 == "/" { found = $4 ~ /(^|,)ro(,|$)/ } END { exit !found }' "/proc/$(cat "$work/pid")/mounts"
files=$(cd "$work/bundle/rootfs" && find . -type f | wc -l)
echo "image: ready; runs as user 65532 without capabilities, on a read-only root of $files files"
