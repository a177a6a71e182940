# docker build --target serve -t shoestring-serve .     serves ONNX files; without PyTorch
# docker build --target train -t shoestring-train .     everything else; --build-arg TORCH_INDEX= for PyTorch with CUDA
# docker build --target jupyter -t shoestring-jupyter . train, with JupyterLab and a notebook
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN useradd --uid 10001 --create-home shoestring

FROM base AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM base AS serve
COPY containers/install.sh /install.sh
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    sh /install.sh serve /wheels/*.whl
# compiled once, as the file system is read-only later
RUN python -m compileall -q -j 0 /usr/local/lib
USER 10001
WORKDIR /models
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --start-interval=1s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
ENTRYPOINT ["shoestring", "serve", "--host", "0.0.0.0"]
CMD ["model.onnx"]

FROM base AS train
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY containers/install.sh /install.sh
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    TORCH_INDEX="${TORCH_INDEX}" sh /install.sh train /wheels/*.whl
RUN mkdir -p /work /cache && chown 10001 /work /cache
ENV SHOESTRING_CACHE=/cache
USER 10001
WORKDIR /work
ENTRYPOINT ["shoestring"]
CMD ["--help"]

FROM train AS jupyter
USER 0
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    sh /install.sh jupyter /wheels/*.whl
COPY notebooks/results.ipynb /notebooks/
COPY containers/jupyter.sh /jupyter.sh
USER 10001
EXPOSE 8888
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8888/api', timeout=4)"]
ENTRYPOINT ["sh", "/jupyter.sh"]
CMD []
