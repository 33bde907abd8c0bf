#!/bin/sh
# Starts a cluster: Redis, three Go nodes, one Node.js node, and nginx before them. Lets some clients talk across it, and goes
# on serving until Ctrl-C.
#
#   PORT=8080        the first port to try for nginx
#   CLUSTER_ONCE=1   stop after the transcript
set -eu
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/usr/local/sbin

fail() {
	echo "cluster: $*" >&2
	exit 1
}

command -v go >/dev/null || fail "Go is missing; see https://go.dev/dl/ (go.mod names the version)"
command -v npm >/dev/null || fail "Node.js is missing; version 20 or newer is needed (Debian: apt-get install nodejs npm)"
command -v redis-server >/dev/null || fail "Redis is missing (Debian: apt-get install redis-server)"
command -v nginx >/dev/null || fail "nginx is missing (Debian: apt-get install nginx)"
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	echo "Installing the official server and client"
	npm ci --silent --no-audit --no-fund || fail "npm ci has failed"
	touch node_modules/.package-lock.json
fi

work=$(mktemp -d)
running=
stop() {
	trap - EXIT HUP INT TERM
	for pid in $running; do kill "$pid" 2>/dev/null || true; done
	for pid in $running; do wait "$pid" 2>/dev/null || true; done
	rm -rf "$work"
}
trap stop EXIT
trap 'stop; exit 0' HUP INT TERM

# launch NAME COMMAND... runs a program in the background, with its output in a file.
launch() {
	name=$1
	shift
	"$@" >"$work/$name.log" 2>&1 &
	running="$! $running" # the last one is stopped first
}

# answers NAME PORT waits until the program that was launched last listens.
answers() {
	node -e '
		const net = require("net");
		const [port, pid] = process.argv.slice(1).map(Number);
		const end = Date.now() + 30000;
		const attempt = () => net.connect(port, "127.0.0.1").on("connect", () => process.exit(0)).on("error", () => {
			try { process.kill(pid, 0) } catch { process.exit(1) }
			if (Date.now() > end) process.exit(1);
			setTimeout(attempt, 50);
		});
		attempt();
	' "$2" "${running%% *}" || fail "$1 has not started: $(cat "$work/$1.log")"
}

echo "Building the Go node"
go build -o "$work/node" . || fail "the node does not build"

# Free ports: one for nginx, from PORT on, and five from the system.
ports=$(node -e '
	const net = require("net");
	const first = Number(process.argv[1]);
	const listen = (port) => new Promise((resolve, reject) => {
		const server = net.createServer().once("error", reject).listen(port, "127.0.0.1", () => resolve(server));
	});
	(async () => {
		const servers = [];
		for (let port = first; servers.length === 0; port++) {
			if (port >= first + 100) process.exit(1);
			await listen(port).then((server) => servers.push(server), () => {});
		}
		while (servers.length < 6) servers.push(await listen(0));
		console.log(servers.map((server) => server.address().port).join(" "));
		servers.forEach((server) => server.close());
	})();
' "${PORT:-8080}") || fail "there is no free port from ${PORT:-8080} on"
# shellcheck disable=SC2086 # they are to be split
set -- $ports
url=http://127.0.0.1:$1
redis=redis://127.0.0.1:$2

launch redis redis-server --bind 127.0.0.1 --port "$2" --dir "$work" --save '' --appendonly no
answers redis "$2"
launch a "$work/node" -name a -addr "127.0.0.1:$3" -redis "$redis"
answers a "$3"
launch b "$work/node" -name b -addr "127.0.0.1:$4" -redis "$redis"
answers b "$4"
launch c "$work/node" -name c -addr "127.0.0.1:$5" -redis "$redis"
answers c "$5"
launch d node server.js "$6" d "$redis"
answers d "$6"

sed -e "s#127.0.0.1:8080#127.0.0.1:$1#" -e "s#127.0.0.1:3001#127.0.0.1:$3#" -e "s#127.0.0.1:3002#127.0.0.1:$4#" \
	-e "s#127.0.0.1:3003#127.0.0.1:$5#" -e "s#127.0.0.1:3004#127.0.0.1:$6#" \
	-e "s#/srv/cluster#$PWD#" -e "s#/tmp/cluster#$work#" nginx.conf >"$work/nginx.conf"
# As root its workers would be of another user, who may not see the page.
[ "$(id -u)" != 0 ] || sed -i '1i user root;' "$work/nginx.conf"
launch nginx nginx -p "$work" -e stderr -c "$work/nginx.conf"
answers nginx "$1"

echo
node transcript.mjs "$url" || {
	cat "$work"/*.log >&2
	fail "the clients have failed"
}
echo
[ -z "${CLUSTER_ONCE:-}" ] || exit 0
# shellcheck disable=SC2086
set -- $running
echo "The cluster is at $url. Stop a node to see its clients move, for example with kill $5 (a Go node) or kill $2 (Node.js)."
echo "Ctrl-C ends everything."
wait "$1" || fail "nginx has stopped: $(cat "$work/nginx.log")"
