"""Files of published models: what is missing, damaged or of another kind, and a download from a hub that is a fake."""

import hashlib
import json
import math
import re
import sys
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_pretrained_clip import TOKENS, write_peer

from mmlib.pretrained import hub, load_clip
from mmlib.pretrained.hub import folder_of
from mmlib.pretrained.pieces import read_pieces

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    write_peer(path)
    return path


@pytest.fixture
def folder(whole, tmp_path):
    """A copy to damage."""
    for file in whole.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


# Folders

MISSING = {
    "config.json": "load_clip: expected config.json in .*, got merges.txt, model.safetensors.*Copy the whole folder",
    "model.safetensors": "load_clip: expected model.safetensors in .*download=True",
    "preprocessor_config.json": "load_clip: expected preprocessor_config.json in",
    "vocab.json": r"load_clip: expected a tokenizer \(tokenizer.json, or vocab.json and merges.txt\) in",
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_file_is_named(name, folder):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"^{MISSING[name]}"):
        load_clip(folder)


def test_a_pickle_is_never_read(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="A pickle can run any code, so it is not read. Convert it once"):
        load_clip(folder)


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_weights_that_are_cut_short(kept, folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:kept])
    words = rf"load_clip: expected whole weights, got .*model.safetensors, {len(whole[:kept]):,} bytes.*cut short or"
    with pytest.raises(ValueError, match=words):
        load_clip(folder)


def test_a_pointer_of_git_in_place_of_weights(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n")
    with pytest.raises(ValueError, match="run git lfs pull"):
        load_clip(folder)


def test_settings_that_are_cut_short(folder):
    (folder / "config.json").write_text('{"model_type": "cl')
    with pytest.raises(ValueError, match="load_clip: expected settings in .*config.json, got no JSON"):
        load_clip(folder)


def test_all_names_and_shapes_that_do_not_fit_stand_in_one_error(folder):
    weights = load_file(folder / "model.safetensors")
    weights["more"] = weights.pop("visual_projection.weight")
    name = "text_model.encoder.layers.1.self_attn.k_proj.weight"
    weights[name] = weights[name][:, :8].contiguous()
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError) as error:
        load_clip(folder)
    assert str(error.value).splitlines() == [
        "load_clip: expected the names and shapes that config.json promises, got 3 that do not fit:",
        "  more is left over",
        f"  {name} has shape (16, 8), not (16, 16)",
        "  visual_projection.weight is missing",
        ". Are both files of the same model?",
    ]


def both(**settings):
    return {"text_config": settings, "vision_config": settings}


REFUSED = [
    (dict(model_type="siglip"), "expected a checkpoint of model_type 'clip' in .*, got 'siglip'. Load it with transf"),
    (both(hidden_act="gelu_new"), "expected hidden_act quick_gelu or gelu, one for both encoders, got 'gelu_new'"),
    (dict(vision_config=dict(hidden_act="gelu")), "one for both encoders, got 'gelu' and 'quick_gelu'"),
    (dict(text_config=dict(intermediate_size=40)), "4 times as wide, and 3 colours, got intermediate_size"),
    (dict(vision_config=dict(num_channels=1)), "3 colours, got .* 1 colours"),
    (dict(text_config=dict(vocab_size=-1)), "a whole number for vocab_size, got -1"),
    (dict(text_config=dict(num_hidden_layers=True)), "a whole number for num_hidden_layers, got True"),
    (dict(text_config=dict(layer_norm_eps=0)), "layer_norm_eps above 0 and below 1, got 0"),
    (dict(projection_dim=[]), r"a whole number for projection_dim, got \[\]"),
    (dict(text_config=[]) | dict(text_config_dict=["x"]), "text_config of config.json, got .*which is no dictionary"),
    (dict(text_config=dict(eos_token_id=[1, 2])), r"a whole number for eos_token_id, got \[1, 2\]"),
    (
        dict(text_config=dict(eos_token_id=7)),
        f"ends texts with 7, got one of {len(TOKENS)} pieces that ends .* with 85",
    ),
    (dict(text_config=dict(vocab_size=80)), "a tokenizer of at most 80 pieces"),
    (dict(vision_config=dict(image_size=24)), "cut to 24 pixels, rescaled by 1/255, got size="),
]


@pytest.mark.parametrize("settings, words", REFUSED, ids=[words[:24] for _, words in REFUSED])
def test_settings_that_are_refused(settings, words, folder):
    found = json.loads((folder / "config.json").read_text())
    for key, value in settings.items():
        found[key] = found[key] | value if isinstance(value, dict) else value
    (folder / "config.json").write_text(json.dumps(found))
    with pytest.raises(ValueError, match=f"^load_clip: .*{words}"):
        load_clip(folder)


