#!/usr/bin/env bash
# Runs NVCF's clients against a node: plain requests, NVIDIA's ngcsdk and langchain-nvidia-ai-endpoints.
#
#   scripts/nvcf_clients.sh FOLDER      FOLDER keeps a virtual environment with the clients for the next time
#
# Settings: ASSETMESH_BIN=target/release/assetmesh   PYTHON=python3
# Where the clients cannot be had, it says so and ends well.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

folder=${1:?usage: scripts/nvcf_clients.sh FOLDER}
binary=$(readlink -f "${ASSETMESH_BIN:-target/release/assetmesh}")
python=${PYTHON:-python3}
function=11111111-1111-4111-8111-111111111111

say() { printf '%s\n' "$*" >&2; }
fail() { say "nvcf_clients: $*"; tail -n 30 "$run"/*.log >&2; exit 1; }

mkdir -p "$folder"
folder=$(readlink -f "$folder")
run=$(mktemp -d "$folder/run.XXXXXX")
started=()
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$run"
}
trap finish EXIT

if ! [ -e "$folder/venv/installed" ]; then
  "$python" -m venv "$folder/venv"
  # ngcsdk still needs pkg_resources, which newer setuptools do not have.
  if ! "$folder/venv/bin/pip" install --quiet requests ngcsdk==3.152.2 langchain-nvidia-ai-endpoints==1.5.0 \
    'setuptools<81' >"$run/pip.log" 2>&1; then
    say "skipped: the clients cannot be had here: $(tail -n1 "$run/pip.log")"
    exit 0
  fi
  touch "$folder/venv/installed"
fi

free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
http=$(free_port)
"$python" tests/clients/container.py "$port" >"$run/container.log" 2>&1 &
started+=($!)
cat >"$run/settings.toml" <<END
[[functions]]
id = "$function"
url = "http://127.0.0.1:$port/"
END
"$binary" node run --data-dir "$run/data" --http "127.0.0.1:$http" --p2p /ip4/127.0.0.1/tcp/0 \
  --config "$run/settings.toml" >"$run/node.log" 2>&1 &
started+=($!)
until curl -sf -o /dev/null --max-time 2 "http://127.0.0.1:$http/readyz"; do
  [ $SECONDS -lt 120 ] || fail "the node does not start"
  sleep 0.2
done
token=$("$binary" token create --data-dir "$run/data" --account acme --scope invoke_function 2>"$run/token.log" | tail -n1)

# The clients keep settings and caches in the home folder.
HOME=$run "$folder/venv/bin/python" -W ignore tests/clients/nvcf_clients.py "http://127.0.0.1:$http" "$token" "$function" \
  || fail "a client failed"
[ -z "$(ls -A "$run/data/staging")" ] || fail "staged folders are left: $(ls "$run/data/staging")"
