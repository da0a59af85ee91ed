"""nginx's configuration files: what is a member in them, and what a state looks like."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._lb.nginx_conf import first_argument, upstreams
from hypothesis import given
from hypothesis import strategies as st

TEXT = """\
# upstream nobody { server 192.0.2.1:1; }
upstream shop {
    zone shop 64k;
    server 192.0.2.11:8080 weight=3 max_fails=0; # web1
    server 192.0.2.12 down; # web2 [everup: drain]
    server 192.0.2.13:8080 down; # the old machine
    server 192.0.2.14:8080 down; # web4 [everup: ready pending] of the attic
    server "unix:/run/a;b.sock";
}
server {
    location / { proxy_pass http://shop; set $a "upstream no { server 192.0.2.1:1; }"; }
}
upstream 'api' { server [2001:db8::1]:8080; server api.example.com:81 down; }
"""


def test_what_is_a_member_and_what_is_not():
    found = {
        pool: [(server.name, server.address, server.weight, server.state) for server in servers]
        for pool, servers in upstreams(TEXT).items()
    }
    assert found == {
        "shop": [
            ("web1", "192.0.2.11:8080", 3, "ready"),
            ("web2", "192.0.2.12:80", 1, "drain"),
            ("192.0.2.13:8080", "192.0.2.13:8080", 1, "maint"),
            ("web4", "192.0.2.14:8080", 1, "changing"),
            ("unix:/run/a;b.sock", "unix:/run/a;b.sock", 1, "ready"),
        ],
        "api": [
            ("[2001:db8::1]:8080", "[2001:db8::1]:8080", 1, "ready"),
            ("api.example.com:81", "api.example.com:81", 1, "maint"),
        ],
    }


@pytest.mark.parametrize(
    ("line", "state", "pending", "expected"),
    [
        ("server a:1;", "drain", True, "server a:1 down; # [everup: drain pending]"),
        ("server a:1 weight=2; # web1", "maint", False, "server a:1 weight=2 down; # web1 [everup: maint]"),
        ("server a:1 down; # web1 [everup: maint]", "ready", True, "server a:1; # web1 [everup: ready pending]"),
        ("server a:1; # web1 [everup: ready pending]", "ready", False, "server a:1; # web1"),
        ("server a:1 down backup; # in the attic", "ready", False, "server a:1 backup; # in the attic"),
        ("server a:1; # in the attic", "drain", False, "server a:1 down; # [everup: drain] in the attic"),
        ("server a:1 down; # x [everup: drain] in the attic", "ready", False, "server a:1; # x [everup: ready] in the attic"),
        ("server 'a:1'\n  down;", "ready", False, "server 'a:1';"),
    ],
)
def test_how_a_state_is_written(line, state, pending, expected):
    (server,) = upstreams(f"upstream u {{ {line}\n}}")["u"]
    assert server.written(state, pending) == expected


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("pid /x/nginx.pid;", "/x/nginx.pid"),
        ('pid "/x/nginx.pid";', "/x/nginx.pid"),
        ("worker_processes 1; pid\n'/x/nginx.pid' ;", "/x/nginx.pid"),
        ("# pid /no;\nevents { pid /no; }\npid /x/nginx.pid; pid /no;", "/x/nginx.pid"),
        ("events { } error_log pid; ", ""),
    ],
)
def test_where_a_directive_stands_does_not_matter(text, path):
    assert first_argument(text, "pid") == path


@pytest.mark.parametrize(
    ("block", "obstacles"),
    [
        ("server a:1; server b:1; # web2\n", ["'server b:1; # web2' stands behind", ""]),
        ("server a:1; }\n", ["'}' stands behind"]),
        ("server a:1; } # end\n", ["'} # end' stands behind"]),
        ("server a:1; keepalive 4;\n", ["'keepalive 4;' stands behind"]),
        ("server a:1 # the big one\n weight=2; # web1\n", ["a comment stands inside"]),
        ("server a:1\n weight=2; # web1\n", [""]),
        ("server 'a#1:1';# web1\r\n", [""]),
        ("zone shop 64k; server a:1;   \n", [""]),
        ("server a:1;\n", [""]),
    ],
)
def test_what_a_state_behind_a_line_would_hide_is_an_obstacle(block, obstacles):
    found = upstreams(f"upstream u {{ {block}}}")["u"]
    assert [server.obstacle[: len(said)] for server, said in zip(found, obstacles)] == obstacles
    assert [bool(server.obstacle) for server in found] == [bool(said) for said in obstacles]


@given(
    st.sampled_from(["", " down", " weight=5", " backup down"]),
    st.sampled_from(["", " # web1", "  # two words", " # web1 [everup: drain] of the attic", " #", "\r"]),
    st.lists(st.tuples(st.sampled_from(["ready", "drain", "maint"]), st.booleans()), min_size=1, max_size=4),
)
def test_what_is_written_is_read_again_and_the_rest_stays(words, comment, steps):
    """However often a state is written: it is the one that is read, and the member keeps its name and its comment."""
    head, tail = "upstream u {\n  server a:1", "\n  server b:1;\n}\n"
    text = f"{head}{words};{comment}{tail}"
    first, other = upstreams(text)["u"]
    for state, pending in steps:
        server, _other = upstreams(text)["u"]
        text = text[: server.start] + server.written(state, pending) + text[server.end :]
        (found, beside) = upstreams(text)["u"]
        assert (found.name, found.address, found.weight, found.rest) == (first.name, first.address, first.weight, first.rest)
        assert (found.pending, found.down) == (pending, state != "ready")
        assert found.state == ("changing" if pending else state)
        assert (beside.name, beside.state) == (other.name, other.state)
    assert text.endswith(tail)
