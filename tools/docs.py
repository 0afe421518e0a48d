"""`make docs`: the notebooks with their outputs, and a reference, as a site; see docs/conf.py."""
import ast, html, inspect, json, re, shutil, subprocess, sys
from functools import cache
from importlib import import_module
import pandas as pd
from PIL import Image
from pybtex.database import parse_file
import chapters
from chapters import cfg, root
from scvae.colors import called

source, made, site = root/"_proc/site", root/"_proc/html", root/"_docs"  # read, written, finished


def cited(text):
    "Prose in which 'Author et al. 2019' leads to the bibliography."
    for key, entry in parse_file(root/"docs/references.bib").entries.items():
        author, year = entry.persons["author"][0].last_names[-1], entry.fields["year"]
        others = r"(?: et al\.?| (?:and|&) [A-Z][\w-]+)?"
        said = rf"(?<![\w\[]){author}{others},? (?:{year}|\({year}\))(?![\w-]|[^\[\]]*\]\()"
        link = lambda m: m[1] or f'<a href="bibliography.html#{key}">{m[0]}</a>'
        text = re.sub(rf"(^#.*$)|{said}", link, text, flags=re.M)
    return text


def drawing(m):
    "An SVG put into the page itself, so that it takes the page's colours; for phones a narrow one."
    files = [root/"nbs/images"/name for name in (m[2], m[2].replace(".svg", "-narrow.svg"))]
    svgs = [path.read_text(encoding="utf-8") for path in files if path.exists()]
    svgs = [re.sub(r"<\?xml.*?\?>\s*", "", svg).strip() for svg in svgs]
    kind = "drawing both" if len(svgs) > 1 else "drawing"
    told = f'role="img" aria-label="{html.escape(m[1])}"'
    return f'<figure class="{kind}" {told}>{"".join(svgs)}</figure>'


ALL_CODE = "<label><input type=checkbox id=all-code> Show all code</label>"


def on_colab(file):
    "A link to Colab, and what to run there; nothing while the repository has no address."
    if not chapters.published: return ""
    repo = f"{cfg['user']}/{cfg['repo']}"
    colab = f"https://colab.research.google.com/github/{repo}/blob/{cfg['branch']}/{file}"
    first = f"(there, first run <code>%pip install git+{chapters.repository}</code>)"
    return f'<a href="{colab}">Open in Colab</a> <span>{first}</span> · '


def bar(stem):
    "The line under a chapter's title: where it comes from and how to have it."
    name, file = chapters.module(stem), f"nbs/{stem}.ipynb"
    exports = f'exports <a href="reference/{name}.html"><code>{name}</code></a> · '
    return (f'<p class="chapter-bar">Notebook {stem[:2]} · {exports * chapters.exports(stem)}<a '
            f'href="{file}" download>Download notebook</a> · {on_colab(file)}{ALL_CODE}</p>')


def prose(text, above=""):
    "A Markdown cell as the site shows it; `above` comes under its title."
    text = re.sub(r"\[([^\]]*)\]\(\.\./(CITATION\.cff)\)", r'<a href="\2">\1</a>', cited(text))
    text = text.replace("](../docs/", "](").replace("](../course/README.md)", "](course.md)")
    text = re.sub(r"^!\[([^\]]*)\]\(images/([\w-]+\.svg)\)$", drawing, text, flags=re.M)
    return re.sub(r"\A# .+\n+(> .+\n?)*", lambda m: f"{m[0]}\n{above}\n\n", text) if above else text


def parts_only(cell):
    "The front page's list of parts as one paragraph, without the pages, which the sidebar has."
    one = r"^- \*\*([\w ]+)\*\*\. (.+?): \[[^\]]+\]\((\w+\.ipynb)\).*$"
    for output in cell["outputs"]:
        if text := "".join(output.get("data", {}).get("text/markdown", "")):
            shorter = re.sub(one, r"**[\1](\3)**: \2.", text, flags=re.M)
            output["data"] = output["data"] | {"text/markdown": shorter}


@cache
def in_code():
    "What recorded rows call methods, recipes and measures."
    files = [pd.read_csv(path) for path in sorted((root/"nbs/results").glob("*.csv"))]
    own = [set(rows[c].astype(str)) for rows in files for c in ("recipe", "method") if c in rows]
    return set().union(*own, *(rows.columns for rows in files))


def in_words(cell):
    "The heads of a study's tables in words; the name that code has shows on hovering."
    def worded(m):
        name = html.unescape(m[2]).strip()
        said = called(name) if name in in_code() else name
        return m[0] if said == name else f'{m[1]} title="{m[2]}">{html.escape(said)}</th>'
    for output in cell["outputs"]:
        if text := "".join(output.get("data", {}).get("text/html", "")):
            text = re.sub(r"(<th\b[^>]*)>([^<]+)</th>", worded, text)
            output["data"] = output["data"] | {"text/html": text}


