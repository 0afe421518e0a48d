"The built site in a real browser. `make docs` first, then `make docs-test`."
import json, re, threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse
import pytest
from browser import Browser

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


@pytest.mark.parametrize("page", pages)
def test_page_loads_without_errors_and_from_this_machine_alone(browser, base, page):
    browser.open(base + page)
    browser.js("document.querySelectorAll('img').forEach(i => i.loading = 'eager'); Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => 1)")
    assert not browser.errors()
    assert [r for r in browser.requests() if not r.startswith((base, "data:", "blob:"))] == []
    assert browser.js("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)") == []


@pytest.mark.parametrize("page", pages)
def test_page_fits_a_phone(browser, base, page):
    browser.open(base + page, width=375, height=700)
    assert browser.js("document.documentElement.scrollWidth") <= 376
    assert browser.js("""(() => {
        const scrolls = e => e.tagName !== "ARTICLE" && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
        return [...document.querySelectorAll("article *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement)).map(e => e.outerHTML.slice(0, 80));
    })()""") == [], "wider than the screen, in nothing that scrolls"
    assert browser.js("[...document.querySelectorAll('.highlight-python pre, .highlight-sh pre')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 60))") == []


@pytest.mark.parametrize("page", pages)
def test_links_and_anchors_lead_somewhere(parsed, page):
    dead = []
    for href in parsed[page].links:
        url, anchor = urldefrag(urljoin(f"http://site/{page}", href))
        if urlparse(url).netloc != "site": continue
        target = unquote(urlparse(url).path).lstrip("/") or "index.html"
        if not (site/target).is_file() or anchor and target in parsed and unquote(anchor) not in parsed[target].ids: dead.append(href)
    assert not dead


def test_every_figure_can_be_opened_in_full(parsed):
    assert [f"{p}: {i['src']}" for p in chapters for i in parsed[p].images if i["src"].startswith("_images/") and i["src"] not in parsed[p].links] == []


def test_every_figure_says_what_it_shows(parsed):
    assert [f"{p}: {i.get('src')}" for p in pages for i in parsed[p].images if len(i.get("alt") or "") < 20] == []


@pytest.mark.parametrize("page", chapters + ["index.html"])
def test_formulas_are_typeset(browser, base, page):
    browser.open(base + page)
    assert browser.js("[...document.querySelectorAll('math')].filter(m => !m.getBoundingClientRect().width || m.textContent.includes('\\\\')).length") == 0
    assert browser.js(r"[...document.querySelectorAll('article p, article li')].filter(p => /\$[^$]*\\[a-z]+[^$]*\$/.test(p.textContent)).map(p => p.textContent)") == []
    if browser.js("document.querySelector('math') !== null"): assert browser.js("document.fonts.load('16px \"Scvae Math\"').then(f => f.length)") == 1
    if page == "03_objective.html": assert browser.js("document.querySelectorAll('math').length") > 30


@pytest.mark.parametrize("page", chapters)
def test_chapter_has_its_way_on_and_its_notebook(parsed, page):
    links = parsed[page].links
    assert f"nbs/{Path(page).stem}.ipynb" in links and any("colab.research.google.com" in l for l in links)
    text = (site/page).read_text(encoding="utf-8")
    assert 'class="prev-page"' in text and ('class="next-page"' in text or page == "21_contributing.html")


@pytest.mark.parametrize("page", [p for p in chapters if p != "21_contributing.html"])
def test_next_is_the_same_page_in_prose_and_below_it(parsed, page):
    text = (site/page).read_text(encoding="utf-8")
    said = re.findall(r'<p>Next: .*?<a [^>]*href="([^"#]+)', text, re.S)
    if said: assert re.search(r'class="next-page" href="([^"]+)"', text)[1] == said[-1]
    else: assert page in ("10b_many.html", "18_benchmark.html"), "a chapter ends with where to go from there"


def test_contents_are_by_reader(parsed):
    text = (site/"02_model.html").read_text(encoding="utf-8")
    assert re.findall(r'class="caption"[^>]*><span class="caption-text">(\w+)', text) == ["Learn", "Use", "Investigate", "Reference", "Contribute"]


def test_the_first_page_has_its_table_and_the_citation(browser, base):
    browser.open(base + "index.html")
    assert "founding VAE" in browser.js("document.querySelector('article table').textContent")
    assert browser.js("[...document.querySelectorAll('article p')].filter(p => p.textContent.trim().startsWith('|')).length") == 0
    assert (site/"CITATION.cff").read_text(encoding="utf-8").startswith("cff-version")


def test_code_can_be_copied_as_it_was_written(browser, base):
    cells = json.loads((site/"nbs/02_model.ipynb").read_text(encoding="utf-8"))["cells"]
    written = next(s.split("\n", 1)[1] for c in cells if (s := "".join(c["source"])).startswith("#| export\ndef mlp"))
    browser.open(base + "02_model.html")
    copied = browser.js("""(() => {
        const range = document.createRange(), selection = getSelection();
        range.selectNodeContents([...document.querySelectorAll(".highlight pre")].find(p => p.textContent.startsWith("def mlp")));
        selection.removeAllRanges(); selection.addRange(range);
        return selection.toString();
    })()""")
    assert copied.replace("\u00a0", " ").rstrip("\n") == written


