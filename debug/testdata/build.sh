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
# For Windows: a PE with its PDB by clang and lld, a PE with DWARF by MinGW's GCC 12.
clang++ --target=x86_64-pc-windows-msvc -std=c++17 -O2 -g -gcodeview -ffreestanding -funwind-tables -fno-stack-protector -mno-stack-arg-probe -fno-exceptions -fno-rtti \
	-fdebug-compilation-dir=/src -fcoverage-compilation-dir=/src -c windows.cpp -o windows-clang.obj
lld-link /nodefaultlib /entry:start /subsystem:console /debug /Brepro /pdbaltpath:windows-clang.pdb /pdbsourcepath:/src \
	/pdb:windows-clang.pdb /out:windows-clang.exe windows-clang.obj
rm windows-clang.obj
x86_64-w64-mingw32-g++ -std=c++17 -O2 -g -nostdlib -ffreestanding -fno-exceptions -fno-rtti -fdebug-prefix-map=$PWD=/src \
	-Wl,-e,start -Wl,--no-insert-timestamp -Wl,--build-id -o windows-mingw.exe windows.cpp
