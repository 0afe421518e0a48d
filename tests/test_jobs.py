"Job files for clusters are sound, and their commands have the options that they use."
import re, shlex, subprocess
from pathlib import Path
import pytest, typer
from scvae.cli import app

jobs = Path(__file__).parents[1]/"docs"/"jobs"
yaml = pytest.importorskip("yaml")
commands = typer.main.get_command(app).commands
SLURM = set("job-name nodes ntasks ntasks-per-node gpus-per-node cpus-per-task mem time signal "
            "requeue open-mode output array".split())
NEEDED = {"job-name", "cpus-per-task", "mem", "time", "requeue", "output"}
TORCHRUN = set("standalone nproc-per-node max-restarts nnodes rdzv-backend rdzv-endpoint "
               "rdzv-id".split())
by_name = lambda path: path.name


def check_words(words):
    "The options of a line are those of its command, and torchrun's those that it has."
    if "torchrun" in words:
        at = words.index("-m")
        options = words[words.index("torchrun") + 1:at]
        assert {w.split("=")[0].removeprefix("--") for w in options} <= TORCHRUN
        assert words[at + 1:at + 3] == ["scvae", "fit"], "the only command that shares its work"
    name = words[words.index("scvae") + 1]
    known = {o for p in commands[name].params for o in (*p.opts, *p.secondary_opts)}
    used = {w for w in words[words.index("scvae") + 2:] if w.startswith("--")}
    assert used and used <= known


@pytest.mark.parametrize("path", sorted(jobs.glob("*.sbatch")), ids=by_name)
def test_slurm_files(path):
    text = path.read_text()
    subprocess.run(["bash", "-n", path], check=True)
    head = text[:text.index("set -euo pipefail")].split("\n")
    lines = [line for line in head if line.startswith("#SBATCH")]
    assert lines and text.startswith("#!/bin/bash\n") and text.count("#SBATCH") == len(lines)
    found = [re.fullmatch(r"#SBATCH --([a-z-]+)(=\S+)?", line) for line in lines]
    assert all(found), "an option that sbatch would not read"
    named = [one[1] for one in found]
    assert len(named) == len(set(named)) and NEEDED <= set(named) <= SLURM
    last = text.replace("\\\n", " ").rstrip().split("\n")[-1]
    check_words(shlex.split(last))


@pytest.mark.parametrize("path", sorted(jobs.glob("*.sbatch")), ids=by_name)
def test_slurm_files_use_what_they_are_given(path):
    "Run with a command that prints its words in place of srun, torchrun and scvae."
    said = "srun() { \"$@\"; }; torchrun() { echo \"$@\"; }; scvae() { echo scvae \"$@\"; }; " \
           "scontrol() { echo node1; echo node2; }; source " + shlex.quote(str(path))
    slurm = dict(SLURM_CPUS_PER_TASK="4", SLURM_ARRAY_TASK_ID="1", SLURM_NNODES="2",
                 SLURM_JOB_NODELIST="node[1-2]", SLURM_JOB_ID="7", PATH="/usr/bin:/bin")
    line = ["bash", "-c", said, "job", "my cells.h5ad", "a place"]
    done = subprocess.run(line, env=slurm, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "my cells.h5ad" in done.stdout and "scvae" in done.stdout


@pytest.mark.parametrize("path", sorted(jobs.glob("*.yaml")), ids=by_name)
def test_kubernetes_files(path):
    job = yaml.safe_load(path.read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert re.fullmatch(r"[a-z0-9-]{1,63}", job["metadata"]["name"])
    assert job["spec"]["backoffLimit"] > 0
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] in ("Never", "OnFailure")
    container, = pod["containers"]
    assert all(isinstance(word, str) for word in container["command"])
    check_words(container["command"])
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    wanted, most = (container["resources"][kind] for kind in ("requests", "limits"))
    assert {"cpu", "memory"} <= wanted.keys() and all(most[name] == wanted[name] for name in most)
