"""Train scvi-tools' SCVI on one count matrix, everything at its defaults unless told otherwise.

Writes the cells' latents (OUT.npy) and how they came about (OUT.json). With batches it integrates
them; with labels it can go on to SCANVI, whose guesses stand in OUT.types.csv; groups of cells it
can compare, gene by gene (OUT.plain.0.csv, ...), with batches also decoded in each of them
(OUT.corrected.0.csv, ...)."""
import argparse, json, os, platform, sys, threading, time, warnings
from importlib import metadata, util
from pathlib import Path
import numpy as np
from scipy import sparse

# How the models differ from SCVI's defaults: two layers and thirty latents are what scvi-tools'
# tutorials of integration use, and SCANVI starts from such a model.
INTEGRATING = dict(n_layers=2, n_latent=30, gene_likelihood="nb")
METHODS = dict(scvi={}, ldvae={}, scvi_2x30=INTEGRATING, scanvi=INTEGRATING)
UNKNOWN = "unknown to scanvi"


def arguments(argv=None):
    "What was asked for; what cannot be done is told in one sentence, with exit code 2."
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("counts", type=Path, help="the matrix, cells x genes, as scipy.sparse.save_npz wrote it")
    add("out", type=Path, help="where to write, without an ending")
    add("--seed", type=int, default=0, help="of everything random [0]")
    add("--method", choices=METHODS, default="scvi",
        help="ldvae: a linear decoder; scvi_2x30: 2 layers, 30 latents, nb; scanvi: that, then "
        "SCANVI from it [scvi]")
    add("--batches", type=Path, help="text file, the batch of each cell, line by line [no batches]")
    add("--labels", type=Path, help="the same for the types that scanvi is to know; cells "
        f"of type '{UNKNOWN}' it has to guess")
    add("--compare", type=Path, help="JSON file, for each comparison two lists of numbers of cells")
    add("--epochs", type=int, help="[SCVI's own default: 400, fewer above 20000 cells]")
    add("--likelihood", choices=("poisson", "nb", "zinb"),
        help="[the method's own: SCVI's default, zinb, for scvi; else nb]")
    add("--all-cells", action="store_true", help="hold no cells out, to time epochs over all")
    add("--threads", type=int, default=1, help="threads that torch uses [1]")
    add("--parent", type=int, help="end when the process with this id, the starter, is gone")
    args = parser.parse_args(argv)
    if fault := fault_of(args): parser.error(fault)
    return args


def fault_of(args):
    "What cannot be done, in a sentence, or None."
    if args.seed < 0: return f"--seed is {args.seed}: give 0 or more"
    if args.epochs is not None and args.epochs < 1:
        return f"--epochs is {args.epochs}: give 1 or more"
    if not args.counts.is_file():
        return f"there is no file {args.counts}: write the counts there with scipy.sparse.save_npz"
    if args.labels and args.method != "scanvi":
        return f"{args.method} knows no labels: leave --labels out, or use --method scanvi"
    if args.method == "scanvi" and not args.labels:
        return "scanvi needs labels: give --labels a file with the type of each cell"
    for path in filter(None, (args.batches, args.labels)):
        if not path.is_file(): return f"there is no file {path}: write a name for each cell there"
    if args.compare and not args.compare.is_file():
        return f"there is no file {args.compare}: write two lists of cells for each comparison"
    if util.find_spec("scvi") is None:
        return (f"{sys.executable} has no scvi-tools: use .venv-peers/bin/python, "
                "which `make peers` sets up")


def read_counts(path):
    "The matrix as CSR float32, if it holds counts."
    try: X = sparse.csr_matrix(sparse.load_npz(path), dtype=np.float32)
    except Exception as e:
        sys.exit(f"{path} cannot be read as a sparse matrix ({type(e).__name__}): "
                 "write it again with scipy.sparse.save_npz")
    if (X.data < 0).any() or (X.data != np.rint(X.data)).any():
        sys.exit(f"{path} holds numbers that are not counts: SCVI needs raw counts")
    return X


def read_names(path, n_cells):
    "A name for each cell, from the lines of a text file."
    try: names = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError: sys.exit(f"{path} is no text in UTF-8: write a name per line")
    if len(names) != n_cells:
        sys.exit(f"{path} has {len(names)} lines for {n_cells} cells: write a name for each cell")
    if "" in names:
        sys.exit(f"line {names.index('') + 1} of {path} is empty: each cell needs a name")
    return np.array(names)


def read_pairs(path, n_cells):
    "Two groups of cells for each comparison."
    try: pairs = [[np.array(group, int) for group in pair] for pair in json.loads(path.read_text())]
    except (ValueError, TypeError) as e:
        sys.exit(f"{path} holds no lists of numbers of cells: {e}")
    for i, pair in enumerate(pairs):
        fine = len(pair) == 2 and all(g.size and g.min() >= 0 and g.max() < n_cells for g in pair)
        if not fine: sys.exit(f"comparison {i} of {path} is not of two groups of {n_cells} cells")
    return pairs


def end_with(parent):
    "End this process soon after its parent ended, even if that was killed."
    def watch():
        while os.getppid() == parent: time.sleep(1)
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


def stopwatch():
    "A callback that knows how many seconds each epoch took."
    from lightning.pytorch import Callback
    class Stopwatch(Callback):
        seconds = []
        def on_train_epoch_start(self, *_): self.start = time.perf_counter()
        def on_train_epoch_end(self, *_):
            self.seconds.append(round(time.perf_counter() - self.start, 4))
    return Stopwatch()


