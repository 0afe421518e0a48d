"Notebooks, module and README say the same, and the notebooks are clean and executed."
import json, re, shutil, subprocess, sys
from pathlib import Path
import pytest

root = Path(__file__).parents[1]
notebooks = sorted((root/"nbs").glob("*.ipynb"))


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    "A copy of the project in which everything that is generated was generated anew."
    copy = tmp_path_factory.mktemp("rebuilt")/"scvae"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".git", ".venv*", "runs", "*.egg-info", "__pycache__", "_proc", "_docs"))
    for command in ("nbdev_export", "nbdev_clean"):
        subprocess.run([Path(sys.executable).with_name(command)], cwd=copy, check=True)
    return copy


def names(folder, pattern): return sorted(p.name for p in folder.glob(pattern))


def test_module_is_what_the_notebooks_export(rebuilt):
    assert names(root/"scvae", "*.py") == names(rebuilt/"scvae", "*.py")
    for name in names(rebuilt/"scvae", "*.py"):
        assert (root/"scvae"/name).read_text() == (rebuilt/"scvae"/name).read_text(), f"scvae/{name} is out of step: run nbdev_export"


def test_notebooks_are_clean(rebuilt):
    for path in notebooks:
        assert path.read_text() == (rebuilt/"nbs"/path.name).read_text(), f"{path.name} is not clean: run nbdev_clean"


@pytest.mark.parametrize("path", notebooks, ids=lambda p: p.stem)
def test_notebook_is_executed_small_and_without_errors(path):
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    outputs = [o for c in cells for o in c["outputs"]]
    assert outputs, "no stored output: execute the notebook"
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert not [o for o in outputs if "application/vnd.jupyter.widget-view+json" in o.get("data", {})]
    assert path.stat().st_size < 1e6


@pytest.mark.parametrize("page, notebook", [("README.md", "index.ipynb"), ("CONTRIBUTING.md", "21_contributing.ipynb")])
def test_page_is_made_from_its_notebook(page, notebook):
    sys.path.insert(0, str(root/"tools"))
    from readme import readme_text
    assert (root/page).read_text(encoding="utf-8") == readme_text(notebook), f"{page} is out of step: run make readme"


def test_modules_import_only_from_lower_numbers():
    order = [json.loads(p.read_text(encoding="utf-8")) for p in notebooks]
    exported = [line.split()[-1] for nb in order for c in nb["cells"] for line in c["source"] if line.startswith("#| default_exp")]
    for i, module in enumerate(exported):
        for home, names in re.findall(r"^from \.(\w*) import (.+)", (root/"scvae"/f"{module}.py").read_text(encoding="utf-8"), re.M):
            for imported in [home] if home else names.split(", "):
                assert imported in exported[:i], f"scvae/{module}.py imports {imported}, which comes later"
