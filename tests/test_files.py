"""The doors for files of your own: pictures as a viewer shows them, clips in time, tables of captions."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mmlib.data.files import files_in, read_captions, read_clip, read_picture, sample_places

# Pictures


def flat(mode, colour):
    return Image.new(mode, (4, 4), colour)


def grey(values, dtype):
    return Image.fromarray(np.full((4, 4), values, dtype=dtype))


def with_palette():
    picture = flat("P", 1)
    picture.putpalette([0, 0, 0, 0, 0, 255])
    return picture


SHOWN = {
    "glass.png": (flat("RGBA", (0, 0, 0, 0)), {}, (255, 255, 255)),
    "half.png": (flat("RGBA", (0, 0, 0, 127)), {}, (128, 128, 128)),
    "glass in grey.png": (flat("LA", (0, 0)), {}, (255, 255, 255)),
    "one colour is glass.png": (flat("RGB", (9, 8, 7)), {"transparency": (9, 8, 7)}, (255, 255, 255)),
    "one grey is glass.png": (flat("L", 9), {"transparency": 9}, (255, 255, 255)),
    "palette.png": (with_palette(), {}, (0, 0, 255)),
    "glass in a palette.png": (with_palette(), {"transparency": 1}, (255, 255, 255)),
    "palette.gif": (with_palette(), {}, (0, 0, 255)),
    "16 bits.png": (grey(32896, np.uint16), {}, (128, 128, 128)),
    "one of 16 bits is glass.png": (grey(7, np.uint16), {"transparency": 7}, (255, 255, 255)),
    "16 bits.tif": (grey(32896, np.uint16), {}, (128, 128, 128)),
    "16 bits.pgm": (grey(32896, np.int32), {}, (128, 128, 128)),
    "floats.tif": (grey(0.2, np.float32), {}, (51, 51, 51)),
    "inks.tif": (flat("CMYK", (0, 255, 255, 0)), {}, (255, 0, 0)),
    "inks.jpg": (flat("CMYK", (0, 255, 255, 0)), {"quality": 100}, (255, 0, 0)),
    "two colours.png": (flat("1", 1), {}, (255, 255, 255)),
}


@pytest.mark.parametrize("name", SHOWN)
def test_pictures_are_read_as_a_viewer_shows_them(tmp_path, name):
    picture, options, colour = SHOWN[name]
    picture.save(tmp_path / name, **options)
    read = np.array(read_picture(tmp_path / name))
    assert read.shape == (4, 4, 3) and abs(read - np.array(colour)).max() <= (1 if name.endswith("jpg") else 0)


@pytest.mark.parametrize("mode, top", [("RGB", (255, 0, 0)), ("I;16", 65535)])
def test_pictures_are_turned_upright(tmp_path, mode, top):
    picture, exif = Image.new(mode, (4, 2)), Image.Exif()
    picture.paste(top, (0, 0, 1, 2))  # its left edge, which is its upper edge when it is turned to the right
    exif[0x0112] = 6
    picture.save(tmp_path / "camera.png", exif=exif)
    read = np.array(read_picture(tmp_path / "camera.png"))
    assert read.shape == (4, 2, 3) and (read[0, :, 0] == 255).all() and not read[1:].any()


def of_bytes(picture, **options):
    file = io.BytesIO()
    picture.save(file, **options)
    return file.getvalue()


def long_text():
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 2_000_000, zip=True)
    return of_bytes(flat("L", 0), format="PNG", pnginfo=info)


PNG = of_bytes(Image.effect_noise((32, 32), 50), format="PNG")
REFUSED = {
    "nothing": (b"", "cannot identify"),
    "words": (b"no picture", "cannot identify"),
    "cut": (PNG[: len(PNG) // 2], "truncated"),
    "megabytes of text": (long_text(), "too large"),
    "gigantic": (PNG[:16] + (20_000).to_bytes(4, "big") * 2 + PNG[24:], ""),
    "floats to 2": (of_bytes(grey(2.0, np.float32), format="TIFF"), "values from 2 to 2, not from 0 to 1"),
    "no numbers": (of_bytes(grey(np.nan, np.float32), format="TIFF"), "values from nan to nan"),
    "32 bits": (of_bytes(grey(200, np.int32), format="TIFF"), "Pillow calls I"),
    "another colour space": (of_bytes(flat("LAB", (50, 0, 0)), format="TIFF"), "Pillow calls LAB"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_named(tmp_path, name):
    content, why = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"^read_picture: expected a picture, got .*{name}: .*{why}.* Save it again"):
        read_picture(tmp_path / name)


def test_a_picture_that_is_not_there_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "nowhere.png", tmp_path):
        with pytest.raises(ValueError, match=f"asked: expected a picture, got {path}: "):
            read_picture(path, "asked")


def test_no_cut_of_a_picture_passes(tmp_path):
    for n in range(len(PNG) - 30):  # the last bytes are checksums, and say that it is over
        (tmp_path / "cut.png").write_bytes(PNG[:n])
        with pytest.raises(ValueError, match=r"cut\.png"):
            read_picture(tmp_path / "cut.png")


# Clips


def test_numbers_in_names_are_in_order(tmp_path):
    names = ["1.png", "2.png", "10.png", "a1b2", "a1b10", "a02", "b", "x²"]
    for name in (*names, ".DS_Store"):
        (tmp_path / name).touch()
    assert [path.name for path in files_in(tmp_path)] == names


def reds(film):
    return [picture.getpixel((4, 4))[0] for picture in film]


def film_of(tmp_path, durations, **options):
    pages = [Image.new("RGB", (8, 8), (50 * i, 0, 0)) for i in range(1, len(durations) + 1)]
    path = tmp_path / "film.gif"
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=durations, loop=0, **options)
    return path


def test_frames_of_a_folder_are_in_order(tmp_path):
    for i in range(1, 13):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(tmp_path / f"{i}.png")
    assert reds(read_clip(tmp_path, 12)) == [20 * i for i in range(1, 13)]
    assert reds(read_clip(tmp_path, 3)) == [60, 140, 220]


def test_frames_of_a_gif_are_taken_by_their_durations(tmp_path):
    film = film_of(tmp_path, [100, 800, 100])
    assert reds(read_clip(film, 10)) == [50, *[100] * 8, 150]
    assert reds(read_clip(film, 1)) == [100]
    assert reds(read_clip(film_of(tmp_path, [0, 100, 10]), 3)) == [50, 100, 150]  # none, and too short: a tenth


def test_what_is_seen_through_a_gif_is_white(tmp_path):
    glass = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    glass.save(tmp_path / "glass.gif", save_all=True, append_images=[Image.new("RGBA", (8, 8), "red")], disposal=2)
    assert [picture.getpixel((4, 4)) for picture in read_clip(tmp_path / "glass.gif", 2)] == [(255,) * 3, (255, 0, 0)]


@pytest.mark.parametrize("options", [{}, {"comment": b";;", "transparency": 0}])
def test_no_cut_of_a_gif_plays_and_each_is_named(tmp_path, options):
    path = film_of(tmp_path, [100] * 4, **options)
    whole = path.read_bytes()
    assert len(whole) > 150 and len(read_clip(path, 4)) == 4
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(ValueError, match=r"^read_clip: expected a whole GIF, .*film\.gif: .* ffmpeg"):
            read_clip(path, 4)


def test_a_gif_with_a_wrong_byte_plays_or_is_named(tmp_path):
    path = film_of(tmp_path, [100] * 3)
    whole = path.read_bytes()
    for n in range(len(whole)):
        for wrong in (whole[n] ^ 0xFF, whole[n] ^ 1, 0):
            path.write_bytes(whole[:n] + bytes([wrong]) + whole[n + 1 :])
            try:
                assert len(read_clip(path, 3)) == 3
            except ValueError as error:
                assert "film.gif" in str(error)


def test_other_files_are_no_clips(tmp_path):
    flat("RGB", 0).save(tmp_path / "1.png")
    with pytest.raises(
        ValueError, match=r"got .*1\.png: a file in PNG\. Use GIF, or a folder of pictures for each clip"
    ):
        read_clip(tmp_path / "1.png", 8)


def test_places_are_the_middles_of_equal_parts():
    for frames, count in ((16, 4), (8, 8), (30, 8), (4, 16), (1, 3), (7, 5)):
        assert sample_places([1] * frames, count) == [(2 * i + 1) * frames // (2 * count) for i in range(count)]


# Captions


@pytest.fixture
def table(tmp_path):
    return tmp_path / "captions.txt"


READ = {
    "plain": b"image,caption\na.png,a red box\na.png,red\nb.png,blue\n",
    "with a mark for its bytes": b"\xef\xbb\xbfimage,caption\na.png,a red box\na.png,red\nb.png,blue",
    "of Windows": b"image,caption\r\na.png,a red box\r\na.png,red\r\nb.png,blue\r\n",
    "of an old Mac": b"image,caption\ra.png,a red box\ra.png,red\rb.png,blue\r",
    "in capitals": b"Image, Caption\na.png,a red box\na.png,red\nb.png,blue\n",
    "with empty lines": b"\nimage,caption\n\na.png,a red box\na.png,red\n  \nb.png,blue\n\n",
    "with spaces and quotes": b'image,caption\n a.png , "a red box" \n"a.png","red"\nb.png, blue\n',
}


@pytest.mark.parametrize("name", READ)
def test_tables_of_captions(table, name):
    table.write_bytes(READ[name])
    assert read_captions(table) == {"a.png": ["a red box", "red"], "b.png": ["blue"]}


def test_captions_keep_commas_and_quotes_and_are_composed(table):
    table.write_text('image,caption\na.png,"a, ""b"""\na.png,a 6" ruler\nb.png,cafe\u0301\n', encoding="utf-8")
    assert read_captions(table) == {"a.png": ['a, "b"', 'a 6" ruler'], "b.png": ["caf\u00e9"]}


