#!/usr/bin/env bash
# Runs every check and says how long each took. It goes on after a failure, fails in the end, and then
# repeats what the failed ones said of it, for logs of which only the end is kept.
set -uo pipefail
cd "$(dirname "$0")/.."

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0
failed=()

# step runs one check: name, command…
step() {
	local name=$1 start=$SECONDS
	shift
	printf '\n== %s\n' "$name"
	"$@" 2>&1 | tee "$logs/$name"
	ended "$name" $? $((SECONDS - start))
}

# ended counts a check: name, exit status, seconds.
ended() {
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
		printf '== %s: passed in %d s\n' "$1" "$3"
	else
		failed+=("$1")
		printf '== %s: FAILED after %d s\n' "$1" "$3"
	fi
}

# reasons prints the lines of a log that name failures, whichever test runner wrote them, or else its last ones.
reasons() {
	grep -n -E -A 6 -- '--- FAIL|^FAIL|DATA RACE|^panic:|^fatal error:|not ok |✖|_test\.go:[0-9]+:|[A-Za-z]*Error:|FAILED|leaked' "$1" | tail -n 30 | cut -c 1-300 | grep . || tail -n 15 "$1"
}

# together runs steps at the same time that wait more than they compute: name, command line, name, command line…
together() {
	local names=() pids=() i start=$SECONDS
	while [ $# -gt 0 ]; do
		names+=("$1")
		bash -c "$2" >"$logs/$1" 2>&1 &
		pids+=($!)
		shift 2
	done
	for i in "${!pids[@]}"; do
		wait "${pids[i]}"
		local status=$?
		printf '\n== %s\n' "${names[i]}"
		cat "$logs/${names[i]}"
		ended "${names[i]}" $status $((SECONDS - start))
	done
}

step setup scripts/setup.sh
[ ${#failed[@]} -eq 0 ] || exit 1
step format make -s fmt
step 'vet and staticcheck' make -s lint
step 'builds for systems without epoll' make -s cross
step 'Go tests with the race detector' make -s race
step 'soak' make -s soak SOAK=2m
step 'allocations' make -s allocs
step 'fuzz targets' make -s fuzz
[ ! -f bench/baseline.json ] || step 'speed, beside the committed figures' make -s bench-check
step 'compatibility: reference' make -s compat-reference
step 'compatibility: Go' make -s compat
step 'conformance' go run ./compat-tests/conformance -check
step 'parity' npm --prefix compat-tests run -s parity -- --check
together \
	'clusters of Node.js and Go' 'npm --prefix compat-tests/cluster test' \
	'emitters of Node.js and Go' 'npm --prefix compat-tests/emitters test' \
	'the million, in small' 'N=20000 make -s million'
step 'clients of every kind' node compat-tests/clients/run.js --variant default --variant no-epoll --variant tls
step 'behind nginx and HAProxy' node --test compat-tests/proxy/proxy.test.js
step 'migration examples' node examples/migration/check.mjs
step 'demo' env DEMO_ONCE=1 examples/demo.sh
step 'example cluster' env CLUSTER_ONCE=1 examples/cluster/run.sh

if [ ${#failed[@]} -gt 0 ]; then
	for name in "${failed[@]}"; do
		printf '\n== %s: what it said\n' "$name"
		reasons "$logs/$name"
	done
	printf '\nFAILED: %s' "${failed[@]}"
fi
printf '\n%d passed, %d failed\n' "$passed" "${#failed[@]}"
[ ${#failed[@]} -eq 0 ]
