"""How every connection to Redis (or Valkey) is made: RESP3, short deadlines, no silent retries, passwords read anew.

redis-py's own defaults wait for many seconds and try again silently; here a server that does not answer is away, and
whoever asked decides what to do. The password is read at each connect, so a rotated one needs no restart, and it is in
no setting, URL or error.
"""

import select
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from adapters.password import Password

DEADLINE_S = 0.25  # for the answer to anything that does not block: a local server needs a thousandth of it
SCHEMES = ("redis", "rediss", "unix")

LINK_ERRORS = (RedisError, OSError)
"""What a link raises where the server is away, silent, or refuses us."""

REFUSALS = (AuthenticationError, NoPermissionError)
"""Those of them with which it refuses us; redis-py keeps the server's code for itself and raises a type instead."""


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[redis] - the server of signals, answers and the halt key; without a URL there is none."""

    url: str = ""  # redis://HOST:PORT/DB, rediss:// with TLS, unix:///PATH; no password in it
    username: str = ""  # of the server's access control list; empty: its default user
    ca_file: str = ""  # rediss: whom to trust instead of the system's authorities

    def __post_init__(self) -> None:
        if not self.url:
            return
        parts = urlparse(self.url)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"url: begin it with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
        if parts.password or "password=" in parts.query:
            raise ValueError("url: no password belongs here: give it as the credential redis_password")
        if parts.query or parts.fragment:  # redis-py lets it override what is set here, our deadlines too
            raise ValueError("url: leave out what stands behind ? or #: write redis://HOST:PORT/DB or unix:///PATH")
        if self.ca_file and not Path(self.ca_file).is_file():
            raise ValueError(f"ca_file = {self.ca_file!r}: there is no such file")


class _Credentials(CredentialProvider):
    def __init__(self, username: str, password: Password) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._password()
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


def client(settings: RedisSettings, password: Password, *, wait_s: float = 0.0) -> Redis:
    """A client for the event loop; `wait_s` is how long its commands may block at the server."""
    return Redis.from_url(
        settings.url,
        **_options(settings, password, deadline_s=DEADLINE_S + wait_s),
        retry=AsyncRetry(NoBackoff(), 0),
        legacy_responses=False,
    )


class Link:
    """One connection for a thread of its own, that waits for nothing longer than `deadline_s`.

    `ask` and `wait` raise LINK_ERRORS, after which the link is of no more use.
    """

    def __init__(self, settings: RedisSettings, password: Password, *, deadline_s: float = DEADLINE_S) -> None:
        options = _options(settings, password, deadline_s=deadline_s)
        pool = ConnectionPool.from_url(settings.url, **options, retry=Retry(NoBackoff(), 0))
        self._connection: Any = pool.make_connection()  # half typed

    def open(self, pushed: Callable[[list[Any]], None] | None = None) -> None:
        """Connect; `pushed` hears of keys that changed, whenever something is read."""
        self._connection.connect()
        if pushed is not None:
            self._connection._parser.set_invalidation_push_handler(pushed)  # noqa: SLF001 - there is no other way

    def ask(self, *command: object) -> Any:  # noqa: ANN401 - whatever the server answers
        """The answer to a command."""
        self._connection.send_command(*command)
        return self._connection.read_response()

    def wait(self, timeout_s: float) -> bool:
        """Whether something comes unasked within so long; it is not read yet.

        With hiredis, on which this relies, `can_read` only polls; redis-py's own parser would read into its buffer.
        """
        return bool(self._connection.can_read(timeout_s))

    def read_push(self) -> None:
        """Read what came unasked, and let it be heard."""
        self._connection.read_response(push_request=True)

    def peek(self) -> Callable[[], bool]:
        """A way to see, from any thread and in a microsecond, whether something has come that was not read.

        It is in the socket, or behind what was read: the parser takes all that is there from the socket at once.
        """
        poller, reader = select.poll(), self._connection._parser._reader  # noqa: SLF001 - as above
        poller.register(self._connection._sock, select.POLLIN)  # noqa: SLF001 - as above
        return lambda: bool(poller.poll(0)) or reader.has_data()

    def close(self) -> None:
        """Hang up; harmless when repeated."""
        self._connection.disconnect()


def lets_anyone_in(settings: RedisSettings) -> bool:
    """Whether the server takes commands without a password: then nothing that it says can be trusted."""
    probe = Link(RedisSettings(url=settings.url, ca_file=settings.ca_file), lambda: "")
    try:
        probe.open()
        probe.ask("PING")
    except REFUSALS:
        return False
    finally:
        probe.close()
    return True


def _options(settings: RedisSettings, password: Password, *, deadline_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "protocol": 3,
        "socket_timeout": deadline_s,
        "socket_connect_timeout": DEADLINE_S,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "health_check_interval": 0,
    }
    if settings.username or password():
        options["credential_provider"] = _Credentials(settings.username, password)
    if settings.url.startswith("rediss://") and settings.ca_file:
        options["ssl_ca_certs"] = settings.ca_file
    if settings.url.startswith("unix://"):
        del options["socket_connect_timeout"]
    return options
