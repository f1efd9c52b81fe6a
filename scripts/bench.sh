#!/usr/bin/env bash
# Measures a node side by side with what is installed, in one run on this machine, and prints one table:
# nginx for files (sendfile, DAV PUT + sync), PostgreSQL (jsonb + GIN) for queries, Garage if GARAGE_BIN
# names a binary, a raw libp2p stream for transfers between nodes, a node alone for the federation. All load is on loopback and ends by itself; all folders are removed at the end.
#
# Usage: scripts/bench.sh [files] [small] [queries] [transfers] [federation]      (default: all)
# Settings: BENCH_MIB=1024 BENCH_RUNS=5 BENCH_DOCUMENTS=1000000 BENCH_SECONDS=10 BENCH_TMP=/tmp GARAGE_BIN=
set -euo pipefail
cd "$(dirname "$0")/.."

mib=${BENCH_MIB:-1024}
runs=${BENCH_RUNS:-5}
documents=${BENCH_DOCUMENTS:-1000000}
seconds=${BENCH_SECONDS:-10}
garage=${GARAGE_BIN:-}
parts=${*:-files small queries transfers federation}

work=$(mktemp -d "${BENCH_TMP:-/tmp}/assetmesh-bench.XXXXXX")
chmod 755 "$work"
started=()  # process ids of servers, in order
postgres_data=

