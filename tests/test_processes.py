"Processes that torchrun starts train one model, and it is the one that a single process trains."
import json, os, shutil, signal, subprocess, sys, time
import anndata, numpy as np, psutil, pytest, torch, typer
import scvae
from scvae import cli
from scvae.checkpoints import Checkpoint
from scvae.processes import Ranks
from scvae.streaming import write_synthetic

SMALL = dict(n_latent=3, hidden=(8,), epochs=12, batch_size=64, device="cpu", precision="float32",
             progress=False)
CASES = {
    "gaussian": {},
    "counts and batches": dict(likelihood="nb", batch_key="batch", beta=1.),
    "dropout": dict(dropout=.2, norm="layer", sphere=True),
    "thinning": dict(thinning=.5, likelihood="zinb"),
    "early stopping": dict(held_out=.2, patience=3, lr=.05),
}
REFUSED = {"norm='batch' needs": dict(norm="batch"), "free_bits=0.1 needs": dict(free_bits=.1),
           "contrast=1": dict(contrast=1.), "'calibrated' needs": dict(likelihood="calibrated"),
           "too few for": dict(batch_size=1)}


def cells(): return scvae.synthetic(200, 40, n_types=3, random_state=0)


@pytest.fixture(autouse=True)
def one_thread():
    "As in processes of torchrun: the number of threads is part of a result."
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def torchrun(n, *words, restarts=0, host=(), meet=("--standalone",), **more):
    "Start a program in several processes, on this host or in a namespace."
    line = [*host, sys.executable, "-m", "torch.distributed.run", *meet, f"--nproc-per-node={n}",
            f"--max-restarts={restarts}", *map(str, words)]
    quiet = os.environ | dict(OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore") | more
    return subprocess.Popen(line, env=quiet, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def ended(started, seconds=120):
    "Exit code, and what was written to standard output and error; no process is left."
    children = psutil.Process(started.pid).children(recursive=True)
    out, said = started.communicate(timeout=seconds)
    gone, left = psutil.wait_procs(children, timeout=20)
    assert not left
    return started.returncode, out, said


def as_script(path, body):
    "A program that imports what is in this file."
    here = os.path.dirname(os.path.abspath(__file__))
    path.write_text(f"import sys\nsys.path.insert(0, {here!r})\nimport os, json, numpy as np\n"
                    f"import torch, scvae\nfrom test_processes import *\n{body}")
    return path


def fitted(**how):
    "History and latents of a fit."
    adata = cells()
    vae = scvae.fit(adata, **SMALL | how)
    return vae.history.to_dict("list"), adata.obsm["X_scvae"]


def close(a, b):
    "Whether two fits are the same within rounding."
    (history, Z), (others, same) = a, b
    assert history.keys() == others.keys()
    for name in history: np.testing.assert_allclose(others[name], history[name], rtol=1e-4)
    np.testing.assert_allclose(same, Z, atol=1e-3 * Z.std())


FITS = """
names, out = json.loads(sys.argv[1]), sys.argv[2]
found = {name: fitted(**CASES[name]) for name in names}
rank = os.environ["RANK"]
for name, (history, Z) in found.items():
    json.dump([history, Z.tolist()], open(f"{out}/{name} {rank}.json", "w"))
for said, how in REFUSED.items():
    try: fitted(**how)
    except ValueError as e: assert said in str(e), e
    else: raise AssertionError(how)
try: scvae.fit_many(cells(), 2)
except ValueError as e: assert "does not go with torchrun" in str(e), e
assert not torch.distributed.is_initialized()
try: fitted(random_state=int(rank))
except (ValueError, RuntimeError) as e: assert "random_state" in str(e) or "ended" in str(e), e
"""


@pytest.mark.parametrize("n, names", [(2, list(CASES)), (4, ["gaussian", "thinning"])])
def test_several_processes_train_the_model_of_one(tmp_path, n, names):
    script = as_script(tmp_path/"fits.py", FITS)
    code, _, said = ended(torchrun(n, script, json.dumps(names), tmp_path))
    assert code == 0, said
    for name in names:
        found = [json.load(open(tmp_path/f"{name} {rank}.json")) for rank in range(n)]
        assert all(each == found[0] for each in found)
        close(fitted(**CASES[name]), (found[0][0], np.array(found[0][1])))


KILLED = """
def callback(epoch, net):
    last = {"0": 5, "1": 9}[os.environ["TORCHELASTIC_RESTART_COUNT"]]
    if epoch == last and os.environ["RANK"] == "1": os.kill(os.getpid(), signal.SIGKILL)
fitted(checkpoint=Checkpoint(sys.argv[1], every=0), resume=True, callback=callback)
"""


@pytest.mark.slow
def test_a_killed_process_ends_all_and_nothing_is_lost(tmp_path):
    "It is killed, started again by torchrun, killed again; and then one process goes on."
    script, kept = as_script(tmp_path/"killed.py", KILLED), tmp_path/"kept"
    code, _, said = ended(torchrun(2, script, kept, restarts=1))
    assert code != 0 and "another process of this training ended" in said
    assert said.count("is not there yet") == said.count("going on in epoch 5 of 12") == 1
    with pytest.warns(UserWarning, match="processes was 2 and is 1"):
        close(fitted(), fitted(checkpoint=kept, resume=True))
    assert not kept.exists()


HANGS = """
from scvae import processes
processes.PATIENCE = processes.timedelta(seconds=10)
def callback(epoch, net):
    if epoch < 5 or os.environ["RANK"] == "0": return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)   # so that torchrun can end it at once
    time.sleep(600)
fitted(checkpoint=Checkpoint(sys.argv[1], every=0), callback=callback)
"""


@pytest.mark.slow
def test_a_process_that_hangs_ends_all_and_nothing_is_lost(tmp_path):
    "The others wait for as long as their patience lasts."
    script, kept = as_script(tmp_path/"hangs.py", HANGS), tmp_path/"kept"
    code, _, said = ended(torchrun(2, script, kept))
    assert code != 0 and "another process of this training ended or cannot be reached" in said
    with pytest.warns(UserWarning, match="processes was 2 and is 1"):
        close(fitted(), fitted(checkpoint=kept, resume=True))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("cells")/"cells.h5ad"
    write_synthetic(path, n_cells=300, n_genes=60, n_types=3, random_state=0)
    return path


@pytest.mark.slow
def test_the_command_streams_with_several_processes(tmp_path, file):
    line = ["-m", "scvae", "fit", file, "--epochs", 3, "--no-report", "--stream"]
    line += ["--set", "precision=float32"]   # in which sums of two differ least
    code, out, said = ended(torchrun(2, *line, "-o", tmp_path/"two"))
    assert code == 0, said
    once = ("reading", "2 processes (gloo)", "2/2 cluster")
    assert [said.count(what) for what in once] == [1] * 3
    assert out.count("300 cells") == 1
    one = scvae.fit(file, epochs=3, progress=False, stream=True, precision="float32")
    two = anndata.read_h5ad(tmp_path/"two"/"adata.h5ad").obsm["X_scvae"]
    np.testing.assert_allclose(two, one.cells.obsm["X_scvae"], atol=1e-3)
    model = scvae.load_model(tmp_path/"two"/"model")
    assert model.settings["trained_with"]["processes"] == 2


FILLS = """
import errno, tempfile
class Full:
    def write(self, values): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
if os.environ["RANK"] == "0": tempfile.TemporaryFile = lambda dir: Full()
scvae.fit(sys.argv[1], stream=True, **SMALL)
"""


@pytest.mark.slow
def test_a_disk_that_fills_ends_all(tmp_path, file):
    "The first process makes the scratch; the other waits for it, and not for ever."
    code, _, said = ended(torchrun(2, as_script(tmp_path/"fills.py", FILLS), file))
    assert code != 0 and "scratch space in" in said and "No space left" in said


@pytest.mark.slow
def test_the_command_stops_all_and_goes_on(tmp_path, file):
    line = ["-m", "scvae", "fit", file, "--epochs", 400, "--no-report", "-o", tmp_path/"run"]
    started = torchrun(2, *line)
    while "2 processes" not in started.stderr.readline(): assert started.poll() is None
    time.sleep(1)
    started.send_signal(signal.SIGTERM)
    code, _, said = ended(started)
    assert code != 0 and said.count("stopped in epoch") == 1
    assert "torchrun --nproc-per-node=2 -m scvae fit" in said and "--resume" in said
    assert [p.name for p in tmp_path.iterdir()] == ["run.checkpoint"]


def test_an_error_of_all_is_told_once(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    store = torch.distributed.HashStore()
    for rank, end in enumerate((FileNotFoundError, typer.Exit)):
        ranks = Ranks(rank, 2, store=store)
        monkeypatch.setattr("scvae.processes.from_torchrun", lambda ranks=ranks: ranks)
        with pytest.raises(end), cli.as_one(): raise FileNotFoundError("there is no file")


def test_other_commands_are_refused(tmp_path):
    environment = os.environ | dict(RANK="0", WORLD_SIZE="2")
    line = [sys.executable, "-m", "scvae", "data"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "start this without torchrun" in done.stderr


HOSTS = {f"scvae{os.getpid()}{i}": f"10.79.0.{i}" for i in (1, 2)}   # namespace -> address


def lay_cable():
    "Two network namespaces, joined as two hosts by a cable: they share the files, not the network."
    ip = lambda *words: subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    for host in HOSTS: ip("netns", "add", host)
    one, two = HOSTS
    ip("-n", one, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", two)
    for host, address in HOSTS.items():
        ip("-n", host, "addr", "add", f"{address}/24", "dev", "cable")
        for device in "cable", "lo": ip("-n", host, "link", "set", device, "up")


def remove(host):
    "End what runs in a namespace, and the namespace."
    running = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True).stdout
    for pid in running.split(): os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", host], capture_output=True)


@pytest.fixture
def hosts():
    "Namespaces as two hosts, where the system allows it; none is left."
    if sys.platform != "linux" or os.geteuid() or not shutil.which("ip"):
        pytest.skip("two hosts on one machine take root on Linux, and the command ip (iproute2)")
    try:
        try: lay_cable()
        except subprocess.CalledProcessError as e: pytest.skip(f"no namespaces: {e.stderr.strip()}")
        yield
    finally:
        for host in HOSTS: remove(host)


def on_each_host(tmp_path, *words, nodes="2", **how):
    "Start one torchrun on each; the first is where they meet, and where rank 0 is."
    first = next(iter(HOSTS.values()))
    for i, (host, address) in enumerate(HOSTS.items()):
        meet = [f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={first}:29500",
                f"--rdzv-conf=is_host={int(not i)},last_call_timeout=1", f"--local-addr={address}"]
        own = tmp_path/f"scratch of host {i}"
        own.mkdir()
        yield torchrun(1, *words, host=["ip", "netns", "exec", host], meet=meet, TMPDIR=str(own),
                       GLOO_SOCKET_IFNAME="cable", **how)


@pytest.mark.slow
def test_two_hosts_train_the_model_of_one(tmp_path, file, hosts):
    "The command, streaming: each host has its scratch, and one of them writes the run."
    line = ["-m", "scvae", "fit", file, "--no-report", "--stream", "--epochs", 8, "--n-latent", 3,
            "--beta", .001, "--set", "precision=float32", "-o", tmp_path/"run"]
    (code, out, said), second = map(ended, list(on_each_host(tmp_path, *line)))
    assert (code, second[0]) == (0, 0), said + second[2]
    assert said.count("2 processes (gloo)") == out.count("300 cells") == 1
    assert not second[1] and "processes" not in second[2] and "train" not in second[2]
    assert sorted(p.name for p in tmp_path.glob("run*/*")) == ["adata.h5ad", "model",
                                                                "sample.h5ad"]
    two = scvae.load_model(tmp_path/"run"/"model")
    assert two.settings["trained_with"]["processes"] == 2
    how = dict(epochs=8, n_latent=3, beta=.001, precision="float32", stream=True)
    one = scvae.fit(file, progress=False, **how)
    Z = anndata.read_h5ad(tmp_path/"run"/"adata.h5ad").obsm["X_scvae"]
    close((one.history.to_dict("list"), one.cells.obsm["X_scvae"]),
          (two.history.to_dict("list"), Z))


LOST = """
def callback(epoch, net):
    if epoch < 5 or os.environ["RANK"] == "0" or os.environ["WORLD_SIZE"] == "1": return
    for process in os.getppid(), os.getpid(): os.kill(process, signal.SIGKILL)
history, Z = fitted(checkpoint=Checkpoint(sys.argv[1], every=0), resume=True, callback=callback)
json.dump([history, Z.tolist()], open(sys.argv[2], "w"))
"""


@pytest.mark.slow
def test_a_host_goes_on_alone_when_the_other_is_lost(tmp_path, hosts):
    "Nothing of a host is left, not even torchrun: that of the other starts again from the state."
    script, found = as_script(tmp_path/"lost.py", LOST), tmp_path/"found.json"
    words = script, tmp_path/"kept", found
    first, lost = on_each_host(tmp_path, *words, nodes="1:2", restarts=1)
    (code, _, said), (killed, *_) = ended(first), ended(lost)
    assert (code, killed) == (0, -signal.SIGKILL), said
    assert "another process of this training ended" in said
    assert "going on in epoch 5 of 12" in said
    history, Z = json.load(open(found))
    close(fitted(), (history, np.array(Z)))


def test_no_more_threads_or_processes_than_a_job_may_have(monkeypatch):
    "A container with a share of one core, on a machine with more."
    from scvae.workers import Workers
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    torch.set_num_threads(2)
    vae = scvae.fit(cells(), None, **SMALL | dict(epochs=1))
    assert vae.settings["trained_with"]["threads"] == 1 and torch.get_num_threads() == 2
    with Workers() as pool: assert pool._max_workers == 1


UNGUARDED = """
print("once", flush=True)
def callback(epoch, net): assert epoch <= limit
limit, adata = SMALL["epochs"], cells()
how = dict(callback=callback, checkpoint=sys.argv[1])
scvae.fit_many(adata, 2, workers=2, stacked=False, **SMALL | how)
print(sorted(adata.obsm))
"""


@pytest.mark.slow
def test_workers_do_not_run_the_program_that_starts_them(tmp_path):
    "It has no `if __name__ == \"__main__\":`, and a callback of its own."
    line = [sys.executable, as_script(tmp_path/"fits.py", UNGUARDED), tmp_path/"kept"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=900)
    assert done.stdout == "once\n['X_scvae_0', 'X_scvae_1']\n", done.stderr
