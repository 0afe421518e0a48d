"What the documentation is made of, without building it: `make docs-test` does that."
import ast, inspect, re, sys
from importlib import import_module
from pathlib import Path
import pytest

root = Path(__file__).parents[1]
sys.path.insert(0, str(root/"tools"))
import chapters
from scvae.docments import comments_of, explained

bib = (root/"docs/references.bib").read_text(encoding="utf-8")
bib = [dict(re.findall(r"^\s*(\w+) = \{(.*)\},?$", entry, re.M)) for entry in bib.split("\n@")]


def prose(stem):
    "The Markdown of a notebook."
    cells = chapters.read(stem)["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def documented(module):
    "(name, ast) of public functions, SCVAE's methods, and `__init__` of the classes scvae gives."
    import scvae
    module = import_module(module)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    found = [(n.name, n) for n in tree.body if getattr(n, "name", "") in module.__all__]
    for node in tree.body:
        is_class = isinstance(node, ast.ClassDef) and node.name in scvae.__all__
        parts = [n for n in node.body if isinstance(n, ast.FunctionDef)] if is_class else []
        public = [n for n in parts if node.name == "SCVAE" and n.name[0] != "_"]
        makers = [n for n in parts if n.name == "__init__"]
        found += [(f"{node.name}.{n.name}", n) for n in public + makers]
        patched = [getattr(d, "id", "") for d in getattr(node, "decorator_list", [])] == ["patch"]
        public = patched and node.name[0] != "_"
        if public and "SCVAE" in ast.unparse(node.args): found.append((node.name, node))
    return [(name, n) for name, n in found if isinstance(n, ast.FunctionDef)]


def commands():
    "Name of a function -> command of the command line."
    from typer.main import get_command
    from scvae.cli import app
    group = get_command(app)
    return {c.callback.__name__: c for c in (group, *group.commands.values())}


@pytest.mark.parametrize("module", chapters.modules())
def test_every_public_function_has_a_docstring(module):
    told = commands() if module == "scvae.cli" else {}
    assert all(command.help for command in told.values())
    assert not [name for name, node in documented(module) if name not in told
                and "__" not in name and not ast.get_docstring(node)]


@pytest.mark.parametrize("module", chapters.modules())
def test_parameters_are_explained(module):
    comments = comments_of(Path(import_module(module).__file__).read_text(encoding="utf-8"))
    told = commands() if module == "scvae.cli" else {}
    assert not [f"{name}({parameter})" for name, node in documented(module) if name not in told
                for parameter, text in explained(node, *comments).items() if not text]


def test_options_of_commands_are_explained():
    assert not [f"{name} {p.name}" for name, command in commands().items()
                for p in command.params if not getattr(p, "help", None)]


@pytest.mark.parametrize("name", ["load", "fit", "SCVAE", "Preprocessor", "score"])
def test_help_lists_the_parameters(name):
    import scvae
    thing = getattr(scvae, name)
    text = (thing.__init__ if isinstance(thing, type) else thing).__doc__
    assert "Parameters\n----------\n" in text


def test_whoever_is_cited_is_in_the_bibliography():
    assert len(bib) > 30 and all({"author", "title", "year"} <= set(b) for b in bib)
    first = lambda b: b["author"].split(",")[0].split()[-1].strip("{}")
    known = {f"{first(b)} {b['year']}" for b in bib}
    for stem in ["index", *chapters.notebooks()]:
        text = re.sub(r"\[[^\]]*\]\([^)]*\)", "", prose(stem))
        cited = re.findall(r"\b([A-ZÄÖÜØ][\w-]+) et al\.?,? \(?((?:19|20)\d\d)", text)
        missing = {" ".join(c) for c in cited} - known
        assert not missing, f"{stem}: add {missing} to docs/references.bib"


def test_linked_papers_are_in_the_bibliography():
    where = r"https?://(?:doi\.org/|arxiv\.org/abs/)|10\.48550/arxiv\."
    bare = lambda link: re.sub(where, "", link.lower())
    known = {bare(b.get(k, "")) for b in bib for k in ("doi", "url")}
    for stem in ["index", *chapters.notebooks()]:
        links = re.findall(r"\]\((https?://[^)\s]+)\)", prose(stem))
        papers = {l for l in links if re.search(r"doi\.org|arxiv\.org|openreview|nips\.cc", l)}
        missing = {p for p in papers if bare(p) not in known}
        assert not missing, f"{stem}: add {missing} to docs/references.bib"


def test_links_between_notebooks_lead_somewhere():
    stems = {"index", *chapters.notebooks()}
    links = [(stem, to) for stem in stems for to in re.findall(r"\]\((\w+)\.ipynb", prose(stem))]
    assert not [f"{stem} -> {to}" for stem, to in links if to not in stems]


def test_the_citation_names_this_version():
    text = (root/"CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {chapters.cfg['version']}\n" in text
    assert (chapters.repository in text) == chapters.published


@pytest.mark.parametrize("stem", chapters.parts()["Study"])
def test_a_study_says_how_long_it_takes(stem):
    assert "this page takes about" in prose(stem)


tasks = (root/"docs/tasks.md").read_text(encoding="utf-8")


def test_every_task_leads_to_a_page():
    each = re.split(r"^### ", tasks, flags=re.M)[1:]
    assert len(each) >= 30
    assert all(len(part.strip().splitlines()) > 2 and ".ipynb)" in part for part in each)
    linked = set(re.findall(r"\]\(\.\./nbs/(\w+)\.ipynb\)", tasks))
    assert linked <= {"index", *chapters.notebooks()}


def named(node):
    "The call of something of ours as what it calls, or None."
    text = ast.unparse(node.func)
    import scvae
    first, *rest = text.split(".")
    of_self = first == "vae"
    if first not in ("scvae", "vae"): return None
    if len(rest) == 2: return getattr(import_module(f"scvae.{rest[0]}"), rest[1]), False
    return getattr(scvae.SCVAE if of_self else scvae, rest[0]), of_self


def test_tasks_call_what_there_is():
    import scvae.mapping, scvae.expression, scvae.train
    options = set(inspect.signature(scvae.train.Options).parameters)
    lines = "\n".join(re.findall(r"```python\n(.*?)```", tasks, re.S))
    calls = [c for c in ast.walk(ast.parse(lines)) if isinstance(c, ast.Call)]
    called = [(c, *found) for c in calls if (found := named(c))]
    assert len(called) > 15
    for c, function, of_self in called:
        more = {k.arg: None for k in c.keywords if k.arg not in options}
        inspect.signature(function).bind(*[None] * of_self, *c.args, **more)


def test_tasks_use_commands_and_options_that_there_are():
    shell = {command.name: command for command in commands().values()}
    found = re.findall(r"^scvae (\w+)(.*)$", tasks, re.M)
    assert len(found) > 4
    for name, rest in found:
        known = {o for p in shell[name].params for o in p.opts}
        assert set(re.findall(r"(?<=\s)--?[a-z][\w-]*", rest)) <= known
