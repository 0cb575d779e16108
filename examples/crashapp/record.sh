#!/bin/sh
# Rebuilds the crashes and symbols that `salvage serve --demo` submits: cmd/salvage/demo.
# Needs g++, objcopy, util-linux and Debian's chromium, whose Crashpad handler writes the dumps.
# What the program is started with is in the dumps, so it runs in a folder that says nothing, without
# environment.
set -eu
src=$(cd "$(dirname "$0")" && pwd)
out=$src/../../cmd/salvage/demo
dir=/tmp/salvage-demo
rm -rf "$dir"
mkdir -p "$dir" "$out"
rm -f "$out"/*.gz
cd "$dir"
g++ -O2 -g -std=c++17 -pthread -ffile-prefix-map="$src"=crashapp -fdebug-prefix-map="$dir"=. -o crashapp "$src"/*.cpp
objcopy --only-keep-debug --compress-debug-sections=zlib crashapp crashapp.debug
objcopy --strip-all crashapp
gzip -9nc crashapp >"$out/crashapp.gz"
gzip -9nc crashapp.debug >"$out/crashapp.debug.gz"
for mode in inline thread overflow abort pure handler; do
	rm -rf db
	mkdir -p db/new db/pending db/completed db/attachments
	env -i prlimit --stack=1048576 ./crashapp $mode --handler=/usr/lib/chromium/chrome_crashpad_handler --database=db --url=http://127.0.0.1:9/ || true
	while ! ls db/*/*.dmp >/dev/null 2>&1; do sleep 0.1; done
	# What a kernel is named after its version says where this ran: blanks of the same length.
	perl -0777 -pe 'BEGIN { $r = qx(uname -r); $r =~ s/^[0-9.]+|\s//g; $b = " " x length($r); s/(.)/$1\0/g for $r, $b } s/\Q$r\E/$b/g if length $r' db/*/*.dmp |
		gzip -9n >"$out/$mode.dmp.gz"
done
rm -rf "$dir"
ls -l "$out"
