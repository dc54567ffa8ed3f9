"""What a run leaves in its data directory for commands that look for it: where its books, sockets and servers are."""

import os
from pathlib import Path

import msgspec

from daemon.config import Config

FILE = "run.json"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One run. No secrets: those are credentials of whoever runs a command."""

    account: str
    pid: int
    store: str  # URL of the database, without a password
    control: str  # path of the control socket
    halt_file: str
    halt_key: str
    redis: str = ""  # URL; empty: none
    ca_file: str = ""
    stream: str = ""
    channel: str = ""
    signal_socket: str = ""
    answers: str = ""


def remember(config: Config) -> None:
    """Write where this run is; replaced as a whole."""
    signals, redis = config.signals, config.redis
    place = Place(
        account=config.daemon.account,
        pid=os.getpid(),
        store=config.store_url,
        control=str(config.control_socket.absolute()),
        halt_file=str(config.halt_file.absolute()),
        halt_key=config.halt.key,
        redis=redis.url,
        ca_file=redis.ca_file,
        stream=signals.stream if redis.url else "",
        channel=signals.channel if redis.url else "",
        signal_socket=str((config.data_dir / signals.socket).absolute()) if signals.socket else "",
        answers=config.answers.stream if redis.url else "",
    )
    new = config.data_dir / f"{FILE}.new"
    new.write_bytes(msgspec.json.format(msgspec.json.encode(place), indent=2) + b"\n")
    new.replace(config.data_dir / FILE)


def find(folder: Path) -> Place:
    """The run in a data directory; raises FileNotFoundError that says what to do."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Place)
    except FileNotFoundError:
        if folder.is_dir() and any(folder.iterdir()):
            raise FileNotFoundError(f"{folder}: no daemon ran there; a simulation leaves none to ask") from None
        raise FileNotFoundError(f"{folder}: no run is there; name its data directory with --dir") from None
    except msgspec.MsgspecError as error:
        raise ValueError(f"{folder / FILE}: {error}: start the daemon once, it writes the file anew") from error
