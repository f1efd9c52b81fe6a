# What the scripts have in common that try a node with software from elsewhere: sourced with FOLDER, where that software
# is kept for the next time, and the id of the function that is served.
#
# Settings: ASSETMESH_BIN=target/release/assetmesh   PYTHON=python3

mkdir -p "$1"
folder=$(readlink -f "$1")
function=$2
binary=$(readlink -f "${ASSETMESH_BIN:-target/release/assetmesh}")
python=${PYTHON:-python3}
run=$(mktemp -d "$folder/run.XXXXXX")
started=()

say() { printf '%s\n' "$*" >&2; }
skip() { say "skipped: $*"; exit 0; }
fail() { say "failed: $*"; for log in "$run"/*.log; do say "--- $log"; tail -n 30 "$log" >&2; done; exit 1; }
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$run"
}
trap finish EXIT

# Installs with pip, in an environment of its own, and says why not.
installed() { # PIP ARGUMENTS...
  [ -e "$folder/venv/bin/pip" ] || "$python" -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet "$@" >>"$run/pip.log" 2>&1 \
    || skip "it cannot be had here: $(grep -m1 ERROR "$run/pip.log" || tail -n1 "$run/pip.log")"
}

free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

wait_for() { # URL SECONDS
  local end=$((SECONDS + $2))
  until curl -sf -o /dev/null --max-time 2 "$1"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}

# Starts a node whose function is served at a URL: sets node and token.
start_node() { # URL OF THE FUNCTION
  cat >"$run/settings.toml" <<END
[[functions]]
id = "$function"
url = "$1"
END
  local http
  http=$(free_port)
  "$binary" node run --data-dir "$run/data" --http "127.0.0.1:$http" --p2p /ip4/127.0.0.1/tcp/0 \
    --config "$run/settings.toml" >"$run/node.log" 2>&1 &
  started+=($!)
  node=http://127.0.0.1:$http
  wait_for "$node/readyz" 30 || fail "the node does not start"
  token=$("$binary" token create --data-dir "$run/data" --account acme --scope invoke_function 2>"$run/token.log" | tail -n1)
}

nothing_is_staged() { [ -z "$(ls -A "$run/data/staging")" ] || fail "staged folders are left: $(ls "$run/data/staging")"; }
