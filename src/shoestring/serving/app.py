"""The application: every path that the server answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from shoestring import __version__
from shoestring.config.paths import expanded
from shoestring.errors import UserError
from shoestring.serving import inference_protocol as protocol
from shoestring.serving.answers import answer, openapi_of_predict
from shoestring.serving.bodies import read_uploads
from shoestring.serving.errors import Refused
from shoestring.serving.fetching import fetcher
from shoestring.serving.gate import Gate, error_body, internal_error
from shoestring.serving.metrics import Metrics
from shoestring.serving.models import Models, describe
from shoestring.serving.pages import docs_page, front_page, page_headers
from shoestring.serving.settings import Settings

_DESCRIPTION = "Image classifiers made by shoestring: classes of images, with calibrated probabilities."


class Service:
    """The application `app` with its models: `gate` is the application as a server runs it."""

    def __init__(self, files: Mapping[str, Path], settings: Settings) -> None:
        self.settings = settings
        self.fetch = fetcher(settings) if settings.allow_urls else None
        self.metrics = Metrics()
        self.models = Models(files, settings, self.metrics)
        self.app = _application(self)
        self.gate = Gate(self.app, settings, self.metrics)


def create_app(models: Mapping[str, str | Path], settings: Settings | None = None) -> Gate:
    """Return an ASGI application that serves ONNX files by name, for a server of your own or for tests.

    Raises `UserError` for a file that cannot be served.
    """
    files = {name: expanded(file) for name, file in models.items()}
    if not files:
        raise UserError("there is no model to serve.")
    return Service(files, settings or Settings()).gate


def _application(service: Service) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(service.models.watch())
        yield
        watching.cancel()
        service.models.close()

    app = FastAPI(
        title="shoestring",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={"default": {"description": 'Why there is no answer: {"error": "..."}'}},
    )
    _add_errors(app)
    _add_predict(app, service)
    _add_pages(app, service)
    _add_protocol(app, service)
    if service.settings.cors:
        app.add_middleware(
            CORSMiddleware, allow_origins=service.settings.cors, allow_methods=["*"], allow_headers=["*"]
        )
    return app


def _add_errors(app: FastAPI) -> None:
    def respond(refused: Refused) -> Response:
        body, headers = error_body(refused)
        return Response(body, refused.status, {name.decode(): value.decode() for name, value in headers})

    @app.exception_handler(Refused)
    async def on_refused(request: Request, error: Refused) -> Response:
        return respond(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return respond(Refused(400, f"{first['loc'][-1]}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        reasons = {404: f"there is nothing at {request.url.path}", 405: f"{request.method} is not possible here"}
        return respond(
            Refused(error.status_code, reasons.get(error.status_code, error.detail), dict(error.headers or {}))
        )

    @app.exception_handler(Exception)  # which is raised again afterwards, so that the gate logs it
    async def on_defect(request: Request, error: Exception) -> Response:
        return respond(internal_error(request.scope))

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=408)  # which nobody reads


def _add_pages(app: FastAPI, service: Service) -> None:
    @app.get("/", include_in_schema=False)
    async def front() -> Response:
        return Response(front_page(), headers=page_headers(front_page()), media_type="text/html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(docs_page(), headers=page_headers(docs_page()), media_type="text/html")

    @app.get("/metrics", summary="Metrics in the text format of Prometheus", tags=["operation"])
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/models", summary="The models and their classes, and the limits of the server", tags=["images"])
    async def models() -> dict[str, Any]:
        settings = service.settings
        return {
            "models": [describe(name, predictor) for name, predictor in service.models],
            "limits": {
                "bytes": settings.max_bytes,
                "pixels": settings.max_pixels,
                "images": settings.max_images,
                "formats": settings.formats,
            },
        }


def _add_predict(app: FastAPI, service: Service) -> None:
    @app.post("/predict", summary="Predict the classes of images", tags=["images"], **openapi_of_predict())
    async def predict(
        request: Request,
        model: Annotated[str | None, Query(description="name of the model; by default the first one")] = None,
        top: Annotated[int | None, Query(ge=1, description="number of classes for each image")] = None,
        unknown_below: Annotated[
            float | None, Query(gt=0, lt=1, description="call an image unknown if its class is less probable")
        ] = None,
    ) -> Response:
        service.models.find(model)  # before the body is read
        uploads = await read_uploads(request, service.settings, service.fetch)
        name, predictor = service.models.find(model)
        request.scope["log"] = {"model": name, "images": len(uploads)}
        results = await predictor.predict([upload.content for upload in uploads])
        names = [upload.name for upload in uploads]
        return answer(name, predictor.network, names, results, top=top, unknown_below=unknown_below)


def _add_protocol(app: FastAPI, service: Service) -> None:
    tags: list[Any] = ["Open Inference Protocol"]

    def find(name: str, version: str | None = None) -> Any:
        found = service.models.find(name)[1]
        if version not in (None, found.network.version):
            raise Refused(404, f"there is no version {version} of {name}; known: {found.network.version}")
        return found

    @app.get("/v2", summary="The server", tags=tags)
    async def server() -> dict[str, Any]:
        return {"name": "shoestring", "version": __version__, "extensions": ["binary_tensor_data"]}

    @app.get("/v2/health/live", summary="Whether the server runs", tags=tags)
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="Whether the server accepts requests", tags=tags)
    async def ready() -> Response:
        is_ready = not service.gate.draining
        return Response(json.dumps({"ready": is_ready}), 200 if is_ready else 503, media_type="application/json")

    @app.get("/v2/models/{name}/versions/{version}/ready", include_in_schema=False)
    async def version_ready(name: str, version: str | None) -> dict[str, Any]:
        find(name, version)
        return {"name": name, "ready": True}

    @app.get("/v2/models/{name}/ready", summary="Whether a model is ready", tags=tags)
    async def model_ready(name: str) -> dict[str, Any]:
        return await version_ready(name, None)

    @app.get("/v2/models/{name}/versions/{version}", include_in_schema=False)
    async def model_version(name: str, version: str | None) -> dict[str, Any]:
        return protocol.model_metadata(name, find(name, version).network)

    @app.get("/v2/models/{name}", summary="Input and output of a model", tags=tags)
    async def model(name: str) -> dict[str, Any]:
        return await model_version(name, None)

    extra = protocol.openapi_of_infer()

    @app.post("/v2/models/{name}/infer", summary="Probabilities of tensors of pixels", tags=tags, openapi_extra=extra)
    async def infer(request: Request, name: str) -> Response:
        return await infer_version(request, name, None)

    @app.post("/v2/models/{name}/versions/{version}/infer", include_in_schema=False)
    async def infer_version(request: Request, name: str, version: str | None) -> Response:
        channels = find(name, version).network.metadata.channels
        body, length = await request.body(), request.headers.get(protocol.HEADER_LENGTH)
        parsed = protocol.parse_request(body, length, channels=channels, settings=service.settings)
        predictor = find(name, version)
        request.scope["log"] = {"model": name, "images": len(parsed.images)}
        rows = await predictor.predict(list(parsed.images))
        for row in rows:
            if isinstance(row, Refused):
                raise row
        content, headers = protocol.make_response(parsed, name, predictor.network.version, rows)
        return Response(content, headers=headers)
