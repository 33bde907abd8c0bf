#!/usr/bin/env bash
# Shows what the kernel's settings do to a server: each line is one run with one value. The settings are those of a network
# namespace of its own, so nothing changes outside of it. docs/tuning.md explains them. Needs root, or user namespaces.
# bench/kernel.sh [NAME…] runs those of the names: descriptors, backlog, send, receive, ports.
set -euo pipefail
if [ -z "${KERNEL_BIN:-}" ]; then
	cd "$(dirname "$0")"
	KERNEL_BIN=$(mktemp -d)
	export KERNEL_BIN
	trap 'rm -rf "$KERNEL_BIN"' EXIT
	go build -o "$KERNEL_BIN/" ./server ./load
	unshare --map-root-user --net "$BASH" "$PWD/${0##*/}" "$@"
	exit
fi
ip link set lo up
addr=127.0.0.1:3000

# run NAME=VALUE FLAGS… has a new server under load; a limit called nofile is that of descriptors of the server, all others are
# settings of the kernel. watch, if set, is run every second meanwhile.
run() {
	local setting=$1 value before=
	shift
	value=${setting#*=}
	if [ "${setting%%=*}" = nofile ]; then
		(ulimit -n "$value" && exec taskset -c 0 "$KERNEL_BIN/server" -addr $addr) >/dev/null 2>"$KERNEL_BIN/said" &
	else
		before=$(sysctl -n "${setting%%=*}")
		sysctl -qw "${setting%%=*}=$value"
		taskset -c 0 "$KERNEL_BIN/server" -addr $addr >/dev/null 2>"$KERNEL_BIN/said" &
	fi
	local server=$!
	until ss -Htln "sport = :${addr#*:}" | grep -q .; do sleep 0.1; done
	taskset -c 1 "$KERNEL_BIN/load" -addr $addr -pid $server "$@" >"$KERNEL_BIN/out" 2>&1 &
	local load=$! seen=
	while [ -n "${watch:-}" ] && kill -0 $load 2>/dev/null; do
		sleep 1
		seen=$($watch) || true
		[ -z "$seen" ] || last=$seen
	done
	wait $load || true
	kill $server
	wait $server || true
	printf '%-52s %s %s\n' "$setting" "$(figures)" "${watch:+${last:-}}"
	sort -u "$KERNEL_BIN/said" | cut -c1-100 | head -2
	[ -z "$before" ] || sysctl -qw "${setting%%=*}=$before"
}

# figures shortens what the load generator has said.
figures() { sed -E 's/^\{.*"seconds":([0-9]+\.[0-9])[0-9]*,.*"connectRate".*"peak".*/\1 s/; s/^\{.*"cpu":([0-9.]{5})[0-9]*,.*/\1 µs of CPU per event/; s/^\{.*/all connected/' "$KERNEL_BIN/out"; }

# waiting says how much the kernel holds of what it was given to send.
waiting() {
	ss -Htmn "sport = :${addr#*:}" | grep -o ',w[0-9]*' | tr -d ,w | sort -n | awk '{all[NR] = $1} END {if (NR) printf "; at most %d kB waiting in the kernel for one client", all[NR] / 1024}'
}

descriptors() {
	for n in 1000 4000; do run nofile=$n -scenario connect -clients 2000; done
}
backlog() {
	for n in 128 1024 4096 32768; do run net.core.somaxconn=$n -scenario storm -clients 10000 -in-flight 10000 -patience 60s; done
}
send() {
	local watch=waiting last=
	for n in 65536 524288 4194304; do
		run "net.ipv4.tcp_wmem=4096 16384 $n" -scenario broadcast -clients 200 -stalled 20 -payload 16384 -duration 6s
	done
}
receive() {
	for n in 8192 131072 1048576; do
		run "net.ipv4.tcp_rmem=4096 $n 33554432" -payload 65536 -clients 100 -duration 3s
	done
}
ports() {
	for n in 50099 50199; do run "net.ipv4.ip_local_port_range=50000 $n" -scenario connect -clients 8000; done
}
for what in "${@:-descriptors backlog send receive ports}"; do
	for name in $what; do "$name"; done
done