finish() {
  if [ -n "$postgres_data" ]; then as_postgres pg_ctl -D "$postgres_data" -m immediate stop >/dev/null 2>&1 || true; fi
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

say() { printf '%s\n' "$*" >&2; }
need() { command -v "$1" >/dev/null || { say "$1 is needed: $2"; exit 2; }; }

# --- figures -----------------------------------------------------------------------------------

rows=()
row() { rows+=("$1|$2|$3|$4|$5"); say "  $1: $2 | $3: $4 | $5"; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }
median() { printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
rate() { calc '%.0f' "$mib * 1048576 / 1000000 / $1"; }  # MB/s from seconds
ratio() { calc '%.2f' "$1 / $2"; }

# Runs a command and leaves its seconds in $took.
timed() {
  local from=$EPOCHREALTIME
  "$@"
  took=$(calc '%.4f' "$EPOCHREALTIME - $from")
}

# value_of NAME LINE: the value of NAME=value in what the load program printed
value_of() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" <<<"$2"; }

resident_mib() { awk '/^VmRSS/ { printf "%.0f", $2 / 1024 }' "/proc/$1/status"; }
peak_mib() { awk '/^VmHWM/ { printf "%.0f", $2 / 1024 }' "/proc/$1/status"; }
forget_peak() { echo 5 >"/proc/$1/clear_refs"; }

# --- the node ----------------------------------------------------------------------------------

build() {
  say "building the release binaries"
  cargo build --quiet --release --package assetmesh --package assetmesh-tests --bins
  cargo build --quiet --release --package assetmesh-node --example raw_stream
  bin=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
}

# start_node FOLDER: sets node_pid, node (host:port) and start_seconds
start_node() {
  local log="$work/node.log" from=$EPOCHREALTIME
  "$bin/assetmesh" node run --data-dir "$1" --http 127.0.0.1:0 --p2p /ip4/127.0.0.1/tcp/0 >/dev/null 2>"$log" &
  node_pid=$!
  started+=("$node_pid")
  until node=$(grep -o -m1 'http://127\.0\.0\.1:[1-9][0-9]*' "$log" | head -1) && [ -n "$node" ] && curl -sf -o /dev/null "$node/readyz"; do
    kill -0 "$node_pid" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.01
  done
  start_seconds=$(calc '%.2f' "$EPOCHREALTIME - $from")
  node=${node#http://}
}

stop_node() {
  kill "$node_pid"
  wait "$node_pid" || { say "the node did not end cleanly"; exit 1; }
}

put_node() {
  curl -sf -o "$work/answer" -F "asset=@$work/file" -F "asset_metadata={\"asset_name\":\"file-$1\",\"asset_version\":{\"version\":\"1\",\"tag\":\"t\"}}" "http://$node/upload_asset"
}
get_node() { curl -sf -o /dev/null "http://$node/asset-object/$1"; }
id_in_answer() { grep -o '"asset_id":"[0-9a-f]*"' "$work/answer" | head -1 | cut -d'"' -f4; }

# --- nginx -------------------------------------------------------------------------------------

free_port() {
  local port
  while port=$((20000 + RANDOM % 20000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

start_nginx() {
  if ! command -v nginx >/dev/null && [ "$(id -u)" = 0 ]; then
    say "installing nginx"
    apt-get install -y --no-install-recommends nginx-core >/dev/null
    service nginx stop >/dev/null 2>&1 || true
  fi
  need nginx "apt-get install nginx-core"
  nginx_port=$(free_port)
  mkdir -p "$work/nginx/files" "$work/nginx/temp"
  cat >"$work/nginx/nginx.conf" <<EOF
daemon off;
pid $work/nginx/pid;
error_log $work/nginx/error.log;
worker_processes 2;
$([ "$(id -u)" = 0 ] && echo 'user root;')
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  client_max_body_size 0;
  client_body_temp_path $work/nginx/temp;
  proxy_temp_path $work/nginx/temp; fastcgi_temp_path $work/nginx/temp;
  uwsgi_temp_path $work/nginx/temp; scgi_temp_path $work/nginx/temp;
  server {
    listen 127.0.0.1:$nginx_port;
    root $work/nginx/files;
    location / { dav_methods PUT DELETE; }
  }
}
EOF
  nginx -p "$work/nginx" -c "$work/nginx/nginx.conf" &
  started+=("$!")
  until curl -s -o /dev/null "http://127.0.0.1:$nginx_port/"; do sleep 0.01; done
}

put_nginx() {
  curl -sf -o /dev/null -T "$work/file" "http://127.0.0.1:$nginx_port/file-$1"
  sync "$work/nginx/files/file-$1"
}
get_nginx() { curl -sf -o /dev/null "http://127.0.0.1:$nginx_port/file-$1"; }

# --- Garage ------------------------------------------------------------------------------------

start_garage() {
  local secret rpc
  secret=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
  garage_port=$(free_port)
  rpc=$(free_port)
  mkdir -p "$work/garage"
  cat >"$work/garage.toml" <<EOF
metadata_dir = "$work/garage/meta"
data_dir = "$work/garage/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$secret"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$garage_port"
EOF
  "$garage" -c "$work/garage.toml" server >"$work/garage.log" 2>&1 &
  started+=("$!")
  local tell=("$garage" -c "$work/garage.toml") id key
  until id=$("${tell[@]}" node id -q 2>/dev/null) && "${tell[@]}" status >/dev/null 2>&1; do sleep 0.1; done
  "${tell[@]}" layout assign -z here -c 100G "${id%%@*}" >/dev/null
  "${tell[@]}" layout apply --version 1 >/dev/null
  "${tell[@]}" bucket create bench >/dev/null
  key=$("${tell[@]}" key create bench)
  "${tell[@]}" bucket allow --read --write bench --key bench >/dev/null
  garage_user=$(sed -n 's/^Key ID: *//p' <<<"$key"):$(sed -n 's/^Secret key: *//p' <<<"$key")
}

s3() { curl -sf -o /dev/null --aws-sigv4 aws:amz:garage:s3 --user "$garage_user" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@"; }
put_garage() { s3 -T "$work/file" "http://127.0.0.1:$garage_port/bench/file-$1"; }
get_garage() { s3 "http://127.0.0.1:$garage_port/bench/file-$1"; }
remove_garage() { s3 -X DELETE "http://127.0.0.1:$garage_port/bench/file-$1"; }

# --- one large file ----------------------------------------------------------------------------

files() {
  need curl "apt-get install curl"
  say "files: $mib MiB, $runs runs, interleaved"
  head -c "$((mib * 1048576))" /dev/urandom >"$work/file"
  start_nginx
  start_node "$work/node-files"
  [ -z "$garage" ] || start_garage
  local idle peak_put=0 peak_get=0 id run
  idle=$(resident_mib "$node_pid")
  local node_put=() node_get=() nginx_put=() nginx_get=() garage_put=() garage_get=()
  for run in $(seq "$runs"); do
    # Other bytes in each run: what is stored already would not be stored again.
    printf '%016d' "$run" | dd of="$work/file" conv=notrunc status=none
    forget_peak "$node_pid"
    timed put_node "$run"; node_put+=("$took")
    peak_put=$(printf '%s\n' "$peak_put" "$(peak_mib "$node_pid")" | sort -g | tail -1)
    id=$(id_in_answer)
    timed put_nginx "$run"; nginx_put+=("$took")
    if [ -n "$garage" ]; then timed put_garage "$run"; garage_put+=("$took"); fi
    forget_peak "$node_pid"
    timed get_node "$id"; node_get+=("$took")
    peak_get=$(printf '%s\n' "$peak_get" "$(peak_mib "$node_pid")" | sort -g | tail -1)
    timed get_nginx "$run"; nginx_get+=("$took")
    if [ -n "$garage" ]; then timed get_garage "$run"; garage_get+=("$took"); remove_garage "$run"; fi
    curl -sf -o /dev/null -X DELETE "http://$node/asset/file-$run:1-t"
    curl -sf -o /dev/null -X DELETE "http://127.0.0.1:$nginx_port/file-$run"
  done
  local ours theirs
  ours=$(rate "$(median "${node_put[@]}")"); theirs=$(rate "$(median "${nginx_put[@]}")")
  row "PUT $mib MiB, MB/s" "$ours" "nginx DAV PUT + sync" "$theirs" "$(ratio "$ours" "$theirs")"
  [ -z "$garage" ] || { theirs=$(rate "$(median "${garage_put[@]}")"); row "PUT $mib MiB, MB/s" "$ours" "Garage" "$theirs" "$(ratio "$ours" "$theirs")"; }
  ours=$(rate "$(median "${node_get[@]}")"); theirs=$(rate "$(median "${nginx_get[@]}")")
  row "GET $mib MiB, MB/s" "$ours" "nginx sendfile" "$theirs" "$(ratio "$ours" "$theirs")"
  [ -z "$garage" ] || { theirs=$(rate "$(median "${garage_get[@]}")"); row "GET $mib MiB, MB/s" "$ours" "Garage" "$theirs" "$(ratio "$ours" "$theirs")"; }
  row "memory idle, MiB" "$idle" "target" "80" ""
  row "memory peak of PUT over idle, MiB" "$((peak_put - idle))" "target" "64" ""
  row "memory peak of GET over idle, MiB" "$((peak_get - idle))" "target" "64" ""
  stop_node
  rm -rf "$work/node-files" "$work/file"
}

# --- many small files --------------------------------------------------------------------------

small() {
  say "small uploads: 4 KiB, 64 clients, $seconds s, $runs runs"
  start_node "$work/node-small"
  local rates=() line run
  for run in $(seq "$runs"); do
    line=$("$bin/load" small --node "$node" --clients 64 --bytes 4096 --seconds "$seconds" --run "$run")
    say "  $line"
    rates+=("$(value_of rate "$line")")
  done
  row "4 KiB uploads by 64 clients, durable, a second" "$(median "${rates[@]}")" "target" "3000" "$(ratio "$(median "${rates[@]}")" 3000)"
  stop_node
  rm -rf "$work/node-small"
}

# --- queries -----------------------------------------------------------------------------------

as_postgres() {
  if [ "$(id -u)" = 0 ]; then runuser -u postgres -- env PATH="$PATH" "$@"; else "$@"; fi
}
sql() { as_postgres psql -h "$work/postgres" -d postgres -v ON_ERROR_STOP=1 -qAt "$@"; }

start_postgres() {
  local folder
  for folder in /usr/lib/postgresql/*/bin; do PATH="$PATH:$folder"; done
  need initdb "apt-get install postgresql"
  need pgbench "apt-get install postgresql-contrib or postgresql"
  mkdir -p "$work/postgres"
  [ "$(id -u)" != 0 ] || chown postgres "$work/postgres"
  postgres_data="$work/postgres/data"
  as_postgres initdb -D "$postgres_data" -A trust --no-sync >/dev/null
  cat >>"$postgres_data/postgresql.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '$work/postgres'
shared_buffers = 1GB
work_mem = 64MB
max_parallel_workers_per_gather = 0
jit = off
EOF
  as_postgres pg_ctl -D "$postgres_data" -l "$work/postgres/log" -w start >/dev/null
}

fill_postgres() {
  sql -c 'create table assets (doc jsonb)'
  "$bin/load" documents --count "$documents" | sql -c 'copy assets from stdin'
  sql -c 'create index on assets using gin (doc jsonb_path_ops)'
  sql -c 'vacuum analyze assets'
}

# pgbench_p50 SCRIPT ROUNDS: milliseconds
pgbench_p50() {
  local folder="$work/postgres/bench.$RANDOM"
  as_postgres mkdir "$folder"
  printf '%s\n' "$1" >"$work/script.sql"
  (cd "$folder" && as_postgres pgbench -h "$work/postgres" -n -M prepared -c 1 -t "$2" -l -f "$work/script.sql" postgres >/dev/null)
  awk '{ print $3 / 1000 }' "$folder"/pgbench_log.* | sort -g | awk '{ v[NR] = $1 } END { printf "%.3f", v[int((NR + 1) / 2)] }'
}

# compare_scan NAME FILTER CONDITION: documents a second of a filter that no index serves
compare_scan() {
  local line ours theirs
  line=$("$bin/load" query --node "$node" --rounds 5 --filter "$2")
  ours=$(calc '%.0f' "$documents / $(value_of p50_ms "$line") * 1000")
  theirs=$(calc '%.0f' "$documents / $(pgbench_p50 "select count(*) from assets where $3;" 5) * 1000")
  row "scan, $1, documents a second" "$ours" "PostgreSQL, one worker" "$theirs" "$(ratio "$ours" "$theirs")"
}

queries() {
  say "queries: $documents documents"
  start_node "$work/node-queries"
  local windows first last took_all from line
  from=$EPOCHREALTIME
  windows=$("$bin/load" documents --node "$node" --count "$documents" --window "$((documents / 10))")
  took_all=$(calc '%.1f' "$EPOCHREALTIME - $from")
  sed "s/^/  /" <<<"$windows" >&2
  first=$(value_of rate "$(head -1 <<<"$windows")")
  last=$(value_of rate "$(tail -1 <<<"$windows")")
  row "$documents assets by POST /asset, a second" "$(calc '%.0f' "$documents / $took_all")" "" "" ""
  row "the same, last tenth" "$last" "first tenth" "$first" "$(ratio "$last" "$first")"
  stop_node
  start_node "$work/node-queries"
  row "start with $documents assets, s" "$start_seconds" "target" "3" ""
  start_postgres
  say "filling PostgreSQL"
  fill_postgres
  "$bin/load" query --node "$node" --rounds 200 --documents "$documents" >/dev/null
  line=$("$bin/load" query --node "$node" --rounds 3000 --documents "$documents")
  say "  $line"
  local ours theirs batches=$((documents / 100))
  ours=$(value_of p50_ms "$line")
  theirs=$(pgbench_p50 "\\set b random(0, $((batches - 1)))
select doc from assets where doc @> ('{\"asset_metadata\":{\"batch\":\"batch-' || lpad(:b::text, 5, '0') || '\"}}')::jsonb;" 3000)
  row "query of 100 rows by an index, p50 ms" "$ours" "PostgreSQL GIN by pgbench" "$theirs" "$(ratio "$ours" "$theirs")"
  compare_scan '$regex' '{"asset_metadata.author":{"$regex":"r-0007$"}}' "doc #>> '{asset_metadata,author}' ~ 'r-0007\$'"
  compare_scan '$ne' '{"asset_version.tag":{"$ne":"stable"}}' "doc #>> '{asset_version,tag}' <> 'stable'"
  compare_scan '$not $gte' '{"asset_metadata.params":{"$not":{"$gte":1000000}}}' "not (doc #> '{asset_metadata,params}')::numeric >= 1000000"
  compare_scan '$expr' '{"$expr":{"$gt":["$asset_metadata.accuracy",0.9995]}}' "(doc #> '{asset_metadata,accuracy}')::numeric > 0.9995"
  row "memory with $documents assets after the queries, MiB" "$(resident_mib "$node_pid")" "target" "600" ""
  stop_node
  rm -rf "$work/node-queries"
}

# --- between nodes -----------------------------------------------------------------------------

transfers() {
  say "transfers: $mib MiB through a node that does not hold it, best of $runs"
  local line
  # What misses its target is a row of the table, and no reason to stop.
  line=$("$bin/transfers" --mib "$mib" --runs "$runs" --raw "$bin/examples/raw_stream" | sed "s/^/  /" | tee /dev/stderr) || true
  [ -n "$(value_of relayed_mb_s "$line")" ] || { say "the transfers did not come to an end"; exit 1; }
  row "transfer of $mib MiB through a node, MB/s" "$(value_of relayed_mb_s "$line")" "raw libp2p stream" "$(value_of raw_mb_s "$line")" "$(value_of ratio "$line")"
  row "the same, first byte, ms" "$(value_of first_byte_ms "$line")" "target" "200" ""
  row "the same, memory of the provider over idle, MiB" "$(value_of memory_provider_mib "$line")" "target" "64" ""
  row "the same, memory of the node between over idle, MiB" "$(value_of memory_middle_mib "$line")" "target" "64" ""
  row "transfer from three providers, MB/s" "$(value_of three_mb_s "$line")" "shares" "$(value_of providers "$line")" ""
  row "longest pause when a provider is killed, ms" "$(value_of gap_at_kill_ms "$line")" "" "" ""
  row "violations: targets missed, or wrong bytes" "$(grep -c '^  violation:' <<<"$line")" "target" "0" ""
}

federation() {
  say "federation: 8 nodes, 80000 documents, 100 rows"
  local lines ours theirs
  lines=$("$bin/load" federated --nodes 8 --documents 80000 --rounds 1000)
  say "$lines"
  ours=$(value_of p50_ms "$(grep everywhere <<<"$lines")")
  theirs=$(value_of p50_ms "$(grep alone <<<"$lines")")
  row "query of 8 nodes, 100 rows, p50 ms" "$ours" "slowest of them alone" "$theirs" "$(ratio "$ours" "$theirs")"
}

# --- the table ---------------------------------------------------------------------------------

build
for part in $parts; do
  case $part in
    files | small | queries | transfers | federation) "$part" ;;
    *) say "no such part: $part"; exit 2 ;;
  esac
done
printf '| what | assetmesh | beside | its figure | ratio |\n|---|--:|---|--:|--:|\n'
printf '%s\n' "${rows[@]}" | sed 's/^/| /; s/|/ | /g; s/$/ |/; s/^ | /| /; s/  */ /g'
printf '\n%s, %s cores, %s, %s\n' "$(date -u +%Y-%m-%d)" "$(nproc)" "$(uname -sr)" "$(git describe --always --dirty 2>/dev/null || echo 'no commit')"
