"""The tokenizer of published CLIPs: byte pair encoding, which cuts words into pieces so that no word is unknown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from mmlib.check import refuse
from mmlib.pretrained.hub import need


class Pieces:
    """Texts to rows of ids by byte pair encoding; its methods are those of `mmlib.data.text.Tokenizer`.

    Args:
        pieces: a tokenizer of transformers.
        positions: the longest row, start and end included. Longer texts lose their last pieces.
    """

    def __init__(self, pieces: Any, positions: int):
        self.pieces, self.positions = pieces, positions

    def encode(self, texts: Sequence[str]) -> Int[Tensor, "b s"]:
        """Ids of each text, padded at the end to the longest.

        Raises:
            ValueError: one string in place of a list, or no text at all.
        """
        if isinstance(texts, str) or len(texts) == 0:
            refuse("Pieces.encode", "a list of texts", repr(texts)[:20], "Put the text into a list.")
        limits = {"padding": True, "truncation": True, "max_length": self.positions}
        return self.pieces(list(texts), return_tensors="pt", **limits)["input_ids"]

    def unknown(self, text: str) -> list[str]:
        """No word is unknown: what is no piece is cut into letters, and these into bytes."""
        return []


def read_pieces(where: str, folder: Path, vocabulary: int, end_id: int | None, positions: int) -> Pieces:
    """Read the tokenizer of a model.

    Args:
        where: who asks.
        folder: holds tokenizer.json, or vocab.json and merges.txt.
        vocabulary, end_id, positions: of the model, which the tokenizer must fit; None trusts the tokenizer's own end.

    Raises:
        FileNotFoundError: no tokenizer there.
        ValueError: one that is damaged, or belongs to another model.
    """
    there = sorted(path.name for path in folder.iterdir())
    if "tokenizer.json" not in there and not {"vocab.json", "merges.txt"} <= set(there):
        fix = "Copy its files there, or CLIPTokenizer.from_pretrained(name).save_pretrained(folder) of transformers."
        expected = f"a tokenizer (tokenizer.json, or vocab.json and merges.txt) in {folder}"
        refuse(where, expected, ", ".join(there), fix, error=FileNotFoundError)
    transformers = need(where, "transformers")
    try:
        pieces = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of several packages
        refuse(where, f"a tokenizer in {folder}", str(error), "Delete its files and fetch them again.")
    check_pieces(where, pieces, vocabulary, end_id)
    return Pieces(pieces, positions)


def check_pieces(where: str, pieces: Any, vocabulary: int, end_id: int | None) -> None:
    """Refuse the tokenizer of another model.

    Raises:
        ValueError: it has more pieces than the model, or ends texts with another one, or with none.
    """
    end = pieces.eos_token_id
    if end is None or end != (end if end_id is None else end_id) or len(pieces) > vocabulary:
        got = f"one of {len(pieces)} pieces that ends texts with {end}"
        expected = f"a tokenizer of at most {vocabulary} pieces that ends texts with {end_id or 'one of them'}"
        refuse(where, expected, got, "Are its files those of the same model?")
