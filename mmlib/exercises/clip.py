"""The exercises of notebook 1: three losses, a classifier made of words, a text encoder
with two bugs, and a batch that is too large for the memory."""

import weakref
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmlib.exercises.core import Exercise, close, edited, in_turn, name_of, not_started, not_yet

__all__ = [
    "check_info_nce",
    "check_multi_positive",
    "check_pieces",
    "check_symmetric",
    "check_text_encoder",
    "check_zero_shot",
]


def unit_pairs(b: int, e: int, seed: int) -> tuple[Float[Tensor, "b e"], Float[Tensor, "b e"]]:
    """Random unit vectors, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    image_emb, text_emb = F.normalize(torch.randn(2, b, e, generator=generator), dim=-1)
    return image_emb, text_emb


# ---- Exercise 1: each picture chooses its text


def info_nce(image_emb: Float[Tensor, "b e"], text_emb: Float[Tensor, "b e"], temperature: float) -> Float[Tensor, ""]:
    """InfoNCE from picture to text."""
    logits = image_emb @ text_emb.T / temperature
    own = logits.log_softmax(dim=1).diagonal()
    return -own.mean()


# The last picture prefers another text, and at temperature 0.01 the right one has a probability too small for a float.
SHARP = (torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.28, 0.96], [0.8, -0.6]]), 0.01)
PAIRS = [
    (*unit_pairs(4, 3, seed=0), 0.5),
    (*unit_pairs(6, 2, seed=1), 0.07),
    (torch.ones(5, 1), torch.ones(5, 1), 0.5),
    SHARP,
]


def _no_overflow(got: Tensor, temperature: float) -> None:
    if temperature == SHARP[2] and not torch.isfinite(got):
        not_yet(
            f"the loss is right until the temperature is 0.01, which CLIP allows: there it is {got.item()}. exp(100) "
            "overflows, and a tiny probability becomes 0 with log -inf. Use cross_entropy, log_softmax or logsumexp."
        )


contrastive = partial(
    Exercise,
    shape="The loss is one number.",
    hints=lambda b: {
        (b,): "One loss for each item: take their mean.",
        (b, b): "That is the whole table. Pick the right answers, then take the mean.",
        (1,): "A loss has no axes: no brackets around the number, no keepdim.",
    },
    label=lambda b, temperature: f"{b} pairs, temperature {temperature}",
    also=_no_overflow,
)
SCALE = {
    "you multiplied by the temperature. Divide the similarities by it.": {"/ temperature": "* temperature"},
    "the temperature has no effect. Divide the similarities by it.": {" / temperature": ""},
    "you divided by the temperature twice. Once is enough.": {"/ temperature": "/ temperature**2"},
}
FINISH = {
    "the loss has the wrong sign. A log-probability is negative: put a minus in front.": {"-own.mean()": "own.mean()"},
    "you summed over the batch. Take the mean, so that the loss does not grow with the batch.": {
        "-own.mean()": "-own.sum()"
    },
}
NO_LOG = "you left out the logarithm. The loss is minus the log of the right answer's probability."
TABLE = "softmax over the whole table. Each item asks its own question: one softmax a row, or a column."
OVER_TABLE = "logits.flatten().log_softmax(dim=0).view_as(logits)"

check_info_nce = contrastive(
    reference=info_nce,
    cases=[*PAIRS, (torch.ones(1, 1), torch.ones(1, 1), 0.5)],
    mistakes={
        **FINISH,
        "softmax over the wrong axis: your texts choose among pictures. Here each picture chooses its text, so each "
        "row sums to 1: dim=1.": {"dim=1": "dim=0"},
        "this is the mean of both directions already. That is the next exercise; here only pictures choose.": {
            "logits.log_softmax(dim=1)": "((logits.log_softmax(dim=0) + logits.log_softmax(dim=1)) / 2)"
        },
        TABLE: {"logits.log_softmax(dim=1)": OVER_TABLE},
        NO_LOG: {"log_softmax": "softmax"},
        "softmax twice: cross_entropy takes the logits and does its own softmax. Give it the logits.": {
            "logits.log_softmax(dim=1)": "logits.softmax(dim=1).log_softmax(dim=1)"
        },
        "your logarithm has base 2, so the loss is in bits. This course counts in nats: torch.log.": {
            "logits.log_softmax(dim=1)": "logits.softmax(dim=1).log2()"
        },
        "the right text is missing from your denominator. It is one of the candidates: sum over all columns.": {
            "logits.log_softmax(dim=1)": "(logits - logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), "
            "-torch.inf).logsumexp(dim=1, keepdim=True))"
        },
        "your target is class 0 in every row. The right text of row i stands in column i: targets torch.arange(b).": {
            ".diagonal()": "[:, 0]"
        },
        "you averaged over all texts, right and wrong. Keep the diagonal, then average.": {".diagonal()": ""},
        **SCALE,
    },
    praise="right values, right gradients, no overflow. Five pairs that all look alike cost log 5 = 1.6094; "
    "a batch of one costs 0 and teaches nothing.",
)

# ---- Exercise 2: texts choose too


def symmetric_loss(
    image_emb: Float[Tensor, "b e"], text_emb: Float[Tensor, "b e"], temperature: float
) -> Float[Tensor, ""]:
    """InfoNCE in both directions."""
    logits = image_emb @ text_emb.T / temperature
    to_text = logits.log_softmax(dim=1).diagonal()
    to_image = logits.log_softmax(dim=0).diagonal()
    own = (to_text + to_image) / 2
    return -own.mean()


MISSING_OR_ADDED = {
    "the direction from text to picture is missing: only pictures choose. Transposed twice, perhaps?": {
        "(to_text + to_image) / 2": "to_text"
    },
    "the direction from picture to text is missing: only texts choose. Transposed both, perhaps?": {
        "(to_text + to_image) / 2": "to_image"
    },
    "you added the two directions. Take half of the sum.": {"(to_text + to_image) / 2": "to_text + to_image"},
}

check_symmetric = contrastive(
    reference=symmetric_loss,
    cases=PAIRS,
    mistakes={
        **MISSING_OR_ADDED,
        "you took one direction minus the other. Take the mean of the two.": {
            "(to_text + to_image) / 2": "(to_text - to_image) / 2"
        },
        "you averaged the probabilities of the two directions before the log. Average the two losses.": {
            "(to_text + to_image) / 2": "((to_text.exp() + to_image.exp()) / 2).log()"
        },
        **FINISH,
        TABLE: {"logits.log_softmax(dim=1)": OVER_TABLE, "logits.log_softmax(dim=0)": OVER_TABLE},
        NO_LOG: {
            "log_softmax(dim=1)": "softmax(dim=1)",
            "log_softmax(dim=0)": "softmax(dim=0)",
        },
        **SCALE,
    },
    praise="pictures choose texts and texts choose pictures. Swap the two sides, and the loss stays as it is.",
)

# ---- Exercise 3: a classifier made of words


def unit_vectors(texts: Sequence[str]) -> Float[Tensor, "n 5"]:
    """Stand in for a trained encoder: each text gets a unit vector of its own, always the same one."""
    if isinstance(texts, str):
        raise TypeError("encode_text takes a list of texts, got one string")
    rows = [torch.randn(5, generator=torch.Generator().manual_seed(zlib.crc32(text.encode()))) for text in texts]
    return F.normalize(torch.stack(rows), dim=-1)


def build_classifier(
    encode_text: Callable, class_names: Sequence[str], templates: Sequence[str]
) -> Float[Tensor, "classes e"]:
    """Fill the names into the templates, encode, average over the templates of each class."""
    texts = [template.format(name) for name in class_names for template in templates]
    text_emb = rearrange(encode_text(texts), "(c t) e -> c t e", c=len(class_names))
    rows = text_emb.mean(dim=1)
    return F.normalize(rows, dim=-1)


def _classifier_hints(class_names: Sequence[str], templates: Sequence[str]) -> dict[tuple[int, ...], str]:
    c, t = len(class_names), len(templates)
    apart = "The templates are still apart: take their mean."
    return {
        (t, 5): "You averaged over the classes. Average over the templates, one row a class.",
        (5, c): "That is transposed: one row a class.",
        (5,): "You averaged over the classes too. One row a class.",
        (c, 1, 5): "The axis of the templates is still there: no keepdim.",
        (c, t, 5): apart,
        (t, c, 5): apart,
        (c * t, 5): "That is every text. Group them by class, then take the mean.",
    }


TEMPLATES = ["a picture of a {}", "the {} again", "{}", "a small drawing of one {}"]
classifier = Exercise(
    reference=build_classifier,
    cases=[(unit_vectors, ["tent", "apple", "moon"], TEMPLATES), (unit_vectors, ["sun", "cat"], TEMPLATES[:3])],
    mistakes={
        "the rows are not of unit length. The mean of unit vectors is shorter than 1: normalise again after it.": {
            "F.normalize(rows, dim=-1)": "rows"
        },
        "you normalised down the columns. Each class by itself: dim=-1.": {"dim=-1": "dim=0"},
        "you divided by the norm of the whole table. Each row by itself: dim=-1.": {
            "F.normalize(rows, dim=-1)": "rows / rows.norm()"
        },
        "softmax does not give unit length. Divide each row by its length.": {
            "F.normalize(rows, dim=-1)": "rows.softmax(dim=-1)"
        },
        "only the first template counts. Average over all of them.": {".mean(dim=1)": "[:, 0]"},
        "only the last template counts. Does a loop overwrite the result?": {".mean(dim=1)": "[:, -1]"},
        "you took the maximum over templates. Take the mean.": {"mean": "amax"},
        "the class name never got into the sentence: use template.format(name).": {"template.format(name)": "template"},
        "the templates are not used: you encoded the bare class names.": {"template.format(name)": "name"},
        "the classes are in another order. Row i belongs to class_names[i]: no sorted(), no set().": {
            "name in class_names": "name in sorted(class_names)"
        },
        "the classes got mixed up with each other. The first axis of your reshape must be the outer loop over the "
        "texts: classes outside and templates inside, or the other way in both.": [
            {"(c t)": "(t c)"},
            {"for name in class_names for template in templates": "for template in templates for name in class_names"},
        ],
    },
    shape="One row a class.",
    hints=_classifier_hints,
    label=lambda class_names, templates: f"{len(class_names)} classes, {len(templates)} templates",
)


def predict(image_emb: Float[Tensor, "b e"], classifier: Float[Tensor, "classes e"]) -> Int[Tensor, " b"]:
    """The number of the nearest class for each picture."""
    return (image_emb @ classifier.T).argmax(dim=1)


def _are_numbers_of_classes(answer: Callable, got: Tensor) -> None:
    if got.is_floating_point():
        not_yet(f"{name_of(answer)} returned similarities, not class numbers. Use argmax, or max(...).indices.")


prediction = Exercise(
    reference=predict,
    cases=[
        (unit_vectors(["photo 1", "photo 2", "photo 3", "photo 4"]), build_classifier(*classifier.cases[0])),
    ],
    mistakes={
        "you chose the least similar class. Use argmax.": {"argmax": "argmin"},
        "you chose the second nearest class. Use argmax.": {"argmax(dim=1)": "argsort(dim=1)[:, -2]"},
    },
    shape="One class number a picture.",
    hints=lambda b, classes: {
        (b, classes): "Those are the similarities. Take argmax over the classes: dim=1.",
        (classes,): "You chose a picture for each class. Choose a class for each picture: dim=1.",
        (b, 1): "One axis too many: no keepdim, or squeeze it away.",
        (): "One number for all pictures: argmax needs dim=1.",
    },
    also=_are_numbers_of_classes,
    label=lambda b, classes: f"{b} pictures, {classes} classes",
    advice="Print the similarities (b classes) first: the largest of a row stands at its class.",
    praise="a classifier for any classes that you can name, and not one picture was needed to build it.",
)
check_zero_shot = in_turn(classifier, prediction)

# ---- Exercise 4: find the two bugs


def encode_text(x: Float[Tensor, "b s d"], text_ids: Int[Tensor, "b s"], end_id: int) -> Float[Tensor, "b d"]:
    """Two layers of attention with no weights, each word reading the past only; the state at the first end token."""
    past = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
    end = (text_ids == end_id).int().argmax(dim=1)
    for _ in range(2):
        scores = x @ x.mT / x.shape[-1] ** 0.5
        weights = scores.masked_fill(~past, -torch.inf).softmax(dim=-1)
        x = x + weights @ x
    pooled = x[torch.arange(len(x)), end]
    return F.normalize(pooled, dim=-1)


STILL_MASKS_NOTHING = {"scores.masked_fill(~past, -torch.inf)": "scores"}
STILL_LAST = {"x[torch.arange(len(x)), end]": "x[:, -1]"}
given = edited(encode_text, STILL_MASKS_NOTHING | STILL_LAST)


def _embedded(text_ids: list[list[int]], end_id: int) -> tuple[Float[Tensor, "b s d"], Int[Tensor, "b s"], int]:
    generator = torch.Generator().manual_seed(0)
    words, places = torch.randn(12, 8, generator=generator), torch.randn(6, 8, generator=generator)
    ids = torch.tensor(text_ids)
    return 0.5 * (words[ids] + places[: ids.shape[1]]), ids, end_id


TEXTS = [
    _embedded([[2, 9, 3, 0, 0, 0], [2, 7, 8, 5, 3, 0], [2, 6, 4, 9, 8, 3]], end_id=3),
    _embedded([[2, 9, 3, 7, 5], [2, 7, 8, 4, 3]], end_id=3),  # padded with anything
    _embedded([[2, 9, 3, 3, 3], [2, 7, 8, 3, 3]], end_id=3),  # padded with end tokens
    _embedded([[2, 9, 11, 0], [2, 3, 7, 11]], end_id=11),
]


def cosine_over_padding() -> float:
    """Cosine between one text with no padding and with three pads, in the encoder as it is given."""
    x, text_ids, end_id = (a[:1] if isinstance(a, Tensor) else a for a in TEXTS[0])
    return float(given(x, text_ids, end_id)[0] @ given(x[:, :3], text_ids[:, :3], end_id)[0])


def _not_as_given(got: Tensor, x: Tensor, text_ids: Tensor, end_id: int) -> None:
    if close(got, given(x, text_ids, end_id)):
        not_started(
            "this is the encoder as given. One text with no pads and with three pads behind it: the two embeddings "
            f"have cosine {cosine_over_padding():.2f}, and it should be 1. Find the two lines that let padding in."
        )
    if got.isnan().any():
        not_yet(
            "the result is nan: some word may read nothing, and a softmax over -inf alone is nan. A word reads "
            "at least itself: keep the diagonal, and fill where reading is NOT allowed."
        )


check_text_encoder = Exercise(
    reference=encode_text,
    cases=TEXTS,
    mistakes={
        "a word still reads the words after it, the padding too. Which scores must be -inf before the softmax?": (
            STILL_MASKS_NOTHING
        ),
        "the state still comes from the last position, and in a short text that is padding. Where does the text end?": (
            STILL_LAST
        ),
        "you hid the padding, so padding does no harm, but CLIP hides more: a word reads itself and the words "
        "before it. One triangle (tril) serves all texts.": {
            "~past": "(torch.arange(x.shape[1]) > end[:, None])[:, None]"
        },
        "the triangle is upside down: a word reads itself and what comes after. Keep the lower one, tril.": {
            "tril": "triu"
        },
        "you masked after the softmax, and the weights of a word no longer sum to 1. Mask the scores before it.": {
            "scores.masked_fill(~past, -torch.inf).softmax(dim=-1)": "scores.softmax(dim=-1) * past"
        },
        "you set the hidden scores to 0, and exp(0) = 1 still counts. Set them to -inf.": {"-torch.inf": "0"},
        "you took the start token. It has read nothing but itself.": {"x[torch.arange(len(x)), end]": "x[:, 0]"},
        "you took the mean over all positions, padding included.": {"x[torch.arange(len(x)), end]": "x.mean(dim=1)"},
        "you took the mean over the words. CLIP reads the state at the end token.": {
            "x[torch.arange(len(x)), end]": "(x * (torch.arange(x.shape[1]) <= end[:, None])[..., None]).sum(dim=1)"
        },
        "you took the largest id. In OpenAI's vocabulary that is the end token; here it is not.": {
            "(text_ids == end_id).int()": "text_ids"
        },
        "one position too early: you read the last word, not the end token behind it.": {
            "arange(len(x)), end]": "arange(len(x)), end - 1]"
        },
        "you found the end by counting ids that are not 0, but padding may be any id. Compare with end_id.": {
            "(text_ids == end_id).int().argmax(dim=1)": "(text_ids != 0).sum(dim=1) - 1"
        },
        "you took the last end token. Some tokenizers pad with end tokens: take the first one.": {
            "(text_ids == end_id).int().argmax(dim=1)": "(text_ids == end_id).int().cumsum(dim=1).argmax(dim=1)"
        },
        "you wrote the number 3. Use end_id.": {"== end_id": "== 3"},
        "the result is not of unit length. Keep the last line.": {"F.normalize(pooled, dim=-1)": "pooled"},
    },
    shape="One vector a text.",
    hints=lambda b, s, d: {
        (b, b, d): "x[:, end] takes every end from every text. Pair them: x[torch.arange(b), end].",
        (b, 1, d): "One axis too many: take the state itself, or squeeze it.",
        (b, s, d): "That is every position. Take one a text.",
    },
    also=_not_as_given,
    label=lambda b, s, end_id: f"{b} texts of {s} positions, end_id {end_id}",
    advice="Encode one text with no pads and with three pads behind it: at which line do the two begin to differ?",
    praise="the same text gives the same embedding, whatever stands behind its end.",
)

# ---- Exercise 5: the symmetric loss when a picture has several names


def multi_positive_loss(
    image_emb: Float[Tensor, "b e"], text_emb: Float[Tensor, "b e"], temperature: float, same: Bool[Tensor, "b b"]
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE with the target shared between all right answers of a row, and of a column."""
    logits = image_emb @ text_emb.T / temperature
    row = same / same.sum(dim=1, keepdim=True)
    column = same / same.sum(dim=0, keepdim=True)
    to_text = (row * logits.log_softmax(dim=1)).sum(dim=1)
    to_image = (column * logits.log_softmax(dim=0)).sum(dim=0)
    own = (to_text + to_image) / 2
    return -own.mean()