@pytest.mark.parametrize("page", ["index.html", "02_model.html"])
def test_the_drawing_of_the_vae_is_there_and_is_told(browser, base, page):
    browser.open(base + page)
    assert browser.js("document.querySelector('figure.drawing svg').getBoundingClientRect().width") > 500
    assert "encoder" in browser.js("document.querySelector('figure.drawing[role=img]').getAttribute('aria-label')")


def test_names_in_prose_lead_to_their_reference(parsed):
    assert "reference/model.html#scvae.model.generate_like" in parsed["02_model.html"].links
    assert "reference/objective.html#scvae.objective.beta_at" in parsed["04_train.html"].links + parsed["21_contributing.html"].links
    assert "../04b_trained.html" in {urldefrag(l)[0] for l in parsed["reference/trained.html"].links}


@pytest.mark.parametrize("page", pages)
def test_page_is_light(browser, base, page):
    browser.call("Network.clearBrowserCache")
    browser.open(base + page)
    assert browser.weight() < 800_000, "too much before the reader has scrolled"
    browser.js("document.querySelectorAll('img').forEach(i => i.loading = 'eager'); Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => 1)")
    browser.settle()
    assert browser.weight() < 1_100_000, "too much with all pictures"


@pytest.mark.parametrize("word", ["generate_like", "collapse_threshold", "free bits"])
def test_search_finds(browser, base, word):
    browser.open(f"{base}search.html?q={word.replace(' ', '+')}")
    browser.until("document.querySelectorAll('#search-results li a').length > 0")
    assert not browser.errors()
    found = browser.js("[...document.querySelectorAll('#search-results li a')].map(a => a.getAttribute('href')).join(' ')")
    if "_" in word: assert f".{word}" in found, found


def test_one_searches_by_keyboard(browser, base):
    browser.open(base + "index.html")
    browser.js("document.querySelector('.sidebar-search').focus()")
    browser.call("Input.insertText", text="generate_like")
    browser.key("Enter")
    browser.until("location.pathname.endsWith('search.html') && document.querySelectorAll('#search-results li a').length > 0")


def canvas(browser): return browser.js("document.querySelector('.play canvas').toDataURL().length + ':' + document.querySelector('.play canvas').toDataURL().slice(-4000)")


@pytest.mark.parametrize("address", ["http", "file"])
def test_the_slider_moves_the_pictures(browser, base, address):
    browser.open((base if address == "http" else site.as_uri() + "/") + "22_slider.html")
    browser.until("document.querySelector('.scvae-slider')?.dataset.shown === '1'")
    before = canvas(browser), browser.js("document.querySelector('#beta-said').textContent"), browser.js("document.querySelector('.play .marker').getAttribute('cx')")
    browser.js("document.querySelector('#beta-knob').focus()")
    for _ in range(3): browser.key("ArrowRight")
    browser.until("document.querySelector('.scvae-slider').dataset.shown === '4'")
    after = canvas(browser), browser.js("document.querySelector('#beta-said').textContent"), browser.js("document.querySelector('.play .marker').getAttribute('cx')")
    assert all(a != b for a, b in zip(before, after)), "map, numbers and charts change together"
    assert not browser.errors()


@pytest.mark.parametrize("address", ["http", "file"])
def test_one_can_walk_the_latent_space(browser, base, address):
    browser.open((base if address == "http" else site.as_uri() + "/") + "23_walk.html", height=1400)
    browser.until("document.querySelector('.scvae-walk')?.dataset.shown !== undefined")
    assert float(browser.js("document.querySelector('.scvae-walk').dataset.error")) < 0.05, "the page's decoder is the one that was trained"
    first = browser.js("document.querySelector('.play .said').textContent")
    browser.js("document.querySelector('.play canvas').focus()")
    for name in ("ArrowRight", "ArrowRight", "Enter"): browser.key(name)
    browser.until(f"document.querySelector('.play .said').textContent !== {first!r}")
    picture, box = canvas(browser), browser.js("(r => [r.x, r.y, r.width])(document.querySelector('.play canvas').getBoundingClientRect())")
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=box[0] + .8 * box[2], y=box[1] + .3 * box[2], button="none" if kind == "mouseMoved" else "left", clickCount=1)
    assert canvas(browser) != picture
    assert "generated like cell" in browser.js("document.querySelector('.play .said').textContent")
    browser.key("w")
    for name in ("ArrowLeft", "ArrowLeft", "Enter"): browser.key(name)
    browser.until("document.querySelector('.play .said').textContent.includes('50 % of the way')")
    assert not browser.errors()


def test_dark_mode_is_dark(browser, base):
    light = "(c => c[0] + c[1] + c[2])(getComputedStyle(document.body)[{!r}].match(/\\d+/g).map(Number))"
    for dark in (True, False):
        browser.open(base + "02_model.html", dark=dark)
        text, ground = browser.js(light.format("color")), browser.js(light.format("backgroundColor"))
        assert (text > 550 and ground < 120) if dark else (text < 120 and ground > 700)


def test_one_gets_into_the_text_by_keyboard(browser, base):
    browser.open(base + "02_model.html")
    browser.key("Tab")
    assert "content" in browser.js("document.activeElement.textContent").lower()
    assert browser.js("document.activeElement.getAttribute('href')").startswith("#")
