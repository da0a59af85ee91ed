"""A table of a million rows, and a column of it, come back in one call, in seconds and byte by byte."""

import os
import time

import pytest
from ansible_collections.everup.deploy.tests.support.trash import contract

ROWS = 50_000 if os.environ.get("EVERUP_TESTS") == "short" else 1_000_000
TEXT = {
    "postgresql": "md5(n::text), n % 1000",
    "mariadb": "md5(seq), seq % 1000",
    "sqlite": "hex(n * 7919) || 'abcdefghijklmnop', n % 1000",
}
FILL = {
    "postgresql": "INSERT INTO big SELECT n, {0}, 1 FROM generate_series(1, {1}) n",
    "mariadb": "INSERT INTO big SELECT seq, {0}, 1 FROM seq_1_to_{1}",
    "sqlite": (
        "INSERT INTO big SELECT n, {0}, 1 FROM (WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {1})"
        " SELECT n FROM s)"
    ),
}
SUM = {
    "postgresql": "SELECT count(*), sum(hashtext(id || words || small || parent)::bigint)::text FROM big",
    "mariadb": "SELECT count(*), sum(crc32(concat(id, words, small, parent))) FROM big",
    "sqlite": "SELECT count(*), sum(id * length(words) + small * 31 + parent), max(words), min(words) FROM big",
}
LONGEST = 5.0  # seconds, as is promised; on this machine it is a small part of that


@pytest.mark.parametrize("db", ["postgresql", "mariadb", "sqlite"], indirect=True)
def test_a_million_rows_come_back(db):
    key = "" if db.engine == "sqlite" else ", FOREIGN KEY (parent) REFERENCES parents (id)"
    db.write(
        "1_big.sql",
        "CREATE TABLE parents (id int PRIMARY KEY);\nINSERT INTO parents VALUES (1);\n"
        f"CREATE TABLE big (id int PRIMARY KEY, words varchar(60), small int, parent int{key});\n"
        "CREATE INDEX big_small ON big (small)",
    )
    db.migrate()
    db.execute(FILL[db.engine].format(TEXT[db.engine], ROWS))
    held = db.query(SUM[db.engine])
    assert held[0][0] == ROWS

    for version, drop, wanted in ((1, "DROP TABLE big", "big"), (2, "ALTER TABLE big DROP COLUMN words", "big.words")):
        contract(db, drop, version=version)
        began = time.monotonic()
        result = db.trash("restore", wanted)
        seconds = time.monotonic() - began
        assert not [warning for warning in result["warnings"] if "put back" in warning]
        assert seconds < LONGEST
        assert db.query(SUM[db.engine]) == held
