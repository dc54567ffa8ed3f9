"""Secrets: from systemd's credentials or the environment, read when they are needed, never kept in a configuration.

`redis_password` is the file of that name in `$CREDENTIALS_DIRECTORY` (systemd's LoadCredential), else the variable
`EXECD_REDIS_PASSWORD`, else empty. A secret is read at each connect: put a new one in the file, and the next connect
uses it.
"""

import os
from functools import partial
from pathlib import Path

from adapters.password import Password

REDIS, DATABASE, MQTT = "redis_password", "database_password", "mqtt_password"
VARIABLES = frozenset(f"EXECD_{name.upper()}" for name in (REDIS, DATABASE, MQTT))


def credential(name: str) -> Password:
    """A way to read one secret as it is now; it gives an empty string where there is none."""
    return partial(_read, name)


def _read(name: str) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and (file := Path(folder, name)).is_file():
        return file.read_text().rstrip("\n")
    return os.environ.get(f"EXECD_{name.upper()}", "")
