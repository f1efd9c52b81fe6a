#!/usr/bin/env bash
# A local federation for people: real nodes on this machine, each with its own data folder.
#
#   scripts/cluster.sh up N               start nodes 1..N; prints their URLs
#   scripts/cluster.sh status             who runs, and whom each node sees
#   scripts/cluster.sh logs [i...]        follow the logs, prefixed and coloured
#   scripts/cluster.sh kill i...          kill -9
#   scripts/cluster.sh start i...         start again on the same data
#   scripts/cluster.sh wipe i...          kill and delete the data: it comes back as another node
#   scripts/cluster.sh partition 1,2\|3,4,5   cut the sides from each other
#   scripts/cluster.sh heal               undo the partition
#   scripts/cluster.sh down               stop all and delete everything
#
# Settings: CLUSTER_DIR=/tmp/assetmesh-cluster  CLUSTER_HTTP_PORT=4100  CLUSTER_P2P_PORT=4400  (node i: port + i)
#   CLUSTER_NETNS=1     each node in a network namespace of its own, at 10.77.0.i (as root); partitions then cut
#                       the network itself instead of using the nodes' block lists
#   CLUSTER_ARGS="..."  more arguments for every `node run`      ASSETMESH_BIN=...  the binary
set -euo pipefail
self=$(readlink -f "$0")
cd "$(dirname "$self")/.."

dir=${CLUSTER_DIR:-/tmp/assetmesh-cluster}
http_port=${CLUSTER_HTTP_PORT:-4100}
p2p_port=${CLUSTER_P2P_PORT:-4400}
binary=${ASSETMESH_BIN:-target/release/assetmesh}
subnet=10.77.0
bridge=assetmesh0

