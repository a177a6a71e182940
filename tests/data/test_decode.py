from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from shoestring.data.decode import decode, decode_file, header, resize
from shoestring.errors import UserError

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4  # gray levels 0..252


def saved(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def test_gray_has_one_channel_or_three_equal_ones(tmp_path):
    path = saved(tmp_path / "grey.png", Image.fromarray(RAMP))
    assert header(path) == (8, True)
    np.testing.assert_array_equal(decode_file(path, resolution=8, channels=1)[..., 0], RAMP)
    np.testing.assert_array_equal(decode_file(path, resolution=8, channels=3), np.stack([RAMP] * 3, axis=-1))


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    deep = np.array([[0, 257], [32896, 65535]], dtype=np.uint16)
    for suffix in ("png", "tif"):
        path = saved(tmp_path / f"deep.{suffix}", Image.fromarray(deep))
        assert header(path) == (2, True)
        assert decode(path, resolution=2, channels=1)[..., 0].tolist() == [[0, 1], [128, 255]]


@pytest.mark.parametrize(("mode", "value"), [("I", 70000), ("F", 0.5)])
def test_pixels_without_a_known_white_raise_an_error(tmp_path, mode, value):
    path = saved(tmp_path / "odd.tif", Image.new(mode, (4, 4), value))
    with pytest.raises(UserError, match=r"odd\.tif: its pixels are .*expected 8 or 16 bits"):
        decode_file(path, resolution=4, channels=1)


def test_palette_colors_are_looked_up(tmp_path):
    path = saved(tmp_path / "palette.png", Image.new("RGB", (4, 4), (200, 30, 60)).convert("P", palette=1))
    with Image.open(path) as image:
        assert image.mode == "P" and header(path) == (4, False)
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(path, resolution=4, channels=3), expected)
    assert abs(int(expected[0, 0, 0]) - 200) < 30


def test_transparency_becomes_white(tmp_path):
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    clear.putpixel((0, 0), (255, 0, 0, 255))
    pixels = decode(saved(tmp_path / "clear.png", clear), resolution=4, channels=3)
    assert pixels[0, 0].tolist() == [255, 0, 0] and (pixels.reshape(-1, 3)[1:] == 255).all()

    grey = saved(tmp_path / "la.png", Image.new("LA", (4, 4), (0, 0)))
    assert header(grey) == (4, True) and (decode(grey, resolution=4, channels=1) == 255).all()

    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9])
    path = saved(tmp_path / "clear.gif", palette, transparency=0)
    assert (decode(path, resolution=4, channels=3) == 255).all()


def test_transparent_gray_level_becomes_white(tmp_path):
    path = saved(tmp_path / "key.png", Image.new("L", (4, 4), 7), transparency=7)
    assert (decode(path, resolution=4, channels=3) == 255).all()


def test_cmyk_becomes_rgb(tmp_path):
    path = saved(tmp_path / "print.tif", Image.new("CMYK", (4, 4), (0, 255, 255, 0)))
    assert decode(path, resolution=4, channels=3)[0, 0].tolist() == [255, 0, 0]


def test_one_bit_images_are_black_and_white(tmp_path):
    path = saved(tmp_path / "bits.png", Image.fromarray(np.eye(4, dtype=bool)))
    np.testing.assert_array_equal(decode(path, resolution=4, channels=1)[..., 0], np.eye(4, dtype=np.uint8) * 255)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    image = Image.new("L", (32, 32), "black")
    image.paste("white", (0, 0, 32, 16))  # the upper half, and
    image.paste("grey", (0, 0, 16, 16))  # its left part: each orientation looks different
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"turned.{suffix}", image, exif=exif, **({"quality": 95} if suffix == "jpg" else {}))
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(decode(path, resolution=32, channels=1)[..., 0], expected)


