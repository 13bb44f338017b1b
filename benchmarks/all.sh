#!/usr/bin/env bash
# Everything in docs/performance.md: speed, latency, memory; then the page's figures and picture.
#   --quick   each of them short, and a page in benchmarks/results instead
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python
results=benchmarks/results/$(date -u +%Y-%m-%dT%H%M%S)
mkdir -p benchmarks/results
page=(--page docs/performance.md)
if [[ ${1:-} == --quick ]]; then
  cp docs/performance.md "$results.page.md"
  page=(--page "$results.page.md")
fi
benchmarks/sink/build.sh
if ! $python -c 'import matplotlib' 2> /dev/null; then
  $python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.lock ||
    echo 'there will be no picture' >&2
fi
failed=0
# measure WHAT FILE OPTION…: 1 says that tailrace did not deliver everything; above that, it was interrupted
measure() {
  $python -m "tailrace.benchmarks.$1" --out "$2" "${@:3}" || failed=$?
  if ((failed > 1)); then exit "$failed"; fi
}
measure run "$results.jsonl" "$@"
measure latency "$results.latency.jsonl" "$@"
measure memory "$results.memory.jsonl" "$@"
$python -m tailrace.benchmarks.report "$results.jsonl" "${page[@]}"
exit "$failed"
