"""An exported network in ONNX Runtime: one session on each device, all for the same file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoestring.config.fit import check_fit
from shoestring.errors import UserError, unknown
from shoestring.exporting.metadata import Metadata, from_properties
from shoestring.runtime.cores import cores
from shoestring.serving.settings import Settings

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
_WITHOUT_NUMBERS = tuple(_PROVIDERS[name] for name in ("cpu", "openvino", "coreml"))
_OWN = {"classes", "resolution", "temperature"}  # metadata that programs other than shoestring do not write together
_VERSION_BYTES = 6  # of the hash of a file


class Network:
    """An ONNX file on the devices of the settings; `run(images, session)` predicts.

    `metadata` describes it, and `version` identifies the content of the file. A file of another program is served with
    numbered classes if it takes uint8 images of one size and returns probabilities, which `warnings` says.

    Raises `UserError` for a file that ONNX Runtime cannot read or that is not such a network, and for a device that is
    not available.
    """

    def __init__(self, file: Path, settings: Settings) -> None:
        import onnxruntime

        self.file = file
        content = _read(file)
        self.version = hashlib.blake2b(content, digest_size=_VERSION_BYTES).hexdigest()
        self.sessions = [_session(onnxruntime, content, file, device, settings) for device in settings.devices]
        self.warnings: list[str] = []
        first = self.sessions[0]
        if not first.get_inputs():
            raise UserError(f"{file} takes no images: it is a network without an input.")
        self._input, self._output = first.get_inputs()[0].name, first.get_outputs()[0].name
        properties = first.get_modelmeta().custom_metadata_map
        if properties.keys() >= _OWN:
            self.metadata = _blaming(file, properties)
        else:
            self.metadata = _describe(file, first)
            self.warnings.append(
                f"{file} has no class names, because it was not exported by shoestring or lost its metadata: "
                f"its {len(self.metadata.classes)} classes are numbered"
            )
        self._check()

    def run(self, images: NDArray[np.uint8], session: int = 0) -> NDArray[np.float32]:
        """Return the probabilities (N, classes) of images, uint8 (N, resolution, resolution, channels)."""
        return self.sessions[session].run([self._output], {self._input: images})[0]

    def _check(self) -> None:
        """Predict one and two gray images in each session: so the first request is fast, and the file is as it says."""
        size, count = self.metadata, len(self.metadata.classes)
        for index in range(len(self.sessions)):
            for images in (1, 2):
                try:
                    gray = np.full((images, size.resolution, size.resolution, size.channels), 128, dtype=np.uint8)
                    rows = self.run(gray, index)
                except Exception as error:  # of ONNX Runtime, which has a dozen kinds, or without memory
                    raise UserError(f"{self.file} cannot predict an image: {_first_line(error)}") from None
                if rows.shape != (images, count) or rows.dtype != np.float32:
                    raise UserError(f"{self.file} returns {rows.dtype} {rows.shape}; expected float32 (N, {count}).")
                if not ((rows >= 0) & (rows <= 1.001)).all():  # which NaN is not either
                    raise UserError(f"{self.file} does not return probabilities: end it with a softmax.")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise UserError(f"no file {file}.") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}.") from None


def _session(onnxruntime: Any, content: bytes, file: Path, device: str, settings: Settings) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = settings.threads or max(1, cores() - 1)  # one core for HTTP and decoding
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave their cores free
    provider = _provider(onnxruntime, device)
    rest = [] if provider[0] == _PROVIDERS["cpu"] else [_PROVIDERS["cpu"]]  # for operations that a device does not have
    try:
        return onnxruntime.InferenceSession(content, options, providers=[provider, *rest])
    except Exception as error:  # as above
        raise UserError(f"{file} is not a network that ONNX Runtime can read: {_first_line(error)}") from None


def _provider(onnxruntime: Any, device: str) -> tuple[str, dict[str, str]]:
    """Return the execution provider of a device such as "cuda:1", with its options."""
    name, _, number = device.partition(":")
    available = onnxruntime.get_available_providers()
    provider = _PROVIDERS.get(name.lower(), name)
    if provider not in _PROVIDERS.values() and provider not in available:
        raise unknown("device", name, _PROVIDERS, hint="With several GPUs, choose one as cuda:1.")
    if number and provider in _WITHOUT_NUMBERS:
        raise UserError(f"device '{device}' cannot be used: {name} has no number. Try --device {name}.")
    if provider not in available:
        raise UserError(
            f"device '{device}' cannot be used: this onnxruntime has no {provider}, but {', '.join(available)}. "
            "For CUDA, install onnxruntime-gpu in its place."
        )
    if number and not number.isdigit():
        raise UserError(f"'{device}' is not a device: write a number after the colon, as in {name}:0.")
    return provider, {"device_id": number} if number else {}


def _blaming(file: Path, properties: dict[str, str]) -> Metadata:
    try:
        metadata = from_properties(properties)
        check_fit(metadata.fit)
        return metadata
    except UserError as error:
        raise UserError(f"cannot serve {file}: {error}") from None


def _describe(file: Path, session: Any) -> Metadata:
    """Return the description of a network of another program. Raises `UserError` if it is of another kind."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    shape, scores = inputs[0].shape, outputs[0].shape
    fits = len(inputs) == 1 and inputs[0].type == "tensor(uint8)" and len(shape) == 4 and shape[3] in (1, 3)
    if not (fits and len(scores) == 2 and isinstance(scores[1], int)):
        raise UserError(
            f"{file} has no metadata of shoestring and takes {inputs[0].type} {shape}: expected uint8 images "
            "(N, height, width, 3) and probabilities (N, classes), as `shoestring export` writes them."
        )
    if not (isinstance(shape[1], int) and shape[1] == shape[2]):
        raise UserError(
            f"{file} has no metadata, and takes images of any size: nothing says to which size images are resized. "
            "Export it again."
        )
    return Metadata(
        classes=tuple(str(index) for index in range(scores[1])),
        resolution=shape[1],
        channels=shape[3],
        fit="crop",
        mean=(),
        std=(),
        temperature=1.0,
        tta="none",
        precision="unknown",
        model=file.stem,
        parameters=0,
        version="",
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
