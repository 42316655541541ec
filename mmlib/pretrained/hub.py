"""Where the files of a published model lie: in a folder, in the cache of the Hugging Face hub, or still on the hub.

Nothing is downloaded unless the caller says so. `snapshot_download` of the hub's package shows the progress and goes on
where it was cut off. Ours is what it does not do: choose one form of the weights, say its size first, and compare it
with the checksums that the hub gives.
"""

import hashlib
import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from mmlib.check import refuse

INDEX, WEIGHTS = "model.safetensors.index.json", "model.safetensors"
SETTINGS = ("config.json", "preprocessor_config.json", "processor_config.json")
PIECES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")
PICKLE = "A pickle can run any code, so it is not read. "
CONVERT = PICKLE + "Convert it once: AutoModel.from_pretrained(name).save_pretrained(folder) of transformers."


def need(where: str, package: str) -> ModuleType:
    """Import a package of the extra `pretrained`, or say how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        refuse(where, f"the package {package}", str(error), 'Run: pip install -e ".[pretrained]"', error=ImportError)


def folder_of(where: str, name: str | Path, download: bool, revision: str | None) -> Path:
    """The folder with the files of a model: the one that is named, or its place in the hub's cache.

    Raises:
        FileNotFoundError: neither, and no download was asked for; or no such model on the hub.
        ConnectionError: a download was asked for, and the hub does not answer.
    """
    if Path(name).is_dir():
        return Path(name)
    hub = need(where, "huggingface_hub")
    if download:
        return _download(where, hub, str(name), revision)
    try:
        return Path(hub.snapshot_download(str(name), revision=revision, local_files_only=True))
    except (OSError, ValueError):  # not in the cache; not the name of a model
        fix = "With a network, download=True says how large it is and fetches it; else name a folder that holds it."
        refuse(where, f"the weights of {name}", "none on this machine", fix, error=FileNotFoundError)


def _download(where: str, hub: ModuleType, name: str, revision: str | None) -> Path:
    with _asking(where, name):
        info = hub.HfApi().model_info(name, revision=revision, files_metadata=True, timeout=10)
    files = _wanted(where, hub, name, info.siblings)
    new = [file for file in files if not hub.try_to_load_from_cache(name, file.rfilename, revision=info.sha)]
    megabytes = sum(file.size for file in new) / 1e6
    print(f"{name}: {len(files)} files, of which {len(new)} must be downloaded, {megabytes:,.0f} MB.")
    with _asking(where, name):
        names = [file.rfilename for file in files]
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=names))
    for file in new:
        _verify(where, folder / file.rfilename, file)
    return folder


@contextmanager
def _asking(where: str, name: str) -> Iterator[None]:
    """Say what to do when the hub does not know a model, or does not answer."""
    errors = importlib.import_module("huggingface_hub.errors")
    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        got, fix = type(error).__name__, "Look the name up on huggingface.co; is the revision one of that model?"
        refuse(where, f"a model of the Hugging Face hub named {name}", got, fix, error=FileNotFoundError)
    except Exception as error:  # of requests or of httpx: it depends on the version of the hub's package
        fix = "Without a network, name a folder that holds the files. Else call again: it goes on where it stopped."
        got = f"{type(error).__name__}: {error}"
        refuse(where, "an answer from the Hugging Face hub", got, fix, error=ConnectionError)


def _wanted(where: str, hub: ModuleType, name: str, siblings: list) -> list:
    """Settings, the tokenizer's pieces and the weights, in one file or in several; nothing that is a pickle."""
    names = {file.rfilename for file in siblings}
    weights = [WEIGHTS] if WEIGHTS in names else [n for n in names if re.fullmatch(r"model-.*\.safetensors", n)]
    if not weights:
        got = ", ".join(sorted(n for n in names if n.endswith((".bin", ".pt", ".pth", ".h5")))) or "no weights"
        fix = CONVERT
        with suppress(Exception):  # only a hint
            for page in hub.HfApi().get_repo_discussions(name, author="SFconvertbot"):
                fix = PICKLE + f"Its page offers a conversion: pass revision={page.git_reference!r}."
        refuse(where, f"safetensors in {name}", got, fix, error=FileNotFoundError)
    index = [] if WEIGHTS in names else [INDEX]
    wanted = {*SETTINGS, *PIECES, *weights, *index}
    return [file for file in siblings if file.rfilename in wanted]


def _verify(where: str, path: Path, file) -> None:
    """Compare size and, for large files, the SHA-256 that the hub gives; a damaged file is thrown away."""
    right = path.is_file() and path.stat().st_size == file.size
    if right and file.lfs is not None:
        with path.open("rb") as stream:
            digest = hashlib.sha256()
            while piece := stream.read(1 << 20):
                digest.update(piece)
        right = digest.hexdigest() == file.lfs.sha256
    if not right:
        for copy in {path.resolve(), path}:
            copy.unlink(missing_ok=True)
        refuse(where, f"{file.rfilename} as the hub describes it", "another content", "It was removed. Call again.")
