"""That no secret is left in what leaves the process."""

import json
import urllib.parse

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._db.connection import CONNECTION_SPEC
from ansible_collections.everup.deploy.plugins.module_utils._redact import MASK, odbc_quote, redact, secrets_of

PASSWORDS = ["hunter2", "a}b", "p;q=1", "it's", "50%7D", "back\\slash", 'quo"te', "ünïcode", "spa ce", "a+b{c}"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_every_form_of_a_password_is_found(password):
    secrets = secrets_of({"login_password": password}, CONNECTION_SPEC)
    forms = [password, odbc_quote(password), json.dumps(password), repr(password), urllib.parse.quote(password, safe="")]
    for form in [*forms, f"PWD='{password.replace(chr(39), chr(39) * 2)}'"]:
        assert password not in redact(f"x {form} y", secrets)
        assert MASK in redact(f"x {form} y", secrets)
        assert form.strip("'\"{}") not in redact(f"x {form} y", secrets)


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("key", ["PWD", "Password", " pwd ", "AccessToken"])
def test_passwords_in_a_connection_string(key, password):
    text = f"DRIVER={{x}};SERVER=db;{key}={odbc_quote(password)};UID=owner"
    secrets = secrets_of({"connection_string": text}, CONNECTION_SPEC)
    assert redact(f"[{password}]", secrets) == f"[{MASK}]"
    assert redact(f"[{text}]", secrets) == f"[{MASK}]"
    assert redact("db owner", secrets) == "db owner"


def test_passwords_without_braces():
    secrets = secrets_of({"connection_string": "PWD= hunter%32 ;UID=x"}, CONNECTION_SPEC)
    assert redact("hunter%32 hunter2", secrets) == f"{MASK} {MASK}"


def test_passwords_among_libpq_options():
    text = r"DSN=x;pqopt={sslmode=require password='hun\'ter2' application_name=me sslpassword=keyword}"
    secrets = secrets_of({"connection_string": text}, CONNECTION_SPEC)
    assert redact("hun'ter2 keyword me", secrets) == f"{MASK} {MASK} me"


def test_the_longest_secret_goes_first():
    assert redact("hunter22", {"hunter2", "hunter22"}) == MASK


def test_nested():
    value = {"a": ["x hunter2", ("hunter2", 3)], "hunter2": {"b": None, "c": True}}
    assert redact(value, {"hunter2"}) == {"a": [f"x {MASK}", [MASK, 3]], MASK: {"b": None, "c": True}}


def test_only_secret_options_count():
    params = {"login_user": "owner", "login_password": "", "connection_string": None, "headers": {"a": {"b": ["deep"]}}}
    spec = {**CONNECTION_SPEC, "headers": {"type": "dict", "no_log": True}}
    assert secrets_of(params, spec) == {"deep"}
