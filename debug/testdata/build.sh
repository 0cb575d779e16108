#!/usr/bin/env bash
# Builds the tiny-*.elf files from tiny.cpp: one for each version of DWARF and for both compilers.
# Made with GCC 12.2 and clang 14 of Debian 12.
set -eu
cd "$(dirname "$0")"
flags="-O2 -nostdlib -nostartfiles -static -ffreestanding -fno-asynchronous-unwind-tables -fno-stack-protector -fdebug-prefix-map=$PWD=/src -Wl,--build-id=sha1"
for v in 2 3 4 5; do
	g++ $flags -g -gdwarf-$v -gstrict-dwarf -o tiny-gcc-dwarf$v.elf tiny.cpp
done
for v in 4 5; do
	clang++ $flags -fuse-ld=lld -ffunction-sections -Wl,--gc-sections -g -gdwarf-$v -o tiny-clang-dwarf$v.elf tiny.cpp
done
# One section of code: range lists are relative to the unit's low_pc, which above is zero.
for v in 4 5; do
	clang++ $flags -Dcold=noinline -fuse-ld=lld -g -gdwarf-$v -o tiny-clang-dwarf$v-based.elf tiny.cpp
done
g++ $flags -m32 -g -gdwarf-5 -o tiny-gcc-x86.elf tiny.cpp
g++ $flags -fasynchronous-unwind-tables -g -gdwarf-5 -o tiny-gcc-unwind.elf tiny.cpp
