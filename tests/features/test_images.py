from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.images import ImageError, decode_image, find_images, picture_path, read_image, scan_images
from tests.features.fake import save_picture


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    data = BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def gradient() -> Image.Image:
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
    return Image.fromarray(pixels)


UPRIGHT = {  # EXIF orientation -> the stored pixels of one upright picture, by the definition of the tag
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
def test_every_exif_orientation_is_turned_upright(orientation: int) -> None:
    wanted = np.asarray(gradient())
    stored = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](wanted)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(np.asarray(decode_image(encode(stored, "PNG", exif=exif))), wanted)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_pixels_beside_broken_exif_are_still_read() -> None:
    data = encode(gradient(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode_image(data).size == (8, 6)


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    deep = np.array([[0, 257, 40000, 65535]], np.uint16)
    found = np.asarray(decode_image(encode(Image.fromarray(deep), "PNG")))
    np.testing.assert_array_equal(found[0, :, 0], [0, 1, 156, 255])  # 40000 / 257 = 155.6
    assert (found == found[:, :, :1]).all()


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


def test_transparency_is_laid_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))  # black that nobody sees
    np.testing.assert_array_equal(
        np.asarray(decode_image(encode(image, "PNG")))[0], [[255, 0, 0], [255, 255, 255]]
    )


def test_the_first_frame_stands_for_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(data).getpixel((0, 0)) == (255, 0, 0)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


def ztxt_bomb() -> bytes:
    data = b"Comment\0\0" + zlib.compress(bytes(50_000_000))
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    png = encode(gradient(), "PNG")
    return png[:33] + chunk + png[33:]  # after IHDR


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"^empty file \(0 bytes\)$"),
        (b"\xff", "^not a picture in a known format"),
        (b"hello, I am a text file called holiday.jpg", "^not a picture in a known format"),
        (b"<html><body>404</body></html>", "^not a picture in a known format"),
        (encode(Image.effect_noise((64, 64), 90), "PNG")[:2000], "^broken picture data: "),
        (encode(Image.effect_noise((64, 64), 90), "JPEG")[:700], "^broken picture data: .*truncated"),
        (png_header(50_000, 50_000), "pixels"),
        (png_header(10_000, 10_000), r"^10000x10000 pixels; at most 89478485 are decoded$"),
        (ztxt_bomb(), "^broken picture data: .*[Dd]ecompressed"),
        (encode(Image.new("F", (2, 2)), "TIFF"), "^pixels of mode F"),
        (b"\0\0\0\x18ftypheic" + bytes(90), "^HEIC is not read; convert it"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "^not a picture in a known format"),
    ],
    ids=["empty", "one byte", "text", "html", "half a png", "half a jpeg",
         "bomb", "large", "ztxt", "float", "heic", "eps"],
)  # fmt: skip
def test_what_is_wrong_with_a_picture_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_image(data)


def test_reasons_do_not_repeat_the_path(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(ImageError) as caught:
            read_image(path)
        assert str(tmp_path) not in str(caught.value)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert find_images(tmp_path) == []
    with pytest.raises(ImageError, match="^not a regular file$"):
        read_image(tmp_path / "pipe.jpg")


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
    (tmp_path / "folder.jpg").mkdir()
    assert find_images(tmp_path) == sorted(names)


def test_links_are_followed_inside_the_folder_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    save_picture(inside / "real.png")
    save_picture(outside / "secret.png")
    (inside / "same.png").symlink_to("real.png")
    (inside / "leak.png").symlink_to(outside / "secret.png")
    (inside / "all").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "dangling.png").symlink_to("nowhere.png")
    found = scan_images(inside)
    assert found.image_ids == ["real.png", "same.png"]
    assert found.outside == ["all", "dangling.png", "leak.png"]


def test_a_name_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    os.rename(save_picture(tmp_path / "good.png"), os.fsencode(tmp_path) + b"/\xff\xfe.png")
    found = scan_images(tmp_path)
    assert found.image_ids == []
    assert list(found.failed.values()) == ["the file name is not valid UTF-8; rename the file"]


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
