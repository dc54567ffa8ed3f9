"""Where the program's log goes: standard error, a JSON value a line."""

import sys

import structlog


def to_stderr() -> None:
    """Have everything logged there, from now on, in this process."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
