"""Time scvi-tools' SCVI on cells that AnnData opens and does not read (backed="r"), all genes of
them: its loader alone, and its training, for the same number of minibatches of 128 cells. Writes
seconds of both, the cells of such a run, and the most anonymous memory (OUT.json)."""
import argparse, json, os, threading, time, warnings
from importlib import metadata
from pathlib import Path
from run_scvi import end_with

BATCH_SIZE = 128


def arguments():
    "What was asked for."
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("cells", type=Path, help=".h5ad file with counts in X")
    add("out", type=Path, help="where to write")
    add("--steps", type=int, default=50, help="minibatches [50]")
    add("--parent", type=int, help="end when the process with this id, the starter, is gone")
    args = parser.parse_args()
    if args.steps < 1: parser.error(f"--steps is {args.steps}: give 1 or more")
    if not args.cells.is_file(): parser.error(f"there is no file {args.cells}")
    return args


def anonymous_mb():
    "Anonymous memory of this process in MB."
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("RssAnon"))


def watched(most):
    "Note the most memory, a hundred times a second."
    def look():
        while True:
            most[0] = max(most[0], anonymous_mb())
            time.sleep(.01)
    if Path("/proc/self/status").exists(): threading.Thread(target=look, daemon=True).start()


def loaded(model, steps):
    "Seconds in which its loader of shuffled minibatches yields so many."
    from scvi.dataloaders import AnnDataLoader
    loader = AnnDataLoader(model.adata_manager, shuffle=True, batch_size=BATCH_SIZE)
    start = time.perf_counter()
    for i, _ in enumerate(loader, 1):
        if i == steps: break
    return time.perf_counter() - start


def trained(model, steps):
    "Seconds from the first of so many steps of training to the end of the last."
    from lightning.pytorch import Callback
    at = []
    class Stamps(Callback):
        def on_train_epoch_start(self, *_): at.append(time.perf_counter())
        def on_train_epoch_end(self, *_): at.append(time.perf_counter())
    model.train(max_epochs=1, limit_train_batches=steps, train_size=1., batch_size=BATCH_SIZE,
                accelerator="cpu", enable_progress_bar=False, callbacks=[Stamps()])
    return at[-1] - at[0]


def main():
    args = arguments()
    if args.parent: end_with(args.parent)
    import anndata, scvi, torch
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    scvi.settings.seed = 0
    adata, most = anndata.read_h5ad(args.cells, backed="r"), [0.]
    watched(most)
    scvi.model.SCVI.setup_anndata(adata)
    model = scvi.model.SCVI(adata)
    seconds = dict(loader=loaded(model, args.steps), training=trained(model, args.steps))
    n_cells = min(args.steps * BATCH_SIZE, adata.n_obs)
    part = Path(f"{args.out}.part")
    part.write_text(json.dumps(dict(
        n_cells=n_cells, seconds=seconds, rss_anon_mb=most[0],
        version=metadata.version("scvi-tools"))))
    os.replace(part, args.out)


if __name__ == "__main__": main()
