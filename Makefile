# The two commands of this project: `make run` shows the main job, `make test` proves it. Both set up what they need.
.PHONY: all build release deps lint test run clean

all: build

build: deps
	swift build

release: deps
	swift build -c release --product lamina --static-swift-stdlib

deps:
	@Tools/deps

lint:
	swift format lint --strict --recursive Package.swift Sources Tests

test: deps
	Tools/test

# DRIVER=devicemapper shows it on a thin pool, in a guest where this kernel has no device-mapper.
run: release
	Tools/demo $(DRIVER)

clean:
	swift package clean
