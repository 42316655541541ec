"""Other numbers for a notebook: they stand in its one cell tagged `parameters`."""

import copy
import re


def set_parameters(notebook, **values):
    """A copy of the notebook in which these names have these values; comments behind them stay.

    Raises:
        ValueError: the cell does not assign a name exactly once, or there is no such cell.
    """
    notebook = copy.deepcopy(notebook)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    for name, value in values.items():
        line = re.compile(rf"(?m)^({name} *= *)[^#\n]*?( *(?:#.*)?)$")
        if len(line.findall(cell.source)) != 1:
            raise ValueError(f"the cell tagged `parameters` must hold one line `{name} = ...`:\n{cell.source}")
        cell.source = line.sub(lambda found, value=value: f"{found[1]}{value!r}{found[2]}", cell.source)
    return notebook
