# Rows about debug files, symbol files and lookup files; run.sh reads this.

big_sym() { make big.sym "$bin/gen" sym -bytes 600000000; }
# The largest debug files of Debian's ceph-mon-dbg and ceph-osd-dbg, C++ with DWARF 5 in compressed sections.
ceph() {
	for part in mon osd; do
		[ -e "$CORPUS/ceph-$part.debug" ] || (
			dir=$(mktemp -d)
			cd "$dir"
			apt-get download -qq "ceph-$part-dbg"
			dpkg-deb -x ./*.deb .
			mv "$(find . -name '*.debug' -printf '%s %p\n' | sort -n | tail -n1 | cut -d' ' -f2-)" "$CORPUS/ceph-$part.debug"
			rm -r "$dir"
		)
	done
	"$SALVAGE" symcache build "$CORPUS/ceph-mon.debug" -o "$CORPUS/ceph-mon.symcache"
}
# SQLite 3.45, as one file of C, in the debug formats of three systems, with 40,000 inlined calls.
sqlite() {
	[ -e "$CORPUS/sqlite/done" ] || (
		mkdir -p "$CORPUS/sqlite"
		cd "$CORPUS/sqlite"
		module=github.com/mattn/go-sqlite3@v1.14.22
		go mod download "$module" || (cd "$here" && go mod download "$module")
		cp --no-preserve=mode "$(go env GOMODCACHE)/$module/sqlite3-binding.c" sqlite3.c
		flags="-w -O3 -g -mllvm -inline-threshold=2000 -c"
		windows() { lld-link -dll -noentry -force:unresolved -opt:noref,noicf "$@" 2>/dev/null; }
		clang --target=x86_64-w64-windows-gnu $flags -gcodeview sqlite3.c -o codeview.o
		windows -debug -out:sqlite.dll -pdb:sqlite.pdb codeview.o
		clang --target=x86_64-w64-windows-gnu $flags -gdwarf-4 sqlite3.c -o dwarf.o
		windows -debug:dwarf -out:sqlite-dwarf.dll dwarf.o
		clang -E -O3 sqlite3.c -o sqlite3.i # there are no headers of macOS here
		clang --target=x86_64-apple-macos11 $flags -gdwarf-4 sqlite3.i -o mac.o
		ld64.lld-14 -arch x86_64 -platform_version macos 11.0 11.0 -undefined dynamic_lookup -dylib -o sqlite.dylib mac.o
		dsymutil-14 --out=sqlite.dSYM sqlite.dylib
		touch done
	)
}
# The kernel of Debian 12 for clouds, with the relocations that its build keeps; Salvage itself, 35 MB with Go's compressed sections.
vmlinux() {
	[ -e "$CORPUS/vmlinux" ] || (
		dir=$(mktemp -d)
		cd "$dir"
		apt-get download -qq "$(apt-cache depends linux-image-cloud-amd64-dbg | sed -n 's/.*Depends: //p')"
		dpkg-deb --fsys-tarfile ./*.deb | tar -x --wildcards '*vmlinux*' -O >"$CORPUS/vmlinux.tmp"
		mv "$CORPUS/vmlinux.tmp" "$CORPUS/vmlinux"
		rm -r "$dir"
	)
	make salvage-go sh -c "cd $here/.. && CGO_ENABLED=0 go build -o $OUT/salvage-go ./cmd/salvage && cat $OUT/salvage-go"
}

convert() { # FILE: to symcache
	echo "-- $1"
	"$bin/pair" -n "$n" "salvage=$SALVAGE symcache build $CORPUS/$1 -o $OUT/s.cache" "symbolic=$SYMBOLIC symcache $CORPUS/$1 $OUT/p.cache"
	sizes "$1"
}
sym() { tools; symbolic; big_sym; convert big.sym; } # .sym to symcache
dwarf() { # DWARF 5 to symcache
	tools; symbolic; ceph
	for f in ceph-mon.debug ceph-osd.debug; do convert "$f"; done
}
formats() { # others
	tools; symbolic; sqlite; vmlinux
	for f in vmlinux salvage-go sqlite/sqlite.pdb sqlite/sqlite-dwarf.dll sqlite/sqlite.dSYM/Contents/Resources/DWARF/sqlite.dylib; do convert "$f"; done
}
first() { # .sym to the first answer of a cold process; symbolic has to make a symcache for it
	tools; symbolic; big_sym
	"$bin/pair" -n "$n" -only "wall s,cpu s,peak MB" "salvage=$SALVAGE addr2line -e $CORPUS/big.sym -f -i 100000 >/dev/null" \
		"symbolic=sh -c '$SYMBOLIC symcache $CORPUS/big.sym $OUT/p.cache; echo 100000 >$OUT/addresses; $SYMBOLIC lookup $OUT/p.cache $OUT/addresses'"
}
dumpsyms() { # DWARF 5 to .sym, with inlined calls
	tools; ceph; crate "$DUMP_SYMS" dump_syms 2.3.9
	"$bin/pair" -n "$n" "salvage=$SALVAGE dump-syms --inlines $CORPUS/ceph-mon.debug -o $OUT/s.sym" "dump_syms=$DUMP_SYMS --inlines $CORPUS/ceph-mon.debug -o $OUT/p.sym"
	(cd "$OUT" && stat -c '%s %n' s.sym p.sym)
}
sizes() { (cd "$CORPUS" && stat -Lc '%s %n' "$1" && cd "$OUT" && stat -c '%s %n' s.cache p.cache); }

lookup() { # a million addresses in each of two files
	tools; symbolic; big_sym; ceph
	for f in ceph-mon.debug big.sym; do
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
	"$bin/gen" addresses -n 100000 -base "$CORPUS/ceph-mon.symcache" >"$OUT/addresses"
	ask="-e $CORPUS/ceph-mon.debug -f -i"
	"$bin/pair" -n "$n" "salvage=$SALVAGE addr2line $ask <$OUT/addresses >$OUT/a.salvage" \
		"llvm=llvm-addr2line $ask <$OUT/addresses >$OUT/a.llvm" \
		"gimli=$ADDR2LINE $ask <$OUT/addresses >$OUT/a.gimli"
	"$bin/pair" -n "$n" -only "wall s" "symcache=$SALVAGE addr2line -e $CORPUS/ceph-mon.symcache -f -i <$OUT/addresses >$OUT/a.symcache" \
		"debugfile=$SALVAGE addr2line $ask <$OUT/addresses >$OUT/a.salvage"
	sed -i 's/ (discriminator [0-9]*)$//' "$OUT/a.llvm" # Salvage knows none yet
	for peer in llvm gimli symcache; do
		echo "lines of $peer: $(wc -l <"$OUT/a.$peer"), differing from Salvage's $(wc -l <"$OUT/a.salvage"): $(diff "$OUT/a.salvage" "$OUT/a.$peer" | grep -c '^<')"
	done
}