def _targets(row: str, column: str) -> dict[str, str]:
    return {"same / same.sum(dim=1, keepdim=True)": row, "same / same.sum(dim=0, keepdim=True)": column}


def _answers(to_text: str, to_image: str) -> dict[str, str]:
    return {
        "(row * logits.log_softmax(dim=1)).sum(dim=1)": to_text,
        "(column * logits.log_softmax(dim=0)).sum(dim=0)": to_image,
    }


OTHERS_OUT = "logits.masked_fill(same & ~torch.eye(len(same), dtype=torch.bool), -torch.inf)"
# Not symmetric: text 1 also names picture 0, yet text 0 does not name picture 1.
SAME = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]], dtype=torch.bool)

check_multi_positive = contrastive(
    reference=multi_positive_loss,
    cases=[
        (*unit_pairs(4, 3, seed=4), 0.5, SAME),
        (*unit_pairs(5, 2, seed=3), 0.07, torch.eye(5, dtype=torch.bool)),
        (torch.ones(3, 1), torch.ones(3, 1), 0.5, torch.ones(3, 3, dtype=torch.bool)),
        (*SHARP, torch.tensor([[True, True], [False, True]])),
    ],
    mistakes={
        "`same` has no effect: only the diagonal counts, and the other names of a picture are punished as wrong.": (
            _targets("torch.eye(len(same))", "torch.eye(len(same))")
        ),
        "the targets of a row do not sum to 1, so a picture with many names counts more. Divide by their number.": (
            _targets("same", "same")
        ),
        "the texts use the targets of the pictures, not transposed. Text j is right for every i with same[i, j].": (
            {"same / same.sum(dim=0, keepdim=True)": "row.T"}
        ),
        "both directions divide by the number of names in a row. For the texts divide by the number in a column.": (
            {"same / same.sum(dim=0, keepdim=True)": "row"}
        ),
        "you averaged over all right pairs at once, so many names count more. Average in each row first.": (
            _targets("same * len(same) / same.sum()", "same * len(same) / same.sum()")
        ),
        "your log stands outside the sum: one right answer is enough. That loss exists too, but here every right "
        "answer must get its share: log first, then the mean over them.": _answers(
            "(logits.log_softmax(dim=1) + (row > 0).float().log()).logsumexp(dim=1)",
            "(logits.log_softmax(dim=0) + (column > 0).float().log()).logsumexp(dim=0)",
        ),
        "you took the other right answers out of the denominator. Then they are never wrong, but never right "
        "either. Keep them, and share the target.": _answers(
            f"{OTHERS_OUT}.log_softmax(dim=1).diagonal()", f"{OTHERS_OUT}.log_softmax(dim=0).diagonal()"
        ),
        **MISSING_OR_ADDED,
        **FINISH,
        **SCALE,
    },
    praise="every name of a picture is a right answer, and with one name each this is the symmetric loss.",
)

