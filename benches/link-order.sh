#!/usr/bin/env bash
# Writes crates/penstock/link-order.txt: the functions that run, those of
# requests first, then those of a start and a reload. The linker puts them next
# to each other, so that few pages of code are in use (see
# crates/penstock/build.rs). A name that is not there any more does no harm:
# run this again when figures of memory or speed have drifted. Needs valgrind,
# curl and openssl; takes a release build and a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${BINARY:-}" ] || cargo build --release -p penstock
binary=$(realpath "${BINARY:-target/release/penstock}")
order=crates/penstock/link-order.txt
directory=$(mktemp -d)
trap 'kill "${upstream:-0}" "${gateway:-0}" 2>/dev/null || true; rm -rf "$directory"' EXIT
http=127.0.0.1:28080 admin=127.0.0.1:28001 key=quickstart-key

"$binary" quickstart --config "$directory/manifests" --http 127.0.0.1:28081 \
  --admin 127.0.0.1:28002 >/dev/null 2>&1 & upstream=$!
until curl -sf -o /dev/null 127.0.0.1:28002/ready; do sleep 0.1; done
# HTTPS for a host of its own.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=secure.test \
  -addext subjectAltName=DNS:secure.test -keyout "$directory/key" -out "$directory/certificate" 2>/dev/null
cat >"$directory/manifests/secure.yaml" <<EOF
apiVersion: v1
kind: Secret
metadata: {name: secure, namespace: higress-system}
type: kubernetes.io/tls
data:
  tls.crt: $(base64 -w0 "$directory/certificate")
  tls.key: $(base64 -w0 "$directory/key")
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: secure, namespace: higress-system, annotations: {higress.io/destination: "llm-embedded.internal.static:80"}}
spec:
  tls: [{hosts: [secure.test], secretName: secure}]
  rules:
  - host: secure.test
    http: {paths: [{path: /, pathType: Prefix, backend: {resource: {apiGroup: networking.higress.io, kind: McpBridge, name: default}}}]}
EOF
valgrind --tool=callgrind --demangle=no --compress-strings=no --compress-pos=no \
  --callgrind-out-file="$directory/profile" "$binary" serve --config "$directory/manifests" \
  --http "$http" --https 127.0.0.1:28443 --admin "$admin" --access-log "$directory/access.log" \
  >"$directory/log" 2>&1 & gateway=$!
until curl -sf -o /dev/null "$admin/ready"; do sleep 0.2; done
touch "$directory"/manifests/*/*.yaml
sleep 8
callgrind_control --dump=start "$gateway" >/dev/null

ask() {
  local target=$1 body=$2 host=$3
  curl -sf -o /dev/null "$http$target" -H "Host: $host" -H "Authorization: Bearer $key" \
    -H 'Content-Type: application/json' -d "$body"
}
large=$(printf 'x%.0s' {1..60000})
host=ai.example.com
model=gpt-4o
for _ in {1..60}; do
  ask /v1/chat/completions "{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}" "$host"
  ask /v1/chat/completions "{\"model\":\"$model\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}" "$host"
done
for _ in {1..5}; do
  ask /v1/chat/completions "{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"$large\"}]}" "$host"
  curl -s -o /dev/null "$http/v1/chat/completions" -H "Host: $host" -d '{}'
  curl -s -o /dev/null "$http/elsewhere" -H "Host: $host"
done
for version in 1.1 2; do
  for _ in {1..10}; do
    curl -sf -o /dev/null "--http$version" --cacert "$directory/certificate" \
      --resolve secure.test:28443:127.0.0.1 https://secure.test:28443/v1/models || true
  done
done
callgrind_control --dump=requests "$gateway" >/dev/null
kill -INT "$gateway"
wait "$gateway" || true

# What a function costs by itself; the line behind `calls=` is what it calls.
costs() {
  awk '/^fn=/ { name = substr($0, 4); sub(/\x27[0-9]+$/, "", name); next }
    /^calls=/ { getline; next }
    /^[0-9]/ { cost[name] += $2 }
    END { for (name in cost) print cost[name], name }' "$@" | sort -k1,1nr -k2,2 | cut -d' ' -f2-
}
nm --defined-only "$binary" | awk '$2 ~ /[tTwW]/ { print $3 }' | sort -u >"$directory/known"
mapfile -t profiles < <(ls -rt "$directory"/profile*)
requests=$(grep -l 'Trigger.*requests' "${profiles[@]}")
{ costs "$requests"; costs "${profiles[@]}"; } | awk 'NR == FNR { known[$1]; next } $1 in known && !seen[$1]++' \
  "$directory/known" - >"$order"
wc -l "$order"
