"""Build the documentation site: the executed notebooks as pages, and a reference made from what they export.

`make docs` runs this. Nothing is executed: pages show the outputs that the notebooks store. Where Quarto is installed, `nbdev_docs` renders the same notebooks."""
import ast, html, io, json, re, shutil, subprocess, sys, tokenize
from configparser import ConfigParser
from pathlib import Path
from types import SimpleNamespace

root = Path(__file__).resolve().parents[1]
source, site = root/"_proc/site", root/"_docs"  # what Sphinx reads, and what it writes
settings = ConfigParser(delimiters=["="])
settings.read(root/"settings.ini", encoding="utf-8")
cfg = settings["DEFAULT"]
GIT = f"https://github.com/{cfg['user']}/{cfg['repo']}"

PARTS = {  # by reader; a notebook that is not named here comes under "Investigate"
    "Learn": ["00_data", "01_preprocess", "02_model", "03_objective", "04_train", "05_metrics", "22_slider", "23_walk"],
    "Use": ["04b_trained", "14_plots", "15_batches", "19_report", "20_cli"],
    "Investigate": ["06_study", "07_beta", "08_hvg", "09_evaluate", "10_collapse", "11_consensus", "12_search", "13_datasets"],
    "Reference": ["reference/index", "words", "bibliography"],
    "Contribute": ["21_contributing"],
}


# --- what the package exports, read from its source ---

def comments_of(text):
    "Line number -> comment, for the comments of a module; and the lines that hold nothing else."
    found, alone = {}, set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            found[token.start[0]] = token.string.lstrip("# ").strip()
            if not token.line[:token.start[1]].strip(): alone.add(token.start[0])
    return found, alone


def docments(node, comments, alone):
    "Name -> comment of each parameter of a function, and of what it returns."
    a = node.args
    args = a.posonlyargs + a.args + ([a.vararg] if a.vararg else []) + a.kwonlyargs + ([a.kwarg] if a.kwarg else [])
    args = sorted((x for x in args if x.arg not in ("self", "cls", "ctx")), key=lambda x: (x.lineno, x.col_offset))
    last = node.body[0].lineno
    docs = {}
    for arg, following in zip(args, args[1:] + [None]):
        if following and following.lineno == arg.lineno: docs[arg.arg] = comments.get(arg.lineno, ""); continue  # several on a line share what it says
        stop = following.lineno if following else (node.returns.lineno if node.returns else last)
        lines = [l for l in range(arg.lineno, max(stop, arg.lineno + 1)) if l in comments and (following or l == arg.lineno or l in alone)]  # after the last: what the bracket says is of what comes back
        docs[arg.arg] = " ".join(comments[l] for l in lines)
    end = node.returns.end_lineno if node.returns else max([x.end_lineno for x in args], default=node.lineno)
    after = [l for l in range(end, last) if l in comments and not (not node.returns and args and l == args[-1].lineno)]
    return docs, " ".join(comments[l] for l in after)


def help_in(node):
    "The `help=` that an annotation of the command line holds, or nothing."
    return next(((words_of(k.value) or "").split("  [")[0] for k in ast.walk(node) if isinstance(k, ast.keyword) and k.arg == "help"), "")


def entry(node, kind, name, comments, alone, cell):
    "What the reference says of one function, method or class."
    params, returns = docments(node, comments, alone) if isinstance(node, ast.FunctionDef) else ({}, "")
    return SimpleNamespace(name=name, kind=kind, node=node, doc=ast.get_docstring(node) or "", params=params, returns=returns, cell=cell, members=[])


