#!/usr/bin/env bash
# Runs every fuzz target FUZZTIME (2000x) times. A duration works, too, but on a busy machine the target may take its end
# for a failure ("context deadline exceeded"). Each package is built once, which go test does for each target.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
for folder in $(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n 1 dirname | sort -u); do
	package=$(go list "./$folder")
	go test -c -fuzz . -o "$binary" "$package"
	for target in $("$binary" -test.list '^Fuzz'); do
		printf '%s %s\n' "$package" "$target"
		(cd "$folder" && "$binary" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "${FUZZTIME:-2000x}" \
			-test.fuzzcachedir "$(go env GOCACHE)/fuzz/$package" 2>&1) | grep -v '^fuzz: elapsed' || exit 1
	done
done
