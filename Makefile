# The two commands of this project: `make run` shows the main job, `make test` proves it. Both set up what they need.
.PHONY: all build release deps lint test run report clean

all: build

build: deps
	swift build

# A start costs what it loads and relocates: what has an archive is linked in, at fixed addresses.
archives := libstdc++ libcrypto libsqlite3 libzstd libbtrfs
flags := -no-pie -L$(CURDIR)/.build/archives

release: deps
	@mkdir -p .build/archives
	@for name in $(archives); do ln -sf "$$(gcc -print-file-name=$$name.a)" .build/archives/; done
	swift build -c release --product lamina --static-swift-stdlib \
	    $(foreach flag,$(flags),-Xswiftc -Xclang-linker -Xswiftc $(flag))

deps:
	@Tools/deps

lint:
	swift format lint --strict --recursive Package.swift Sources Tests

test: deps
	Tools/test

# DRIVER=devicemapper shows it on a thin pool, in a guest where this kernel has no device-mapper.
run: release
	Tools/demo $(DRIVER)

# The drivers of this machine and of the guest, compared: .build/report/report.html. PROFILE=full takes longer.
report: release
	Tools/report $(PROFILE)

clean:
	swift package clean
