"A model that version 0.1.0 wrote is read by every later version, and gives what it gave then."
import warnings
from pathlib import Path
import numpy as np
from anndata import AnnData
from safetensors.numpy import load_file, save_file
import scvae

folder = Path(__file__).parent/"fixtures"


def cells(stored):
    adata = AnnData(stored["counts"])
    adata.var_names = [f"gene_{i}" for i in range(adata.n_vars)]
    adata.obs["batch"] = [f"batch_{i % 2}" for i in range(adata.n_obs)]
    return adata


def write():
    "Made once, with scvae 0.1.0: python tests/test_stored_model.py"
    made = scvae.synthetic(n_cells=50, n_genes=30, n_types=3, random_state=0)
    stored = {"counts": made.X.toarray()}
    adata = cells(stored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer cells than a minibatch
        vae = scvae.fit(adata, n_top_genes=20, batch_key="batch", likelihood="nb", hidden=(8,),
                        n_latent=3, epochs=5, progress=False, device="cpu")
    vae.save(folder/"model_0.1.0")
    gave = {"latents": vae.encode(adata), "decoded": vae.decode(np.eye(3), "batch_1"),
            "error": vae.reconstruction_error(adata)}
    save_file(stored | gave, folder/"model_0.1.0_gave.safetensors")


def test_a_model_of_0_1_0_still_gives_what_it_gave():
    stored = load_file(folder/"model_0.1.0_gave.safetensors")
    vae = scvae.load_model(folder/"model_0.1.0", device="cpu")
    adata = cells(stored)
    np.testing.assert_allclose(vae.encode(adata), stored["latents"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(vae.decode(np.eye(3), "batch_1"), stored["decoded"], rtol=1e-3)
    np.testing.assert_allclose(vae.reconstruction_error(adata), stored["error"], rtol=1e-3)
    assert vae.batches == ["batch_0", "batch_1"] and len(vae.history) == 5 and len(vae.genes) == 20


if __name__ == "__main__": write()
