#!/usr/bin/env bash
# Runs the systemd unit that Sayso ships, under a real systemd that is PID 1 in namespaces of its own. The
# daemon must start, be confined as the unit says, stop cleanly, and restart after a SIGKILL with the same
# log. Needs root, systemd, unshare, overlayfs and curl.
#   tests/outside/systemd.sh target/release/sayso
set -euo pipefail
program=$(realpath "${1:?name the program, e.g. target/release/sayso}")
here=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat > "$work/inner.sh" <<'SCRIPT'
set -euo pipefail
program=$1 here=$2 work=$3
mount -t tmpfs tmpfs /run; mkdir -p /run/lock
mount -t tmpfs tmpfs /mnt; mkdir -p /mnt/{bin,bin-work,etc,etc-work}
cp "$program" /mnt/bin/sayso
mount -t overlay overlay -o lowerdir=/usr/bin,upperdir=/mnt/bin,workdir=/mnt/bin-work /usr/bin
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/etc-work /etc
mount -t tmpfs -o mode=0755 tmpfs /var/lib
# Hides the units of this machine, so that systemd starts only Sayso's.
mount -t tmpfs -o mode=0755 tmpfs /lib/systemd/system
mount -t tmpfs -o mode=0755 tmpfs /etc/systemd/system
for target in basic sysinit shutdown network-online multi-user; do
    printf '[Unit]\nDefaultDependencies=no\n' > "/lib/systemd/system/$target.target"
done
cp "$here/deploy/sayso.service" /etc/systemd/system/
mkdir -p /etc/systemd/system/sayso.service.d /etc/sayso
# There is no journal in these namespaces, so the daemon logs to files.
printf '[Service]\nStandardOutput=file:/run/sayso.out\nStandardError=append:/run/sayso.log\n' \
    > /etc/systemd/system/sayso.service.d/log.conf
cat > /etc/sayso/sayso.toml <<'TOML'
data = "/var/lib/sayso"
ledger = "sayso.example"
controller = "acme"
TOML
cat > /etc/systemd/system/check.service <<UNIT
[Unit]
DefaultDependencies=no
Wants=sayso.service
After=sayso.service
[Service]
Type=oneshot
ExecStart=/bin/bash $work/check.sh
StandardOutput=append:$work/output
StandardError=inherit
ExecStopPost=/usr/bin/systemctl --force --force poweroff
UNIT
printf '[Unit]\nDefaultDependencies=no\nWants=check.service\n' > /etc/systemd/system/check.target
ip link set lo up
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=check.target --show-status=no --log-target=console
SCRIPT

cat > "$work/check.sh" <<'SCRIPT'
set -euo pipefail
is_ready() {
    for _ in $(seq 100); do
        curl -fs http://127.0.0.1:7118/readyz > /dev/null && return
        sleep 0.2
    done
    cat /run/sayso.log; return 1
}
pid() { systemctl show -p MainPID --value sayso; }
is_ready
echo "systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p'), exposure: $(systemd-analyze security --no-pager sayso | tail -1)"
status=$(cat "/proc/$(pid)/status")
for line in 'CapEff:.0000000000000000' 'CapBnd:.0000000000000000' 'NoNewPrivs:.1' 'Seccomp:.2'; do
    grep -Eq "^$line" <<< "$status" || { echo "the daemon is not confined: no line $line in its status"; exit 1; }
done
grep -Eq '^Uid:.0' <<< "$status" && { echo "the daemon runs as root"; exit 1; }
grep -Eq '^Max core file size +0 +0' "/proc/$(pid)/limits" || { echo "the daemon may write core dumps"; exit 1; }
[ "$(stat -c %a /var/lib/private/sayso/)" = 700 ] || { echo "the data folder is open to other users"; exit 1; }
grep -E '^VmLck' <<< "$status"
log=$(curl -fs http://127.0.0.1:7118/keys)
systemctl stop sayso
[ "$(systemctl show -p Result --value sayso)" = success ] || { echo "the daemon did not stop cleanly"; exit 1; }
systemctl start sayso
is_ready
kill -KILL "$(pid)"
while [ "$(systemctl show -p NRestarts --value sayso)" = 0 ]; do sleep 0.2; done
is_ready
[ "$(curl -fs http://127.0.0.1:7118/keys)" = "$log" ] || { echo "the daemon has another log after the restart"; exit 1; }
grep '"ERROR"' /run/sayso.log && exit 1
echo "the unit works"
SCRIPT

timeout 180 unshare --mount --pid --fork --net --cgroup --propagation private --mount-proc --kill-child \
    bash "$work/inner.sh" "$program" "$here" "$work" > "$work/console" 2>&1 || true
cat "$work/output" 2>/dev/null || cat "$work/console"
grep -q '^the unit works$' "$work/output"