def test_image_with_damaged_exif_is_readable(tmp_path):
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Raw profile type exif", "\nexif\n4\nnot hexadecimal")
    path = saved(tmp_path / "notes.png", Image.fromarray(RAMP), pnginfo=notes)
    with Image.open(path) as opened, pytest.raises(ValueError):
        opened.getexif()
    np.testing.assert_array_equal(decode(path, resolution=8, channels=1)[..., 0], RAMP)


def test_shorter_side_is_resized_and_center_cropped():
    wide = np.zeros((10, 30, 3), dtype=np.uint8)
    wide[:, 10:20] = 255
    assert (decode(wide, resolution=10, channels=3) == 255).all()
    assert (decode(wide.swapaxes(0, 1), resolution=10, channels=3) == 255).all()
    noise = np.random.default_rng(0).integers(0, 256, (40, 120, 3), dtype=np.uint8)
    whole = np.asarray(Image.fromarray(noise).resize((60, 20), Image.Resampling.BICUBIC))
    assert abs(decode(noise, resolution=20, channels=3).astype(int) - whole[:, 20:40]).max() <= 1


def test_shrinking_does_not_alias():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    pixels = decode(board.astype(np.uint8), resolution=8, channels=1)
    assert abs(pixels.astype(int) - 127).max() <= 8


def test_large_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path):
    ramp = Image.fromarray(np.tile(np.arange(512) // 2, (512, 1)).astype(np.uint8)).convert("RGB")
    path = saved(tmp_path / "large.jpg", ramp, quality=95)
    expected = np.asarray(ramp.resize((16, 16), Image.Resampling.BICUBIC)).astype(int)
    assert abs(decode(path, resolution=16, channels=3) - expected).max() <= 4


def test_bytes_arrays_files_and_pillow_images_decode_equally(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    path = saved(tmp_path / "same.png", image)
    made = [decode(one, resolution=5, channels=3) for one in (path, path.read_bytes(), np.asarray(image), image)]
    for other in made[1:]:
        np.testing.assert_array_equal(other, made[0])
    assert made[0].shape == (5, 5, 3) and made[0].dtype == np.uint8


def test_resize_returns_arrays_of_the_right_size():
    pixels = np.zeros((2, 8, 8, 1), dtype=np.uint8)
    assert resize(pixels, resolution=8, channels=1) is pixels
    assert resize(pixels, resolution=4, channels=3).shape == (2, 4, 4, 3)
    assert resize(pixels[:0], resolution=4, channels=3).shape == (0, 4, 4, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"hello", "not an image"), (b"", "not an image"), (None, "broken image"), ("missing", "no such file")],
)
def test_errors_name_unreadable_files(tmp_path, content, reason):
    path = tmp_path / "bad.png"
    if content is None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        content = saved(path, Image.fromarray(noise)).read_bytes()[:4000]
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"cannot read .*bad\.png: .*{reason}") as caught:
        decode_file(path, resolution=8, channels=3)
    assert "\n" not in str(caught.value)


def test_broken_png_is_an_error_if_exif_is_read_first():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[200:250] = bytes(50)
    with pytest.raises(UserError, match="broken"):
        decode(bytes(content), resolution=8, channels=3)


def test_messages_of_pillow_and_libtiff_are_suppressed(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for name in ("tiff_deflate", "jpeg", "tiff_lzw"):
        content = bytearray(saved(tmp_path / f"{name}.tif", noise, compression=name).read_bytes())
        content[200:250] = bytes(50)
        (tmp_path / f"{name}.tif").write_bytes(content)
        (tmp_path / f"{name}-cut.tif").write_bytes(content[: len(content) // 2])
    script = (
        "import sys, pathlib\nfrom shoestring.data import decode_file\n"
        "for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n        decode_file(file, resolution=8, channels=3)\n"
        "    except ValueError as error:\n        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stderr == "" and "tiff_deflate.tif: it is a broken image" in done.stdout


def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png: it is not a regular file"):
        decode_file(tmp_path / "pipe.png", resolution=8, channels=3)
    with pytest.raises(UserError, match="is a directory"):
        decode_file(tmp_path, resolution=8, channels=3)
