"The built site in a real browser. `make docs` first, then `make docs-test`."
import base64, io, re, shutil, subprocess, sys, tarfile, threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse
import pytest
from PIL import Image, ImageStat
from browser import Browser

sys.path.insert(0, str(Path(__file__).parents[1]/"tools"))
import chapters as order

site = Path(__file__).parents[1]/"_docs"
pages = sorted(str(p.relative_to(site)) for p in site.rglob("*.html"))
if not pages: pytest.exit("there is no site in _docs: run make docs first", 2)
chapters = [p for p in pages if re.match(r"\d", p)]


class Server(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass


@pytest.fixture(scope="session")
def base():
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="session")
def browser():
    b = Browser()
    yield b
    b.close()


class Page(HTMLParser):
    "The links and the anchors of a page."
    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.images = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        if "id" in a: self.ids.add(a["id"])
        if tag in ("a", "link") and a.get("href"): self.links.append(a["href"])
        if tag == "img": self.images.append(a)


@pytest.fixture(scope="session")
def parsed(): return {p: Page((site/p).read_text(encoding="utf-8")) for p in pages}


@pytest.mark.parametrize("page", ["index.html", "08_see_beta.html", "course.html"])
def test_a_link_to_a_page_shows_what_it_is(page):
    text = (site/page).read_text(encoding="utf-8").split("</head>")[0]
    told = dict(re.findall(r'<meta (?:property|name)="([\w:]+)" content="([^"<>]+)"', text))
    assert told["og:title"] and len(told["description"]) > 30
    assert (site/told["og:image"].removeprefix(order.site_address)).is_file()


def test_the_exercises_can_be_downloaded(parsed):
    names = [link for link in parsed["course.html"].links if link.startswith("course/")]
    assert len(names) == 5 and all((site/name).is_file() for name in names)


EAGER = """document.querySelectorAll("img").forEach(i => i.loading = "eager");
    Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => 1)"""


@pytest.mark.parametrize("page", pages)
def test_page_loads_without_errors_and_from_this_machine_alone(browser, base, page):
    browser.open(base + page)
    browser.js(EAGER)
    assert not browser.errors()
    assert [r for r in browser.requests() if not r.startswith((base, "data:", "blob:"))] == []
    broken = "[...document.images].filter(i => !i.naturalWidth).map(i => i.src)"
    assert browser.js(broken) == []


TOO_WIDE = """[...document.querySelectorAll(".cell_input pre")]
    .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 60))"""


@pytest.mark.parametrize("page", pages)
def test_page_fits_a_phone(browser, base, page):
    browser.open(base + page, width=375, height=700)
    assert browser.js("document.documentElement.scrollWidth") <= 376
    assert browser.js("""(() => {
        const moves = e => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
        const scrolls = e => e.tagName !== "ARTICLE" && (moves(e) || scrolls(e.parentElement));
        const wide = e => e.getBoundingClientRect().right > innerWidth + 1;
        return [...document.querySelectorAll("article *")]
            .filter(e => wide(e) && !scrolls(e.parentElement)).map(e => e.outerHTML.slice(0, 80));
    })()""") == [], "wider than the screen, in nothing that scrolls"
    assert browser.js("""[...document.querySelectorAll(".cell_input pre")]
        .filter(e => getComputedStyle(e).whiteSpace !== "pre" || (e.scrollWidth > e.clientWidth
            && e.tabIndex !== 0)).map(e => e.textContent.slice(0, 60))""") == [], "a line is broken"


@pytest.mark.parametrize("page", ["02_model.html", "05_train.html", "11_fitting.html"])
def test_code_fits_a_screen(browser, base, page):
    browser.open(base + page, width=1440)
    assert browser.js(TOO_WIDE) == []


@pytest.mark.parametrize("page", pages)
def test_links_and_anchors_lead_somewhere(parsed, page):
    dead = []
    for href in parsed[page].links:
        url, anchor = urldefrag(urljoin(f"http://site/{page}", href))
        if urlparse(url).netloc != "site": continue
        target = unquote(urlparse(url).path).lstrip("/") or "index.html"
        is_text = not anchor or anchor.startswith(":~:text=") or target not in parsed
        here = is_text or unquote(anchor) in parsed[target].ids
        if not (site/target).is_file() or not here: dead.append(href)
    assert not dead


def figures(parsed):
    return [(p, i) for p in pages for i in parsed[p].images if i["src"].startswith("_images/")]


