"The exercises can be solved, and who has not solved them yet is told what to do."
import json
from pathlib import Path
import matplotlib, pytest

course = Path(__file__).parents[1]/"course"
SOLUTIONS = {  # exercise -> the bodies of its gaps, in order
    "1_collapse": ["""
    return (mu ** 2 + log_var.exp() - 1 - log_var).sum(1).mean() / 2""", """
    X = X - X.mean(0)
    return np.linalg.eigvalsh(X.T @ X / (len(X) - 1))[-1]""", """
    return eigenvalues[6] / 2, (eigenvalues[0] * eigenvalues[1]) ** .5, 2 * eigenvalues[0]"""],
    "2_beta": ["""
    return beta * n_genes / 2""", """
    return beta * min(epoch / cap, 1)""", """
    return dict(recon="rises", kl="falls", used="falls")""", """
    return int((Z.std(0) > .1).sum())"""],
    "3_likelihood": ["""
    return mean - x * mean.log() + torch.lgamma(x + 1)""", """
    whole = torch.lgamma(x + theta) - torch.lgamma(theta) - torch.lgamma(x + 1)
    return -(whole + theta * (theta / (theta + mean)).log() + x * (mean / (theta + mean)).log())""",
    """
    return mean ** 2 / (variance - mean) if variance > mean else np.inf""", """
    x, mean = torch.as_tensor(counts).double(), torch.as_tensor(counts.mean(0)).double()
    if theta is None: nats = poisson_nats(x, mean)
    else: nats = nb_nats(x, mean, torch.as_tensor(theta).double())
    return nats.sum(1).mean()"""],
    "4_batches": ["""
    near = NearestNeighbors(n_neighbors=k).fit(Z).kneighbors()[1]
    return (groups[near] == groups[:, None]).mean()""", """
    return Z - pd.DataFrame(Z).groupby(batch).transform("mean").to_numpy()""", """
    shares = pd.crosstab(np.asarray(types), np.asarray(batches), normalize="index")
    return sorted(shares.index[shares.max(axis=1) >= .95])""", """
    rows = {name: dict(own_batch=own_share(Z, batch), own_type=own_share(Z, kind))
            for name, Z in spaces.items()}
    return pd.DataFrame(rows).T"""],
    "5_trust": ["""
    table = pd.crosstab(np.asarray(clusters), np.asarray(types)).to_numpy()
    pairs = lambda numbers: sum(comb(int(n), 2) for n in numbers)
    S, A, B = pairs(table.ravel()), pairs(table.sum(1)), pairs(table.sum(0))
    E = A * B / comb(int(table.sum()), 2)
    return (S - E) / ((A + B) / 2 - E)""", """
    return np.random.default_rng(seed).permutation(clusters)""", """
    return dict(mean=np.mean(scores), sd=np.std(scores, ddof=1), worst=min(scores),
                best=max(scores))""", """
    error = sum(np.var(s, ddof=1) / len(s) for s in (ours, baseline)) ** .5
    apart = np.mean(ours) - np.mean(baseline)
    if abs(apart) <= 2 * error: return "cannot tell"
    return "better" if apart > 0 else "worse" """]}
each = pytest.mark.parametrize("name", SOLUTIONS)


def cells(name):
    "Kind and source of the code cells of an exercise."
    nb = json.loads((course/f"{name}.ipynb").read_text(encoding="utf-8"))
    codes = [c for c in nb["cells"] if c["cell_type"] == "code"]
    assert not [c for c in codes if c["outputs"]], "a solution may stand in outputs"
    return [(c["id"].split("-")[0], "".join(c["source"])) for c in codes]


def filled(gap, solution):
    "A gap with the body that solves it."
    head, mark, _ = gap.partition("    raise NotImplementedError(")
    assert mark, "a gap raises NotImplementedError"
    return head.rstrip("\n") + solution


def run(sources):
    "What the cells leave behind, executed in order."
    matplotlib.use("Agg")
    names = {"__name__": "exercise"}
    for source in sources: exec(source, names)
    return names


def test_every_exercise_has_its_solution():
    assert {p.stem for p in course.glob("*.ipynb")} == set(SOLUTIONS)
    page = (course/"README.md").read_text(encoding="utf-8")
    assert not [name for name in SOLUTIONS if f"({name}.ipynb)" not in page]


@each
def test_a_solved_exercise_passes_all_checks(name, capsys):
    solutions = iter(SOLUTIONS[name])
    run([filled(code, next(solutions)) if kind == "gap" else code for kind, code in cells(name)])
    assert not list(solutions), "there are more solutions than gaps"
    n_checks = sum(kind == "check" for kind, _ in cells(name))
    assert capsys.readouterr().out.count("solved") == n_checks


@each
def test_an_unsolved_exercise_says_whose_turn_it_is(name):
    with pytest.raises(NotImplementedError, match="^Your turn: "):
        run([code for _, code in cells(name)])


@each
def test_an_exercise_reads_like_the_notebooks(name):
    assert not [line for _, code in cells(name) for line in code.split("\n") if len(line) > 100]
