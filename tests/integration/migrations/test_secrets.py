"""No password is left in anything that a run shows, whichever way it ends."""

import json
import os
import socket
import subprocess
import sys
import urllib.parse
from contextlib import closing
from pathlib import Path

import pytest
from ansible.module_utils import basic
from ansible_collections.everup.deploy.plugins.module_utils._redact import odbc_quote
from ansible_collections.everup.deploy.plugins.modules import migration
from psycopg import sql

PASSWORDS = ["cur}ly{Brace}", "semi;PWD=Colon", "apos'tro''phe", "per%41cent%s+", 'qu"ote\\back', "plainSecret"]


def forms(password):
    return {
        password,
        password.replace("}", "}}"),
        password.replace("'", "''"),
        json.dumps(password)[1:-1],
        repr(password)[1:-1],
        urllib.parse.quote(password, safe=""),
        urllib.parse.unquote_plus(password),
    }


def assert_secret(text, password):
    # The output is JSON, once more escaped where it is shown inside another text.
    texts = [text, text.replace("\\\\", "\\"), text.replace('\\"', '"').replace("\\\\", "\\")]
    assert not [form for form in forms(password) for one in texts if form in one]


@pytest.fixture(scope="module")
def role(postgres_server):
    """Give a role a password."""

    with postgres_server.connect_admin() as admin:
        admin.execute("CREATE ROLE awkward LOGIN SUPERUSER")

    def give(password):
        with postgres_server.connect_admin() as admin:
            admin.execute(sql.SQL("ALTER ROLE awkward PASSWORD {}").format(sql.Literal(password)))

    yield give
    with postgres_server.connect_admin() as admin:
        admin.execute("ALTER ROLE awkward NOLOGIN")


def ways(db, password):
    """Options of the migration module by how the run ends."""
    server = db.server
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    common = {**db.options, "path": str(db.folder), "phase": "expand"}
    login = {**common, "login_user": "awkward", "login_password": password}
    text = f"DRIVER={{PostgreSQL Unicode}};SERVER={server.host};DATABASE={db.name};UID=awkward;SSLmode=disable"
    whole = {"engine": "postgresql", "path": str(db.folder), "phase": "expand"}
    good = f"{text};PORT={server.port};PWD={odbc_quote(password)}"
    return {
        "good": login,
        "good string": {**whole, "connection_string": good},
        "wrong user": {**login, "login_user": "shop"},
        "wrong user string": {**whole, "connection_string": good.replace("UID=awkward", "UID=shop")},
        "nobody there": {**login, "login_port": nobody},
        "nobody there string": {**whole, "connection_string": good.replace(f"PORT={server.port}", f"PORT={nobody}")},
        "no driver": {**login, "odbc_driver": "/nowhere/driver.so"},
        "no driver string": {**whole, "connection_string": good.replace("PostgreSQL Unicode", "nowhere")},
        "wrong engine": {**whole, "engine": "sqlite", "connection_string": good},
        "bad script": {**login, "path": str(db.folder / "bad")},
        "password in the script": {**login, "path": str(db.folder / "echo"), "placeholders": {"word": "unused"}},
    }


def prepare(db, password):
    db.write("1_a.sql", "CREATE TABLE IF NOT EXISTS a (b int)")
    for folder, text in (("bad", "nonsense"), ("echo", f"SELECT {sql.quote(password)}::int")):
        path = db.folder / folder / "expand/1_x.sql"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def run(monkeypatch, capfd):
    """Run the module's main() in this process and return everything that it writes."""

    def run(options, **controls):
        arguments = {**options, **{f"_ansible_{name}": value for name, value in controls.items()}}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            migration.main()
        captured = capfd.readouterr()
        return captured.out, captured.err

    return run


@pytest.mark.parametrize("password", PASSWORDS)
def test_the_modules_own_output(postgresql_database, role, run, password):
    db = postgresql_database
    role(password)
    prepare(db, password)
    for how, options in ways(db, password).items():
        out, err = run(options, diff=True, check_mode=how == "good string")
        assert json.loads(out).get("failed", False) is not how.startswith("good"), (how, out)
        assert_secret(out + err, password)
        if how.startswith("wrong user"):
            assert "password authentication failed" in out


@pytest.mark.parametrize("password", PASSWORDS)
def test_the_modules_own_output_on_mariadb(mariadb_database, run, password):
    db, server = mariadb_database, mariadb_database.server
    literal = password.replace("\\", "\\\\").replace("'", "\\'")
    with closing(server.connect_admin()) as admin:
        admin.execute(f"CREATE OR REPLACE USER awkward IDENTIFIED BY '{literal}'")
        admin.execute("GRANT ALL ON *.* TO awkward")
    prepare(db, password)
    (db.folder / "echo/expand/1_x.sql").write_text(f"SELECT x FROM nowhere WHERE a = '{literal}' AND", encoding="utf-8")
    common = {**db.options, "path": str(db.folder), "phase": "expand"}
    login = {**common, "login_user": "awkward", "login_password": password}
    text = f"DRIVER={{MariaDB Unicode}};SERVER={server.host};PORT={server.port};DATABASE={db.name};UID=awkward"
    text += f";PWD={odbc_quote(password)}"
    whole = {name: value for name, value in common.items() if not name.startswith("login_")}
    cases = {
        "good": login,
        "good string": {**whole, "connection_string": text},
        "wrong user": {**login, "login_user": "shop"},
        "wrong user string": {**whole, "connection_string": text.replace("UID=awkward", "UID=shop")},
        "no driver": {**login, "odbc_driver": "/nowhere/driver.so"},
        "wrong engine": {**whole, "engine": "mysql", "connection_string": text},
        "password in the script": {**login, "path": str(db.folder / "echo")},
    }
    for how, options in cases.items():
        out, err = run(options, diff=True)
        assert json.loads(out).get("failed", False) is not how.startswith("good"), (how, out)
        assert_secret(out + err, password)


def test_the_whole_output_of_ansible(postgresql_database, role, tmp_path):
    """With everything shown: -vvv, --diff, and a task that prints what it got back."""
    db = postgresql_database
    password = PASSWORDS[0]
    role(password)
    prepare(db, password)
    cases = {"good", "wrong user string", "password in the script"}
    variables = {how.replace(" ", "_"): options for how, options in ways(db, password).items() if how in cases}
    tasks = []
    for name in variables:
        tasks.append({"everup.deploy.migration": f"{{{{ {name} }}}}", "register": "result", "ignore_errors": True})
        tasks.append({"ansible.builtin.debug": {"var": "result"}})
    playbook, extra = tmp_path / "play.json", tmp_path / "vars.json"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    extra.write_text(json.dumps({**variables, "ansible_python_interpreter": sys.executable}))
    (tmp_path / "ansible.cfg").touch()
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible-playbook",
            *("-i", "localhost,", "-c", "local", "-vvv", "--diff", "-e", f"@{extra}", playbook),
        ],
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("TASK [everup.deploy.migration]") == len(variables) == 3
    assert "ok: [localhost]" in done.stdout and "...ignoring" in done.stdout
    assert_secret(done.stdout + done.stderr, password)
