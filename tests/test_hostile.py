"Names from data through everything that shows them: pages, tables, figures, notebooks."
import json, re, warnings
from html import unescape
from pathlib import Path
import anndata, matplotlib, nbformat, numpy as np, pandas as pd, pytest
import matplotlib.pyplot as plt
from nbformat.v4 import new_code_cell, new_notebook, new_output
from scipy import sparse
import hostile
import scvae
from scvae import metrics, plots, reports
from scvae.chapters import run_notebook
from scvae.colors import as_figure_text, as_html_text, as_line, as_markdown_text
from scvae.studies import founding

matplotlib.use("agg")
N_CELLS, N_KINDS = 160, 24


@pytest.fixture(scope="module")
def browser():
    try: browser = hostile.open_browser()
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no browser, so nothing was looked at in one: {error}")
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def trap():
    with hostile.canary() as (url, hits): yield url, hits


def cells_of(names):
    "Cells in which everything that has a name has a hostile one; also its keys."
    key = dict(zip(("label", "batch", "layer", "uns"), map(hostile.as_key, names[-4:])))
    rng, n_genes = np.random.default_rng(0), len(names)
    rate = rng.gamma(.5, 2, (3, n_genes))[np.arange(N_CELLS) % 3]
    X = sparse.csr_matrix(rng.poisson(rate * rng.gamma(5, .2, (N_CELLS, 1))).astype(np.float32))
    kinds = np.array(names[:N_KINDS], object)[np.arange(N_CELLS) % N_KINDS]
    batches = np.array(names[N_KINDS:N_KINDS + 4], object)[np.arange(N_CELLS) % 4]
    obs = pd.DataFrame({key["label"]: pd.Categorical(kinds), key["batch"]: pd.Categorical(batches)})
    obs.index = [f"{i}{name}" for i, name in zip(range(N_CELLS), names)]
    adata = anndata.AnnData(X, obs, pd.DataFrame(index=names), layers={key["layer"]: X.copy()})
    adata.uns["scvae"] = {"title": names[N_KINDS + 4], key["uns"]: names[0]}
    return adata, key


@pytest.fixture(scope="module")
def run(trap, tmp_path_factory):
    "A run of hostile cells, with its report."
    url, _ = trap
    plain = hostile.names(160, url)
    chosen = ["<img src=x onerror='window.PWNED=1'>", "$x$ <script>window.PWNED=1</script>",
              "a\nb|`c` <img src=x onerror=\"window.PWNED=1\">", "![x](" + url + ") <b>"]
    names = [n.replace("\0", "") for n in plain if n not in chosen] + chosen
    names = list(dict.fromkeys(names))
    adata, key = cells_of(names)
    folder = tmp_path_factory.mktemp("hostile")/"<img src=x onerror='window.PWNED=1'> {label} $x$"
    folder.mkdir()
    fit = dict(layer=key["layer"], batch_key=key["batch"], epochs=2, batch_size=32, n_latent=3)
    vae = scvae.fit(adata, hidden=(16,), progress=False, **fit)
    vae.save(folder/"model <b>")
    cells = folder/"<script>window.PWNED=1<script>.h5ad"
    adata.write_h5ad(cells)
    page = folder/"<img src=x onerror='window.PWNED=1'>.html"
    reports.run_report(folder/"model <b>", cells, page, key["label"])
    return vae, adata, key, page


def unguarded(page):
    "The page without its policy, so that only escaping is left."
    other = page.with_name("unguarded.html")
    text = page.read_text(encoding="utf-8")
    guard = re.search('<meta http-equiv="Content-Security-Policy"[^>]*>', text)[0]
    other.write_text(text.replace(guard, ""), encoding="utf-8")
    return other


# --- the check itself ---

def test_the_check_sees_what_is_not_escaped(browser, trap, tmp_path):
    url, hits = trap
    page = tmp_path/"open.html"
    page.write_text(f"<meta charset=utf-8><p>{hostile.names(60, url)}".replace("alert(1)", "1"),
                    encoding="utf-8")
    found = hostile.problems(page, browser)
    assert "window.PWNED is set" in found and "<script>" in found
    assert any(text.startswith("asked for http://127") for text in found) and hits
    hits.clear()


def test_the_policy_of_a_page_stops_what_is_not_escaped(browser, trap, tmp_path):
    url, hits = trap
    body = "".join(n for n in hostile.names(200, url) if "refresh" not in n and "<b>" * 9 not in n)
    page = tmp_path/"guarded.html"
    page.write_text(reports.page("guarded", body), encoding="utf-8", errors="replace")
    found = hostile.problems(page, browser)
    assert "window.PWNED is set" not in found and "the title was set" not in found
    assert not hits


# --- a report ---

