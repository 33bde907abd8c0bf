#!/bin/sh
# Starts the chat server, lets the Node client talk to it, and goes on serving until Ctrl-C.
#
#   PORT=3000     the first port to try
#   DEMO_ONCE=1   stop after the transcript
set -eu
cd "$(dirname "$0")/.."

fail() {
	echo "demo: $*" >&2
	exit 1
}

command -v go >/dev/null || fail "Go is missing; see https://go.dev/dl/ (go.mod names the version)"
command -v node >/dev/null || fail "Node.js is missing; version 18 or newer is needed (Debian: apt-get install nodejs npm)"
command -v npm >/dev/null || fail "npm is missing (Debian: apt-get install npm)"
node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' || fail "Node.js $(node --version) is too old; version 18 or newer is needed"

# install DIR runs npm ci in DIR, unless what package-lock.json asks for is there.
install() {
	if [ ! -e "$1/node_modules/.package-lock.json" ] || [ "$1/package-lock.json" -nt "$1/node_modules/.package-lock.json" ]; then
		echo "Installing the Socket.IO client in $1"
		(cd "$1" && npm ci --silent --no-audit --no-fund) || fail "npm ci has failed in $1"
		touch "$1/node_modules/.package-lock.json"
	fi
}
install examples/chat
install examples/node-client

work=$(mktemp -d)
server=
stop() {
	trap - EXIT HUP INT TERM
	if [ -n "$server" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap stop EXIT
trap 'stop; exit 0' HUP INT TERM

echo "Building the chat server"
go build -o "$work/chat" ./examples/chat || fail "the chat server does not build"

port=$(node -e '
	const net = require("net");
	const first = Number(process.argv[1]);
	const attempt = (port) => {
		if (!(port < first + 100 && port < 65536)) process.exit(1);
		const probe = net.createServer();
		probe.once("error", () => attempt(port + 1));
		probe.listen(port, "127.0.0.1", () => probe.close(() => console.log(port)));
	};
	attempt(first);
' "${PORT:-3000}") || fail "there is no free port from ${PORT:-3000} on"
url=http://127.0.0.1:$port

"$work/chat" -addr "127.0.0.1:$port" >"$work/log" 2>&1 &
server=$!
tries=0
until grep -q '^listening on ' "$work/log"; do
	kill -0 "$server" 2>/dev/null || fail "the chat server has stopped: $(cat "$work/log")"
	tries=$((tries + 1))
	[ "$tries" -lt 300 ] || fail "the chat server has not started within 30 s: $(cat "$work/log")"
	sleep 0.1
done

echo
node examples/node-client/client.js "$url" || {
	cat "$work/log" >&2
	fail "the Node client has failed"
}
echo
if [ -n "${DEMO_ONCE:-}" ]; then
	kill "$server"
	wait "$server" || fail "the chat server has not stopped cleanly: $(cat "$work/log")"
	server=
	exit 0
fi
echo "The chat is at $url, also with several windows at once. Ctrl-C ends it."
wait "$server" || fail "the chat server has stopped: $(cat "$work/log")"