# ---- Exercise 6: the gradient of a large batch, when only a few pairs fit into memory


class _Graph:
    """Stands for the graph of some pairs: it is alive as long as one of their tensors is kept for the way back."""

    def __init__(self, rows: int):
        self.rows = rows


@dataclass
class Encode:
    """An encoder of both sides with one weight, and memory for the graph of `most` pairs.

    Memory is watched: the encoder counts the pairs whose graph is still alive, and stops when there are too many.
    A copy starts with an empty memory: what an earlier answer left there is not counted.
    """

    most: int
    alive: weakref.WeakSet = field(default_factory=weakref.WeakSet, compare=False)

    def __copy__(self) -> "Encode":
        return Encode(self.most)

    def __call__(
        self, image: Float[Tensor, "b f"], text: Float[Tensor, "b f"], weight: Float[Tensor, "f e"]
    ) -> tuple[Float[Tensor, "b e"], Float[Tensor, "b e"]]:
        """Features of pairs and the weight -> the embeddings of both sides."""
        graph = _Graph(len(image))
        if torch.is_grad_enabled() and weight.requires_grad:
            needed = sum(graph.rows for graph in self.alive) + len(image)
            if needed > self.most:
                raise RuntimeError(f"out of memory: room for the graph of {self.most} pairs, needed {needed}")

        def keep(x: Tensor) -> tuple[_Graph, Tensor]:
            self.alive.add(graph)
            return graph, x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept[1]):
            return F.normalize((image @ weight).tanh(), dim=-1), F.normalize((text @ weight).tanh(), dim=-1)


