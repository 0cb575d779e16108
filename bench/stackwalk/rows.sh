# Rows about dumps; run.sh reads this.

walk() { # dumps to JSON, symbols as .sym in a folder
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
	for case in "inline syms" "threads syms" "overflow syms" "inline bigsyms"; do
		read -r dump folder <<<"$case"
		echo "-- $dump.dmp, $folder ($(du -sh "$CORPUS/$folder" | cut -f1))"
		"$bin/pair" -n "$n" "salvage=$SALVAGE stackwalk --json --output-file $OUT/w.salvage $CORPUS/$dump.dmp $CORPUS/$folder" \
			"rust-minidump=$STACKWALK --json --no-interactive --output-file $OUT/w.peer $CORPUS/$dump.dmp $CORPUS/$folder"
		stat -c '%s %n' "$OUT/w.salvage" "$OUT/w.peer"
	done
}
