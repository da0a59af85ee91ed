"""A peer that speaks just enough TDS 7.4 for a real ODBC driver: it lets anybody in and answers batches from a list.

Written from Microsoft's protocol document [MS-TDS] (packets 2.2.3, PRELOGIN 2.2.6.5, LOGINACK, INFO, ERROR, COLMETADATA, ROW and
DONE in 2.2.7). No SQL runs here: an answer is what a test says that the server would send.
"""

from __future__ import annotations

import socket
import struct
import threading

LOGIN, PRELOGIN, BATCH, RPC, ATTENTION = 0x10, 0x12, 0x01, 0x03, 0x06
HANG_UP = b"hang up"
MORE, FINAL, COUNT, ERROR, ATTN = 0x01, 0x00, 0x10, 0x02, 0x20


def _b_varchar(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")


def _us_varchar(text: str) -> bytes:
    return struct.pack("<H", len(text)) + text.encode("utf-16-le")


def _said(token: int, number: int, severity: int, text: str) -> bytes:
    body = (
        struct.pack("<iBB", number, 1, severity) + _us_varchar(text) + _b_varchar("peer") + _b_varchar("") + struct.pack("<i", 1)
    )
    return bytes([token]) + struct.pack("<H", len(body)) + body


def info(text: str, number: int = 0) -> bytes:
    """What PRINT sends."""
    return _said(0xAB, number, 0, text)


def error(number: int, text: str, severity: int = 16) -> bytes:
    return _said(0xAA, number, severity, text)


def done(status: int = FINAL, rows: int = 0) -> bytes:
    return struct.pack("<BHHQ", 0xFD, status, 0xC1, rows)


def columns(*names: str) -> bytes:
    """Describe columns of type int."""
    described = b"".join(struct.pack("<IHB", 0, 0, 0x38) + _b_varchar(name) for name in names)
    return b"\x81" + struct.pack("<H", len(names)) + described


def row(*values: int) -> bytes:
    return b"\xd1" + b"".join(struct.pack("<i", value) for value in values)


def _login_answer() -> bytes:
    version = struct.pack(">I", 0x74000004)
    body = b"\x01" + version + _b_varchar("peer") + bytes([16, 0, 0x10, 0])
    database = b"\x01" + _b_varchar("shop") + _b_varchar("master")
    collation = b"\x07" + bytes([5]) + bytes.fromhex("0904d00034") + b"\x00"
    size = b"\x04" + _b_varchar("4096") + _b_varchar("4096")
    changes = b"".join(b"\xe3" + struct.pack("<H", len(change)) + change for change in (database, collation, size))
    return changes + b"\xad" + struct.pack("<H", len(body)) + body + done()


def _prelogin_answer() -> bytes:
    options = [(0, bytes([16, 0, 0x10, 0, 0, 0])), (1, b"\x02"), (2, b"\x00"), (3, b""), (4, b"\x00")]
    offset = 5 * len(options) + 1
    head, data = b"", b""
    for kind, value in options:
        head += struct.pack(">BHH", kind, offset + len(data), len(value))
        data += value
    return head + b"\xff" + data


class Peer:
    """A server on a port of this host for the length of a with block.

    Attributes:
        answers: (words, tokens): the first entry whose words stand in a batch is its answer; anything else is done at once.
        seen: the texts of the batches that came.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[str, bytes]] = []
        self.seen: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]

    def __enter__(self) -> Peer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exception) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream:
            while True:
                kind, data = self._message(stream)
                if kind is None:
                    return
                answer = self._answer(kind, data)
                if answer == HANG_UP:
                    return
                for start in range(0, len(answer), 4000):
                    part = answer[start : start + 4000]
                    last = 1 if start + 4000 >= len(answer) else 0
                    client.sendall(struct.pack(">BBHHBB", 4, last, len(part) + 8, 0, 1, 0) + part)

    @staticmethod
    def _message(stream) -> tuple[int | None, bytes]:
        data = b""
        while True:
            head = stream.read(8)
            if len(head) < 8:
                return None, b""
            kind, status, length = struct.unpack(">BBH", head[:4])
            data += stream.read(length - 8)
            if status & 1:
                return kind, data

    def _answer(self, kind: int, data: bytes) -> bytes:
        if kind == PRELOGIN:
            return _prelogin_answer()
        if kind == LOGIN:
            return _login_answer()
        if kind == ATTENTION:
            return done(ATTN)
        headers = struct.unpack("<I", data[:4])[0] if len(data) >= 4 else 0
        text = data[headers if headers < len(data) else 0 :].decode("utf-16-le", "replace")
        self.seen.append(text)
        return next((tokens for words, tokens in self.answers if words in text), done())
