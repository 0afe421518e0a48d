"Notebooks, modules and pages say the same, and keep the rules of the house."
import ast, base64, io, json, re, shutil, subprocess, sys
from graphlib import TopologicalSorter
from pathlib import Path
import pytest
from PIL import Image

root = Path(__file__).parents[1]
sys.path.insert(0, str(root/"tools"))
import chapters
from execute import fingerprint, stamp
from readme import readme_text

notebooks = sorted((root/"nbs").glob("*.ipynb"))
every = pytest.mark.parametrize("path", notebooks, ids=lambda p: p.stem)
numbers = {module: chapters.number(stem) for module, stem in chapters.modules().items()}
each_module = pytest.mark.parametrize("module", numbers)
codes = {p.stem: chapters.codes(p.stem) for p in notebooks}


# --- what is generated is in step ---

@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    "A copy of the project in which everything that is generated was generated anew."
    copy = tmp_path_factory.mktemp("rebuilt")/"scvae"
    left_out = (".git", ".venv*", "runs", "*.egg-info", "__pycache__", "_proc", "_docs")
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(*left_out))
    for command in ("nbdev_export", "nbdev_clean"):
        subprocess.run([Path(sys.executable).with_name(command)], cwd=copy, check=True)
    return copy


def package(folder):
    "Path within a project -> text, for every file of the package."
    files = sorted((folder/"scvae").rglob("*.py"))
    return {str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in files}


def test_package_is_what_the_notebooks_export(rebuilt):
    ours, exported = package(root), package(rebuilt)
    assert ours.keys() == exported.keys()
    assert not [p for p in ours if ours[p] != exported[p]], "out of step: run nbdev_export"


def test_every_module_comes_from_a_notebook():
    made = {p.removesuffix(".py").replace("/", ".") for p in package(root)}
    assert {m for m in made if not m.endswith(("__", "_modidx"))} == set(numbers)


def test_notebooks_are_clean(rebuilt):
    dirty = [p.name for p in notebooks if p.read_text() != (rebuilt/"nbs"/p.name).read_text()]
    assert not dirty, "run nbdev_clean"


@every
def test_notebook_is_small_and_without_errors(path):
    outputs = [o for c in chapters.read(path.stem)["cells"] for o in c.get("outputs", [])]
    assert not [o for o in outputs if o["output_type"] == "error"]
    assert "site-packages" not in json.dumps(outputs), "a warning of a library is stored"
    widget = "application/vnd.jupyter.widget-view+json"
    assert not [o for o in outputs if widget in o.get("data", {})]
    assert path.stat().st_size < 1e6


@every
def test_no_state_of_widgets_is_stored(path):
    assert "widgets" not in chapters.read(path.stem)["metadata"], "tools/execute.py drops them"


def figures(stem):
    "Number of the cell and picture, for every figure that a notebook stores."
    for i, cell in enumerate(chapters.read(stem)["cells"]):
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                yield i, Image.open(io.BytesIO(base64.b64decode("".join(png))))


@every
def test_stored_figures_are_transparent_and_fit_the_page(path):
    stored = list(figures(path.stem))
    boxed = [i for i, png in stored if png.convert("RGBA").getpixel((2, 2))[3] > 0]
    assert not boxed, "opaque: made without scvae.mplstyle, as tools/execute.py sets it"
    assert not [i for i, png in stored if png.width > 960], "wider than the page"


@every
def test_stored_outputs_are_of_the_present_code(path):
    noted = chapters.read(path.stem)["metadata"].get("scvae")
    assert noted == stamp(path.stem), f"run make notebooks NB={path.stem}"


def test_layout_and_comments_do_not_change_a_fingerprint():
    one = fingerprint(["%time f(1)\nx = (1,\n  2)  # two"])
    assert one == fingerprint(["%matplotlib inline\nx = 1, 2"])
    assert one != fingerprint(["%time f(1)\nx = 1, 3"])


@pytest.mark.parametrize("page, notebook", [("README.md", "index.ipynb"),
                                            ("CONTRIBUTING.md", "90_contributing.ipynb")])
def test_page_is_made_from_its_notebook(page, notebook):
    text = (root/page).read_text(encoding="utf-8")
    assert text == readme_text(notebook), f"{page} is out of step: run make readme"


# --- rule 1: a notebook's name says what it exports ---

@pytest.mark.parametrize("stem", chapters.modules().values())
def test_notebook_exports_the_module_of_its_name(stem):
    named = re.findall(r"^#\|\s*default_exp\s+(\S+)", "\n".join(codes[stem]), re.M)
    assert [f"scvae.{name}" for name in named] == [chapters.module(stem)]


# --- rule 2: the numbers are the order ---

def test_every_notebook_has_a_number_of_its_own():
    assert {*chapters.notebooks(), "index"} == {p.stem for p in notebooks}
    given = [chapters.number(stem) for stem in chapters.notebooks()]
    assert len(given) == len(set(given))


def test_every_notebook_belongs_to_a_part():
    assert sum(chapters.parts().values(), []) == chapters.notebooks()


def test_the_first_page_lists_the_notebooks_in_their_order():
    paths = chapters.reading_paths()
    assert re.findall(r"\((\w+)\.ipynb\)", paths) == chapters.notebooks()
    assert paths.replace("](", "](nbs/") in readme_text(), "run make notebooks NB=index"


# --- rules 3 and 4: who imports whom ---

