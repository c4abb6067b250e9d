#!/usr/bin/env bash
# Load and reload of a large configuration: ROUTES AI routes, each with its
# ConfigMap, and CONSUMERS consumers. Prints start to ready, memory, and the
# time of a reload after one Ingress changed.
set -euo pipefail
cd "$(dirname "$0")/.."
routes=${ROUTES:-5000} consumers=${CONSUMERS:-10000}
binary=${BINARY:-target/release/penstock}
directory=$(mktemp -d)
trap 'kill "${pid:-0}" 2>/dev/null || true; rm -rf "$directory"' EXIT
mkdir -p "$directory"/{ingresses,configmaps,wasmplugins,mcpbridges}
cp examples/quickstart/mcpbridges/default.yaml "$directory/mcpbridges/"
cp examples/quickstart/wasmplugins/ai-proxy.internal.yaml "$directory/wasmplugins/"
awk -v routes="$routes" -v consumers="$consumers" -v directory="$directory" 'BEGIN {
  auth = directory "/wasmplugins/key-auth.internal.yaml"
  print "apiVersion: extensions.higress.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: key-auth.internal, namespace: higress-system}\nspec:\n  url: oci://registry.example.com/plugins/key-auth:2.0.0\n  phase: AUTHN\n  priority: 310\n  failStrategy: FAIL_CLOSE\n  defaultConfig:\n    global_auth: false\n    keys: [x-higress-dummy-key]\n    consumers:" > auth
  for (i = 0; i < consumers; i++)
    printf "    - name: consumer-%d\n      keys: [Authorization]\n      in_header: true\n      in_query: false\n      credentials:\n      - Bearer key-%d\n", i, i > auth
  print "  matchRules:" > auth
  for (i = 0; i < routes; i++)
    printf "  - ingress:\n    - ai-route-r%d.internal\n    config:\n      allow: [consumer-%d, consumer-%d]\n    configDisable: false\n", i, i % consumers, (i + 1) % consumers > auth
  for (i = 0; i < routes; i++) {
    ingress = directory "/ingresses/ai-route-r" i ".internal.yaml"
    printf "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: ai-route-r%d.internal\n  namespace: higress-system\n  annotations:\n    higress.io/destination: llm-embedded.internal.static:80\nspec:\n  ingressClassName: higress\n  rules:\n  - host: h%d.example.com\n    http:\n      paths:\n      - path: /v1\n        pathType: Prefix\n        backend:\n          resource:\n            apiGroup: networking.higress.io\n            kind: McpBridge\n            name: default\n", i, i > ingress
    close(ingress)
    map = directory "/configmaps/ai-route-r" i ".yaml"
    printf "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ai-route-r%d\n  namespace: higress-system\n  labels:\n    higress.io/config-map-type: ai-route\n    higress.io/resource-definer: higress\ndata:\n  data: \x27{\"name\":\"r%d\",\"domains\":[\"h%d.example.com\"],\"upstreams\":[{\"provider\":\"embedded\",\"weight\":100}],\"authConfig\":{\"enabled\":true,\"allowedConsumers\":[\"consumer-%d\",\"consumer-%d\"]}}\x27\n", i, i, i, i % consumers, (i + 1) % consumers > map
    close(map)
  }
}'
now() { date +%s%N; }
field() { curl -s http://127.0.0.1:18001/status | sed -n "s/^ *\"$1\": \([0-9]*\).*/\1/p" | head -1; }
began=$(now)
"$binary" serve --config "$directory" --http 127.0.0.1:18080 --admin 127.0.0.1:18001 \
  --access-log off --log-level error 2>"$directory/.log" & pid=$!
until curl -sf -o /dev/null http://127.0.0.1:18001/ready; do sleep 0.005; done
echo "start to ready   $((($(now) - began) / 1000000)) ms ($routes routes, $consumers consumers)"
echo "first load       $(field took_ms) ms"
echo "memory           $(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$pid/status") MB"
for host in h1 h2 h3; do
  before=$(field reloads)
  sed -i "s/host: $host.example.com/host: new-$host.example.com/" \
    "$directory/ingresses/ai-route-r${host#h}.internal.yaml"
  began=$(now)
  until [ "$(curl -s -o /dev/null -w '%{http_code}' -H "Host: new-$host.example.com" http://127.0.0.1:18080/v1/models)" = 401 ]; do
    sleep 0.005
  done
  in_force=$((($(now) - began) / 1000000))
  until [ "$(field reloads)" != "$before" ]; do sleep 0.01; done
  echo "reload           $(field took_ms) ms; in force $in_force ms after the write"
done
echo "memory           $(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$pid/status") MB after three reloads"
