"""Whether a server can be reached, found out in one short attempt, where libraries would try for a minute."""

from __future__ import annotations

import ssl
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit

_SECONDS = 5.0


def unreachable(url: str) -> str | None:
    """Why the server of this address cannot be reached, in a few words; None when it answers, whatever it says.

    It takes five seconds at most, also where a name server does not answer or packets are dropped.
    """
    if "all" in urllib.request.getproxies():  # a kind of proxy that only the libraries can use
        return None
    told: list[str | None] = []
    thread = threading.Thread(
        target=lambda: told.append(_ask(url)), daemon=True
    )  # a look-up of names has no time limit
    thread.start()
    thread.join(_SECONDS)
    reason = told[0] if told else f"no answer within {_SECONDS:g} s"
    return None if reason is None else f"{urlsplit(url).hostname} cannot be reached ({reason})"


def _ask(url: str) -> str | None:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_SECONDS):
            return None
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):  # it answers; whom to trust is for the library to decide
            return None
        return str(getattr(reason, "strerror", None) or reason)


def hub_unreachable() -> str | None:
    """Why the Hugging Face Hub cannot be asked, None when it can."""
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        return None
    if constants.HF_HUB_OFFLINE:  # then its libraries take what they have, or say at once that they have nothing
        return None
    return unreachable(constants.ENDPOINT)
