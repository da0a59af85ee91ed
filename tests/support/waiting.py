# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An application that uses a table all the time and knows how long it had to wait."""

from __future__ import annotations

import threading
import time
from contextlib import closing


class Application(threading.Thread):
    """Runs one statement again and again in a session of its own, and remembers its longest wait.

    Parameters:
        db: the test's database.
        sql: what it runs; it returns rows.
        pause: seconds between two runs.
    """

    def __init__(self, db, sql: str, pause: float = 0.005) -> None:
        super().__init__(daemon=True)
        self.db, self.sql, self.pause = db, sql, pause
        self.longest, self.turns, self.over = 0.0, 0, threading.Event()

    def run(self) -> None:
        with closing(self.db.connect()) as connection:
            while not self.over.is_set():
                began = time.monotonic()
                connection.execute(self.sql).fetchall()
                self.longest = max(self.longest, time.monotonic() - began)
                self.turns += 1
                time.sleep(self.pause)

    def __enter__(self) -> Application:
        self.start()
        return self

    def __exit__(self, *_exception) -> None:
        self.over.set()
        self.join(30)
