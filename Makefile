# `make demo` shows the server at work, `make test` runs every check. Both set up what they need.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 2000x

.PHONY: all demo test setup fmt lint cross race allocs fuzz compat compat-reference conformance bench bench-check bench-quick bench-cluster bench-profile million soak compat-clients-all clean

all: test

demo: ; @examples/demo.sh

# test is what CI runs, step by step, with the time that each took.
test: ; @scripts/test.sh

# setup installs what the tests use beside Go and Node: npm packages, and Debian packages if it may.
setup: ; @scripts/setup.sh

fmt:
	@files=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$files" ]; then echo "gofmt would change:" $$files; exit 1; fi

lint:
	go vet ./...
	go run $(STATICCHECK) ./...

# cross compiles for systems without epoll. The programs are not used, so the compiler need not optimize.
cross:
	GOOS=darwin go build -gcflags='all=-N -l' ./...
	GOOS=windows go build -gcflags='all=-N -l' ./...

race:
	go test -race -shuffle=on ./...

# allocs runs the tests that count allocations, some of which cannot under the race detector.
allocs:
	go test -run Alloc ./adapter/redis ./engineio ./socketio ./socketio/parser

# fuzz runs each fuzz target for FUZZTIME.
fuzz: ; @FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

# compat runs the compatibility suite against the Go server as it is by default, without epoll, over
# TLS, and with its own listener; compat-reference against the official Node.js server.
compat:
	cd compat-tests && npm test
compat-reference:
	cd compat-tests && npm run test:reference

# conformance tries cases of RFC 6455 and RFC 7692 on the WebSocket transport and on ws, and writes CONFORMANCE.md;
# FULL=1 sends as many messages as the published suite, which takes most of an hour.
conformance: ; @go run ./compat-tests/conformance $(if $(FULL),-full)

# compat-clients-all runs the clients of every kind without epoll, over TLS and on the reference, too.
compat-clients-all:
	node compat-tests/clients/run.js --variant default --variant no-epoll --variant tls
	node compat-tests/clients/run.js --target reference --variant default --variant tls
	TARGET=reference node --test compat-tests/proxy/proxy.test.js

# bench measures everything beside a bare epoll loop and Node.js, in up to 25 minutes, and writes
# bench/RESULTS.md; bench-check looks for regressions in two minutes; bench-quick prints the key figures;
# bench-cluster measures nodes on one Redis beside those of Node.js, and writes bench/CLUSTER.md; bench-profile
# shows where the time goes, and writes bench/PROFILES.md.
bench: ; go run ./bench/cmd
bench-check: ; go run ./bench/cmd -mode check
bench-cluster: ; go run ./bench/cluster
bench-profile: ; go run ./bench/cmd -mode profile
bench-quick: ; go run ./bench/cmd -mode quick -repeats 1

# million holds N connections through two heartbeats and broadcasts to all of them, in a virtual machine
# where a process may not have so many descriptors. What it prints goes to the file OUT, too.
N ?= 1000000
million: ; go run ./bench/million -n $(N) $(if $(OUT),-out $(OUT))

# soak runs servers of every kind under clients that do everything that clients do, for the time SOAK. It prints a SEED,
# which repeats its choices; compat-tests/soak/doc.go has the other variables.
SOAK ?= 1h
soak:
	go test $(if $(RACE),-race) ./compat-tests/soak -run '^TestSoak$$' -count=1 -timeout 0 -v -args -for $(SOAK) \
		$(if $(SEED),-seed $(SEED)) $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(KINDS),-kinds $(KINDS)) \
		$(if $(ACTIONS),-actions '$(ACTIONS)') $(if $(CLIENTS),-clients $(CLIENTS))

clean:
	rm -rf bin