@pytest.mark.slow
def test_report_in_a_browser(run, browser, trap):
    *_, page = run
    for one in (page, unguarded(page)):
        assert hostile.problems(one, browser) == []
    assert not trap[1]


def test_report_shows_the_names(run, browser):
    vae, adata, key, page = run
    browser.open(page.resolve().as_uri())
    text = browser.js("document.body.textContent")
    kinds = [as_line(k) for k in adata.obs[key["label"]].cat.categories]
    for name in (*kinds, as_line(adata.uns["scvae"]["title"]), as_line(key["label"])):
        assert name in " ".join(text.split()) or name == '""', name
    assert browser.js("document.title") == "scvae: <script>window.PWNED=1<script>.h5ad"
    assert browser.js("document.images.length") == 7


def test_report_leaves_its_two_files_and_ran_no_name(run):
    *_, page = run
    assert {p.suffix for p in page.parent.iterdir() if p.is_file()} == {".h5ad", ".html", ".ipynb"}
    assert not list(page.parent.rglob("PWNED")) and not Path("PWNED").exists()
    nb = nbformat.read(page.with_suffix(".ipynb"), 4)
    blank = {c.source for c in reports.blank_report(["label", "batches"]).cells}
    added = [c for c in nb.cells if c.source not in blank]
    assert [c.metadata.tags for c in added] == [["injected-parameters"]]


def as_document(outputs, path):
    "Outputs of cells as the page of a report."
    cells = [new_code_cell("", outputs=[new_output("display_data", {kind: data})])
             for kind, data in outputs]
    page = reports.as_page(new_notebook(cells=cells), outputs[-1][1])
    path.write_text(page, encoding="utf-8")
    return path


@pytest.mark.slow
def test_every_name_in_every_text_of_a_report(run, browser, trap, tmp_path):
    vae, adata, key, _ = run
    url, hits = trap
    names, few = hostile.names(url=url), adata[:12].copy()
    few.obs["scvae"] = "0"
    outputs = []
    for name in names:
        few.uns["scvae"] = {"title": name}
        if name not in few.obs: few.obs[name] = name
        texts = (reports.headline(vae, few), reports.against(few, name),
                 reports.how_to_redo(vae, name), reports.headline(vae, few, name),
                 as_markdown_text(name))
        outputs += [("text/markdown", text) for text in texts]
        outputs.append(("text/html", f'<p title="{as_html_text(name)}">{as_html_text(name)}</p>'))
        if name != "scvae": del few.obs[name]
    lines = pd.DataFrame({n: [1, n] for n in map(as_line, names[:40])}, pd.Index([*names[:2]]))
    outputs.append(("text/html", reports.shown(lines.rename_axis(names[2])).to_html()))
    outputs.append(("text/html", reports.as_box(names, names[:0], [("x", names[3])], names)))
    table = pd.DataFrame({"name": list(map(str, names))})
    outputs.append(("text/markdown", founding.as_markdown(table)))
    page = as_document(outputs, tmp_path/"all.html")
    for one in (page, unguarded(page)): assert hostile.problems(one, browser) == []
    assert not hits


def test_model_in_a_notebook(run, browser, trap, tmp_path):
    vae, adata, key, _ = run
    page = as_document([("text/html", vae._repr_html_())], tmp_path/"repr.html")
    assert hostile.problems(unguarded(page), browser) == []
    assert "<img" not in vae._repr_html_() and "\n" not in repr(vae)


# --- names in text ---

NAMES = hostile.names()


def test_markdown_shows_every_name_as_it_is():
    import mistune
    more = mistune.create_markdown(escape=False, plugins=["table", "url", "math"])
    renderers = mistune.html, more
    for name in [*NAMES, "\ud800", 7, None, True, b"x"]:
        for render in renderers:
            for before, after in (("", ""), ("- ", ""), ("| a |\n| - |\n| ", " |\n")):
                made = render(before + as_markdown_text(name) + after)
                bare = re.sub("</?(p|ul|li|table|thead|tbody|tr|t[hd])>", " ", made)
                bare = re.sub("</?span>", "", bare)
                assert "<" not in bare, (name, made)
                assert as_line(name) in " ".join(unescape(bare).split()), (name, made)


def test_no_formula_is_left_for_mathjax():
    for name in NAMES:
        made = as_markdown_text(name)
        assert "$" not in made and "\\" not in made
        apart = re.sub("<span>&#(36|92);</span>", "", made)
        assert "&#36;" not in apart and "&#92;" not in apart


def test_html_is_what_the_standard_library_escapes():
    for name in NAMES: assert unescape(as_html_text(name)) == as_line(name)
    assert not [name for name in NAMES if set(as_html_text(name)) & set("<>\"'\n")]


# --- figures ---

def drawn(ax):
    "Draw a figure in full; any warning is an error."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax.figure.draw_without_rendering()
    plt.close(ax.figure)
    return ax