def loss_of_pairs(image_emb: Float[Tensor, "b e"], text_emb: Float[Tensor, "b e"]) -> Float[Tensor, ""]:
    """The symmetric loss of exercise 2; a single pair costs 0."""
    return symmetric_loss(image_emb, text_emb, 0.3)


def gradient_in_pieces(
    encode: Callable,
    loss_of: Callable,
    weight: Float[Tensor, "f e"],
    image: Float[Tensor, "b f"],
    text: Float[Tensor, "b f"],
    piece: int,
) -> Float[Tensor, "f e"]:
    """The gradient of the whole batch's loss: embeddings, their gradients, then the graph of one piece at a time."""
    pieces = list(zip(image.split(piece), text.split(piece), strict=True))
    with torch.no_grad():
        sides = zip(*(encode(i, t, weight) for i, t in pieces), strict=True)
    image_emb, text_emb = (torch.cat(side).requires_grad_() for side in sides)
    grads = torch.autograd.grad(loss_of(image_emb, text_emb), (image_emb, text_emb))
    weight, parts = weight.detach().requires_grad_(), []
    for (i, t), *grads_of_piece in zip(pieces, *(grad.split(piece) for grad in grads), strict=True):
        emb = encode(i, t, weight)
        parts.append(torch.autograd.grad(emb, weight, grads_of_piece)[0])
        del emb
    return torch.stack(parts).sum(dim=0)


