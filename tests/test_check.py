"""Each error says where, what was expected, what came, and what to do."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmlib.check import check_image, check_positive, check_text_ids, refuse, typechecked
from mmlib.layers import Attend, Attention, Block, ConvStem, PatchEmbedding
from mmlib.models.captioner import Captioner, CaptionerConfig
from mmlib.models.clip import CLIP, CLIPConfig, zero_shot_classifier
from mmlib.models.fusion import Fusion, FusionConfig
from mmlib.models.retrieval import Retrieval, RetrievalConfig, top_k
from mmlib.models.timesformer import TimeSformer, TimeSformerConfig


def test_the_sentence():
    with pytest.raises(ValueError) as error:
        refuse("f", "a", "b", "Do c.")
    assert str(error.value) == "f: expected a, got b. Do c."


# What signatures say


@typechecked
def weigh(
    image: Float[Tensor, "b n"], right: Bool[Tensor, "b b"] | None = None, share: float = 0.5, k: int = 1
) -> Float[Tensor, ""]:
    return share * image.mean()


@typechecked
def count(*rows: Int[Tensor, " n"], names: Sequence[Sequence[str]] = ()) -> int:
    return len(rows)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: weigh([1.0]), "weigh: expected image (b, n) of floats, got list [1.0]. Use torch.as_tensor(x)."),
        (
            lambda: weigh(torch.ones(2, 3), torch.ones(2, 3).bool()),
            "weigh: expected right (b, b) of booleans, got bool (2, 3) beside image (2, 3). One row a query in both.",
        ),
        (
            lambda: weigh(torch.ones(2, 3), right=torch.ones(2, 2)),
            "weigh: expected right (b, b) of booleans, got float32 (2, 2) beside image (2, 3). "
            "Write a condition, such as right > 0.",
        ),
        (lambda: weigh(torch.ones(2, 3), share="much"), "weigh: expected share: float, got str 'much'."),
        (lambda: weigh(torch.ones(2, 3), k=1.5), "weigh: expected k: int, got float 1.5."),
        (
            lambda: weigh(torch.ones(0, 3)),
            "weigh: expected image that is not empty, got (0, 3). Was everything filtered out, or cut away?",
        ),
        (
            lambda: count(torch.arange(3), torch.arange(2)),
            "count: expected rows (n) of whole numbers, got int64 (2,) beside rows (3,).",
        ),
        (
            lambda: count(names=[["a"], "b"]),
            "count: expected names: a list of lists of texts, got list [['a'], 'b']. Use [text] for one text.",
        ),
        (
            lambda: count(names=[["a", 1]]),
            "count: expected names: a list of lists of texts, got list [['a', 1]]. Use [text] for one text.",
        ),
    ],
)
def test_a_call_that_its_signature_does_not_allow(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message


def test_what_a_signature_allows_passes():
    import numpy as np

    weigh(torch.ones(2, 3, dtype=torch.float16), None, np.float32(0.5), np.int64(3))
    weigh(torch.ones(2, 3), torch.eye(2).bool(), share=1)
    assert count(torch.arange(3), torch.arange(3), names=(["a"], ("b", "c"))) == 2
    with pytest.raises(TypeError, match="image"):  # Python's own words
        weigh()


CLIP_SIZES = CLIPConfig(vocabulary=10, image_size=16, positions=6, text_width=8, image_width=8, embed=8)
IMAGE, VIDEO, IDS = torch.rand(2, 3, 16, 16), torch.rand(2, 2, 3, 16, 16), torch.tensor([[2, 4, 3], [2, 5, 3]])


@pytest.fixture(scope="module")
def models():
    return {
        "clip": CLIP(CLIP_SIZES),
        "captioner": Captioner(CaptionerConfig(10, image_size=16, channels=(4, 4, 4, 8))),
        "timesformer": TimeSformer(TimeSformerConfig(3, image_size=16, width=16)),
        "fusion": Fusion(FusionConfig(), "cross"),
        "retrieval": Retrieval(RetrievalConfig(6, 4, 8, 8)).eval(),
        "attention": Attention(8, 2),
        "block": Block(8, 2, 16),
        "patches": PatchEmbedding(8, 4),
        "stem": ConvStem(8, 4),
    }


@pytest.mark.parametrize(
    "name, inputs",
    [
        ("clip", (IMAGE.double(), IDS)),
        ("captioner", (IMAGE.double(), IDS)),
        ("timesformer", (VIDEO.double(),)),
        ("fusion", (torch.rand(2, 1, 8, 8).double(), torch.randn(2, 40, 16))),
        ("fusion", (torch.rand(2, 1, 8, 8), torch.randn(2, 40, 16).double())),
        ("retrieval", (torch.randn(2, 6).double(), torch.randn(2, 4))),
        ("attention", (torch.randn(2, 3, 8).double(),)),
        ("patches", (IMAGE.double(),)),
        ("stem", (IMAGE.double(),)),
    ],
)
def test_floats_longer_than_the_weights_are_refused(models, name, inputs):
    with pytest.raises(ValueError, match=r"of float32, as the weights are, got float64. Use \w+.to\(torch.float32\)."):
        models[name](*inputs)


def test_floats_as_long_as_the_weights_pass(models):
    assert CLIP(CLIP_SIZES).double().encode_image(IMAGE.double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert models["clip"].encode_image(IMAGE.bfloat16()).isfinite().all()


@pytest.mark.parametrize(
    "name, inputs",
    [
        ("clip", (IMAGE[:0], IDS[:0])),
        ("clip", (IMAGE, IDS[:, :0])),
        ("captioner", (IMAGE[:0], IDS[:0])),
        ("timesformer", (VIDEO[:0],)),
        ("fusion", (torch.rand(0, 1, 8, 8), None)),
        ("retrieval", (torch.randn(0, 6), torch.randn(0, 4))),
        ("block", (torch.randn(0, 3, 8),)),
    ],
)
def test_an_empty_batch_is_refused(models, name, inputs):
    with pytest.raises(ValueError, match="that is not empty, got "):
        models[name](*inputs)


@pytest.mark.parametrize(
    "name, inputs", [("clip", (IMAGE, IDS[:1])), ("captioner", (IMAGE[:1], IDS)), ("clip", (IMAGE[:1], IDS))]
)
def test_pictures_and_texts_that_differ_in_number_are_refused(models, name, inputs):
    with pytest.raises(ValueError, match=r"expected text_ids \(b, s\).* beside image .*Row i of both must be a pair"):
        models[name](*inputs)


def test_layers_inside_of_a_model_are_not_checked_again(models, monkeypatch):
    seen = []
    monkeypatch.setattr("mmlib.check._fits", lambda value, hint: seen.append(hint) or True)
    models["clip"](IMAGE, IDS)
    assert len(seen) == 2  # the picture and the text
    with pytest.raises(ValueError, match="end-of-text"):
        models["clip"](IMAGE, torch.zeros_like(IDS))
    models["clip"].encode_image(IMAGE)  # and an error does not end the checks
    assert len(seen) == 5


def test_a_mask_of_floats_is_refused(models):
    tokens, mask = torch.randn(2, 3, 8), torch.zeros(2, 1, 3, 3)
    q = torch.randn(2, 4, 3, 8)
    for call in (lambda: models["attention"](tokens, mask=mask), lambda: Attend()(q, q, q, mask=mask[:, 0])):
        with pytest.raises(ValueError, match="of booleans, got float32 .*A mask is True where attention is allowed"):
            call()


def test_a_string_is_no_list_of_names():
    with pytest.raises(
        ValueError, match=r"zero_shot_classifier: expected class_names: a list of texts, got str 'cat'. Use \['cat'\]"
    ):
        zero_shot_classifier(lambda texts: torch.ones(len(texts), 2), "cat", ["{}"])
    with pytest.raises(ValueError, match="expected 2 vectors from encode_text, got 1"):
        zero_shot_classifier(lambda texts: torch.ones(1, 2), ["cat", "dog"], ["{}"])
    with pytest.raises(ValueError, match="embeddings of finite numbers, got NaN"):
        zero_shot_classifier(lambda texts: torch.ones(len(texts), 2) * torch.nan, ["cat"], ["{}"])


def test_a_search_among_nan_is_refused():
    with pytest.raises(ValueError, match="top_k: expected similarities of numbers, got NaN"):
        top_k(torch.eye(2), torch.eye(2) * torch.nan, 1)


# Sizes


@pytest.mark.parametrize(
    "model, config, words",
    [
        (CLIP, dataclasses.replace(CLIP_SIZES, image_layers=0), "CLIP: expected image_layers of 1 or more, got 0."),
        (CLIP, dataclasses.replace(CLIP_SIZES, text_layers=0), "CLIP: expected text_layers of 1 or more, got 0."),
        (CLIP, dataclasses.replace(CLIP_SIZES, patch=0), "CLIP: expected patch of 1 or more, got 0."),
        (CLIP, dataclasses.replace(CLIP_SIZES, patch=1), "ConvStem: expected a patch that is a power of two, got 1."),
        (CLIP, dataclasses.replace(CLIP_SIZES, text_heads=0), "CLIP: expected text_heads of 1 or more, got 0."),
        (CLIP, dataclasses.replace(CLIP_SIZES, end_id=10), "CLIP: expected end_ids from 0 to 9, got end_ids from 10"),
        (TimeSformer, TimeSformerConfig(3, layers=-1), "TimeSformer: expected layers of 1 or more, got -1."),
        (TimeSformer, TimeSformerConfig(3, heads=0), "TimeSformer: expected heads of 1 or more, got 0."),
        (TimeSformer, TimeSformerConfig(0), "TimeSformer: expected classes of 1 or more, got 0."),
        (Captioner, CaptionerConfig(10, state_width=0), "Captioner: expected state_width of 1 or more, got 0."),
        (Captioner, CaptionerConfig(10, channels=(8, 8)), "Captioner: expected channels of four convolutions, got (8"),
        (Retrieval, RetrievalConfig(hidden=0), "Retrieval: expected hidden of 1 or more, got 0."),
        (lambda c: Fusion(c, "early"), FusionConfig(bands=0), "Fusion: expected bands of 1 or more, got 0."),
        (lambda c: Attention(8, c), 0, "Attention: expected heads of 1 or more, got 0."),
        (lambda c: PatchEmbedding(8, c), 0, "PatchEmbedding: expected patch of 1 or more, got 0."),
        (lambda c: ConvStem(8, c), 0, "ConvStem: expected a patch that is a power of two, got 0."),
    ],
)
def test_sizes_that_make_no_model(model, config, words):
    with pytest.raises(ValueError) as error:
        model(config)
    assert str(error.value).startswith(words)


def test_a_size_of_another_type(monkeypatch):
    config = dataclasses.replace(CLIP_SIZES)
    object.__setattr__(config, "image_layers", "two")  # as from a file
    with pytest.raises(ValueError, match="CLIP: expected image_layers: int, got 'two'"):
        CLIP(config)


# Values


@pytest.mark.parametrize(
    "image, words",
    [
        (torch.zeros(8, 16, 16, 3), 'got (8, 16, 16, 3). Channels last? Use rearrange(x, "b h w c -> b c h w").'),
        (torch.zeros(3, 16, 16), "got float32 (3, 16, 16). One picture? Add the batch axis: x[None]."),
        (torch.zeros(2, 1, 16, 16), "Grey"),
        (torch.zeros(2, 4, 16, 16), "transparency"),
        (torch.zeros(2, 3, 32, 16), "Resize"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), "of floats, got uint8 (2, 3, 16, 16). Use image.float() / 255."),
        (torch.full((2, 3, 16, 16), 255.0), "got [255, 255]. Values in [0, 255]? Use x / 255."),
        (torch.full((2, 3, 16, 16), -1.0), "Already normalised?"),
        (torch.full((2, 3, 16, 16), float("nan")), "got NaN"),
    ],
)
def test_images(models, image, words):
    with pytest.raises(ValueError) as error:
        models["clip"].encode_image(image)
    assert str(error.value).startswith("CLIP.encode_image: expected image")
    assert words in str(error.value)


def test_one_nan_among_many_numbers_is_found():
    image = torch.rand(2, 3, 8, 8)
    image[1, 2, 3, 4] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        check_image("f", image, 8, 8)


def test_good_images_pass():
    check_image("f", torch.rand(2, 3, 8, 8), 8, 8)
    check_image("f", torch.rand(0, 3, 8, 8), 8, 8)
    check_image("f", torch.empty(2, 3, 8, 8, device="meta"), 8, 8)


@pytest.mark.parametrize(
    "ids, words",
    [
        (torch.tensor([2, 3]), "One text? Add the batch axis: text_ids[None]."),
        (torch.tensor([[2.0, 3.0]]), "of whole numbers, got float32 (1, 2). Use the ids that Tokenizer.encode gives."),
        (torch.tensor([[2, 3]], dtype=torch.int16), "text_ids of int64 or int32, got int16. Use text_ids.long()."),
        (torch.tensor([[2, 10, 3]]), "token ids from 0 to 9, got ids from 2 to 10"),
        (torch.tensor([[2, -1, 3]]), "got ids from -1 to 3"),
        (torch.tensor([[2, 4, 4, 4, 4, 4, 3]]), "at most 6 tokens a text, got 7"),
        (torch.tensor([[2, 3], [2, 4]]), "end-of-text token (3) in each row, got none in row 1"),
    ],
)
def test_text_ids(models, ids, words):
    with pytest.raises(ValueError) as error:
        models["clip"].encode_text(ids)
    assert str(error.value).startswith("CLIP.encode_text: expected ") and words in str(error.value)


def test_shapes_alone_pass_where_there_are_no_values():
    check_text_ids("f", torch.empty(2, 3, dtype=torch.int64, device="meta"), vocabulary=10, positions=6, end_id=3)
    with torch.device("meta"):
        model = CLIP(CLIP_SIZES)
    assert model.encode_image(IMAGE.to("meta")).shape == (2, 8)


def test_the_id_of_an_unknown_word_is_the_tokenizers():
    config = CaptionerConfig(10, image_size=16, channels=(4, 4, 4, 8), unknown_id=5)
    with pytest.raises(ValueError, match="words of the vocabulary, got <unknown> in row 1"):
        Captioner(config)(IMAGE, IDS)
    Captioner(config)(IMAGE, torch.tensor([[2, 1, 3], [2, 4, 3]]))


@pytest.mark.parametrize("value", [0.0, -0.5, float("inf"), float("nan")])
def test_positive(value):
    with pytest.raises(ValueError, match="temperature above 0"):
        check_positive("softmax", "temperature", value)


def test_users_are_refused_as_the_tests_are(root):
    """Where no hook checks each call of mmlib, the functions that a user calls check themselves."""
    if "NO_HOOK" in os.environ:
        return
    files = [f"tests/test_{name}.py" for name in ("check", "losses", "metrics", "retrieval", "fusion")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "refuse or images or ids", *files]
    environment = os.environ | {"NO_HOOK": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
