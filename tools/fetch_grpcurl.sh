#!/bin/sh
# grpcurl into .deps/bin where Go is there to build it. Without Go it does nothing: what uses grpcurl then shows its command instead.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
module=github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4

[ -x .deps/bin/grpcurl ] && exit 0
have go || exit 0
say "building $module into .deps/bin"
GOBIN=$PWD/.deps/bin go install "$module" >/dev/null 2>&1 || say "go could not build grpcurl; going on without it"
