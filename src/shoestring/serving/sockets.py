"""The socket that a server listens on, opened before anything else, so that a port in use is found at once."""

from __future__ import annotations

import errno
import socket
import sys

from shoestring.errors import UserError

BACKLOG = 1024  # connections that wait to be accepted


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address. Raises `UserError` if that is impossible, or in use."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError):
        raise UserError(f"'{host}' is not the name or the address of this machine: choose another --host.") from None
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # where it would let two servers share the address
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise UserError(_reason(error, host, port)) from None
    return opened


def _reason(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use by another program: choose another --port."
    if error.errno == errno.EACCES:
        return f"this user may not open port {port}: choose a --port above 1023."
    return f"cannot listen on port {port} of {host}: {(error.strerror or str(error)).lower()}."


def url_of(opened: socket.socket) -> str:
    """Return the URL of a socket, for people."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
