#!/usr/bin/env bash
# Compares Salvage with its peers: bench/run.sh [ROW…], all rows without arguments. README.md says what the rows are.
# Needs Go and Debian's packages; peers that are missing are built from crates.io with cargo.
#   CORPUS     inputs, made once (default bench/corpus, some 1.5 GB)
#   OUT        programs and results (default bench/out)
#   SALVAGE, SYMBOLIC, ADDR2LINE, STACKWALK, DUMP_SYMS    programs to use in place of those in OUT/bin
#   ROUNDS     counted rounds of a comparison (default 5)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${CORPUS:=$here/corpus}" "${OUT:=$here/out}/bin"
CORPUS=$(realpath "$CORPUS") OUT=$(realpath "$OUT")
export CARGO_TARGET_DIR=$OUT/target
bin=$OUT/bin n=${ROUNDS:-5}
: "${SALVAGE:=$bin/salvage}" "${SYMBOLIC:=$bin/bench-symbolic}" "${ADDR2LINE:=$bin/addr2line}"
: "${STACKWALK:=$bin/minidump-stackwalk}" "${DUMP_SYMS:=$bin/dump_syms}"

tools() {
	(cd "$here" && go build -o "$bin/" ./gen ./pair ./lookup ./floor ./load ./idle)
	[ "$SALVAGE" != "$bin/salvage" ] || (cd "$here/.." && CGO_ENABLED=0 go build -o "$bin/salvage" ./cmd/salvage)
}
symbolic() { [ -x "$SYMBOLIC" ] || cargo install -q --locked --path "$here/peers/symbolic" --root "$OUT"; }
crate() { [ -x "$1" ] || cargo install -q "$2" --version "$3" "${@:4}" --root "$OUT"; }

