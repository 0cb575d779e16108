#!/bin/sh
# Rebuilds rust.txt: the names that rustc gives what is in rust.rs by both schemes, and after a tab what the crate
# rustc-demangle 0.1.28 makes of them without hashes. Needs cargo.
set -e
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for scheme in v0 legacy; do
	RUSTC_BOOTSTRAP=1 rustc --edition 2021 --crate-name a -Z unstable-options -C symbol-mangling-version=$scheme --emit=obj -A warnings -o "$tmp/$scheme.o" rust.rs
done
nm "$tmp"/*.o | awk '{print $NF}' | grep '^_R\|^_ZN' | LC_ALL=C sort -u >"$tmp/names"
mkdir -p "$tmp/oracle/src"
printf '[package]\nname = "oracle"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nrustc-demangle = "=0.1.28"\n' >"$tmp/oracle/Cargo.toml"
cat >"$tmp/oracle/src/main.rs" <<'RS'
fn main() {
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        println!("{}\t{:#}", line, rustc_demangle::demangle(&line));
    }
}
RS
(cd "$tmp/oracle" && cargo build -q --release)
"$tmp/oracle/target/release/oracle" <"$tmp/names" >rust.txt
