#!/usr/bin/env bash
# Measures the speed of tailrace beside the other shippers that are here. Takes the options of run.py (--help lists them).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
benchmarks/sink/build.sh
exec .venv/bin/python -m tailrace.benchmarks.run "$@"
