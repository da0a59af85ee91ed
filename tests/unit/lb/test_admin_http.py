# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One HTTP exchange with a balancer: certificates, users, and addresses that are none."""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError
from ansible_collections.everup.deploy.plugins.module_utils._lb.admin_http import AdminHttp


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        body = f"{self.command} {self.path} {self.headers.get('Authorization')} {said}".encode()
        self.send_response(200)
        self.send_header("X-Odd", "Seen")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - a name of http.server

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as running:
        running.handle_error = lambda *who: None
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def url(server):
    return f"http://127.0.0.1:{server.server_address[1]}/manager"


@pytest.fixture
def tls_url(server, tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", "-days", "1", *names, *made], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return f"https://127.0.0.1:{server.server_address[1]}/manager"


def test_an_exchange_says_what_was_said(url):
    answer = AdminHttp(url, 5).ask("POST", "/manager", "b=shop")
    assert (answer.status, answer.headers["x-odd"], answer.text) == (200, "Seen", "POST /manager None b=shop")


def test_user_and_password_go_with_every_request(url):
    word = AdminHttp(url, 5, username="deploy", password="p:ä").ask("GET", "/manager").text.split()[3]
    assert base64.b64decode(word).decode() == "deploy:p:ä"


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_allowed(tls_url):
    with pytest.raises(EverupError, match=r"certificate is not valid.*validate_certs=false") as error:
        AdminHttp(tls_url, 5).ask("GET", "/manager")
    assert tls_url in str(error.value)
    assert AdminHttp(tls_url, 5, validate_certs=False).ask("GET", "/manager").status == 200


def test_a_plain_server_at_an_https_address_is_a_sentence(url):
    with pytest.raises(EverupError, match=r"^Balancer https://127.0.0.1:[0-9]+/manager "):
        AdminHttp(url.replace("http:", "https:"), 5).ask("GET", "/manager")


def test_a_host_that_has_no_address_is_a_sentence():
    with pytest.raises(EverupError, match=r"^Balancer http://lb1\.invalid/ (cannot be reached|did not answer)"):
        AdminHttp("http://lb1.invalid/", 2).ask("GET", "/")


def test_an_ipv6_address_is_understood():
    with pytest.raises(EverupError, match=r"^Balancer http://\[::1\]:1/ cannot be reached"):
        AdminHttp("http://[::1]:1/", 2).ask("GET", "/")


@pytest.mark.parametrize("cut", [1, 3])
def test_a_connection_that_is_cut_is_made_again_as_often_as_asked(server, url, monkeypatch, cut):
    left = [None] * cut
    verify = server.verify_request
    monkeypatch.setattr(server, "verify_request", lambda *who: False if left and left.pop() is None else verify(*who))
    if cut < 3:
        assert AdminHttp(url, 5).ask("GET", "/manager", tries=3).status == 200
        return
    with pytest.raises(EverupError, match=r"closed the connection without answering|cannot be reached: Connection reset"):
        AdminHttp(url, 5).ask("GET", "/manager", tries=3)
