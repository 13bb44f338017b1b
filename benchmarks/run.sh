#!/usr/bin/env bash
# Measures tailrace beside the other shippers that are here. Takes the options of run.py (--help lists them).
#   --quick   only tailrace and the probe, two scenarios, 60 MB, once
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${1:-} == --quick ]]; then
  shift
  set -- --shippers tailrace,probe --scenarios s1,s2 --mb 60 --runs 1 "$@"
fi
benchmarks/sink/build.sh
exec .venv/bin/python -m tailrace.benchmarks.run "$@"
