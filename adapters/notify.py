"""Words to the service manager: systemd's notification protocol, a datagram to the socket that it names."""

import os
import socket
from contextlib import suppress


def is_heard() -> bool:
    """Whether a service manager started us and wants to know."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def tell(*words: str) -> bool:
    """Send `READY=1`, `WATCHDOG=1`, `STATUS=...`; False where nobody listens, as outside of a service.

    It never waits: a manager that does not read must not hold up the loop.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = f"\0{address[1:]}"  # an abstract socket
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sender:
        sender.sendto("\n".join(words).encode(), address)
        return True
    return False


def watchdog_s() -> float | None:
    """How often the manager wants a sign of life, seconds; None where it wants none from this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) else None
