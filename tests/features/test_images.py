from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.images import ImageError, decode_image, find_images, picture_path, read_image
from tests.features.encoders import encode
from tests.features.fake import save_picture


def gradient() -> Image.Image:
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
    return Image.fromarray(pixels)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_pixels_beside_broken_exif_are_still_read() -> None:
    data = encode(gradient(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode_image(data).size == (8, 6)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("CMYK", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("P", "GIF"),
     ("RGB", "WEBP"), ("RGB", "BMP"), ("RGB", "TIFF"), ("CMYK", "TIFF"), ("RGB", "PPM"), ("RGB", "AVIF")],
)  # fmt: skip
def test_white_is_white_in_every_format(mode: str, kind: str) -> None:
    white = Image.new("RGB", (9, 7), "white").convert(mode)
    found = decode_image(encode(white, kind))
    assert (found.mode, found.size) == ("RGB", (9, 7))
    assert np.asarray(found).min() >= 252  # lossy coders may miss by a little


def test_red_stays_red_and_blue_stays_blue() -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = (255, 0, 0)
    pixels[:, 8:] = (0, 0, 255)
    found = np.asarray(
        decode_image(encode(Image.fromarray(pixels), "JPEG", quality=100, subsampling=0))
    ).astype(int)
    assert (found[:, :8, 0] - found[:, :8, 2]).min() > 200
    assert (found[:, 8:, 2] - found[:, 8:, 0]).min() > 200


def test_for_a_small_copy_a_large_jpeg_is_decoded_small_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    large = Image.new("RGB", (2000, 1000), "red")
    for name, kind, size in (("a.jpg", "JPEG", (500, 1000)), ("a.png", "PNG", (1000, 2000))):
        large.save(tmp_path / name, kind, exif=exif)
        small = read_image(tmp_path / name, side=400)
        assert small.size == size
        assert np.abs(np.asarray(small).astype(int) - (255, 0, 0)).max() <= 2
        assert read_image(tmp_path / name).size == (1000, 2000)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(90), "^HEIC is not read; convert it to JPEG or PNG$"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "^not a picture in a known format"),  # a program, run by Ghostscript
    ],
)
def test_formats_that_are_not_read_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_image(data)


def test_reasons_do_not_repeat_the_path(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert str(tmp_path) not in str(caught.value)


def test_pictures_are_found_at_any_depth_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = [
        "b.JPG",
        "a/2.png",
        "a/1.webp",
        "海滩/日落 🌅.jpg",
        "a/deep/er/x.Tiff",
        "a.jpg",
        "a.png",
        "phone.HEIC",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    for other in ("notes.txt", ".hidden.jpg", ".thumbnails/t.jpg", "jpg"):
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).write_bytes(b"x")
    assert find_images(tmp_path) == sorted(names)


def test_a_file_is_no_folder_of_pictures(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    with pytest.raises(NotADirectoryError, match="a.png: a folder of pictures is wanted"):
        find_images(path)


@pytest.mark.parametrize("image_id", ["../x.jpg", "/etc/passwd", "a/../../x.jpg", "", "leak/secret.png"])
def test_an_id_cannot_leave_its_folder(tmp_path: Path, image_id: str) -> None:
    save_picture(tmp_path / "out" / "secret.png")
    root = tmp_path / "in"
    root.mkdir()
    (root / "leak").symlink_to(tmp_path / "out")
    with pytest.raises(ValueError, match="(does not name a file inside|leads out of)"):
        picture_path(root, image_id)


def test_an_id_inside_its_folder_is_its_path(tmp_path: Path) -> None:
    assert picture_path(tmp_path, "子/图.jpg") == tmp_path / "子" / "图.jpg"