def read_module(path):
    "The public entries of one exported module, in the order of the notebook."
    text = path.read_text(encoding="utf-8")
    tree, (comments, alone), lines = ast.parse(text), comments_of(text), text.splitlines()
    notebook = re.search(r"File to edit: \.\./nbs/(\S+)\.ipynb", text)[1]
    cells = [(i, m[1]) for i, l in enumerate(lines, 1) if (m := re.match(r"# %% \.\./nbs/\S+ #(\w+)", l))]
    cell_at = lambda line: next((c for i, c in reversed(cells) if i < line), None)
    public = next(ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__")
    module = SimpleNamespace(name=path.stem, title=(ast.get_docstring(tree) or ""), notebook=notebook, entries=[])
    for node in tree.body:
        cell = cell_at(node.lineno)
        if isinstance(node, ast.FunctionDef) and node.name in public:
            module.entries.append(entry(node, "function", node.name, comments, alone, cell))
        elif isinstance(node, ast.ClassDef) and node.name in public:
            module.entries.append(klass := entry(node, "class", node.name, comments, alone, cell))
            for sub in node.body:
                if isinstance(sub, ast.FunctionDef) and sub.name == "__init__": klass.params, klass.init = docments(sub, comments, alone)[0], sub
                elif isinstance(sub, ast.FunctionDef) and not sub.name.startswith("_"):
                    is_property = any(getattr(d, "id", "") == "property" for d in sub.decorator_list)
                    klass.members.append(entry(sub, "property" if is_property else "method", sub.name, comments, alone, cell))
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                for t in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if getattr(t, "id", None) in public and t.id not in [e.name for e in module.entries]:
                        module.entries.append(SimpleNamespace(name=t.id, kind="data", node=node, doc=comments.get(node.lineno, ""), params={}, returns="", cell=cell, members=[]))
    helps = {e.name: help_in(e.node) for e in module.entries if e.kind == "data"}  # of options that several commands share
    for e in module.entries:
        if e.kind == "data": e.doc = e.doc or helps[e.name]
        elif e.kind == "function":
            a = e.node.args
            for arg, default in zip(a.args, [None] * (len(a.args) - len(a.defaults)) + a.defaults):
                spoken = [help_in(n) or helps.get(getattr(n, "id", "")) for n in (arg.annotation, default) if n]
                e.params[arg.arg] = e.params.get(arg.arg) or next(filter(None, spoken), "")
    if missing := set(public) - {e.name for e in module.entries}: raise SystemExit(f"docs: scvae.{path.stem} exports {sorted(missing)}, and no definition was found")
    return module


def read_package():
    "All modules, in the order of their notebooks."
    paths = [p for p in (root/"scvae").glob("*.py") if "AUTOGENERATED" in p.read_text(encoding="utf-8")[:2000] and p.stem != "_modidx"]
    return sorted(map(read_module, paths), key=lambda m: m.notebook)


# --- names in prose ---

def name_index(modules):
    "Where a name leads: by module, and for names that stand alone."
    home = ast.literal_eval(re.search(r"_home = (\{.*?\})", (root/"scvae/__init__.py").read_text(encoding="utf-8"), re.S)[1])
    inside = {m.name: {e.name: f"scvae.{m.name}.{e.name}" for e in m.entries} | {f"{e.name}.{s.name}": f"scvae.{m.name}.{e.name}.{s.name}" for e in m.entries for s in e.members} for m in modules}
    for m in modules:  # a method may be named alone in its own chapter
        for e in m.entries:
            for s in e.members: inside[m.name].setdefault(s.name, f"scvae.{m.name}.{e.name}.{s.name}")
    return SimpleNamespace(home=home, inside=inside, count={n: [m for m in inside if n in inside[m]] for m in inside for n in inside[m]})


def resolve(text, here, imported, index):
    "The full name that a piece of code in prose speaks of, or None."
    m = re.fullmatch(r"([A-Za-z_][\w.]*)(\(.*\))?", text)
    if not m: return None
    *prefix, name = m[1].split(".")
    if m[1].startswith("scvae."):
        if len(prefix) == 1 and name in index.inside: return f"scvae.{name}"
        prefix = prefix[1:]
        if not prefix: return index.inside[index.home[name]][name] if name in index.home else None
    if prefix:
        owner = {"vae": "SCVAE", "prep": "Preprocessor"}.get(prefix[-1], prefix[-1])
        if len(prefix) == 1 and owner in index.inside: return index.inside[owner].get(name)
        return next((index.inside[mod][f"{owner}.{name}"] for mod in index.inside if f"{owner}.{name}" in index.inside[mod]), None) if len(prefix) == 1 else None
    if name in index.inside.get(here, {}): return index.inside[here][name]
    if name in index.home: return index.inside[index.home[name]][name]
    homes = index.count.get(name, [])
    if name in imported and imported[name] in homes: return index.inside[imported[name]][name]
    return index.inside[homes[0]][name] if len(homes) == 1 and ("_" in name or m[2]) else None


def linked(text, link):
    "Markdown in which `link` replaces every piece of code that stands in prose: not in fences, headings or links."
    def line(l):
        if l.startswith("#"): return l
        parts = re.split(r"(!?\[[^\]]*\]\([^)]*\))", l)
        return "".join(p if i % 2 else re.sub(r"(?<![`}])`([^`]+)`(?!`)", lambda m: link(m[1]) or m[0], p) for i, p in enumerate(parts))
    pieces = re.split(r"(^(?:```|~~~).*?^(?:```|~~~)[ ]*$)", text, flags=re.S | re.M)
    return "".join(p if i % 2 else "\n".join(map(line, p.split("\n"))) for i, p in enumerate(pieces))


# --- the bibliography ---

def read_bib():
    "The entries of docs/references.bib: one field a line."
    text = (root/"docs/references.bib").read_text(encoding="utf-8")
    return {key: dict(re.findall(r"^\s*(\w+) = \{(.*)\},?$", body, re.M)) | {"kind": kind} for kind, key, body in re.findall(r"^@(\w+)\{(\w+),\n(.*?)^\}", text, re.S | re.M)}


def cited(text, bib):
    "Prose in which 'Author et al. 2019' leads to the bibliography."
    def link(m):
        first = m[1].split()[0].lower()
        key = next((k for k, b in bib.items() if b["year"] == m[3] and b["author"].split(",")[0].split()[-1].lower() == first), None)
        return f"[{m[0].rstrip()}](bibliography.md#{key})" if key else m[0]
    pattern = r"(?<![\[\w])(?:van der )?([A-ZÄÖÜØ][\w\-]+)(?: et al\.?| (?:and|&) [A-Z][\w\-]+)?,? (\()?((?:19|20)\d\d)\b(?(2)\)?)"
    return "".join(p if i % 2 else re.sub(pattern, link, p) for i, p in enumerate(re.split(r"(```.*?```|\[[^\]]*\]\([^)]*\)|`[^`]*`|^#[^\n]*$)", text, flags=re.S | re.M)))


def bibliography(bib):
    "The page of everything that is cited."
    rows = ["# Bibliography\n> What the chapters cite\n", "The same as <a href=\"references.bib\">BibTeX</a>. To cite this project, see <a href=\"CITATION.cff\">CITATION.cff</a>: it names the version and the authors.\n"]
    for key, b in sorted(bib.items(), key=lambda kb: kb[1]["author"].lower()):
        where = ", ".join(b[f] for f in ("journal", "booktitle", "publisher", "volume", "pages") if f in b)
        url = f"https://doi.org/{b['doi']}" if "doi" in b else b.get("url")
        rows.append(f"({key})=\n{b['author'].replace(' and others', ' et al.').replace(' and ', '; ')} ({b['year']}). **{b['title']}.**" + (f" *{where}.*" if where else "") + (f" [{'doi:' + b['doi'] if 'doi' in b else url}]({url})" if url else "") + "\n")
    return "\n".join(rows)


# --- chapters ---

def directives(text):
    "The `#|` lines of a cell, and the cell without them."
    lines = text.split("\n")
    found = {}
    while lines and (m := re.match(r"#\|\s*([\w-]+)(?::?\s*(.*))?$", lines[0])): found[m[1]] = (m[2] or "").strip('"'); lines.pop(0)
    return found, "\n".join(lines).strip("\n")


def words_of(node):
    "The text of a string or of the fixed parts of an f-string, or None."
    if isinstance(node, ast.Constant) and isinstance(node.value, str): return node.value
    if isinstance(node, ast.JoinedStr): return "".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values)


