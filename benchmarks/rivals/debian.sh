#!/usr/bin/env bash
# rsyslog and syslog-ng from Debian's packages, unpacked into the cache: nothing is installed, and no root is needed
# where `apt-get update` was run before. (As packages the two exclude each other.)
set -euo pipefail
cache=${TAILRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tailrace}
export PATH=$PATH:/usr/sbin

# unpack ROOT PACKAGE…: the packages, and what this machine lacks of those they need
unpack() {
  local root=$1 scratch wanted
  shift
  wanted=$(apt-get -s --no-install-recommends install "$@" | awk '$1 == "Inst" { print $2 }')
  scratch=$(mktemp -d)
  # shellcheck disable=SC2086  # a list of names
  (cd "$scratch" && apt-get -qq -o APT::Sandbox::User=root download $wanted)
  rm -rf "$root"
  for package in "$scratch"/*.deb; do
    dpkg-deb -x "$package" "$root"
  done
  rm -r "$scratch"
}

# wrap PROGRAM ROOT MODULE_OPTION FOLDER: a script that runs the unpacked program with its libraries and modules
wrap() {
  local libraries
  libraries=$(find "$2" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s/usr/sbin/%s %s%s "$@"\n' \
    "$libraries" "$2" "$1" "$3" "$(echo "$2"/usr/lib/$4)" > "$cache/bin/$1"
  chmod +x "$cache/bin/$1"
}

mkdir -p "$cache/bin"
if ! apt-cache show rsyslog syslog-ng-core > /dev/null 2>&1; then
  apt-get update -qq # the lists of a new machine are empty
fi
if ! command -v rsyslogd > /dev/null && [[ ! -x $cache/bin/rsyslogd ]]; then
  unpack "$cache/rsyslog" rsyslog
  wrap rsyslogd "$cache/rsyslog" -M '*/rsyslog/'
fi
if ! command -v syslog-ng > /dev/null && [[ ! -x $cache/bin/syslog-ng ]]; then
  unpack "$cache/syslog-ng" syslog-ng-core syslog-ng-mod-http
  wrap syslog-ng "$cache/syslog-ng" --module-path= 'syslog-ng/[0-9]*'
fi
PATH=$cache/bin:$PATH
rsyslogd -v | head -1
syslog-ng --version | head -1
