"Names as nobody would give them, and a look in a real browser at what became of them."
import itertools, random, sys, threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SCRIPTS = ["window.PWNED=1", "document.title='PWNED'", "fetch('{url}')", "alert(1)"]
MARKUP = """<script>{js}</script>
<img src=x onerror="{js}">
<img src={url}>
<svg onload="{js}">
<svg><script>{js}</script></svg>
"><script>{js}</script>
'><img src=x onerror='{js}'>
" onmouseover="{js}" autofocus onfocus="{js}" x="
</td></tr></table><script>{js}</script>
</script><script>{js}</script>
</title><script>{js}</script>
</style><script>{js}</script>
</code></pre><script>{js}</script>
--><script>{js}</script><!--
]]><script>{js}</script>
<iframe srcdoc="<script>parent.{js}</script>">
<iframe src="{url}">
<link rel=stylesheet href="{url}">
<style>@import url({url});</style>
<style>body{{background:url({url})}}</style>
<b style="background:url({url})">
<meta http-equiv=refresh content="0;url={url}">
<base href="{url}">
<object data="{url}">
<embed src="{url}">
<video autoplay><source src="{url}" onerror="{js}"></video>
<details open ontoggle="{js}">
<input autofocus onfocus="{js}">
<math><mtext><img src=x onerror="{js}"></mtext></math>
<form action="{url}"><button>
<a href="javascript:{js}">x</a>
<scr<script>ipt>{js}</script>
&lt;script&gt;{js}&lt;/script&gt;
&#60;script&#62;{js}&#60;/script&#62;
%3Cscript%3E{js}%3C/script%3E
\\u003cscript\\u003e{js}
![x]({url})
[x](javascript:{js})
<{url}>
{url}
[x]: {url} 'x'
`` ` `` <img src=x onerror="{js}">
```\n</code><script>{js}</script>
| a | <img src=x onerror="{js}"> |
$$\\href{{javascript:{js}}}{{x}}$$
\\(\\href{{javascript:{js}}}{{x}}\\)
\\begin{{equation}}<img src=x onerror="{js}">""".split("\n")
MARKUP = [line.replace("\\n", "\n") for line in MARKUP]

CODE = ["kind\n=== code\nopen('PWNED','w')\n=== md\n", '"\nopen("PWNED", "w")\n#',
        "'''\nopen('PWNED', 'w')\n'''", '"""\nopen("PWNED", "w")\n"""', "'+open('PWNED','w')+'",
        "\\\";open('PWNED','w')#", "\n%%bash\ntouch PWNED", "\n!touch PWNED", "`touch PWNED`",
        "$(touch PWNED)", "; touch PWNED", "{open('PWNED','w')}", "{0.__class__.__mro__}",
        "{label}",
        "{{7*7}}", "{% import os %}", "%(name)s", "${HOME}", "=cmd|' /C calc'!A0", "@SUM(1)",
        "# %%\nopen('PWNED','w')", "<|endoftext|>", "../../../PWNED", "~root", "-rf", "--help"]
ODD = ["", " ", "\n", "\t", "\r\n", "a\nb", "a\0b", "\x1b[31mred\x1b[0m", "\x07", "\x7f", "\x85",
       "\u202egnp.exe", "\u2066x", "\u2028", "\u200b", "\ufeffx", "\ufffe", "\U0001f9ec",
       "\U0001f468\u200d\U0001f469\u200d\U0001f467", "e" + "\u0301" * 50, "\u05d0\u05d1",
       "\u0627\u0644", "\u4e2d\u6587", "\U00020000", "x" * 10_000, "<b>" * 3_000, "$", "$x$",
       "$\\frac$", r"\$", "$x^2$ and $", "\\", "a\\", "%", "_", "_x", "__", "*x*", "~~x~~", "# x",
       "- x", "1. x", "1) x", "> x", "---", "===", "<!--", "-->", "&", "&amp;", "&lt;b&gt;", "'",
       '"', "`", "|", "a|b", "[x]", "(x)", "{", "}", "0", "1", "-1", "1.0", "nan", "NaN", "None",
       "NA", "null", "True", "inf", "1e999", "all", "cells", "depth", "genes", "index", "scvae",
       "variance", "group", "cluster", "other", "X", "raw", "obs", "CON", ".", "..", "naïve"]


def names(n=None, url="http://127.0.0.1:9/hit"):
    "Hostile names, each once and without half characters; `url` is where their requests go."
    filled = [form.format(js=js.format(url=url), url=url)
              for js, form in itertools.product(SCRIPTS, MARKUP)]
    found = list(dict.fromkeys([*ODD, *CODE, *filled]))
    return found if n is None else [found[i % len(found)] for i in shuffled(len(found))[:n]]


def shuffled(n, seed=0):
    order = list(range(n))
    random.Random(seed).shuffle(order)
    return order


def as_key(name):
    "A name that HDF5 takes for a column or a layer: not empty, without slash and NUL."
    key = name.replace("/", "\u2215").replace("\0", "\u2400")
    return key if key.strip(". ") else f"({key})"


class Canary(BaseHTTPRequestHandler):
    hits = []
    def do_GET(self):
        self.hits.append(self.path)
        self.send_error(404)
    do_POST = do_HEAD = do_GET
    def log_message(self, *args): pass


@contextmanager
def canary():
    "The address of a server that nothing should ask, and the list of what it was asked for."
    Canary.hits = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Canary)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f"http://127.0.0.1:{server.server_port}/hit", Canary.hits
    finally: server.shutdown()


ALIVE = """(() => { const all = [...document.querySelectorAll('*')];
    const name = e => e.tagName.toLowerCase(), found = [];
    if (window.PWNED) found.push('window.PWNED is set');
    if (document.title == 'PWNED') found.push('the title was set');
    for (const e of all) {
        if ('script iframe frame object embed link base form input video audio svg math details'
            .split(' ').includes(name(e))) found.push('<' + name(e) + '>');
        if (name(e) == 'meta' && e.httpEquiv == 'refresh') found.push('<meta refresh>');
        for (const a of e.attributes) {
            if (a.name.startsWith('on')) found.push(a.name + '=');
            if ('src href action data srcset poster'.split(' ').includes(a.name)
                && !a.value.startsWith('data:')) found.push(a.name + '=' + a.value); } }
    return found })()"""


def problems(page, browser):
    "What a page does or holds that nobody wrote on purpose, as texts; none where all is well."
    url = Path(page).resolve().as_uri()
    browser.open(url)
    asked = [a for a in browser.requests() if not a.startswith("data:") and a != url]
    said = [e["method"] for e in browser.events if e["method"] == "Page.javascriptDialogOpening"]
    return browser.js(ALIVE) + [f"asked for {a}" for a in asked] + said + browser.errors()


def open_browser():
    "A headless Chromium; an ImportError or a RuntimeError where there is none."
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]/"docs"))
    from browser import Browser
    return Browser()