def test_every_figure_can_be_opened_in_full(parsed):
    assert [f"{p}: {i['src']}" for p, i in figures(parsed) if i["src"] not in parsed[p].links] == []


def test_every_figure_says_what_it_shows(parsed):
    says = re.compile(r": .{9,}|^(?!Figure).{20,}")
    silent = [page for page, image in figures(parsed) if not says.search(image["alt"])]
    assert silent == [], "titles say nothing: start the cell with #| fig-alt"


@pytest.mark.parametrize("page", chapters)
def test_every_figure_has_a_caption(parsed, page):
    text = (site/page).read_text(encoding="utf-8")
    assert text.count("<figcaption") >= len([i for p, i in figures(parsed) if p == page])


@pytest.mark.parametrize("page", chapters + ["index.html"])
def test_formulas_are_typeset(browser, base, page):
    browser.open(base + page)
    assert browser.js(r"""[...document.querySelectorAll("math")].filter(m =>
        !m.getBoundingClientRect().width || m.textContent.includes("\\")).length""") == 0
    assert browser.js(r"""[...document.querySelectorAll("article p, article li")].filter(p =>
        /\$[^$]*\\[a-z]+[^$]*\$/.test(p.textContent)).map(p => p.textContent)""") == []
    if not browser.js("document.querySelector('math') !== null"): return
    assert browser.js("document.fonts.load('16px \"Scvae Math\"').then(f => f.length)") == 1


def test_the_objective_has_its_formulas(parsed):
    assert (site/"03_objective.html").read_text(encoding="utf-8").count("<math") > 15


@pytest.mark.parametrize("page", chapters)
def test_chapter_has_its_way_on_and_its_notebook(parsed, page):
    links = parsed[page].links
    assert f"nbs/{Path(page).stem}.ipynb" in links
    assert any("colab.research.google.com" in l for l in links) == order.published


@pytest.mark.parametrize("page", pages)
def test_no_page_leads_to_a_place_that_is_not_ours_yet(page):
    if order.published: pytest.skip("the addresses are real")
    text = (site/page).read_text(encoding="utf-8")
    assert order.repository not in text and order.cfg["doc_host"] not in text


def test_the_links_are_there_once_the_addresses_are_real(monkeypatch):
    import docs
    monkeypatch.setattr(order, "published", True)
    line = docs.bar("02_model")
    assert "colab.research.google.com" in line and f"git+{order.repository}" in line


@pytest.mark.parametrize("page", ["index.html", "02_model.html", "reference/scvae.model.html"])
def test_the_sidebar_starts_with_tasks(parsed, page):
    text = (site/page).read_text(encoding="utf-8").split('class="sidebar-tree"')[0]
    assert "How do I ...?" in text and f'{"../" * page.count("/")}tasks.html' in text


def beside(page, rel):
    "Where a page's next or previous leads."
    text = (site/page).read_text(encoding="utf-8")
    found = re.search(rf'class="{rel}-page" href="([^"]+)"', text)
    return found[1] if found else None


def test_the_way_through_the_chapters_is_that_of_their_numbers(parsed):
    way = [f"{stem}.html" for stem in order.notebooks()]
    *chapters, last = way
    before = [*chapters, "bibliography.html"]  # the reference stands before the last part
    assert [beside(page, "prev") for page in way] == ["index.html", *before[:-2], before[-1]]
    assert beside(chapters[-1], "next") == "reference/index.html" and not beside(last, "next")


@pytest.mark.parametrize("page", chapters)
def test_next_is_the_same_page_in_prose_and_below_it(page):
    text = (site/page).read_text(encoding="utf-8")
    said = re.findall(r'<p>Next: .*?<a [^>]*href="([^"#]+)', text, re.S)
    if said: assert beside(page, "next") == said[-1]


def test_the_sidebar_is_made_of_the_parts(parsed):
    text = (site/"02_model.html").read_text(encoding="utf-8")
    captions = re.findall(r'class="caption"[^>]*><span class="caption-text">([^<]+)', text)
    *parts, last = [part for part, stems in order.parts().items() if stems]
    assert captions == [*parts, "Reference", last]
    tree = text.split('class="sidebar-tree"')[1].split("</aside>")[0]
    listed = re.findall(r'href="(?:(\d\w+)\.html|#)"', tree)
    assert [stem or "02_model" for stem in listed] == order.notebooks()


