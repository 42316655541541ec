"""The tokenizer: rows by hand, unknown words, long texts, other scripts."""

import pytest
import torch

from mmlib.data.text import Tokenizer, composed, spaced, words_of


@pytest.fixture
def tokenizer():
    return Tokenizer.from_texts(["Cat face", "face: smiling"], positions=6)


def test_the_vocabulary_is_sorted_and_small(tokenizer):
    assert tokenizer.words[4:] == ("cat", "face", "smiling")
    assert len(tokenizer) == 7


def test_rows_by_hand(tokenizer):
    expected = torch.tensor([[2, 4, 5, 3], [2, 6, 3, 0], [2, 3, 0, 0], [2, 1, 4, 3]])
    assert torch.equal(tokenizer.encode(["cat face", "SMILING!", "", "dog cat"]), expected)


def test_a_long_text_loses_its_last_words_but_keeps_its_end(tokenizer):
    assert tokenizer.encode(["cat " * 5000]).tolist() == [[2, 4, 4, 4, 4, 3]]


def test_unknown_words_are_named(tokenizer):
    assert tokenizer.unknown("a cat and 猫 🐈") == ["a", "and", "猫"]


def test_words_of_other_scripts():
    assert words_of("Das Öl, l'été; кот_1") == ["das", "öl", "l", "été", "кот_1"]
    hindi, thai, tamil = ["लड़का", "लड़की"], ["เด็กผู้หญิง"], ["பையன்", "பெண்"]
    arabic, hebrew, persian = ["بِنْتٌ"], ["יֶלֶד"], ["می\u200cخواهم"]
    for words in (hindi, thai, tamil, arabic, hebrew, persian):
        words = [composed(word) for word in words]
        assert words_of(", ".join(words)) == words


def test_marks_belong_to_their_letters():
    assert words_of("cafe\u0301") == words_of("CAFÉ") == ["café"]
    assert words_of("İstanbul I\u0307stanbul istanbul ISTANBUL") == ["istanbul"] * 4
    assert words_of("👩\u200d🚒 ❤\ufe0f \u0301 \u200d-") == []  # marks and joiners without a letter are no words
    assert spaced("ที่นี่: e\u0301") == "ที่ นี่ é"


def test_characters_as_words():
    assert spaced("女生: 冲浪_9") == "女 生 冲 浪 9"
    assert Tokenizer.from_texts([spaced("冲浪")]).encode([spaced("浪浪")]).tolist() == [[2, 5, 5, 3]]


def test_refusals(tokenizer):
    with pytest.raises(
        ValueError, match="Tokenizer.encode: expected texts: a list of texts, got str 'cat face'. Use .'cat face'."
    ):
        tokenizer.encode("cat face")
    with pytest.raises(ValueError, match="at least one text"):
        tokenizer.encode([])
    with pytest.raises(ValueError, match="Tokenizer.from_texts: expected texts: a list of texts, got str 'cat'"):
        Tokenizer.from_texts("cat")
    with pytest.raises(ValueError, match="Tokenizer: expected words: a list of texts, got str 'cat'"):
        Tokenizer("cat")
    with pytest.raises(ValueError, match="Tokenizer: expected 3 positions or more, got 1"):
        Tokenizer(["cat"], positions=1)
