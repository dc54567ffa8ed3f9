"""A real Valkey for tests: one private server for each process of the test run, empty at the begin of each test."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from adapters.redis_link import RedisSettings
from adapters.valkey import PrivateValkey


@contextmanager
def running(folder: Path, *extra: str) -> Iterator[PrivateValkey]:
    """A server that ends with the block, whatever became of it inside."""
    server = PrivateValkey(folder, *extra)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def other_hand(server: PrivateValkey, **options: Any) -> Iterator[redis.Redis]:  # noqa: ANN401 - redis-py's own
    """A client of somebody else: a publisher, an operator."""
    hand: redis.Redis = redis.Redis.from_url(server.settings.url, **options)
    try:
        yield hand
    finally:
        hand.close()


def entries(hand: redis.Redis, stream: str) -> list[tuple[str, dict[str, str]]]:
    """The entries of a stream, as text."""
    found: Any = hand.xrange(stream)
    return [
        (entry_id.decode(), {key.decode(): value.decode() for key, value in fields.items()})
        for entry_id, fields in found
    ]


PATIENCE_S = 5.0  # of clients in tests that are not about deadlines: the machine may be busy
DEPLOYED = Path(__file__).resolve().parents[2] / "deploy/redis"


class Desk:
    """A server with the files that a desk is given, and the passwords that their script made."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        users, passwords = folder / "users.acl", folder / "passwords"
        make = ["sh", *map(str, (DEPLOYED / "passwords.sh", DEPLOYED / "users.acl", users, passwords))]
        subprocess.run(make, check=True, env={"PATH": "/usr/bin:/bin"})
        self.passwords = {file.name: file.read_text() for file in passwords.iterdir()}
        text = (DEPLOYED / "valkey.conf").read_text()  # as it is, but for the two folders that only a desk has
        (folder / "valkey.conf").write_text(
            text.replace("dir /var/lib/valkey\n", f"dir {folder}\n").replace("/etc/valkey/users.acl", str(users))
        )
        # behind the defaults of a private server, so the file wins; the port alone is ours
        self.server = PrivateValkey(folder, "--include", str(folder / "valkey.conf"), "--port", "0")

    def settings(self, user: str) -> RedisSettings:
        """How one of its users reaches it."""
        return RedisSettings(url=self.server.settings.url, username=user)

    @contextmanager
    def hand(self, user: str) -> Iterator[redis.Redis]:
        """A client of one of its users."""
        with other_hand(self.server, username=user, password=self.passwords[user], protocol=3) as hand:
            yield hand


@contextmanager
def desk(folder: Path) -> Iterator[Desk]:
    """A desk's server that ends with the block."""
    made = Desk(folder)
    made.server.start()
    try:
        yield made
    finally:
        made.server.kill()
