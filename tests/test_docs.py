"What the documentation is made of, without building it: `make docs-test` builds it and reads it in a browser."
import json, re, sys
from pathlib import Path
import pytest

root = Path(__file__).parents[1]
sys.path.insert(0, str(root/"tools"))
import docs

modules = docs.read_package()
index = docs.name_index(modules)


def test_every_exported_name_has_an_entry():
    for m in modules:
        text = docs.module_text(m, index)
        for e in m.entries: assert re.search(rf"{{py:(?:function|class|data)}} {e.name}\b", text), f"scvae.{m.name}.{e.name}"


def test_parameters_come_with_what_the_notebook_says_of_them():
    load = next(e for m in modules if m.name == "data" for e in m.entries if e.name == "load")
    assert set(load.params) == {"name", "data_dir"} and all(load.params.values())
    klass = next(e for m in modules if m.name == "trained" for e in m.entries if e.name == "SCVAE")
    assert {"encode", "generate_like", "save"} <= {s.name for s in klass.members} and klass.params["net"] == "the networks"


@pytest.mark.parametrize("text, here, target", [
    ("load", "data", "scvae.data.load"), ("scvae.load", None, "scvae.data.load"), ("scvae.fit(adata)", None, "scvae.trained.fit"), ("generate_like", "model", "scvae.model.generate_like"),
    ("vae.generate_like(adata[7], 100)", None, "scvae.trained.SCVAE.generate_like"), ("scvae.metrics", None, "scvae.metrics"), ("sc.pp.neighbors", "data", None), ("adata.X", "data", None), ("x", "model", None)])
def test_names_in_prose_lead_to_the_reference(text, here, target): assert docs.resolve(text, here, {}, index) == target


def test_code_headings_and_links_are_left_alone():
    mark = lambda code: f"<{code}>"
    assert docs.linked("# `a`\n`b` [`c`](d)\n```python\n`e`\n```", mark) == "# `a`\n<b> [`c`](d)\n```python\n`e`\n```"


def test_whoever_is_cited_is_in_the_bibliography():
    bib = docs.read_bib()
    assert len(bib) > 30 and all({"author", "title", "year"} <= set(b) for b in bib.values())
    for path in (root/"nbs").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] != "markdown": continue
            text = docs.cited("".join(cell["source"]), bib)
            bare = re.findall(r"(?<!\[)\b[A-ZÄÖÜØ]\w+ et al\.? \(?(?:19|20)\d\d", re.sub(r"\[[^\]]*\]\([^)]*\)", "", text))
            assert not bare, f"{path.name}: add {bare} to docs/references.bib"


def test_the_citation_names_this_version():
    assert f"version: {docs.cfg['version']}\n" in (root/"CITATION.cff").read_text(encoding="utf-8")


def test_parameters_are_explained():
    "Of functions all, of the classes that an importer meets those of their methods too; helpers that check options, and what is stacked for `fit_many`, speak of `train`."
    silent = {f"{m.name}.{e.name}({n})" for m in modules for e in m.entries if e.kind == "function" for n, d in e.params.items() if not d}
    silent |= {f"{m.name}.{e.name}.{s.name}({n})" for m in modules for e in m.entries if e.name == "SCVAE" for s in e.members for n, d in s.params.items() if not d}
    assert not {s for s in silent if not s.startswith(("train.check_options(", "many.train_stacked("))}


def test_linked_papers_are_in_the_bibliography():
    bare = lambda link: re.sub(r"https?://(?:doi\.org/|arxiv\.org/abs/)|10\.48550/arxiv\.", "", link.lower())
    known = {bare(b.get(k, "")) for b in docs.read_bib().values() for k in ("doi", "url")}
    for path in (root/"nbs").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        links = re.findall(r"\]\((https?://[^)\s]+)\)", "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown"))
        papers = {l for l in links if re.search(r"doi\.org|arxiv\.org|openreview|nips\.cc", l)}
        missing = {p for p in papers if bare(p) not in known}
        assert not missing, f"{path.name}: add {missing} to docs/references.bib"


def test_what_comes_back_is_not_said_of_the_last_parameter():
    weights = next(e for m in modules if m.name == "studies" for e in m.entries if e.name == "weights_of")
    assert weights.params["seed"] == "which random genes" and weights.returns.startswith("float32")
