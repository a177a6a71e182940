from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from color_networks import picture, pixels, write_network
from shoestring.errors import UserError
from shoestring.serving import models as served
from shoestring.serving.metrics import Metrics
from shoestring.serving.models import Models, describe
from shoestring.serving.network import Network
from shoestring.serving.settings import Settings

onnx = pytest.importorskip("onnx")

OTHER = ("rot", "gr\u00fcn", "blau")


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_replaced_file_is_served_without_a_lost_request(tmp_path: Path):
    file = write_network(tmp_path / "colors.onnx")
    models = Models({"colors": file}, Settings(), Metrics())
    names: list[tuple[str, ...]] = []

    async def client() -> None:
        while len(names) < 4000 and (not names or names[-1] != OTHER):
            predictor = models.find(None)[1]
            (row,) = await predictor.predict([picture("green")])
            assert row.argmax() == 1
            names.append(predictor.network.metadata.classes)

    async def run() -> None:
        clients = [asyncio.create_task(client()) for _ in range(8)]
        await asyncio.sleep(0.05)
        write_network(file, classes=OTHER)
        await models.refresh()
        await asyncio.gather(*clients)
        before = models.find(None)[1]
        await models.refresh()
        assert models.find(None)[1] is before  # nothing has changed
        models.close()

    asyncio.run(run())
    assert {names[0], names[-1]} == {("red", "green", "blue"), OTHER}


def test_a_file_is_loaded_when_it_no_longer_changes(tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setattr(served, "_POLL_SECONDS", 0.05)
    file = write_network(tmp_path / "colors.onnx")
    models = Models({"colors": file}, Settings(), Metrics())

    async def until(condition) -> None:
        while not condition():
            await asyncio.sleep(0.01)

    async def run() -> None:
        watching = asyncio.create_task(models.watch())
        first = models.find(None)[1]
        content = file.read_bytes()
        file.write_bytes(content[:100])
        await until(lambda: "the new file is not used" in events(caplog))
        assert models.find(None)[1] is first
        file.unlink()
        await asyncio.sleep(0.2)
        assert len((await first.predict([picture()]))[0]) == 3
        write_network(file, classes=OTHER)
        await until(lambda: models.find(None)[1] is not first)
        watching.cancel()
        models.close()

    with caplog.at_level(logging.INFO, logger="shoestring.serving"):
        asyncio.run(run())
    assert events(caplog).count("the new file is not used") == 1 and "loaded a new file" in events(caplog)


def test_a_defect_does_not_end_the_search_for_new_files(tmp_path: Path, monkeypatch, caplog):
    file = write_network(tmp_path / "colors.onnx")
    models = Models({"colors": file}, Settings(), Metrics())
    first = models.find(None)[1]

    def broken(*args):
        raise ZeroDivisionError

    async def run() -> None:
        write_network(file, classes=OTHER)
        with monkeypatch.context() as patched:
            patched.setattr(served, "Network", broken)
            await models.refresh()
        assert models.find(None)[1] is first
        write_network(file, classes=OTHER)
        await models.refresh()
        assert models.find(None)[1].network.metadata.classes == OTHER
        models.close()

    asyncio.run(run())
    (record,) = (record for record in caplog.records if record.getMessage() == "the new file is not used")
    assert record.exc_info[0] is ZeroDivisionError


def test_a_network_without_an_input_is_refused(tmp_path: Path):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    output = helper.make_tensor_value_info("y", kind, (1,))
    graph = helper.make_graph([node("Constant", [], ["y"], value_floats=[1.0])], "constant", [], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "constant.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="without an input"):
        Network(tmp_path / "constant.onnx", Settings())


@pytest.mark.parametrize("foreign", [{}, {"classes": "red,green"}])
def test_a_file_without_class_names_has_numbered_classes(tmp_path: Path, caplog, foreign):
    file = write_network(tmp_path / "plain.onnx", metadata=False, shape=("n", 8, 8, 3))
    proto = onnx.load(str(file))
    onnx.helper.set_model_props(proto, foreign)
    onnx.save(proto, str(file))
    with caplog.at_level(logging.WARNING, logger="shoestring.serving"):
        models = Models({"plain": file}, Settings(), Metrics())
    models.close()
    network = models.find("plain")[1].network
    assert network.metadata.classes == ("0", "1", "2") and network.metadata.resolution == 8
    assert "has no class names" in caplog.records[0].fields["reason"]
    assert network.run(pixels("blue", side=8)).argmax() == 2


def node(*args, **kwargs):
    return onnx.helper.make_node(*args, **kwargs)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"metadata": False}, "nothing says to which size images are resized"),
        ({"metadata": False, "shape": ("n", 3, 8, 8)}, r"expected uint8 images \(N, height, width, 3\)"),
        ({"metadata": False, "kind": onnx.TensorProto.FLOAT, "shape": ("n", 8, 8, 3)}, r"takes tensor\(float\)"),
        ({"last": [node("Identity", ["scaled"], ["probabilities"])], "scale": 1.0}, "does not return probabilities"),
        ({"classes": ("a", "b")}, r"returns float32 \(1, 3\); expected float32 \(N, 2\)"),
        ({"channels": 1}, "cannot predict an image"),
        ({"resolution": 1 << 30}, "cannot predict an image"),
        ({"fit": "stretch"}, "stretch"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, options, reason):
    file = write_network(tmp_path / "other.onnx", **options)
    with pytest.raises(UserError, match=reason) as error:
        Network(file, Settings())
    assert "\n" not in str(error.value)


