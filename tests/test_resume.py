"A training that is ended at any moment goes on, and comes out the same to the last bit."
import multiprocessing, os, random, signal, time
from concurrent.futures import ThreadPoolExecutor
import numpy as np, pytest, torch
import scvae
from scvae.checkpoints import Checkpoint, sha256_of
from scvae.fitting import fit
from scvae.many import fit_many
from scvae.train import ENGINE

SMALL = dict(n_latent=3, hidden=(8,), epochs=25, batch_size=64, device="cpu", precision="float32",
             progress=False)
CASES = {
    "gaussian": {},
    "batches": dict(likelihood="nb", batch_key="batch", beta=1.),
    "dropout and batch norm": dict(dropout=.2, norm="batch"),
    "thinning": dict(thinning=.5, likelihood="calibrated"),
    "contrast": dict(contrast=5., sphere=True),
    "early stopping": dict(held_out=.2, patience=8, lr=.02),
    "free bits, by step": dict(free_bits=.1, schedule="cyclical", cap=9, clock="step", beta=1.),
}
WAYS = {"one by one": dict(workers=1), "stacked": dict(stacked=True)}
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
spawned = multiprocessing.get_context("forkserver")   # imports once, then each child is quick
spawned.set_forkserver_preload(["scvae.many", "scvae.data", "torch._dynamo"])


def cells():
    return scvae.synthetic(200, 40, n_types=3, random_state=0)


@pytest.fixture(autouse=True)
def one_thread():
    "As in a worker: the number of threads is part of a result."
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def one(case, **more):
    "A digest of the weights, history and latents of a fit."
    adata = cells()
    vae = fit(adata, **SMALL | CASES[case] | more)
    return digest(vae, adata.obsm["X_scvae"])


def digest(vae, latents):
    weights = sha256_of(vae.net.state_dict().values())
    return weights, vae.history.to_json(double_precision=15), sha256_of([latents])


def several(way, **more):
    adata = cells()
    vaes = fit_many(adata, (0, 5), **SMALL | (WAYS[way] if isinstance(way, str) else way) | more)
    return [digest(vae, vae.encode(adata)) for vae in vaes]


def in_a_child(function, name, folder):
    "What a child process does, until somebody ends it."
    os.setsid()   # a group of its own, as in a terminal
    torch.set_num_threads(1)
    function(name, checkpoint=Checkpoint(folder, every=0), resume=True)


def ended(function, name, folder, number, wait, group=False):
    "The exit code of a child that was sent a signal after it had written a checkpoint."
    child = spawned.Process(target=in_a_child, args=(function, name, folder))
    written = lambda: {path: path.stat().st_mtime_ns for path in folder.glob("*.checkpoint")}
    before = written()
    child.start()
    deadline = time.monotonic() + 120
    while child.is_alive() and written() == before:
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(.005)
    time.sleep(wait)
    try: (os.killpg if group else os.kill)(child.pid, number)
    except ProcessLookupError: pass   # it had finished
    child.join(120)
    assert child.exitcode is not None
    return child.exitcode


def check_code(code, number):
    "As a shell expects it; 0 where training was faster than the signal."
    if number == signal.SIGKILL: assert code in (-number, 0)
    elif number == signal.SIGINT: assert code in (0, 1)   # 1: `multiprocessing` caught it
    else: assert code in (128 + number, 0)


@pytest.mark.parametrize("case", CASES)
def test_a_fit_goes_on_to_the_same_bits(case, tmp_path):
    moments = random.Random(case)
    expected, codes = one(case), []
    for number in moments.sample(SIGNALS, 2):   # the same training is ended twice
        codes.append(ended(one, case, tmp_path/"kept", number, moments.uniform(0, .15)))
        check_code(codes[-1], number)
    assert any(codes), "no signal came in time"
    assert one(case, checkpoint=tmp_path/"kept", resume=True) == expected
    assert not (tmp_path/"kept").exists()


@pytest.mark.parametrize("way", WAYS)
def test_many_go_on_to_the_same_bits(way, tmp_path):
    expected, moments = several(way), random.Random(way)
    for number in (signal.SIGTERM, signal.SIGKILL):
        check_code(ended(several, way, tmp_path/"kept", number, moments.uniform(0, .2)), number)
    assert several(way, checkpoint=tmp_path/"kept", resume=True) == expected
    assert not (tmp_path/"kept").exists()


@pytest.mark.slow
def test_processes_are_stopped_together_and_go_on(tmp_path):
    "Ctrl-C in a terminal reaches every process of it."
    way = dict(workers=2, epochs=60)
    code = ended(several, way, tmp_path/"kept", signal.SIGINT, .1, group=True)
    assert code == 1
    assert len(list((tmp_path/"kept").glob("*.checkpoint"))) >= 1
    alone = dict(workers=1, epochs=60)
    again = several(alone, checkpoint=tmp_path/"kept", resume=True)
    assert again == several(alone)
    assert not (tmp_path/"kept").exists()


