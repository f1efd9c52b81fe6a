#!/usr/bin/env bash
# Runs NVCF's clients against a node: plain requests, NVIDIA's ngcsdk and langchain-nvidia-ai-endpoints.
#
#   scripts/nvcf_clients.sh FOLDER      FOLDER keeps a virtual environment with the clients for the next time
#
# Settings: ASSETMESH_BIN=target/release/assetmesh   PYTHON=python3
# Where the clients cannot be had, it says so and ends well. Needs curl.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
. scripts/trial.sh "${1:?usage: scripts/nvcf_clients.sh FOLDER}" 11111111-1111-4111-8111-111111111111

if ! [ -e "$folder/venv/installed" ]; then
  # ngcsdk still needs pkg_resources, which newer setuptools do not have.
  installed requests ngcsdk==3.152.2 langchain-nvidia-ai-endpoints==1.5.0 'setuptools<81'
  touch "$folder/venv/installed"
fi

port=$(free_port)
"$python" tests/clients/container.py "$port" >"$run/container.log" 2>&1 &
started+=($!)
start_node "http://127.0.0.1:$port/"

# The clients keep settings and caches in the home folder.
HOME=$run "$folder/venv/bin/python" -W ignore tests/clients/nvcf_clients.py "$node" "$token" "$function" \
  || fail "a client failed"
nothing_is_staged