def figure_text(code, heading, docs, before):
    "What a figure shows, from its titles, its axes and the functions that draw it: for those who do not see it."
    titles, labels, drawn = [], {"x": [], "y": []}, []
    for call in (n for n in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", code, flags=re.M))) if isinstance(n, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name in ("set_title", "suptitle", "set_xlabel", "set_ylabel") and call.args and (w := words_of(call.args[0])):
            (titles if "title" in name else labels[name[4]]).append(w)
        for k in call.keywords:
            if k.arg in ("title", "xlabel", "ylabel") and (w := words_of(k.value)): (titles if k.arg == "title" else labels[k.arg[0]]).append(w)
        if name.startswith("plot") and docs.get(name): drawn.append(docs[name].split("\n")[0])
    tidy = lambda xs: "; ".join(dict.fromkeys(re.sub(r"\s+", " ", x.replace("$", "").replace("\\", "")).strip() for x in xs if x.strip(" …")))
    parts = [tidy(titles), tidy(drawn)] + [f"{a} axis: {t}" for a, t in (("horizontal", tidy(labels["x"])), ("vertical", tidy(labels["y"]))) if t]
    if sum(map(len, parts)) < 25: parts.append(re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`$\\]", r"\1", " ".join(before.split())))  # nothing in the code says it: the prose above does
    return f"Figure in the section “{heading}”. " + ". ".join(p.rstrip(".") for p in parts if p) + "."


def bar(stem, module):
    "The line under a chapter's title: where it comes from and how to have it."
    colab = f"https://colab.research.google.com/github/{cfg['user']}/{cfg['repo']}/blob/{cfg['branch']}/nbs/{stem}.ipynb"
    exports = f'exports <a href="reference/{module}.html"><code>scvae.{module}</code></a> · ' if module else ""
    return (f'<p class="chapter-bar">Notebook {stem.split("_")[0]} · {exports}<a href="nbs/{stem}.ipynb" download>Download notebook</a> · '
            f'<a href="{colab}">Open in Colab</a> <span>(there, first run <code>%pip install git+{GIT}</code>)</span></p>')


def svg(name):
    "A drawing put into the page itself, so that it takes the page's colours."
    return re.sub(r"<\?xml.*?\?>\s*", "", (root/"nbs/images"/name).read_text(encoding="utf-8")).strip()


def prose(text, here, imported, index, bib):
    "A Markdown cell with names and citations that lead somewhere."
    link = lambda code: f"{{py:obj}}`{code} <{target}>`" if (target := resolve(code, here, imported, index)) else None
    text = cited(linked(text, link), bib)
    text = re.sub(r"\[([^\]]*)\]\(\.\./(CITATION\.cff)\)", r'<a href="\2">\1</a>', text)
    return re.sub(r"^!\[([^\]]*)\]\(images/([\w-]+\.svg)\)$", lambda m: f'<figure class="drawing" role="img" aria-label="{html.escape(m[1])}">{svg(m[2])}</figure>', text, flags=re.M)


def anchors(modules):
    "Cell -> a place to jump to, for each cell that defines something public."
    return {e.cell for m in modules for e in m.entries}


def chapter(path, modules, index, bib, docs):
    "A notebook as Sphinx is to see it."
    nb = json.loads(path.read_text(encoding="utf-8"))
    codes = ["".join(c["source"]) for c in nb["cells"] if c["cell_type"] == "code"]
    module = next((m for m in modules if m.notebook == path.stem), None)
    here = module.name if module else None
    imported = {n.strip().split(" as ")[0]: mod for c in codes for mod, ns in re.findall(r"^\s*from scvae\.(\w+) import ([^\n(]+)", c, re.M) for n in ns.split(",")}
    defining, cells, heading, before = anchors(modules), [], path.stem, ""
    for cell in nb["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            if found := re.findall(r"^#+ (.+)$", text, re.M): heading = found[-1].replace("`", "")
            before = next((p for p in reversed(text.split("\n\n")) if not p.startswith(("#", "|", "```"))), before)
            text = prose(text, here, imported, index, bib)
            if not cells and path.stem != "index":
                text = re.sub(r"\A(# .+\n+)(> .+(?:\n> .+)*)\n?", lambda m: m[1] + "\n" + m[2] + "\n\n" + bar(path.stem, here) + "\n\n", text, count=1)
            cells.append(dict(cell, source=text))
            continue
        if cell["cell_type"] != "code": cells.append(cell); continue
        flags, code = directives(text)
        outputs = [o for o in cell["outputs"] if o["output_type"] != "error"]
        if "hide" in flags or not code.strip() and not outputs: continue
        tags = (["remove-input"] if flags.get("echo", "").strip() == "false" else []) + [t for t in ("export", "slow") if t in flags]
        meta = {"tags": tags, "mystnb": {"image": {"alt": flags.get("fig-alt") or (figure_text(code, heading, docs, before) if any("image/png" in o.get("data", {}) for o in outputs) else "")}}}
        if cell.get("id") in defining: cells.append({"cell_type": "markdown", "id": "at-" + cell["id"], "metadata": {}, "source": f'<span class="anchor" id="cell-{cell["id"]}"></span>'})
        cells.append(dict(cell, source=code, metadata=meta, outputs=outputs))
    meta = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}, "language_info": {"name": "python"}}
    return dict(nb, cells=cells, metadata=meta, nbformat=4, nbformat_minor=5)


