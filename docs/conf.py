"How Sphinx renders what tools/docs.py prepared from the notebooks. Nothing is fetched from the network, neither now nor by a reader's browser."
import sys
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(root/"tools"))
from docs_math import mathml  # noqa: E402

settings = ConfigParser(delimiters=["="])
settings.read(root/"settings.ini", encoding="utf-8")
cfg = settings["DEFAULT"]

project, author, copyright, release = cfg["title"], cfg["author"], cfg["copyright"], cfg["version"]
extensions = ["myst_nb"]
source_suffix = {".ipynb": "myst-nb", ".md": "myst-nb"}
master_doc = "index"
nb_execution_mode = "off"   # pages show what the notebooks store
nb_merge_streams = True
nb_render_markdown_format = "myst"   # with tables
myst_enable_extensions = ["dollarmath", "amsmath", "fieldlist", "deflist", "attrs_inline"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
suppress_warnings = ["mystnb.unknown_mime_type"]
nitpicky = True  # a name that leads nowhere stops the build; types of other packages are named and not linked
nitpick_ignore_regex = [("py:class", r"(np|pd|nn|torch|sparse|optuna)\..*|Path|AnnData")]
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 88

html_theme = "furo"
html_title = project
html_favicon = str(root/"docs/static/favicon.svg")
html_domain_indices = False
html_static_path = [str(root/"docs/static")]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = html_show_sourcelink = False
html_baseurl = f"{cfg['doc_host']}{cfg['doc_baseurl']}/"
html_theme_options = dict(
    light_css_variables={"color-brand-primary": "#0b5d8f", "color-brand-content": "#0b5d8f", "font-stack": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"},
    dark_css_variables={"color-brand-primary": "#7cc4ee", "color-brand-content": "#7cc4ee"},
    top_of_page_buttons=[],
)


def setup(app):
    "Formulas become MathML, which browsers draw themselves."
    def inline(self, node): self.body.append(mathml(node.astext(), "inline")); raise_skip()
    def display(self, node):
        self.body.append(f'<div class="math-block">{mathml(node.astext(), "block")}</div>\n'); raise_skip()
    def raise_skip():
        from docutils.nodes import SkipNode
        raise SkipNode
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    app.config.html_math_renderer = "mathml"