def test_files_that_are_no_networks_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no file"):
        Network(tmp_path / "none.onnx", Settings())
    with pytest.raises(UserError, match="cannot read"):
        Network(tmp_path, Settings())
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(UserError, match="is not a network that ONNX Runtime can read"):
        Network(tmp_path / "text.onnx", Settings())


def test_damaged_metadata_are_refused(tmp_path: Path):
    file = write_network(tmp_path / "colors.onnx")
    proto = onnx.load(str(file))
    kept = {entry.key: entry.value for entry in proto.metadata_props if entry.key != "fit"}
    onnx.helper.set_model_props(proto, kept)
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match=r"cannot serve .*no 'fit'"):
        Network(file, Settings())


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("cdua:0", "unknown device 'cdua'.*Did you mean 'cuda'"),
        ("tensorrt:0", "has no TensorrtExecutionProvider.*install onnxruntime-gpu"),
        ("cpu:x", "cpu has no number"),
    ],
)
def test_devices_that_are_not_available_are_refused(network: Path, device, reason):
    with pytest.raises(UserError, match=reason):
        Network(network, Settings(devices=(device,)))


def test_each_device_has_a_session(network: Path):
    loaded = Network(network, Settings(devices=("cpu", "CPUExecutionProvider"), threads=1))
    assert len(loaded.sessions) == 2
    rows = [loaded.run(pixels("red", "blue"), session) for session in (0, 1)]
    assert np.array_equal(*rows)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"batch": 0}, "--batch must be at least 1"),
        ({"threads": 0}, "--threads must be at least 1"),
        ({"timeout": float("nan")}, "--timeout must be above zero"),
        ({"devices": ()}, "--device needs"),
        ({"queue": 10, "max_images": 11}, "--queue 10 has no room"),
        ({"api_key": "short"}, "at least 8 characters"),
        ({"formats": ("JPG2",)}, "unknown image format 'JPG2'"),
    ],
)
def test_settings_outside_their_ranges_are_refused(values, reason):
    with pytest.raises(UserError, match=reason):
        Settings(**values)


def test_the_key_is_read_from_a_file_or_the_environment(tmp_path: Path, monkeypatch):
    from shoestring.serving.settings import read_api_key

    monkeypatch.setenv("SHOESTRING_API_KEY", "from-environment")
    assert read_api_key(None) == "from-environment"
    (tmp_path / "key").write_text("from-a-file\n")
    assert read_api_key(tmp_path / "key") == "from-a-file"
    (tmp_path / "key").write_text("\n")
    with pytest.raises(UserError, match="is empty"):
        read_api_key(tmp_path / "key")
    with pytest.raises(UserError, match="cannot read the API key"):
        read_api_key(tmp_path / "none")
    monkeypatch.delenv("SHOESTRING_API_KEY")
    assert read_api_key(None) is None


def test_stamps_change_with_the_file(tmp_path: Path):
    file = tmp_path / "a"
    assert served.stamp(file) is None
    file.write_text("1")
    first = served.stamp(file)
    os.utime(file, ns=(5, 5))
    assert served.stamp(file) not in (None, first)
    assert json.dumps(served.stamp(file))


def test_the_accuracy_in_int8_is_part_of_the_description(tmp_path: Path):
    figures = {"images": 10, "accuracy": 0.8, "float_accuracy": 0.9}
    file = write_network(tmp_path / "small.onnx", precision="int8", quantization=figures)
    models = Models({"small": file}, Settings(), Metrics())
    models.close()
    assert describe("small", models.find("small")[1])["quantization"] == figures
