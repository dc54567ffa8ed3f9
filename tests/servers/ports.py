"""A port for a server that cannot choose one itself."""

import socket


def free_port() -> int:
    """A port of the loopback interface that is free now; whoever asked binds it in a moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
