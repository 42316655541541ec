"""Pictures and names: the split keeps its promises, the cache survives, folders of one's own are read or refused."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmlib.data import cache
from mmlib.data.emoji import Pictures, load_pictures, make_pictures, names_in, right_answers, split_pictures
from mmlib.data.text import Tokenizer, spaced, words_of

SPLIT = ["20fef8fedf05c20c", "52ed48c9e0e54b2b", "1c7001515e8e4499", "07a6aab08253c9a9"]
TOKENS = "0f9a8392d6d47956"  # of all English names


@pytest.fixture(scope="module")
def pictures():
    return make_pictures()


@pytest.fixture(scope="module")
def split(pictures):
    return split_pictures(pictures)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def svgs(tmp_path):
    folder = tmp_path / "svg"
    folder.mkdir()
    for code, colour in (("1F600", "red"), ("1F601", "blue"), ("1F602", "red")):
        shape = f'<path fill="{colour}" d="M0 0h8v4h-8z"/>'
        (folder / f"{code}.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8">{shape}</svg>')
    return folder


def test_no_two_pictures_are_alike_and_twins_share_names(pictures):
    digests = {hashlib.sha256(image.numpy().tobytes()).digest() for image in pictures.image}
    assert len(digests) == len(pictures) == len(set(pictures.codes))
    names = dict(zip(pictures.codes, pictures.names, strict=True))
    assert {"farmer light skin tone", "man farmer light skin tone"} in map(set, names.values())
    assert sum(map(len, pictures.names)) > len(pictures) > 3500


def test_the_split_is_disjoint_by_picture_and_by_name(pictures, split):
    places = torch.cat(split).tolist()
    assert sorted(places) == list(range(len(pictures)))
    parts = [{name.lower() for names in pictures.take(part).names for name in names} for part in split]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert [len(part) for part in split[1:]] == [200, 400, 200]


def test_the_split_is_compositional(pictures, split):
    training = [set(words_of(name)) for names in pictures.take(split.train).names for name in names]
    for part in (split.test, split.validation):
        for word in {word for names in pictures.take(part).names for name in names for word in words_of(name)}:
            assert sum(word in name for name in training) >= 3, word
    known = set().union(*training)
    for names in pictures.take(split.hard).names:
        assert set().union(*map(words_of, names)) - known


def test_the_split_depends_on_the_codes_alone(pictures, split):
    torch.manual_seed(1)
    order = torch.randperm(len(pictures))
    again = split_pictures(pictures.take(order))
    for part, other in zip(split, again, strict=True):
        assert {pictures.codes[i] for i in part} == {pictures.codes[order[i]] for i in other}


def test_the_split_is_the_same_in_another_process(pictures, split):
    code = "from mmlib.data.emoji import *; p = make_pictures(); print(*(p.codes[i] for i in split_pictures(p).test))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.split() == [pictures.codes[i] for i in split.test]


def test_chinese_names_in_characters(pictures, split):
    chinese = names_in(pictures, "zh")
    in_training = {name for i in split.train.tolist() for name in chinese[i]}
    assert not in_training & {name for i in split.test.tolist() for name in chinese[i]}
    assert spaced("女生冲浪 中等深肤色") == "女 生 冲 浪 中 等 深 肤 色"


def digest(words):
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def test_the_split_and_the_tokens_are_those_of_every_published_result(pictures, split):
    parts = [digest(pictures.take(part).codes) for part in split]
    assert parts == SPLIT
    names = [name for names in pictures.names for name in names]
    tokenizer = Tokenizer.from_texts(names)
    assert digest(str(row) for row in tokenizer.encode(names).tolist()) == TOKENS


def test_too_few_pictures_to_split(pictures):
    with pytest.raises(ValueError, match="expected 600 pictures of known words.*smaller parts"):
        split_pictures(pictures.take(torch.arange(500)))
    with pytest.raises(ValueError, match="parts of 0 pictures or more, got .*'test': -1"):
        split_pictures(pictures, test=-1)


def named(*names):
    """Pictures that are set aside in this order, if they are."""
    codes = sorted(map(str, range(len(names))), key=lambda code: hashlib.sha256(code.encode()).digest())
    return Pictures(torch.zeros(len(names), 3, 1, 1, dtype=torch.uint8), names, tuple(codes))


def test_pictures_that_share_a_caption_stay_together():
    words = [f"{a} {b}" for a in "abcdefgh" for b in "stuvwxyz"]
    own = named(
        *[(words[i % 40].upper() if i > 90 else words[i % 40], f"{words[i % 64]} {words[i // 64]}") for i in range(120)]
    )
    parts = split_pictures(own, test=24, validation=6, hard=0)
    names = [{name.lower() for names in own.take(part).names for name in names} for part in parts]
    assert [len(part) for part in parts] == [90, 6, 24, 0] and sum(map(len, names)) == len(set.union(*names))


def test_a_word_of_the_test_stays_in_training():
    """The second picture has all other names with the word of the first."""
    own = named(("w k",), ("w a", "w b", "w c"), ("z",), ("k",), ("k k",), ("k k k",), ("k k k k",))
    assert [part.tolist() for part in split_pictures(own, 1, 0, 1)] == [[1, 3, 4, 5, 6], [], [0], [2]]


def test_a_caption_counts_once_among_what_is_learned():
    """Three pictures with one caption make no word known."""
    own = named(("w k",), ("w a",), ("w a",), ("w a",), ("k",), ("k k",), ("k k k",))
    assert split_pictures(own, 1, 0, 0).test.tolist() == [4]


def test_every_picture_with_the_caption_is_right():
    names = (("a dog", "a pet"), ("a cat",), ("a pet",))
    right = right_answers(["a pet", "a dog", "a cat", "a cow"], names)
    assert right.int().tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_a_folder_in_place_of_the_package(svgs, own_cache):
    pictures = make_pictures(size=8, folder=svgs)
    assert pictures.names == (("face with tears of joy", "grinning face"), ("beaming face with smiling eyes",))
    assert pictures.codes == ("1F600", "1F601")
    assert pictures.image[0, :, 0, 0].tolist() == [255, 0, 0]
    assert pictures.image[0, :, 7, 0].tolist() == [255, 255, 255]


def test_a_drawing_that_is_no_square_stands_on_white(svgs, own_cache):
    drawing = svgs / "1F601.svg"
    drawing.write_text(drawing.read_text().replace("0 0 8 8", "0 0 8 4"))
    image = make_pictures(size=8, folder=svgs).image[1]
    assert image[:, [0, 4, 7], 4].T.tolist() == [[255, 255, 255], [0, 0, 255], [255, 255, 255]]


def test_a_folder_without_drawings(tmp_path):
    with pytest.raises(ValueError, match="make_pictures: expected SVG files named by code points"):
        make_pictures(folder=tmp_path)


def test_a_broken_drawing_is_named(svgs, own_cache):
    (svgs / "1F601.svg").write_text("<svg")
    with pytest.raises(ValueError, match="1F601.svg"):
        make_pictures(size=8, folder=svgs)
    assert not own_cache.exists() or not list(own_cache.iterdir())


def kept(folder):
    (file,) = folder.iterdir()
    return file


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:40] + b"?" + b[41:], lambda b: b"", lambda b: b + b"x"]
)
def test_a_damaged_cache_is_made_again(svgs, own_cache, damage):
    image = make_pictures(size=8, folder=svgs).image
    whole = kept(own_cache).read_bytes()
    kept(own_cache).write_bytes(damage(whole))
    assert torch.equal(make_pictures(size=8, folder=svgs).image, image)
    assert kept(own_cache).read_bytes() == whole


def test_the_cache_is_read(svgs, own_cache, monkeypatch):
    image = make_pictures(size=8, folder=svgs).image
    monkeypatch.setattr("mmlib.data.emoji._render", lambda *_: pytest.fail("rendered again"))
    assert torch.equal(make_pictures(size=8, folder=svgs).image, image)


def test_another_drawing_is_not_taken_from_the_cache(svgs, own_cache):
    before = make_pictures(size=8, folder=svgs)
    drawing = svgs / "1F600.svg"
    drawing.write_text(drawing.read_text().replace("red", "tan"))  # as many bytes
    assert not torch.equal(make_pictures(size=8, folder=svgs).image[0], before.image[0])


def test_a_cache_that_cannot_be_written_costs_only_time(svgs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "file" / "cache"))
    assert len(make_pictures(size=8, folder=svgs)) == 2


def test_a_full_disk_leaves_nothing_half_written(svgs, own_cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    assert len(make_pictures(size=8, folder=svgs)) == 2
    assert list(own_cache.iterdir()) == []


def test_two_processes_at_once(svgs, own_cache):
    code = f"from mmlib.data.emoji import make_pictures; print(make_pictures(8, {str(svgs)!r}).image.sum().item())"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sums = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sums[0] == sums[1] == str(make_pictures(8, svgs).image.sum().item())
    assert kept(own_cache).is_file()


@pytest.fixture
def own(tmp_path):
    (tmp_path / "Images").mkdir()
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (20, 10), colour).save(tmp_path / "Images" / name)
    (tmp_path / "captions.txt").write_text('image,caption\na.png,a red box\na.png,"red, again"\nb.png,a blue box\n')
    return tmp_path


def test_your_own_pictures(own):
    pictures = load_pictures(own, size=8)
    assert pictures.names == (("a red box", "red, again"), ("a blue box",))
    assert pictures.codes == ("a.png", "b.png")
    assert pictures.image.shape == (2, 3, 8, 8)
    assert pictures.image[1, :, 4, 4].tolist() == [0, 0, 255]


def test_the_middle_square_is_read_and_files_that_show_the_same_are_one_picture(own):
    wide = Image.new("RGB", (20, 10), "blue")
    wide.paste("red", (5, 0, 15, 10))
    wide.save(own / "c.png")
    Image.open(own / "Images" / "a.png").save(own / "again.bmp")
    with (own / "captions.txt").open("a") as file:
        file.write("c.png,a flag\nagain.bmp,red again\n")
    pictures = load_pictures(own, size=8)
    assert pictures.codes == ("a.png", "b.png", "c.png")
    assert pictures.names[0] == ("a red box", "red again", "red, again")
    assert (pictures.image[2, 0] > 240).all()


def test_what_is_wrong_with_a_folder_is_named(own):
    (own / "Images" / "b.png").write_text("not a picture")
    with pytest.raises(ValueError, match=r"load_pictures: expected a picture, got .*b\.png"):
        load_pictures(own, size=8)
    (own / "captions.txt").write_text("image,caption\nc.png,a box\n")
    with pytest.raises(ValueError, match=r"load_pictures: expected the picture c\.png named in captions\.txt"):
        load_pictures(own, size=8)
    (own / "captions.txt").unlink()
    with pytest.raises(ValueError, match=r"load_pictures: expected a file .*captions\.txt"):
        load_pictures(own, size=8)


def test_take_keeps_pictures_and_names_together(pictures):
    few = pictures.take(torch.tensor([5, 2]))
    assert isinstance(few, Pictures) and few.codes == (pictures.codes[5], pictures.codes[2])
    assert np.array_equal(few.image[1], pictures.image[2])
    mask = torch.arange(len(pictures)) % 1000 == 5
    some = pictures.take(mask)
    assert len(some.image) == len(some.names) == len(some) == 4 and some.codes[1] == pictures.codes[1005]


@pytest.mark.parametrize(
    "language, names",
    [("en", "cat face"), ("es", "cara de gato"), ("zh", "猫脸"), ("ja", "ネコの顔"), ("de", "katzengesicht")],
)
def test_names_in_other_languages(pictures, language, names):
    assert names_in(pictures, language)[pictures.codes.index("1F431")] == (names,)


def test_english_names_are_those_of_the_pictures(pictures):
    assert names_in(pictures, "en") == pictures.names


def test_a_twin_keeps_all_its_names_in_every_language(pictures):
    place = next(i for i, names in enumerate(pictures.names) if "farmer light skin tone" in names)
    assert set(names_in(pictures, "es")[place]) == {
        "profesional de la agricultura tono de piel claro",
        "profesional de la agricultura hombre tono de piel claro",
    }


@pytest.mark.parametrize("language", ["es", "fr", "de", "zh", "ja"])
def test_every_picture_has_a_name_in_every_language(pictures, language):
    names = names_in(pictures, language)
    assert len(names) == len(pictures) and all(name.strip() for each in names for name in each)
    assert not any(":" in name or "_" in name for each in names for name in each)


def test_languages_and_names_that_are_unknown(pictures):
    with pytest.raises(ValueError, match="one of the languages en, es, .*zh.*, got 'tlh'"):
        names_in(pictures, "tlh")
    own = Pictures(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), (("my cat",),), ("a.png",))
    with pytest.raises(ValueError, match="names of make_pictures, got 'my cat'. Only Unicode's names are translated"):
        names_in(own, "es")
