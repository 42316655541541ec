"""Words to sound, with eSpeak NG: a small synthesiser that computes speech from formants, in a hundred languages.

Its shared library and its data are installed with the course (package `espeakng-loader`) and called through ctypes, in
synchronous mode: `espeak_Synth` comes back when the last sample is there. The other modes wait 20 ms for each word.
"""

import ctypes
import difflib
import os
import tempfile
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from mmlib.check import refuse, typechecked

RATE = 22_050  # samples a second that eSpeak NG gives
SYNCHRONOUS, DO_NOT_EXIT, UTF8, SPEED, PITCH = 2, 0x8000, 1, 1, 3  # of speak_lib.h
LONGEST_PATH = 130  # bytes; the library has room for 160, the names of its files included
_lock = threading.Lock()  # the library has one voice, and widgets speak from another thread


class _Entry(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p)]


@lru_cache(maxsize=1)
def _library() -> tuple[ctypes.CDLL, list[bytes], tuple]:
    """The library, the list that it fills with pieces of sound, and what must live as long as it does."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data, folder = espeakng_loader.get_data_path(), tempfile.TemporaryDirectory(prefix="espeak")
    if len(os.fsencode(data)) > LONGEST_PATH:
        link = Path(folder.name) / "espeak-ng-data"
        link.symlink_to(data)
        data = str(link)
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, os.fsencode(data), DO_NOT_EXIT)
    if rate != RATE:
        refuse("speak", f"eSpeak NG with its data in {data}", f"{rate}", "Reinstall the package espeakng-loader.")
    pieces: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    def keep(samples, count, events):
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0  # 1 would stop it

    library.espeak_SetSynthCallback(keep)
    return library, pieces, (keep, folder)


@lru_cache(maxsize=1)
def languages() -> dict[str, str]:
    """Code of each language or accent -> its name: `{"en-us": "English (America)", ...}`, about 140 of them."""
    library, _, _ = _library()
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Entry))
    found = {}
    for entry in library.espeak_ListVoices(None):
        if not entry:
            return found
        found[entry.contents.languages[1:].decode()] = entry.contents.name.decode().strip()


@lru_cache(maxsize=1)
def variants() -> tuple[str, ...]:
    """Names of the voices that may speak any of the languages: `("Alex", ..., "f1", ..., "zac")`, about 100."""
    import espeakng_loader

    return tuple(sorted(os.listdir(Path(espeakng_loader.get_data_path()) / "voices" / "!v")))


@typechecked
def speak(
    texts: Sequence[str], voice: str = "en-us", rate: int = 175, pitch: int = 50
) -> list[Float32[np.ndarray, " samples"]]:
    """Say each text; digits may be written as digits, and are read in the voice's language.

    A call starts the noise of hissing and breath anew, but the voice's trembling goes on from call to call: the same
    calls give the same samples in every process, a call repeated does not.

    Args:
        texts: what to say.
        voice: a language or accent of `languages()`, then perhaps `+` and a voice of `variants()`: `en-us+f3`.
        rate: words a minute, 80 to 450.
        pitch: 0 to 99; 50 is the voice's own.

    Returns:
        Sounds of 22,050 samples a second, with values from -1 to 1; a word takes about half a second.

    Raises:
        ValueError: an unknown voice (the nearest are listed), a rate or a pitch outside its range, no text.

    >>> [len(sound) > RATE / 5 for sound in speak(["7", "8"], "de+m3")]
    [True, True]
    """
    _check_voice(voice)
    for name, value, low, high in (("rate", rate, 80, 450), ("pitch", pitch, 0, 99)):
        if not low <= value <= high:
            refuse("speak", f"{name} from {low} to {high}", str(value))
    if not texts or not all(text.strip() for text in texts):
        refuse("speak", "texts with something to say", repr(texts))
    with _lock:
        library, pieces, _ = _library()
        library.espeak_SetVoiceByName(voice.encode())
        library.espeak_SetParameter(SPEED, int(rate), 0)
        library.espeak_SetParameter(PITCH, int(pitch), 0)
        library.espeak_ng_SetRandSeed(1)
        return [_say(library, pieces, text.encode() + b"\0") for text in texts]


def _say(library: ctypes.CDLL, pieces: list[bytes], text: bytes) -> Float32[np.ndarray, " samples"]:
    pieces.clear()
    library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 1, 0, UTF8, None, None)
    return np.frombuffer(b"".join(pieces), dtype=np.int16) / np.float32(2**15)


def _check_voice(voice: str) -> None:
    language, plus, variant = voice.partition("+")
    for name, known, kind in ((language, languages(), "language"), (variant, variants(), "voice")):
        if name not in known and (plus or kind == "language"):
            near = difflib.get_close_matches(name, known, n=4, cutoff=0.0)
            refuse("speak", f"a {kind} of eSpeak NG", f"{name!r} in {voice!r}", f"The nearest are {', '.join(near)}.")
