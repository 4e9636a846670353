#!/bin/sh
# Licences, bans and sources of every dependency. Installs cargo-deny where it is missing.
set -eu
if ! cargo deny --version >/dev/null 2>&1; then
  echo "duolog's tests need cargo-deny and install it now"
  cargo install --quiet --locked cargo-deny
fi
exec cargo deny --log-level error --config .deny.toml check licenses bans sources