def alt_text(code, heading, before):
    "What a figure shows, for those who do not see it: its titles and axes, else the prose before."
    texts = r"""(?:title|[xy]label)\s*[=(]\s*f?(["'])(.*?)\1"""
    said = [re.sub(r"\{.*?\}", "…", t).strip("… ") for _, t in re.findall(texts, code)]
    plain = re.sub(r"\]\([^)]*\)|[*`$\\\[\]]", "", " ".join(before.split()))
    said = "; ".join(filter(None, dict.fromkeys(said)))
    return f"Figure in the section “{heading}”: {said if len(said) > 8 else plain}"


def is_plumbing(node):
    "Whether a statement is of no interest to a reader: an import, or how figures look."
    return (isinstance(node, (ast.Import, ast.ImportFrom))
            or ast.unparse(node).startswith("plt.rcParams"))


def n_checks(tree):
    "How many tests stand in a cell."
    called = lambda c: getattr(c.func, "id", getattr(c.func, "attr", ""))
    calls = [called(n) for n in ast.walk(tree) if isinstance(n, ast.Call)]
    asserts = sum(isinstance(n, ast.Assert) for n in ast.walk(tree))
    return asserts + sum(name.startswith(("test_", "assert_")) for name in calls)


def definitions(tree):
    "Functions of a cell, and those of its classes."
    for node in tree.body:
        if isinstance(node, ast.FunctionDef): yield node
        if isinstance(node, ast.ClassDef):
            yield from (n for n in node.body if isinstance(n, ast.FunctionDef))


def signatures(text, tree, least=5):
    "A cell with the bodies of its functions left out, but for short ones."
    lines = text.splitlines()
    for node in reversed([*definitions(tree)]):
        first, *rest = node.body
        told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        start = first.end_lineno if told else first.lineno - 1
        if told and not rest or node.end_lineno - start < least: continue
        lines[start:node.end_lineno] = [" " * first.col_offset + "..."]
    return "\n".join(lines)


def parsed(text):
    "A cell's syntax; None where it is a magic of the shell."
    try: return ast.parse(text)
    except SyntaxError: return None


def names_of(tree):
    "What a cell defines; but not methods that it gives to a model, which are for everybody."
    for node in tree.body:
        patches = [ast.unparse(d) for d in getattr(node, "decorator_list", ())]
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and "patch" not in patches:
            yield node.name
        if isinstance(node, ast.Assign):
            yield from (ast.unparse(target) for target in node.targets)


def is_shown(cell, text):
    "Whether a cell is an example: not exported, not hidden, not only tests."
    hidden = re.search(r"^#\|\s*(exports?|hide)\b", text, re.M)
    if cell["cell_type"] != "code" or hidden: return False
    return bool(tree := parsed(text)) and (bool(cell["outputs"]) or not n_checks(tree))


@cache
def in_use(stem):
    "Names that a reader of a chapter meets: of `import scvae`, and those that its examples call."
    cells = [(c, "".join(c["source"])) for c in chapters.read(stem)["cells"]]
    shown = [ast.walk(parsed(text)) for cell, text in cells if is_shown(cell, text)]
    names = {n.id for nodes in shown for n in nodes if isinstance(n, ast.Name)}
    return names | set(import_module("scvae").__all__)


def is_helper(tree, stem):
    "Whether a cell of a page to use holds only what serves other functions."
    names = [*names_of(tree)]
    for_all = any(n.startswith("SCVAE.") for n in names) or {*names} & in_use(stem)
    return stem in chapters.parts()["Use"] and bool(names) and not for_all


def told(tree):
    "What a cell defines, in a line."
    first = next((n for n in tree.body if hasattr(n, "name")), None)
    names = ", ".join(names_of(tree))
    said = ((first and ast.get_docstring(first)) or "").replace("`", "")
    return f"{names}: {said.splitlines()[0]}" if said else names