def test_the_first_page_has_its_table_and_the_citation(browser, base):
    browser.open(base + "index.html")
    tables = "[...document.querySelectorAll('article table')].map(t => t.textContent).join()"
    assert "mean of the sets" in browser.js(tables)
    height = "document.querySelector('article').getBoundingClientRect().height"
    assert browser.js(height) <= 2 * 900   # two screens
    assert browser.js("""[...document.querySelectorAll("article p")]
        .filter(p => p.textContent.trim().startsWith("|")).length""") == 0
    assert (site/"CITATION.cff").read_text(encoding="utf-8").startswith("cff-version")


def test_tables_of_studies_say_methods_in_words(browser, base):
    browser.open(base + "34_hvg.html")
    heads = "[...document.querySelectorAll('article th')]"
    shown = browser.js(f"{heads}.map(t => t.textContent.trim()).join()")
    assert "beta rises, capped" in shown and "beta_capped" not in shown
    assert "beta_capped" in browser.js(f"{heads}.map(t => t.title).join()")   # on hovering


def test_code_can_be_copied_as_it_was_written(browser, base):
    start = "#| export\ndef mlp"
    written = next(s for s in order.codes("02_model") if s.startswith(start)).split("\n", 1)[1]
    browser.open(base + "02_model.html")
    browser.js("document.querySelectorAll('details.hide').forEach(d => d.open = true)")
    copied = browser.js("""(() => {
        const range = document.createRange(), selection = getSelection();
        range.selectNodeContents([...document.querySelectorAll(".cell:not(.tag_signature) pre")]
            .find(p => p.textContent.startsWith("def mlp")));
        selection.removeAllRanges(); selection.addRange(range);
        return selection.toString();
    })()""")
    assert copied.rstrip("\n") == written


FOLDS = "[...document.querySelectorAll('article details.hide')]"


def test_tests_and_bodies_are_folded_and_one_switch_opens_them(browser, base):
    browser.open(base + "02_model.html")
    said = browser.js(f"{FOLDS}.map(d => d.querySelector('summary').innerText.trim()).join('|')")
    assert "2 checks pass" in said and "the whole code" in said
    assert browser.js(f"{FOLDS}.some(d => d.open)") is False
    code = "[...document.querySelectorAll('.cell_input pre')].map(p => p.textContent).join()"
    assert "import matplotlib" not in browser.js(code)
    signatures = "document.querySelector('.tag_signature').getBoundingClientRect().height"
    assert browser.js(signatures) > 0
    browser.js("document.getElementById('all-code').click()")
    browser.open(base + "03_objective.html")   # and it is remembered on the next page
    assert browser.js(f"{FOLDS}.length > 3 && {FOLDS}.every(d => d.open)")
    assert browser.js(signatures) == 0
    browser.js("document.getElementById('all-code').click()")
    browser.open(base + "02_model.html")
    assert browser.js(f"{FOLDS}.some(d => d.open)") is False


def test_what_serves_other_functions_is_a_line_on_pages_to_use(browser, base):
    browser.open(base + "12_plots.html")
    said = browser.js(f"{FOLDS}.map(d => d.querySelector('summary').innerText.trim()).join('|')")
    assert "_draw_sizes: A bar for each group" in said
    signatures = "[...document.querySelectorAll('.tag_signature')].map(e => e.innerText).join()"
    assert "def plot_history(" in browser.js(signatures)
    assert "_draw_sizes" not in browser.js(signatures)


def test_the_drawing_of_the_vae_is_there_and_is_told(browser, base):
    page = "02_model.html"
    browser.open(base + page)
    drawn = "document.querySelector('figure.drawing svg').getBoundingClientRect().width"
    assert browser.js(drawn) > 500
    browser.open(base + page, width=390)
    shown = """[...document.querySelectorAll("figure.drawing text")].map(t =>
        t.getBoundingClientRect()).filter(r => r.width)"""
    assert browser.js(f"{shown}.length") > 8
    assert browser.js(f"{shown}.every(r => r.left >= 0 && r.right <= innerWidth && r.height > 9)")
    told = "document.querySelector('figure.drawing[role=img]').getAttribute('aria-label')"
    assert "encoder" in browser.js(told)


def test_names_in_prose_lead_to_their_reference(parsed):
    links = {page: set(parsed[page].links) for page in chapters}
    assert "reference/scvae.model.html#scvae.model.generate_like" in links["02_model.html"]
    own = {page: f"reference/{order.module(page[:-5])}.html" for page in chapters}
    assert sum("#scvae." in link and not link.startswith(own[page])
               for page in chapters for link in links[page]) > 20