# --- the reference ---

def signature(e):
    "A function as one would write it down, without its body."
    node = getattr(e, "init", e.node) if e.kind == "class" else e.node
    if not isinstance(node, ast.FunctionDef): return e.name
    args = ast.parse("def f(" + ast.unparse(node.args) + "): pass").body[0].args
    for group in (args.posonlyargs, args.args):
        if group and group[0].arg in ("self", "cls"): group.pop(0)
    for i, d in enumerate(args.defaults):
        if len(ast.unparse(d)) > 60: args.defaults[i] = ast.Constant(...)
    for a in args.args + args.kwonlyargs:
        if a.annotation is not None and len(ast.unparse(a.annotation)) > 30: a.annotation = None
    return f"{e.name}({ast.unparse(args)})" + (f" -> {ast.unparse(node.returns)}" if node.returns and e.kind != "class" else "")


def value_text(e):
    "What a constant is, if that is short."
    code = ast.unparse(e.node)
    return f"\n\n```python\n{code if len(code) < 400 else code[:400].rsplit(' ', 1)[0] + ' ...'}\n```"


def entry_text(e, module, index, level=0, owner=""):
    "One entry of the reference as a MyST directive."
    link = lambda code: f"{{py:obj}}`{code} <{t}>`" if (t := resolve(code, module.name, {}, index)) else None
    clean = lambda t: linked(re.sub(r"([*_|\\])(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\\1", t), link)
    body = clean(e.doc) if e.kind != "data" else clean(e.doc) + value_text(e)
    fields = [f":param {n}: {clean(d)}" for n, d in e.params.items() if d] + [f":param {n}:" for n, d in e.params.items() if not d and e.kind != "method"]
    order = {n: i for i, n in enumerate(e.params)}
    fields.sort(key=lambda f: order[f.split()[1].rstrip(":")])
    if e.returns: fields.append(f":returns: {clean(e.returns)}")
    inner = "\n\n".join(entry_text(s, module, index, level + 1, e.name) for s in e.members)
    if not owner: inner += f'\n\n<p class="where"><a href="../{module.notebook}.html#cell-{e.cell}">where it is made and tested</a></p>'
    fence, kind = ("`````" if level == 0 else "````"), e.kind
    head = signature(e) if kind in ("function", "class", "method") else e.name
    return f"{fence}{{py:{kind}}} {head}\n\n{body}\n\n" + "\n".join(fields) + f"\n\n{inner}\n{fence}"


