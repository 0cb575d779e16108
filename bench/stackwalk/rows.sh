# Rows about dumps; run.sh reads this.

walk_inputs() {
	tools
	crate "$STACKWALK" minidump-stackwalk 0.27.0
	walk_syms
	# As large as a browser's: 128 MB in place of the program's own .sym, with its MODULE line.
	if [ ! -d "$CORPUS/bigsyms" ]; then
		cp -r "$syms" "$CORPUS/bigsyms.tmp"
		small=$(ls "$CORPUS"/bigsyms.tmp/crashapp*/*/*.sym)
		"$bin/gen" sym -bytes 128000000 -module "$(head -n1 "$small")" >"$OUT/big.tmp"
		mv "$OUT/big.tmp" "$small"
		mv "$CORPUS/bigsyms.tmp" "$CORPUS/bigsyms"
	fi
	make threads.dmp "$bin/gen" threads -n 50 "$CORPUS/inline.dmp"
}
compare_walks() { # DUMP FOLDER OURS THEIRS: arguments that say where symbols are
	echo "-- $1.dmp, $2 ($(du -sh "$CORPUS/$2" | cut -f1))"
	"$bin/pair" -n "$n" "salvage=$SALVAGE stackwalk --json --output-file $OUT/w.salvage $CORPUS/$1.dmp $3" \
		"rust-minidump=$STACKWALK --json --no-interactive --output-file $OUT/w.peer $CORPUS/$1.dmp $4"
	stat -c '%s %n' "$OUT/w.salvage" "$OUT/w.peer"
}
walks="inline syms
threads syms
overflow syms
inline bigsyms"

walk() { # dumps to JSON, symbols as .sym in a folder
	walk_inputs
	while read -r dump folder; do compare_walks "$dump" "$folder" "$CORPUS/$folder" "$CORPUS/$folder"; done <<<"$walks"
}
warm() { # the same with symbols in the cache of downloads, for which Salvage has lookup files
	walk_inputs
	while read -r dump folder; do
		ours=$OUT/cache-$folder
		[ -d "$ours" ] || { cp -r "$CORPUS/$folder" "$ours.tmp" && mv "$ours.tmp" "$ours"; }
		from="--symbols-url http://127.0.0.1:9/ --symbols-cache"
		compare_walks "$dump" "$folder" "$from $ours" "$from $CORPUS/$folder"
	done <<<"$walks"
}
