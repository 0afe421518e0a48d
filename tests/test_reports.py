"The page of a run and the page that compares runs: what is on them, in which order, in a browser."
import base64, re
import anndata, numpy as np, pandas as pd, pytest
import hostile
import scvae
from scvae import reports
from scvae.cli import app
from scvae.plots import cluster_cells
from typer.testing import CliRunner

EVIL = "<img src=x onerror='window.PWNED=1'>|`$x$`"


def a_run(folder, seed=0, n=None):
    "A small run whose names are hostile, with types that were given and genes that were compared."
    adata = scvae.synthetic(n_cells=240, n_genes=80, n_types=3, n_batches=2, random_state=0)
    adata.obs[EVIL] = adata.obs["type"].map(lambda t: f"{t} {EVIL}").astype("category")
    adata = adata[:n].copy()
    how = dict(batch_key="batch", epochs=2, batch_size=32, n_latent=3, hidden=(16,))
    vae = scvae.fit(adata, random_state=seed, progress=False, **how)
    cluster_cells(adata, random_state=seed)
    adata.obs["kind_predicted"], adata.obs["kind_confidence"] = adata.obs[EVIL], .5
    adata.obs["scvae_distance"] = np.linspace(.2, 2.2, adata.n_obs)
    genes = pd.DataFrame({EVIL.replace("/", ""): ["<b>gene", "x"]}).to_records(index=False)
    adata.uns["rank_genes_groups"] = {"names": genes.astype([(genes.dtype.names[0], "O")]),
        "params": {"groupby": EVIL, "reference": "rest", "method": "t-test"}}
    vae.save(folder/"model")
    adata.write_h5ad(folder/"adata.h5ad")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def runs(folder): return a_run(folder/"one"), a_run(folder/f"two {EVIL}", seed=1, n=200)


@pytest.fixture(scope="module")
def page(runs):
    run = runs[0]
    return reports.run_report(run/"model", run/"adata.h5ad", run/"report.html", EVIL)


@pytest.fixture(scope="module")
def both(runs, folder): return scvae.compare_runs(runs, folder/"both.html", EVIL)


@pytest.fixture(scope="module")
def browser():
    try: browser = hostile.open_browser()
    except (ImportError, RuntimeError) as error: pytest.skip(f"no browser: {error}")
    yield browser
    browser.close()


def heads(page):
    return re.findall("<h[12][^>]*>(.*?)</h[12]>", page.read_text(encoding="utf-8"))


def test_maps_come_first_and_losses_late(page):
    text, found = page.read_text(encoding="utf-8"), heads(page)
    asked = ["Batches", "Cells that were mapped", "Types that were given",
             "Genes that differ between groups"]
    assert [h for h in found if h in asked] == asked
    images = [m.start() for m in re.finditer("<img", text)]
    assert len(images) == 10 and sum(i < text.index("What to know first") for i in images) == 4
    assert found.index("Training") > found.index("Against known types")
    assert found[-2:] == ["Methods, to be pasted", "Reproduce this page"]


@pytest.mark.slow
def test_a_page_does_not_speak_of_what_is_not_there(folder):
    adata = scvae.synthetic(n_cells=120, n_genes=60, n_types=2, n_batches=1, random_state=0)
    vae = scvae.fit(adata, epochs=1, batch_size=32, n_latent=2, hidden=(8,), progress=False)
    vae.save(folder/"plain"/"model")
    adata.write_h5ad(folder/"plain"/"adata.h5ad")
    made = reports.run_report(folder/"plain/model", folder/"plain/adata.h5ad", folder/"p.html")
    text = made.read_text(encoding="utf-8")
    for words in ("Batches", "Against known", "were mapped", "Types that were", "Genes that differ",
                  " share "):
        assert words not in re.sub("(?s)<style>.*</style>", "", text), words


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_in_a_browser(page, both, browser, width, dark):
    for one in (page, both):
        browser.open(one.resolve().as_uri(), width=width, dark=dark)
        assert browser.js("document.documentElement.scrollWidth") <= width
        said = "getComputedStyle(document.body).backgroundColor"
        assert (browser.js(said) == "rgb(255, 255, 255)") is not dark
        filtered = "getComputedStyle(document.images[0]).filter"
        assert (browser.js(filtered) == "none") is not dark


