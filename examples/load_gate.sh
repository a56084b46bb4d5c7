#!/usr/bin/env bash
# A gate for CI: serve a directory, load it on a schedule, and fail if users would wait too long.
#
#   examples/load_gate.sh DIR [REPORT.json]
#
# RATE (200 requests per second), DURATION (30s) and LIMIT (50ms) come from the environment. The exit
# code is abench's: 0 the conditions hold, 1 no response, 2 wrong option, 4 a condition came true.
set -euo pipefail
directory=$1
report=${2:-load.json}

# Port 0 is any free port, and the banner says which: no other server can be loaded by mistake.
log=$(mktemp)
aserve "$directory" --port 0 --access-log off >"$log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$log"' EXIT
until url=$(grep -om1 'http://[^[:space:]]*' "$log"); do
    kill -0 "$server" || { cat "$log"; exit 1; }
    sleep 0.05
done

# Runners are shared machines: choose limits that only a real fault exceeds.
abench --rate "${RATE:-200}" -t "${DURATION:-30s}" --json "$report" \
    --fail-if "p99>${LIMIT:-50ms}" --fail-if 'errors>0.1%' "$url"