def folded(cell, stem):
    "A code cell as one or two: tests are a line, of what is exported one sees the signature first."
    text, tags = cell["source"], cell["metadata"]["tags"]
    if not (tree := parsed(text)): return [cell]
    fold = lambda said: dict(cell["metadata"], tags=[*tags, "hide-input"], mystnb=dict(
        cell["metadata"]["mystnb"], code_prompt_show=said, code_prompt_hide=said))
    if not cell["outputs"] and all(is_plumbing(node) for node in tree.body): return []
    if "export" in tags and not cell["outputs"] and is_helper(tree, stem):
        return [dict(cell, metadata=fold(told(tree)))]
    if "export" in tags and (short := signatures(text, tree)) != text:
        above = dict(cell, source=short, id=cell["id"] + "-signature", outputs=[])
        above["metadata"] = dict(cell["metadata"], tags=[*tags, "signature"])
        return [above, dict(cell, metadata=fold("the whole code"))]
    n = n_checks(tree)
    if n and not cell["outputs"] and "export" not in tags:
        return [dict(cell, metadata=fold(f"{n} check{'s pass' if n > 1 else ' passes'}"))]
    return [cell]


def code_cells(cell, stem, heading, before):
    "A code cell without its `#|` lines, folded; none where they hide it."
    text = "".join(cell["source"])
    flags = dict(re.findall(r"^#\|\s*([\w-]+):?[ ]*(.*)$", text, re.M))
    if "hide" in flags or "default_exp" in flags: return []
    tags = [t for t in ("export", "slow") if t in flags]
    if flags.get("echo") == "false": tags.append("remove-input")
    said = re.findall(r"^#\| fig-alt: (.*)$", text, re.M)
    alt = " ".join(said) or alt_text(text, heading, before)
    meta = {"tags": tags, "mystnb": {"image": {"alt": alt}}}
    if said: meta["mystnb"]["figure"] = {"caption": re.sub(r"([\\`*_\[\]$<>])", r"\\\1", alt)}
    text = re.sub(r"^#\|.*\n?", "", text, flags=re.M).strip()
    return folded(dict(cell, source=text, metadata=meta), stem)


def chapter(stem):
    "A notebook as Sphinx is to see it."
    nb, cells, heading, before = chapters.read(stem), [], "", ""
    for cell in nb["cells"]:
        text = "".join(cell["source"])
        if stem == "index" and cell["cell_type"] == "code": parts_only(cell)
        if "30" <= stem < "50" and cell["cell_type"] == "code": in_words(cell)
        if cell["cell_type"] == "code": cells += code_cells(cell, stem, heading, before)
        else:
            heading = ([heading] + re.findall(r"^#+ (.+)$", text, re.M))[-1].replace("`", "")
            before = text.split("\n\n")[-1]
            above = "" if cells or stem == "index" else bar(stem)
            cells.append(dict(cell, source=prose(text, above)))
    contents = dict(cell_type="markdown", id="contents", metadata={}, source=sidebar())
    cells += [contents] * (stem == "index")
    meta = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
    return dict(nb, cells=cells, metadata=meta)


def toctree(pages, *options):
    "Pages of the sidebar, in MyST."
    return "\n".join(["```{toctree}", ":hidden:", *options, "", *pages, "```\n\n"])


def sidebar():
    "All parts; the reference stands before the last."
    lines = lambda stems: [f"{chapters.title(stem)} <{stem}>" for stem in stems]
    *parts, last = [(part, lines(stems)) for part, stems in chapters.parts().items()]
    reference = "Reference", ["reference/index", "tasks", "course", "words", "bibliography"]
    return "".join(toctree(pages, f":caption: {part}") for part, pages in [*parts, reference, last])


def reference_index():
    "The first page of the reference: the names one imports, then the modules."
    scvae, pages = import_module("scvae"), chapters.modules()
    doc = lambda x: inspect.getdoc(x).splitlines()[0].replace("|", "\\|")
    names = [f"| `scvae.{n}` | {doc(getattr(scvae, n))} |" for n in scvae.__all__]
    rows = [f"| [{name}]({name}.md) | {doc(import_module(name))} | [{stem}](../{stem}.ipynb) |"
            for name, stem in pages.items()]
    text = (root/"docs/reference.md").read_text(encoding="utf-8")
    return text.format(names="\n".join(names), modules="\n".join(rows)) + toctree(pages)


def prepare():
    "Write everything that Sphinx reads."
    shutil.rmtree(source, ignore_errors=True)
    (source/"reference").mkdir(parents=True)
    shutil.copytree(root/"nbs/images", source/"images", ignore=shutil.ignore_patterns("*.svg"))
    for stem in ["index", *chapters.notebooks()]:
        (source/f"{stem}.ipynb").write_text(json.dumps(chapter(stem)), encoding="utf-8")
    for name, stem in chapters.modules().items():
        text = (f"# {name}\n\nExplained, tested and exported in [{stem}](../{stem}.ipynb).\n\n"
                f"```{{eval-rst}}\n.. automodule:: {name}\n```\n")
        (source/f"reference/{name}.md").write_text(text, encoding="utf-8")
    (source/"reference/index.md").write_text(reference_index(), encoding="utf-8")
    for name in ("tasks", "words", "bibliography"):
        text = (root/f"docs/{name}.md").read_text(encoding="utf-8")
        text = text.replace("](../nbs/", "](").replace("](../course/README.md)", "](course.md)")
        (source/f"{name}.md").write_text(text, encoding="utf-8")
    text = (root/"course/README.md").read_text(encoding="utf-8").replace("](../nbs/", "](")
    text = re.sub(r"\[([^]]+)\]\((\d_\w+\.ipynb)\)", r'<a href="course/\2" download>\1</a>', text)
    (source/"course.md").write_text(text, encoding="utf-8")


