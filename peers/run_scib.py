"""Score representations of the same cells with scib-metrics: types kept apart, batches mixed.

IN.npz holds `label` and `batch` (a name for each cell; if all are of one batch, mixing is not
judged), `base` (cells x dimensions, such as the PCA of the matrix before integration, against which
the regression on batches is compared) and any number of representations, `Z_name` (cells x
dimensions). OUT.json holds {name: {metric: value}} and `versions`. No metric is rescaled among the
representations, so each scores the same in any company. What a metric cannot tell is null, and the
means are over the others."""
import argparse, json, math, os, platform, sys, warnings
from importlib import metadata, util
from pathlib import Path
import numpy as np
from run_scvi import end_with


def arguments(argv=None):
    "What was asked for; what cannot be done is told in one sentence, with exit code 2."
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    add = parser.add_argument
    add("data", type=Path, nargs="?", metavar="IN.npz", help="as numpy.savez wrote it")
    add("out", type=Path, nargs="?", metavar="OUT.json", help="where to write")
    add("--serve", action="store_true", help="instead of the two files, read pairs of them from "
        "the input, a line each with a tab between, and answer each with the line `done`: what is "
        "compiled for the first serves all")
    add("--threads", type=int, default=1, help="threads that are used [1]")
    add("--parent", type=int, help="end when the process with this id, the starter, is gone")
    args = parser.parse_args(argv)
    if fault := fault_of(args): parser.error(fault)
    return args


def fault_of(args):
    "What cannot be done, in a sentence, or None."
    if args.threads < 1: return f"--threads is {args.threads}: give 1 or more"
    if args.serve != (args.out is None): return "give IN.npz and OUT.json, or --serve"
    if not args.serve and not args.data.is_file():
        return f"there is no file {args.data}: write the representations there with numpy.savez"
    if util.find_spec("scib_metrics") is None:
        return (f"{sys.executable} has no scib-metrics: use .venv-scib/bin/python, "
                "which `make integration` sets up")


def read(path):
    "Names of each cell, base and representations, or a sentence on what is wrong with them."
    try:
        with np.load(path, allow_pickle=False) as file: arrays = {k: file[k] for k in file.files}
    except Exception as e:
        sys.exit(f"{path} cannot be read as arrays of names and numbers ({type(e).__name__}): "
                 "write it again with numpy.savez, names as text and not as objects")
    names, matrices = ("label", "batch"), [k for k in arrays if k.startswith("Z_")] + ["base"]
    if missing := [k for k in (*names, *matrices) if k not in arrays]:
        sys.exit(f"{path} has no {missing[0]}: see --help for what it has to hold")
    if fault := fault_in(arrays, names, matrices): sys.exit(f"{path}: {fault}")
    for k in names: arrays[k] = arrays[k].astype(str)
    return {k: arrays[k] for k in names} | {k: arrays[k].astype(np.float32) for k in matrices}


def fault_in(arrays, names, matrices):
    "What the metrics cannot work with, in a sentence, or None."
    n_cells = len(np.atleast_1d(arrays["label"]))
    if not any(k.startswith("Z_") for k in matrices):
        return "there is no representation: add one as Z_name"
    if "Z_versions" in matrices: return "a representation cannot be called versions: rename it"
    for k in (*names, *matrices):
        wanted, values = (1 if k in names else 2), arrays[k]
        if values.ndim != wanted or len(values) != n_cells:
            return f"{k} is {values.shape}: it needs {wanted} dimension(s) and {n_cells} cells"
        if wanted == 2 and (values.dtype.kind not in "fiu" or not np.isfinite(values).all()):
            return f"{k} holds what is no finite number: the metrics need numbers"
        if k == "label" and len(np.unique(values)) < 2:
            return "label is the same for all cells: there is nothing to be told apart"
    if n_cells <= 90: return f"there are {n_cells} cells: neighbourhoods of 90 need more"


def limit_threads(threads):
    "Keep every library to this many threads; those of BLAS and OpenMP once they are there."
    flags = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import numba, scib_metrics
    from threadpoolctl import threadpool_limits
    threadpool_limits(threads), numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))


def score(data, threads):
    "Representation -> metric -> value, by scib-metrics' own benchmark."
    import anndata, pandas as pd
    from scib_metrics.benchmark import BatchCorrection, Benchmarker, BioConservation
    cells = [str(i) for i in range(len(data["label"]))]
    obs = pd.DataFrame({"batch": data["batch"], "label": data["label"]}, index=cells)
    obs = obs.astype("category")
    adata = anndata.AnnData(np.zeros((len(obs), 2), np.float32), obs=obs)
    for k in data.keys() - {"batch", "label"}: adata.obsm[k] = data[k]
    names = [k for k in data if k.startswith("Z_")]
    mixing = BatchCorrection() if obs.batch.nunique() > 1 else None
    bench = Benchmarker(
        adata, batch_key="batch", label_key="label", embedding_obsm_keys=names,
        pre_integrated_embedding_obsm_key="base", bio_conservation_metrics=BioConservation(),
        batch_correction_metrics=mixing,
        n_jobs=threads, progress_bar=False)
    bench.benchmark()
    table = bench.get_results(min_max_scale=False).drop("Metric Type")
    return {k.removeprefix("Z_"): {m: number(v) for m, v in table.loc[k].items()} for k in names}


def number(value):
    "As JSON has it: null where the metric could not tell."
    value = float(value)
    return round(value, 6) if math.isfinite(value) else None


def write(out, report):
    "In one go, so that where there is a report it is whole."
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(f"{out}.part")
    part.write_text(json.dumps(report, allow_nan=False))
    os.replace(part, out)


def main():
    args = arguments()
    if args.parent: end_with(args.parent)
    warnings.filterwarnings("ignore")
    if not args.serve: return once(args.data, args.out, args)
    for line in sys.stdin:
        once(*map(Path, line.rstrip("\n").split("\t")), args)
        print("done", flush=True)


def once(path, out, args):
    "Score what one file holds."
    data = read(path)
    limit_threads(args.threads)
    packages = ("scib-metrics", "jax", "numpy", "scikit-learn", "scanpy", "pynndescent")
    versions = {"python": platform.python_version()} | {p: metadata.version(p) for p in packages}
    write(out, score(data, args.threads) | dict(versions=versions))


if __name__ == "__main__": main()
