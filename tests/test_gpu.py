"What a CUDA device is to do; skipped where there is none."
import numpy as np, pytest, torch
import scvae
from scvae.studies.representation import of_neighbours

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def cells(): return scvae.data.synthetic(n_cells=1500, n_genes=400, n_types=5, random_state=0)


def named(adata):
    "How well neighbours name the types where a fit laid the cells."
    return of_neighbours(adata.obsm["X_scvae"], adata.obs["type"].to_numpy())["knn_balanced"]


@pytest.mark.parametrize("options", [
    {}, dict(likelihood="nb"), dict(batch_key="batch"), dict(precision="float32"),
    dict(contrast=10., sphere=True)])
def test_a_fit_is_as_good_as_on_the_processor(options):
    found = {}
    for device in ("cpu", "cuda"):
        adata = cells()
        scvae.fit(adata, device=device, progress=False, random_state=0, **options)
        assert np.isfinite(adata.obsm["X_scvae"]).all()
        found[device] = named(adata)
    assert abs(found["cuda"] - found["cpu"]) < .05


def test_a_stream_gives_the_model_of_a_fit_in_memory(tmp_path):
    adata, path = cells(), tmp_path/"cells.h5ad"
    adata.write_h5ad(path)
    vae = scvae.fit(adata, device="cuda", precision="float32", progress=False, random_state=0)
    streamed = scvae.fit(path, stream=True, device="cuda", precision="float32", progress=False,
                         random_state=0)
    for one, other in zip(vae.net.parameters(), streamed.net.parameters()):
        torch.testing.assert_close(one, other, rtol=.05, atol=.05)


def test_a_model_of_the_gpu_serves_a_processor(tmp_path):
    adata = cells()
    vae = scvae.fit(adata, device="cuda", progress=False, random_state=0)
    vae.save(tmp_path/"model")
    there = scvae.load_model(tmp_path/"model", device="cpu").encode(adata)
    np.testing.assert_allclose(there, vae.encode(adata), rtol=.05, atol=.05)
