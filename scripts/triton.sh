#!/usr/bin/env bash
# Runs a real Triton server, with the Python back end of docs/triton, as the container of a function: uploads two
# assets, invokes the function, and compares the hashes that the model made with those of the files.
#
#   scripts/triton.sh FOLDER      FOLDER keeps the wheel of nvidia-pytriton and a virtual environment for the next time
#
# Settings: ASSETMESH_BIN=target/release/assetmesh   PYTHON=python3
# Where the wheel cannot be had, it says so and ends well. Needs curl.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

folder=${1:?usage: scripts/triton.sh FOLDER}
binary=$(readlink -f "${ASSETMESH_BIN:-target/release/assetmesh}")
python=${PYTHON:-python3}
function=33333333-3333-4333-8333-333333333333

say() { printf '%s\n' "$*" >&2; }
skip() { say "skipped: $*"; exit 0; }
fail() { say "triton: $*"; for log in "$run"/*.log; do say "--- $log"; tail -n 30 "$log" >&2; done; exit 1; }

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

# --- Triton out of the wheel -------------------------------------------------------------------

site() { "$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

if ! [ -e "$folder/venv/installed" ]; then
  "$python" -m venv "$folder/venv"
  # The wheel's own Python package is not used: only the server in it, and numpy for the model.
  "$folder/venv/bin/pip" install --quiet --no-deps nvidia-pytriton==0.7.0 >"$run/pip.log" 2>&1 \
    && "$folder/venv/bin/pip" install --quiet 'numpy<2' >>"$run/pip.log" 2>&1 \
    || skip "the wheel of nvidia-pytriton cannot be had here: $(grep -m1 ERROR "$run/pip.log" || tail -n1 "$run/pip.log")"
  triton=$(site)/pytriton/tritonserver
  version=$("$folder/venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  cp "$triton/python_backend_stubs/$version/triton_python_backend_stub" "$triton/backends/python/" \
    || skip "the wheel has no Python back end for Python $version"
  chmod +x "$triton/bin/tritonserver" "$triton/backends/python/triton_python_backend_stub"
  touch "$folder/venv/installed"
fi
triton=$(site)/pytriton/tritonserver

free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() { # URL SECONDS
  local end=$((SECONDS + $2))
  until curl -sf -o /dev/null --max-time 2 "$1"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}

# Python leaves its caches beside the model.
cp -r docs/triton "$run/models"
port=$(free_port)
PATH="$folder/venv/bin:$PATH" LD_LIBRARY_PATH="$(site)/nvidia_pytriton.libs" "$triton/bin/tritonserver" \
  --model-repository "$run/models" --backend-directory "$triton/backends" --http-header-forward-pattern 'NVCF-.*' \
  --http-address 127.0.0.1 --http-port "$port" --allow-grpc=false --allow-metrics=false >"$run/triton.log" 2>&1 &
started+=($!)

# --- a node, and a function that is served by it -----------------------------------------------

cat >"$run/settings.toml" <<END
[[functions]]
id = "$function"
name = "asset-hashes"
url = "http://127.0.0.1:$port/v2/models/asset_hashes/infer"
END
http=$(free_port)
"$binary" node run --data-dir "$run/data" --http "127.0.0.1:$http" --p2p /ip4/127.0.0.1/tcp/0 \
  --config "$run/settings.toml" >"$run/node.log" 2>&1 &
started+=($!)
node=http://127.0.0.1:$http
wait_for "$node/readyz" 30 || fail "the node does not start"
wait_for "http://127.0.0.1:$port/v2/health/ready" 90 || fail "Triton does not start"
token=$("$binary" token create --data-dir "$run/data" --account acme --scope invoke_function 2>"$run/token.log" | tail -n1)

member() { "$python" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
upload() { # FILE; prints the asset's id
  local created
  created=$(curl -sf -X POST "$node/v2/nvcf/assets" -H "Authorization: Bearer $token" \
    -H 'Content-Type: application/json' -d '{"contentType":"image/png","description":"red-cat-photo"}')
  curl -sf -o /dev/null -X PUT -T "$1" "$(member uploadUrl <<<"$created")" -H 'Content-Type: image/png' \
    -H 'x-amz-meta-nvcf-asset-description: red-cat-photo'
  member assetId <<<"$created"
}

head -c 5000000 /dev/urandom >"$run/one"
head -c 17 /dev/urandom >"$run/two"
one=$(upload "$run/one")
two=$(upload "$run/two")

invoke() { # HEADERS...
  curl -s -X POST "$node/v2/nvcf/pexec/functions/$function" -H "Authorization: Bearer $token" \
    -H 'Content-Type: application/json' "$@" \
    -d '{"inputs":[{"name":"prompt","shape":[1],"datatype":"BYTES","data":["cats"]}]}'
}

invoke -H "NVCF-INPUT-ASSET-REFERENCES: $one, $two" -H 'NVCF-ASSET-DIR: /etc' >"$run/with" || fail "no answer"
invoke >"$run/without" || fail "no answer without assets"
"$python" - "$run" "$one" "$two" <<'END' || fail "the answers are wrong: $(cat "$run/with" "$run/without")"
import hashlib, json, sys
run, one, two = sys.argv[1:]
told = lambda name: json.loads(json.load(open(f"{run}/{name}"))["outputs"][0]["data"][0])
sha256 = lambda name: hashlib.sha256(open(f"{run}/{name}", "rb").read()).hexdigest()
assert told("with")["assets"] == {one: sha256("one"), two: sha256("two")}, told("with")
assert told("without")["assets"] == {}, told("without")
END
[ -z "$(ls -A "$run/data/staging")" ] || fail "staged folders are left: $(ls "$run/data/staging")"
say "triton: the model read both assets at the paths it was told, their hashes are right, and nothing stays staged"
