"""A session of MariaDB with a program name of its own, which its ODBC driver cannot give: by libmariadb itself."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import Callable, Iterator

_CONNECT_ATTR_ADD = 33


@contextmanager
def named_session(server, database: str, program: str) -> Iterator[Callable[[str], None]]:
    """Keep a session open that calls itself by a name; gives what runs a query in it, as text and not prepared.

    Parameters:
        server: a lab.mariadb.Mariadb.
    """
    library = ctypes.CDLL("libmariadb.so.3")
    library.mysql_init.restype = library.mysql_real_connect.restype = library.mysql_store_result.restype = ctypes.c_void_p
    library.mysql_error.restype = ctypes.c_char_p
    handle = ctypes.c_void_p(library.mysql_init(None))
    library.mysql_optionsv(handle, _CONNECT_ATTR_ADD, b"program_name", program.encode())
    words = [word.encode() for word in (server.host, server.user, server.password, database)]
    if not library.mysql_real_connect(handle, *words, ctypes.c_uint(server.port), None, ctypes.c_ulong(0)):
        raise AssertionError(library.mysql_error(handle).decode())

    def ask(sql: str) -> None:
        if library.mysql_query(handle, sql.encode()):
            raise AssertionError(library.mysql_error(handle).decode())
        library.mysql_free_result(ctypes.c_void_p(library.mysql_store_result(handle)))

    try:
        yield ask
    finally:
        library.mysql_close(handle)
