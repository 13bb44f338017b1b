#!/usr/bin/env bash
# Promtail from its Go module (the last version of Loki's that still holds it), without the journal, which needs C.
set -euo pipefail
version=${PROMTAIL_VERSION:-v3.5.0}
cache=${TAILRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tailrace}
program=$cache/bin/promtail
if [[ -x $program ]]; then
  echo "is in $program"
  exit 0
fi
mkdir -p "$cache/bin"
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
cd "$scratch"
module=$(go mod download -json "github.com/grafana/loki/v3@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r "$module" source
chmod -R u+w source
cd source
# This package is a module of its own, so the module's archive lacks the folder it is replaced with.
go mod edit -dropreplace=github.com/grafana/loki/pkg/push
CGO_ENABLED=0 nice -n 5 go build -mod=mod -trimpath \
  -ldflags "-s -w -X github.com/grafana/loki/v3/pkg/util/build.Version=${version#v}" -o "$program" ./clients/cmd/promtail
"$program" --version