say() { printf '%s\n' "$*" >&2; }
fail() { say "cluster: $*"; exit 1; }
usage() { sed -n '4,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$self" >&2; exit 2; }

# --- where node i is ---------------------------------------------------------------------------

in_namespaces() { [ -e "$dir/netns" ]; }
host() { if in_namespaces; then echo "$subnet.$1"; else echo 127.0.0.1; fi; }
url() { echo "http://$(host "$1"):$((http_port + $1))"; }
multiaddr() { echo "/ip4/$(host "$1")/tcp/$((p2p_port + $1))"; }
namespace() { echo "assetmesh-$1"; }
nodes() { find "$dir" -maxdepth 1 -name 'node-*' -printf '%f\n' 2>/dev/null | sed 's/node-//' | sort -n; }

known() {
  [[ $1 =~ ^[0-9]+$ ]] && [ -d "$dir/node-$1" ] || fail "there is no node $1; the nodes are: $(nodes | tr '\n' ' ')"
}

# The process of node i, if it is still the one that was started.
pid_of() {
  local pid
  pid=$(cat "$dir/node-$1/pid" 2>/dev/null) || return 1
  { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "--data-dir $dir/node-$1/data" && echo "$pid"
}

id_of() { curl -sf --max-time 2 "$(url "$1")/v1/node" | sed -n 's/.*"assets_db_id":"\([^"]*\)".*/\1/p'; }

# --- start and stop ----------------------------------------------------------------------------

build() {
  if [ -z "${ASSETMESH_BIN:-}" ]; then
    say "building the release binary"
    cargo build --release --quiet
  fi
  [ -x "$binary" ] || fail "$binary is not there"
}

# Three others are enough to be found: a node learns the rest, and remembers them.
neighbours() {
  local i=$1 j
  for j in $(nodes); do
    if [ "$j" != "$i" ]; then echo "$j"; fi
  done | awk -v i="$i" '{ d = $1 - i; if (d < 0) d = -d; print d, $1 }' | sort -n | awk 'NR <= 3 { print $2 }'
}

start() {
  local i=$1 folder="$dir/node-$1" inside=() bootstrap=() access=() j
  if pid_of "$i" >/dev/null; then fail "node $i runs already"; fi
  if in_namespaces; then
    inside=(ip netns exec "$(namespace "$i")")
    # The bridge is reached from this machine alone.
    access=(--allow-anonymous-writes)
  fi
  for j in $(neighbours "$i"); do bootstrap+=(--bootstrap "$(multiaddr "$j")"); done
  # shellcheck disable=SC2086
  setsid "${inside[@]}" "$binary" node run --data-dir "$folder/data" --name "node-$i" \
    --http "$(host "$i"):$((http_port + i))" --p2p "$(multiaddr "$i")" "${bootstrap[@]}" \
    "${access[@]}" ${CLUSTER_ARGS:-} >>"$folder/log" 2>&1 </dev/null &
  echo $! >"$folder/pid"
}

wait_ready() {
  local i=$1 tries
  for ((tries = 0; tries < 150; tries++)); do
    if curl -sf --max-time 1 -o /dev/null "$(url "$i")/readyz"; then return; fi
    # A moment after the start it may still be this script's own copy.
    if ((tries > 10)) && ! pid_of "$i" >/dev/null; then
      tail -n 5 "$dir/node-$i/log" >&2
      fail "node $i did not start"
    fi
    sleep 0.1
  done
  fail "node $i is not ready after 15 s; see $dir/node-$i/log"
}

# Ends node i with a signal and waits until it is gone.
end() {
  local i=$1 signal=$2 pid tries
  pid=$(pid_of "$i") || return 0
  kill "-$signal" "$pid" 2>/dev/null || true
  for ((tries = 0; tries < 350; tries++)); do
    if ! pid_of "$i" >/dev/null; then return; fi
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
}

# --- the network -------------------------------------------------------------------------------

make_bridge() {
  [ "$(id -u)" = 0 ] || fail "CLUSTER_NETNS=1 needs root"
  ip link add "$bridge" type bridge
  ip addr add "$subnet.254/24" dev "$bridge"
  ip link set "$bridge" up
  touch "$dir/netns"
}

make_namespace() {
  local i=$1 name
  name=$(namespace "$i")
  ip netns add "$name"
  ip link add "amv$i" type veth peer name eth0 netns "$name"
  ip link set "amv$i" master "$bridge" up
  ip -n "$name" addr add "$subnet.$i/24" dev eth0
  ip -n "$name" link set lo up
  ip -n "$name" link set eth0 up
}

remove_namespaces() {
  local i
  for i in $(nodes); do ip netns del "$(namespace "$i")" 2>/dev/null || true; done
  ip link del "$bridge" 2>/dev/null || true
}

# Cuts node $1 from the nodes behind it.
cut_off() {
  local i=$1 j list=()
  shift
  for j in "$@"; do
    if in_namespaces; then
      ip -n "$(namespace "$i")" route add blackhole "$subnet.$j/32" 2>/dev/null || true
    else
      if [ ! -e "$dir/node-$j/id" ]; then remember_id "$j"; fi
      list+=("\"$(cat "$dir/node-$j/id")\"")
    fi
  done
  if ! in_namespaces; then block "$i" "$(IFS=,; echo "${list[*]}")"; fi
}

# Replaces the block list of node i. A node that is down has none when it comes back.
block() {
  if pid_of "$1" >/dev/null; then
    curl -sSf --max-time 5 -o /dev/null -X PUT "$(url "$1")/v1/peers/blocked" \
      -H 'Content-Type: application/json' -d "{\"assets_db_ids\":[$2]}" || fail "node $1 did not take its block list"
  fi
}

remember_id() {
  local id
  id=$(id_of "$1")
  [ -n "$id" ] || fail "node $1 does not say its id"
  echo "$id" >"$dir/node-$1/id"
}

# --- commands ----------------------------------------------------------------------------------

up() {
  local count=${1:-} i first second
  [[ $count =~ ^[0-9]+$ ]] && [ "$count" -ge 1 ] && [ "$count" -le 200 ] || fail "up needs a number of nodes, 1 to 200"
  local apart=$((p2p_port - http_port))
  [ "${apart#-}" -ge "$count" ] || fail "$count nodes need HTTP and peer ports that are $count apart: set CLUSTER_P2P_PORT"
  [ ! -e "$dir" ] || fail "$dir is there already; \`scripts/cluster.sh down\` removes it"
  build
  mkdir -p "$dir"
  if [ "${CLUSTER_NETNS:-}" = 1 ]; then make_bridge; fi
  for ((i = 1; i <= count; i++)); do
    mkdir "$dir/node-$i"
    if in_namespaces; then make_namespace "$i"; fi
  done
  for i in $(nodes); do start "$i"; done
  for i in $(nodes); do
    wait_ready "$i"
    remember_id "$i"
    echo "node-$i  $(url "$i")  $(cat "$dir/node-$i/id")"
  done
  first=$(url 1) second=$(url "$count")
  cat <<EOF

Try:
  curl $first/v1/peers
  $binary upload README.md --name readme --version 1 --tag first --node $first
  curl -X POST $second/asset_registries -H 'Content-Type: application/json' -d '{}'
EOF
}

status() {
  local i pid
  [ -d "$dir" ] || fail "no cluster runs; start one with: scripts/cluster.sh up 5"
  for i in $(nodes); do
    if ! pid=$(pid_of "$i"); then
      echo "node-$i  not running"
    else
      printf 'node-%s  pid %s  %s  rss %s MiB  sees: ' "$i" "$pid" "$(url "$i")" \
        "$(awk '/^VmRSS/ { printf "%d", $2 / 1024 }' "/proc/$pid/status")"
      curl -s --max-time 2 "$(url "$i")/v1/peers" | tr '{' '\n' |
        sed -n 's/.*"name":"\([^"]*\)".*"state":"\([^"]*\)".*/\1 \2/p' | sort -V | tr '\n' ',' | sed 's/,$//; s/,/, /g'
      echo
    fi
  done
}

logs() {
  local i colour tails=()
  for i in ${*:-$(nodes)}; do
    known "$i"
    colour=$((31 + (i - 1) % 6))
    tail -n 20 -F "$dir/node-$i/log" 2>/dev/null | sed -u "s/^/$(printf '\033[%dmnode-%s\033[0m' "$colour" "$i") /" &
    tails+=($!)
  done
  trap 'kill "${tails[@]}" 2>/dev/null' EXIT
  wait
}

partition() {
  local text=${1:-} sides=() side i other others
  IFS='|' read -r -a sides <<<"$text"
  [ ${#sides[@]} -ge 2 ] || fail "partition needs sides, such as '1,2|3,4,5'"
  for side in "${sides[@]}"; do for i in ${side//,/ }; do known "$i"; done; done
  for side in "${sides[@]}"; do
    others=()
    for other in "${sides[@]}"; do
      # shellcheck disable=SC2206
      if [ "$other" != "$side" ]; then others+=(${other//,/ }); fi
    done
    for i in ${side//,/ }; do cut_off "$i" "${others[@]}"; done
  done
  echo "cut: $text"
}

heal() {
  local i
  for i in $(nodes); do
    if in_namespaces; then
      ip -n "$(namespace "$i")" route flush type blackhole
    else
      block "$i" ""
    fi
  done
  echo "healed"
}

down() {
  local i
  [ -d "$dir" ] || fail "no cluster runs"
  for i in $(nodes); do end "$i" TERM & done
  wait
  if in_namespaces; then remove_namespaces; fi
  rm -rf "$dir"
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
  up) up "$@" ;;
  status) status ;;
  logs) logs "$@" ;;
  kill) [ $# -gt 0 ] || usage; for i in "$@"; do known "$i"; end "$i" KILL; done ;;
  start) [ $# -gt 0 ] || usage; for i in "$@"; do known "$i"; start "$i"; wait_ready "$i"; remember_id "$i"; done ;;
  wipe) [ $# -gt 0 ] || usage; for i in "$@"; do known "$i"; end "$i" KILL; rm -rf "$dir/node-$i/data"; done ;;
  partition) partition "$@" ;;
  heal) heal ;;
  down) down ;;
  *) usage ;;
esac
