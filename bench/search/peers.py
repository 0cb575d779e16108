"""Asks DuckDB and ClickHouse (chdb) what `search run` asks Salvage: peers.py FOLDER CSV N.

Both are in this process and hold the crashes in their own form on disk, sorted by time of submission.
"""
import sys, time

folder, source, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
end = 1793491200000  # 2026-11-01
start = end - 28 * 86400000
questions = {"all": "", "product": " AND product = 'Product1'", "contains": " AND signature LIKE '%Type77%'"}
facets = ["signature", "version", "platform"]


def statements(day, more):
    where = f"FROM crashes WHERE submitted >= {start} AND submitted < {end}{more}"
    yield f"SELECT count(*) {where}"
    yield f"SELECT id, submitted {where} ORDER BY submitted DESC LIMIT 50"
    for f in facets:
        yield f"SELECT {f}, count(*) c {where} GROUP BY {f} ORDER BY c DESC, {f} LIMIT 50"
    yield f"SELECT {day} d, count(*) {where} GROUP BY d ORDER BY d"


def measure(peer, ask, day):
    for name, more in questions.items():
        times = []
        for _ in range(n):
            began = time.perf_counter()
            total, _, top, _, _, days = [ask(s) for s in statements(day, more)]
            times.append((time.perf_counter() - began) * 1e3)
        times.sort()
        print(f"{peer} {name} p50_ms={times[n // 2]:.1f} p95_ms={times[n * 95 // 100]:.1f} total={total[0][0]} signature={top[0][0]!r} count={top[0][1]} days={len(days)}")


def duck():
    import duckdb

    db = duckdb.connect(folder + "/duck.db")
    db.execute(f"CREATE TABLE crashes AS SELECT * FROM read_csv('{source}')")
    measure("duckdb", lambda s: db.execute(s).fetchall(), "submitted // 86400000")


def clickhouse():
    import json
    from chdb import session

    db = session.Session(folder + "/chdb")
    db.query("CREATE DATABASE IF NOT EXISTS b")
    db.query("USE b")
    text = "LowCardinality(String)"
    db.query(f"CREATE TABLE crashes (id String, submitted Int64, signature {text}, product {text}, version {text}, platform {text}, reason {text}, cpu_arch {text}) ENGINE = MergeTree ORDER BY submitted")
    db.query(f"INSERT INTO crashes SELECT * FROM file('{source}', CSVWithNames)")
    db.query("OPTIMIZE TABLE crashes FINAL")
    measure("clickhouse", lambda s: json.loads(str(db.query(s, "JSONCompact")))["data"], "intDiv(submitted, 86400000)")


duck()
clickhouse()
