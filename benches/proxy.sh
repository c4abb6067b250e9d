#!/usr/bin/env bash
# penstock against nginx as a plain keep-alive proxy with a key check: CPU
# time of the proxy process for each request, in interleaved rounds. Both
# proxies are pinned to one core, upstream and load to the other.
# Needs nginx, wrk and bc. SIZE: bytes of the message; SECONDS_EACH: a round.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${BINARY:-target/release/penstock} rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-5}
export SIZE=${SIZE:-900}
directory=$(mktemp -d)
trap 'kill ${pids[@]:-} 2>/dev/null || true; rm -rf "$directory"' EXIT
answer="{\"id\":\"x\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"$(printf 'a%.0s' {1..400})\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":30}}"
common="worker_processes 1; daemon off; error_log $directory/error.log; events { worker_connections 4096; }"
http="access_log off; keepalive_requests 100000000; keepalive_timeout 600; client_body_buffer_size 256k; client_max_body_size 10m;"
cat >"$directory/upstream.conf" <<CONF
$common pid $directory/upstream.pid;
http { $http server { listen 127.0.0.1:19701; location / { default_type application/json; return 200 '$answer'; } } }
CONF
cat >"$directory/proxy.conf" <<CONF
$common pid $directory/proxy.pid;
http { $http
  upstream u { server 127.0.0.1:19701; keepalive 256; keepalive_requests 100000000; }
  map \$http_authorization \$known { default 0; "Bearer quickstart-key" 1; }
  server { listen 127.0.0.1:19702; location / {
    if (\$known = 0) { return 401; }
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://u; } } }
CONF
cat >"$directory/post.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Host"] = "ai.example.com"
wrk.headers["Authorization"] = "Bearer quickstart-key"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"model":"gpt-4o","messages":[{"role":"user","content":"' .. string.rep("x", tonumber(os.getenv("SIZE"))) .. '"}]}'
LUA
cp -r examples/quickstart "$directory/manifests"
sed -i 's/127.0.0.1:9000/127.0.0.1:19701/' "$directory"/manifests/*/*.yaml
pids=()
taskset -c 1 nginx -c "$directory/upstream.conf" & pids+=($!)
taskset -c 0 nginx -c "$directory/proxy.conf" & pids+=($!)
taskset -c 0 "$binary" serve --config "$directory/manifests" --http 127.0.0.1:19703 \
  --admin 127.0.0.1:19704 --access-log off --threads 1 --log-level error & pids+=($!)
penstock=$!
until curl -sf -o /dev/null http://127.0.0.1:19704/ready && [ -s "$directory/proxy.pid" ]; do sleep 0.05; done
nginx=$(pgrep -P "$(cat "$directory/proxy.pid")")
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
for _ in $(seq "$rounds"); do
  for which in "nginx 19702 $nginx" "penstock 19703 $penstock"; do
    set -- $which
    before=$(ticks "$3")
    report=$(taskset -c 1 wrk -t1 -c32 -d"${seconds}s" --latency -s "$directory/post.lua" "http://127.0.0.1:$2/v1/chat/completions")
    after=$(ticks "$3")
    count=$(awk '/requests in/ {print $1}' <<<"$report")
    errors=$(grep -o 'Non-2xx.*' <<<"$report" || true)
    latency=$(awk '/50%|99%/ {printf "p%s %s  ", $1, $2}' <<<"$report")
    cpu=$(bc -l <<<"($after - $before) * 10000 / $count")
    printf '%-9s %6.1f us CPU a request  %s %s RSS %s KB\n' "$1" "$cpu" "$latency" "$errors" \
      "$(awk '/VmRSS/ {print $2}' "/proc/$3/status")"
  done
done