def test_the_reference_explains_parameters_and_leads_to_the_cell(browser, base):
    browser.open(base + "reference/scvae.data.html")
    entry = "document.getElementById('scvae.data.load').parentElement"
    assert "data_dir" in browser.js(f"{entry}.querySelector('.field-list').textContent")
    href = browser.js(f"{entry}.querySelector('a.external').getAttribute('href')")
    assert href == "../00_data.html#:~:text=def%20load"


@pytest.mark.parametrize("module", order.modules())
def test_every_exported_name_has_an_entry(parsed, module):
    from importlib import import_module
    names = {f"{module}.{name}" for name in import_module(module).__all__}
    assert names <= parsed[f"reference/{module}.html"].ids


def test_who_is_cited_is_found_in_the_bibliography(parsed):
    assert {"kingma2014", "hubert1985", "zeisel2015"} <= parsed["bibliography.html"].ids
    links = [link for page in chapters for link in parsed[page].links]
    assert sum(link.startswith("bibliography.html#") for link in links) > 10


@pytest.mark.parametrize("page", pages)
def test_page_is_light(browser, base, page):
    browser.call("Network.clearBrowserCache")
    browser.open(base + page)
    assert browser.weight() < 1_000_000, "too much before the reader has scrolled"
    browser.js(EAGER)
    browser.settle()
    assert browser.weight() < 1_000_000, "too much with all pictures"


RESULTS = "document.querySelectorAll('#search-results li a')"


@pytest.mark.parametrize("word", ["generate_like", "collapse_threshold", "free bits"])
def test_search_finds(browser, base, word):
    browser.open(f"{base}search.html?q={word.replace(' ', '+')}")
    browser.until(f"{RESULTS}.length > 0")
    assert not browser.errors()
    found = browser.js(f"[...{RESULTS}].map(a => a.getAttribute('href')).join(' ')")
    if "_" in word: assert f".{word}" in found, found


@pytest.mark.parametrize("task", [
    "transfer labels", "impute", "rare cell types", "marker genes", "differential expression",
    "annotation", "doublets", "seurat", "install", "gpu", "counts in raw", "batches"])
def test_search_finds_tasks_first(browser, base, task):
    browser.open(f"{base}search.html?q={task.replace(' ', '+')}")
    browser.until(f"{RESULTS}.length > 0")
    first = browser.js(f"[...{RESULTS}].slice(0, 3).map(a => a.getAttribute('href')).join(' ')")
    assert "tasks.html" in first


def test_one_searches_from_disk(browser):
    browser.open(f"{site.as_uri()}/search.html?q=transfer+labels")
    browser.until(f"{RESULTS}.length > 0")
    assert "tasks.html" in browser.js(f"{RESULTS}[0].getAttribute('href')")
    assert not browser.errors()


def test_one_searches_by_keyboard(browser, base):
    browser.open(base + "index.html")
    browser.js("document.querySelector('.sidebar-search').focus()")
    browser.call("Input.insertText", text="generate_like")
    browser.key("Enter")
    browser.until(f"location.pathname.endsWith('search.html') && {RESULTS}.length > 0")


def canvas(browser):
    "The picture that is shown."
    data = "document.querySelector('.play canvas').toDataURL()"
    return browser.js(f"{data}.length + ':' + {data}.slice(-4000)")


def slider(browser):
    "The map, the numbers and the place of the marker in a chart."
    said = browser.js("document.querySelector('#beta-said').textContent")
    marker = browser.js("document.querySelector('.play .marker').getAttribute('cx')")
    return canvas(browser), said, marker


def opened(browser, base, address, page, **size):
    "A page from the server, or from disk."
    browser.open((base if address == "http" else site.as_uri() + "/") + page, **size)


@pytest.mark.parametrize("address", ["http", "file"])
def test_the_slider_moves_the_pictures(browser, base, address):
    opened(browser, base, address, "08_see_beta.html")
    browser.until("document.querySelector('.scvae-slider')?.dataset.shown === '1'")
    before = slider(browser)
    browser.js("document.querySelector('#beta-knob').focus()")
    for _ in range(3): browser.key("ArrowRight")
    browser.until("document.querySelector('.scvae-slider').dataset.shown === '4'")
    assert all(a != b for a, b in zip(before, slider(browser))), "all change together"
    assert browser.js("document.querySelectorAll('.ticks li').length") == 9
    bold = "[...document.querySelectorAll('.ticks li')].find(t => t.style.fontWeight > 600)"
    assert browser.js(f"{bold}.textContent") in slider(browser)[1]
    browser.js("document.querySelectorAll('.ticks li')[7].click()")
    browser.until("document.querySelector('.scvae-slider').dataset.shown === '7'")
    assert not browser.errors()


