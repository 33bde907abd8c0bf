#!/usr/bin/env bash
# Installs what the tests use beside Go and Node: npm packages, and Debian packages where apt-get is
# there and may be used. What is missing in the end is said in one line, and the exit status is 1.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v go >/dev/null || missing+=("Go 1.26 or later")
command -v node >/dev/null || missing+=("Node.js 20 or later")
command -v npm >/dev/null || missing+=("npm")
if [ ${#missing[@]} -gt 0 ]; then
	printf 'setup: please install %s\n' "${missing[@]}" >&2
	exit 1
fi

# Debian packages, by the command that each brings. The race detector is linked by gcc.
declare -A packages=([chromium]=chromium [gcc]='gcc libc6-dev' [haproxy]=haproxy [openssl]=openssl [nats-server]=nats-server [nginx]=nginx [postgres]=postgresql [redis-server]=redis-server)
wanted=()
for command in "${!packages[@]}"; do
	command -v "$command" >/dev/null || [ -x "/usr/sbin/$command" ] || compgen -G "/usr/lib/postgresql/*/bin/$command" >/dev/null || wanted+=(${packages[$command]})
done
if [ ${#wanted[@]} -gt 0 ]; then
	apt=() patience=(-o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
	if command -v apt-get >/dev/null; then
		if [ "$(id -u)" = 0 ]; then apt=(apt-get "${patience[@]}"); elif sudo -n true 2>/dev/null; then apt=(sudo apt-get "${patience[@]}"); fi
	fi
	if [ ${#apt[@]} -eq 0 ]; then
		echo "setup: please install ${wanted[*]} (Debian packages); they cannot be installed from here" >&2
		exit 1
	fi
	echo "setup: installing ${wanted[*]}"
	log=$(mktemp)
	if ! { "${apt[@]}" update; DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 "${apt[@]}" install -y --no-install-recommends "${wanted[@]}"; } >"$log" 2>&1; then
		tail -20 "$log" >&2
		echo "setup: apt-get could not install ${wanted[*]}" >&2
		exit 1
	fi
	rm -f "$log"
fi

# npm packages, again only if the lock file has changed since.
for lock in $(git ls-files '*package-lock.json'); do
	folder=$(dirname "$lock")
	stamp=$folder/node_modules/.installed
	if ! cmp -s "$lock" "$stamp" 2>/dev/null; then
		echo "setup: npm ci in $folder"
		(cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
		cp "$lock" "$stamp"
	fi
done
go mod download

# Clients in other languages: Python, Java, Rust.
compat-tests/clients/setup.sh
