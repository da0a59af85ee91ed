"""Smoke."""
from ansible_collections.everup.deploy.plugins.modules import contract_evidence_info, usage_snapshot
from ansible_collections.everup.deploy.plugins.module_utils._evidence.run import evidence_info, usage_snapshot as snap
from ansible_collections.everup.deploy.tests.support.databases import _params


def test_smoke(db):
    db.write("0001_a.sql", "CREATE TABLE t (id int, a int, b int); CREATE TABLE u (id int);")
    db.write("0001_a.sql", "ALTER TABLE t DROP COLUMN a; DROP TABLE u;", "contract")
    db.execute("CREATE TABLE x(id int)")
    t = db.release("open")["token"]
    db.release("advance", to="expanding", token=t)
    db.migrate()
    for to in ("expanded", "rolling"):
        db.release("advance", to=to, token=t)
    db.record("web1", "ready", t, version_before="1", version_after="2.4.0")
    db.release("advance", to="rolled", token=t, hosts=["web1"])
    db.execute("CREATE VIEW v AS SELECT a FROM t")
    opts = {**db.options, "path": str(db.folder), "version": "2.4.0", "run": "1", "hosts": ["web1"], "answers": [{"host": "web1", "version": "2.4.0", "run": "1"}], "soak": "0s", "gates": ["hosts","members","sessions","references","usage","soak","backfills","assertions"]}
    r = evidence_info(_params(contract_evidence_info, opts))
    print("\n".join(r["lines"]))
    db.execute("DROP VIEW v")
    s = snap(_params(usage_snapshot, {**db.options, "path": str(db.folder)}), False)
    print(s)
    r = evidence_info(_params(contract_evidence_info, opts))
    print("\n".join(r["lines"]))
