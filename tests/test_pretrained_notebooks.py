"""The cells of notebooks 1 and 2 that use published weights, run on tiny ones, and run where there are none."""

import json

import pytest
import torch
from test_pretrained_clip import write_peer as write_clip
from test_pretrained_timesformer import write_peer as write_timesformer

NOTEBOOKS = {
    "01_clip": ("load_clip", lambda folder: write_clip(folder)),
    "02_timesformer": ("load_timesformer", lambda folder: write_timesformer(folder)),
}


def cells_of(root, name, loader):
    """The imports of a notebook, then the cell that loads weights and those that use them."""
    cells = json.loads((root / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    first = next(n for n, source in enumerate(sources) if f"import {loader}" in source)
    using = [source for source in sources[first:] if "published" in source]
    assert len(using) >= 2
    return [*sources[:2], *using]  # the imports


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("at_hand", [True, False])
def test_the_cells_run_with_weights_and_without(name, at_hand, root, tmp_path, capsys):
    loader, write = NOTEBOOKS[name]
    write(tmp_path)
    if not at_hand:
        (tmp_path / "model.safetensors").unlink()
    names = {"seed": 0}
    for source in cells_of(root, name, loader):
        lines = source.splitlines()
        for n, line in enumerate(lines):
            if line.startswith("weights_of, revision, download = "):
                lines[n] = f"weights_of, revision, download = {str(tmp_path)!r}, None, False"
        exec("\n".join(lines), names)
    printed = capsys.readouterr().out
    assert ("Loaded" in printed) == at_hand
    assert (f"{loader}: expected model.safetensors in" in printed) == (not at_hand)
    assert (names["published"] is not None) == at_hand
    assert torch.is_grad_enabled()