def module_text(module, index):
    "The reference page of a module."
    order = {"class": 0, "function": 1, "data": 2}
    groups = [("Classes", "class"), ("Functions", "function"), ("Constants", "data")]
    parts = [f"# scvae.{module.name}\n> {module.title}\n", f"Explained, tested and exported in [the notebook {module.notebook}](../{module.notebook}.ipynb).\n", f"```{{py:module}} scvae.{module.name}\n```"]
    for title, kind in groups:
        if some := [e for e in sorted(module.entries, key=lambda e: order[e.kind]) if e.kind == kind]:
            parts += [f"## {title}"] + [entry_text(e, module, index) for e in some]
    return "\n\n".join(parts) + "\n"


def reference_index(modules, index):
    "The first page of the reference: the names one imports, then the modules."
    rows = ["# Reference\n> Every name that the notebooks export, with its parameters\n", "What `import scvae` gives:\n", "| name | what it does |\n| --- | --- |"]
    by_name = {m.name: {e.name: e for e in m.entries} for m in modules}
    rows[-1] += "".join(f"\n| {{py:obj}}`scvae.{n} <scvae.{m}.{n}>` | {by_name[m][n].doc.splitlines()[0].replace('|', chr(92) + '|')} |" for n, m in index.home.items())
    rows.append("Everything else is imported from its module, as in `from scvae.metrics import plot_umap`:\n")
    rows.append("| module | what is in it | notebook |\n| --- | --- | --- |" + "".join(f"\n| [scvae.{m.name}]({m.name}.md) | {m.title} | [{m.notebook}](../{m.notebook}.ipynb) |" for m in modules))
    rows.append("```{toctree}\n:hidden:\n\n" + "\n".join(f"scvae.{m.name} <{m.name}>" for m in modules) + "\n```")
    return "\n\n".join(rows) + "\n"


