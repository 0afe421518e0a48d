"Every recorded row has the key that its settings give, and the studies define these settings."
import json
from pathlib import Path
import pandas as pd, pytest
from scvae.studies import beta, collapse, evaluate, hvg
from scvae.studies.criteria import search_key
from scvae.studies.datasets import contenders
from scvae.studies.recipes import LATER, run_key, settings_of
from scvae.studies.votes import ensemble_key

results = Path(__file__).parents[1]/"nbs"/"results"

# Files whose rows are not made by a key: measurements of speed, what others published, pictures
NO_KEY = {"benchmark", "choices", "cold_start", "consensus_cells_zeisel4k", "faults", "leiden",
          "many", "precision", "published", "quality_by_time", "scale", "scib_metrics", "epochs"}

# Files that belong to rows of another: a key, and no settings of their own
OF_ANOTHER = {"beta_curves": ["beta"], "collapse_curves": ["collapse"],
              "consensus_ambiguity": ["consensus", "consensus_today"]}

ENSEMBLES = {"consensus", "consensus_today"}


def read(name):
    return pd.read_csv(results/f"{name}.csv", dtype={"key": str})


def recomputed(name, row):
    "The key of a row, from its settings, by the code that made it."
    settings = json.loads(row.settings)
    if name == "search": return search_key(settings, row.dataset, row.seeds)
    if name == "batches": return run_key(settings, row.seed)
    if name in ENSEMBLES:
        method, seeds, spoiled = (settings.pop(k) for k in ("consensus", "seeds", "spoiled"))
        return ensemble_key(LATER | settings, seeds, method, spoiled)
    return run_key(LATER | settings, row.seed)


names = sorted(p.stem for p in results.glob("*.csv"))
keyed = [n for n in names if n not in NO_KEY and n not in OF_ANOTHER]


def test_every_file_is_keyed_or_named_here():
    with_keys = {n for n in names if {"key", "settings"} <= set(read(n).columns)}
    assert with_keys == set(keyed)
    assert NO_KEY | set(OF_ANOTHER) <= set(names), "a file that is gone is still named"


@pytest.mark.parametrize("name", keyed)
def test_keys_of_all_rows(name):
    rows = read(name)
    assert len(rows) and rows.key.notna().all()
    told_apart = [c for c in ("key", "settings", "seed", "seeds", "dataset") if c in rows]
    for row in rows.drop_duplicates(told_apart).itertuples():
        assert recomputed(name, row) == row.key, f"{name}.csv: {row.settings}"


@pytest.mark.parametrize("name, settings", [
    ("beta", {"beta": 0.7}), ("search", {"beta": 0.7}), ("batches", {"method": "other"}),
    ("consensus", {"spoiled": 3})])
def test_a_key_notices_another_setting(name, settings):
    row = read(name).iloc[0]
    row["settings"] = json.dumps(json.loads(row.settings) | settings, sort_keys=True)
    assert recomputed(name, row) != row.key


@pytest.mark.parametrize("name", OF_ANOTHER)
def test_keys_that_point_to_other_rows(name):
    assert set(read(name).key) <= set(pd.concat([read(rows) for rows in OF_ANOTHER[name]]).key)


def all_contenders():
    cells = read("datasets").groupby("dataset").n_cells.first()
    return [r for dataset, n_cells in cells.items() for r in contenders(dataset, n_cells)]


STUDIES = {
    "beta": beta.RECIPES, "sweep": beta.SWEEP, "unreported": beta.UNREPORTED, "hvg": hvg.RECIPES,
    "evaluate": evaluate.RECIPES, "collapse": collapse.RECIPES, "datasets": all_contenders}


@pytest.mark.parametrize("name", STUDIES)
def test_studies_define_what_was_recorded(name):
    recipes = STUDIES[name]() if callable(STUDIES[name]) else STUDIES[name]
    defined = {(r["recipe"], settings_of(r)) for r in recipes}
    recorded = set(read(name)[["recipe", "settings"]].itertuples(index=False, name=None))
    assert recorded == defined