def tree_of(module):
    path = root/f"{module.replace('.', '/')}.py"
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(node, module):
    "The modules of ours that an import statement names, and the names taken from them."
    if isinstance(node, ast.Import):
        return [(a.name, None) for a in node.names if a.name in numbers]
    if not isinstance(node, ast.ImportFrom): return []
    above = module.split(".")[:-node.level] if node.level else []
    home = ".".join([*above, *([node.module] if node.module else [])])
    if home in numbers: return [(home, a.name) for a in node.names]
    found = [(f"{home}.{a.name}", None) for a in node.names if f"{home}.{a.name}" in numbers]
    homes = [(home_of(a.name), a.name) for a in node.names if home == "scvae"]
    return found + [one for one in homes if one[0]]


def home_of(name):
    "The module behind `from scvae import name`."
    import scvae
    return getattr(scvae, name).__module__ if name in scvae.__all__ else None


def imports(module, of=None):
    "(module, name) of every import in a module, those inside functions too."
    return [found for node in ast.walk(of or tree_of(module)) for found in imported(node, module)]


def in_functions(module):
    "What a module imports only where it is needed."
    functions = [n for n in ast.walk(tree_of(module)) if isinstance(n, ast.FunctionDef)]
    return [found for f in functions for found in imports(module, f)]


def is_study(module): return module.startswith("scvae.studies.")


def may_import(module, other):
    if 80 <= numbers[other] < 90: return True
    if module == "scvae.cli" and other in dict(in_functions(module)): return True  # lazily
    return numbers[other] < numbers[module] < 80


def test_imports_are_found_wherever_they_stand():
    code = "from .data import load\ndef f():\n  from scvae import fit\n  from . import metrics"
    found = {m for m, _ in imports("scvae.cli", ast.parse(code))}
    assert found == {"scvae.data", home_of("fit"), "scvae.metrics"}
    lines = "from .recipes import x", "from ..files import x", "from scvae.studies import runner"
    code = "\n".join(lines)
    found = {m for m, _ in imports("scvae.studies.beta", ast.parse(code))}
    assert found == {"scvae.studies.recipes", "scvae.files", "scvae.studies.runner"}


@each_module
def test_module_imports_from_lower_numbers_or_the_eighties(module):
    assert not {other for other, _ in imports(module) if not may_import(module, other)}


@pytest.mark.parametrize("module", [m for m in numbers if not is_study(m)])
def test_the_library_does_without_the_studies(module):
    studies = [found for found in imports(module) if is_study(found[0])]
    lazy = in_functions(module) if module == "scvae.cli" else []
    assert not [found for found in studies if found not in lazy]


def test_no_module_imports_itself_by_way_of_others():
    order = TopologicalSorter({m: {other for other, _ in imports(m)} for m in numbers})
    order.prepare()  # an error names the circle


@pytest.mark.parametrize("module", [m for m in numbers if m != "scvae.studies.catalogue"])
def test_no_module_is_named_in_a_string(module):
    tree = tree_of(module)
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    assert not [t for t in texts if isinstance(t, str) and t.strip() in numbers]
    calls = [n.func for n in ast.walk(tree) if isinstance(n, ast.Call)]
    called = {getattr(f, "attr", getattr(f, "id", "")) for f in calls}
    assert not called & {"import_module", "__import__"}


@each_module
def test_private_names_stay_in_their_module(module):
    private = lambda name: bool(re.match(r"_(?!_)", name or ""))
    assert not [found for found in imports(module) if private(found[1])]
    tree = tree_of(module)
    whole = {other.split(".")[-1] for other, name in imports(module) if name is None}
    parts = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and private(n.attr)]
    assert not [ast.unparse(n) for n in parts if ast.unparse(n.value).split(".")[-1] in whole]


# --- rule 5: code that can be read ---

def long_lines(text):
    return [line for line in text.split("\n") if len(line) > 100]


@every
def test_code_lines_in_notebooks_have_at_most_100_characters(path):
    assert not [line for code in codes[path.stem] for line in long_lines(code)]


folders = ("", "tests", "tools", "docs", "peers")
scripts = [p for folder in folders for p in sorted((root/folder).glob("*.py"))]


@pytest.mark.parametrize("path", scripts, ids=lambda p: str(p.relative_to(root)))
def test_code_lines_in_files_have_at_most_100_characters(path):
    assert not long_lines(path.read_text(encoding="utf-8"))


cells = [(stem, code.strip("\n")) for stem in codes for code in codes[stem]]
exported = [(f"{stem}: {code[:60]!r}", len(code.split("\n"))) for stem, code in cells
            if re.search(r"^#\|\s*exports?\b", code, re.M)]


def test_no_exported_cell_has_more_than_30_lines():
    assert not [name for name, n in exported if n > 30]


def test_nine_in_ten_exported_cells_have_at_most_15_lines():
    longer = [name for name, n in exported if n > 15]
    assert len(longer) <= 0.1 * len(exported), f"{len(longer)} of {len(exported)}: {longer}"


def test_licences_are_those_of_the_pinned_packages():
    "A package that is not permissive is a decision, to be taken by a person and written down."
    rows = [line.split(",", 2) for line in (root/"licences.csv").read_text().splitlines()[1:]]
    pinned = (root/"constraints.txt").read_text().split()
    assert sorted("==".join(row[:2]) for row in rows) == sorted(pinned), "run tools/licences.py"
    assert {name for name, _, said in rows if "GPL" in said} == {"igraph", "harmonypy"}
    assert not [name for name, _, said in rows if said in ("", "not stated")]
