#!/usr/bin/env bash
# Scans the daemon with a TLS scanner (testssl.sh). The daemon must offer only TLS 1.3, and the scan must have
# no finding of medium severity or above. Takes several minutes.
#   tests/outside/tls.sh target/release/sayso
set -euo pipefail
program=$(realpath "${1:?name the program, e.g. target/release/sayso}")
scanner=$(command -v testssl || command -v testssl.sh) || { echo "testssl.sh is missing; install it" >&2; exit 1; }
work=$(mktemp -d)
stop() {
    [ -n "${daemon:-}" ] && kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
cd "$work"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=ca -keyout ca.key -out ca.pem 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr 2>/dev/null
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 90 -out server.pem \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth') 2>/dev/null
chmod 600 server.key
cat > sayso.toml <<TOML
data = "$work/data"
listen = "127.0.0.1:27217"
http = "127.0.0.1:27218"
[tls]
certificate = "$work/server.pem"
key = "$work/server.key"
TOML
"$program" serve --json --config sayso.toml > ready.json 2> log.json &
daemon=$!
for _ in $(seq 50); do [ -s ready.json ] && break; sleep 0.2; done
[ -s ready.json ] || { cat log.json >&2; exit 1; }

for port in 27217 27218; do
    # Protocols, ciphers, forward secrecy, server defaults, vulnerabilities. No name lookups: the scan stays
    # on this machine.
    "$scanner" --quiet --color 0 --warnings batch --nodns min --add-ca ca.pem -p -s -f -U -S \
        --jsonfile "scan-$port.json" "127.0.0.1:$port" >"scan-$port.txt" 2>&1 || true
    [ -s "scan-$port.json" ] || { cat "scan-$port.txt" >&2; exit 1; }
    python3 - "scan-$port.json" "$port" <<'PYTHON'
import json, sys
findings = {each["id"]: each for each in json.load(open(sys.argv[1]))}
finding = lambda name: findings[name]["finding"]
for old in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2"):
    assert "not offered" in finding(old), (old, finding(old))
assert finding("TLS1_3").startswith("offered"), finding("TLS1_3")
levels = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")
serious = [each for each in findings.values() if each["severity"] in levels]
for each in serious:
    print(sys.argv[2], each["severity"], each["id"], each["finding"])
# These findings concern the certificate that was made for this scan, not the daemon.
expected = {"cert_ocspURL", "OCSP_stapling", "cert_revocation", "cert_crlDistributionPoints", "cert_trust", "DNS_CAArecord",
        "cert_chain_of_trust", "certificate_transparency", "engine_problem", "scanProblem", "clientsimulation"}
unexpected = [each["id"] for each in serious if not any(each["id"].startswith(name) for name in expected)]
assert not unexpected, unexpected
print(f"port {sys.argv[2]}: only TLS 1.3, {len(findings)} findings, none serious")
PYTHON
done