@pytest.mark.parametrize("address", ["http", "file"])
def test_one_can_walk_the_latent_space(browser, base, address):
    opened(browser, base, address, "09_walk.html", height=1400)
    browser.until("document.querySelector('.scvae-walk')?.dataset.shown !== undefined")
    error = browser.js("document.querySelector('.scvae-walk').dataset.error")
    assert float(error) < 0.05, "the page's decoder is the one that was trained"
    said = "document.querySelector('.play .said').textContent"
    first = browser.js(said)
    browser.js("document.querySelector('.play canvas').focus()")
    for name in ("ArrowRight", "ArrowRight", "Enter"): browser.key(name)
    browser.until(f"{said} !== {first!r}")
    picture = canvas(browser)
    box = "document.querySelector('.play canvas').getBoundingClientRect()"
    left, top, width = browser.js(f"(r => [r.x, r.y, r.width])({box})")
    browser.click(left + .8 * width, top + .3 * width)
    assert canvas(browser) != picture
    assert "generated like cell" in browser.js(said)
    genes = browser.js("document.querySelector('.play svg').textContent")
    assert "highest in astrocytes_ependymal" in genes, "types have their full names"
    browser.key("w")
    assert "50 % of the way" in browser.js(said), "there is a second cell to begin with"
    for name in ("ArrowLeft", "ArrowLeft", "Enter"): browser.key(name)
    browser.until(f"{said}.includes('50 % of the way')")
    assert not browser.errors()


def brightness(browser, what):
    "Red, green and blue of the page's text or ground, added."
    color = browser.js(f"getComputedStyle(document.body)[{what!r}]")
    return sum(map(int, re.findall(r"\d+", color)[:3]))


def test_dark_mode_is_dark(browser, base):
    for dark in (True, False):
        browser.open(base + "02_model.html", dark=dark)
        text, ground = brightness(browser, "color"), brightness(browser, "backgroundColor")
        assert (text > 550 and ground < 120) if dark else (text < 120 and ground > 700)


@pytest.mark.parametrize("page, what", [
    ("02_model", ".cell_output img"), ("index", "article img"), ("08_see_beta", ".play canvas"),
    ("09_walk", ".play canvas")])
def test_pictures_are_dark_in_the_dark(browser, base, page, what):
    light = []
    for dark in (False, True):
        browser.open(f"{base}{page}.html", dark=dark)
        browser.js(f"document.querySelector({what!r}).scrollIntoView({{block: 'center'}})")
        browser.settle(1)
        r = browser.js(f"(r => [r.x, r.y, r.width, r.height])(document.querySelector({what!r})"
                       ".getBoundingClientRect())")
        clip = dict(zip(("x", "y", "width", "height"), r), scale=1)
        shot = browser.call("Page.captureScreenshot", format="png", clip=clip)["data"]
        with Image.open(io.BytesIO(base64.b64decode(shot))) as image:
            light.append(ImageStat.Stat(image.convert("L")).mean[0])
    assert light[0] > 190 and light[1] < 70


def test_one_gets_into_the_text_by_keyboard(browser, base):
    browser.open(base + "02_model.html")
    browser.key("Tab")
    assert "content" in browser.js("document.activeElement.textContent").lower()
    assert browser.js("document.activeElement.getAttribute('href')").startswith("#")


AXE = "axe-core@4.14.1"
MOST_USED = ("index", "tasks", "02_model", "08_see_beta", "11_fitting", "19_cli",
             "reference/scvae.fitting")
FOUND = """axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations
    .filter(v => ["serious", "critical"].includes(v.impact))
    .map(v => `${v.id}, ${v.nodes.length} times: ${v.nodes[0].html.slice(0, 100)}`))"""


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    "The rules for pages that everybody can use, as npm has them."
    if not shutil.which("npm"): pytest.skip("axe-core comes by npm, which is not installed")
    folder = tmp_path_factory.mktemp("axe")
    npm = subprocess.run(["npm", "pack", AXE], cwd=folder, capture_output=True, text=True)
    if npm.returncode: pytest.skip(f"npm could not fetch {AXE}: {npm.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as tar:
        return tar.extractfile("package/axe.min.js").read().decode()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page", MOST_USED)
def test_everybody_can_use_the_most_used_pages(browser, base, axe, page, dark):
    browser.open(f"{base}{page}.html", dark=dark)
    browser.js(axe + "; 0")
    assert browser.js(FOUND) == []
