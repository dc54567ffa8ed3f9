"""How a command asks: the daemon over its control socket, as the user who types, and the servers beside it."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from redis.exceptions import AuthenticationError, NoPermissionError

from adapters.redis_link import LINK_ERRORS, Link, RedisSettings
from core.units import NS_PER_S
from daemon import credentials
from daemon.control import UNTIL
from daemon.place import Place

ANSWER_S = 10.0  # how long a command waits for an answer


class NoAnswerError(RuntimeError):
    """No daemon answers at the control socket."""


class AbsentError(NoAnswerError):
    """Because none is there."""


class RefusedError(RuntimeError):
    """The daemon, or Redis, refused; its words say why."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, within_s: float) -> None:
        super().__init__("execd", timeout=within_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    path: str, method: str, name: str, body: dict[str, Any] | None = None, *, within_s: float | None = None
) -> dict[str, Any]:
    """What the daemon answers at its control socket; raises NoAnswerError or RefusedError.

    Whoever got no answer in time has given up, and the daemon knows: what it finds later it does not do.
    """
    within_s = ANSWER_S if within_s is None else within_s
    until = {UNTIL: str(time.monotonic_ns() + int(within_s * NS_PER_S))}
    with closing(_UnixConnection(path, within_s)) as link:
        try:
            link.request(method, f"/{name}", body=None if body is None else json.dumps(body), headers=until)
            response = link.getresponse()
            answer = _decoded(response)
        except PermissionError:
            raise NoAnswerError(f"you may not open {path}: its group may, or sudo") from None
        except TimeoutError:
            said = f"the daemon at {path} does not answer within {within_s:.0f} s: it hangs, or is stopped"
            raise NoAnswerError(said) from None
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise AbsentError(f"no daemon answers at {path}: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(f"no daemon answers at {path}: {error}") from error
    if response.status != http.client.OK:
        raise RefusedError(answer.get("error", str(response.status)))
    return answer


def _decoded(response: http.client.HTTPResponse) -> dict[str, Any]:
    body = response.read()
    try:
        answer: dict[str, Any] = json.loads(body)
    except ValueError:  # of what serves the socket, not of the daemon
        if response.status == http.client.OK:
            raise http.client.HTTPException("what it says is no JSON") from None
        return {"error": f"{response.status} {response.reason}"}
    return answer


@contextmanager
def redis_link(place: Place, user: str) -> Iterator[Link]:
    """A connection; what goes wrong on it, in words."""
    if not place.redis:
        raise RefusedError("this run has no Redis: leave --key out")
    settings = RedisSettings(url=place.redis, username=user, ca_file=place.ca_file)
    link = Link(settings, credentials.credential(credentials.REDIS), deadline_s=ANSWER_S)
    try:
        link.open()
        yield link
    except AuthenticationError as error:
        said = f"does not let {user or 'the default user'} in: see --as and $EXECD_REDIS_PASSWORD"
        raise RefusedError(f"Redis at {place.redis} {said}") from error
    except NoPermissionError as error:
        raise RefusedError(f"Redis at {place.redis} does not allow it: {error}") from error
    except LINK_ERRORS as error:
        raise NoAnswerError(f"Redis at {place.redis}: {error}") from error
    finally:
        link.close()


def ask_redis(place: Place, user: str, *command: object) -> Any:  # noqa: ANN401 - whatever the server answers
    """What the run's Redis answers; raises NoAnswerError or RefusedError."""
    with redis_link(place, user) as link:
        return link.ask(*command)
