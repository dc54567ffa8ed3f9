"""Client ids as a pure function of what an order is for, so that a resend after a crash carries the same id.

`tag` names the daemon and account, the digest names account, strategy, signal and leg, the rest counts children and
attempts. A venue that de-duplicates client ids can then never be made to execute one intent twice.
"""

import base64
import hashlib

MAX_LENGTH = 32  # characters; the shortest limit among the venues that are planned for
TAG_LENGTH = 4
_DIGEST_BYTES = 10  # 80 bits, 16 characters in base32


def check_tag(tag: str) -> str:
    """`tag` if it can begin a client id; raises ValueError otherwise."""
    if not (1 <= len(tag) <= TAG_LENGTH and tag.isascii() and tag.isalnum() and tag[0].isalpha()):
        raise ValueError(f"daemon tag {tag!r}: use 1 to {TAG_LENGTH} letters and digits, a letter first")
    return tag


def parent_id(*, tag: str, account: str, strategy: str, signal_id: str, leg: str) -> str:
    """The id of the parent that serves one leg of one signal."""
    # each part with its length before it: no part can pretend to be two
    text = "".join(f"{len(part)}:{part}" for part in (account, strategy, signal_id, leg))
    digest = hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]
    return check_tag(tag) + base64.b32encode(digest).decode()


def cl_ord_id(parent: str, *, child: int, attempt: int = 1) -> str:  # 11
    """The id of a parent's child order; `attempt` grows only after proof that the last one is dead."""
    value = f"{parent}C{child}A{attempt}"
    assert len(value) <= MAX_LENGTH, f"client id {value} is longer than {MAX_LENGTH} characters"
    return value
