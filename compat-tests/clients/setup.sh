#!/usr/bin/env bash
# Installs what the client matrix needs, into node_modules and .cache beside this script, and Debian packages where apt-get
# may be used. It does again only what has changed. A toolchain that cannot be had is said in one line, and the matrix then
# reports its clients as skipped; with CI=true that is a failure.
set -uo pipefail
cd "$(dirname "$0")"
mkdir -p .cache
missing=()

# Debian packages, by the command that each brings.
declare -A packages=([chromium]=chromium [python3]=python3 [javac]=default-jdk-headless [mvn]=maven [cargo]=cargo-web [pkg-config]=pkg-config)
wanted=()
for command in "${!packages[@]}"; do
	command -v "$command" >/dev/null || wanted+=("${packages[$command]}")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)
pkg-config --exists openssl 2>/dev/null || wanted+=(libssl-dev)
if [ ${#wanted[@]} -gt 0 ]; then
	apt=() patience=(-o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
	if command -v apt-get >/dev/null; then
		if [ "$(id -u)" = 0 ]; then apt=(apt-get "${patience[@]}"); elif sudo -n true 2>/dev/null; then apt=(sudo apt-get "${patience[@]}"); fi
	fi
	if [ ${#apt[@]} -eq 0 ]; then
		echo "clients: please install ${wanted[*]} (Debian packages); they cannot be installed from here" >&2
	else
		echo "clients: installing ${wanted[*]}"
		"${apt[@]}" update >.cache/apt.log 2>&1
		# One by one, because releases differ in what they have: Debian 13 knows no cargo-web, but a cargo that is new enough.
		for package in "${wanted[@]}"; do
			DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "$package" >>.cache/apt.log 2>&1 && continue
			[ "$package" = cargo-web ] && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends cargo >>.cache/apt.log 2>&1 && continue
			echo "clients: apt-get could not install $package (.cache/apt.log)" >&2
		done
	fi
fi

# set_up NAME FILES… -- COMMAND: runs the command unless nothing has changed in the files since it last succeeded. Package
# registries fail now and then, so it has three attempts.
set_up() {
	local name=$1 stamp=.cache/$1.stamp files=() sum attempt
	shift
	while [ "$1" != -- ]; do
		files+=("$1")
		shift
	done
	shift
	sum=$(cat "${files[@]}" | sha256sum)
	[ "$(cat "$stamp" 2>/dev/null)" = "$sum" ] && return
	rm -f "$stamp"
	echo "clients: setting up $name"
	for attempt in 1 2 3; do
		if "$@" >".cache/$name.log" 2>&1; then
			echo "$sum" >"$stamp"
			return
		fi
		sleep $((5 * attempt))
	done
	tail -15 ".cache/$name.log" >&2
	missing+=("$name (compat-tests/clients/.cache/$name.log)")
}

javascript() {
	# The stamp is the one that scripts/setup.sh of the project leaves.
	cmp -s package-lock.json node_modules/.installed && return
	npm ci --no-audit --no-fund --loglevel=error && cp package-lock.json node_modules/.installed
}

python() {
	rm -rf .cache/venv
	python3 -m venv .cache/venv
	.cache/venv/bin/pip install --disable-pip-version-check --quiet -r python/requirements.txt
}

# The program is compiled against version 2 of the library and runs with either.
java() {
	local version
	rm -rf .cache/java
	for version in 2.1.2 1.0.2; do
		mvn -q -B -f java/pom.xml -Dmaven.repo.local="$PWD/.cache/m2" -Dclient.version="$version" \
			dependency:copy-dependencies -DoutputDirectory="$PWD/.cache/java/lib-${version%.*}" || return
	done
	javac --release 11 -encoding UTF-8 -d .cache/java/classes -cp '.cache/java/lib-2.1/*' java/src/Client.java
}

rust() {
	CARGO_TARGET_DIR="$PWD/.cache/cargo" cargo build --locked --manifest-path rust/Cargo.toml --jobs "${CARGO_JOBS:-2}"
}

set_up javascript package-lock.json -- javascript
set_up python python/requirements.txt -- python
set_up java java/pom.xml java/src/Client.java -- java
set_up rust rust/Cargo.toml rust/Cargo.lock rust/src/main.rs -- rust

if [ ${#missing[@]} -gt 0 ]; then
	printf 'clients: could not set up %s\n' "${missing[@]}" >&2
	[ "${CI:-}" != true ] || exit 1
fi
