#!/usr/bin/env bash
# Compares Salvage with its peers: bench/run.sh [ROW…], all rows without arguments. README.md says what the rows are.
# Needs Go and Debian's packages; peers that are missing are built from crates.io with cargo.
#   CORPUS     inputs, made once (default bench/corpus, some 2.5 GB)
#   OUT        programs and results (default bench/out)
#   SALVAGE, SYMBOLIC, ADDR2LINE, STACKWALK, DUMP_SYMS, SAMPLY    programs to use in place of those in OUT/bin
#   ROUNDS     counted rounds of a comparison (default 5)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${CORPUS:=$here/corpus}" "${OUT:=$here/out}/bin"
CORPUS=$(realpath "$CORPUS") OUT=$(realpath "$OUT")
export CARGO_TARGET_DIR=$OUT/target
bin=$OUT/bin n=${ROUNDS:-5}
: "${SALVAGE:=$bin/salvage}" "${SYMBOLIC:=$bin/bench-symbolic}" "${ADDR2LINE:=$bin/addr2line}"
: "${STACKWALK:=$bin/minidump-stackwalk}" "${DUMP_SYMS:=$bin/dump_syms}" "${SAMPLY:=$bin/samply}"

tools() {
	(cd "$here" && go build -o "$bin/" ./gen ./pair ./lookup ./floor ./load ./idle ./search)
	[ "$SALVAGE" != "$bin/salvage" ] || (cd "$here/.." && CGO_ENABLED=0 go build -o "$bin/salvage" ./cmd/salvage)
}
symbolic() { [ -x "$SYMBOLIC" ] || cargo install -q --locked --path "$here/peers/symbolic" --root "$OUT"; }
crate() { [ -x "$1" ] || cargo install -q "$2" --version "$3" "${@:4}" --root "$OUT"; }

# A file is made under another name first: what exists is whole.
make() { [ -e "$CORPUS/$1" ] || { "${@:2}" >"$CORPUS/$1.tmp" && mv "$CORPUS/$1.tmp" "$CORPUS/$1"; }; }

# The dumps and the program of `salvage serve --demo`.
demo() {
	for f in crashapp crashapp.debug inline.dmp overflow.dmp; do make "$f" gunzip -c "$here/../cmd/salvage/demo/$f.gz"; done
}

