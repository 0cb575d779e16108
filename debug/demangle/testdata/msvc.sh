#!/bin/sh
# Rebuilds msvc.txt: the names that clang 14 gives what is in msvc.cpp, for 64 and 32 bits, C++14 and 20, and
# after a tab what symbolic-demangle 13.9.0 makes of them: that crate names public symbols in dump_syms. Needs cargo.
set -e
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for cpu in x86_64 i686; do
	for std in 14 20; do
		clang-14 --target=$cpu-pc-windows-msvc -std=c++$std -fms-extensions -fexceptions -fcxx-exceptions -w -c msvc.cpp -o "$tmp/$cpu-$std.o"
	done
done
llvm-nm-14 "$tmp"/*.o | grep -oE ' \?.*' | cut -c2- | LC_ALL=C sort -u >"$tmp/names"
mkdir -p "$tmp/oracle/src"
cat >"$tmp/oracle/Cargo.toml" <<'TOML'
[package]
name = "oracle"
version = "0.1.0"
edition = "2021"
[dependencies]
symbolic-demangle = "=13.9.0"
symbolic-common = "13"
TOML
cat >"$tmp/oracle/src/main.rs" <<'RS'
use symbolic_common::{Language, Name, NameMangling};
use symbolic_demangle::{Demangle, DemangleOptions};
fn main() {
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let name = Name::new(line.as_str(), NameMangling::Mangled, Language::Unknown);
        let text = name.demangle(DemangleOptions::complete().return_type(false));
        println!("{}\t{}", line, text.unwrap_or(line.clone()));
    }
}
RS
(cd "$tmp/oracle" && cargo build -q --release)
"$tmp/oracle/target/release/oracle" <"$tmp/names" >msvc.txt