# A file is made under another name first: what exists is whole.
make() { [ -e "$CORPUS/$1" ] || { "${@:2}" >"$CORPUS/$1.tmp" && mv "$CORPUS/$1.tmp" "$CORPUS/$1"; }; }
big_sym() { make big.sym "$bin/gen" sym -bytes 600000000; }
# The largest debug file of Debian's ceph-mon-dbg, C++ with DWARF 5 in compressed sections, and the same inflated.
ceph() {
	[ -e "$CORPUS/ceph.debug" ] || (
		dir=$(mktemp -d)
		cd "$dir"
		apt-get download -qq ceph-mon-dbg
		dpkg-deb -x ./*.deb .
		mv "$(find . -name '*.debug' -printf '%s %p\n' | sort -n | tail -n1 | cut -d' ' -f2-)" "$CORPUS/ceph.debug"
		rm -r "$dir"
	)
	[ -e "$CORPUS/ceph.symcache" ] || "$SALVAGE" symcache build "$CORPUS/ceph.debug" -o "$CORPUS/ceph.symcache"
}
# The dumps and the program of `salvage serve --demo`.
demo() {
	for f in crashapp crashapp.debug inline.dmp overflow.dmp; do make "$f" gunzip -c "$here/../cmd/salvage/demo/$f.gz"; done
}

sym() { # .sym to symcache
	tools; symbolic; big_sym
	"$bin/pair" -n "$n" "salvage=$SALVAGE symcache build $CORPUS/big.sym -o $OUT/s.cache" "symbolic=$SYMBOLIC symcache $CORPUS/big.sym $OUT/p.cache"
	sizes big.sym
}
first() { # .sym to the first answer of a cold process; symbolic has to make a symcache for it
	tools; symbolic; big_sym
	"$bin/pair" -n "$n" -only "wall s,cpu s,peak MB" "salvage=$SALVAGE addr2line -e $CORPUS/big.sym -f -i 100000 >/dev/null" \
		"symbolic=sh -c '$SYMBOLIC symcache $CORPUS/big.sym $OUT/p.cache; echo 100000 >$OUT/addresses; $SYMBOLIC lookup $OUT/p.cache $OUT/addresses'"
}
dwarf() { # DWARF 5 to symcache
	tools; symbolic; ceph
	"$bin/pair" -n "$n" "salvage=$SALVAGE symcache build $CORPUS/ceph.debug -o $OUT/s.cache" "symbolic=$SYMBOLIC symcache $CORPUS/ceph.debug $OUT/p.cache"
	sizes ceph.debug
}
sizes() { (cd "$CORPUS" && stat -Lc '%s %n' "$1" && cd "$OUT" && stat -c '%s %n' s.cache p.cache); }

lookup() { # a million addresses in each of two files
	tools; symbolic; big_sym; ceph
	for f in ceph.debug big.sym; do
		"$SALVAGE" symcache build "$CORPUS/$f" -o "$OUT/s.cache"
		"$SYMBOLIC" symcache "$CORPUS/$f" "$OUT/p.cache"
		"$bin/gen" addresses -n 1000000 "$OUT/s.cache" >"$OUT/addresses"
		echo "-- $f"
		"$bin/pair" -n "$n" -only ns_per_lookup,ns_with_names,frames,lines,allocations "salvage=$bin/lookup $OUT/s.cache $OUT/addresses" "symbolic=$SYMBOLIC lookup $OUT/p.cache $OUT/addresses"
	done
}

addr2line() { # 100,000 addresses on standard input
	tools; ceph
	crate "$ADDR2LINE" addr2line 0.27.1 --features bin
	"$bin/gen" addresses -n 100000 -base "$CORPUS/ceph.symcache" >"$OUT/addresses"
	ask="-e $CORPUS/ceph.debug -f -i"
	"$bin/pair" -n "$n" "salvage=$SALVAGE addr2line $ask <$OUT/addresses >$OUT/a.salvage" \
		"llvm=llvm-addr2line $ask <$OUT/addresses >$OUT/a.llvm" \
		"gimli=$ADDR2LINE $ask <$OUT/addresses >$OUT/a.gimli"
	"$bin/pair" -n "$n" -only "wall s" "symcache=$SALVAGE addr2line -e $CORPUS/ceph.symcache -f -i <$OUT/addresses >$OUT/a.symcache" \
		"debugfile=$SALVAGE addr2line $ask <$OUT/addresses >$OUT/a.salvage"
	sed -i 's/ (discriminator [0-9]*)$//' "$OUT/a.llvm" # Salvage knows none yet
	for peer in llvm gimli symcache; do
		echo "lines of $peer: $(wc -l <"$OUT/a.$peer"), differing from Salvage's $(wc -l <"$OUT/a.salvage"): $(diff "$OUT/a.salvage" "$OUT/a.$peer" | grep -c '^<')"
	done
}

walk() { # dumps to JSON, symbols as .sym in a folder
	tools; demo
	crate "$STACKWALK" minidump-stackwalk 0.27.0
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
	# As large as a browser's: 128 MB in place of the program's own .sym, with its MODULE line.
	if [ ! -d "$CORPUS/bigsyms" ]; then
		cp -r "$syms" "$CORPUS/bigsyms.tmp"
		small=$(ls "$CORPUS"/bigsyms.tmp/crashapp*/*/*.sym)
		"$bin/gen" sym -bytes 128000000 -module "$(head -n1 "$small")" >"$OUT/big.tmp"
		mv "$OUT/big.tmp" "$small"
		mv "$CORPUS/bigsyms.tmp" "$CORPUS/bigsyms"
	fi
	for case in "inline syms" "overflow syms" "inline bigsyms"; do
		read -r dump folder <<<"$case"
		echo "-- $dump.dmp, $folder ($(du -sh "$CORPUS/$folder" | cut -f1))"
		"$bin/pair" -n "$n" "salvage=$SALVAGE stackwalk --json --output-file $OUT/w.salvage $CORPUS/$dump.dmp $CORPUS/$folder" \
			"rust-minidump=$STACKWALK --json --no-interactive --output-file $OUT/w.peer $CORPUS/$dump.dmp $CORPUS/$folder"
		stat -c '%s %n' "$OUT/w.salvage" "$OUT/w.peer"
	done
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

footprint() { # size, memory after a minute of rest, start with an empty folder
	tools
	stat -c 'binary_MB=%s' "$SALVAGE" | awk -F= '{printf "%s=%.1f\n", $1, $2/1e6}'
	for _ in 1 2 3; do
		rm -rf "$OUT/data"
		"$bin/idle" -url http://127.0.0.1:8092/__lbheartbeat__ -seconds "${IDLE:-60}" "$SALVAGE" serve --listen 127.0.0.1:8092 --data "$OUT/data"
	done
	rm -rf "$OUT/data"
}

rows=("$@")
[ ${#rows[@]} -gt 0 ] || rows=(sym first dwarf lookup addr2line walk submit footprint)
echo "$(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores, $(free -g | awk '/^Mem/{print $2}') GB, $(date +%F)"
for row in "${rows[@]}"; do
	echo "== $row"
	"$row"
done