walk_syms() { # a folder of .sym: of the demo's program and of the libraries here
	demo
	crate "$DUMP_SYMS" dump_syms 2.3.9
	syms=$CORPUS/syms
	if [ ! -d "$syms" ]; then
		dir=$(mktemp -d)
		unstrip() { eu-unstrip -o "$dir/$(basename "$1")" "$1" "$2"; }
		unstrip "$CORPUS/crashapp" "$CORPUS/crashapp.debug"
		for lib in /lib/x86_64-linux-gnu/{libc.so.6,libm.so.6,ld-linux-x86-64.so.2}; do # Debian's libc6-dbg
			id=$(readelf -n "$lib" | sed -n 's/.*Build ID: //p')
			unstrip "$lib" "/usr/lib/debug/.build-id/${id:0:2}/${id:2}.debug"
		done
		cp /usr/lib/x86_64-linux-gnu/libstdc++.so.6 "$dir"
		for f in "$dir"/*; do "$DUMP_SYMS" --inlines -s "$syms.tmp" "$f" >/dev/null; done
		mv "$syms.tmp" "$syms"
		rm -r "$dir"
	fi
}

serve() { # ADDRESS DATA ARG…: a server in the background; its id in $server
	"$SALVAGE" serve --listen "$1" --data "$2" "${@:3}" >"$OUT/serve.log" 2>&1 &
	server=$!
	for _ in $(seq 500); do curl -sf "http://$1/__lbheartbeat__" >/dev/null && return; sleep 0.02; done
	cat "$OUT/serve.log"
	return 1
}
submit() { # 500 KB bodies from eight clients
	tools; demo
	"$bin/gen" body -bytes 500000 "$CORPUS/inline.dmp" >"$OUT/body"
	rm -rf "$OUT/data" "$OUT/floor-data"
	mkdir -p "$OUT/floor-data"
	"$bin/floor" -listen 127.0.0.1:8091 -data "$OUT/floor-data" &
	floor=$!
	serve 127.0.0.1:8092 "$OUT/data" --collector-rate 0
	trap 'kill $floor $server' EXIT
	load="$bin/load -clients 8 -requests 600 -body $OUT/body"
	"$bin/pair" -n "$n" -only requests_per_second,p50_ms,p99_ms "salvage=$load -url http://127.0.0.1:8092/submit" "floor=$load -url http://127.0.0.1:8091/submit"
	kill $floor $server
	trap - EXIT
	wait || true
	rm -rf "$OUT/data" "$OUT/floor-data"
}

v5() { # /symbolicate/v5, ten jobs of 100 frames in five modules, warm
	tools; walk_syms
	crate "$SAMPLY" samply 0.13.1
	if [ ! -d "$OUT/eliot" ]; then
		git clone -q https://github.com/mozilla-services/eliot "$OUT/eliot.tmp"
		git -C "$OUT/eliot.tmp" checkout -q 7baa1aed7c77d8606e32c5413c532bace75629d5
		python3 -m venv "$OUT/eliot.tmp/venv"
		# What it imports, at the versions of its uv.lock; its own index of packages is not needed for that.
		python3 - "$OUT/eliot.tmp/uv.lock" >"$OUT/eliot.txt" <<-'EOF'
			import sys, tomllib
			wanted = set("backoff datadog dockerflow everett falcon fillmore gunicorn inotify-simple jsonschema markus msgpack requests sentry-sdk symbolic urllib3 werkzeug".split())
			for p in tomllib.load(open(sys.argv[1], "rb"))["package"]:
			    if p["name"] in wanted: print(p["name"] + "==" + p["version"])
		EOF
		"$OUT/eliot.tmp/venv/bin/pip" install -q setuptools -r "$OUT/eliot.txt"
		mv "$OUT/eliot.tmp" "$OUT/eliot"
	fi
	caches=()
	for f in "$CORPUS"/syms/*/*/*.sym; do
		"$SALVAGE" symcache build "$f" -o "$OUT/$(basename "$f").symcache" >/dev/null
		caches+=("$OUT/$(basename "$f").symcache")
	done
	"$bin/gen" v5 -n 100 "${caches[@]}" >"$OUT/v5.json"
	rm -rf "$OUT/data" "$OUT/eliot-cache"
	mkdir -p "$OUT/eliot-cache"
	echo '{"meta":{"version":24,"startTime":0,"interval":1,"processType":0,"product":"","stackwalk":0},"libs":[],"threads":[],"pages":[],"counters":[]}' >"$OUT/profile.json"
	SALVAGE_ADMIN_TOKEN=bench-bench-bench-bench serve 127.0.0.1:8092 "$OUT/data"
	(cd "$OUT/eliot" && ELIOT_SYMBOLS_URLS=http://127.0.0.1:8092/ ELIOT_SYMBOLS_CACHE_DIR=$OUT/eliot-cache exec "venv/bin/python" -m gunicorn --bind 127.0.0.1:8093 --workers "$(nproc)" eliot.wsgi:application >"$OUT/eliot.log" 2>&1) &
	eliot=$!
	"$SAMPLY" load -n -P 8094 --breakpad-symbol-dir "$CORPUS/syms" "$OUT/profile.json" >"$OUT/samply.log" 2>&1 &
	samply=$!
	trap 'kill $server $eliot $samply' EXIT
	"$SALVAGE" symbols put --server http://127.0.0.1:8092 --token bench-bench-bench-bench "$CORPUS/syms" >/dev/null
	for _ in $(seq 100); do grep -q 8094%2F "$OUT/samply.log" && curl -s -o /dev/null http://127.0.0.1:8093/ && break; sleep 0.1; done
	load="$bin/load -body $OUT/v5.json" path=symbolicate/v5
	peer=http://127.0.0.1:8094/$(sed -n 's/.*8094%2F\([a-z0-9]*\).*/\1/p' "$OUT/samply.log" | head -n1)
	for clients in 1 4; do
		echo "-- $clients in flight"
		"$bin/pair" -n "$n" -only requests_per_second,p50_ms,p99_ms "salvage=$load -clients $clients -requests 1000 -url http://127.0.0.1:8092/$path" \
			"eliot=$load -clients $clients -requests 100 -url http://127.0.0.1:8093/$path" "samply=$load -clients $clients -requests 500 -url $peer/$path"
	done
	ask() { curl -s --data-binary "@$OUT/v5.json" -H 'Content-Type: application/json' "$1/$path" >"$OUT/v5.$2"; }
	ask http://127.0.0.1:8092 salvage
	ask http://127.0.0.1:8093 eliot
	ask "$peer" samply
	python3 - "$OUT"/v5.{salvage,eliot,samply} <<-'EOF'
		import collections, json, sys
		ours, *peers = [[f for r in json.load(open(p))["results"] for s in r["stacks"] for f in s] for p in sys.argv[1:]]
		for name, peer in zip(["eliot", "samply"], peers):
		    diff = collections.Counter(k for f, g in zip(ours, peer, strict=True) for k in set(f) | set(g) if f.get(k) != g.get(k))
		    print(len(ours), "frames, fields that differ from", name + "'s:", dict(diff))
	EOF
	kill $server $eliot $samply
	trap - EXIT
	wait || true
	rm -rf "$OUT/data" "$OUT/eliot-cache"
}

