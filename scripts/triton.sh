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

. scripts/trial.sh "${1:?usage: scripts/triton.sh FOLDER}" 33333333-3333-4333-8333-333333333333

# --- Triton out of the wheel -------------------------------------------------------------------

site() { "$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

if ! [ -e "$folder/venv/installed" ]; then
  # The wheel's own Python package is not used: only the server in it, and numpy for the model.
  installed --no-deps nvidia-pytriton==0.7.0
  installed 'numpy<2'
  triton=$(site)/pytriton/tritonserver
  version=$("$folder/venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  cp "$triton/python_backend_stubs/$version/triton_python_backend_stub" "$triton/backends/python/" \
    || skip "the wheel has no Python back end for Python $version"
  chmod +x "$triton/bin/tritonserver" "$triton/backends/python/triton_python_backend_stub"
  touch "$folder/venv/installed"
fi
triton=$(site)/pytriton/tritonserver

# Python leaves its caches beside the model.
cp -r docs/triton "$run/models"
port=$(free_port)
PATH="$folder/venv/bin:$PATH" LD_LIBRARY_PATH="$(site)/nvidia_pytriton.libs" "$triton/bin/tritonserver" \
  --model-repository "$run/models" --backend-directory "$triton/backends" --http-header-forward-pattern 'NVCF-.*' \
  --http-address 127.0.0.1 --http-port "$port" --allow-grpc=false --allow-metrics=false >"$run/triton.log" 2>&1 &
started+=($!)

# --- a node, and a function that is served by it -----------------------------------------------

start_node "http://127.0.0.1:$port/v2/models/asset_hashes/infer"
wait_for "http://127.0.0.1:$port/v2/health/ready" 90 || fail "Triton does not start"

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
nothing_is_staged
say "triton: the model read both assets at the paths it was told, their hashes are right, and nothing stays staged"
