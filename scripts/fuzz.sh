#!/usr/bin/env bash
# Runs every fuzz target FUZZTIME (2000x) times. A duration works, too, but on a busy machine go test may take its end
# for a failure ("context deadline exceeded").
set -euo pipefail
cd "$(dirname "$0")/.."
for package in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		printf '%s %s\n' "$package" "$target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-2000x}" "$package" | grep -v '^fuzz: elapsed' || exit 1
	done
done
