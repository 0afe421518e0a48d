"In Jupyter, figures of ours leave those that come after them alone."
import nbformat
from nbclient import NotebookClient

OURS = "import numpy as np\nfrom scvae.plots import plot_umap\nplot_umap(np.eye(2), ['a', 'b']);"
THEIRS = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"


def test_a_figure_after_ours_is_shown():
    "A backend that starts within a style is not interactive once the style is left."
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, (OURS, THEIRS))])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = [[o.output_type for o in cell.outputs] for cell in notebook.cells]
    assert shown == [["display_data"]] * 2
