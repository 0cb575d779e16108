#!/bin/sh
# Compares every function, line row and inlined call with llvm-symbolizer, in files that take too long for CI: libc's
# debug file and two of Go's own programs, or the files named. Prints how many addresses, and each difference.
set -eu
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
	id=$(readelf -n /lib/x86_64-linux-gnu/libc.so.6 | sed -n 's/.*Build ID: //p')
	set -- "/usr/lib/debug/.build-id/$(echo "$id" | cut -c1-2)/$(echo "$id" | cut -c3-).debug" "$(go env GOROOT)/pkg/tool/linux_amd64/link" "$(go env GOROOT)/bin/gofmt"
fi
SALVAGE_LLVM_FILES=$(IFS=:; echo "$*") REQUIRE_LLVM=1 go test ./debug/object -run FilesAgainst -v -timeout 60m