def _pieces_of(b: int, piece: int, seed: int) -> tuple:
    weight = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
    return (Encode(most=piece), loss_of_pairs, weight, *unit_pairs(b, 5, seed), piece)


def _each_alone(weigh: str) -> dict[str, str]:
    """The losses of the pieces in place of one loss: no piece knows of the others."""
    few = "zip(image_emb.split(piece), text_emb.split(piece), strict=True)"
    return {"loss_of(image_emb, text_emb), ": f"sum(loss_of(i, t){weigh} for i, t in {few}), "}


def _is_no_weight(answer: Callable, got: Tensor, weight: Tensor) -> None:
    if torch.equal(got, weight):
        not_yet(f"{name_of(answer)} gives the weight back. Return its gradient.")


PLAIN = "this is plain accumulation: each piece has its own loss, in which a picture meets the texts of its piece only."
check_pieces = Exercise(
    reference=gradient_in_pieces,
    cases=[_pieces_of(6, 3, seed=1), _pieces_of(8, 2, seed=2), _pieces_of(7, 3, seed=3)],
    mistakes={
        f"{PLAIN} Take one loss, over the embeddings of all pieces.": _each_alone(" * len(i) / len(image)"),
        f"{PLAIN} And the losses are added up with no mean.": _each_alone(""),
        "you divided by the number of pieces. The loss of the whole batch is a mean over all pairs already: add up.": {
            "stack(parts).sum": "stack(parts).mean"
        },
        "only the last piece is in your gradient. Add up over the pieces: .grad does, unless you set it to None.": {
            "torch.stack(parts).sum(dim=0)": "parts[-1]"
        },
        "only the first piece is in your gradient. Is the return line inside the loop?": {
            "torch.stack(parts).sum(dim=0)": "parts[0]"
        },
        "the last piece, which is smaller, is missing. Tensor.split gives it too; a range of b // piece does not.": {
            "stack(parts)": "stack(parts[: len(image) // piece])"
        },
        "the gradient through the texts is missing. Hand back both sides.": {
            "for grad in grads)": "for grad in (grads[0], 0 * grads[1]))"
        },
        "the gradient through the pictures is missing. Hand back both sides.": {
            "for grad in grads)": "for grad in (0 * grads[0], grads[1]))"
        },
        "the pictures were given what the loss asks of the texts, and the texts what it asks of the pictures.": {
            "for grad in grads)": "for grad in grads[::-1])"
        },
        "the gradient has the wrong sign. Nothing is turned round on the way back.": {
            "torch.stack(parts).sum": "-torch.stack(parts).sum"
        },
    },
    shape="A gradient has the shape of its weight.",
    hints=lambda: {(): "That is the loss. Return the gradient of the weight, weight.grad."},
    also=_is_no_weight,
    label=lambda b, piece: f"{b} pairs in pieces of {piece}",
    advice="Let one piece hold the whole batch: then it must be the gradient of the loss itself. Then try two pieces.",
    praise="the gradient of the whole batch, and never more than one piece in memory.",
)
