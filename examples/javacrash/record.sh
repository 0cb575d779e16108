#!/bin/sh
# Rebuilds testdata: what the program in src reports when it fails, as it is and shrunk by R8, R8's mapping,
# and what R8's retrace tool makes of the shrunk reports. Needs a JDK 17, Maven (for R8) and Go.
# With "wide" it also shrinks Kotlin's libraries, for the JVM and for Android, and compares our retracing with
# R8's over all that the three mappings say: some 500,000 short traces, in a few minutes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
maven=${MAVEN_REPOSITORY:-$HOME/.m2/repository}
fetch() { mvn -q dependency:get -Dmaven.repo.local="$maven" -Dartifact="$1"; }
fetch com.android.tools:r8:8.5.35
r8=$maven/com/android/tools/r8/8.5.35/r8-8.5.35.jar
jdk=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
shrink() { java -Xmx3g -cp "$r8" com.android.tools.r8.R8 --release --lib "$jdk" "$@" 2>"$work/log" || { cat "$work/log"; exit 1; }; }
# An archive as txtar has it, of the files in a folder.
archive() { (cd "$1" && for f in *; do echo "-- $f --"; cat "$f"; done); }

cd "$work"
javac -g -d classes "$here"/src/javacrash/*.java
(cd classes && jar cf ../app.jar .)
shrink --classfile --pg-conf "$here/rules.pro" --pg-map-output mapping.txt --output shrunk.jar app.jar
for jar in app shrunk; do
	java -Xmx64m -XX:MaxJavaStackTraceDepth=60 -cp $jar.jar javacrash.Main $jar
done
mkdir retraced
for f in shrunk/*.txt; do
	java -cp "$r8" com.android.tools.r8.retrace.Retrace --quiet mapping.txt "$f" >"retraced/$(basename "$f")"
done
mkdir -p "$here/testdata"
archive app >"$here/testdata/plain.txtar"
archive shrunk >"$here/testdata/shrunk.txtar"
archive retraced >"$here/testdata/retraced.txtar"
cp mapping.txt "$here/testdata/mapping.txt"

mappings=
if [ "${1-}" = wide ]; then
	fetch org.jetbrains.kotlinx:kotlinx-coroutines-core-jvm:1.8.1
	kotlin="$maven/org/jetbrains/kotlin/kotlin-stdlib/1.9.21/kotlin-stdlib-1.9.21.jar $maven/org/jetbrains/kotlinx/kotlinx-coroutines-core-jvm/1.8.1/kotlinx-coroutines-core-jvm-1.8.1.jar"
	shrink --classfile --pg-conf "$here/wide.pro" --pg-map-output jvm.txt --output jvm.jar $kotlin
	shrink --min-api 21 --pg-conf "$here/wide.pro" --pg-map-output android.txt --output android.zip $kotlin
	mappings=$work/jvm.txt:$work/android.txt
fi
cd "$here/../../debug/proguard"
R8_JAR=$r8 R8_MAPPINGS=$mappings go test -count=1 -run 'TestR8$' -v . -update
