"""health_check against real servers, the module on its own and through Ansible with its action plugin."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.everup.deploy.tests.support.adhoc import run_task
from ansible_collections.everup.deploy.tests.support.modules import run_module

MODULE = "everup.deploy.health_check"
OK = json.dumps({"status": "ok", "version": "2.4.0"})
OLD = json.dumps({"status": "ok", "version": "2.3.0"})


class Server:
    """A web server whose answers, as (status, body), are given by the number of the request."""

    def __init__(self, answer):
        self.seen = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.seen.append(dict(self.headers))
                status, body = answer(len(outer.seen))
                data = body.encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/login")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/healthz"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def serve():
    servers = []

    def start(answer):
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


@pytest.fixture
def silent_port():
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield listener.getsockname()[1]


def quick(url, **options):
    return {"url": url, "interval": 0.02, "timeout": 10, **options}


def test_enough_good_responses_in_a_row_end_the_wait(serve):
    server = serve(lambda number: (200 if number not in (1, 3) else 503, "x"))
    result = run_module(MODULE, quick(server.url))
    assert not result["failed"]
    assert not result["changed"]
    assert (result["status"], result["body"], result["polls"]) == (200, "x", 6)


def test_a_time_out_says_what_was_waited_for_and_what_was_seen_last(serve):
    server = serve(lambda number: (503, "warming up " + "z" * 5000))
    result = run_module(MODULE, quick(server.url, timeout=2, condition="status == 'ok'"))
    assert result["failed"]
    for text in (server.url, "within 2 s", "status 200 and status == 'ok', 3 times in a row", "503", "warming up"):
        assert text in result["msg"]
    assert len(result["msg"]) < 1500
    assert result["status"] == 503


def test_a_refused_connection_is_waited_out_and_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = run_module(MODULE, quick(f"http://127.0.0.1:{port}/", timeout=2))
    assert result["failed"]
    assert "refused" in result["msg"]
    assert result["polls"] > 2


@pytest.mark.parametrize("condition", [None, "status == 'ok'"])
def test_a_server_that_never_answers_cannot_hold_the_wait_up(silent_port, condition):
    start = time.monotonic()
    args = quick(f"http://127.0.0.1:{silent_port}/", timeout=1, request_timeout=0.3, condition=condition)
    result = run_module(MODULE, args)
    assert result["failed"]
    assert "0.3 s" in result["msg"]
    assert time.monotonic() - start < 30


def test_a_server_that_drips_cannot_hold_the_wait_up():
    """Every read of the socket is in time, the whole is not."""

    def drip(listener):
        while True:
            try:
                peer, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=feed, args=(peer,), daemon=True).start()

    def feed(peer):
        try:
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                peer.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            return

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        start = time.monotonic()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        result = run_module(MODULE, quick(url, timeout=1, request_timeout=0.4))
    assert result["failed"]
    assert time.monotonic() - start < 30


def test_a_body_cut_off_is_not_good():
    def cut(listener):
        while True:
            try:
                peer, _address = listener.accept()
            except OSError:
                return
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            peer.close()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        threading.Thread(target=cut, args=(listener,), daemon=True).start()
        result = run_module(MODULE, quick(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.4))
    assert result["failed"]
    assert "closed within the body" in result["msg"]


def test_a_redirect_is_a_status_of_its_own(serve):
    server = serve(lambda number: (302, ""))
    assert "302" in run_module(MODULE, quick(server.url, timeout=1.5))["msg"]
    assert run_module(MODULE, quick(server.url, status=[302]))["status"] == 302


def test_headers_are_sent_and_secret_ones_are_seen_nowhere(serve):
    server = serve(lambda number: (500, "you sent Bearer hunter2secret"))
    args = quick(
        server.url, timeout=1.5, headers={"Host": "shop.example.com"}, secret_headers={"Authorization": "Bearer hunter2secret"}
    )
    result = run_module(MODULE, args)
    assert server.seen[0]["Host"] == "shop.example.com"
    assert server.seen[0]["Authorization"] == "Bearer hunter2secret"
    assert "hunter2secret" not in json.dumps(result)


def test_a_password_in_the_address_is_not_in_the_error():
    result = run_module(MODULE, quick("http://me:hunter2secret@127.0.0.1:1/", timeout=0.2))
    assert "hunter2secret" not in result["msg"]
    assert "http://127.0.0.1:1/" in result["msg"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"timeout": 0}, "timeout"),
        ({"interval": -1}, "interval"),
        ({"consecutive": 0}, "consecutive"),
        ({"status": []}, "status"),
        ({"consecutive": 10, "interval": 5}, "timeout is 10 s"),
        ({"url": "ftp://host/"}, "ftp://host/"),
    ],
)
def test_options_that_can_never_succeed_are_refused_at_once(options, named):
    result = run_module(MODULE, {**quick("http://127.0.0.1:1/"), **options})
    assert result["failed"]
    assert named in result["msg"]


def test_a_slow_application_is_not_healthy(serve):
    def answer(number):
        time.sleep(0.8 if number < 3 else 0)
        return 200, "x"

    result = run_module(MODULE, quick(serve(answer).url, max_latency=0.5))
    assert not result["failed"]
    assert result["polls"] == 5
    assert result["latency"] < 0.5


def test_a_port_that_takes_connections_is_good(silent_port):
    result = run_module(MODULE, {"tcp": f"127.0.0.1:{silent_port}", "interval": 0.02, "timeout": 5})
    assert not result["failed"]
    assert result["polls"] == 3
    result = run_module(MODULE, {"tcp": "127.0.0.1:1", "interval": 0.02, "timeout": 0.2})
    assert "The last connection failed" in result["msg"]
    assert "refused" in result["msg"]


def test_a_command_is_good_once_it_ends_with_0(tmp_path):
    words = ["sh", "-c", 'echo "$0"; echo x >> "$0"; test $(wc -l < "$0") -ge 3', str(tmp_path / "runs")]
    result = run_module(MODULE, {"command": words, "interval": 0.02, "timeout": 10, "consecutive": 1})
    assert not result["failed"]
    assert (result["rc"], result["polls"]) == (0, 3)
    assert "runs" in result["body"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["sh", "-c", "echo why; exit 3"], "exit code 3, and its output was: why"),
        (["/nowhere/program"], "No such file"),
        (["sh", "-c", "sleep 60 & wait"], "no end within 0.3 s, so it was killed"),
    ],
)
def test_a_command_that_never_is_says_why(words, named):
    start = time.monotonic()
    result = run_module(MODULE, {"command": words, "interval": 0.2, "timeout": 1, "request_timeout": 0.3, "consecutive": 1})
    assert result["failed"]
    assert named in result["msg"]
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("options", [{}, {"url": "http://127.0.0.1:1/", "tcp": "127.0.0.1:1"}])
def test_exactly_one_thing_is_looked_at(options):
    result = run_module(MODULE, options)
    assert result["failed"]
    assert "url" in result["msg"] and "tcp" in result["msg"]


def test_an_application_is_warmed_up_once_it_is_healthy(serve):
    server = serve(lambda number: (200 if number != 5 else 500, "x"))
    other = serve(lambda number: (404, ""))
    args = quick(server.url, warm_up=["/", "/catalog", other.url], warm_up_count=2, secret_headers={"X-Key": "hunter2secret"})
    result = run_module(MODULE, args)
    assert not result["failed"]
    assert result["polls"] == 3
    assert (result["warm_up"]["requests"], result["warm_up"]["errors"], result["warm_up"]["skipped"]) == (6, 3, 0)
    assert other.url in result["warm_up"]["last_error"]
    assert "3 of 6 warm-up requests failed" in str(result["warnings"])
    assert len(server.seen) == 3 + 4
    assert all(seen["X-Key"] == "hunter2secret" for seen in server.seen)
    assert not any("X-Key" in seen for seen in other.seen)


@pytest.fixture
def ansible(tmp_path):
    """Run the task through Ansible and return its result and return code."""

    def run(args, *flags, env=None):
        done = run_task(tmp_path, "health_check", args, *flags, env=env)
        assert done.result, done.output
        return done.result, done.code

    return run


def test_the_condition_is_judged_on_the_control_node_in_one_round_trip(serve, ansible):
    server = serve(lambda number: (200, OK))
    result, code = ansible(quick(server.url, condition="status == 'ok' && version == '2.4.0'"))
    assert code == 0
    assert result["changed"] is False
    assert result["polls"] == 3
    assert not [key for key in result if key.startswith("_")]


def test_the_version_must_be_the_one_that_is_asked_for(serve, ansible):
    bodies = [OLD, OLD, OK, OK, OK]
    server = serve(lambda number: (200, bodies[min(number, len(bodies)) - 1]))
    result, code = ansible(quick(server.url, version="2.4.0", condition="status == 'ok'", warm_up=["/catalog"]))
    assert code == 0
    assert (result["version"], result["polls"]) == ("2.4.0", len(bodies))
    assert result["warm_up"]["requests"] == 1
    assert len(server.seen) == len(bodies) + 1
    assert not [key for key in result if key.startswith("_")]


def test_a_version_that_stays_the_old_one_is_named(serve, ansible):
    server = serve(lambda number: (200, json.dumps({"build": {"version": 7}})))
    result, code = ansible(quick(server.url, version="8", version_path="build.version", timeout=6, warm_up=["/"]))
    assert code != 0
    assert "status 200 and 8 at build.version" in result["msg"]
    assert "the version is 7" in result["msg"]
    assert "warm_up" not in result


def test_a_condition_that_becomes_true_is_waited_for_in_full_streaks(serve, ansible):
    bodies = [OLD, OLD, OK, OLD, OK, OK, OK]
    server = serve(lambda number: (200, bodies[min(number, len(bodies)) - 1]))
    result, code = ansible(quick(server.url, condition="version == '2.4.0'"))
    assert code == 0
    assert result["polls"] == len(bodies)


def test_a_condition_that_stays_false_ends_in_time_and_shows_the_body(serve, ansible):
    server = serve(lambda number: (200, OLD))
    result, code = ansible(quick(server.url, condition="version == '2.4.0'", timeout=8))
    assert code != 0
    for text in (server.url, "version == '2.4.0'", "8 s", "2.3.0", "the condition is false"):
        assert text in result["msg"]
    assert len(server.seen) > 3, "the host went on asking once the condition was known to be false"


def test_a_body_that_is_no_json_ends_in_time_and_is_shown(serve, ansible):
    server = serve(lambda number: (200, "<html>splash</html>"))
    result, code = ansible(quick(server.url, condition="status == 'ok'", timeout=8))
    assert code != 0
    assert "no JSON" in result["msg"]
    assert "<html>splash</html>" in result["msg"]


def test_bodies_that_always_differ_are_judged_until_the_time_is_up(serve, ansible):
    server = serve(lambda number: (200, json.dumps({"version": "2.4.0" if number > 7 else "2.3.0", "n": number})))
    result, code = ansible(quick(server.url, condition="version == '2.4.0'", timeout=30))
    assert code == 0
    assert 10 <= result["polls"] <= 12


@pytest.mark.parametrize(
    "condition", ["status ==", "nosuch(status)", pytest.param("length(status, status)", marks=pytest.mark.whole)]
)
def test_an_expression_that_is_none_fails_at_once(serve, condition, ansible):
    server = serve(lambda number: (200, OK))
    result, code = ansible(quick(server.url, condition=condition, timeout=60))
    assert code != 0
    assert condition in result["msg"]
    assert len(server.seen) <= 3


def test_check_mode_looks_for_real(serve, ansible):
    server = serve(lambda number: (200, OK))
    result, code = ansible(quick(server.url, condition="version == '2.4.0'"), "--check")
    assert code == 0
    assert result["polls"] == 3


def test_check_mode_warms_nothing_up(serve, ansible):
    server = serve(lambda number: (200, OK))
    for options in ({}, {"condition": "version == '2.4.0'"}):
        server.seen.clear()
        result, code = ansible(quick(server.url, warm_up=["/", "/catalog"], warm_up_count=2, **options), "--check")
        assert (code, result["polls"], len(server.seen)) == (0, 3, 3)
        assert (result["warm_up"]["requests"], result["warm_up"]["skipped"]) == (0, 4)
        assert not result.get("warnings")


def test_check_mode_runs_no_command_and_says_so(tmp_path):
    words = ["touch", str(tmp_path / "ran")]
    done = run_task(tmp_path, "health_check", {"command": words}, "--check")
    assert (done.code, "SKIPPED" in done.output) == (0, True), done.output
    result = run_module(MODULE, {"command": words}, check=True)
    assert (result["failed"], result["skipped"], result["changed"]) == (False, True, False)
    assert result["msg"] == f"The command '{' '.join(words)}' was not run, since this is check mode."
    assert not (tmp_path / "ran").exists()
    refused = run_module(MODULE, {"command": words, "interval": 0}, check=True)
    assert refused["failed"] and "interval is 0" in refused["msg"]


def test_check_mode_connects_for_real(silent_port):
    assert run_module(MODULE, {"tcp": f"127.0.0.1:{silent_port}", "interval": 0.02}, check=True)["polls"] == 3


def test_an_unreachable_host_is_unreachable(ansible):
    ssh = ["-c", "ssh", "-e", "ansible_host=127.0.0.1 ansible_port=1"]
    result, code = ansible(quick("http://127.0.0.1:1/", condition="status == 'ok'"), *ssh)
    assert code == 4
    assert result["unreachable"] is True


def test_a_control_node_without_jmespath_says_so(serve, tmp_path, ansible):
    (tmp_path / "jmespath.py").write_text("raise ImportError('not here')\n")
    result, code = ansible(quick("http://127.0.0.1:1/", condition="a"), env={"PYTHONPATH": str(tmp_path)})
    assert code != 0
    assert "jmespath" in result["msg"]
    assert "control node" in result["msg"]
