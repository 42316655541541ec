"""Words to numbers: a tokenizer whose vocabulary is the words of the training names."""

import unicodedata
from collections.abc import Iterable, Sequence

import regex  # Python's own `re` knows no marks, and would cut words at their vowels in half of the world's scripts
import torch
from jaxtyping import Int
from torch import Tensor

from mmlib.check import refuse, typechecked

_PART = r"[\p{L}\p{N}_][\p{L}\p{N}\p{M}_]*"
_WORD = regex.compile(rf"{_PART}(?:[-\u200c\u200d]{_PART})*")  # the two joiners stand inside Persian and Hindi words
_LETTER = regex.compile(r"[\p{L}\p{N}]\p{M}*")


def composed(text: str) -> str:
    """The one way to write a text: an accent that follows its letter becomes part of it (Unicode's NFC).

    >>> len("cafe\\u0301"), len(composed("cafe\\u0301"))
    (5, 4)
    """
    return unicodedata.normalize("NFC", text)


def words_of(text: str) -> list[str]:
    """Lower-case words of a text: letters and digits of any script with their marks, and hyphens inside a word.

    The rest separates. The Turkish dotted capital becomes a plain i.

    >>> words_of("Woman firefighter: medium-dark skin tone")
    ['woman', 'firefighter', 'medium-dark', 'skin', 'tone']
    """
    return _WORD.findall(_lower(text))


def spaced(text: str) -> str:
    """Put a space between all letters and digits: where a script writes no spaces, each character is a word.

    >>> spaced("笑脸: 红")
    '笑 脸 红'
    """
    return " ".join(_LETTER.findall(_lower(text)))


def _lower(text: str) -> str:
    return composed(text).lower().replace("i\u0307", "i")  # what Python makes of the dotted capital


class Tokenizer:
    """Texts to rows of ids: start, one id a word, end of text, padding.

    Args:
        words: the vocabulary, each word once. Use `Tokenizer.from_texts` to collect it.
        positions: the longest row, start and end included; 3 or more. Longer texts lose their last words.

    Raises:
        ValueError: one string in place of a list, fewer than 3 positions.

    >>> tokenizer = Tokenizer(["cat", "face"], positions=6)
    >>> tokenizer.encode(["cat face"])
    tensor([[2, 4, 5, 3]])
    """

    pad_id, unknown_id, start_id, end_id = 0, 1, 2, 3

    @typechecked
    def __init__(self, words: Sequence[str], positions: int = 24):
        if positions < 3:
            refuse("Tokenizer", "3 positions or more", str(positions), "A row holds a start, words and an end.")
        self.words = ("<pad>", "<unknown>", "<start>", "<end>", *words)
        self.id_of = {word: i for i, word in enumerate(self.words)}
        self.positions = positions

    @classmethod
    @typechecked
    def from_texts(cls, texts: Iterable[str], positions: int = 24) -> "Tokenizer":
        """Collect the vocabulary, in alphabetical order, from texts."""
        return cls(sorted({word for text in texts for word in words_of(text)}), positions)

    def __len__(self) -> int:
        """Size of the vocabulary, the four special tokens included."""
        return len(self.words)

    @typechecked
    def encode(self, texts: Sequence[str]) -> Int[Tensor, "b s"]:
        """Ids of each text, padded at the end to the longest; a word outside the vocabulary becomes `<unknown>`.

        Raises:
            ValueError: one string in place of a list, or no text at all.
        """
        if len(texts) == 0:
            refuse("Tokenizer.encode", "at least one text", "an empty list")
        rows = [self._row(text) for text in texts]
        longest = max(map(len, rows))
        return torch.tensor([row + [self.pad_id] * (longest - len(row)) for row in rows])

    def _row(self, text: str) -> list[int]:
        ids = [self.id_of.get(word, self.unknown_id) for word in words_of(text)[: self.positions - 2]]
        return [self.start_id, *ids, self.end_id]

    def unknown(self, text: str) -> list[str]:
        """The words of a text that the vocabulary lacks, so that an interface can name them.

        >>> Tokenizer(["cat"]).unknown("cat quokka")
        ['quokka']
        """
        return [word for word in words_of(text) if word not in self.id_of]
