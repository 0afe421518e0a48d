"""How Sphinx renders what tools/docs.py prepared from the notebooks.

Nothing is fetched from the network, neither now nor by a reader's browser."""
import inspect, re, sys
from importlib import import_module
from itertools import chain
from pathlib import Path
from docutils import nodes
from sphinx.util.nodes import make_refnode

root = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(root), str(root/"tools")]
import chapters  # noqa: E402
from chapters import cfg  # noqa: E402
from docs_math import mathml  # noqa: E402

project, author, copyright, release = (cfg[k] for k in ("title", "author", "copyright", "version"))
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.linkcode",
              "sphinx.ext.githubpages", "sphinxcontrib.bibtex"]
source_suffix = {".ipynb": "myst-nb", ".md": "myst-nb"}

nb_execution_mode = "off"  # pages show what the notebooks store
nb_merge_streams = True
nb_render_markdown_format = "myst"  # with tables
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]

smartquotes_action = "D"  # dashes, no curly quotes
default_role = "literal"  # docstrings write `name`
autodoc_default_options = {k: True for k in ("members", "undoc-members")}
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autoclass_content = "both"
autodoc_inherit_docstrings = False
autodoc_typehints = "none"
napoleon_use_ivar = True
add_module_names = False
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 88

bibtex_bibfiles = [str(root/"docs/references.bib")]
bibtex_default_style = "plain"
bibtex_cite_id = "{key}"

html_theme = "furo"
html_title = project
html_favicon = str(root/"docs/static/favicon.svg")
html_domain_indices = False
html_static_path = [str(root/"docs/static")]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_search_scorer = str(root/"docs/scorer.js")
html_copy_source = html_show_sourcelink = False
html_baseurl = chapters.site_address
templates_path = ["templates"]
html_sidebars = {"**": [f"sidebar/{name}.html" for name in (
    "brand", "search", "scroll-start", "start", "navigation", "scroll-end")]}
html_context = {"repository": chapters.repository * chapters.published}
html_math_renderer = "mathml"
fonts = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
brand = lambda color: {"color-brand-primary": color, "color-brand-content": color}
html_theme_options = dict(light_css_variables=brand("#0b5d8f") | {"font-stack": fonts},
                          dark_css_variables=brand("#7cc4ee"), top_of_page_buttons=[])


def linkcode_resolve(domain, info):
    "Where [source] in the reference leads: to the cell that makes it."
    module, name = info["module"], info["fullname"].split(".")[-1]
    thing = vars(import_module(module)).get(name)
    text = f"class%20{name}" if isinstance(thing, type) else f"def%20{name}"
    if thing is not None and not callable(thing): text = f"{name}%20%3D"
    return f"../{chapters.modules()[module]}.html#:~:text={text}"


def constant(module, name):
    "A constant with its source: autodoc shows only those with a comment that starts with `#:`."
    text = inspect.getsource(module)
    start = rf"^(?:\w+, )*{name}(?:, \w+)* = "
    found = re.search(rf"{start}.*?(?=\n\n|\n[\w#@]|\Z)", text, re.M | re.S)
    code = found[0].split("\n") if found else []
    shown = code[:12] + ["..."] * (len(code) > 12)
    head = [f".. py:data:: {name}", "", "   .. code-block:: python", ""]
    return head + [f"      {line}" for line in shown] + [""]


def mend_docstring(app, what, name, obj, options, lines):
    "Outside of code a docstring has no markup; a module's lists its constants."
    special = r"([*|\\]|(?<=\w)_(?!\w))(?=[^`]*(?:`[^`]*`[^`]*)*$)"
    lines[:] = [re.sub(special, r"\\\1", line) for line in lines]
    if what != "module": return
    values = [n for n in obj.__all__ if not inspect.isroutine(vars(obj)[n])]
    values = [n for n in values if not isinstance(vars(obj)[n], type)]
    lines += ["", *chain.from_iterable(constant(obj, n) for n in values)]


def mend_signature(app, what, name, obj, options, signature, returns):
    "Defaults that are objects have no short form."
    if signature: return re.sub(r"<[^<>]* at 0x\w+>", "...", signature), returns


def skip_fields(app, what, name, obj, skip, options):
    "Fields of a class stand in its docstring."
    is_method = callable(obj) or isinstance(obj, (property, classmethod, staticmethod))
    return True if what == "class" and not is_method else None


def homes(name, here, objects):
    "The objects that a name may mean: of this module, else of `import scvae`, else of any."
    scvae = import_module("scvae")
    if f"{here}.{name}" in objects: return [f"{here}.{name}"]
    if name in scvae.__all__: return [f"{getattr(scvae, name).__module__}.{name}"]
    if re.fullmatch("[a-z]+", name): return []  # an everyday word
    return [full for full in objects if f".{full}".endswith(f".{name}")]


def link_names(app, doctree, page):
    "Code in prose that names one object of ours leads to its reference."
    objects = app.env.domains["py"].objects
    here = chapters.module(page) if page[0].isdigit() else page.removeprefix("reference/")
    for code in list(doctree.findall(nodes.literal)):
        if isinstance(code.parent, (nodes.reference, nodes.title)): continue
        name = re.sub(r"^scvae\.|\(.*\)$", "", code.astext())
        if len(found := homes(name, here, objects)) != 1: continue
        to = objects[found[0]]
        code.replace_self(make_refnode(app.builder, page, to.docname, to.node_id, code.deepcopy()))


def figures(app, doctree, page):
    "Pictures load when they are scrolled to, and open in full."
    for image in list(doctree.findall(nodes.image)):
        image["loading"] = "lazy"
        if image["uri"] not in app.env.images: continue
        link = nodes.reference("", "", image.deepcopy(), internal=True,
                               refuri=f"_images/{app.env.images[image['uri']][1]}")
        image.replace_self(link)


def setup(app):
    "Formulas become MathML, which browsers draw themselves."
    def inline(self, node):
        self.body.append(mathml(node.astext(), "inline"))
        raise nodes.SkipNode
    def display(self, node):
        self.body.append(f'<div class="math-block">{mathml(node.astext(), "block")}</div>\n')
        raise nodes.SkipNode
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    app.connect("autodoc-process-docstring", mend_docstring, priority=400)
    app.connect("autodoc-process-signature", mend_signature)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("doctree-resolved", link_names)
    app.connect("doctree-resolved", figures)
