#!/usr/bin/env bash
# Render, lint, plan and apply of a large intent: PROVIDERS, CONSUMERS and
# ROUTES. Prints the time and the memory of each, then `apply --wait` of the
# quickstart's scenario with a gateway running.
set -euo pipefail
cd "$(dirname "$0")/.."
providers=${PROVIDERS:-1000} consumers=${CONSUMERS:-10000} routes=${ROUTES:-5000}
binary=$(realpath "${BINARY:-target/release/penstock}")
directory=$(mktemp -d)
trap 'kill "${pid:-0}" 2>/dev/null || true; rm -rf "$directory"' EXIT
awk -v providers="$providers" -v consumers="$consumers" -v routes="$routes" 'BEGIN {
  print "providers:"
  for (i = 0; i < providers; i++)
    printf "- name: provider-%d\n  type: openai\n  tokens: [token-%d]\n  rawConfigs:\n    openaiCustomUrl: https://p%d.example.com/v1\n", i, i, i
  print "consumers:"
  for (i = 0; i < consumers; i++)
    printf "- name: consumer-%d\n  credentials:\n  - type: key-auth\n    source: BEARER\n    values: [key-%d]\n", i, i
  print "domains:"
  for (i = 0; i < routes; i += 10) printf "- name: h%d.example.com\n  enableHttps: \"off\"\n", i / 10
  print "aiRoutes:"
  for (i = 0; i < routes; i++)
    printf "- name: route-%d\n  domains: [h%d.example.com]\n  pathPredicate: {matchType: PRE, matchValue: /r%d}\n  upstreams:\n  - {provider: provider-%d, weight: 100}\n  authConfig: {enabled: true, allowedConsumers: [consumer-%d, consumer-%d]}\n", i, int(i / 10), i, i % providers, i % consumers, (i + 1) % consumers
}' >"$directory/intent.yaml"
measure() {
  local label=$1; shift
  /usr/bin/env time -f "%e s, %M KB" -o "$directory/time" "$@" >/dev/null 2>"$directory/stderr" || {
    tail -5 "$directory/stderr" >&2; exit 1; }
  printf '%-34s %s\n' "$label" "$(cat "$directory/time")"
}
cd "$directory"
echo "$providers providers, $consumers consumers, $routes routes"
measure "render" "$binary" render -f intent.yaml -o rendered
measure "lint" "$binary" lint rendered --fail-on error
measure "plan, empty target" "$binary" plan -f intent.yaml --to live
measure "apply, empty target" "$binary" apply -f intent.yaml --to live
measure "plan, nothing to change" "$binary" plan -f intent.yaml --to live
sed -i 's/allowedConsumers: \[consumer-7, /allowedConsumers: [consumer-9999, /; s#matchValue: /r42}#matchValue: /new}#' intent.yaml
measure "plan, two routes change" "$binary" plan -f intent.yaml --to live
measure "apply, two routes change" "$binary" apply -f intent.yaml --to live
measure "apply, nothing to change" "$binary" apply -f intent.yaml --to live
measure "rollback" "$binary" rollback --to live
