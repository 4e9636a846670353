#!/bin/sh
# Installs what is missing, given as COMMAND:DEBIAN-PACKAGE or as FILE-PATTERN:DEBIAN-PACKAGE, where a
# pattern begins with a slash.
set -eu
there() {
  case "$1" in
    /*) ls $1 >/dev/null 2>&1 ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}
missing=""
for pair in "$@"; do
  there "${pair%%:*}" || missing="$missing ${pair#*:}"
done
[ -z "$missing" ] && exit 0
echo "duolog needs these Debian packages and installs them now:$missing"
run=""
[ "$(id -u)" = 0 ] || run="sudo"
$run apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $run apt-get install -y -qq --no-install-recommends $missing