# --- the whole ---

def contents(stems):
    "Part -> pages of the sidebar."
    parts = {part: [p for p in pages if p in stems or "/" in p or p in ("words", "bibliography")] for part, pages in PARTS.items()}
    parts["Investigate"] += [s for s in stems if s != "index" and not any(s in pages for pages in PARTS.values())]
    parts["Investigate"].sort()
    return {part: pages for part, pages in parts.items() if pages}


def title_of(path):
    "A notebook's number and its title."
    first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    return f"{path.stem.split('_')[0]} {re.match(r'# (.+)', first)[1]}"


def toctrees(parts, titles):
    "The sidebar, as hidden cells of the first page."
    one = lambda part, pages: f"```{{toctree}}\n:hidden:\n:caption: {part}\n\n" + "\n".join(f"{titles[p]} <{p}>" if p in titles else p for p in pages) + "\n```"
    return [{"cell_type": "markdown", "id": f"toc-{i}", "metadata": {}, "source": one(part, pages)} for i, (part, pages) in enumerate(parts.items())]


def page_data(into):
    "The recorded runs that the interactive pages show, as scripts: a page opened from disk may load a script, not JSON."
    for name in ("slider", "walk"):
        if (path := root/f"nbs/results/{name}.json").exists():
            (into/f"{name}-data.js").write_text(f"window.scvae_{name} = {path.read_text(encoding='utf-8')};\n", encoding="utf-8")