# ---------------------------------------------------------------- what is refused

QUICK = SMALL | dict(epochs=3)


def stop_after_two(epoch, net):
    if epoch == 2: raise KeyboardInterrupt


@pytest.fixture
def kept(tmp_path):
    "The folder of a fit that was stopped."
    folder = tmp_path/"kept"
    with pytest.raises(KeyboardInterrupt, match="epoch 2 of 3, .*resume=True to go on"):
        fit(cells(), checkpoint=folder, callback=stop_after_two, **QUICK)
    return folder


OTHER = {
    "epochs": (dict(epochs=9), "epochs was 3 and is 9"),
    "width": (dict(hidden=(9,)), "hidden was .8. and is .9."),
    "seed": (dict(random_state=1), "random_state was 0 and is 1"),
    "weight": (dict(weight=np.full(40, 2.)), "other gene weights"),
    "genes": (dict(n_top_genes=30), "n_top_genes was 1500 and is 30"),
    "batches": (dict(batch_key="batch"), "batch_key was None and is batch"),
    "precision": (dict(precision="bfloat16"), "precision was float32 and is bfloat16"),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_run_is_refused_and_the_checkpoint_stays(name, kept):
    change, said = OTHER[name]
    before = (kept/"fit.checkpoint").read_bytes()
    with pytest.raises(ValueError, match=f"another run .*{said}"):
        fit(cells(), checkpoint=kept, resume=True, **QUICK | change)
    assert (kept/"fit.checkpoint").read_bytes() == before


def test_other_cells_threads_and_engines_are_refused(kept, monkeypatch):
    again = lambda adata: fit(adata, checkpoint=kept, resume=True, **QUICK)
    other = cells()
    other.X[0, 0] += 1
    with pytest.raises(ValueError, match="other cells"): again(other)
    torch.set_num_threads(2)
    with pytest.raises(ValueError, match="OMP_NUM_THREADS. was 1 and is 2"): again(cells())
    torch.set_num_threads(1)
    monkeypatch.setattr("scvae.train.ENGINE", 0)
    with pytest.raises(ValueError, match=f"engine was {ENGINE} and is 0"): again(cells())


def test_what_may_differ(kept):
    expected = fit(cells(), **QUICK).encode(cells())
    adata = cells()
    adata.layers["counts"], adata.X = adata.X, adata.X * .5
    more = dict(layer="counts", key_added="Z", progress=True)
    fit(adata, checkpoint=str(kept), resume=True, **QUICK | more)
    np.testing.assert_array_equal(adata.obsm["Z"], expected)


DAMAGES = {
    "empty": lambda raw: b"", "cut": lambda raw: raw[:-50], "text": lambda raw: b"hello",
    "a bit": lambda raw: raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_is_one_sentence(name, kept):
    path = kept/"fit.checkpoint"
    path.write_bytes(DAMAGES[name](path.read_bytes()))
    with pytest.raises(ValueError, match="fit.checkpoint is damaged.*remove it"):
        fit(cells(), checkpoint=kept, resume=True, **QUICK)


def test_a_checkpoint_of_altered_content_is_one_sentence(kept):
    place = Checkpoint(kept)
    tensors, state, about = place.read()
    changes = {
        "a name is missing": ({k: v for k, v in tensors.items() if "encoder" not in k}, state),
        "a shape": (tensors | {"adam.0.exp_avg": np.zeros((3, 3), np.float32)}, state),
        "a stream": (tensors | {"stream.noise": np.zeros(3, np.uint8)}, state),
        "the order": (tensors, state | {"order": {}}),
        "the history": (tensors, state | {"best": None}),
        "no state": (tensors, {}),
    }
    for changed in changes.values():
        place.write(*changed, about)
        with pytest.raises(ValueError, match="remove it"):
            fit(cells(), checkpoint=kept, resume=True, **QUICK)


def test_a_stopped_run_is_not_overwritten(kept):
    with pytest.raises(FileExistsError, match="resume=True.*to go on with it, or remove it"):
        fit(cells(), checkpoint=kept, **QUICK)


def test_a_checkpoint_of_no_use_is_in_nobodys_way(tmp_path, monkeypatch):
    monkeypatch.setattr("scvae.train.train_epoch", None)   # an error before the first step
    with pytest.raises(TypeError): fit(cells(), checkpoint=tmp_path/"kept", **QUICK)
    monkeypatch.undo()
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        fit(cells(), checkpoint=tmp_path/"kept", **QUICK | dict(lr=1e30))
    assert not (tmp_path/"kept").exists()


def test_the_folder_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/"elsewhere").mkdir()

    def move(epoch, net):
        os.chdir(tmp_path/"elsewhere")
        if epoch == 2: raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt): fit(cells(), checkpoint="kept", callback=move, **QUICK)
    assert (tmp_path/"kept"/"fit.checkpoint").exists()
    assert not list((tmp_path/"elsewhere").iterdir())


