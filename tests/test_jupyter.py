"In Jupyter, figures of ours leave those that come after them alone."
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

OURS = "import numpy as np\nfrom scvae.plots import plot_umap\nplot_umap(np.eye(2), ['a', 'b']);"
THEIRS = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"


def test_a_figure_after_ours_is_shown(monkeypatch):
    "A backend that starts within a style is not interactive once the style is left."
    monkeypatch.delenv("MPLBACKEND", raising=False)   # Jupyter's own
    notebook = nbformat.v4.new_notebook(cells=[*map(nbformat.v4.new_code_cell, (OURS, THEIRS))])
    kernel = AsyncKernelManager(kernel_name="python3",
                                kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    NotebookClient(notebook, timeout=300, km=kernel).execute()
    shown = [[o.output_type for o in cell.outputs] for cell in notebook.cells]
    assert shown == [["display_data"]] * 2