MENDED = [  # what Sphinx and furo write that hinders a reader or weighs, and what is better
    (r'class="caption" role="heading"', 'class="caption" role="heading" aria-level="2"'),
    (r' aria-label="Toggle hidden content"', ""),  # the line says it better
    (r'<aside class="sidebar-drawer"', '<aside class="sidebar-drawer" aria-label="All pages"'),
    (r'<aside class="toc-drawer"', '<aside class="toc-drawer" aria-label="On this page"'),
    (r'<dl>\n((?:<dd><em class="sig-param.*?</dd>\n)+)</dl>', lambda m: (
        f'<span class="sig-params">{m[1].replace("<dd>", "<span>").replace("</dd>", "</span>")}'
        "</span>")),
    (r'<span class="[npw]">([^<]*)</span>', r"\1")]  # looks as all text: 40 % of a page


def card(text, name):
    "The same page with what others show of it before it is opened: title, subtitle, a picture."
    said = re.search(r"<title>(.*?)</title>.*?</h1>\s*<blockquote>\s*<div><p>(.*?)</p>", text, re.S)
    if not said: return text
    plain = lambda x: html.escape(html.unescape(" ".join(re.sub(r"<[^>]+>", "", x).split())))
    image = f"{chapters.site_address}_images/donors.png"
    told = {"og:title": plain(said[1]), "og:description": plain(said[2]), "og:image": image,
            "og:type": "article"}
    if chapters.published: told["og:url"] = chapters.site_address + name
    tags = [f'<meta property="{name}" content="{value}">' for name, value in told.items()]
    tags.append(f'<meta name="description" content="{told["og:description"]}">')
    tags.append('<meta name="twitter:card" content="summary_large_image">')
    return text.replace("</head>", "\n".join(tags) + "\n</head>", 1)


def mend(path):
    "A page as those who do not see it can use it, and as others show it; its text."
    text = card(path.read_text(encoding="utf-8"), path.relative_to(site).as_posix())
    for found, better in MENDED: text = re.sub(found, better, text)
    path.write_text(text, encoding="utf-8")
    return text


def lighten(path):
    "A picture in 256 colours, which is all that a figure of ours needs, at a third of its bytes."
    with Image.open(path) as image: fewer = image.quantize(256, Image.Quantize.FASTOCTREE)
    fewer.save(path, optimize=True)


def finish():
    "What Sphinx does not make: the formulas' font, data of the pages that move, downloads."
    from docs_math import write_font
    text = "".join(map(mend, site.rglob("*.html")))
    for path in (site/"_images").glob("*.png"): lighten(path)
    formulas = "".join(re.findall(r"<math.*?</math>", text, re.S))
    write_font(html.unescape(re.sub(r"<[^>]+>", "", formulas)), site/"_static/math.woff2")
    for name in ("slider", "walk"):  # a page opened from disk may load a script, not JSON
        data = (root/f"nbs/results/{name}.json").read_text(encoding="utf-8")
        (site/f"_static/{name}-data.js").write_text(f"window.scvae_{name} = {data};\n")
    (site/"nbs").mkdir()
    for path in (root/"nbs").glob("*.ipynb"): shutil.copy(path, site/"nbs")
    shutil.copytree(root/"course", site/"course", ignore=shutil.ignore_patterns(".*"))
    for name in ("docs/references.bib", "CITATION.cff"): shutil.copy(root/name, site)


def build():
    "The whole site, in `_docs`."
    prepare()
    for old in (made, site): shutil.rmtree(old, ignore_errors=True)
    options = ["-qW", "--keep-going", "-c", root/"docs", "-d", root/"_proc/doctrees"]
    subprocess.run([sys.executable, "-m", "sphinx", *options, source, made], check=True)
    made.rename(site)
    finish()
    print(f"{len(list(site.rglob('*.html')))} pages: open {site.relative_to(root)}/index.html")


if __name__ == "__main__": build()
