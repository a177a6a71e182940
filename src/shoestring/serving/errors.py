"""Requests that are refused, with the status of HTTP and a reason for whoever sent them."""

from __future__ import annotations


class Refused(Exception):
    """A request, or one of its images, that cannot be answered: `status` of HTTP, `reason`, and more headers."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers or {}
