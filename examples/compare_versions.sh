#!/usr/bin/env bash
# Is the new version slower? Load two servers in turns, so that drift of the machine affects both.
#
#   examples/compare_versions.sh OLD_ASERVE NEW_ASERVE DIR
#
# OLD_ASERVE and NEW_ASERVE are two programs, for instance old/.venv/bin/aserve and .venv/bin/aserve.
# ROUNDS (5), DURATION (5s, of each round) and TOLERANCE (5%) come from the environment. Exit code 4:
# something is worse by more than the tolerance, and chance is an unlikely reason.
set -euo pipefail
old=$1 new=$2 directory=$3

logs=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; rm -rf "$logs"' EXIT

serve() { # PROGRAM NAME: start a server on any free port, and set url
    "$1" "$directory" --port 0 --access-log off >"$logs/$2" 2>&1 &
    servers+=("$!")
    until url=$(grep -om1 'http://[^[:space:]]*' "$logs/$2"); do
        kill -0 "$!" || { cat "$logs/$2"; exit 1; }
        sleep 0.05
    done
}

serve "$old" old && old_url=$url
serve "$new" new && new_url=$url
abench ab-test --rounds "${ROUNDS:-5}" -t "${DURATION:-5s}" --tolerance "${TOLERANCE:-5%}" \
    "$old_url" "$new_url"