def prepare():
    "Write everything that Sphinx reads."
    shutil.rmtree(source, ignore_errors=True)
    (source/"reference").mkdir(parents=True)
    modules, bib = read_package(), read_bib()
    index = name_index(modules)
    docs = {e.name: e.doc for m in modules for e in m.entries}
    notebooks = {p.stem: p for p in sorted((root/"nbs").glob("*.ipynb"))}
    for stem, path in notebooks.items():
        nb = chapter(path, modules, index, bib, docs)
        if stem == "index": nb["cells"] += toctrees(contents(notebooks), {s: title_of(p) for s, p in notebooks.items()})
        (source/f"{stem}.ipynb").write_text(json.dumps(nb), encoding="utf-8")
    for m in modules: (source/f"reference/{m.name}.md").write_text(module_text(m, index), encoding="utf-8")
    (source/"reference/index.md").write_text(reference_index(modules, index), encoding="utf-8")
    shutil.copyfile(root/"docs/words.md", source/"words.md")
    (source/"bibliography.md").write_text(bibliography(bib), encoding="utf-8")
    if (root/"nbs/images").exists(): shutil.copytree(root/"nbs/images", source/"images")


def hung(code):
    "Highlighted code, each line a block that knows its indentation: a line that is too long goes on below, further in, instead of out of sight."
    lines, open_tags = [], []
    for line in code.rstrip("\n").split("\n"):
        before = "".join(open_tags)  # what began in an earlier line, such as a string
        for tag in re.findall(r"<[^>]+>", line): open_tags.pop() if tag == "</span>" else open_tags.append(tag)
        indent = len((plain := re.sub(r"<[^>]+>", "", line))) - len(plain.lstrip(" "))
        if len(plain) > 100: line = re.sub(r'(?:<span class="w">)? {3,}(?:</span>)?(?=<span class="c1">)', "  ", line)  # it breaks anyway: nothing to align a comment to
        line = line.replace('<span class="c1"># ', '<span class="c1">#\u00a0')  # a comment's first word goes with its sign
        deep = f" style=--in:{indent + 4}" if indent else ""  # 4 is the style sheet's
        lines.append(f'<span class=line{deep}>{before}{line}{"</span>" * len(open_tags)}\n</span>')
    return "".join(lines)


def mend_page(path):
    "What Sphinx leaves: pictures that load when they are scrolled to, lines of code that break where the screen ends, numbers that do not break."
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"<img (?![^>]*loading=)", '<img loading="lazy" decoding="async" ', text)
    text = re.sub(r'(<div class="highlight-(?:python|sh) notranslate"><div class="highlight"><pre>(?:<span></span>)?)(.*?)(</pre>)', lambda m: m[1] + hung(m[2]) + m[3], text, flags=re.S)
    text = re.sub(r'<img [^>]*src="(_images/[^"]+\.png)"[^>]*>', r'<a href="\1">\g<0></a>', text)  # to be looked at in full on a phone
    text = re.sub(r"(<td[^>]*>(?:<p>)?)([-\d.]+) ± ([-\d.]+) \[([^,\]]+), ([^\]]+)\]", r"\1<span class=whole>\2 ± \3</span> <span class=whole>[\4, \5]</span>", text)
    path.write_text(text, encoding="utf-8")
    return text


def build():
    "The whole site, in `_docs`."
    prepare()
    made = root/"_proc/html"
    for old in (made, site): shutil.rmtree(old, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-c", root/"docs", "-d", root/"_proc/doctrees", source, made], check=True)
    made.rename(site)
    formulas = "".join("".join(re.findall(r"<math.*?</math>", mend_page(p), re.S)) for p in site.rglob("*.html"))
    from docs_math import write_font
    write_font(html.unescape(re.sub(r"<[^>]+>", "", formulas)), site/"_static/math.woff2")
    page_data(site/"_static")
    (site/"nbs").mkdir()
    for path in (root/"nbs").glob("*.ipynb"): shutil.copyfile(path, site/"nbs"/path.name)
    for path in (root/"docs/references.bib", root/"CITATION.cff"): shutil.copyfile(path, site/path.name)
    for extra in ("_static/scripts/furo.js.map", "_static/styles/furo.css.map", "_static/styles/furo-extensions.css.map"): (site/extra).unlink(missing_ok=True)
    (site/".nojekyll").touch()
    print(f"{len(list(site.rglob('*.html')))} pages: open {site.relative_to(root)}/index.html")


if __name__ == "__main__": build()