@pytest.mark.parametrize(
    "settings",
    [
        dict(do_resize=False),
        dict(do_normalize=False),
        dict(rescale_factor=1.0),
        dict(size={"height": 16}),
        dict(size=True),
        dict(resample="cubic"),
        dict(rescale_factor=[]),
    ],
)
def test_preparations_that_are_refused(settings, folder):
    change(folder / "preprocessor_config.json", **settings)
    with pytest.raises(ValueError, match="load_clip: expected pictures resized by their shorter side"):
        load_clip(folder)


@pytest.mark.parametrize(
    "settings",
    [
        dict(image_std=[1]),
        dict(image_std=[0.2, 0, 0.2]),
        dict(image_std=[0.2, -1, 0.2]),
        dict(image_std=[0.2, math.nan, 0.2]),
        dict(image_mean="abc"),
        dict(image_mean=None),
        dict(image_mean=[0.5, math.inf, 0.5]),
    ],
)
def test_colours_that_cannot_be_are_refused(settings, folder):
    change(folder / "preprocessor_config.json", **settings)
    with pytest.raises(
        ValueError, match="load_clip: expected three numbers each for image_mean and, above 0, image_std"
    ):
        load_clip(folder)


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_weights_that_are_no_numbers_are_named(value, folder):
    weights = load_file(folder / "model.safetensors")
    weights["visual_projection.weight"][1, 2] = value
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match="1 that do not fit:\n  visual_projection.weight holds NaN or infinity\n"):
        load_clip(folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("text", ["[]", "7", '"text"', "null"])
def test_settings_that_are_no_names_with_values(name, text, folder):
    if "index" in name:
        (folder / "model.safetensors").unlink()
        text = f'{{"weight_map": {text}}}' if text != "null" else "[]"
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=f"^load_clip: expected .*{name}.*|checkpoint of model_type|pictures resized"):
        load_clip(folder)


ODD = ([], {}, "x", None, True, -1, 0, 1, 1.5, math.nan, ["a"], 10**30)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "text_config", "vision_config"])
def test_no_odd_value_of_any_setting_ends_in_a_raw_error(name, folder, monkeypatch):
    pieces = read_pieces("test", folder, len(TOKENS), None, 14)
    monkeypatch.setattr("mmlib.pretrained.clip.read_pieces", lambda *_: pieces)
    path, refused = folder / (name if name.endswith("json") else "config.json"), 0
    whole = json.loads(path.read_text())
    for key, value in product(whole.get(name, whole), ODD):
        odd = whole[name] | {key: value} if name in whole else value
        path.write_text(json.dumps(whole | ({name: odd} if name in whole else {key: odd})))
        try:
            load_clip(folder)
        except ValueError as error:
            assert re.match("load_clip: expected|CLIP: expected|Attention: expected", str(error)), (key, value, error)
            refused += 1
    assert refused > 20


def test_a_preparation_inside_that_of_a_processor(folder):
    found = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": found}))
    assert load_clip(folder).prepare.crop == 16


def test_a_damaged_tokenizer(folder):
    (folder / "vocab.json").write_text("{")
    with pytest.raises(ValueError, match="load_clip: expected a tokenizer in"):
        load_clip(folder)


@pytest.mark.parametrize("package", ["transformers", "safetensors"])
def test_a_missing_package_says_how_to_install_it(package, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'load_clip: expected the package {package}.*pip install -e "\.\[pretr'):
        load_clip(folder)


# The hub


class FakeHub(ModuleType):
    """What `folder_of` uses of huggingface_hub, over a folder in place of a network."""

    def __init__(self, served, cache):
        super().__init__("huggingface_hub")
        self.served, self.cache, self.fetched, self.damage = served, cache, [], b""

    def HfApi(self):
        return self

    def model_info(self, name, revision, files_metadata, timeout):
        if name != "maker/model":
            response = SimpleNamespace(headers={}, request=None, status_code=404)
            raise huggingface_hub.errors.RepositoryNotFoundError("404", response=response)
        files = [SimpleNamespace(rfilename=p.name, size=p.stat().st_size, lfs=lfs_of(p)) for p in self.served.iterdir()]
        return SimpleNamespace(siblings=files, sha="abc")

    def try_to_load_from_cache(self, name, file, revision):
        return str(self.cache / file) if (self.cache / file).exists() else None

    def snapshot_download(self, name, revision, local_files_only=False, allow_patterns=()):
        if local_files_only and not self.cache.exists():
            raise huggingface_hub.errors.LocalEntryNotFoundError("nothing")
        self.cache.mkdir(exist_ok=True)
        for file in allow_patterns:
            if not (self.cache / file).exists():
                self.fetched.append(file)
                (self.cache / file).write_bytes(self.damage or (self.served / file).read_bytes())
        return str(self.cache)

    def get_repo_discussions(self, name, author):
        return [SimpleNamespace(git_reference="refs/pr/5")]