def test_nothing_to_go_on_from_starts_anew(tmp_path, capsys):
    expected = fit(cells(), **QUICK).encode(cells())
    vae = fit(cells(), checkpoint=tmp_path, resume=True, **QUICK)
    np.testing.assert_array_equal(vae.encode(cells()), expected)
    assert "starting from the beginning" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []   # the folder was there before, so it stays
    with pytest.raises(ValueError, match="checkpoint="): fit(cells(), resume=True, **QUICK)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path/"file").touch()
    for place in (tmp_path/"file", tmp_path/"file"/"below", "nul\0"):
        with pytest.raises((OSError, ValueError), match="file|NUL"):
            fit(cells(), checkpoint=place, **QUICK)


# ---------------------------------------------------------------- signals


def test_handlers_come_back_and_nothing_changes_without_a_checkpoint(tmp_path):
    mine = lambda number, frame: None
    former = signal.signal(signal.SIGTERM, mine)
    try:
        seen = []
        look = lambda epoch, net: seen.append(signal.getsignal(signal.SIGTERM))
        fit(cells(), callback=look, **QUICK)
        assert set(seen) == {mine}
        fit(cells(), callback=look, checkpoint=tmp_path, **QUICK)
        assert seen[-1] != mine and signal.getsignal(signal.SIGTERM) == mine
    finally: signal.signal(signal.SIGTERM, former)


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    def press_twice(epoch, net):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        fit(cells(), checkpoint=tmp_path, callback=press_twice, **QUICK)


def test_a_signal_after_the_last_step_is_heard(tmp_path):
    def end_late(epoch, net):
        if epoch == 3: signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended_by:
        fit(cells(), checkpoint=tmp_path, callback=end_late, **QUICK)
    assert ended_by.value.code == 143
    again = fit(cells(), checkpoint=tmp_path, resume=True, **QUICK)
    np.testing.assert_array_equal(again.encode(cells()), fit(cells(), **QUICK).encode(cells()))


def test_it_works_in_a_thread(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        kept = pool.submit(fit, cells(), checkpoint=tmp_path, **QUICK).result()
    np.testing.assert_array_equal(kept.encode(cells()), fit(cells(), **QUICK).encode(cells()))


# ---------------------------------------------------------------- random streams, lone cells


def test_threads_do_not_disturb_each_other():
    "Dropout and first weights are drawn from streams of their own."
    torch.manual_seed(11)
    before = torch.get_rng_state()
    draws = lambda seed: one("dropout and batch norm", random_state=seed, epochs=4)
    alone = [draws(seed) for seed in (0, 1, 0, 1)]
    with ThreadPoolExecutor(4) as pool: together = list(pool.map(draws, (0, 1, 0, 1)))
    assert together == alone
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("n, more", [(5, dict(batch_size=2)), (3, dict(batch_size=2)),
                                     (4, dict(batch_size=3, held_out=.25))])
def test_batch_norm_never_sees_a_cell_alone(n, more):
    vae = fit(cells()[:n].copy(), **QUICK | dict(norm="batch") | more)
    assert np.isfinite(vae.history.loss).all()


@pytest.mark.parametrize("n, more", [(5, dict(batch_size=1)), (2, dict(held_out=.5))])
def test_batch_norm_of_a_lone_cell_is_one_sentence(n, more):
    with pytest.raises(ValueError, match="norm='batch'.*norm='layer'"):
        fit(cells()[:n].copy(), **QUICK | dict(norm="batch") | more)


TORCH_SAID = [("dropout", 1.5), ("dropout", "half"), ("random_state", -1), ("random_state", 2**80),
              ("random_state", None), ("epochs", 2.5), ("epochs", "3"), ("lr", "high"),
              ("batch_size", float("nan")), ("cap", 0), ("weight", np.ones(3)),
              ("weight", -np.ones(40)), ("weight", "all"), ("patience", 1.5)]


@pytest.mark.parametrize("name, value", TORCH_SAID)
def test_a_wrong_value_is_named(name, value):
    more = dict(held_out=.2) if name == "patience" else {}
    with pytest.raises((ValueError, TypeError), match=f"^{name}"):
        fit(cells(), **QUICK | more | {name: value})
