#!/usr/bin/env bash
# Puts gRPC load on the daemon with an independent tool (h2load from nghttp2). Every call must get
# an OK response, and the daemon's metrics must count every response.
#   tests/outside/load.sh target/release/sayso [CALLS]
set -euo pipefail
program=$(realpath "${1:?name the program, e.g. target/release/sayso}")
calls=${2:-20000}
work=$(mktemp -d)
stop() {
    [ -n "${daemon:-}" ] && kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
cd "$work"
SAYSO_DATA=$work/data "$program" serve --dev --json --listen 127.0.0.1:0 --http 127.0.0.1:0 > ready.json 2> log.json &
daemon=$!
for _ in $(seq 50); do [ -s ready.json ] && break; sleep 0.2; done
read -r grpc http < <(python3 -c 'import json; ready = json.load(open("ready.json")); print(ready["grpc"], ready["http"])')
export SAYSO_ADDR=http://$grpc
as() { SAYSO_TOKEN_FILE=$work/data/dev/$1.token "$program" "${@:2}"; }
as channel record ada tone brief --category communication-style >/dev/null
as steward notice publish welcome --text 'We remember facts about you.' >/dev/null
as steward consent give ada --purpose tone-adaptation --notice welcome --channel web >/dev/null
as service --json grant ada --purpose tone-adaptation > grant.json
# Writes a CheckGrantRequest { grant_id = 1 } in a gRPC frame: a flag for no compression, the length, and the
# message.
python3 - <<'PYTHON'
import json
answer = json.load(open("grant.json"))
grant = (answer.get("grant_id") or answer["grantId"]).encode()
message = b"\x0a" + bytes([len(grant)]) + grant
open("frame", "wb").write(b"\0" + len(message).to_bytes(4, "big") + message)
PYTHON
h2load --requests="$calls" --clients=8 --max-concurrent-streams=32 --data=frame \
    --header='content-type: application/grpc' --header='te: trailers' \
    --header="authorization: Bearer $(cat "$work/data/dev/service.token")" \
    "http://$grpc/sayso.v1.GrantService/CheckGrant" > load.txt
grep -q "requests: $calls total, $calls started, $calls done, $calls succeeded, 0 failed" load.txt || { cat load.txt >&2; exit 1; }
responses=$(curl -fs "http://$http/metrics" | grep '^sayso_calls_total{' | grep 'code="OK"' | grep 'method="GrantService/CheckGrant"' | grep -o '[0-9]*$')
[ "$responses" = "$calls" ] || { echo "h2load sent $calls calls, but the daemon counted $responses OK responses" >&2; exit 1; }
echo "load: $(sed -n 's/^finished in \([^,]*\), \([^,]*\),.*/\2 in \1/p' load.txt) for $calls CheckGrant calls, all with OK responses"
