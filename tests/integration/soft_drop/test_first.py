

def test_first(db):
    db.write("1_a.sql", "CREATE TABLE orders (id int primary key, a int, b varchar(20));\nCREATE TABLE items (id int, c int)")
    db.migrate()
    db.execute("INSERT INTO orders VALUES (1, 2, 'x')")
    db.write("1_a.sql", "ALTER TABLE orders DROP COLUMN b;\nDROP TABLE items", phase="contract")
    print(db.migrate(phase="contract", check=True))
    result = db.migrate(phase="contract", release_version="2.4.0")
    print(result)
    print(db.query("SELECT object, kept_as, state, manifest FROM everup_trash"), db.tables())
    assert len(result["kept"]) == 2, result["warnings"]
