#!/usr/bin/env bash
# Builds the counting sink into the cache, unless it is newer than its source. Needs Go, nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
cache=${TAILRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tailrace}
sink=$cache/bin/bench-sink
if [[ -x $sink && -z $(find . -type f -newer "$sink") ]]; then
  exit 0
fi
if ! command -v go > /dev/null; then
  echo 'the counting sink is written in Go: install Go 1.21 or newer (on Debian: apt install golang-go)' >&2
  exit 1
fi
mkdir -p "$cache/bin"
go vet .
go test .
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$sink" .
echo "built $sink" >&2
