"""Frees large tables in a thread, so that the event loop does not wait for it."""

import threading
import time
from typing import Any

_BATCH = 256


def dispose_in_thread(*tables: dict[Any, Any]) -> None:
    """Take tables apart that nothing uses any more; nothing waits for the thread."""
    threading.Thread(target=_dispose, args=tables, name="aserve-dispose", daemon=True).start()


def _dispose(*tables: dict[Any, Any]) -> None:
    """Take a few entries at a time: the thread holds the interpreter no longer than that."""
    for table in tables:
        while table:
            for _ in range(min(len(table), _BATCH)):
                table.popitem()
            time.sleep(0)
