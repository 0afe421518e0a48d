"What a usual analysis does says nothing that is for developers, on a view and on plain strings."
import warnings
import anndata, numpy as np, pytest, scvae
from scvae.plots import add_umap, cluster_cells

QUICK = dict(epochs=1, n_top_genes=60, n_latent=3, hidden=(16,), progress=False, device="cpu")


@pytest.fixture(autouse=True)
def strict():
    "Every warning is an error but those that Python itself shows nobody."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in (ImportWarning, ResourceWarning): warnings.simplefilter("ignore", kind)
        yield


def strings():
    "Cells with strings where others have categories, as pandas makes them."
    adata = scvae.synthetic(n_cells=300, n_genes=100, n_types=3)
    for column in ("type", "batch"): adata.obs[column] = adata.obs[column].astype(object)
    return adata


def view(): return strings()[np.arange(300) % 4 > 0, 5:]


@pytest.mark.parametrize("cells", [strings, view])
def test_a_usual_analysis_is_quiet(cells, tmp_path):
    adata, query = cells(), cells()[:40]
    vae = scvae.fit(adata, batch_key="batch", **QUICK)
    scvae.score(adata, "type")
    cluster_cells(adata)
    add_umap(adata)
    vae.components(adata, n_components=5)
    vae.differential_expression(adata, "type")
    scvae.transfer(adata, vae.map(query, reference=adata), "type")
    adata.write_h5ad(tmp_path/"cells.h5ad")
    assert {"X_scvae", "X_scvae_umap"} <= anndata.read_h5ad(tmp_path/"cells.h5ad").obsm.keys()


def test_writing_to_a_view_leaves_the_whole_alone():
    whole = strings()
    scvae.fit(whole[:200], **QUICK)
    assert not whole.obsm and "fit" not in whole.uns["scvae"]
