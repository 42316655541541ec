"""README, LICENSE, Makefile, environment.yml and pyproject.toml agree with each other and with the notebooks."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def read(relative):
    return (ROOT / relative).read_text(encoding="utf-8")


def test_environment_yml_says_nothing_that_pyproject_does_not():
    python_range = re.search(r'^requires-python = "(.+)"$', read("pyproject.toml"), flags=re.M)[1]
    lines = [line for line in read("environment.yml").splitlines() if not line.startswith("#")]
    assert [line.strip() for line in lines] == [
        "name: mmlib",
        "channels:",
        "- conda-forge",
        "dependencies:",
        f"- python{python_range}",
        "- pip",
        "- pip:",
        "- -e .[test]",
    ]


def test_readme_and_makefile_name_the_same_targets():
    targets = set(re.findall(r"^(\w+):", read("Makefile"), flags=re.M)) - {"help"}
    assert set(re.findall(r"(?:^    |`)make (\w+)", read("README.md"), flags=re.M)) == targets


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", read("README.md")):
        if target.startswith("#"):
            headings = re.findall(r"^#+ (.+)$", read("README.md"), flags=re.M)
            assert target[1:] in {heading.lower().replace(" ", "-") for heading in headings}
        elif not target.startswith("https://"):
            assert (ROOT / target).exists(), target


def test_readme_maps_every_room_of_mmlib():
    mapped = set(re.findall(r"^    mmlib/(\w+)", read("README.md"), flags=re.M))
    assert mapped == {path.stem for path in (ROOT / "mmlib").iterdir() if not path.stem.startswith("_")}


def test_readme_shows_the_committed_results_and_what_they_cost():
    from tools.readme import budget_table, readme_table

    for name, table_of in (("results", readme_table), ("budgets", budget_table)):
        table = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", read("README.md"), flags=re.S)[1]
        assert table.strip() and table.strip() == table_of(ROOT / "notebooks").strip()


def test_readme_has_a_band_for_every_metric_with_a_floor():
    from mmlib.results import read as results_of

    table = re.search(r"<!-- bands -->\n(.*?)<!-- /bands -->", read("README.md"), flags=re.S)[1]
    rows = re.findall(r"\(notebooks/(\S+)\.ipynb\) \| `(\w+)` \| \S+ to \S+", table)
    reports = [results_of(path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    floors = [
        (each["notebook"], name)
        for each in reports
        for name, row in each["metrics"].items()
        if row["floor"] is not None
    ]
    assert sorted(rows) == sorted(floors), "run: make bands"


def test_readme_lists_every_notebook():
    listed = re.findall(r"\]\(notebooks/([^)]+)\)", read("README.md"))
    assert sorted(set(listed)) == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_pictures_of_the_readme_are_told_in_words():
    texts = re.findall(r"!\[([^\]]*)\]", read("README.md"))
    assert texts and all(len(text) > 40 for text in texts)


def test_pictures_are_credited():
    for relative in ("LICENSE", "README.md"):
        assert "OpenMoji" in read(relative) and "CC BY-SA 4.0" in read(relative)
