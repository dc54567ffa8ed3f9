"""The tests' server is the one that was started, survives what is done to it, and is gone afterwards."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import Server, wait_until

ROOT = Path(__file__).resolve().parents[2]


def test_it_is_the_one_that_was_started_and_no_network_reaches_it(postgres: Server) -> None:
    assert postgres.sql("SHOW data_directory") == [(str(postgres.folder / "data"),)]
    assert postgres.sql("SHOW listen_addresses") == [("",)]
    assert postgres.sql("SELECT rolname FROM pg_roles WHERE rolsuper") == [("postgres",)]


@pytest.mark.parametrize("ending", [Server.stop, Server.kill])
def test_what_was_committed_survives_a_stop_and_a_kill(postgres: Server, ending: object) -> None:
    assert callable(ending)
    database = postgres.create()
    postgres.sql("CREATE TABLE t AS SELECT 1 AS x", database)
    ending(postgres)
    with pytest.raises(psycopg.OperationalError):
        postgres.connect()
    postgres.start()
    assert postgres.sql("SELECT x FROM t", database) == [(1,)]


_ABANDON = """
import os, signal
from tests.servers.postgres import Server
server = Server()
server.start()
print(server.folder, server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_with_the_process_that_started_it_even_a_killed_one() -> None:
    done = subprocess.run([sys.executable, "-c", _ABANDON], cwd=ROOT, capture_output=True, text=True, check=False)
    folder, pid = done.stdout.split()
    wait_until(lambda: not Path(folder).exists())
    assert not _runs(int(pid))


def _runs(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline")
    return command.exists() and b"postgres" in command.read_bytes()