def train(X, args, batches=None):
    "SCVI as its tutorial has it: no setting changed that was not asked for."
    import anndata, scvi
    scvi.settings.seed = args.seed
    adata, watch = anndata.AnnData(X), stopwatch()
    if batches is not None: adata.obs["batch"] = batches
    kind = scvi.model.LinearSCVI if args.method == "ldvae" else scvi.model.SCVI
    kind.setup_anndata(adata, batch_key=None if batches is None else "batch")
    chosen = {"gene_likelihood": args.likelihood} if args.likelihood else {}
    model = kind(adata, **METHODS[args.method] | chosen)
    model.train(max_epochs=args.epochs, callbacks=[watch], **how(args))
    return model, watch.seconds


def how(args):
    "What both trainings are told of where and over which cells."
    more = {"train_size": 1.} if args.all_cells else {}
    return dict(accelerator="cpu", enable_progress_bar=False) | more


def go_on(model, args, labels):
    "SCANVI, which learns the labels too, from a trained SCVI, and what its training really used."
    from scvi.model import SCANVI
    watch, start = stopwatch(), time.perf_counter()
    model.adata.obs["label"] = labels
    model = SCANVI.from_scvi_model(model, labels_key="label", unlabeled_category=UNKNOWN)
    model.train(callbacks=[watch], **how(args))   # its own number of epochs, 10 at most
    trainer = model.trainer
    used = dict(
        epochs=len(watch.seconds), lr=trainer.lightning_module.lr,
        batch_size=trainer.datamodule.data_loader_kwargs["batch_size"],
        types=len(set(labels) - {UNKNOWN}),
        unknown_cells=int((labels == UNKNOWN).sum()), epoch_seconds=watch.seconds,
        seconds=round(time.perf_counter() - start, 2))
    return model, used


def compared(model, pairs, correct):
    "A table for each comparison, in change mode and else at the defaults, and seconds of each."
    tables, seconds = [], []
    for one, other in pairs:
        start, how = time.perf_counter(), dict(mode="change", batch_correction=correct)
        tables.append(model.differential_expression(idx1=one, idx2=other, **how, silent=True))
        seconds.append(round(time.perf_counter() - start, 2))
    return tables, seconds


def settings(model):
    "What the model and its training really used, by the names that our recipes use."
    given, trainer = model.init_params_["non_kwargs"], model.trainer
    plan = trainer.lightning_module
    return dict(
        n_latent=given["n_latent"], hidden=[given["n_hidden"]] * given["n_layers"],
        dropout=given["dropout_rate"], likelihood=given["gene_likelihood"],
        epochs=len(model.history["elbo_train"]), lr=plan.lr,
        batch_size=trainer.datamodule.data_loader_kwargs["batch_size"],
        warmup=plan.n_epochs_kl_warmup)


def losses(model):
    "Of each epoch: KL weight, reconstruction loss and KL per cell that was trained on (9 in 10)."
    names = dict(recon="reconstruction_loss_train", kl="kl_local_train", loss="train_loss")
    epochs, plan = len(model.history["train_loss"]), model.trainer.lightning_module
    beta = [min(epoch / plan.n_epochs_kl_warmup, 1) for epoch in range(epochs)]
    values = {k: list(map(float, model.history[name].iloc[:, 0])) for k, name in names.items()}
    return dict(epoch=list(range(1, epochs + 1)), beta=beta) | values


def peak_mb():
    "Peak resident memory of this process in MB."
    status = Path("/proc/self/status")
    if status.exists():
        line = next(l for l in status.read_text().splitlines() if l.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    import resource
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main():
    args = arguments()
    if args.parent: end_with(args.parent)
    import scvi, torch  # takes seconds and memory, and is no part of what is recorded of either
    imported = peak_mb()
    X = read_counts(args.counts)
    batches, labels = (p and read_names(p, X.shape[0]) for p in (args.batches, args.labels))
    if labels is not None and (labels == UNKNOWN).all():
        sys.exit(f"{args.labels} names no type: SCANVI needs some cells of which it is known")
    pairs = read_pairs(args.compare, X.shape[0]) if args.compare else []
    warnings.filterwarnings("ignore", module="lightning|scvi|anndata")
    torch.set_num_threads(args.threads)
    start, cpu = time.perf_counter(), time.process_time()
    model, epoch_seconds = train(X, args, batches)
    last, scanvi = (model, None) if labels is None else go_on(model, args, labels)
    Z = last.get_latent_representation()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    packages = ("torch", "numpy", "scvi-tools")
    versions = {"python": platform.python_version()} | {p: metadata.version(p) for p in packages}
    report = dict(
        counts=args.counts.name, method=args.method, seed=args.seed, seconds=round(seconds, 2),
        cpu_seconds=round(cpu, 2), epoch_seconds=epoch_seconds, peak_mb=round(peak_mb()),
        imported_mb=round(imported), threads=args.threads, versions=versions,
        settings=settings(model), losses=losses(model))
    if batches is not None: report["batches"] = len(set(batches))
    if scanvi: report["scanvi"] = scanvi
    named, report["compared"] = {}, {}   # seconds of each comparison
    for way in ("plain", "corrected")[:1 if batches is None else 2]:
        tables, report["compared"][way] = compared(last, pairs, way == "corrected")
        named |= {f"{way}.{i}": table for i, table in enumerate(tables)}
    if scanvi: named["types"] = last.predict(soft=True)
    write(args.out, Z, report, named)


def write(out, Z, report, tables):
    "The report last, so that where there is one the rest is whole."
    out.parent.mkdir(parents=True, exist_ok=True)
    np.save(f"{out}.npy", Z)
    for name, table in tables.items(): table.to_csv(f"{out}.{name}.csv")
    part = Path(f"{out}.json.part")
    part.write_text(json.dumps(report))
    os.replace(part, f"{out}.json")


if __name__ == "__main__": main()