search() { # questions to an index of a million crashes: three facets, the newest 50, a histogram
	tools
	[ -d "$OUT/search" ] || {
		python3 -m venv "$OUT/search.tmp"
		"$OUT/search.tmp/bin/pip" install -q duckdb==2.0.1 chdb==4.4.0
		mv "$OUT/search.tmp" "$OUT/search"
	}
	make crashes.csv "$bin/search" csv 1000000
	rm -rf "$OUT/searched"
	mkdir -p "$OUT/searched"
	"$bin/search" fill "$OUT/searched/salvage.db" "$CORPUS/crashes.csv"
	for _ in 1 2; do
		"$bin/search" run "$OUT/searched/salvage.db" 20
		"$OUT/search/bin/python" "$here/search/peers.py" "$OUT/searched" "$CORPUS/crashes.csv" 20
		du -sm "$OUT/searched"/*
		rm -r "$OUT/searched/duck.db" "$OUT/searched/chdb"
	done
}

metrics() { (cd "$here" && go test -run '^$' -bench . -count 7 ./metrics); }
config() { (cd "$here" && go test -run '^$' -bench Load -count 6 ./config && go run ./config); }

footprint() { # size, memory after a minute of rest, start with an empty folder
	tools
	stat -c 'binary_MB=%s' "$SALVAGE" | awk -F= '{printf "%s=%.1f\n", $1, $2/1e6}'
	for _ in 1 2 3; do
		rm -rf "$OUT/data"
		"$bin/idle" -url http://127.0.0.1:8092/__lbheartbeat__ -seconds "${IDLE:-60}" "$SALVAGE" serve --listen 127.0.0.1:8092 --data "$OUT/data"
	done
	rm -rf "$OUT/data"
}

. "$here/symbols/rows.sh"
. "$here/stackwalk/rows.sh"
rows=("$@")
[ ${#rows[@]} -gt 0 ] || rows=(sym first dwarf formats dumpsyms lookup addr2line walk warm submit v5 search metrics config footprint)
echo "$(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores, $(free -g | awk '/^Mem/{print $2}') GB, $(date +%F)"
for row in "${rows[@]}"; do
	echo "== $row"
	"$row"
done
