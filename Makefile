# make demo   the main job, live: a small CRM, a soft token, the agent; open the address it prints
# make test   everything, as CI runs it      make check   the quick part (vet, staticcheck, unit tests)
# make build  bin/tanba and bin/tokenhost    make bench   speed and memory, as ratios against a peer

SHELL := /bin/bash -o pipefail
STATICCHECK := bin/tools/staticcheck
PACKAGES := gcc libc6-dev softhsm2 opensc opensc-pkcs11 pcscd vsmartcard-vpcd libengine-gost-openssl openssl poppler-utils qpdf chromium libnss3-tools gnutls-bin xvfb dbus mingw-w64 fonts-dejavu-core time

.PHONY: build demo test check lint unit bench deps clean

build:
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/tanba
	CGO_ENABLED=1 go build -trimpath -o bin/ ./cmd/tokenhost

demo: deps-demo
	go run ./cmd/demo

test: deps lint
	go test -p 2 -timeout 20m ./...

check: lint
	go test -short ./...

# Everything but the two packages that need cgo, which this computer cannot
# compile for every system, and the benchmarks, which are for Linux.
NOCGO = $$(go list ./... | grep -v -e cmd/tokenhost -e tokens/pkcs11 -e cmd/bench)

# Each system is looked at from here: a bad line in a file for Windows is invisible to Linux.
lint: $(STATICCHECK)
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	go vet ./...
	CGO_ENABLED=0 GOOS=windows go vet $(NOCGO)
	CGO_ENABLED=0 GOOS=darwin go vet $(NOCGO)
	CGO_ENABLED=1 CC=x86_64-w64-mingw32-gcc GOOS=windows go vet ./cmd/tokenhost ./tokens/pkcs11
	$(STATICCHECK) ./...
	GOOS=windows $(STATICCHECK) $(NOCGO)
	GOOS=darwin $(STATICCHECK) $(NOCGO)

$(STATICCHECK):
	GOBIN=$(CURDIR)/bin/tools go install honnef.co/go/tools/cmd/staticcheck@v0.8.2

bench:
	TANBA_BENCH=1 go test -count=1 -timeout 30m -run TestBench -v ./cmd/bench

# What the tests and the demo need from Debian; installed when it is missing and we may.
.PHONY: deps deps-demo
deps: WANT = $(PACKAGES)
deps-demo: WANT = gcc libc6-dev xdg-utils $(shell command -v x-www-browser >/dev/null || echo chromium)
deps deps-demo:
	@missing=$$(for p in $(WANT); do [ "$$(dpkg-query -W -f='$${Status}' $$p 2>/dev/null)" = "install ok installed" ] || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  run=""; [ "$$(id -u)" = 0 ] || run="sudo"; \
	  echo "installing:" $$missing; \
	  $$run apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$run apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 $$missing >/dev/null; \
	fi

clean:
	rm -rf bin out
