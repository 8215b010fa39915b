#!/bin/sh
# google/rpc/{status,error_details}.proto into .deps/googleapis: Debian has no package with them.
set -eu
cd "$(dirname "$0")/.."
root=.deps/googleapis/google/rpc
[ -f $root/status.proto ] && [ -f $root/error_details.proto ] && exit 0
tools/fetch_wheel.sh tools/pins/googleapis.txt google/rpc .deps/rpc.tmp
mkdir -p $root
mv .deps/rpc.tmp/status.proto .deps/rpc.tmp/error_details.proto $root/
rm -rf .deps/rpc.tmp
