#!/usr/bin/env bash
# A small OpenTelemetry Collector with the parts that the scenarios need, from Go modules. Takes some minutes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
version=${OCB_VERSION:-v0.159.0}
cache=${TAILRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tailrace}
program=$cache/bin/otelcol-bench
if [[ -x $program ]]; then
  echo "is in $program"
  exit 0
fi
mkdir -p "$cache/bin"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
cp "$here/builder-config.yaml" .
GOBIN=$scratch nice -n 5 go install "go.opentelemetry.io/collector/cmd/builder@$version"
CGO_ENABLED=0 nice -n 5 ./builder --config builder-config.yaml --ldflags='-s -w'
install -m 755 dist/otelcol-bench "$program"
"$program" --version
