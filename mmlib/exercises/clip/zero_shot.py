"""Exercise 3 of notebook 1: a classifier made of words."""

import zlib
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mmlib.exercises.core import Finding, Mistake, call, check_shape, check_value, exercise, name_of, not_yet


def encode_text(texts: Sequence[str]) -> Float[Tensor, "n 5"]:
    """Stand in for a trained encoder: each text gets a unit vector of its own, always the same one."""
    if isinstance(texts, str):
        raise TypeError("encode_text takes a list of texts, got one string")
    rows = [torch.randn(5, generator=torch.Generator().manual_seed(zlib.crc32(text.encode()))) for text in texts]
    return F.normalize(torch.stack(rows), dim=-1)


def _by_class(emb: Float[Tensor, "n e"], templates: int) -> Float[Tensor, "c t e"]:
    return rearrange(emb, "(c t) e -> c t e", t=templates)


def classifier_of(
    encode: Callable,
    class_names: Sequence[str],
    templates: Sequence[str],
    *,
    order: Callable = list,
    fill: Callable = lambda template, name: template.format(name),
    group: Callable = _by_class,
    average: Callable = lambda emb: emb.mean(dim=1),
    finish: Callable = lambda rows: F.normalize(rows, dim=-1),
) -> Float[Tensor, "classes e"]:
    """Fill the names into the templates, encode, group by class, average over the templates, finish."""
    texts = [fill(template, name) for name in order(class_names) for template in templates]
    return finish(average(group(encode(texts), len(templates))))


SCRAMBLED = (
    "the classes got mixed up with each other. The first axis of your reshape must be the outer loop over the texts: "
    "classes outside and templates inside, or the other way in both."
)
CLASSIFIER_MISTAKES = [
    Mistake(
        "the rows are not of unit length. The mean of unit vectors is shorter than 1: normalise again after it.",
        {"finish": lambda rows: rows},
    ),
    Mistake(
        "you normalised down the columns. Each class by itself: dim=-1.", {"finish": lambda x: F.normalize(x, dim=0)}
    ),
    Mistake(
        "you divided by the norm of the whole table. Each row by itself: dim=-1.", {"finish": lambda x: x / x.norm()}
    ),
    Mistake(
        "softmax does not give unit length. Divide each row by its length.", {"finish": lambda x: x.softmax(dim=-1)}
    ),
    Mistake("only the first template counts. Average over all of them.", {"average": lambda emb: emb[:, 0]}),
    Mistake("only the last template counts. Does a loop overwrite the result?", {"average": lambda emb: emb[:, -1]}),
    Mistake("you took the maximum over templates. Take the mean.", {"average": lambda emb: emb.amax(dim=1)}),
    Mistake("the class name never got into the sentence: use template.format(name).", {"fill": lambda t, name: t}),
    Mistake("the templates are not used: you encoded the bare class names.", {"fill": lambda t, name: name}),
    Mistake(
        "the classes are in another order. Row i belongs to class_names[i]: no sorted(), no set().", {"order": sorted}
    ),
    Mistake(SCRAMBLED, {"group": lambda emb, t: rearrange(emb, "(t c) e -> c t e", t=t)}),
    Mistake(SCRAMBLED, {"group": lambda emb, t: _by_class(rearrange(emb, "(c t) e -> (t c) e", t=t), t)}),
]
TEMPLATES = ["a picture of a {}", "the {} again", "{}", "a small drawing of one {}"]
CLASSIFIER_CASES = [
    (encode_text, ["tent", "apple", "moon"], TEMPLATES),
    (encode_text, ["sun", "cat"], TEMPLATES[:3]),
]


def _check_classifier(build_classifier: Callable) -> None:
    name = name_of(build_classifier)
    for i, case in enumerate(CLASSIFIER_CASES):
        got, classes, templates = call(build_classifier, *case), len(case[1]), len(case[2])
        hints = {
            (templates, 5): "You averaged over the classes. Average over the templates, one row a class.",
            (5, classes): "That is transposed: one row a class.",
            (5,): "You averaged over the classes too. One row a class.",
            (classes, 1, 5): "The axis of the templates is still there: no keepdim.",
            (classes, templates, 5): "The templates are still apart: take their mean.",
            (templates, classes, 5): "The templates are still apart: take their mean.",
            (classes * templates, 5): "That is every text. Group them by class, then take the mean.",
        }
        check_shape(name, got, (classes, 5), hints, "One row a class.")
        label = f"{classes} classes, {templates} templates"
        check_value(name, got, classifier_of, CLASSIFIER_CASES[: i + 1], CLASSIFIER_MISTAKES, label)


def nearest(image_emb: Tensor, classifier: Tensor, *, choose: Callable = torch.argmax) -> Int[Tensor, " b"]:
    """The number of the nearest class for each picture."""
    return choose(image_emb @ classifier.T, dim=1)


PREDICT_MISTAKES = [
    Mistake("you chose the least similar class. Use argmax.", {"choose": torch.argmin}),
    Mistake(
        "you chose the second nearest class. Use argmax.", {"choose": lambda sim, dim: sim.argsort(dim=dim)[:, -2]}
    ),
]


def _check_predict(predict: Callable) -> None:
    name, classifier = name_of(predict), classifier_of(*CLASSIFIER_CASES[0])
    image_emb = encode_text(["photo 1", "photo 2", "photo 3", "photo 4"])
    got = call(predict, image_emb, classifier)
    hints = {
        (4, 3): "Those are the similarities. Take argmax over the classes: dim=1.",
        (3,): "You chose a picture for each class. Choose a class for each picture: dim=1.",
        (4, 1): "One axis too many: no keepdim, or squeeze it away.",
        (): "One number for all pictures: argmax needs dim=1.",
    }
    check_shape(name, got, (4,), hints, "One class number a picture.")
    if got.is_floating_point():
        not_yet(f"{name} returned similarities, not class numbers. Use argmax, or max(...).indices.")
    check_value(name, got, nearest, [(image_emb, classifier)], PREDICT_MISTAKES, "4 pictures, 3 classes")


@exercise
def check_zero_shot(build_classifier: Callable, predict: Callable) -> str:
    """Check `build_classifier(encode_text, class_names, templates) -> (classes e)` and
    `predict(image_emb (b e), classifier (classes e)) -> (b)`."""
    _check_classifier(build_classifier)
    try:
        _check_predict(predict)
    except Finding as finding:
        raise Finding(f"{finding} ({name_of(build_classifier)} is right already.)") from None
    return "a classifier for any classes that you can name, and not one picture was needed to build it."
