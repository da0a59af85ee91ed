"""What a script of many megabytes costs in memory, as a multiple of its size, for every engine."""

import tracemalloc

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.connection import ENGINES, engine_class
from ansible_collections.everup.deploy.plugins.module_utils._db.script import load_script

SIZE = 100_000
ROW = "({0}, 'it''s a row; with -- things', NULL)"
INSERT = "INSERT INTO customers (id, name, email) VALUES "


def many(engine):
    """Write one statement a row, in batches of a hundred for SQL Server."""
    rows = []
    for number in range(SIZE // 90):
        rows.append(INSERT + ROW.format(number) + ";\n")
        if engine_class(engine).lexis.batches and number % 100 == 99:
            rows.append("GO\n")
    return "".join(rows)


def one(_engine):
    """Write one statement with every row."""
    return INSERT + ",\n".join(ROW.format(number) for number in range(SIZE // 45))


# Measured: statements of a line each take 6.1 times the file at the peak and 4.1 kept, an object for each; one large statement
# takes 3.7 and 2.0: its text is there once in the file's text and once as a statement.
@pytest.mark.parametrize(("shape", "peak_times", "kept_times"), [(many, 8, 5.5), (one, 5, 2.5)])
@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_memory_is_a_small_multiple_of_the_file(tmp_path, engine, shape, peak_times, kept_times):
    path = tmp_path / "1_data.sql"
    path.write_text("-- everup: lock_timeout=5s\nSELECT 1")
    load_script(path, "expand/1_data.sql", engine_class(engine).lexis, {})  # whatever is made once is made now
    path.write_text("-- everup: lock_timeout=5s\n" + shape(engine))
    size = path.stat().st_size
    tracemalloc.start()
    script = load_script(path, "expand/1_data.sql", engine_class(engine).lexis, {"unused": 1})
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert script.directives.lock_timeout == 5
    assert len(script.statements) == (
        1 if shape is one else pytest.approx(size / 90 / (100 if engine == "sqlserver" else 1), rel=0.2)
    )
    assert peak < peak_times * size, peak / size
    assert kept < kept_times * size, kept / size
