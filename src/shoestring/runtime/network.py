"""A quick check of whether a server can be reached, where libraries would retry for a minute."""

from __future__ import annotations

import ssl
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit

_TIMEOUT = 5.0


def unreachable(url: str) -> str | None:
    """Return in a few words why a server cannot be reached, or None if it responds, even with an error.

    Takes at most five seconds, even if a name server does not respond or packets are dropped.
    """
    if "all" in urllib.request.getproxies():  # a type of proxy that only the libraries support
        return None
    reasons: list[str | None] = []
    thread = threading.Thread(
        target=lambda: reasons.append(_request(url)), daemon=True
    )  # name resolution has no timeout
    thread.start()
    thread.join(_TIMEOUT)
    reason = reasons[0] if reasons else f"no answer within {_TIMEOUT:g} s"
    return None if reason is None else f"{urlsplit(url).hostname} cannot be reached ({reason})"


def _request(url: str) -> str | None:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_TIMEOUT):
            return None
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):  # it responds; trust is up to the library
            return None
        return str(getattr(reason, "strerror", None) or reason)


def hub_unreachable() -> str | None:
    """Return why the Hugging Face Hub cannot be reached, or None if it can."""
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        return None
    if constants.HF_HUB_OFFLINE:  # its libraries then use their cache or fail at once
        return None
    return unreachable(constants.ENDPOINT)
