"""The images in the body of a request: a form with files, JSON with base64 texts or URLs, or the bytes of one image."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.formparsers import MultiPartException, MultiPartParser

from shoestring.serving.errors import Refused
from shoestring.serving.settings import Settings

_EXPECTED = 'JSON with {"images": [...]}, each of them base64 text, or {"base64": text, "name": name}'
_MAX_FIELDS = 100  # of a form, besides files


class Upload(NamedTuple):
    """An image as it was sent, and the name of its file or its number in the request."""

    name: str
    content: bytes | Refused


Fetch = Callable[[Sequence[str]], Awaitable[list[bytes | Refused]]]


async def read_uploads(request: Request, settings: Settings, fetch: Fetch | None) -> list[Upload]:
    """Return the images in the body of a request; `fetch` gets those that are URLs, None to refuse them.

    Raises `Refused` for a body that cannot be parsed, without images or with too many.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "the body is compressed: send it without content-encoding")
    if kind == "multipart/form-data":
        uploads = await _from_form(request, settings)
    elif kind == "application/json":
        uploads = await _from_json(await request.body(), settings, fetch)
    else:  # also as "application/x-www-form-urlencoded", which curl and Python say unless they are told otherwise
        uploads = [Upload("0", await request.body())]
    return uploads


class _FormParser(MultiPartParser):
    """A parser that keeps files in memory: the size of a body is limited."""

    spool_max_size = 1 << 40


async def _from_form(request: Request, settings: Settings) -> list[Upload]:
    parser = _FormParser(request.headers, request.stream(), max_files=settings.max_images, max_fields=_MAX_FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise Refused(
                413, f"the form has too many images for a request: the maximum is {settings.max_images}"
            ) from None
        raise Refused(400, f"the form is broken: {error.message}") from None
    except FormParserError as error:
        raise Refused(400, f"the form is broken: {error}") from None
    try:
        files = [value for _, value in form.multi_items() if not isinstance(value, str)]
        uploads = [Upload(file.filename or str(index), await file.read()) for index, file in enumerate(files)]
    finally:
        await form.close()
    if not uploads:
        raise Refused(400, "the form has no file: send each image as a part with a file name")
    return uploads


async def _from_json(body: bytes, settings: Settings, fetch: Fetch | None) -> list[Upload]:
    content = parse_json(body)
    if isinstance(content, dict) and (others := [name for name in content if name not in ("image", "images")]):
        name = others[0][:100]
        raise Refused(400, f"'{name}' is not part of the JSON: expected {_EXPECTED}; options are in the URL, as ?top=3")
    items = content.get("images") if isinstance(content, dict) else content
    if isinstance(content, dict) and "image" in content and items is None:
        items = [content["image"]]
    if not isinstance(items, list) or not items:
        raise Refused(400, f"expected {_EXPECTED}")
    if len(items) > settings.max_images:
        raise Refused(413, f"{len(items)} images are too many for a request: the maximum is {settings.max_images}")
    found = [_from_item(index, item) for index, item in enumerate(items)]
    urls = [content for _, content in found if isinstance(content, str)]
    if urls and fetch is None:
        raise Refused(403, "this server does not fetch URLs: send the image itself (--allow-urls changes this)")
    fetched = iter(await fetch(urls) if urls and fetch is not None else ())
    return [Upload(name, next(fetched) if isinstance(content, str) else content) for name, content in found]


def _from_item(index: int, item: Any) -> tuple[str, bytes | str]:
    """Return the name of an image, and its bytes or its URL."""
    name = str(index)
    if isinstance(item, dict):
        name = str(item.get("name", index))
        item = item["url"] if "url" in item else item.get("base64")
    if not isinstance(item, str):
        raise Refused(400, f"image {index} is neither a text nor an object: expected {_EXPECTED}")
    if item.startswith(("http://", "https://")):
        return (item if name == str(index) else name), item
    if item.startswith("data:"):
        item = item.partition(",")[2]
    try:
        return name, base64.b64decode(item, validate=True)
    except (binascii.Error, ValueError):  # ValueError for characters that are not ASCII
        raise Refused(400, f"image {index} is not base64 text") from None


def parse_json(body: bytes | memoryview) -> Any:
    """Parse JSON in UTF-8. Raises `Refused` (400) for anything else."""
    try:
        return json.loads(str(body, "utf-8-sig"))
    except RecursionError:
        raise Refused(400, "the JSON is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number of thousands of digits
        raise Refused(400, f"the body is not JSON in UTF-8: {error}") from None