BAD = {
    b"": "image,caption in the first line, got '' in",
    b"file,caption\na.png,a box\n": "the first line, got 'file,caption' in .* Write that line",
    b"a.png,a box\n": "the first line, got 'a.png,a box'",
    b"image\tcaption\na.png\ta box\n": r"the first line, got 'image\\tcaption'",
    b"image,caption\n": "at least one line image,caption, got an empty file",
    b"image,caption\na.png\n": "got 'a.png' in line 2 of",
    b"image,caption\n\na.png,\n": "got 'a.png,' in line 3 of",
    b"image,caption\na.png,a, b\n": "got 'a.png,a,b' in line 2 .* with a comma stands in quotes",
    b'image,caption\na.png,"a box\nb.png,"a cat"\n': "in line 2 of .* stands in one line",
    b'image,caption\na.png,"a\nbox"\n': "in line 2 of .* stands in one line",
    b'image,caption\na.png,"a" box\n': "in line 2 of",
    "image,caption\na.png,\U0001f600 \u2764\ufe0f\n".encode(): "a caption with a word, got .* in line 2 of",
    b"image,caption\na.png,...\n": "a caption with a word",
    "image,caption\na.png,box\nb.png,café\n".encode("cp1252"): "in UTF-8, got the byte 0xe9 in line 3 of .* CSV UTF-8",
    "image,caption\na.png,a box\n".encode("utf-16"): "in UTF-8, got the byte 0xff in line 1 of",
    "image,caption\na.png,a box\n".encode("utf-16-le"): "image,caption in the first line",
}


@pytest.mark.parametrize("content", BAD)
def test_tables_that_are_refused(table, content):
    table.write_bytes(content)
    with pytest.raises(ValueError, match=f"^asked: expected .*{BAD[content]}") as error:
        read_captions(table, "asked")
    assert str(table) in str(error.value)


def test_a_table_that_is_not_there(table):
    with pytest.raises(ValueError, match=r"expected a file .*captions\.txt, got none"):
        read_captions(table)
