#!/bin/sh
# Everything that judges the sources without running them. `tools/lint.sh PART...` runs only those parts.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
. tools/packages.sh

lint_format() {
  tools/format.sh --check
}

lint_shell() {
  ensure_packages "linting" "$LINT_PACKAGES"
  find run .ci tools tests -type f \( -name run -o -name '*.sh' \) -print0 | xargs -0 shellcheck -x
}

# buf lint, and buf breaking against the commit $QUANTD_BASE (default: the parent of HEAD) where there is one.
lint_proto() {
  tools/fetch_buf.sh
  .deps/node/node_modules/.bin/buf lint
  base=$(git rev-parse --verify --quiet "${QUANTD_BASE:-HEAD~1}^{commit}") || return 0
  git cat-file -e "$base:buf.yaml" 2>/dev/null || return 0
  old=$(mktemp -d)
  git archive "$base" proto buf.yaml | tar -x -C "$old"
  mkdir "$old/.deps" && cp -r .deps/googleapis "$old/.deps/"
  .deps/node/node_modules/.bin/buf build "$old/proto" -o "$old/base.binpb"
  .deps/node/node_modules/.bin/buf breaking proto --against "$old/base.binpb"
  rm -rf "$old"
}

# Every .cc file of the product, or only those that differ from the commit $QUANTD_TIDY_SINCE.
lint_tidy() {
  ensure_packages "linting" "$LINT_PACKAGES"
  configure tidy
  cmake --build --preset tidy >/dev/null
  if [ -n "${QUANTD_TIDY_SINCE:-}" ]; then
    files=$(git diff --name-only --diff-filter=d "$QUANTD_TIDY_SINCE" -- 'kernels/*.cc' 'proto/*.cc' 'server/*.cc' 'client/*.cc')
  else
    files=$(git ls-files -- 'kernels/*.cc' 'proto/*.cc' 'server/*.cc' 'client/*.cc')
  fi
  [ -n "$files" ] || return 0
  # shellcheck disable=SC2086  # a list of words
  run-clang-tidy-19 -quiet -j "$(nproc)" -p build/tidy $files 2>/dev/null
}

[ $# -gt 0 ] || set -- format shell proto tidy
for part in "$@"; do
  say "lint: $part"
  "lint_$part"
done
