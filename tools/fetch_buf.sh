#!/bin/sh
# The buf command line from npm into .deps/node.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/packages.sh
version=1.75.0

[ -x .deps/node/node_modules/.bin/buf ] && exit 0
have npm || ensure_packages "buf" "$NODE_PACKAGES"
say "fetching buf $version from npm into .deps/node"
mkdir -p .deps/node
npm install --silent --no-fund --no-audit --prefix .deps/node "@bufbuild/buf@$version" ||
  fail "npm did not give @bufbuild/buf@$version"