def lfs_of(path):
    if path.suffix != ".safetensors":
        return None
    return SimpleNamespace(sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def fake(whole, tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    for file in whole.iterdir():
        (served / file.name).write_bytes(file.read_bytes())
    (served / "README.md").write_text("not wanted")
    (served / "pytorch_model.bin").write_text("not wanted")
    fake = FakeHub(served, tmp_path / "cache")
    monkeypatch.setattr(hub, "need", lambda where, package: fake)
    return fake


def get(name="maker/model", **arguments):
    return folder_of("load_clip", name, **{"download": False, "revision": None} | arguments)


def test_nothing_is_fetched_unless_asked_for(fake):
    with pytest.raises(
        FileNotFoundError, match="expected the weights of maker/model, got none on this .*download=True"
    ):
        get()
    assert fake.fetched == []


def test_a_download_says_its_size_and_leaves_out_what_is_here_or_not_wanted(fake, capsys):
    fake.cache.mkdir()
    (fake.cache / "config.json").write_bytes((fake.served / "config.json").read_bytes())
    (fake.served / "model.safetensors").write_bytes(bytes(2_400_000))
    assert get(download=True) == fake.cache
    assert sorted(fake.fetched) == sorted(
        ["merges.txt", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"]
    )
    assert capsys.readouterr().out == "maker/model: 6 files, of which 5 must be downloaded, 2 MB.\n"
    assert get() == fake.cache


def test_what_was_fetched_can_be_loaded(fake, monkeypatch):
    folder = get(download=True)
    monkeypatch.undo()
    assert load_clip(folder).model.config.image_size == 16


def test_weights_in_several_files_come_with_their_index(fake):
    whole = fake.served / "model.safetensors"
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
        (fake.served / name).write_bytes(whole.read_bytes())
    (fake.served / "model.safetensors.index.json").write_text("{}")
    get(download=True)
    assert not [file for file in fake.fetched if "of-00002" in file or "index" in file]  # one file is enough
    whole.unlink()
    get(download=True)
    assert len([file for file in fake.fetched if "of-00002" in file or "index" in file]) == 3


@pytest.mark.parametrize("name, lost", [("model.safetensors", 1), ("model.safetensors", 0), ("config.json", 1)])
def test_a_damaged_download_is_removed(name, lost, fake):
    fake.damage = bytes((fake.served / name).stat().st_size - lost)
    fake.cache.mkdir()
    for file in fake.served.iterdir():
        if file.name != name:
            (fake.cache / file.name).write_bytes(b"here already")
    with pytest.raises(ValueError, match=f"expected {name} as the hub describes it.*It was removed. Call again"):
        get(download=True)
    assert fake.fetched == [name] and not (fake.cache / name).exists()


def test_no_network(fake, monkeypatch):
    def unreachable(*args, **kwargs):
        raise RuntimeError("Name or service not known")

    monkeypatch.setattr(fake, "model_info", unreachable)
    with pytest.raises(
        ConnectionError, match="an answer from the .* hub, got RuntimeError: Name or.*Without a network"
    ):
        get(download=True)


def test_a_network_that_breaks_down_in_the_middle(fake, monkeypatch):
    def broken(*args, **kwargs):
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot find the file on the hub")

    monkeypatch.setattr(fake, "snapshot_download", broken)
    with pytest.raises(ConnectionError, match="LocalEntryNotFoundError.*Else call again: it goes on where it stopped"):
        get(download=True)


def test_a_name_that_the_hub_does_not_know(fake):
    with pytest.raises(FileNotFoundError, match="a model of the Hugging Face hub named maker/modle, got Repository"):
        get("maker/modle", download=True)


def test_only_a_pickle_on_the_hub(fake, monkeypatch):
    (fake.served / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="got pytorch_model.bin. A pickle.*pass revision='refs/pr/5'"):
        get(download=True)
    monkeypatch.setattr(fake, "get_repo_discussions", lambda *args, **kwargs: [])
    with pytest.raises(FileNotFoundError, match="A pickle.*Convert it once"):
        get(download=True)
    assert fake.fetched == []


def test_the_hub_has_what_the_fake_stands_for():
    import inspect

    api = huggingface_hub.HfApi
    asked = {api.model_info: "revision files_metadata timeout", api.get_repo_discussions: "author"}
    asked |= {huggingface_hub.try_to_load_from_cache: "revision"}
    asked |= {huggingface_hub.snapshot_download: "revision local_files_only allow_patterns"}
    for function, names in asked.items():
        assert set(names.split()) <= set(inspect.signature(function).parameters)


def test_a_folder_that_is_not_there(tmp_path):
    for name in (tmp_path / "nowhere", "./nowhere", "no/such/folder/at/all"):
        with pytest.raises(FileNotFoundError, match="load_clip: expected the weights of .*nowhere|all"):
            get(Path(name))