def test_pages_run_no_name(page, both, browser):
    for one in (page, both):
        assert hostile.problems(one, browser) == []
        text = browser.js("document.body.textContent")
        assert EVIL in " ".join(text.split())


def test_on_paper_no_figure_is_cut(page, browser):
    browser.open(page.resolve().as_uri())
    browser.call("Emulation.setEmulatedMedia", media="print")
    inside = "getComputedStyle(document.images[0]).breakInside"
    assert browser.js(inside) == "avoid"
    assert browser.js("getComputedStyle(document.images[0]).filter") == "none"
    browser.call("Emulation.setEmulatedMedia", media="")


def test_a_page_prints_on_a4(page, both, browser):
    for one in (page, both):
        browser.open(one.resolve().as_uri())
        printed = browser.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        pdf = base64.b64decode(printed["data"])
        sizes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
        points = {(round(float(width)), round(float(height))) for width, height in sizes}
        assert len(sizes) >= 2 and points == {(595, 842)}
    browser.open(one.resolve().as_uri(), width=680)      # A4 less its margins, in pixels of CSS
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.js("document.documentElement.scrollWidth") <= 680
    browser.call("Emulation.setEmulatedMedia", media="")


def test_the_comparison_says_what_differs(both, runs):
    text = both.read_text(encoding="utf-8")
    assert heads(both) == ["Comparison of 2 runs", "Settings that differ", "What came out",
                           "Do the clusters agree?"]
    assert "random_state" in text and "200 cells" in text
    assert text.count("<img") == 5
    files = [[run.name, *reports.run_files(run)] for run in runs]
    opened = reports.open_runs(files, EVIL)
    table = reports.clusters_agree(opened).data
    assert table.iloc[0, 1] == 1 and table.iloc[0, 2] == table.iloc[1, 1] <= 1
    assert not any(word in text for word in map(str, [runs[0].parent]))


def test_colours_follow_the_first_run(runs):
    first, second = reports.open_runs([[r.name, *reports.run_files(r)] for r in runs])
    assert list(first.adata.obs_names) == list(second.adata.obs_names)
    assert (first.adata.obs[reports.FIRST] == second.adata.obs[reports.FIRST]).all()


def test_what_cannot_be_compared_is_said_in_a_line(runs, folder):
    other = a_run(folder/"other")
    adata = anndata.read_h5ad(other/"adata.h5ad")
    adata.obs_names = [f"other {i}" for i in range(adata.n_obs)]
    adata.write_h5ad(other/"adata.h5ad")
    one, new = str(runs[0]), str(folder/"new.html")
    cases = {
        "add --compare": [one, str(other)],
        "give two or more": ["--compare", one],
        "given twice": ["--compare", one, one],
        "have 0 cells in common": ["--compare", one, str(other)],
        "is not the folder of a run": ["--compare", one, str(folder)],
        "have no column 'cell_type'": ["--compare", one, str(other), "--label", "cell_type"],
        "--data does not go": ["--compare", one, str(other), "--data", f"{one}/adata.h5ad"]}
    for words, line in cases.items():
        done = CliRunner().invoke(app, ["report", *line, "-o", new], prog_name="scvae")
        assert done.exit_code == 2 and words in done.stderr, (words, done.stderr)
        said = [line for line in done.stderr.splitlines() if line != "comparing 2 runs"]
        assert len(said) == 1, done.stderr
    assert not (folder/"new.html").exists() and not (folder/"new.ipynb").exists()


def test_names_of_runs_are_told_apart(runs):
    assert reports.run_names(["a/x/run", "a/y/run"]) == ["x/run", "y/run"]


@pytest.mark.parametrize("uns", [
    {"a": {"names": np.array([1, 2]), "params": {}}}, {"a": {"params": {}}}, {"a": "names"}, {}])
def test_what_is_no_comparison_of_genes_is_left_out(uns): assert reports.compared_in(uns) == []