@pytest.mark.parametrize("start", range(0, len(NAMES), 24))
def test_figures_draw_every_name(start):
    names = NAMES[start:start + 24]
    n = 8 * len(names)
    kinds = pd.Categorical(np.resize(np.array(names, object), n), categories=[*names, "unused"])
    xy = np.random.default_rng(0).normal(size=(n, 2))
    legend = drawn(metrics.plot_umap(xy, kinds, legend=True)).get_legend()
    assert len(legend.get_texts()) == len(names)
    drawn(metrics.plot_umap(xy, kinds))
    drawn(metrics.plot_confusion(kinds, np.resize(["0", "1", "2"], n)))
    obs = pd.DataFrame({names[0]: kinds}, map(str, range(n)))
    drawn(plots.plot_sizes(anndata.AnnData(np.ones((n, 2)), obs=obs), names[0]))


@pytest.mark.parametrize("values, shown", [
    ([True, False], ["False", "True"]), ([0, 1], ["0", "1"]), (["0", "_1"], ["0", " _1"]),
    ([None, "a"], ["a"]), ([np.nan, np.nan], []), ([pd.NA, 3], ["3"]), (["a", "a"], ["a"]),
    (pd.Categorical(["b", "b"], ["a", "b", "c"]), ["b"]), ([1.5, np.nan], ["1.5"]),
    ([1, "1"], ["1", "1"])], ids=str)
def test_columns_of_every_kind(values, shown):
    labels = pd.Series(values).repeat(6).reset_index(drop=True)
    xy = np.random.default_rng(0).normal(size=(len(labels), 2))
    ax = drawn(metrics.plot_umap(xy, labels, legend=True))
    texts = [t.get_text() for t in ax.get_legend().get_texts()] if ax.get_legend() else []
    assert sorted(texts) == sorted(shown)
    drawn(metrics.plot_umap(xy, labels))
    obs = pd.DataFrame({"kind": labels.astype("category"), "scvae": np.resize(["0", "1"], 12)})
    adata = anndata.AnnData(np.ones((12, 2)), obs=obs.set_index(obs.index.astype(str)))
    drawn(plots.plot_sizes(adata, "kind"))
    said, ax = reports.against(adata, "kind"), reports.plot_against(adata, "kind")
    assert ("ARI" in said) == (ax is not None)
    assert said.startswith("<b>kind</b>: ") and (ax is None or drawn(ax))


def test_of_thousands_of_groups_the_largest_are_shown():
    kinds = np.r_[np.arange(5000), np.zeros(50, int)]
    xy = np.random.default_rng(0).normal(size=(len(kinds), 2))
    texts = drawn(metrics.plot_umap(xy, kinds, legend=True)).get_legend().get_texts()
    assert [t.get_text() for t in texts][:2] == ["4960 others", "0"]
    obs = pd.DataFrame({"kind": kinds}, map(str, range(len(kinds))))
    ax = drawn(plots.plot_sizes(anndata.AnnData(np.ones((len(kinds), 1)), obs=obs), "kind"))
    assert len(ax.patches) == 41 and ax.figure.get_size_inches()[1] < 20


def test_names_are_drawn_as_they_are():
    for name in NAMES:
        text = as_figure_text(name)
        assert not matplotlib.cbook.is_math_text(text) and not text.startswith("_")
        assert text.replace(r"\$", "$").strip() == as_line(text.replace(r"\$", "$"))


# --- notebooks ---

def test_chapters_get_every_name_as_a_value(tmp_path):
    kernel = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    read = "import json\nopen('read.json', 'w').write(json.dumps(label))"
    cells = [new_code_cell("label = None", metadata={"tags": ["parameters"]}), new_code_cell(read)]
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path/"<b>{label}.ipynb")
    label = {name: [name, {name: name}] for name in [*NAMES, "\ud800"]}
    out = tmp_path/"$x$ {0} <img>.ipynb"
    run_notebook(str(tmp_path/"<b>{label}.ipynb"), out, {"label": label}, progress=False)
    assert json.loads((tmp_path/"$x$ {0} <img>_files"/"read.json").read_text()) == label
    assert not list(tmp_path.rglob("PWNED")) and not Path("PWNED").exists()


@pytest.mark.parametrize("name", ["a=1;b", "a\n=== code\n", "", "1a", "a b", "__import__('os')"])
def test_a_parameter_has_the_name_of_a_variable(name, tmp_path):
    cells = [new_code_cell("a = 1", metadata={"tags": ["parameters"]})]
    nbformat.write(new_notebook(cells=cells), tmp_path/"n.ipynb")
    with pytest.raises(ValueError, match="parameter|takes no"):
        run_notebook(str(tmp_path/"n.ipynb"), tmp_path/"m.ipynb", {name: 1}, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["n.ipynb"]
